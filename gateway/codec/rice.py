"""The body of profile 0: Rice codes per column, for machines too small for the range coder.

Bits go most significant first. Numbers are Elias-gamma (`gamma`) or Rice with a parameter per
column; signed ones are folded (0, -1, 1, -2, ... become 0, 1, 2, 3, ...). A quotient of
`ESCAPE` ones announces 68 plain bits. See docs/batch-format.md, section 7.
"""

import itertools
from collections.abc import Sequence

from gateway.codec.catalogue import TIME_SOURCES, Catalogue, Cell, Device
from gateway.codec.records import Record, record
from gateway.codec.timegrid import grid, nearest

ESCAPE = 24
PLAIN_BITS = 68
_K_MAX = 30
_ALL_ZERO = 31  # in place of a parameter: nothing follows, all numbers are 0


class BitWriter:
    """Bits into bytes; the last byte is filled with zeros."""

    def __init__(self) -> None:
        self._value = 0
        self._width = 0
        self._out = bytearray()

    def put(self, value: int, width: int) -> None:
        """Append `width` bits."""
        self._value = self._value << width | value
        self._width += width
        while self._width >= 8:
            self._width -= 8
            self._out.append(self._value >> self._width & 0xFF)
        self._value &= (1 << self._width) - 1

    def gamma(self, number: int) -> None:
        """Append a number from 0, in Elias-gamma of number + 1."""
        number += 1
        width = number.bit_length()
        self.put(number, 2 * width - 1)

    def rice(self, number: int, k: int) -> None:
        """Append a number from 0."""
        quotient = number >> k
        if quotient >= ESCAPE:
            self.put((1 << ESCAPE) - 1, ESCAPE)
            self.put(number, PLAIN_BITS)
        else:
            self.put((1 << quotient) - 1 << 1, quotient + 1)
            self.put(number & (1 << k) - 1, k)

    def column(self, numbers: Sequence[int]) -> None:
        """Append a Rice parameter and signed numbers."""
        if not any(numbers):
            self.put(_ALL_ZERO, 5)
            return
        folded = [fold(number) for number in numbers]
        k = min(range(_K_MAX + 1), key=lambda k: sum(min(f >> k, 100) + 1 + k for f in folded))
        self.put(k, 5)
        for number in folded:
            self.rice(number, k)

    def bytes(self) -> bytes:
        """All so far."""
        tail = bytes((self._value << 8 - self._width,)) if self._width else b""
        return bytes(self._out) + tail


class BitReader:
    """The inverse; raises ValueError at the end of the bytes."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def get(self, width: int) -> int:
        """The next `width` bits."""
        if width > self._left:
            raise ValueError("bits beyond the end")
        self._left -= width
        return self._value >> self._left & (1 << width) - 1

    def gamma(self) -> int:
        """The inverse of `BitWriter.gamma`."""
        zeros = 0
        while not self.get(1):
            zeros += 1
            if zeros > PLAIN_BITS:
                raise ValueError("a number beyond 68 bits")
        return (1 << zeros | self.get(zeros)) - 1

    def rice(self, k: int) -> int:
        """The inverse of `BitWriter.rice`."""
        quotient = 0
        while self.get(1):
            quotient += 1
            if quotient == ESCAPE:
                return self.get(PLAIN_BITS)
        return quotient << k | self.get(k)

    def column(self, count: int) -> list[int]:
        """The inverse of `BitWriter.column`."""
        k = self.get(5)
        if k == _ALL_ZERO:
            return [0] * count
        return [unfold(self.rice(k)) for _ in range(count)]

    def end(self) -> None:
        """Raises ValueError unless only padding is left."""
        if self._left > 7 or self.get(self._left):
            raise ValueError("something after the end")


def fold(number: int) -> int:
    """A signed number as one from 0."""
    return 2 * number if number >= 0 else -2 * number - 1


def unfold(number: int) -> int:
    """The inverse of `fold`."""
    return -(number >> 1) - 1 if number & 1 else number >> 1


def put_rice(catalogue: Catalogue, groups: Sequence[tuple[int, list[Record]]]) -> bytes:
    """The body for `groups` (device index and its rows, by rising index)."""
    bits = BitWriter()
    bits.gamma(len(groups) - 1)
    previous = -1
    for index, rows in groups:
        bits.gamma(index - previous - 1)
        previous = index
        bits.gamma(len(rows) - 1)
        _put_group(bits, catalogue, catalogue.devices[index], rows)
    return bits.bytes()


def get_rice(catalogue: Catalogue, data: bytes) -> list[Record]:
    """The inverse of `put_rice`. Raises ValueError for what no encoder writes."""
    bits = BitReader(data)
    out: list[Record] = []
    index = -1
    for _ in range(bits.gamma() + 1):
        index += bits.gamma() + 1
        count = bits.gamma() + 1
        if index >= len(catalogue.devices) or len(out) + count > 0xFFFF:
            raise ValueError(f"device {index}, {count} rows")
        out += _get_group(bits, catalogue, index, count)
    bits.end()
    return out


def _put_group(bits: BitWriter, catalogue: Catalogue, device: Device, rows: list[Record]) -> None:
    unit_ms = 1000 if all(row.time_ms % 1000 == 0 for row in rows) else 1
    numbered = rows[0].sequence is not None
    bits.put(unit_ms == 1000, 1)
    bits.put(numbered, 1)
    origin, step = grid(catalogue, device, unit_ms)
    times = [row.time_ms // unit_ms for row in rows]
    bits.gamma(fold(times[0] - origin))
    bits.column([b - a - step for a, b in itertools.pairwise(times)])
    if numbered:
        sequences = [row.sequence or 0 for row in rows]
        expected = device.anchor_sequence + nearest(times[0] - origin, step)
        bits.gamma(fold(sequences[0] - expected))
        bits.column([b - a - 1 for a, b in itertools.pairwise(sequences)])
    metas = [row.quality << 3 | TIME_SOURCES.index(row.time_source) for row in rows]
    usual = all(meta == device.meta for meta in metas)
    bits.put(usual, 1)
    for meta in () if usual else metas:
        bits.put(meta, 7)
    for i, cell in enumerate(device.cells):
        present = [row.values[i] is not None for row in rows]
        bits.put(all(present), 1)
        for flag in () if all(present) else present:
            bits.put(flag, 1)
        values = [v for v in (row.values[i] for row in rows) if v is not None]
        stepped = False
        if not cell.plain:
            stepped = all(cell.fits(value) for value in values)
            bits.put(stepped, 1)
            if stepped:
                values = [cell.to_count(value) for value in values]
        if values:
            _put_values(bits, values, _guess(cell, stepped))


def _guess(cell: Cell, stepped: bool) -> int:
    return cell.guess if cell.guess is not None and (stepped or cell.plain) else 0


def _put_values(bits: BitWriter, values: list[int], guess: int) -> None:
    last = [b - a for a, b in itertools.pairwise(values)]
    line = last[:1] + [b - a for a, b in itertools.pairwise(last)]
    straight = sum(map(abs, line)) < sum(map(abs, last))
    bits.put(straight, 1)
    bits.gamma(fold(values[0] - guess))
    bits.column(line if straight else last)


def _get_group(bits: BitReader, catalogue: Catalogue, index: int, count: int) -> list[Record]:
    device = catalogue.devices[index]
    unit_ms = 1000 if bits.get(1) else 1
    numbered = bits.get(1)
    origin, step = grid(catalogue, device, unit_ms)
    times = [origin + unfold(bits.gamma())]
    for gap in bits.column(count - 1):
        times.append(times[-1] + gap + step)
    sequences: list[int | None] = [None] * count
    if numbered:
        at = unfold(bits.gamma()) + device.anchor_sequence + nearest(times[0] - origin, step)
        sequences[0] = at
        for i, skipped in enumerate(bits.column(count - 1)):
            at += skipped + 1
            sequences[i + 1] = at
    usual = bits.get(1)
    metas = [device.meta if usual else bits.get(7) for _ in range(count)]
    columns: list[list[int | None]] = []
    for cell in device.cells:
        complete = bits.get(1)
        present = [bool(complete or bits.get(1)) for _ in range(count)]
        stepped = not cell.plain and bool(bits.get(1))
        values: list[int] = []
        if any(present):
            values = _get_values(bits, sum(present), _guess(cell, stepped))
        if stepped:
            values = [cell.to_value(value) for value in values]
        rest = iter(values)
        columns.append([next(rest) if flag else None for flag in present])
    return [
        record(index, sequences[j], times[j] * unit_ms, values, meta)
        for j, (values, meta) in enumerate(zip(zip(*columns, strict=True), metas, strict=True))
    ]


def _get_values(bits: BitReader, count: int, guess: int) -> list[int]:
    straight = bits.get(1)
    values = [unfold(bits.gamma()) + guess]
    slope = 0
    for residual in bits.column(count - 1):
        slope = residual + slope if straight else residual
        values.append(values[-1] + slope)
    return values
