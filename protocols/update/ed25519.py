"""Ed25519 signatures, checked on the device: `Check` in steps, `is_signed` at once.

Verification only, after RFC 8032 section 5.1.7 without the cofactor (as OpenSSL does): canonical
encodings, S below the group's order, keys of small order refused. Nothing here is secret, so
nothing need take constant time. A slow chip runs a check in steps, or its watchdog bites.
"""

from protocols.update.sha512 import sha512

KEY_SIZE = 32
SIGNATURE_SIZE = 64
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_SQRT_M1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752
_BX = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BY = 46316835694926478169428394003475163141307993866256225615783033603165251855960
_BITS = 253  # of a number below the order

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Extended coordinates of RFC 8032 section 5.1.4: X, Y, Z, T = XY/Z.
    Point = tuple[int, int, int, int]


def _add(p: "Point", q: "Point") -> "Point":
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double(p: "Point") -> "Point":
    x, y = p[0], p[1]
    a = x * x % _P
    b = y * y % _P
    h = a + b
    e = h - (x + y) * (x + y) % _P
    g = a - b
    f = 2 * p[2] * p[2] + g
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _power(base: int, exponent: int) -> int:
    """As `pow` of three arguments, which not every build of MicroPython has."""
    out = 1
    while exponent:
        if exponent & 1:
            out = out * base % _P
        base = base * base % _P
        exponent >>= 1
    return out


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _point(data: bytes) -> "Point | None":
    """The point with this encoding (RFC 8032 section 5.1.3); None when there is none."""
    y = _number(data)
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    v3 = v * v * v % _P
    x = u * v3 * _power(u * v3 * v3 * v % _P, (_P - 5) // 8) % _P
    left = v * x * x % _P
    if left != u:
        if left != _P - u:
            return None
        x = x * _SQRT_M1 % _P
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


class Check:
    """One verification. `step` until it says True or False."""

    def __init__(self, public: bytes, message: bytes, signature: bytes) -> None:
        self._verdict: bool | None = False
        self._bit = _BITS
        if len(public) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
            return
        self._r = signature[:32]
        self._s = _number(signature[32:])
        key = _point(public)
        if key is None or self._s >= _ORDER:
            return
        small = _double(_double(_double(key)))
        if small[0] == 0 and small[1] == small[2]:
            return
        self._k = _number(sha512(self._r + public + message)) % _ORDER
        self._base = (_BX, _BY, 1, _BX * _BY % _P)
        self._key = (_P - key[0], key[1], 1, _P - key[3])  # minus A
        self._both = _add(self._base, self._key)
        self._sum: "Point" = (0, 1, 1, 0)
        self._verdict = None

    def step(self, bits: int = 16) -> "bool | None":
        """Do `bits` of 253 bits; whether the signature is good, or None: not known yet."""
        if self._verdict is not None:
            return self._verdict
        total = self._sum
        while bits > 0 and self._bit > 0:
            bits -= 1
            self._bit -= 1
            total = _double(total)
            which = ((self._s >> self._bit) & 1) | (((self._k >> self._bit) & 1) << 1)
            if which:
                total = _add(total, (self._base, self._key, self._both)[which - 1])
        self._sum = total
        if self._bit == 0:
            inverse = _power(total[2], _P - 2)
            y = total[1] * inverse % _P
            y |= (total[0] * inverse % _P & 1) << 255
            self._verdict = y.to_bytes(32, "little") == self._r
        return self._verdict


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `message` by the holder of `public`'s secret."""
    check = Check(public, message, signature)
    while True:
        verdict = check.step(64)
        if verdict is not None:
            return verdict
