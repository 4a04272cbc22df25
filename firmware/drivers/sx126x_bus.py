"""The wires of an SX126x: `Sx126xBus` (commands, registers, BUSY) and `RadioError`.

Everything is built in one small buffer with a view for every length, so that a command allocates
nothing. Source: SX1261/2 datasheet rev. 2.1, chapters 8.3 and 10.
"""

from micropython import const

from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from machine import SPI, Pin

_WRITE_REGISTER = const(0x0D)
_READ_REGISTER = const(0x1D)
_WRITE_BUFFER = const(0x0E)
_READ_BUFFER = const(0x1E)
_GET_STATUS = const(0xC0)

_BUSY_MS_MAX = const(100)  # full calibration with a slow TCXO is the longest
FRAME_MAX = 255


class RadioError(Exception):
    """The chip does not behave; `code`: "busy" | "status" | "bandwidth" | "length"."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code


class Sx126xBus:
    """SPI, chip select and BUSY of one chip. `out` is the command; what the chip says replaces it.

    `sleep_ms` waits while the chip wakes.
    """

    def __init__(
        self,
        spi: "SPI",
        cs: "Pin",
        busy: "Pin",
        ticks_ms: "Callable[[], int]",
        sleep_ms: "Callable[[int], None]",
    ) -> None:
        self._frame = bytearray(FRAME_MAX + 3)
        self._frame_view = memoryview(self._frame)
        self.out = bytearray(12)
        view = memoryview(self.out)
        self._outs = [view[:length] for length in range(13)]
        self._spi = spi
        self._cs = cs
        self._busy = busy
        self._ticks_ms = ticks_ms
        self._sleep_ms = sleep_ms
        self.is_asleep = False

    def _wait(self) -> None:
        """Until the chip takes a command. Raises RadioError("busy")."""
        if not self._busy.value():
            return
        start = self._ticks_ms()
        while self._busy.value():
            if ticks_diff(self._ticks_ms(), start) > _BUSY_MS_MAX:
                raise RadioError("busy")

    def send(self, length: int) -> None:
        """Send `out[:length]`; what the chip answers replaces it."""
        if self.is_asleep:
            self._wake()
        self._wait()
        view = self._outs[length]
        self._cs.value(0)
        self._spi.write_readinto(view, view)
        self._cs.value(1)

    def _wake(self) -> None:
        # A falling edge on NSS wakes it; BUSY is high until it is up (datasheet 13.1.1).
        self._cs.value(0)
        self._sleep_ms(1)
        self._cs.value(1)
        self.is_asleep = False

    def command1(self, opcode: int, a: int) -> None:
        """A command with one parameter."""
        out = self.out
        out[0] = opcode
        out[1] = a
        self.send(2)

    def command3(self, opcode: int, a: int, b: int, c: int) -> None:
        """A command with three."""
        out = self.out
        out[0] = opcode
        out[1] = a
        out[2] = b
        out[3] = c
        self.send(4)

    def write_register(self, address: int, value: int) -> None:
        """One byte into a register."""
        self.command3(_WRITE_REGISTER, address >> 8, address & 0xFF, value)

    def read_register(self, address: int) -> int:
        """One byte out of a register."""
        out = self.out
        out[0] = _READ_REGISTER
        out[1] = address >> 8
        out[2] = address & 0xFF
        out[3] = 0
        out[4] = 0
        self.send(5)
        return out[4]

    def read2(self, opcode: int) -> int:
        """Two bytes behind the status byte, as one number."""
        out = self.out
        out[0] = opcode
        out[1] = 0
        out[2] = 0
        out[3] = 0
        self.send(4)
        return (out[2] << 8) | out[3]

    def status(self) -> int:
        """The chip's status byte: mode in bits 6..4."""
        self.out[0] = _GET_STATUS
        self.out[1] = 0
        self.send(2)
        return self.out[1]

    def write_buffer(self, data: "bytes | bytearray | memoryview", length: int) -> None:
        """Put data[:length] into the chip's buffer at 0. Allocates a view."""
        frame = self._frame
        frame[0] = _WRITE_BUFFER
        frame[1] = 0
        for i in range(length):
            frame[2 + i] = data[i]
        self._wait()
        self._cs.value(0)
        self._spi.write(self._frame_view[: length + 2])
        self._cs.value(1)

    def read_buffer(self, offset: int, buf: bytearray, length: int) -> None:
        """Copy `length` bytes of the chip's buffer from `offset` into `buf`. Allocates a view."""
        self._wait()
        frame = self._frame
        frame[0] = _READ_BUFFER
        frame[1] = offset
        frame[2] = 0
        view = self._frame_view[: length + 3]
        self._cs.value(0)
        self._spi.write_readinto(view, view)
        self._cs.value(1)
        for i in range(length):
            buf[i] = frame[3 + i]
