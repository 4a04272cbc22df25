"""The wired way to a gateway: `WiredServer` answers Modbus RTU on a UART from a `Registers`."""

from micropython import const

from protocols.modbus.server import RtuServer
from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import UART, Pin

    from protocols.modbus.server import Provider

_POLL_MS = const(10)


class WiredServer:
    """One unit on an RS-485 line; the UART needs its clock all the time, so no light sleep."""

    def __init__(
        self, uart: "UART", de: "Pin | None", unit: int, baud: int, provider: "Provider"
    ) -> None:
        self._uart = uart
        self._de = de
        self._server = RtuServer(unit, provider)
        self._idle_ms = max(2, 38_500 // baud + 1)  # 3.5 characters of 11 bits
        self._chunk = bytearray(64)
        self._heard_ms = 0
        self._is_open = False

    @property
    def requests(self) -> int:
        return self._server.requests

    def step(self, now_ms: int) -> None:
        """Take what came; answer when the line has been silent long enough."""
        waiting = self._uart.any()
        if waiting:
            count = self._uart.readinto(self._chunk, min(waiting, len(self._chunk))) or 0
            self._server.feed(self._chunk, count)
            self._heard_ms = now_ms
            self._is_open = True
        elif self._is_open and ticks_diff(now_ms, self._heard_ms) >= self._idle_ms:
            self._is_open = False
            length = self._server.line_idle()
            if length:
                self._answer(length)

    def _answer(self, length: int) -> None:
        if self._de is not None:
            self._de.value(1)
        self._uart.write(memoryview(self._server.tx)[:length])
        self._uart.flush()
        if self._de is not None:
            self._de.value(0)

    def wait_ms(self, now_ms: int) -> int:
        """Until the next `step` is of use."""
        return _POLL_MS
