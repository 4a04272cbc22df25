"""Adaptive binary range coder: 16-bit probabilities, 48-bit range, integers only.

A context is an index into two lists: `probs` (probability that the bit is 1, of 65536) and
`counts` (how much has been seen, which sets how fast the probability moves). The encoder takes
all decisions of a batch as one list, so that its loop has no call in it:

    d >= 0   a bit with a context: context * 2 + bit
    d <  0   raw bits, equally likely: -1 - (value * 32 + width), width 1..16
"""

from collections.abc import Iterable

HALF = 32768
FLOOR = 24  # probabilities stay within 24/65536 of 0 and 1
COUNT_MAX = 90
_TOP = 1 << 48
_LOW = 1 << 32
# The top sixteenth of the range is not used: a first byte from 0xF0 is something else.
_START = _TOP // 16 * 15
# The step after n observations, of 65536: an average at first, exponential forgetting later.
RATES = tuple(int(65536 / (n + 1.6)) for n in range(COUNT_MAX + 1))


def raw_bits(value: int, width: int) -> int:
    """The decision for `width` (1..16) equally likely bits."""
    return -1 - (value << 5 | width)


def encode_decisions(decisions: Iterable[int], probs: list[int], counts: list[int]) -> bytes:
    """The shortest bytes that decode to `decisions`; `probs` and `counts` end up adapted."""
    out = bytearray()
    rates, limit, floor, ceiling = RATES, COUNT_MAX, FLOOR, 65536 - FLOOR
    low, size = 0, _START
    for d in decisions:
        if d >= 0:
            i = d >> 1
            p = probs[i]
            n = counts[i]
            bound = (size >> 16) * p
            if d & 1:
                size = bound
                probs[i] = p + ((ceiling - p) * rates[n] >> 16)
            else:
                low += bound
                size -= bound
                probs[i] = p - ((p - floor) * rates[n] >> 16)
            if n < limit:
                counts[i] = n + 1
        else:
            d = -1 - d
            size >>= d & 31
            low += size * (d >> 5)
        while size < _LOW:
            if low >= _TOP:
                low -= _TOP
                _carry(out)
            out += (low >> 32).to_bytes(2, "big")
            low = (low & 0xFFFFFFFF) << 16
            size <<= 16
    return _finish(out, low, size)


def _carry(out: bytearray) -> None:
    i = len(out) - 1
    while out[i] == 255:
        out[i] = 0
        i -= 1
    out[i] += 1


def _finish(out: bytearray, low: int, size: int) -> bytes:
    """Of all numbers in [low, low + size) write the one with the most zero bytes at its end."""
    for shift in range(48, -1, -8):
        value = (low + (1 << shift) - 1) >> shift << shift
        if value < low + size:
            break
    else:
        raise AssertionError("the interval is never empty")
    if value >= _TOP:
        value -= _TOP
        _carry(out)
    out += value.to_bytes(6, "big")
    return bytes(out).rstrip(b"\0")


class RangeDecoder:
    """The other end; zero bytes that the encoder dropped are read as zeros."""

    __slots__ = ("_code", "_data", "_position", "_size", "counts", "probs")

    def __init__(self, data: bytes) -> None:
        self._data = data + bytes(8)
        self._code = int.from_bytes(self._data[:6], "big")
        self._position = 6
        self._size = _START
        self.probs: list[int] = []
        self.counts: list[int] = []

    def bit(self, i: int) -> int:
        """The next bit, with context `i`."""
        p = self.probs[i]
        n = self.counts[i]
        bound = (self._size >> 16) * p
        if self._code < bound:
            self._size = bound
            self.probs[i] = p + ((65536 - FLOOR - p) * RATES[n] >> 16)
            bit = 1
        else:
            self._code -= bound
            self._size -= bound
            self.probs[i] = p - ((p - FLOOR) * RATES[n] >> 16)
            bit = 0
        if n < COUNT_MAX:
            self.counts[i] = n + 1
        if self._size < _LOW:
            self._refill()
        return bit

    def raw(self, width: int) -> int:
        """The next `width` equally likely bits (1..16)."""
        self._size >>= width
        value = min(self._code // self._size, (1 << width) - 1)
        self._code -= value * self._size
        if self._size < _LOW:
            self._refill()
        return value

    def _refill(self) -> None:
        while self._size < _LOW:
            chunk = self._data[self._position : self._position + 2]
            self._position += 2
            self._code = self._code << 16 | (int.from_bytes(chunk, "big") if len(chunk) == 2 else 0)
            self._size <<= 16
