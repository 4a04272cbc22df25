"""A GNSS receiver on a UART: `Gnss`, from bytes to whole fixes."""

from micropython import const

from protocols.gnss import ubx
from protocols.gnss.nmea import Fix, NmeaParser
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import UART

_POLL_MS = const(300)  # 9,600 baud fill the 1,024-byte buffer in 1.07 s
_IDLE_MS = const(100)  # a pause between two epochs
_LAST_WORDS_MS = const(1500)  # it may finish its epoch before it sleeps
_REFUSALS_MAX = const(3)


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
        self._rest_ms = 0  # when it was sent to sleep, and until when
        self._until_ms = 0
        self.is_resting = False
        self.refusals = 0  # times it talked on: it is no u-blox, or its RXD is not wired

    def rest(self, duration_ms: int, now_ms: int) -> None:
        """Send a u-blox receiver to backup for so long; one that talks on is left alone."""
        if self.is_resting or self.refusals >= _REFUSALS_MAX:
            return
        self._uart.write(ubx.sleep(duration_ms))
        self.is_resting = True
        self._rest_ms = now_ms
        self._until_ms = ticks_add(now_ms, duration_ms)

    def wake(self) -> None:
        """End a rest early; nothing happens without one."""
        if self.is_resting:
            self.is_resting = False
            self._uart.write(ubx.WAKE)

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
        if self.is_resting:
            if ticks_diff(now_ms, self._until_ms) >= 0:
                self.is_resting = False
            elif waiting and ticks_diff(now_ms, self._rest_ms) > _LAST_WORDS_MS:
                self.is_resting = False
                self.refusals += 1
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
        if self.is_resting and ticks_diff(now_ms, self._rest_ms) > 2 * _LAST_WORDS_MS:
            return max(_POLL_MS, ticks_diff(self._until_ms, now_ms))
        return _POLL_MS
