"""Snapshots in, Prometheus series out."""
