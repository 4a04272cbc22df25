"""Commands down (port 10) and their answers up (port 6): `encode_command`, `decode_command`.

Every command has a `number` (0..65535, rising per device; a device ignores one at or below the
last it has done) and fields by kind. LoRaWAN authenticates it; `mac` may add a truncated
application MAC, `mac(data) -> 4 bytes`, for actuators whose network server is not trusted.

gap:        first_sequence, count
thresholds: config_number 0..63, waspada_mm, siaga_mm, awas_mm, hysteresis_mm, hold_s
intervals:  calm, rising, stage, storm (index in flood.INTERVALS_S), rising_mm_10min
storm:      until_time_s (0: off)
time:       time_s
reboot:     delay_s, is_safe_mode
siren:      pattern 0..7, duration_s, expires_time_s
silence:    expires_time_s
sos_step:   event_number, step (SOS_STEP_...)
contract:   error_m, heartbeat_s
geofence:   fence, lat_e5, lon_e5, radius_m (0: remove), is_forbidden
status:     pages (bit map)
test:       is_audible
drill:      until_time_s
"""

from protocols.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CMD_GAP, CMD_THRESHOLDS, CMD_INTERVALS, CMD_STORM, CMD_TIME, CMD_REBOOT = 1, 2, 3, 4, 5, 6
CMD_SIREN, CMD_SILENCE, CMD_SOS_STEP, CMD_CONTRACT, CMD_GEOFENCE = 7, 8, 9, 10, 11
CMD_STATUS, CMD_TEST, CMD_DRILL = 12, 13, 14

SOS_STEP_HEARD, SOS_STEP_STORED, SOS_STEP_ACCEPTED, SOS_STEP_SEEN, SOS_STEP_CLOSED = 1, 2, 3, 4, 5

DONE, REFUSED, EXPIRED, REPEATED, UNKNOWN, FORGED, BUSY = 0, 1, 2, 3, 4, 5, 6


class Command:
    """kind (CMD_...), number, values (dict by field name), is_authentic (application MAC checked)."""


def encode_command(
    kind: int,
    number: int,
    values: "dict[str, int]",
    mac: "Callable[[bytes], bytes] | None" = None,
) -> bytes:
    """Raises LocalError("range" | "field")."""
    raise LocalError("unfinished")


def decode_command(data: bytes, mac: "Callable[[bytes], bytes] | None" = None) -> Command:
    """Raises RemoteError("version" | "length" | "value" | "kind" | "mac")."""
    raise LocalError("unfinished")


def encode_answer_into(buf: bytearray, number: int, kind: int, result: int, value: int = 0) -> int:
    """What became of command `number`: DONE, REFUSED... `value` 0..65535 by kind (config number)."""
    raise LocalError("unfinished")


def decode_answer(data: bytes) -> "dict[str, int]":
    """{"number", "kind", "result", "value"}. Raises RemoteError."""
    raise LocalError("unfinished")
