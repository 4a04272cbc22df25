"""The device's time: `Clock`, seconds since the start and, when heard of, since 2020.

Ticks wrap after 12.4 days, so `update` must be called at least once in 6 days; the loop does at
every turn. Wall time is seconds since 2020-01-01T00:00:00Z; before it is known `now_s` counts
from the start of the device and `is_set` is False.
"""

from protocols.ticks import ticks_add, ticks_diff

SOURCE_NONE, SOURCE_NETWORK, SOURCE_GNSS = 0, 1, 2

# GPS time runs 18 s ahead of UTC since 2017 (IERS Bulletin C); GPS epoch 1980-01-06.
_GPS_TO_2020_S = 1261872018
_DRIFT_S_MAX = 2  # a correction below it is a drift, above it a step


class Clock:
    """Monotonic seconds from ticks, and the offset that makes wall time of them."""

    def __init__(self, now_ms: int) -> None:
        self._mark_ms = now_ms  # the tick at which `uptime_s` became what it is
        self.uptime_s = 0
        self._offset_s = 0  # wall = uptime + offset
        self.source = SOURCE_NONE
        self.set_at_s = 0  # uptime of the last setting
        self.steps = 0  # corrections of more than a drift

    def update(self, now_ms: int) -> None:
        """Take the seconds that passed since the last call."""
        passed_ms = ticks_diff(now_ms, self._mark_ms)
        if passed_ms >= 1000:
            seconds = passed_ms // 1000
            self.uptime_s += seconds
            self._mark_ms = ticks_add(self._mark_ms, seconds * 1000)

    @property
    def is_set(self) -> bool:
        return self.source != SOURCE_NONE

    def now_s(self, now_ms: int) -> int:
        """Seconds since 2020 when `is_set`, else since the start."""
        self.update(now_ms)
        return self.uptime_s + self._offset_s

    def ms_to(self, time_s: int, now_ms: int) -> int:
        """Milliseconds until the second `time_s` begins; 0 when it has."""
        seconds = time_s - self.now_s(now_ms)
        if seconds <= 0:
            return 0
        return min(seconds, 100_000) * 1000 - ticks_diff(now_ms, self._mark_ms)

    def set_wall(self, time_s: int, at_ms: int, now_ms: int, source: int) -> int:
        """At tick `at_ms` it was `time_s` since 2020; returns by how much the clock moved, s.

        A weaker source does not move what a stronger one set within a day.
        """
        self.update(now_ms)
        fresh = self.uptime_s - self.set_at_s < 86_400
        if source < self.source and fresh:
            return 0
        then_s = self.uptime_s - (ticks_diff(self._mark_ms, at_ms) + 999) // 1000
        moved = time_s - then_s - self._offset_s
        if self.is_set and -_DRIFT_S_MAX < moved < _DRIFT_S_MAX:
            moved = 0  # below what whole seconds can tell
        if moved and self.is_set:
            self.steps += 1
        self._offset_s += moved
        self.source = source
        self.set_at_s = self.uptime_s
        return moved

    @property
    def offset_s(self) -> int:
        """Seconds to add to uptime for wall time; meaningless unless `is_set`."""
        return self._offset_s


def from_gps(gps_s: int) -> int:
    """Seconds since 2020 (UTC) of a GPS time in seconds."""
    return gps_s - _GPS_TO_2020_S
