"""The grid of nominal intervals on which times and sequence numbers are told."""

from gateway.codec.catalogue import Catalogue, Device


def nearest(number: int, step: int) -> int:
    """`number / step` to the nearest integer, halves up."""
    return (2 * number + step) // (2 * step)


def grid(catalogue: Catalogue, device: Device, unit_ms: int) -> tuple[int, int]:
    """Origin and step of a device's grid, in units of `unit_ms` since 1970."""
    anchor_s = catalogue.epoch_s if device.anchor_s is None else device.anchor_s
    return anchor_s * 1000 // unit_ms, device.interval_s * 1000 // unit_ms
