"""The first row of a device of which nothing is known: told from the catalogue and neighbours."""

from gateway.codec.catalogue import Catalogue, Device
from gateway.codec.columns import FIRST_SCALE, get_signed, put_signed
from gateway.codec.elements import (
    SOURCE_CODE,
    Cells,
    get_mask,
    get_meta,
    put_mask,
    put_meta,
    remember,
    to_values,
)
from gateway.codec.rangecoder import RangeDecoder
from gateway.codec.records import Record, record
from gateway.codec.state import DeviceState, Model
from gateway.codec.timegrid import grid, nearest


def _grid(catalogue: Catalogue, device: Device, model: Model, unit_ms: int) -> tuple[int, int, int]:
    """Origin of the device's time grid, its step, and the step at which the last group began."""
    anchor, step = grid(catalogue, device, unit_ms)
    if model.first_ms is None:
        return anchor, step, 0
    return anchor, step, nearest(model.first_ms // unit_ms - anchor, step)


def put_first(
    out: list[int],
    catalogue: Catalogue,
    device: Device,
    row: Record,
    cells: Cells,
    model: Model,
    state: DeviceState,
) -> None:
    """Append the first row, whose values as counts of steps are `cells`."""
    first = model.block("first", "first")
    unit_ms = state.unit_ms
    anchor, step, guess = _grid(catalogue, device, model, unit_ms)
    now = row.time_ms // unit_ms
    steps = nearest(now - anchor, step)
    if model.first_ms is None:
        put_signed(out, first, 0, FIRST_SCALE, steps)
    else:
        put_signed(out, first, 1, 2, steps - guess)
    offset = now - anchor - steps * step
    put_signed(out, model.block(("first", unit_ms), "first_offset"), device.on_grid, 5, offset)
    if row.sequence is not None:
        put_signed(out, first, 2, 5, row.sequence - device.anchor_sequence - steps)
    meta = row.quality << 3 | SOURCE_CODE[row.time_source]
    put_meta(out, model, state, meta, device.meta)
    put_mask(out, device, row, state)
    firsts = first_values(model, device)
    for i in device.order:
        value = cells[i]
        if value is not None:
            put_value_first(out, device, i, value, firsts, model, state)
    _begun(model, state, now, row.sequence, meta)
    _joined(device, state, cells, row.values)


def get_first(
    coder: RangeDecoder,
    catalogue: Catalogue,
    index: int,
    model: Model,
    state: DeviceState,
    numbered: bool,
) -> Record:
    """The inverse of `put_first`. Raises ValueError."""
    device = catalogue.devices[index]
    first = model.block("first", "first")
    unit_ms = state.unit_ms
    anchor, step, guess = _grid(catalogue, device, model, unit_ms)
    if model.first_ms is None:
        steps = get_signed(coder, first, 0, FIRST_SCALE)
    else:
        steps = get_signed(coder, first, 1, 2) + guess
    now = anchor + steps * step
    now += get_signed(coder, model.block(("first", unit_ms), "first_offset"), device.on_grid, 5)
    sequence = None
    if numbered:
        sequence = get_signed(coder, first, 2, 5) + device.anchor_sequence + steps
    meta = get_meta(coder, model, state, device.meta)
    get_mask(coder, device, state)
    firsts = first_values(model, device)
    values: list[int | None] = [None] * len(device.channels)
    for i in device.order:
        if state.mask[i]:
            values[i] = get_value_first(coder, device, i, firsts, model, state)
    _begun(model, state, now, sequence, meta)
    counts = tuple(values)
    _joined(device, state, counts, to_values(device, state, values))
    return record(index, sequence, now * unit_ms, values, meta)


def _begun(model: Model, state: DeviceState, now: int, sequence: int | None, meta: int) -> None:
    state.first = state.last = now
    state.sequence = sequence
    model.first_ms = now * state.unit_ms
    state.meta = meta


def _joined(device: Device, state: DeviceState, counts: Cells, values: Cells) -> None:
    """What a first row teaches about values that belong together."""
    left = None
    for i in device.order:
        count = counts[i]
        pairs = state.columns[i].pairs
        if pairs is not None and left is not None and count is not None:
            remember(pairs, left, count)
        left = count
    if state.motion is not None:
        state.motion.learn(values[state.motion.lat], values[state.motion.lon], 0)


def first_values(model: Model, device: Device) -> list[int]:
    """First values of the last device of that layout: a guess where nothing typical is known."""
    firsts = list(model.firsts.get(device.layout, (0,) * len(device.channels)))
    model.firsts[device.layout] = firsts
    return firsts


def put_value_first(
    out: list[int],
    device: Device,
    i: int,
    value: int,
    firsts: list[int],
    model: Model,
    state: DeviceState,
) -> None:
    """Append the first value of a channel, told from a guess."""
    channel = device.channels[i]
    base = model.block(("first", device.layout, i), "first_" + channel.kind)
    guess, scale = _guess(device, i, firsts, state)
    put_signed(out, base, 0, scale, value - guess)
    firsts[i] = value
    state.columns[i].start(value)


def get_value_first(
    coder: RangeDecoder,
    device: Device,
    i: int,
    firsts: list[int],
    model: Model,
    state: DeviceState,
) -> int:
    """The inverse of `put_value_first`."""
    channel = device.channels[i]
    base = model.block(("first", device.layout, i), "first_" + channel.kind)
    guess, scale = _guess(device, i, firsts, state)
    value = get_signed(coder, base, 0, scale) + guess
    firsts[i] = value
    state.columns[i].start(value)
    return value


def _guess(device: Device, i: int, firsts: list[int], state: DeviceState) -> tuple[int, int]:
    """A guess for a first value, and how wrong that may be."""
    cell = device.cells[i]
    if cell.guess is None or not (cell.plain or state.columns[i].stepped):
        return firsts[i], FIRST_SCALE
    return cell.guess, min(cell.scale, FIRST_SCALE - 1)
