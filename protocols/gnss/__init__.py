"""GNSS receivers: `nmea` (streaming NMEA 0183 parser), `sanity` (stuck, null, jumping fixes)."""
