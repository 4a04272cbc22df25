"""Elements that every row may have: quality, time source, presence, steps, hints.

Every pair of functions `put_x`, `get_x` is one element of docs/batch-format.md, section 5.
"""

from collections.abc import Sequence

from gateway.codec.catalogue import Device
from gateway.codec.columns import ABSENT, ZERO, get_number, put_number
from gateway.codec.motion import Motion
from gateway.codec.rangecoder import RangeDecoder
from gateway.codec.records import LIMIT, TIME_SOURCES, Record
from gateway.codec.state import PAIRS_MAX, DeviceState, Model

# Contexts of a "row" block.
REGULAR, SAME_META, SAME_MASK, NUMBERED, WHOLE_S = ZERO, ZERO + 2, ZERO + 3, ZERO + 4, ZERO + 6
SOURCE_CODE = {name: code for code, name in enumerate(TIME_SOURCES)}
Cells = Sequence[int | None]


def put_meta(out: list[int], model: Model, state: DeviceState, meta: int, expected: int) -> None:
    """Append quality and time source, where they differ from the expected."""
    base = state.row_base + SAME_META
    out.append(base * 2 + (meta == expected))
    if meta != expected:
        put_number(out, model.block("meta", "meta"), 1, meta)


def get_meta(coder: RangeDecoder, model: Model, state: DeviceState, expected: int) -> int:
    """The inverse of `put_meta`. Raises ValueError."""
    if coder.bit(state.row_base + SAME_META):
        return expected
    meta = get_number(coder, model.block("meta", "meta"), 1)
    if meta >> 3 > 15 or meta & 7 >= len(TIME_SOURCES):
        raise ValueError(f"quality and time source {meta}")
    return meta


def put_mask(out: list[int], device: Device, row: Record, state: DeviceState) -> None:
    """Append which channels are present, where that differs from the row before."""
    mask = [value is not None for value in row.values]
    base = state.row_base + SAME_MASK
    out.append(base * 2 + (mask == state.mask))
    if mask != state.mask:
        for i in device.order:
            out.append((state.columns[i].base + ABSENT + state.mask[i]) * 2 + mask[i])
        state.mask = mask


def get_mask(coder: RangeDecoder, device: Device, state: DeviceState) -> None:
    """The inverse of `put_mask`."""
    if not coder.bit(state.row_base + SAME_MASK):
        mask = list(state.mask)
        for i in device.order:
            mask[i] = bool(coder.bit(state.columns[i].base + ABSENT + state.mask[i]))
        state.mask = mask


def put_steps(
    out: list[int], device: Device, rows: list[Record], model: Model, state: DeviceState
) -> Sequence[Cells]:
    """For each channel with a step: are all values multiples? Returns the rows as counts."""
    if all(cell.plain for cell in device.cells):
        return [row.values for row in rows]
    columns = list(zip(*(row.values for row in rows), strict=True))
    for i, cell in enumerate(device.cells):
        if cell.plain:
            continue
        stepped = all(value is None or cell.fits(value) for value in columns[i])
        _set_step(model, device, i, state, stepped, out)
        if stepped:
            columns[i] = tuple(None if v is None else cell.to_count(v) for v in columns[i])
    return list(zip(*columns, strict=True))


def _set_step(
    model: Model, device: Device, i: int, state: DeviceState, stepped: bool, out: list[int] | None
) -> None:
    column = state.columns[i]
    if out is not None:
        base = model.block(("first", device.layout, i), "first_" + device.channels[i].kind)
        out.append((base + ABSENT + column.stepped) * 2 + stepped)
    if column.stepped != stepped:
        column.present = False
        column.stepped = stepped
    column.modulus = device.cells[i].modulus if stepped else 0


def get_steps(coder: RangeDecoder, device: Device, model: Model, state: DeviceState) -> None:
    """The inverse of `put_steps`."""
    for i, cell in enumerate(device.cells):
        if not cell.plain:
            base = model.block(("first", device.layout, i), "first_" + device.channels[i].kind)
            stepped = bool(coder.bit(base + ABSENT + state.columns[i].stepped))
            _set_step(model, device, i, state, stepped, None)


def to_values(device: Device, state: DeviceState, counts: list[int | None]) -> list[int | None]:
    """Counts of steps as values."""
    for i, cell in enumerate(device.cells):
        count = counts[i]
        if count is not None and not cell.plain and state.columns[i].stepped:
            counts[i] = cell.to_value(count)
    return counts


def remember(pairs: dict[int, int], left: int, value: int) -> None:
    """Note what the value was beside `left`; the oldest note goes when there are too many."""
    if len(pairs) >= PAIRS_MAX and left not in pairs:
        del pairs[next(iter(pairs))]
    pairs[left] = value


def of(values: Cells, i: int) -> int | None:
    """The value of a channel that a device may not have (index -1)."""
    return None if i < 0 else values[i]


def hint(device: Device, state: DeviceState, motion: Motion, i: int, values: Cells) -> None:
    """Tell the columns of a position what the motion suggests, and lon how wrong lat was."""
    if i == motion.lat:
        guess = motion.lat_guess
    elif i == motion.lon:
        lat = values[motion.lat]
        if motion.ready and lat is not None:
            motion.refine(lat)
        guess = motion.lon_guess
        state.columns[i].near = abs(state.columns[motion.lat].r1) << 4
    else:
        return
    column = state.columns[i]
    column.hint = None
    # Nonsense in speed and course may lead anywhere; no value is there.
    if motion.ready and -LIMIT < guess < LIMIT:
        column.hint = device.cells[i].to_count(guess) if column.stepped else guess
