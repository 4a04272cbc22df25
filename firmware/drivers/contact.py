"""A switch to ground that wakes the board: `Contact` (float switch, button, water contact)."""

from micropython import const

from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import Pin

_BOUNCE_MS = const(40)
_UNREAD_MAX = const(16)


class Contact:
    """`is_closed` follows the pin once it held a level for 40 ms; `poll` it at every turn."""

    def __init__(self, pin: "Pin", now_ms: int) -> None:
        self._pin = pin
        self.is_closed = not pin.value()
        self._seen = self.is_closed
        self._since_ms = now_ms
        self.edges = 0
        self._seen_edges = 0
        self._unread = 0
        self._handler = self._on_edge
        pin.irq(handler=self._handler, trigger=pin.IRQ_FALLING | pin.IRQ_RISING)

    def _on_edge(self, _pin: "Pin") -> None:
        self.edges += 1  # its purpose is to end the sleep

    def poll(self, now_ms: int) -> bool:
        """True when `is_closed` changed.

        The pin is read after an edge and while its level is not settled, and now and then in
        case an edge was missed.
        """
        if self.edges == self._seen_edges and self._seen == self.is_closed:
            self._unread += 1
            if self._unread < _UNREAD_MAX:
                return False
        self._unread = 0
        self._seen_edges = self.edges
        level = not self._pin.value()
        if level != self._seen:
            self._seen = level
            self._since_ms = now_ms
            return False
        if level != self.is_closed and ticks_diff(now_ms, self._since_ms) >= _BOUNCE_MS:
            self.is_closed = level
            return True
        return False

    def wait_ms(self, now_ms: int) -> int:
        """Until `poll` may decide; -1 when the level is settled."""
        if self._seen == self.is_closed:
            return -1
        return max(0, _BOUNCE_MS - ticks_diff(now_ms, self._since_ms))
