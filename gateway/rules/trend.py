"""How fast the water moves, and how sure that is: `Trend`, `Rate`, `minutes_to`.

Theil-Sen: the median of the slopes between all pairs of readings in a window; three wild readings
in ten do not move it. The band is Sen's (1968): the slopes whose ranks lie within 1.645 standard
deviations of Kendall's statistic (90 %), and never narrower than what the sensor's step of
`RESOLUTION_MM` over the window can tell apart.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOWS_MIN = (5, 15, 60)
NEEDED = 4  # readings; with fewer there is no rate
RESOLUTION_MM = 2
_Z90 = 1.645
_POINTS_MAX = 30  # of a window: 435 pairs
_KEPT = 400
_SAVED = 60
_HOUR_MS = 3_600_000
_MINUTES_MAX = 24 * 60


@dataclass(frozen=True, slots=True)
class Rate:
    """Rise in mm/h over a window, falling negative, with the ends of its 90 % band."""

    window_min: int
    mm_h: int
    low_mm_h: int
    high_mm_h: int
    readings: int


@dataclass(frozen=True, slots=True)
class Minutes:
    """Until a level is reached: the likeliest, the earliest, the latest (None: perhaps never)."""

    likely: int
    earliest: int
    latest: int | None


class Trend:
    """The believed levels of the past hour."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque(maxlen=_KEPT)

    def add(self, time_ms: int, level_mm: int) -> None:
        """Take a reading; of two at one time the later counts, an older one starts afresh."""
        points = self._points
        if points and time_ms == points[-1][0]:
            points.pop()
        elif points and time_ms < points[-1][0]:
            points.clear()  # the clock was set
        points.append((time_ms, level_mm))
        while time_ms - points[0][0] > WINDOWS_MIN[-1] * 60_000:
            points.popleft()

    def rate(self, window_min: int) -> Rate | None:
        """The rate over the last `window_min` minutes; None with too few readings to tell."""
        points = self._points
        if not points:
            return None
        since_ms = points[-1][0] - window_min * 60_000
        return theil_sen([p for p in points if p[0] >= since_ms], window_min)

    def best(self) -> Rate | None:
        """The rate to reckon with: of the shortest window whose sign is sure, else the longest."""
        found = [rate for rate in map(self.rate, WINDOWS_MIN) if rate is not None]
        for rate in found:
            if rate.low_mm_h > 0 or rate.high_mm_h < 0:
                return rate
        return found[-1] if found else None

    def to_state(self) -> list[tuple[int, int]]:
        """What must survive a restart, as JSON."""
        return list(_thinned(list(self._points), _SAVED))

    def restore(self, state: Sequence[Any]) -> None:
        """Take up where `to_state` left off."""
        self._points = deque([(t, v) for t, v in state], maxlen=_KEPT)


def _thinned(points: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """At most `count` of them, evenly, with the first and the last."""
    if len(points) <= count:
        return points
    step = (len(points) - 1) / (count - 1)
    return [points[round(i * step)] for i in range(count)]


def theil_sen(points: Sequence[tuple[int, int]], window_min: int) -> Rate | None:
    """The rate of (time_ms, level_mm) points in rising time; None with fewer than `NEEDED`."""
    chosen = _thinned(list(points), _POINTS_MAX)
    count = len(chosen)
    if count < NEEDED:
        return None
    slopes = sorted(
        (b[1] - a[1]) * _HOUR_MS / (b[0] - a[0])
        for i, a in enumerate(chosen)
        for b in chosen[i + 1 :]
    )
    pairs = len(slopes)
    middle = (slopes[(pairs - 1) // 2] + slopes[pairs // 2]) / 2
    spread = _Z90 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(0, math.floor((pairs - spread) / 2) - 1)]
    high = slopes[min(pairs - 1, math.ceil((pairs + spread) / 2))]
    step = RESOLUTION_MM * _HOUR_MS / (chosen[-1][0] - chosen[0][0])
    return Rate(
        window_min,
        round(middle),
        math.floor(min(low, middle - step)),
        math.ceil(max(high, middle + step)),
        count,
    )


def minutes_to(level_mm: int, target_mm: int, rate: Rate | None) -> Minutes | None:
    """Minutes until `target_mm` at this rate; None when it is not rising towards it.

    Nothing is said of more than a day: no rate holds that long.
    """
    missing = target_mm - level_mm
    if rate is None or missing <= 0 or rate.mm_h <= 0:
        return None
    likely = round(60 * missing / rate.mm_h)
    if likely > _MINUTES_MAX:
        return None
    latest = round(60 * missing / rate.low_mm_h) if rate.low_mm_h > 0 else None
    if latest is not None and latest > _MINUTES_MAX:
        latest = None
    return Minutes(likely, math.floor(60 * missing / rate.high_mm_h), latest)


def rate_values(rate: Rate | None, minutes: Minutes | None) -> Mapping[str, int]:
    """Both as values of an alarm; what is not known has no key."""
    values: dict[str, int] = {}
    if rate is not None:
        values["rate_mm_h"] = rate.mm_h
        values["rate_low_mm_h"] = rate.low_mm_h
        values["rate_high_mm_h"] = rate.high_mm_h
    if minutes is not None:
        values["next_stage_min"] = minutes.likely
        values["next_stage_earliest_min"] = minutes.earliest
        if minutes.latest is not None:
            values["next_stage_latest_min"] = minutes.latest
    return values
