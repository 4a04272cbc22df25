"""Boats, calls for help and gauges for chart plotters: AIS sentences over TCP and UDP."""
