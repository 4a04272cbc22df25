"""Track payload (port 2): `TrackRing`, `TrackEncoder`, `decode_track`, `TrackFrame`, `TrackFix`.

Positions are integers of 1e-5 degree (1.1 m), never floats. Device and shore predict with the
same integer dead reckoning (`protocols.payload.reckon`), so the map is never wrong by more than E.
"""

from protocols.errors import LocalError

STATE_UNDER_WAY, STATE_SOS, STATE_MOB, STATE_TAMPER = 0, 1, 2, 3
STATE_ANCHORED, STATE_MOORED, STATE_GEAR_DOWN, STATE_GEOFENCE = 4, 5, 6, 7


class TrackFix:
    """One fix: sequence, time_s (multiple of 10), lat_e5, lon_e5, sog_dkn (0.1 kn, None unknown),
    cog_deg (0..359, None unknown or below 0.5 kn)."""

    def __init__(
        self,
        sequence: int,
        time_s: int,
        lat_e5: int,
        lon_e5: int,
        sog_dkn: "int | None",
        cog_deg: "int | None",
    ) -> None:
        self.sequence = sequence
        self.time_s = time_s
        self.lat_e5 = lat_e5
        self.lon_e5 = lon_e5
        self.sog_dkn = sog_dkn
        self.cog_deg = cog_deg


class TrackRing:
    """The newest `capacity` fixes, in preallocated memory."""

    def __init__(self, capacity: int = 128) -> None:
        raise LocalError("unfinished")

    def push(
        self,
        sequence: int,
        time_s: int,
        lat_e5: int,
        lon_e5: int,
        sog_dkn: "int | None",
        cog_deg: "int | None",
    ) -> None:
        """Add a fix; same rules as `FloodRing.push`."""


class TrackEncoder:
    """Makes port 2 payloads. `state` is STATE_...; `is_drill` marks a drill of SOS or MOB."""

    def __init__(self, ring: TrackRing) -> None:
        self.ring = ring
        self.state = STATE_UNDER_WAY
        self.is_drill = False
        self.is_clock_set = True
        self.has_fault = False

    def encode_into(self, buf: bytearray, limit: int, absolute: bool = False) -> int:
        """Like `FloodEncoder.encode_into`. `absolute=True` sends the whole position.

        The first, every 20th and every frame after 100 km are absolute by themselves.
        """
        raise LocalError("unfinished")


class TrackFrame:
    """fixes (newest first), state, is_drill, has_fault, is_clock_set, is_absolute,
    is_sequence_certain."""


def decode_track(
    data: bytes,
    received_time_s: int,
    near_lat_e5: "int | None" = None,
    near_lon_e5: "int | None" = None,
    last_sequence: "int | None" = None,
    last_time_s: "int | None" = None,
) -> TrackFrame:
    """Decode a port 2 payload. `near_...`: the last known position, or the gateway's.

    A modulo position is resolved within 145 km of `near`. Raises RemoteError("version" | "length"
    | "value"), RemoteError("no_reference") for a modulo position without `near`.
    """
    raise LocalError("unfinished")
