"""The durable store between sources and sinks."""
