"""Columns: how one channel is predicted, and how what is left of it becomes bits.

The same `Column` runs at both ends. `encode` and `decode` must make the same decisions in the
same order; all that they share is in `_expect` and `_learn`. The layout of a context block is
in docs/batch-format.md, section 6.
"""

from copy import copy

from gateway.codec.rangecoder import RangeDecoder

# One block of contexts per column.
ZERO = 0  # [size 10][left 3][recent 3]: is the residual other than zero?
SIGN = ZERO + 90  # [lean 3][left sign 3][last sign 3][large 2]
BIN = SIGN + 54  # [scale 8][bin relative to scale 10]: is it beyond this bin?
TOP = BIN + 80  # [bin 8][3]: the first two bits within a bin
ABSENT = TOP + 24
BLOCK = ABSENT + 2
FIRST_SCALE = 7
BIN_MAX = 68  # |residual| < 2**69


def put_number(out: list[int], base: int, scale: int, number: int) -> None:
    """Append `number` (0..2**69) as Exp-Golomb: bin in unary with contexts, then its bits."""
    number += 1
    k = number.bit_length() - 1
    row = base + BIN + scale * 10
    shift = 3 - scale if scale < FIRST_SCALE else -4
    for j in range(k):
        place = j + shift
        out.append((row + (0 if place < 0 else place if place < 9 else 9)) * 2 + 1)
    place = k + shift
    out.append((row + (0 if place < 0 else place if place < 9 else 9)) * 2)
    if k == 0:
        return
    top = base + TOP + (k if k < 7 else 7) * 3
    bit = number >> (k - 1) & 1
    out.append(top * 2 + bit)
    if k == 1:
        return
    out.append((top + 1 + bit) * 2 + (number >> (k - 2) & 1))
    k -= 2
    while k > 16:
        k -= 16
        out.append(-1 - ((number >> k & 0xFFFF) << 5 | 16))
    if k:
        out.append(-1 - ((number & (1 << k) - 1) << 5 | k))


def get_number(coder: RangeDecoder, base: int, scale: int) -> int:
    """The inverse of `put_number`."""
    row = base + BIN + scale * 10
    shift = 3 - scale if scale < FIRST_SCALE else -4
    k = 0
    while True:
        place = k + shift
        if not coder.bit(row + (0 if place < 0 else place if place < 9 else 9)):
            break
        k += 1
        if k > BIN_MAX:
            raise ValueError("a number beyond 2**69")
    if k == 0:
        return 0
    top = base + TOP + (k if k < 7 else 7) * 3
    bit = coder.bit(top)
    number = 2 | bit
    if k == 1:
        return number - 1
    number = number << 1 | coder.bit(top + 1 + bit)
    k -= 2
    while k > 16:
        k -= 16
        number = number << 16 | coder.raw(16)
    if k:
        number = number << k | coder.raw(k)
    return number - 1


def put_signed(out: list[int], base: int, context: int, scale: int, value: int) -> None:
    """Append a signed number in a place that has no history (context 0..9 picks its row)."""
    z = base + ZERO + context * 9
    if value == 0:
        out.append(z * 2)
        return
    out.append(z * 2 + 1)
    negative = value < 0
    out.append((base + SIGN + context) * 2 + negative)
    put_number(out, base, scale, (-value if negative else value) - 1)


def get_signed(coder: RangeDecoder, base: int, context: int, scale: int) -> int:
    """The inverse of `put_signed`."""
    if not coder.bit(base + ZERO + context * 9):
        return 0
    negative = coder.bit(base + SIGN + context)
    value = get_number(coder, base, scale) + 1
    return -value if negative else value


class Column:
    """One channel of one device: past values, errors of the predictors, scale of residuals."""

    __slots__ = (
        "base", "decay", "e_hint", "e_last", "e_long", "e_mean", "e_trend", "hint", "long", "mean",
        "modulus", "near", "pairs", "present", "r1", "r2", "size", "slope", "stepped", "v1",
    )  # fmt: skip

    def __init__(self, base: int) -> None:
        self.base = base
        self.decay = 4  # how fast the errors of the predictors are forgotten
        self.present = False  # is v1 a value?
        self.stepped = True  # are values counts of the channel's step?
        self.modulus = 0  # values wrap here; inside, v1 and v2 go on without wrapping
        self.v1 = 0
        # 16 * running means of 4 and 16 values, and of the change
        self.mean = self.long = self.slope = 0
        self.e_last = self.e_mean = self.e_long = self.e_trend = self.e_hint = 0
        self.size = 0  # 16 * running mean of |residual|
        self.r1 = self.r2 = 0
        self.near = -1  # 16 * |residual| of the column that this one goes with; -1: of none
        self.hint: int | None = None  # what other columns suggest for the next value
        # What the value was when the column to the left was this: a rating curve, point by point.
        self.pairs: dict[int, int] | None = None

    def clone(self) -> "Column":
        """A copy that can go on without changing this one."""
        twin = copy(self)
        if self.pairs is not None:
            twin.pairs = dict(self.pairs)
        return twin

    def start(self, value: int) -> None:
        """Take in the first value."""
        self.v1 = value
        self.mean = self.long = value << 4
        self.slope = self.size = self.r1 = self.r2 = 0
        self.e_last = self.e_mean = self.e_long = self.e_trend = self.e_hint = 0
        self.present = True

    def expect(self) -> int:
        """The prediction for the next value: that of the predictor that was best of late."""
        e = self.e_last
        if not e:
            return self.v1
        p = self.v1 << 4
        if self.e_mean < e:
            e = self.e_mean
            p = self.mean
        if self.e_trend < e:
            e = self.e_trend
            p = (self.v1 << 4) + self.slope
        if self.e_long < e:
            e = self.e_long
            p = self.long
        if self.hint is not None and self.e_hint < e:
            return self.hint
        return (p + 8) >> 4

    def learn(self, value: int, r: int) -> None:
        """Take in the value and the residual that it left."""
        d = value - self.v1
        decay = self.decay
        if d or self.e_last:
            v16 = value << 4
            d16 = d << 4
            slope = self.slope
            mean = v16 - self.mean
            long = v16 - self.long
            self.e_last += abs(d16) - (self.e_last >> decay)
            self.e_mean += abs(mean) - (self.e_mean >> decay)
            self.e_long += abs(long) - (self.e_long >> decay)
            self.e_trend += abs(d16 - slope) - (self.e_trend >> decay)
            self.slope = slope + ((d16 - slope) * 5 >> 4)
            self.mean += mean >> 2
            self.long += long >> 4
            self.v1 = value
        if self.hint is not None:
            self.e_hint += (abs(value - self.hint) << 4) - (self.e_hint >> decay)
        a = self.size
        x = abs(r) << 4
        if x > a:
            x = min(x, 4 * a + 512)
            self.size = a + ((x - a) >> 2)
        elif a:
            self.size = a - ((a - x + 3) >> 2)
        self.r2 = self.r1
        self.r1 = r

    def encode(self, out: list[int], value: int, left: int) -> int:
        """Append `value`; return what the next column sees of it (0..4)."""
        if self.modulus:
            value = self.v1 + _wrapped(value - self.v1, self.modulus)
        expected = self.expect()
        r = value - expected
        size = self.size
        if self.near >= 0:
            size = size + self.near >> 1
        r1 = self.r1
        q = size.bit_length()
        z = self.base + (q if q < 9 else 9) * 9 + (left + 1 >> 1) * 3
        if r1:
            z += 1
        if self.r2:
            z += 1
        if r == 0:
            out.append(z * 2)
            self.learn(value, 0)
            return 0
        out.append(z * 2 + 1)
        sign = self.base + SIGN + (0, 6, 12, 6, 12)[left] + (0 if not r1 else 2 if r1 > 0 else 4)
        if q > 5:
            sign += 1
        lean = self.v1 - expected << 6
        if lean > size:
            sign += 18
        elif lean < -size:
            sign += 36
        scale = q - 4 if q > 4 else 0
        self.learn(value, r)
        if r < 0:
            out.append(sign * 2 + 1)
            put_number(out, self.base, scale if scale < 6 else 6, -r - 1)
            return 2 if -r << 4 <= size else 4
        out.append(sign * 2)
        put_number(out, self.base, scale if scale < 6 else 6, r - 1)
        return 1 if r << 4 <= size else 3

    def decode(self, coder: RangeDecoder, left: int) -> tuple[int, int]:
        """The inverse of `encode`: the value, and what the next column sees of it."""
        expected = self.expect()
        size = self.size
        if self.near >= 0:
            size = size + self.near >> 1
        r1 = self.r1
        q = size.bit_length()
        z = self.base + (q if q < 9 else 9) * 9 + (left + 1 >> 1) * 3
        if r1:
            z += 1
        if self.r2:
            z += 1
        r = seen = 0
        if coder.bit(z):
            sign = self.base + SIGN + (0, 6, 12, 6, 12)[left]
            sign += (0 if not r1 else 2 if r1 > 0 else 4) + (q > 5)
            lean = self.v1 - expected << 6
            sign += 18 if lean > size else 36 if lean < -size else 0
            scale = q - 4 if q > 4 else 0
            negative = coder.bit(sign)
            r = get_number(coder, self.base, scale if scale < 6 else 6) + 1
            seen = 1 if r << 4 <= size else 3
            if negative:
                r = -r
                seen += 1
        value = expected + r
        self.learn(value, r)
        return (value % self.modulus if self.modulus else value), seen


def _wrapped(difference: int, modulus: int) -> int:
    """The same difference on a circle, nearest to zero."""
    return (difference + modulus // 2) % modulus - modulus // 2
