"""The single tests after QARTOD (Water Level manual 2.1, 2021), each fed reading by reading.

Each `flag` takes a reading that is newer than the one before and returns GOOD, SUSPECT or FAIL.
The limits are the operator's. Compared test by test with `ioos-qc` in the tests; where the two
differ it is because a reading is judged when it comes:

* spike: the reading after it is not known yet. A reading is a spike when it is far from *both*
  readings before it; ioos-qc takes the middle of the two neighbours and so flags the readings
  around a spike too. A step is suspect for one reading, not for two.
* rate of change: after a missing reading ours reckons from the last one there was; ioos-qc stays
  silent.
* flat line: the window is a span of time; ioos-qc counts readings at their median interval, so it
  differs where readings are uneven.
"""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.model import FAIL, GOOD, SUSPECT


def gross_range(
    value: int, fail: tuple[int, int], suspect: tuple[int | None, int | None] = (None, None)
) -> int:
    """Outside what the sensor can measure, or outside what the place has seen; ends included."""
    if not fail[0] <= value <= fail[1]:
        return FAIL
    low, high = suspect
    if (low is not None and value < low) or (high is not None and value > high):
        return SUSPECT
    return GOOD


def climatology(value: int, time_ms: int, seasons: Sequence[tuple[int, int, int, int]]) -> int:
    """Seasons are (first month, last month, low, high); a month without one is not judged."""
    month = datetime.fromtimestamp(time_ms / 1000, UTC).month
    for first, last, low, high in seasons:
        inside = first <= month <= last if first <= last else month >= first or month <= last
        if inside and not low <= value <= high:
            return SUSPECT
    return GOOD


class Spike:
    """Far from both readings before it."""

    def __init__(self, suspect: int | None, fail: int | None) -> None:
        self._limits = ((fail, FAIL), (suspect, SUSPECT))
        self._before: deque[int] = deque(maxlen=2)

    def flag(self, value: int) -> int:
        """The flag of the newest reading."""
        apart = min((abs(value - one) for one in self._before), default=0)
        self._before.append(value)
        for limit, flag in self._limits:
            if limit is not None and apart > limit:
                return flag
        return GOOD


class RateOfChange:
    """Faster than `per_min` since the reading before."""

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min
        self._last: tuple[int, int] | None = None

    def flag(self, time_ms: int, value: int) -> int:
        """The flag of the newest reading."""
        last, self._last = self._last, (time_ms, value)
        if last is None:
            return GOOD
        is_fast = abs(value - last[1]) * 60_000 > self._per_min * (time_ms - last[0])
        return SUSPECT if is_fast else GOOD


class FlatLine:
    """Moved by no more than `by` for `suspect_s` or `fail_s` seconds.

    Keeps, for the highest and the lowest of the present still spell, only values that may still
    end it: at most `by` + 2 of each, however long it lasts.
    """

    def __init__(self, suspect_s: int | None, fail_s: int | None, by: int) -> None:
        self._limits = ((fail_s, FAIL), (suspect_s, SUSPECT))
        self._by = by
        self._moved_ms: int | None = None  # the newest reading that was too far from the present
        self._highest: deque[tuple[int, int]] = deque()  # value falling, last time_ms rising
        self._lowest: deque[tuple[int, int]] = deque()

    def flag(self, time_ms: int, value: int) -> int:
        """The flag of the newest reading."""
        if self._moved_ms is None:
            self._moved_ms = time_ms - 1
        while self._highest and self._highest[0][0] > value + self._by:
            self._moved_ms = max(self._moved_ms, self._highest.popleft()[1])
        while self._lowest and self._lowest[0][0] < value - self._by:
            self._moved_ms = max(self._moved_ms, self._lowest.popleft()[1])
        while self._highest and self._highest[-1][0] <= value:
            self._highest.pop()
        while self._lowest and self._lowest[-1][0] >= value:
            self._lowest.pop()
        self._highest.append((value, time_ms))
        self._lowest.append((value, time_ms))
        for limit_s, flag in self._limits:
            if limit_s is not None and time_ms - self._moved_ms > limit_s * 1000:
                return flag
        return GOOD


class Gap:
    """The first reading after a hole of more than `gap_s` seconds."""

    def __init__(self, gap_s: int) -> None:
        self._gap_s = gap_s
        self._last_ms: int | None = None

    def flag(self, time_ms: int) -> int:
        """The flag of the newest reading."""
        last, self._last_ms = self._last_ms, time_ms
        return SUSPECT if last is not None and time_ms - last > self._gap_s * 1000 else GOOD
