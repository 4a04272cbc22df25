"""Readings into an OGC SensorThings 1.1 server, at least once and without duplicates."""
