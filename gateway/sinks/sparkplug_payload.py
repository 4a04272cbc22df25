"""The Sparkplug B payload: `Metric`, `encode`, `decode_names`; Protocol Buffers by hand.

Only what an edge node sends (numbers, booleans, nulls) and what it is told (Rebirth). Field numbers
are those of sparkplug_b.proto (Eclipse Tahu), message `Payload`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.errors import RemoteError

INT64, UINT64, DOUBLE, BOOLEAN = 4, 8, 10, 11  # DataType


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; births carry the name, data only the alias."""

    alias: int | None
    time_ms: int
    datatype: int
    value: int | float | bool | None
    name: str = ""
    is_historical: bool = False


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _metric(metric: Metric) -> bytes:
    out = _bytes(1, metric.name.encode()) if metric.name else b""
    if metric.alias is not None:
        out += _number(2, metric.alias)
    out += _number(3, metric.time_ms) + _number(4, metric.datatype)
    if metric.is_historical:
        out += _number(5, 1)
    if metric.value is None:
        return out + _number(7, 1)
    if metric.datatype == DOUBLE:
        return out + _varint(13 << 3 | 1) + struct.pack("<d", metric.value)
    return out + _number(14 if metric.datatype == BOOLEAN else 11, int(metric.value))


def encode(time_ms: int, metrics: Sequence[Metric], seq: int | None) -> bytes:
    """A payload; `seq` is None only in the NDEATH."""
    out = _number(1, time_ms) + b"".join(_bytes(2, _metric(metric)) for metric in metrics)
    return out if seq is None else out + _number(3, seq)


def decode_commands(data: bytes) -> dict[str, bool]:
    """The boolean metrics of a command by name. Raises RemoteError."""
    commands: dict[str, bool] = {}
    for field, value in _fields(data):
        if field != 2 or not isinstance(value, bytes):
            continue
        name, flag = "", False
        for inner, content in _fields(value):
            if inner == 1 and isinstance(content, bytes):
                name = content.decode(errors="replace")
            elif inner == 14 and isinstance(content, int):
                flag = bool(content)
        commands[name] = flag
    return commands


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            found.append((key >> 3, value))
            continue
        if kind == 2:
            length, at = _read_varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise RemoteError("structure", f"wire type {kind}")
        if at + length > len(data):
            raise RemoteError("structure", "a field is cut short")
        found.append((key >> 3, data[at : at + length]))
        at += length
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise RemoteError("structure", "a number is cut short or too long")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
