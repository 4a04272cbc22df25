"""A better catalogue from readings that have been seen: intervals, anchors, typical values, steps.

All of it only helps the prediction; a catalogue without it carries the same readings in more
bytes. The gateway calls `learned` when it makes a new version of the catalogue anyway.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import gcd, log2
from statistics import median_low

from gateway.codec.catalogue import INTERVAL_S_MAX, MICRO, STEP_MAX, Catalogue, Channel, Device
from gateway.codec.records import Record

# Steps in which instruments count, told in a unit that the series may have, by unit of the series.
# 0.01 ft in m, km/h and m/s in knots, and their whole multiples, are not whole numbers of decimals.
_UNIT_STEPS = {
    "m": (0.003048,),
    "mm": (3.048, 0.254),
    "cm": (0.3048,),
    "kn": (1 / 1.852, 3600 / 1852, 360 / 1852, 0.868976),
    "km/h": (1.852, 3.6, 0.36, 1.609344),
    "m/s": (1 / 3.6, 1852 / 3600, 0.0514444, 0.44704),
    "degC": (5 / 9, 0.5 / 9, 0.0625),
}
_ROWS = 500  # per device; more would not change what is learned
_ROWS_MIN = 8  # fewer teach a typical value, but neither its spread nor an interval


def learned(catalogue: Catalogue, records: Iterable[Record], *, version: int) -> Catalogue:
    """`catalogue` with what the first rows of each device teach, as a new version."""
    rows: dict[int, list[Record]] = {}
    for record in records:
        group = rows.setdefault(record.device, [])
        if len(group) < _ROWS:
            group.append(record)
    devices = tuple(
        _device(device, rows[i]) if i in rows else device
        for i, device in enumerate(catalogue.devices)
    )
    starts = [group[0].time_ms // 1000 for group in rows.values()]
    return replace(
        catalogue,
        version=version,
        devices=devices,
        epoch_s=min(starts, default=catalogue.epoch_s),
    )


def _device(device: Device, rows: Sequence[Record]) -> Device:
    interval_s = _interval([b.time_ms - a.time_ms for a, b in pairwise(rows)], device.interval_s)
    columns = zip(*(row.values for row in rows), strict=True)
    return replace(
        device,
        interval_s=interval_s,
        anchor_s=rows[0].time_ms // 1000,
        anchor_sequence=rows[0].sequence or 0,
        quality=median_low(row.quality for row in rows),
        time_source=rows[0].time_source,
        numbered=rows[0].sequence is not None,
        on_grid=_on_grid(rows, interval_s) if len(rows) >= _ROWS_MIN else device.on_grid,
        channels=tuple(
            _channel(channel, [value for value in column if value is not None])
            for channel, column in zip(device.channels, columns, strict=True)
        ),
    )


def _interval(gaps_ms: Sequence[int], otherwise: int) -> int:
    """The nominal interval in seconds that tells the gaps in the fewest bits."""
    gaps = sorted(round(gap / 1000) for gap in gaps_ms if gap >= 1000)
    if len(gaps) < _ROWS_MIN - 1:
        return otherwise
    candidates = {gaps[len(gaps) * share // 100] for share in (5, 10, 20, 30, 40, 50, 60)}

    def cost(interval: int) -> float:
        bits = 0.0
        for gap in gaps:
            steps = (2 * gap + interval) // (2 * interval)
            bits += log2(1 + 2 * abs(gap - steps * interval)) + 2 * log2(1 + abs(steps - 1))
        return bits

    return min(max(min(sorted(candidates), key=cost), 1), INTERVAL_S_MAX)


def _on_grid(rows: Sequence[Record], interval_s: int) -> bool:
    start = rows[0].time_ms
    off = sum((row.time_ms - start) % (interval_s * 1000) != 0 for row in rows)
    return off * 10 < len(rows)


def _channel(channel: Channel, values: Sequence[int]) -> Channel:
    if not values:
        return channel
    typical = median_low(values)
    if len(values) < _ROWS_MIN:
        return replace(channel, typical=typical)
    spread = sum(abs(value - typical) for value in values) // len(values)
    return replace(channel, typical=typical, spread=spread, step_micro=_step(channel, values))


def _step(channel: Channel, values: Sequence[int]) -> int:
    """The coarsest step of which all values are (rounded) multiples, if that is no accident."""
    changes = sum(a != b for a, b in pairwise(values))
    distinct = set(values)
    if len(distinct) < 3:
        return MICRO
    best = max(gcd(*distinct), 1) * MICRO
    for unit_step in _UNIT_STEPS.get(channel.unit, ()):
        step = round(unit_step * 10**channel.decimals * MICRO)
        if best < step <= STEP_MAX and all(_fits(value, step) for value in distinct):
            best = step
    # Each change hits a grid of step s by chance once in s times; be wrong once in a thousand.
    accident = (best / MICRO) ** -changes if best > MICRO else 1
    return best if accident < 0.001 and best <= STEP_MAX else MICRO


def _fits(value: int, step: int) -> bool:
    count = (2 * value * MICRO + step) // (2 * step)
    return (2 * count * step + MICRO) // (2 * MICRO) == value
