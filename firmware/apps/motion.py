"""The tracker's movement: `Motion` (under way, anchored, moored), `Contract`, `pack_position`.

The contract: shore predicts from the last fix that was sent, by the same integer arithmetic; when
the true position leaves that prediction by more than E metres, a fix is due.
"""

from micropython import const

from protocols.payload.reckon import distance_m, predict_into
from protocols.payload.track import STATE_ANCHORED, STATE_MOORED, STATE_UNDER_WAY

_ANCHORED_M = const(60)
_ANCHORED_S = const(600)
_MOORED_M = const(20)
_MOORED_S = const(1800)
_LEAVE_DKN = const(10)  # 1.0 kn
_LEAVE_FIXES = const(3)
_MARGIN = const(80)  # per cent of E at which a fix is sent: sending takes its time


class Motion:
    """`feed` every good fix; `state` is STATE_UNDER_WAY, STATE_ANCHORED or STATE_MOORED."""

    def __init__(self) -> None:
        self.state = STATE_UNDER_WAY
        self._lat_e5 = 0
        self._lon_e5 = 0
        self._since_s = -1
        self._far_m = 0
        self._leaving = 0

    def feed(self, time_s: int, lat_e5: int, lon_e5: int, sog_dkn: "int | None") -> bool:
        """True when the state changed."""
        before = self.state
        if self._since_s < 0:
            self._stay_here(time_s, lat_e5, lon_e5)
            return False
        away_m = distance_m(lat_e5, lon_e5, self._lat_e5, self._lon_e5)
        moving = away_m > _ANCHORED_M or (sog_dkn is not None and sog_dkn >= _LEAVE_DKN)
        self._leaving = self._leaving + 1 if moving else 0
        if away_m > 2 * _ANCHORED_M or self._leaving >= _LEAVE_FIXES:
            self._stay_here(time_s, lat_e5, lon_e5)
            self.state = STATE_UNDER_WAY
        elif not moving:
            self._far_m = max(self._far_m, away_m)
            still_s = time_s - self._since_s
            if still_s >= _MOORED_S and self._far_m <= _MOORED_M:
                self.state = STATE_MOORED
            elif still_s >= _ANCHORED_S and self.state == STATE_UNDER_WAY:
                self.state = STATE_ANCHORED
        return self.state != before

    def _stay_here(self, time_s: int, lat_e5: int, lon_e5: int) -> None:
        self._lat_e5 = lat_e5
        self._lon_e5 = lon_e5
        self._since_s = time_s
        self._far_m = 0
        self._leaving = 0


class Contract:
    """What the shore believes, and by how much it is wrong."""

    def __init__(self, error_m: int) -> None:
        self.error_m = error_m
        self._out = [0, 0]
        self._lat_e5 = 0
        self._lon_e5 = 0
        self._sog_dkn = 0
        self._cog_deg = 0
        self._time_s = -1

    def sent(
        self,
        time_s: int,
        lat_e5: int,
        lon_e5: int,
        sog_dkn: "int | None",
        cog_deg: "int | None",
    ) -> None:
        """A frame with this fix went out: the shore predicts from it now."""
        self._time_s = time_s
        self._lat_e5 = lat_e5
        self._lon_e5 = lon_e5
        # An unknown course predicts no movement, on both ends.
        self._sog_dkn = sog_dkn if sog_dkn is not None and cog_deg is not None else 0
        self._cog_deg = cog_deg or 0

    def error(self, time_s: int, lat_e5: int, lon_e5: int) -> int:
        """Metres between the truth and the shore's prediction; very large before the first fix."""
        if self._time_s < 0:
            return 1_000_000
        predict_into(
            self._out,
            self._lat_e5,
            self._lon_e5,
            self._sog_dkn,
            self._cog_deg,
            max(0, time_s - self._time_s),
        )
        return distance_m(lat_e5, lon_e5, self._out[0], self._out[1])

    def is_broken(self, time_s: int, lat_e5: int, lon_e5: int, error_m: int) -> bool:
        """Whether a fix must go now to keep the error below `error_m`."""
        return self.error(time_s, lat_e5, lon_e5) * 100 > error_m * _MARGIN


def pack_position(lat_e5: int, lon_e5: int, sog_dkn: "int | None") -> "tuple[int, int, int]":
    """A position as the three values of a log row: 25 + 26 bits, and whole knots up to 30."""
    lat = lat_e5 + 9_000_000
    lon = lon_e5 + 18_000_000
    knots = 31 if sog_dkn is None else min(30, sog_dkn // 10)
    # `a` has 15 bits here, for its sign bit alone would mean "missing".
    return lon >> 11, (lat << 7) | (knots << 2) | (lon >> 9 & 3), lon >> 1 & 0xFF


def unpack_position(a: int, b: int, c: int) -> "tuple[int, int, int | None]":
    """The reverse: (lat_e5, lon_e5, sog_dkn); longitude to 2e-5 degrees."""
    knots = (b >> 2) & 31
    lon = (a << 11) | ((b & 3) << 9) | (c << 1)
    return (b >> 7) - 9_000_000, lon - 18_000_000, None if knots == 31 else knots * 10
