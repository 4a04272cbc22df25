"""Register maps of sensors, as TOML data; read by `gateway.sources.profile`."""
