"""Rendering only: snapshots in, lines or tables out."""
