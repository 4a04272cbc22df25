"""Tipping bucket on an interrupt: `RainGauge`. The handler counts, and nothing else."""

from micropython import const

from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from machine import Pin

_BOUNCE_MS = const(120)  # reed contacts bounce for some ms; 2 tips a second are 1,440 mm/h


class RainGauge:
    """`take()` gives the tips since the last call; `is_fresh` says whether there are any."""

    def __init__(self, pin: "Pin", ticks_ms: "Callable[[], int]") -> None:
        self._ticks_ms = ticks_ms
        self._count = 0
        self._taken = 0
        self._last_ms = 0
        self.bounces = 0
        self._has_last = False
        self._handler = self._on_edge  # binding a method allocates: not in the interrupt
        try:
            pin.irq(handler=self._handler, trigger=pin.IRQ_FALLING, hard=True)
        except TypeError:
            pin.irq(handler=self._handler, trigger=pin.IRQ_FALLING)  # esp32 knows no `hard`

    def _on_edge(self, _pin: "Pin") -> None:
        now_ms = self._ticks_ms()
        if self._has_last and 0 <= ticks_diff(now_ms, self._last_ms) < _BOUNCE_MS:
            self.bounces += 1
            return
        self._has_last = True
        self._last_ms = now_ms
        self._count += 1

    @property
    def is_fresh(self) -> bool:
        return self._count != self._taken

    def take(self) -> int:
        """Tips since the last `take`."""
        count = self._count
        tips = count - self._taken
        self._taken = count
        return tips
