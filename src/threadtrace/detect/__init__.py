"""Counts become judgement: forecasts and explosions. Pure: no clock, no files."""
