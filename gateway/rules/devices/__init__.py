"""Faults of devices: what is wrong, by its named cause, and what to bring."""
