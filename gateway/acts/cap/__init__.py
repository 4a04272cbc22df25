"""CAP 1.2 alerts: decided in `incident`, written in `message`, run by `act`."""
