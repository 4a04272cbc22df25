"""GPIO lines by the kernel's character device (uAPI v2), without a library.

Layouts are those of `include/uapi/linux/gpio.h`, Linux 5.10 and later. A chip's lines are asked
for once as outputs, all off, and once as inputs; closing the files gives them back, and the board's
pull resistors then decide, which must mean flash.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Mapping, Sequence

GET_LINE = 0xC250B407
GET_VALUES = 0xC010B40E
SET_VALUES = 0xC010B40F
FLAG_INPUT, FLAG_OUTPUT, FLAG_PULL_UP = 1 << 2, 1 << 3, 1 << 8
ATTR_VALUES = 2
LINES_MAX = 64
_REQUEST = "<64I32sQI20x240sII20xi"
REQUEST_SIZE = struct.calcsize(_REQUEST)

Ioctl = Callable[[int, int, bytearray], int]


def _ioctl(fd: int, code: int, buffer: bytearray) -> int:
    return fcntl.ioctl(fd, code, buffer, True)


class Lines:
    """Some lines of one chip in one direction, in the order of `offsets`."""

    def __init__(
        self,
        chip: int,
        offsets: Sequence[int],
        *,
        output: bool,
        pull_up: bool = False,
        ioctl: Ioctl = _ioctl,
    ) -> None:
        if not 1 <= len(offsets) <= LINES_MAX:
            raise ValueError(f"{len(offsets)} lines; one request takes 1 to {LINES_MAX}")
        self._ioctl = ioctl
        self.offsets = list(offsets)
        flags = FLAG_OUTPUT if output else FLAG_INPUT | (FLAG_PULL_UP if pull_up else 0)
        mask = (1 << len(offsets)) - 1
        attrs = struct.pack("<IIQQ", ATTR_VALUES, 0, 0, mask) if output else b""
        padded = [*offsets, *[0] * (LINES_MAX - len(offsets))]
        buffer = bytearray(
            struct.pack(
                _REQUEST, *padded, b"tukad", flags, 1 if output else 0, attrs, len(offsets), 0, -1
            )
        )
        ioctl(chip, GET_LINE, buffer)
        self.fd = int(struct.unpack_from("<i", buffer, REQUEST_SIZE - 4)[0])

    def read(self) -> int:
        """The levels as bits, line 0 of the request lowest."""
        buffer = bytearray(struct.pack("<QQ", 0, (1 << len(self.offsets)) - 1))
        self._ioctl(self.fd, GET_VALUES, buffer)
        return int(struct.unpack_from("<Q", buffer)[0])

    def write(self, bits: int) -> None:
        """Set all lines at once."""
        mask = (1 << len(self.offsets)) - 1
        self._ioctl(self.fd, SET_VALUES, bytearray(struct.pack("<QQ", bits & mask, mask)))

    def close(self) -> None:
        """Give the lines back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class GpioBoard:
    """A GPIO chip as a board: `exchange` outputs for inputs. Errors are OSError."""

    def __init__(
        self,
        path: str,
        outputs: Sequence[int],
        inputs: Sequence[int],
        *,
        pull_up: bool = True,
        ioctl: Ioctl = _ioctl,
    ) -> None:
        self._path = path
        self._outputs = list(outputs)
        self._inputs = list(inputs)
        self._pull_up = pull_up
        self._ioctl = ioctl
        self._out: Lines | None = None
        self._in: Lines | None = None

    async def open(self) -> None:
        """Ask for the lines. Raises OSError."""
        self.close()
        chip = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if self._outputs:
                self._out = Lines(chip, self._outputs, output=True, ioctl=self._ioctl)
            if self._inputs:
                self._in = Lines(
                    chip, self._inputs, output=False, pull_up=self._pull_up, ioctl=self._ioctl
                )
        finally:
            os.close(chip)

    async def exchange(self, outputs: Mapping[int, bool]) -> dict[int, bool]:
        """Drive the outputs, read the inputs. Raises OSError."""
        if self._out is None and self._in is None:
            raise ConnectionError(f"{self._path} is not open")
        if self._out is not None:
            self._out.write(
                sum(1 << k for k, number in enumerate(self._outputs) if outputs.get(number))
            )
        if self._in is None:
            return {}
        bits = self._in.read()
        return {number: bool(bits >> k & 1) for k, number in enumerate(self._inputs)}

    def close(self) -> None:
        """Give all lines back."""
        for lines in (self._out, self._in):
            if lines is not None:
                lines.close()
        self._out = self._in = None
