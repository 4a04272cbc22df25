"""All rows of a device but its first."""

from collections.abc import Sequence

from gateway.codec.catalogue import Device
from gateway.codec.elements import (
    REGULAR,
    SOURCE_CODE,
    Cells,
    get_mask,
    get_meta,
    hint,
    of,
    put_mask,
    put_meta,
    remember,
)
from gateway.codec.firsts import first_values, get_value_first, put_value_first
from gateway.codec.rangecoder import RangeDecoder
from gateway.codec.records import Record, record
from gateway.codec.state import DeviceState, Model
from gateway.codec.timegrid import nearest


def put_rows(
    out: list[int],
    device: Device,
    rows: list[Record],
    cells: Sequence[Cells],
    model: Model,
    state: DeviceState,
) -> None:
    """Append rows that follow the one that `state` is about."""
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
            put_meta(out, model, state, meta, state.meta)
            state.meta = meta
            put_mask(out, device, row, state)
        if motion is not None and motion.ready:
            motion.guess(of(row.values, motion.speed), of(row.values, motion.course), gap)
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
                    hint(device, state, motion, i, row.values)
                seen = column.encode(out, value, seen)
            else:
                firsts = firsts or first_values(model, device)
                put_value_first(out, device, i, value, firsts, model, state)
            if column.pairs is not None and left is not None:
                remember(column.pairs, left, value)
            left = value
        if motion is not None:
            motion.learn(row.values[motion.lat], row.values[motion.lon], gap)
    state.last = last
    state.regular = regular
    if state.sequence is not None:
        state.sequence = sequence


def get_rows(
    coder: RangeDecoder,
    device: Device,
    index: int,
    count: int,
    out: list[Record],
    model: Model,
    state: DeviceState,
) -> None:
    """The inverse of `put_rows`, appended to `out`. Raises ValueError."""
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
            state.meta = get_meta(coder, model, state, state.meta)
            get_mask(coder, device, state)
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
                motion.guess(of(values, motion.speed), of(values, motion.course), gap)
                guessed = True
            column = state.columns[i]
            if column.present:
                if column.pairs is not None:
                    column.hint = None if left is None else column.pairs.get(left)
                elif motion is not None:
                    hint(device, state, motion, i, values)
                now, seen = column.decode(coder, seen)
            else:
                firsts = firsts or first_values(model, device)
                now = get_value_first(coder, device, i, firsts, model, state)
            if column.pairs is not None and left is not None:
                remember(column.pairs, left, now)
            left = now
            cell = device.cells[i]
            values[i] = now if cell.plain or not column.stepped else cell.to_value(now)
        if motion is not None:
            motion.learn(values[motion.lat], values[motion.lon], gap)
        out.append(record(index, state.sequence, state.last * unit_ms, values, state.meta))
