"""A GNSS receiver on a UART: `Gnss`, from bytes to whole fixes."""

from micropython import const

from protocols.gnss.nmea import Fix, NmeaParser
from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import UART

_POLL_MS = const(300)  # 9,600 baud fill the 1,024-byte buffer in 1.07 s
_IDLE_MS = const(100)  # a pause between two epochs


class Gnss:
    """`step` reads what came; after it `take` gives a fix once.

    `built_time_s`: no date before it is believed (week roll-over).
    """

    def __init__(self, uart: "UART", built_time_s: int = 0) -> None:
        self._uart = uart
        self._parser = NmeaParser(built_time_s)
        self._chunk = bytearray(256)
        self._heard_ms = 0
        self._is_open = False  # bytes came since the last idle line
        self._is_new = False
        self.heard_bytes = 0
        self.fix_ms = 0  # the tick at which the fix was complete

    @property
    def fix(self) -> Fix:
        """The newest epoch, valid until the next `step`."""
        return self._parser.fix

    @property
    def parser(self) -> NmeaParser:
        """For its counters."""
        return self._parser

    def step(self, now_ms: int) -> bool:
        """Read until an epoch is complete or nothing is left; True when `fix` is new.

        After True call it again at once: more may wait.
        """
        parser = self._parser
        waiting = self._uart.any()
        if waiting:
            count = self._uart.readinto(self._chunk, min(waiting, len(self._chunk))) or 0
            self.heard_bytes = (self.heard_bytes + count) & 0x3FFF_FFFF
            self._heard_ms = now_ms
            self._is_open = True
            at = 0
            is_new = False
            while at < count:
                at = parser.feed(self._chunk, at, count)
                if parser.has_fix:
                    is_new = True
                    self.fix_ms = now_ms
            return is_new
        if self._is_open and ticks_diff(now_ms, self._heard_ms) >= _IDLE_MS:
            self._is_open = False
            if parser.line_idle():
                self.fix_ms = self._heard_ms
                return True
        return False

    def wait_ms(self, now_ms: int) -> int:
        """Until the next `step` is of use."""
        return _POLL_MS
