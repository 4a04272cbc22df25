"""Modbus RTU without a port or a clock: `client`, `server`, `values`, `frames`, `crc`."""
