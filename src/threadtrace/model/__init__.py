"""Counts become what outputs show. Pure: no clock, no files."""
