"""Values out of registers: `decode_value`, with types, word orders, scales and invalid codes."""

import struct

from protocols.errors import LocalError

KINDS = ("u16", "s16", "u32", "s32", "f32")
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
# The smallest and largest result; wider than any sensor, and no float is turned into a long digit.
_RESULT_MAX = (1 << 30) - 1


def register_count(kind: str) -> int:
    """How many registers a value of this kind takes. Raises LocalError("kind")."""
    if kind not in KINDS:
        raise LocalError("kind", "%s is not one of %s" % (kind, ", ".join(KINDS)))
    return 1 if kind in ("u16", "s16") else 2


def decode_value(
    registers: "list[int] | tuple[int, ...]",
    kind: str,
    order: str = "ABCD",
    numerator: int = 1,
    denominator: int = 1,
    invalid: "tuple[int, ...]" = (),
) -> "int | None":
    """The value as a scaled integer: raw * numerator / denominator, rounded half away from zero.

    kind is "u16", "s16" (one register; order "BADC" and "DCBA" swap its bytes), "u32", "s32",
    "f32" (two). None, a missing value, for a raw value in `invalid` (of a f32: its integer part),
    NaN, infinity, or a result beyond 2**30. A f32 is multiplied before it is rounded; MicroPython's
    floats have 22 bits on 32-bit chips, CPython's 53: results agree to one unit in 2**21.
    Raises LocalError("kind" | "order" | "length").
    """
    if len(registers) != register_count(kind):
        raise LocalError("length", "%s in %d registers" % (kind, len(registers)))
    if order not in ORDERS:
        raise LocalError("order", "%s is not one of %s" % (order, ", ".join(ORDERS)))
    data = bytearray(2 * len(registers))
    for i in range(len(registers)):
        # CDAB and DCBA: the low word comes first; BADC and DCBA: the low byte does.
        at = len(registers) - 1 - i if order in ("CDAB", "DCBA") else i
        high, low = registers[at] >> 8 & 0xFF, registers[at] & 0xFF
        if order in ("BADC", "DCBA"):
            high, low = low, high
        data[2 * i] = high
        data[2 * i + 1] = low
    if kind == "f32":
        return _scaled_float(bytes(data), numerator, denominator, invalid)
    raw = 0
    for byte in data:
        raw = raw << 8 | byte
    bits = 8 * len(data)
    if kind[0] == "s" and raw >> (bits - 1):
        raw -= 1 << bits
    if raw in invalid:
        return None
    value = raw * numerator
    if value < 0:
        value = -((-value * 2 + denominator) // (2 * denominator))
    else:
        value = (value * 2 + denominator) // (2 * denominator)
    return value if -_RESULT_MAX <= value <= _RESULT_MAX else None


def _scaled_float(
    data: bytes, numerator: int, denominator: int, invalid: "tuple[int, ...]"
) -> "int | None":
    if data[0] & 0x7F == 0x7F and data[1] & 0x80:
        return None  # NaN or infinity
    raw: float = struct.unpack(">f", data)[0]
    scaled = raw * numerator / denominator
    if not -_RESULT_MAX <= scaled <= _RESULT_MAX or int(raw) in invalid:
        return None
    return int(scaled + 0.5) if scaled >= 0 else -int(0.5 - scaled)


def split_u32(value: int) -> "tuple[int, int]":
    """High and low register of a 32-bit number, for servers."""
    data = struct.pack(">I", value & 0xFFFFFFFF)
    return data[0] << 8 | data[1], data[2] << 8 | data[3]
