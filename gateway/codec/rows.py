"""The body of profile 1: rows grouped by device, as decisions for the range coder.

Every pair of functions `_put_x`, `_get_x` is one element of docs/batch-format.md, section 5.
"""

from collections.abc import Sequence

from gateway.codec.catalogue import Catalogue, Device
from gateway.codec.columns import (
    ABSENT,
    FIRST_SCALE,
    ZERO,
    get_number,
    get_signed,
    put_number,
    put_signed,
)
from gateway.codec.motion import Motion
from gateway.codec.rangecoder import RangeDecoder
from gateway.codec.records import TIME_SOURCES, Record, record
from gateway.codec.state import PAIRS_MAX, DeviceState, Model
from gateway.codec.timegrid import grid, nearest

# Contexts of a "row" block.
REGULAR, SAME_META, SAME_MASK, NUMBERED, WHOLE_S = ZERO, ZERO + 2, ZERO + 3, ZERO + 4, ZERO + 6
SOURCE_CODE = {name: code for code, name in enumerate(TIME_SOURCES)}
Cells = Sequence[int | None]


def put_reference_step(out: list[int], model: Model, step: int) -> None:
    """How far a batch's number is beyond its reference's."""
    put_number(out, model.block("reference", "head"), 0, step)


def get_reference_step(coder: RangeDecoder, model: Model) -> int:
    """The inverse of `put_reference_step`."""
    step = get_number(coder, model.block("reference", "head"), 0)
    if step > 7:
        raise ValueError(f"a reference {step} batches back")
    return step


# --- Groups -----------------------------------------------------------------------------------


def put_groups(
    catalogue: Catalogue, groups: list[tuple[int, list[Record]]], model: Model
) -> list[int]:
    """All decisions for `groups` (device index and its rows, by rising index)."""
    out: list[int] = []
    head = model.block("head", "head")
    put_signed(out, head, 0, 0, len(groups) - model.groups)
    model.groups = len(groups)
    previous = -1
    for index, rows in groups:
        put_number(out, head, 1, index - previous - 1)
        previous = index
        put_signed(out, head, 1, 2, len(rows) - model.rows)
        model.rows = len(rows)
        known = model.devices.get(index)
        whole = all(row.time_ms % 1000 == 0 for row in rows)
        whole = whole and (known is None or known.unit_ms == 1000)
        numbered = rows[0].sequence is not None
        device = catalogue.devices[index]
        row_base = model.block(device.layout, "row")
        out.append((row_base + WHOLE_S) * 2 + whole)
        out.append((row_base + NUMBERED + device.numbered) * 2 + numbered)
        state = _state(model, known, device, 1000 if whole else 1, numbered)
        cells = _put_steps(out, device, rows, model, state)
        if known is None or (known.sequence is None and numbered):
            _put_first(out, catalogue, device, rows[0], cells[0], model, state)
            rows = rows[1:]
            cells = cells[1:]
        _put_rows(out, device, rows, cells, model, state)
        model.devices[index] = state
    return out


def get_groups(catalogue: Catalogue, coder: RangeDecoder, model: Model) -> list[Record]:
    """The inverse of `put_groups`. Raises ValueError for what no encoder writes."""
    out: list[Record] = []
    head = model.block("head", "head")
    groups = get_signed(coder, head, 0, 0) + model.groups
    model.groups = groups
    if not 1 <= groups <= len(catalogue.devices):
        raise ValueError(f"{groups} groups")
    index = -1
    for _ in range(groups):
        index += get_number(coder, head, 1) + 1
        if index >= len(catalogue.devices):
            raise ValueError(f"device {index}")
        count = model.rows = get_signed(coder, head, 1, 2) + model.rows
        if not 1 <= count <= 0xFFFF - len(out):
            raise ValueError(f"{count} rows")
        known = model.devices.get(index)
        device = catalogue.devices[index]
        row_base = model.block(device.layout, "row")
        whole = coder.bit(row_base + WHOLE_S)
        numbered = coder.bit(row_base + NUMBERED + device.numbered)
        state = _state(model, known, device, 1000 if whole else 1, bool(numbered))
        _get_steps(coder, device, model, state)
        if known is None or (known.sequence is None and numbered):
            out.append(_get_first(coder, catalogue, index, model, state, bool(numbered)))
            count -= 1
        _get_rows(coder, device, index, count, out, model, state)
        model.devices[index] = state
    return out


def _state(
    model: Model, known: DeviceState | None, device: Device, unit_ms: int, numbered: bool
) -> DeviceState:
    """The state to go on with: a new one, or a copy of the known one in the unit asked for."""
    if known is None:
        return model.device(device, unit_ms)
    state = known.clone()
    if known.unit_ms != unit_ms:
        fresh = model.device(device, unit_ms)
        state.steps, state.offsets = fresh.steps, fresh.offsets
        state.first = known.first * known.unit_ms // unit_ms
        state.last = known.last * known.unit_ms // unit_ms
        state.unit_ms = unit_ms
    if not numbered:
        state.sequence = None
    return state


# --- The first row of a device --------------------------------------------------------------


def _grid(catalogue: Catalogue, device: Device, model: Model, unit_ms: int) -> tuple[int, int, int]:
    """Origin of the device's time grid, its step, and the step at which the last group began."""
    anchor, step = grid(catalogue, device, unit_ms)
    if model.first_ms is None:
        return anchor, step, 0
    return anchor, step, nearest(model.first_ms // unit_ms - anchor, step)


def _put_first(
    out: list[int],
    catalogue: Catalogue,
    device: Device,
    row: Record,
    cells: Cells,
    model: Model,
    state: DeviceState,
) -> None:
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
    _put_meta(out, model, state, meta, device.meta)
    _put_mask(out, device, row, state)
    firsts = _firsts(model, device)
    for i in device.order:
        value = cells[i]
        if value is not None:
            _put_value_first(out, device, i, value, firsts, model, state)
    _begun(model, state, now, row.sequence, meta)
    _joined(device, state, cells, row.values)


def _get_first(
    coder: RangeDecoder,
    catalogue: Catalogue,
    index: int,
    model: Model,
    state: DeviceState,
    numbered: bool,
) -> Record:
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
    meta = _get_meta(coder, model, state, device.meta)
    _get_mask(coder, device, state)
    firsts = _firsts(model, device)
    values: list[int | None] = [None] * len(device.channels)
    for i in device.order:
        if state.mask[i]:
            values[i] = _get_value_first(coder, device, i, firsts, model, state)
    _begun(model, state, now, sequence, meta)
    counts = tuple(values)
    _joined(device, state, counts, _values(device, state, values))
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
            _remember(pairs, left, count)
        left = count
    if state.motion is not None:
        state.motion.learn(values[state.motion.lat], values[state.motion.lon], 0)


def _firsts(model: Model, device: Device) -> list[int]:
    """First values of the last device of that layout: a guess where nothing typical is known."""
    firsts = list(model.firsts.get(device.layout, (0,) * len(device.channels)))
    model.firsts[device.layout] = firsts
    return firsts


def _put_value_first(
    out: list[int],
    device: Device,
    i: int,
    value: int,
    firsts: list[int],
    model: Model,
    state: DeviceState,
) -> None:
    channel = device.channels[i]
    base = model.block(("first", device.layout, i), "first_" + channel.kind)
    guess, scale = _guess(device, i, firsts, state)
    put_signed(out, base, 0, scale, value - guess)
    firsts[i] = value
    state.columns[i].start(value)


def _get_value_first(
    coder: RangeDecoder,
    device: Device,
    i: int,
    firsts: list[int],
    model: Model,
    state: DeviceState,
) -> int:
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


# --- Steps ------------------------------------------------------------------------------------


def _put_steps(
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


def _get_steps(coder: RangeDecoder, device: Device, model: Model, state: DeviceState) -> None:
    for i, cell in enumerate(device.cells):
        if not cell.plain:
            base = model.block(("first", device.layout, i), "first_" + device.channels[i].kind)
            stepped = bool(coder.bit(base + ABSENT + state.columns[i].stepped))
            _set_step(model, device, i, state, stepped, None)


def _values(device: Device, state: DeviceState, counts: list[int | None]) -> list[int | None]:
    """Counts of steps as values."""
    for i, cell in enumerate(device.cells):
        count = counts[i]
        if count is not None and not cell.plain and state.columns[i].stepped:
            counts[i] = cell.to_value(count)
    return counts


def _remember(pairs: dict[int, int], left: int, value: int) -> None:
    if len(pairs) >= PAIRS_MAX and left not in pairs:
        del pairs[next(iter(pairs))]
    pairs[left] = value


def _of(values: Cells, i: int) -> int | None:
    return None if i < 0 else values[i]


def _hint(device: Device, state: DeviceState, motion: Motion, i: int, values: Cells) -> None:
    """Tell the columns of a position what the motion suggests."""
    if i == motion.lat:
        guess = motion.lat_guess
    elif i == motion.lon:
        lat = values[motion.lat]
        if motion.ready and lat is not None:
            motion.refine(lat)
        guess = motion.lon_guess
    else:
        return
    column = state.columns[i]
    column.hint = None
    if motion.ready:
        column.hint = device.cells[i].to_count(guess) if column.stepped else guess


# --- Quality, time source and presence --------------------------------------------------------


def _put_meta(out: list[int], model: Model, state: DeviceState, meta: int, expected: int) -> None:
    base = state.row_base + SAME_META
    out.append(base * 2 + (meta == expected))
    if meta != expected:
        put_number(out, model.block("meta", "meta"), 1, meta)


def _get_meta(coder: RangeDecoder, model: Model, state: DeviceState, expected: int) -> int:
    if coder.bit(state.row_base + SAME_META):
        return expected
    meta = get_number(coder, model.block("meta", "meta"), 1)
    if meta >> 3 > 15 or meta & 7 >= len(TIME_SOURCES):
        raise ValueError(f"quality and time source {meta}")
    return meta


def _put_mask(out: list[int], device: Device, row: Record, state: DeviceState) -> None:
    mask = [value is not None for value in row.values]
    base = state.row_base + SAME_MASK
    out.append(base * 2 + (mask == state.mask))
    if mask != state.mask:
        for i in device.order:
            out.append((state.columns[i].base + ABSENT + state.mask[i]) * 2 + mask[i])
        state.mask = mask


def _get_mask(coder: RangeDecoder, device: Device, state: DeviceState) -> None:
    if not coder.bit(state.row_base + SAME_MASK):
        mask = list(state.mask)
        for i in device.order:
            mask[i] = bool(coder.bit(state.columns[i].base + ABSENT + state.mask[i]))
        state.mask = mask


# --- All other rows ---------------------------------------------------------------------------


def _put_rows(
    out: list[int],
    device: Device,
    rows: list[Record],
    cells: Sequence[Cells],
    model: Model,
    state: DeviceState,
) -> None:
    unit_ms = state.unit_ms
    step = device.interval_s * 1000 // unit_ms
    order = device.order
    columns = state.columns
    last = state.last
    sequence = state.sequence or 0
    regular = state.regular
    firsts: list[int] | None = None
    motion = state.motion
    for row, counts in zip(rows, cells, strict=True):
        now = row.time_ms // unit_ms
        steps = nearest(now - last, step)
        offset = now - last - steps * step
        skipped = 0
        if row.sequence is not None:
            ahead = row.sequence - sequence
            skipped = ahead - (steps if state.by_slot and steps > 0 else 1)
            if steps != 1 and (ahead == 1 or ahead == steps):
                state.by_slot = ahead != 1
            sequence = row.sequence
        gap = (now - last) * unit_ms
        last = now
        meta = row.quality << 3 | SOURCE_CODE[row.time_source]
        mask = [value is not None for value in row.values]
        context = (state.row_base + REGULAR + regular) * 2
        if steps == 1 and not offset and not skipped and meta == state.meta and mask == state.mask:
            out.append(context + 1)
            regular = 1
            seen = 0
        else:
            out.append(context)
            regular = 0
            seen = state.steps.encode(out, steps, 0)
            seen = state.offsets.encode(out, offset, seen)
            if row.sequence is not None:
                state.sequences.encode(out, skipped, seen)
            _put_meta(out, model, state, meta, state.meta)
            state.meta = meta
            _put_mask(out, device, row, state)
        if motion is not None and motion.ready:
            motion.guess(_of(row.values, motion.speed), _of(row.values, motion.course), gap)
        left = None
        for i in order:
            value = counts[i]
            if value is None:
                left = None
                continue
            column = columns[i]
            if column.present:
                if column.pairs is not None:
                    column.hint = None if left is None else column.pairs.get(left)
                elif motion is not None:
                    _hint(device, state, motion, i, row.values)
                seen = column.encode(out, value, seen)
            else:
                firsts = firsts or _firsts(model, device)
                _put_value_first(out, device, i, value, firsts, model, state)
            if column.pairs is not None and left is not None:
                _remember(column.pairs, left, value)
            left = value
        if motion is not None:
            motion.learn(row.values[motion.lat], row.values[motion.lon], gap)
    state.last = last
    state.regular = regular
    if state.sequence is not None:
        state.sequence = sequence


def _get_rows(
    coder: RangeDecoder,
    device: Device,
    index: int,
    count: int,
    out: list[Record],
    model: Model,
    state: DeviceState,
) -> None:
    unit_ms = state.unit_ms
    step = device.interval_s * 1000 // unit_ms
    firsts: list[int] | None = None
    motion = state.motion
    for _ in range(count):
        steps, offset, skipped, seen = 1, 0, 0, 0
        if coder.bit(state.row_base + REGULAR + state.regular):
            state.regular = 1
        else:
            state.regular = 0
            steps, seen = state.steps.decode(coder, 0)
            offset, seen = state.offsets.decode(coder, seen)
            if state.sequence is not None:
                skipped, _ = state.sequences.decode(coder, seen)
            state.meta = _get_meta(coder, model, state, state.meta)
            _get_mask(coder, device, state)
        gap = (steps * step + offset) * unit_ms
        state.last += steps * step + offset
        if state.sequence is not None:
            ahead = skipped + (steps if state.by_slot and steps > 0 else 1)
            if steps != 1 and (ahead == 1 or ahead == steps):
                state.by_slot = ahead != 1
            state.sequence += ahead
        values: list[int | None] = [None] * len(device.channels)
        left = None
        guessed = False
        for i in device.order:
            if not state.mask[i]:
                left = None
                continue
            if (
                motion is not None
                and motion.ready
                and not guessed
                and i in (motion.lat, motion.lon)
            ):
                motion.guess(_of(values, motion.speed), _of(values, motion.course), gap)
                guessed = True
            column = state.columns[i]
            if column.present:
                if column.pairs is not None:
                    column.hint = None if left is None else column.pairs.get(left)
                elif motion is not None:
                    _hint(device, state, motion, i, values)
                count, seen = column.decode(coder, seen)
            else:
                firsts = firsts or _firsts(model, device)
                count = _get_value_first(coder, device, i, firsts, model, state)
            if column.pairs is not None and left is not None:
                _remember(column.pairs, left, count)
            left = count
            cell = device.cells[i]
            values[i] = count if cell.plain or not column.stepped else cell.to_value(count)
        if motion is not None:
            motion.learn(values[motion.lat], values[motion.lon], gap)
        out.append(record(index, state.sequence, state.last * unit_ms, values, state.meta))
