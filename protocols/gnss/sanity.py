"""`FixCheck`: says when a receiver lies: null island, stuck, jumping, time going backwards."""

from protocols.errors import LocalError
from protocols.payload.reckon import distance_m

GOOD, NULL, STUCK, JUMP, BACKWARDS, OUTSIDE = 0, 1, 2, 3, 4, 5
NAMES = ("good", "null", "stuck", "jump", "backwards", "outside")

_NULL_E5 = 1000  # within 0.01 degree (1.1 km) of 0, 0: receivers without a fix, no fishing ground
_SLACK_M = 100  # a fix may be off by so much with no motion at all
_JUMPS_MAX = 3
_AGREE_M = 500


class FixCheck:
    """judge() each fix that the receiver calls valid.

    A jump is a distance that `max_speed_dkn` cannot make. It persists when `_JUMPS_MAX` fixes in a
    row are at the new place (each reachable from the one before): then that becomes the truth, so
    a wrong first fix cannot lock the true ones out. Stuck is a position that does not change at
    all for `stuck_s` while the receiver reports a speed of 1 kn or more.
    """

    def __init__(self, max_speed_dkn: int = 600, stuck_s: int = 300) -> None:
        if max_speed_dkn < 10 or stuck_s < 1:
            raise LocalError("range", "max_speed_dkn %d, stuck_s %d" % (max_speed_dkn, stuck_s))
        self._max_speed_dkn = max_speed_dkn
        self._stuck_s = stuck_s
        self._has_last = False
        self._time_s = 0
        self._lat = 0
        self._lon = 0
        self._same_since_s = 0
        self._is_moving = False  # every fix since then said 1 kn or more
        self._jumps = 0
        self._jump_time_s = 0
        self._jump_lat = 0
        self._jump_lon = 0

    def judge(self, time_s: int, lat_e5: int, lon_e5: int, sog_dkn: "int | None") -> int:
        """GOOD or the reason not to believe it."""
        if not (-9000000 <= lat_e5 <= 9000000 and -18000000 <= lon_e5 <= 18000000):
            return OUTSIDE
        if abs(lat_e5) < _NULL_E5 and abs(lon_e5) < _NULL_E5:
            return NULL
        if not self._has_last:
            self._take(time_s, lat_e5, lon_e5, sog_dkn)
            return GOOD
        if time_s <= self._time_s:
            # A clock that was wrong once must not lock out the right one for ever.
            return self._doubt(BACKWARDS, time_s, lat_e5, lon_e5, sog_dkn)
        if not self._can_reach(self._time_s, self._lat, self._lon, time_s, lat_e5, lon_e5):
            return self._doubt(JUMP, time_s, lat_e5, lon_e5, sog_dkn)
        self._take(time_s, lat_e5, lon_e5, sog_dkn)
        if self._is_moving and time_s - self._same_since_s >= self._stuck_s:
            return STUCK
        return GOOD

    def _doubt(self, reason: int, time_s: int, lat: int, lon: int, sog_dkn: "int | None") -> int:
        is_next = (
            self._jumps > 0
            and time_s > self._jump_time_s
            and self._can_reach(self._jump_time_s, self._jump_lat, self._jump_lon, time_s, lat, lon)
        )
        self._jumps = self._jumps + 1 if is_next else 1
        self._jump_time_s = time_s
        self._jump_lat = lat
        self._jump_lon = lon
        if self._jumps < _JUMPS_MAX:
            return reason
        self._same_since_s = time_s
        self._take(time_s, lat, lon, sog_dkn)
        return GOOD

    def _can_reach(
        self, from_s: int, lat_a: int, lon_a: int, to_s: int, lat: int, lon: int
    ) -> bool:
        elapsed_s = min(to_s - from_s, 86400)
        way_m = self._max_speed_dkn * elapsed_s // 194 * 10 + _SLACK_M  # 1 dkn = 10/194 m/s
        return distance_m(lat_a, lon_a, lat, lon) <= way_m

    def _take(self, time_s: int, lat: int, lon: int, sog_dkn: "int | None") -> None:
        is_same = self._has_last and lat == self._lat and lon == self._lon
        moves = sog_dkn is not None and sog_dkn >= 10
        if not is_same or not moves:
            self._same_since_s = time_s
        self._is_moving = is_same and moves
        self._has_last = True
        self._time_s = time_s
        self._lat = lat
        self._lon = lon
        self._jumps = 0
