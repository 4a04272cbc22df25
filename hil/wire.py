"""The simulator's end of the wire to a MicroPython child: requests in, answers out.

Public: `Wire`, `Request`, the operation numbers. `hil/shim/simwire.py` has the other end and the
layout of both messages.
"""

import socket
import struct
from dataclasses import dataclass

HELLO, WAIT, PIN_WRITE, PIN_READ, PIN_SETUP, SPI_SETUP, SPI = range(7)
UART_SETUP, UART_WRITE, UART_READ, UART_ANY, UART_PENDING = range(7, 12)
ADC, RESET, DEEPSLEEP, WDT, RANDOM, PWM = range(12, 18)
FLASH_READ, FLASH_WRITE, FLASH_ERASE, LOG, FILE = range(18, 23)

FEED = 0xFF  # a pin write that feeds the watchdog

_REQUEST = struct.Struct("<BBHIQ")
_ANSWER = struct.Struct("<QIIHHHBB")
_ARG = (1 << 48) - 1


@dataclass(slots=True)
class Request:
    """One call of the child: `writes` are (pin, level) pairs made since the last one."""

    op: int
    x: int
    arg: int
    elapsed_us: int
    writes: bytes
    data: bytes


class Wire:
    """A blocking stream to one child; `wall_s` bounds how long the child may think."""

    def __init__(self, wall_s: float = 20.0) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.settimeout(wall_s)
        self.calls = 0

    def receive(self) -> Request | None:
        """The next request; None when the child is gone. Raises TimeoutError."""
        try:
            message = self._ours.recv(8192)
            if not message:
                return None
            while len(message) < 16:
                more = self._ours.recv(8192)
                if not more:
                    return None
                message += more
            op, count, length, elapsed_us, arg = _REQUEST.unpack_from(message)
            while len(message) < 16 + length:
                more = self._ours.recv(8192)
                if not more:
                    return None
                message += more
        except ConnectionResetError:
            return None
        self.calls += 1
        cut = 16 + 2 * count
        return Request(op, arg >> 48, arg & _ARG, elapsed_us, message[16:cut], message[cut:])

    def answer(
        self,
        now_us: int,
        quiet_us: int,
        levels: int,
        data: bytes,
        waiting: tuple[int, int],
        events: bytes,
        flags: int,
    ) -> None:
        """Send the answer; a child that is gone is noticed by the next `receive`."""
        head = _ANSWER.pack(now_us, quiet_us, levels, len(data), *waiting, len(events) // 2, flags)
        try:
            self._ours.sendall(head + data + events)
        except (BrokenPipeError, ConnectionResetError):
            return

    def started(self) -> None:
        """The child has its end: close our copy of it."""
        self.theirs.close()

    def close(self) -> None:
        """Close both ends."""
        self._ours.close()
        self.theirs.close()
