"""Commands down (port 10) and their answers up (port 6): `encode_command`, `decode_command`.

Every command has a `number` (0..65535, rising per device; a device ignores one at or below the
last it has done) and fields by kind (`schema.COMMANDS`). LoRaWAN authenticates it; `mac` may add a
truncated application MAC for actuators whose network server is not trusted: `mac(data)` returns
4 bytes over the payload before it (with the device's EUI and a key the network server lacks).

gap:        first_sequence, count 1..4096
thresholds: config_number 0..62, waspada_mm, siaga_mm, awas_mm, hysteresis_mm 0..1023, hold_s by 15
intervals:  config_number, calm, rising, stage, storm (schema.INTERVALS_S index), rising_mm_10min
storm:      until_time_s (0: off)
time:       time_s
reboot:     delay_s, is_safe_mode
siren:      pattern 0..7, duration_s, expires_time_s
silence:    expires_time_s
sos_step:   event_number, step (SOS_STEP_...)
contract:   error_m, heartbeat_s (by 10)
geofence:   fence 0..15, lat_e5, lon_e5, radius_m (0: remove), is_forbidden
status:     pages (bit map)
test:       is_audible
drill:      until_time_s (0: off)
"""

from protocols.errors import LocalError, RemoteError
from protocols.payload import schema
from protocols.payload.bits import BitReader, BitWriter, check_version, get_fields, put_fields
from protocols.payload.event import check_position
from protocols.payload.ports import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CMD_GAP, CMD_THRESHOLDS, CMD_INTERVALS, CMD_STORM, CMD_TIME, CMD_REBOOT = 1, 2, 3, 4, 5, 6
CMD_SIREN, CMD_SILENCE, CMD_SOS_STEP, CMD_CONTRACT, CMD_GEOFENCE = 7, 8, 9, 10, 11
CMD_STATUS, CMD_TEST, CMD_DRILL = 12, 13, 14

SOS_STEP_HEARD, SOS_STEP_STORED, SOS_STEP_ACCEPTED, SOS_STEP_SEEN, SOS_STEP_CLOSED = 1, 2, 3, 4, 5

DONE, REFUSED, EXPIRED, REPEATED, UNKNOWN, FORGED, BUSY = 0, 1, 2, 3, 4, 5, 6

MAC_LENGTH = 4
LENGTH_MAX = 20
ANSWER_LENGTH = 6
NUMBER_MAX = 65535


class Command:
    """kind (CMD_...), number, values (dict by field name), is_authentic (application MAC good)."""

    def __init__(self, kind: int, number: int, is_authentic: bool) -> None:
        self.kind = kind
        self.number = number
        self.values: dict[str, int] = {}
        self.is_authentic = is_authentic


def encode_command(
    kind: int,
    number: int,
    values: "dict[str, int]",
    mac: "Callable[[bytes], bytes] | None" = None,
) -> bytes:
    """The payload of a command. Raises LocalError("kind" | "range" | "field")."""
    if not 0 < kind < len(schema.COMMANDS):
        raise LocalError("kind", "there is no command %d" % kind)
    layout = schema.COMMANDS[kind][1]
    unknown = sorted(set(values) - {field[0] for field in layout})
    if unknown:
        raise LocalError("field", "command %s has no %s" % (command_name(kind), unknown[0]))
    buf = bytearray(LENGTH_MAX)
    writer = BitWriter()
    writer.start(buf, LENGTH_MAX)
    all_values: dict[str, int | None] = {}
    all_values.update(values)
    all_values.update({"version": VERSION})
    head = {"version": VERSION, "kind": kind, "has_mac": 0 if mac is None else 1, "number": number}
    put_fields(writer, schema.COMMAND_HEAD, dict(head))
    put_fields(writer, layout, all_values)
    data = bytes(buf[: writer.finish(0)])
    try:
        _check(kind, values)
    except RemoteError as error:
        raise LocalError("range", error.detail)
    if mac is not None:
        tag = mac(data)
        if len(tag) != MAC_LENGTH:
            raise LocalError("range", "the MAC has %d B instead of %d" % (len(tag), MAC_LENGTH))
        data += tag
    return data


def decode_command(
    data: "bytes | bytearray | memoryview", mac: "Callable[[bytes], bytes] | None" = None
) -> Command:
    """Decode a command; `is_authentic` is True when it carried a MAC and `mac` agrees.

    Raises RemoteError("version" | "length" | "value" | "kind"), RemoteError("mac") for a MAC that
    is wrong or cannot be checked for want of `mac`.
    """
    data = bytes(data)
    reader = BitReader(data)
    head: dict[str, int | None] = {}
    check_version(reader, VERSION)
    get_fields(reader, schema.COMMAND_HEAD[1:], head)
    kind = head["kind"] or 0
    if not 0 < kind < len(schema.COMMANDS):
        raise RemoteError("kind", "there is no command %d" % kind)
    has_mac = bool(head["has_mac"])
    if has_mac:
        data, tag = data[:-MAC_LENGTH], data[-MAC_LENGTH:]
        if mac is None or not _equal(mac(data), tag):
            raise RemoteError("mac", "command %s is forged" % command_name(kind))
        reader = BitReader(data)
        get_fields(reader, schema.COMMAND_HEAD, head)
    command = Command(kind, head["number"] or 0, has_mac)
    values: dict[str, int | None] = {}
    get_fields(reader, schema.COMMANDS[kind][1], values)
    reader.expect_end(0)
    for name, value in values.items():
        command.values[name] = value or 0
    _check(kind, command.values)
    return command


def command_name(kind: int) -> str:
    """The name of a command kind in `schema.COMMANDS`."""
    return schema.COMMANDS[kind][0]


def _equal(a: bytes, b: bytes) -> bool:
    """Compare in a time that does not depend on where they differ."""
    different = len(a) ^ len(b)
    for x, y in zip(a, b):
        different |= x ^ y
    return not different


def _check(kind: int, values: "dict[str, int]") -> None:
    """What the widths of the fields cannot say. Raises RemoteError("value")."""
    if kind == CMD_THRESHOLDS:
        stages = (values["waspada_mm"], values["siaga_mm"], values["awas_mm"])
        if not stages[0] < stages[1] < stages[2]:
            raise RemoteError("value", "thresholds %d, %d, %d mm do not rise" % stages)
    if values.get("config_number", 0) > 62:
        raise RemoteError("value", "config_number 63 means unknown")
    if kind == CMD_INTERVALS:
        for name in ("calm", "rising", "stage", "storm"):
            if values[name] >= len(schema.INTERVALS_S):
                raise RemoteError("value", "%s = %d is no interval" % (name, values[name]))
    if kind == CMD_SOS_STEP and not 0 < values["step"] <= SOS_STEP_CLOSED:
        raise RemoteError("value", "SOS step %d" % values["step"])
    if kind == CMD_GEOFENCE:
        check_position({"lat_e5": values["lat_e5"], "lon_e5": values["lon_e5"]})


def encode_answer_into(buf: bytearray, number: int, kind: int, result: int, value: int = 0) -> int:
    """What became of command `number`: DONE, REFUSED... `value` 0..65535 by kind (config number).

    buf holds at least 6 bytes; returns the length. Raises LocalError("range" | "limit").
    """
    writer = BitWriter()
    writer.start(buf, ANSWER_LENGTH)
    answer = {"version": VERSION, "kind": kind, "number": number, "result": result, "value": value}
    put_fields(writer, schema.ANSWER, dict(answer))
    return writer.finish(0)


def decode_answer(data: "bytes | bytearray | memoryview") -> "dict[str, int]":
    """{"number", "kind", "result", "value"}. Raises RemoteError("version" | "length" | "value")."""
    reader = BitReader(data)
    values: dict[str, int | None] = {}
    check_version(reader, VERSION)
    get_fields(reader, schema.ANSWER[1:], values)
    reader.expect_end(0)
    return {name: values[name] or 0 for name in ("number", "kind", "result", "value")}
