"""Bits in a caller's buffer, most significant first: `BitWriter`, `BitReader`.

Also the field rules of the tables in `schema`: `put_field`, `get_field`.
"""

from protocols.errors import LocalError, RemoteError
from protocols.payload.schema import EXACT, MODULO, OPTIONAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from protocols.payload.schema import Field


class BitWriter:
    """Appends bit fields to a buffer; `position` and `limit` are in bits. Allocates nothing."""

    def __init__(self) -> None:
        self._buf = bytearray(0)
        self.position = 0
        self.limit = 0

    def start(self, buf: bytearray, limit: int) -> None:
        """Write into buf[:limit] from now on. Raises LocalError("limit")."""
        if limit > len(buf):
            raise LocalError("limit", "%d B do not fit a buffer of %d B" % (limit, len(buf)))
        self._buf = buf
        self.position = 0
        self.limit = limit * 8

    def put(self, value: int, bits: int) -> None:
        """Append the low `bits` (0..30) of `value`. Raises LocalError("limit") beyond the end."""
        position = self.position
        if position + bits > self.limit:
            raise LocalError("limit", "%d bits at %d of %d" % (bits, position, self.limit))
        buf = self._buf
        self.position = position + bits
        while bits:
            room = 8 - (position & 7)
            part = room if room < bits else bits
            bits -= part
            piece = (value >> bits) & ((1 << part) - 1)
            old = 0 if room == 8 else buf[position >> 3]
            buf[position >> 3] = old | piece << (room - part)
            position += part

    def finish(self, fill: int) -> int:
        """Fill the last byte with bits of `fill` (0 or 1); return the length in bytes."""
        spare = -self.position & 7
        self.put((1 << spare) - 1 if fill else 0, spare)
        return self.position >> 3


class BitReader:
    """Takes bit fields off `data`; `left` is how many bits are still there."""

    def __init__(self, data: "bytes | bytearray | memoryview") -> None:
        self._data = data
        self.position = 0
        self.left = len(data) * 8

    def get(self, bits: int) -> int:
        """The next `bits` (0..30) as an unsigned number. Raises RemoteError("length")."""
        if bits > self.left:
            raise RemoteError("length", "%d bits wanted, %d left" % (bits, self.left))
        self.left -= bits
        value = 0
        position = self.position
        while bits:
            room = 8 - (position & 7)
            part = room if room < bits else bits
            byte = self._data[position >> 3] >> (room - part)
            value = value << part | (byte & ((1 << part) - 1))
            position += part
            bits -= part
        self.position = position
        return value

    def expect_end(self, fill: int) -> None:
        """The rest is less than a byte of `fill` bits. Raises RemoteError."""
        if self.left > 7:
            raise RemoteError("length", "%d bits too many" % self.left)
        spare = self.left
        if self.get(spare) != ((1 << spare) - 1 if fill else 0):
            raise RemoteError("value", "the padding is not %d" % fill)


def put_field(writer: BitWriter, field: "Field", value: "int | None") -> None:
    """Append `value` by the rule of `field`. Raises LocalError("range") naming the field."""
    name, bits, low, step, rule = field
    top = (1 << bits) - 1
    if value is None:
        if rule != OPTIONAL:
            raise LocalError("range", name + " is missing")
        writer.put(top, bits)
        return
    raw = (value - low) // step
    if rule == MODULO:
        writer.put(raw & top, bits)
        return
    if rule == EXACT:
        if raw < 0 or raw > top or raw * step + low != value:
            text = "%s = %d is not in %d..%d by %d"
            raise LocalError("range", text % (name, value, low, low + top * step, step))
    else:
        if rule == OPTIONAL:
            top -= 1
        raw = (value - low + step // 2) // step
        raw = 0 if raw < 0 else top if raw > top else raw
    writer.put(raw, bits)


def get_field(reader: BitReader, field: "Field") -> "int | None":
    """The next value by the rule of `field`; None for a missing OPTIONAL one."""
    _, bits, low, step, rule = field
    raw = reader.get(bits)
    if rule == OPTIONAL and raw == (1 << bits) - 1:
        return None
    return raw * step + low


def put_fields(
    writer: BitWriter, layout: "tuple[Field, ...]", values: "dict[str, int | None]"
) -> None:
    """Append every field of `layout` from `values` by name; an absent OPTIONAL one is missing."""
    for field in layout:
        put_field(writer, field, values.get(field[0]))


def get_fields(
    reader: BitReader, layout: "tuple[Field, ...]", values: "dict[str, int | None]"
) -> None:
    """Read every field of `layout` into `values` by name."""
    for field in layout:
        values[field[0]] = get_field(reader, field)


def check_version(reader: BitReader, version: int) -> None:
    """Take the version off the head. Raises RemoteError("version")."""
    got = reader.get(2)
    if got != version:
        raise RemoteError("version", "payload version %d, known is %d" % (got, version))
