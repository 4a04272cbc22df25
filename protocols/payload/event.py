"""Event payload (port 4), 11 bytes at most, sent at once and confirmed: `Event`, encode, decode.

kind (EVENT_...), number (counter 0..255 of the device's events), time_s, is_drill and by kind:
sos, sos_cancel, mob:  lat_e5, lon_e5 (None, None: no fix), fix_age_s
stage:       stage, previous_stage, level_mm, rate_mm_10min, is_float_switch
tamper:      cause (TAMPER_...), battery_mv
siren:       command_number, cause (SIREN_BY_...), pattern, duration_s, proof (PROOF_...), current_ma
last_gasp:   battery_mv, supply_mv
fault:       faults, is_cleared
geofence:    fence, is_inside, lat_e5, lon_e5
"""

from protocols.errors import LocalError

EVENT_SOS, EVENT_SOS_CANCEL, EVENT_MOB, EVENT_STAGE, EVENT_TAMPER = 1, 2, 3, 4, 5
EVENT_SIREN, EVENT_LAST_GASP, EVENT_FAULT, EVENT_GEOFENCE = 6, 7, 8, 9

TAMPER_MOVED, TAMPER_OPENED, TAMPER_CABLE, TAMPER_POWER = 0, 1, 2, 3
SIREN_BY_COMMAND, SIREN_BY_FLOAT, SIREN_BY_SELF_TEST, SIREN_BY_HAND = 0, 1, 2, 3
PROOF_NONE, PROOF_CURRENT, PROOF_MICROPHONE, PROOF_BOTH, PROOF_FAILED = 0, 1, 2, 3, 4


def encode_event_into(
    buf: bytearray, kind: int, number: int, time_s: int, values: "dict[str, int | None]"
) -> int:
    """Write an event into buf (at least 11 bytes); return its length. `values` as listed above."""
    raise LocalError("unfinished")


def decode_event(data: bytes, received_time_s: int) -> "dict[str, int | None]":
    """The event as {"kind", "number", "time_s", "is_drill", ...}. Raises RemoteError."""
    raise LocalError("unfinished")
