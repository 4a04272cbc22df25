"""Fault tickets by Open311 GeoReport v2."""
