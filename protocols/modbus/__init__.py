"""Modbus RTU without a port or a clock: `crc`, `client`, `server`, `values`, `profile`."""
