"""The forward error correction of TS004-1.0.0: `parity_line`, `encode`, `Decoder`.

A block of M fragments is sent as those M, then as coded fragments M + 1, M + 2, ...; each coded one
is the exclusive or of about half of the M, chosen by a pseudo-random line (PRBS23) that both
ends work out from M and the number. Any coded fragments whose lines are independent replace as
many lost ones. TS004-2.0.0 draws its lines differently: this is version 1.

Source: LoRa Alliance, Fragmented Data Block Transport v1.0.0, appendix; vectors from the public
tests of brocaar/lorawan and of the flash-algo crate.
"""

from protocols.errors import LocalError

FRAGMENTS_MAX = 4096
LOST_MAX = 128

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Rows(Protocol):
        """M places of one fragment each, in flash; what was put can be read back."""

        def put(self, index: int, data: bytearray) -> None: ...
        def get_into(self, index: int, data: bytearray) -> None: ...


def prbs23(x: int) -> int:
    """The next state of the 23-bit generator."""
    return (x >> 1) | (((x ^ (x >> 5)) & 1) << 22)


def parity_line(number: int, count: int, line: bytearray) -> None:
    """Which of `count` fragments the coded fragment `number` (from 1) is made of: bits of `line`.

    Bit i of `line` (byte i // 8, low bits first) stands for fragment i from 0; `line` is cleared.
    """
    for at in range(len(line)):
        line[at] = 0
    modulus = count + 1 if count & (count - 1) == 0 else count
    x = 1 + 1001 * number
    for _ in range(count // 2):
        r = count
        while r >= count:
            x = prbs23(x)
            r = x % modulus
        line[r >> 3] |= 1 << (r & 7)


def encode(block: bytes, size: int, number: int) -> bytes:
    """Fragment `number` (from 1, no upper end) of a block that is a multiple of `size` bytes."""
    count = len(block) // size
    if size < 1 or len(block) != count * size or not 1 <= count <= FRAGMENTS_MAX or number < 1:
        raise LocalError("range", "fragment %d of %d bytes by %d" % (number, len(block), size))
    if number <= count:
        return block[(number - 1) * size : number * size]
    line = bytearray((count + 7) // 8)
    parity_line(number - count, count, line)
    out = bytearray(size)
    for index in range(count):
        if line[index >> 3] & 1 << (index & 7):
            _xor(out, memoryview(block)[index * size : (index + 1) * size])
    return bytes(out)


def _xor(into: bytearray, data: "bytes | bytearray | memoryview") -> None:
    for at in range(len(into)):
        into[at] ^= data[at]


class Decoder:
    """Fragments in any order in, the block in `rows` out.

    Memory: M / 8 bytes twice, two fragments, and one bit mask for each lost fragment; the data of
    half-solved lines waits in `rows`, in the places of the lost fragments. When the first coded
    fragment comes, those still missing are lost ones; there may be `LOST_MAX`.
    """

    def __init__(self, count: int, size: int, rows: "Rows") -> None:
        if not 1 <= count <= FRAGMENTS_MAX or not 1 <= size <= 255:
            raise LocalError("range", "%d fragments of %d bytes" % (count, size))
        self.count = count
        self.size = size
        self._rows = rows
        self._have = bytearray((count + 7) // 8)  # fragments that are in their place
        self._line = bytearray((count + 7) // 8)
        self._data = bytearray(size)
        self._other = bytearray(size)
        self._lost: list[int] | None = None  # columns: fragments missing at the first coded one
        self._masks: list[int] = []  # by column; 0: no line begins there yet
        self._solved = 0  # independent lines, once there are columns
        self._kept = 0  # uncoded fragments in place
        self.received = 0  # fragments taken, coded ones and useless ones too
        self.is_complete = False
        self.is_overrun = False  # more were lost than we can solve for

    @property
    def missing(self) -> int:
        """Independent fragments that are still needed."""
        return self.count - self._kept - self._solved

    def take(self, number: int, data: "bytes | bytearray | memoryview") -> bool:
        """Fragment `number` from 1, `size` bytes; whether it was of use."""
        if len(data) != self.size or number < 1 or self.is_complete:
            return False
        self.received += 1
        if number <= self.count and self._lost is None:
            return self._keep(number - 1, data)
        if self._lost is None and not self._begin_solving():
            return False
        if self.is_overrun:
            return False
        self._data[:] = data
        return self._insert(self._reduce(number))

    def _keep(self, index: int, data: "bytes | bytearray | memoryview") -> bool:
        bit = 1 << (index & 7)
        if self._have[index >> 3] & bit:
            return False
        self._data[:] = data
        self._rows.put(index, self._data)
        self._have[index >> 3] |= bit
        self._kept += 1
        self.is_complete = self._kept == self.count
        return True

    def _begin_solving(self) -> bool:
        if self.count - self._kept > LOST_MAX:
            self.is_overrun = True  # fragments sent again may still help
            return False
        lost: list[int] = []
        for index in range(self.count):
            if not self._have[index >> 3] & 1 << (index & 7):
                lost.append(index)
        self._lost = lost
        self._masks = [0] * len(lost)
        self.is_overrun = False
        return True

    def _reduce(self, number: int) -> int:
        """Take what we have out of `_data`; the mask of lost fragments that stay in it."""
        lost = self._lost or []
        if number <= self.count:
            # A straggler: a line with one fragment in it. None of ours: a mask of nothing.
            index = number - 1
            return 1 << lost.index(index) if index in lost else 0
        parity_line(number - self.count, self.count, self._line)
        for index in range(self.count):
            bit = 1 << (index & 7)
            if self._line[index >> 3] & self._have[index >> 3] & bit:
                self._rows.get_into(index, self._other)
                _xor(self._data, self._other)
        mask = 0
        for column, index in enumerate(lost):
            if self._line[index >> 3] & 1 << (index & 7):
                mask |= 1 << column
        return mask

    def _insert(self, mask: int) -> bool:
        lost = self._lost or []
        for column in range(len(lost)):
            if not mask >> column & 1:
                continue
            if self._masks[column]:
                mask ^= self._masks[column]
                self._rows.get_into(lost[column], self._other)
                _xor(self._data, self._other)
                continue
            self._masks[column] = mask
            self._rows.put(lost[column], self._data)
            self._solved += 1
            if self._solved == len(lost):
                self._finish(lost)
            return True
        return False

    def _finish(self, lost: "list[int]") -> None:
        for column in range(len(lost) - 1, -1, -1):
            self._rows.get_into(lost[column], self._data)
            for later in range(column + 1, len(lost)):
                if self._masks[column] >> later & 1:
                    self._rows.get_into(lost[later], self._other)
                    _xor(self._data, self._other)
            self._rows.put(lost[column], self._data)
        self.is_complete = True
