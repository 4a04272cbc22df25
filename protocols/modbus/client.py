"""Modbus RTU client, sans-IO: `RtuClient` makes requests and finds the replies in the noise.

    length = client.read_into(unit, function, address, count)   # request is client.tx[:length]
    ... write it; then for whatever arrives: is_answered = client.feed(data)
    on 3.5 characters of silence: is_answered = client.line_idle()
    on the caller's own time-out: client.timed_out()
    when answered: client.exception (0: none), client.count, client.register(i)

Every byte becomes part of a frame or is counted in `noise_bytes`. After anything that is no frame
the search goes on one byte later, so a noise byte before a good frame costs nothing, and a late
reply before the right one in the same read is a stray, not a loss.
"""

from protocols.errors import LocalError
from protocols.modbus.frames import (
    ADU_MAX,
    BAD,
    READS,
    WAIT,
    WRITE_MANY,
    WRITE_ONE,
    FrameBuffer,
    put_crc,
    response_length,
)

READ_COUNT_MAX = 125
WRITE_COUNT_MAX = 123


class RtuClient:
    """One outstanding request.

    Counters: replies (data and exceptions), exceptions, timeouts, strays (good frames that answer
    nothing we asked), noise_bytes.
    is_doubtful: the last answer may be the late one to an equal request that timed out before (RTU
    has no transaction number); read again to be sure.
    """

    def __init__(self) -> None:
        self.tx = bytearray(ADU_MAX)
        self.replies = 0
        self.exceptions = 0
        self.timeouts = 0
        self.strays = 0
        self.exception = 0  # code of the last reply, 0 when it was data
        self.count = 0  # registers in the last reply
        self.is_doubtful = False
        self._line = FrameBuffer()
        self._registers = bytearray(2 * READ_COUNT_MAX)
        self._unit = 0
        self._function = 0  # of the outstanding request; 0: none
        self._count = 0
        self._late_unit = 0
        self._late_function = 0
        self._late_count = 0

    @property
    def noise_bytes(self) -> int:
        """Bytes that belonged to no frame."""
        return self._line.noise_bytes

    @property
    def is_waiting(self) -> bool:
        """True while a request is outstanding."""
        return self._function != 0

    def read_into(self, unit: int, function: int, address: int, count: int) -> int:
        """Put a read request (function 3 or 4, 1..125 registers) into `tx`; return its length.

        Raises LocalError("range"). An outstanding request is forgotten.
        """
        if function not in READS:
            raise LocalError("range", "function %d does not read registers" % function)
        if not 1 <= count <= READ_COUNT_MAX:
            raise LocalError("range", "count %d is not in 1..%d" % (count, READ_COUNT_MAX))
        self._head(unit, function, address, address + count - 1)
        self.tx[4] = count >> 8
        self.tx[5] = count & 0xFF
        self._expect(unit, function, count)
        return put_crc(self.tx, 6)

    def write_into(self, unit: int, address: int, values: "list[int]") -> int:
        """Put a write request (function 6 for one value, 16 for up to 123) into `tx`.

        Values are 0..65535. Raises LocalError("range").
        """
        count = len(values)
        if not 1 <= count <= WRITE_COUNT_MAX:
            raise LocalError("range", "%d values are not 1..%d" % (count, WRITE_COUNT_MAX))
        for value in values:
            if not 0 <= value <= 0xFFFF:
                raise LocalError("range", "value %d is not in 0..65535" % value)
        function = WRITE_ONE if count == 1 else WRITE_MANY
        self._head(unit, function, address, address + count - 1)
        at = 4
        if function == WRITE_MANY:
            self.tx[4] = 0
            self.tx[5] = count
            self.tx[6] = 2 * count
            at = 7
        for value in values:
            self.tx[at] = value >> 8
            self.tx[at + 1] = value & 0xFF
            at += 2
        self._expect(unit, function, count)
        return put_crc(self.tx, at)

    def _head(self, unit: int, function: int, address: int, last: int) -> None:
        if not 1 <= unit <= 255 or address < 0 or last > 0xFFFF:
            raise LocalError("range", "unit %d, registers %d..%d" % (unit, address, last))
        self.tx[0] = unit
        self.tx[1] = function
        self.tx[2] = address >> 8
        self.tx[3] = address & 0xFF

    def _expect(self, unit: int, function: int, count: int) -> None:
        self._unit = unit
        self._function = function
        self._count = count
        self.is_doubtful = False

    def feed(self, data: "bytes | bytearray | memoryview", length: int = -1) -> bool:
        """Take data[:length] that arrived; True when the outstanding request is answered by it.

        Later bytes of the same data are read too: `exception`, `count` and `register` stay as
        they are until the next answer.
        """
        line = self._line
        is_answered = False
        for i in range(len(data) if length < 0 else length):
            line.append(data[i])
            if self._search(False):
                is_answered = True
        return is_answered

    def line_idle(self) -> bool:
        """The line was silent for 3.5 characters; True when the request is (now) answered."""
        return self._search(True)

    def timed_out(self) -> None:
        """Give up the request; a late reply will be a stray, or doubtful if it fits the next."""
        self.timeouts += 1
        self._late_unit = self._unit
        self._late_function = self._function
        self._late_count = self._count
        self._function = 0

    def _search(self, is_idle: bool) -> bool:
        line = self._line
        is_answered = False
        while line.start < line.end:
            need = response_length(line.buf, line.start, line.end)
            if need == WAIT or (need > 0 and line.start + need > line.end):
                if is_idle:
                    line.drop(1)
                    continue
                # The claim may be noise: the awaited reply may stand whole behind it.
                return self._skip_to_reply() or is_answered
            if need == BAD or not line.is_frame(line.start, need):
                line.drop(1)
                continue
            if self._is_reply(line.start, need):
                self._accept(line.start)
                is_answered = True
            else:
                self.strays += 1
            line.take(need)
        return is_answered

    def _skip_to_reply(self) -> bool:
        """Accept the awaited reply if it ends the buffer, whatever stands before it."""
        if not self._function:
            return False
        line = self._line
        reads = self._function in READS
        need = 5 + 2 * self._count if reads else 8
        at = line.end - need
        if at <= line.start or not self._is_reply(at, need) or not line.is_frame(at, need):
            at = line.end - 5
            need = 5
            if at <= line.start or not self._is_reply(at, need) or not line.is_frame(at, need):
                return False
        self._accept(at)
        line.drop(at - line.start)
        line.take(need)
        return True

    def _is_reply(self, at: int, length: int) -> bool:
        """The frame of `length` bytes at `at` has the shape that the request calls for."""
        buf = self._line.buf
        if not self._function or buf[at] != self._unit:
            return False
        if buf[at + 1] == self._function | 0x80:
            return length == 5
        if buf[at + 1] != self._function:
            return False
        if self._function in READS:
            return length == 5 + 2 * self._count and buf[at + 2] == 2 * self._count
        # An answer to a write repeats the first four bytes of its data.
        for i in range(2, 6):
            if buf[at + i] != self.tx[i]:
                return False
        return length == 8

    def _accept(self, at: int) -> None:
        buf = self._line.buf
        self.replies += 1
        self.is_doubtful = (
            self._late_unit == self._unit
            and self._late_function == self._function
            and self._late_count == self._count
        )
        self._late_function = 0
        if buf[at + 1] & 0x80:
            self.exceptions += 1
            self.exception = buf[at + 2]
            self.count = 0
        else:
            self.exception = 0
            self.count = self._count
            if self._function in READS:
                for i in range(2 * self._count):
                    self._registers[i] = buf[at + 3 + i]
            else:
                self.count = 0
        self._function = 0

    def register(self, index: int) -> int:
        """Register `index` of the last reply, 0..65535. Raises LocalError("range")."""
        if not 0 <= index < self.count:
            raise LocalError("range", "register %d of %d" % (index, self.count))
        return self._registers[2 * index] << 8 | self._registers[2 * index + 1]
