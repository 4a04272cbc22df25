"""Flood payload (port 1): `FloodRing`, `FloodEncoder`, `decode_flood`, `FloodFrame`, `FloodSample`.

Device:  ring.push(...) after each reading; `encoder.encode_into(buf, limit)` when about to send.
Gateway: `decode_flood(payload, received_time_s, last_sequence, last_time_s)`.
"""

from protocols.errors import LocalError

LEVEL_MM_MIN = -1024  # saturates: a reading of LEVEL_MM_MIN means "this or lower"
LEVEL_MM_MAX = 15358  # saturates: this or higher
INTERVALS_S = (10, 60, 300, 600, 900, 1800, 3600)  # the grids a device may sample on

STAGE_NORMAL, STAGE_WASPADA, STAGE_SIAGA, STAGE_AWAS = 0, 1, 2, 3


class FloodSample:
    """One reading as decoded.

    sequence   number in the device's log, 0..2**30-1, counts over reboots
    time_s     seconds since 2020, a multiple of 10
    level_mm   water surface above station zero, LEVEL_MM_MIN..LEVEL_MM_MAX, or None: no reading
    rain_tips  running total of bucket tips modulo 1024, or None: not sent with this reading
    """

    def __init__(
        self, sequence: int, time_s: int, level_mm: "int | None", rain_tips: "int | None"
    ) -> None:
        self.sequence = sequence
        self.time_s = time_s
        self.level_mm = level_mm
        self.rain_tips = rain_tips


class FloodRing:
    """The newest `capacity` readings of a device, in preallocated memory."""

    def __init__(self, capacity: int = 256) -> None:
        raise LocalError("unfinished")

    def push(self, sequence: int, time_s: int, level_mm: "int | None", rain_tips: int) -> None:
        """Add a reading. `time_s` is floored to 10 s, the level saturates, None is "no reading".

        `rain_tips` is the running total (any size). A sequence that does not follow the newest
        one empties the ring first. Allocates nothing.
        """


class FloodEncoder:
    """Makes port 1 payloads out of a ring. Set the attributes before `encode_into`.

    stage            0..3, STAGE_...
    has_fault        anything wrong: details are in the status payload
    is_clock_set     False until network or GNSS time was ever heard: then the gateway uses its own
    Rotating extras (one a frame), None when unknown:
    battery_mv 0..; temperature_c -20..43; quality 0..63; tilt_deg 0..62; sensor_snr_db 0..62;
    downlink_snr_db -32..30; config_number 0..63
    """

    def __init__(self, ring: FloodRing) -> None:
        self.ring = ring
        self.stage = STAGE_NORMAL
        self.has_fault = False
        self.is_clock_set = True
        self.battery_mv: int | None = None
        self.temperature_c: int | None = None
        self.quality: int | None = None
        self.tilt_deg: int | None = None
        self.sensor_snr_db: int | None = None
        self.downlink_snr_db: int | None = None
        self.config_number: int | None = None

    def encode_into(self, buf: bytearray, limit: int) -> int:
        """Write the newest reading and as many older ones as fit into buf[:limit]; return the length.

        `limit` is 11..242 bytes (`device.max_payload()`). Raises LocalError("empty") when the ring
        is empty, LocalError("limit") when limit is below 11 or buf is shorter.
        """
        raise LocalError("unfinished")


class FloodFrame:
    """A decoded port 1 payload.

    samples      newest first; sequences fall by one from sample to sample, times are exact
    stage        0..3 as the device sees it
    has_fault    device has a fault; the status payload says which
    is_clock_set False: times are reckoned from the reception time, spacing is still exact
    interval_s   the grid the newest reading was taken on
    is_sequence_certain  False: the sequence may be off by a multiple of 256 (long outage with
                 changing interval, no last state): use it for order, ask for a status to be sure
    extra_name, extra_value   the rotating extra ("battery_mv", ... ) or (name, None)
    """


def decode_flood(
    data: bytes,
    received_time_s: int,
    last_sequence: "int | None" = None,
    last_time_s: "int | None" = None,
) -> FloodFrame:
    """Decode a port 1 payload that was received at `received_time_s` (seconds since 2020).

    `last_sequence`, `last_time_s`: the newest reading known of this device, if any. A newest
    reading may be up to 9 min old at reception at the 10 s interval, 50 min or more else.
    Raises RemoteError("version" | "length" | "value").
    """
    raise LocalError("unfinished")
