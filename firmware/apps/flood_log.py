"""Readings of the flood node between its log and its frames: `FloodScratch`, `fill_ring`."""

from micropython import const

from firmware.apps.backfill import Scratch, wall_time
from firmware.store.counters import Counters
from firmware.store.readings import MISSING, ReadingLog, Row
from protocols.payload.backfill import FloodBackfill
from protocols.payload.flood import FloodRing

_SCRATCH = const(96)  # readings of a gap's answer in memory at once
_PREFILL = const(64)  # older readings taken from the log after a reset


def fill_ring(ring: FloodRing, log: ReadingLog, counters: Counters) -> None:
    """History over a reset: the newest readings of the log whose time is known."""
    ring.count = 0
    first = max(log.first_sequence, log.next_sequence - _PREFILL)
    for sequence in range(first, log.next_sequence):
        row = log.read(sequence)
        if row is not None:
            time_s = wall_time(row, counters)
            if time_s is not None:
                ring.push(row.sequence, time_s, _level(row), row.b)


def _level(row: Row) -> "int | None":
    return None if row.a == MISSING else row.a


class FloodScratch(Scratch):
    """Readings on their way into back-fill frames."""

    capacity = _SCRATCH

    def __init__(self) -> None:
        self._ring = FloodRing(_SCRATCH)
        self._encoder = FloodBackfill(self._ring)

    def push(self, row: Row, time_s: int) -> None:
        self._ring.push(row.sequence, time_s, _level(row), row.b)

    def encode_into(self, buf: bytearray, limit: int) -> int:
        return self._encoder.encode_into(buf, limit)

    @property
    def count(self) -> int:
        return self._ring.count
