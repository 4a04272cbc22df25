"""RTU frames: the buffer that both ends collect into, lengths, CRC at the end: `FrameBuffer`.

Source: Modbus over serial line V1.02, 2.5.1; Modbus application protocol V1.1b3, 6.
"""

from protocols.modbus.crc import crc16

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16
READS = (READ_HOLDING, READ_INPUT)
WRITES = (WRITE_ONE, WRITE_MANY)
ADU_MAX = 256  # V1.02, 2.5.1: unit, 253 bytes of PDU, CRC
BUFFER = 2 * ADU_MAX  # a whole frame and as much noise before it

WAIT, BAD = 0, -1


def response_length(buf: bytearray, start: int, end: int) -> int:
    """Length of the response at `start`; WAIT when too little is there, BAD when it is none."""
    if end - start < 3:
        return WAIT
    function = buf[start + 1]
    if function & 0x80:
        return 5 if function & 0x7F else BAD
    if function in READS:
        data = buf[start + 2]
        return 5 + data if data and not data & 1 and data <= 250 else BAD
    if function in WRITES:
        return 8
    return BAD


class FrameBuffer:
    """Bytes of the line, in order; `start..end` of `buf` are not yet dealt with.

    Never grows: when it is full the oldest byte is dropped and counted in `noise_bytes`.
    """

    def __init__(self) -> None:
        self.buf = bytearray(BUFFER)
        self.start = 0
        self.end = 0
        self.noise_bytes = 0

    def append(self, byte: int) -> None:
        """Add one byte."""
        if self.end == BUFFER:
            if self.start == 0:
                self.drop(1)
            self._shift()
        self.buf[self.end] = byte
        self.end += 1

    def _shift(self) -> None:
        length = self.end - self.start
        for i in range(length):
            self.buf[i] = self.buf[self.start + i]
        self.start = 0
        self.end = length

    def drop(self, count: int) -> None:
        """Count the first `count` bytes as noise and forget them."""
        self.noise_bytes += count
        self.take(count)

    def take(self, count: int) -> None:
        """Forget the first `count` bytes, which were a frame."""
        self.start += count
        if self.start >= self.end:
            self.start = self.end = 0

    def is_frame(self, at: int, length: int) -> bool:
        """True when buf[at:at + length] is there and ends in its CRC."""
        return at + length <= self.end and crc16(self.buf, at, at + length) == 0


def put_crc(buf: bytearray, length: int) -> int:
    """Append the CRC of buf[:length], low byte first; return the new length."""
    crc = crc16(buf, 0, length)
    buf[length] = crc & 0xFF
    buf[length + 1] = crc >> 8
    return length + 2
