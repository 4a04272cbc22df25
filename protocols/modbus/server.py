"""Modbus RTU server, sans-IO: `RtuServer` answers functions 3, 4, 6 and 16 from a `Provider`.

Writing several registers asks the provider about all of them first, so either all are written or
none.
"""

from protocols.errors import LocalError
from protocols.modbus.frames import (
    ADU_MAX,
    READS,
    WRITE_MANY,
    WRITE_ONE,
    FrameBuffer,
    put_crc,
)

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
BROADCAST = 0
_READ_COUNT_MAX = 125
_WRITE_COUNT_MAX = 123


class Provider:
    """What the registers mean: subclass it. As it is, there are none."""

    def read(self, function: int, address: int) -> int:
        """The register, 0..65535, or -1 when there is none. `function` is 3 or 4."""
        return -1

    def write(self, address: int, value: int, is_check: bool) -> int:
        """Take `value` and return 0, or return an exception code; only judge it if `is_check`."""
        return ILLEGAL_ADDRESS


class RtuServer:
    """feed() bytes; line_idle() after 3.5 silent characters -> length of the answer in `tx`, or 0.

    Silence ends a request, as the specification demands: answers come out of line_idle() alone.
    A request may have noise before it. Frames of other units on the bus are not noise: they are
    passed over. Counters: requests, exceptions, noise_bytes.
    """

    def __init__(self, unit: int, provider: Provider) -> None:
        if not 1 <= unit <= 247:
            raise LocalError("range", "unit %d is not in 1..247" % unit)
        self.unit = unit
        self.tx = bytearray(ADU_MAX)
        self.requests = 0
        self.exceptions = 0
        self._provider = provider
        self._line = FrameBuffer()

    @property
    def noise_bytes(self) -> int:
        """Bytes that belonged to no frame."""
        return self._line.noise_bytes

    def feed(self, data: "bytes | bytearray | memoryview", length: int = -1) -> None:
        """Take data[:length] that arrived."""
        for i in range(len(data) if length < 0 else length):
            self._line.append(data[i])

    def line_idle(self) -> int:
        """The line was silent for 3.5 characters: the length of an answer to send, or 0."""
        line = self._line
        length = 0
        while line.end - line.start >= 4:
            whole = line.end - line.start
            if not line.is_frame(line.start, whole):
                line.drop(1)
                continue
            unit = line.buf[line.start]
            if unit == self.unit or unit == BROADCAST:
                self.requests += 1
                length = self._answer(line.start + 1, whole - 3)
                if unit == BROADCAST:
                    length = 0
            line.take(whole)
        line.drop(line.end - line.start)
        return length

    def _answer(self, at: int, length: int) -> int:
        """Answer the PDU of `length` bytes at `at`."""
        buf = self._line.buf
        function = buf[at]
        self.tx[0] = self.unit
        self.tx[1] = function
        code = ILLEGAL_FUNCTION
        end = 0
        if function in READS:
            code = ILLEGAL_VALUE
            if length == 5:
                end = self._read(function, _word(buf, at + 1), _word(buf, at + 3))
                code = -end
        elif function == WRITE_ONE:
            code = ILLEGAL_VALUE
            if length == 5:
                code = self._write(at + 3, _word(buf, at + 1), 1)
        elif function == WRITE_MANY:
            code = ILLEGAL_VALUE
            count = _word(buf, at + 3) if length >= 6 else 0
            is_whole = length == 6 + 2 * count and buf[at + 5] == 2 * count
            if is_whole and 1 <= count <= _WRITE_COUNT_MAX:
                code = self._write(at + 6, _word(buf, at + 1), count)
        if code > 0:
            self.exceptions += 1
            self.tx[1] = function | 0x80
            self.tx[2] = code
            return put_crc(self.tx, 3)
        if not end:  # a write is answered by its first five bytes
            end = 6
            for i in range(1, 5):
                self.tx[1 + i] = buf[at + i]
        return put_crc(self.tx, end)

    def _read(self, function: int, address: int, count: int) -> int:
        """Put registers into `tx`; where the answer ends, or minus an exception code."""
        if not 1 <= count <= _READ_COUNT_MAX:
            return -ILLEGAL_VALUE
        if address + count > 0x10000:
            return -ILLEGAL_ADDRESS
        self.tx[2] = 2 * count
        at = 3
        for i in range(count):
            value = self._provider.read(function, address + i)
            if value < 0:
                return -ILLEGAL_ADDRESS
            self.tx[at] = value >> 8 & 0xFF
            self.tx[at + 1] = value & 0xFF
            at += 2
        return at

    def _write(self, at: int, address: int, count: int) -> int:
        """Write all registers or none; 0 or an exception code."""
        if address + count > 0x10000:
            return ILLEGAL_ADDRESS
        buf = self._line.buf
        for is_check in (True, False):
            for i in range(count):
                value = _word(buf, at + 2 * i)
                code = self._provider.write(address + i, value, is_check)
                if code:
                    return code
        return 0


def _word(buf: bytearray, at: int) -> int:
    return buf[at] << 8 | buf[at + 1]
