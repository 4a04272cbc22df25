"""Event payload (port 4), 11 bytes at most, sent at once: `encode_event_into`, `decode_event`.

An event has kind (EVENT_...), number (counter modulo 256 of the device's events), time_s,
is_drill and by kind (`schema.EVENTS`; None: unknown):
sos, sos_cancel, mob: lat_e5, lon_e5 (None: no fix), fix_age_s
stage:     stage, previous_stage, level_mm, rate_mm_10min, is_float_switch, config_number
tamper:    cause (TAMPER_...), battery_mv
siren:     command_number, cause (SIREN_BY_...), pattern, duration_s, proof (PROOF_...), current_ma
last_gasp: battery_mv, supply_mv
fault:     faults (status.FAULT_... bits), is_cleared
geofence:  fence, is_inside, lat_e5, lon_e5
"""

from protocols.errors import LocalError, RemoteError
from protocols.payload import schema
from protocols.payload.bits import (
    BitReader,
    BitWriter,
    check_version,
    get_fields,
    put_field,
    put_fields,
)
from protocols.payload.ports import VERSION
from protocols.payload.unwrap import nearest

EVENT_SOS, EVENT_SOS_CANCEL, EVENT_MOB, EVENT_STAGE, EVENT_TAMPER = 1, 2, 3, 4, 5
EVENT_SIREN, EVENT_LAST_GASP, EVENT_FAULT, EVENT_GEOFENCE = 6, 7, 8, 9

TAMPER_MOVED, TAMPER_OPENED, TAMPER_CABLE, TAMPER_POWER = 0, 1, 2, 3
SIREN_BY_COMMAND, SIREN_BY_FLOAT, SIREN_BY_SELF_TEST, SIREN_BY_HAND, SIREN_BY_STAGE = 0, 1, 2, 3, 4
PROOF_NONE, PROOF_CURRENT, PROOF_MICROPHONE, PROOF_BOTH, PROOF_FAILED = 0, 1, 2, 3, 4

LENGTH_MAX = 11
_TIME_MODULUS = 1 << 14
_TIME_UNKNOWN = _TIME_MODULUS - 1  # the device's clock was never set; a true one is sent 1 s early


def encode_event_into(
    buf: bytearray,
    kind: int,
    number: int,
    time_s: "int | None",
    values: "dict[str, int | None]",
    is_drill: bool = False,
) -> int:
    """Write an event into buf (at least 11 bytes); return its length.

    `time_s` is None while the device's clock was never set: the receiver then uses its own.
    Raises LocalError("kind" | "range" | "limit"); latitude and longitude are known both or neither.
    """
    if not 0 < kind < len(schema.EVENTS):
        raise LocalError("kind", "there is no event %d" % kind)
    writer = BitWriter()
    writer.start(buf, LENGTH_MAX)
    head = schema.EVENT_HEAD
    put_field(writer, head[0], VERSION)
    put_field(writer, head[1], kind)
    put_field(writer, head[2], 1 if is_drill else 0)
    put_field(writer, head[3], number)
    if time_s is None:
        time_s = _TIME_UNKNOWN
    elif time_s % _TIME_MODULUS == _TIME_UNKNOWN:
        time_s -= 1
    put_field(writer, head[4], time_s)
    put_fields(writer, schema.EVENTS[kind][1], values)
    return writer.finish(0)


def decode_event(
    data: "bytes | bytearray | memoryview", received_time_s: int
) -> "dict[str, int | None]":
    """The event as {"kind", "number", "time_s", "is_drill", ...}; `event_name` names the kind.

    The time is the one nearest to `received_time_s` (seconds since 2020), within 2 h 16 min;
    None when the device did not know it.
    Raises RemoteError("version" | "length" | "value" | "kind").
    """
    reader = BitReader(data)
    check_version(reader, VERSION)
    event: dict[str, int | None] = {}
    get_fields(reader, schema.EVENT_HEAD[1:], event)
    kind = event["kind"] or 0
    if not 0 < kind < len(schema.EVENTS):
        raise RemoteError("kind", "there is no event %d" % kind)
    low = event["time_low"] or 0
    del event["time_low"]
    event["time_s"] = None
    if low != _TIME_UNKNOWN:
        event["time_s"] = nearest(low, _TIME_MODULUS, received_time_s)
    get_fields(reader, schema.EVENTS[kind][1], event)
    reader.expect_end(0)
    check_position(event)
    return event


def event_name(kind: int) -> str:
    """The name of an event kind in `schema.EVENTS`."""
    return schema.EVENTS[kind][0]


def check_position(values: "dict[str, int | None]") -> None:
    """Both of lat_e5 and lon_e5 or none, and on the globe. Raises RemoteError("value")."""
    lat = values.get("lat_e5")
    lon = values.get("lon_e5")
    if (lat is None) != (lon is None):
        raise RemoteError("value", "half a position")
    if lat is not None and lon is not None and (lat > 9000000 or lon > 18000000):
        raise RemoteError("value", "position %d, %d is not on the globe" % (lat, lon))
