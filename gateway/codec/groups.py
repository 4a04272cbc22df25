"""The body of profile 1: rows grouped by device, as decisions for the range coder."""

from gateway.codec.catalogue import Catalogue, Device
from gateway.codec.columns import get_number, get_signed, put_number, put_signed
from gateway.codec.elements import NUMBERED, WHOLE_S, get_steps, put_steps
from gateway.codec.firsts import get_first, put_first
from gateway.codec.rangecoder import RangeDecoder
from gateway.codec.records import Record
from gateway.codec.rows import get_rows, put_rows
from gateway.codec.state import DeviceState, Model


def put_reference_step(out: list[int], model: Model, step: int) -> None:
    """How far a batch's number is beyond its reference's."""
    put_number(out, model.block("reference", "head"), 0, step)


def get_reference_step(coder: RangeDecoder, model: Model) -> int:
    """The inverse of `put_reference_step`."""
    step = get_number(coder, model.block("reference", "head"), 0)
    if step > 7:
        raise ValueError(f"a reference {step} batches back")
    return step


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
        cells = put_steps(out, device, rows, model, state)
        if known is None or (known.sequence is None and numbered):
            put_first(out, catalogue, device, rows[0], cells[0], model, state)
            rows = rows[1:]
            cells = cells[1:]
        put_rows(out, device, rows, cells, model, state)
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
        get_steps(coder, device, model, state)
        if known is None or (known.sequence is None and numbered):
            out.append(get_first(coder, catalogue, index, model, state, bool(numbered)))
            count -= 1
        get_rows(coder, device, index, count, out, model, state)
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
