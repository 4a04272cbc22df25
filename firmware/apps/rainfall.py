"""Rain as a running total: `Rainfall`, tips kept over resets and those of the last minutes."""

from micropython import const

from firmware.drivers.rain import RainGauge
from firmware.store.counters import Counters

_MINUTES = const(10)


class Rainfall:
    """`count` at every turn; the total is `counters.rain_tips`. `gauge` may be absent."""

    def __init__(self, gauge: "RainGauge | None", counters: Counters) -> None:
        self._gauge = gauge
        self._counters = counters
        # The total at the end of each of the last minutes; what fell before the start is no rain.
        self._ends = [counters.rain_tips] * _MINUTES
        self._minute = 0

    @property
    def is_fresh(self) -> bool:
        """The bucket tipped since the last `count`."""
        return self._gauge is not None and self._gauge.is_fresh

    def count(self, uptime_s: int) -> bool:
        """Take new tips into the total; True when there were any: the counters want saving."""
        counters = self._counters
        tips = 0
        if self._gauge is not None and self._gauge.is_fresh:
            tips = self._gauge.take()
            counters.rain_tips = (counters.rain_tips + tips) & 0x3FFF_FFFF
        minute = uptime_s // 60
        if minute - self._minute >= _MINUTES:
            self._minute = minute - _MINUTES
        while self._minute < minute:
            self._minute += 1
            self._ends[self._minute % _MINUTES] = counters.rain_tips - tips
        return tips > 0

    @property
    def tips_10min(self) -> int:
        """Tips of the last nine to ten minutes."""
        return self._counters.rain_tips - self._ends[(self._minute + 1) % _MINUTES]
