"""Answers to gap requests: `Backfill`, a few ranges of the log still to be sent again."""

from micropython import const

from firmware.store.counters import Counters
from firmware.store.readings import FLAG_UPTIME, ReadingLog, Row
from protocols.payload.backfill import encode_missing_into
from protocols.payload.command import BUSY, DONE, REFUSED
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RANGES_MAX = const(4)
COUNT_MAX = const(4096)  # readings in one request
_SPACE_MS = const(30_000)  # between two answers: live frames and others need the air too


class Scratch:
    """The ring of a backfill encoder and how a row of the log gets into it."""

    def push(self, row: Row, time_s: int) -> None:
        """Add one reading; they come with rising, consecutive numbers."""

    def encode_into(self, buf: bytearray, limit: int) -> int:
        """A payload of the newest readings that fit; they leave the ring."""
        return 0

    @property
    def count(self) -> int:
        """Readings still in the ring."""
        return 0

    capacity = 0


class Backfill:
    """`add` a range; while `is_ready`, `frame_into` makes the next frame of it."""

    def __init__(
        self,
        log: ReadingLog,
        counters: Counters,
        is_idle: "Callable[[int], bool]",
        scratch: Scratch,
    ) -> None:
        self._log = log
        self._counters = counters
        self._is_idle = is_idle
        self._scratch = scratch
        self._ranges: list[tuple[int, int]] = []  # (next sequence, count left)
        self._next_ms = 0
        self._has_next = False
        self.frames = 0  # sent

    def add(self, first: int, count: int) -> int:
        """Queue a range; DONE, REFUSED when it cannot be meant, BUSY when too many wait."""
        if not 0 < count <= COUNT_MAX or not 0 <= first < self._log.next_sequence:
            return REFUSED
        for known_first, known_count in self._ranges:
            if known_first <= first and first + count <= known_first + known_count:
                return DONE
        if len(self._ranges) >= RANGES_MAX:
            return BUSY
        self._ranges.append((first, min(count, self._log.next_sequence - first)))
        return DONE

    def is_ready(self, now_ms: int) -> bool:
        """Something is asked for, and it is time for the next frame."""
        if not self._ranges and not self._scratch.count:
            return False
        if self._has_next and ticks_diff(now_ms, self._next_ms) < 0:
            return False
        return self._is_idle(now_ms)

    def frame_into(self, buf: bytearray, limit: int, now_ms: int) -> int:
        """The next frame; what the log no longer has is said to be missing."""
        self._has_next = True
        self._next_ms = ticks_add(now_ms, _SPACE_MS)
        gone_from = gone = 0
        if not self._scratch.count:
            gone_from, gone = self._load()
        if gone:
            length = encode_missing_into(buf, gone_from, gone)
        else:
            length = self._scratch.encode_into(buf, limit)
        self.frames += 1
        return length

    def _load(self) -> "tuple[int, int]":
        """Fill the ring from the oldest range; else (first, count) of readings that are gone."""
        first, left = self._ranges.pop(0)
        scratch = self._scratch
        gone = taken = 0
        while gone + taken < left and taken < scratch.capacity:
            row = self._log.read(first + gone + taken)
            time_s = None if row is None else wall_time(row, self._counters)
            if row is None or time_s is None:
                if taken:
                    break
                gone += 1
            elif gone:
                break
            else:
                scratch.push(row, time_s)
                if scratch.count <= taken:
                    break  # a time that goes back emptied the ring: the rest is another frame's
                taken += 1
        done = gone + taken
        if left > done:
            self._ranges.insert(0, (first + done, left - done))
        return first, gone


def wall_time(row: Row, counters: Counters) -> "int | None":
    """When the reading was taken, seconds since 2020; None when nobody will ever know."""
    if not row.flags & FLAG_UPTIME:
        return row.time_s
    offset_s = counters.offset_of(row.boot)
    if offset_s is None:
        return None
    time_s = row.time_s + offset_s
    return time_s if time_s > 0 else None
