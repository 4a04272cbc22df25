"""Duty cycle held by construction: `DutyCycle`, a budget of airtime for each sub-band.

A sub-band of 1/n may be used for 3600/n seconds in any hour. The budget holds a sixth of that at
most and grows at five sixths of the rate, so no hour, wherever it starts, can have more. A frame
longer than a full budget (0.1 % bands) waits for a full one, and leaves it in debt.

The aggregated limit of DutyCycleReq (LoRaWAN L2 1.0.4 section 5.3) is a silence after each frame.
"""

from protocols.lorawan.regions import Region
from protocols.ticks import ticks_add, ticks_diff

_FULL_MS = 720000  # an empty budget is full after this, whatever the n


class DutyCycle:
    """Airtime left by sub-band. Times are ticks."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._left_us = [0] * len(region.duty)
        self._since_ms = [0] * len(region.duty)
        self._is_started = False
        self._quiet_until_ms = 0
        self._is_quiet = False

    def _refill(self, i: int, now_ms: int) -> int:
        """Bring budget `i` up to date; return its size."""
        n = self._region.duty[i][2]
        full_us = 600000000 // n
        if not self._is_started:
            # After a power cut nobody knows what was sent before it: start at a quarter.
            self._is_started = True
            for k in range(len(self._left_us)):
                self._left_us[k] = 150000000 // self._region.duty[k][2]
                self._since_ms[k] = now_ms
        elapsed_ms = ticks_diff(now_ms, self._since_ms[i])
        if elapsed_ms < 0 or elapsed_ms > 2 * _FULL_MS:
            elapsed_ms = 2 * _FULL_MS  # idle for so long that even the tick wrapped
        gain_us = elapsed_ms * 625 // (3 * n) * 4
        if gain_us:
            self._left_us[i] = min(full_us, self._left_us[i] + gain_us)
            self._since_ms[i] = now_ms
        return full_us

    def wait_ms(self, freq_hz: int, airtime_us: int, now_ms: int) -> int:
        """Milliseconds until a frame of `airtime_us` may be sent at `freq_hz`; 0 for now."""
        wait = 0
        if self._is_quiet:
            wait = max(0, ticks_diff(self._quiet_until_ms, now_ms))
            self._is_quiet = wait > 0
        i = self._region.duty_index(freq_hz)
        if i < 0:
            return wait
        full_us = self._refill(i, now_ms)
        need_us = min(airtime_us, full_us) - self._left_us[i]
        if need_us <= 0:
            return wait
        n = self._region.duty[i][2]
        return max(wait, need_us // 100 * 3 * n // 25 + n // 8 + 2)

    def spend(self, freq_hz: int, airtime_us: int, max_duty: int, now_ms: int) -> None:
        """Account for a frame that starts now; `max_duty` is DutyCycleReq's exponent, 0..15."""
        i = self._region.duty_index(freq_hz)
        if i >= 0:
            self._refill(i, now_ms)
            self._left_us[i] -= airtime_us
        self._is_quiet = max_duty > 0
        if max_duty:
            # From the start of the frame: its own time and (2**max_duty - 1) times as much.
            self._quiet_until_ms = ticks_add(now_ms, (airtime_us // 1000 + 1) << max_duty)
