"""What a site sees by itself: `RainCause` and `RiseCause`. Time and readings come as arguments."""

from collections import deque

from gateway.model import Reading
from gateway.rules.trend import Rate, Trend

_TIPS = 1024  # a node's running total is sent modulo this
_TIPS_S_MAX = 2  # faster is a contact that bounces or somebody who shakes the bucket
_HOUR_MS, _TEN_MS = 3_600_000, 600_000
_READINGS_MAX = 720
_SMALL_MM = 50


class RainCause:
    """Rain of one gauge from its running totals: `rain_tips` of a node, or `rain_total_um`."""

    def __init__(self, tip_um: int) -> None:
        self._tip_um = tip_um
        self._total: tuple[int, int, bool] | None = None  # time_ms, total, whether it is tips
        self._falls: deque[tuple[int, int]] = deque(maxlen=_READINGS_MAX)  # time_ms, um

    def feed(self, reading: Reading) -> None:
        """Take a reading that is newer than the last; others change nothing."""
        tips = reading.values.get("rain_tips")
        total = tips if tips is not None else reading.values.get("rain_total_um")
        if total is None:
            return
        before, is_tips = self._total, tips is not None
        if before is not None and reading.time_ms <= before[0] and before[2] == is_tips:
            return
        self._total = (reading.time_ms, total, is_tips)
        if before is None or before[2] != is_tips:
            return
        grown = (total - before[1]) % _TIPS if is_tips else total - before[1]
        if grown <= 0:
            return  # none, or the gauge began anew
        if is_tips and grown * 1000 > _TIPS_S_MAX * (reading.time_ms - before[0]):
            return
        self._falls.append((reading.time_ms, grown * self._tip_um if is_tips else grown))

    def rain_um(self, now_ms: int, window_ms: int) -> int:
        """Rain in the last `window_ms`. A gap counts where it ended."""
        return sum(um for time_ms, um in self._falls if 0 <= now_ms - time_ms < window_ms)

    def exceeds(self, now_ms: int, mm_10min: float, mm_1h: float) -> str:
        """Which limit it exceeds, as "12.4 mm in 10 min", or ""."""
        for window_ms, limit, name in ((_TEN_MS, mm_10min, "10 min"), (_HOUR_MS, mm_1h, "1 h")):
            fallen = self.rain_um(now_ms, window_ms) / 1000
            if fallen >= limit:
                return f"{fallen:.1f} mm in {name}"
        return ""


class RiseCause:
    """The rise of one level sensor, once it is sure: the low end of the 15-minute band."""

    def __init__(self) -> None:
        self._trend = Trend()
        self._last: tuple[int, int] | None = None

    def feed(self, time_ms: int, level_mm: int) -> None:
        """Take a level that is newer than the last."""
        if self._last is None or time_ms > self._last[0]:
            self._last = (time_ms, level_mm)
            self._trend.add(time_ms, level_mm)

    def exceeds(self, now_ms: int, rise_mm_h: int) -> Rate | None:
        """The rate if it is surely above the limit, of recent readings, and not mere noise."""
        rate = self._trend.rate(15)
        if self._last is None or rate is None or now_ms - self._last[0] > _TEN_MS * 2:
            return None
        is_real = rate.mm_h * rate.window_min >= 60 * _SMALL_MM
        return rate if is_real and rate.low_mm_h >= rise_mm_h else None
