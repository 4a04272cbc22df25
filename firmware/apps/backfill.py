"""Answers to gap requests: `Backfill`, a few ranges of the log still to be sent again."""

from micropython import const

from firmware.store.counters import Counters
from firmware.store.readings import FLAG_UPTIME, MISSING, ReadingLog
from protocols.payload.backfill import (
    decode_backfill,
    encode_flood_backfill_into,
    encode_missing_into,
)
from protocols.payload.command import BUSY, DONE, REFUSED
from protocols.payload.flood import FloodSample
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RANGES_MAX = const(4)
COUNT_MAX = const(4096)  # readings in one request
_SPACE_MS = const(60_000)  # between two answers: live frames and others need the air too
_BATCH = const(96)  # readings offered to one frame


class Backfill:
    """`add` a range; while `is_ready`, `flood_into` makes the next frame of it."""

    def __init__(
        self, log: ReadingLog, counters: Counters, is_idle: "Callable[[int], bool]"
    ) -> None:
        self._log = log
        self._counters = counters
        self._is_idle = is_idle
        self._ranges: list[tuple[int, int]] = []  # (next sequence, count left)
        self._next_ms = 0
        self._has_next = False
        self.sent = 0  # readings sent again

    def add(self, first: int, count: int) -> int:
        """Queue a range; DONE, REFUSED when it cannot be meant, BUSY when too many wait."""
        if not 0 < count <= COUNT_MAX or first >= self._log.next_sequence:
            return REFUSED
        for known_first, known_count in self._ranges:
            if known_first <= first and first + count <= known_first + known_count:
                return DONE
        if len(self._ranges) >= RANGES_MAX:
            return BUSY
        self._ranges.append((first, count))
        return DONE

    def is_ready(self, now_ms: int) -> bool:
        """Something is asked for, and it is time for the next frame."""
        if not self._ranges:
            return False
        if self._has_next and ticks_diff(now_ms, self._next_ms) < 0:
            return False
        return self._is_idle(now_ms)

    def flood_into(self, buf: bytearray, limit: int, now_ms: int) -> int:
        """The next frame; what the log no longer has is said to be missing."""
        first, left = self._ranges.pop(0)
        self._has_next = True
        self._next_ms = ticks_add(now_ms, _SPACE_MS)
        gone = 0
        samples: list[FloodSample] = []
        while left and len(samples) < _BATCH:
            sample = self._sample(first + gone + len(samples))
            if sample is None:
                if samples:
                    break
                gone += 1
            else:
                if gone:
                    break
                samples.append(sample)
            left -= 1
        if gone:
            self._put_back(first + gone, left)
            return encode_missing_into(buf, first, gone)
        length = encode_flood_backfill_into(buf, limit, samples)
        count = len(decode_backfill(bytes(memoryview(buf)[:length])).samples)
        self.sent += count
        self._put_back(first + count, left + len(samples) - count)
        return length

    def _put_back(self, first: int, left: int) -> None:
        if left > 0:
            self._ranges.insert(0, (first, left))

    def _sample(self, sequence: int) -> "FloodSample | None":
        row = self._log.read(sequence)
        if row is None:
            return None
        time_s = row.time_s
        if row.flags & FLAG_UPTIME:
            offset_s = self._counters.offset_of(row.boot)
            if offset_s is None:
                return None  # nobody will ever know when this was
            time_s += offset_s
        level = None if row.a == MISSING else row.a
        return FloodSample(sequence, time_s - time_s % 10, level, row.b)
