"""Integer dead reckoning shared by device and shore: `predict_into`, `distance_m`, `Contract`.

Both ends predict from the values as they were sent (`quantise_sog`, `quantise_cog`), in integers
alone, so they agree to the last bit and the map is never wrong by more than the contract says.
All intermediate values stay below 2**30.
"""

from protocols.errors import LocalError

SOG_DKN_MAX = 470
ELAPSED_S_MAX = 3600  # a prediction stands still after an hour without a report
_ONE = 8192

# round(8192 * sin(degree)), 0..90.
SINES = (
    0, 143, 286, 429, 571, 714, 856, 998, 1140, 1282, 1423, 1563, 1703, 1843, 1982, 2120,
    2258, 2395, 2531, 2667, 2802, 2936, 3069, 3201, 3332, 3462, 3591, 3719, 3846, 3972, 4096, 4219,
    4341, 4462, 4581, 4699, 4815, 4930, 5043, 5155, 5266, 5374, 5482, 5587, 5691, 5793, 5893, 5991,
    6088, 6183, 6275, 6366, 6455, 6542, 6627, 6710, 6791, 6870, 6947, 7022, 7094, 7165, 7233, 7299,
    7363, 7424, 7484, 7541, 7595, 7648, 7698, 7746, 7791, 7834, 7875, 7913, 7949, 7982, 8013, 8041,
    8068, 8091, 8112, 8131, 8147, 8161, 8172, 8181, 8187, 8191, 8192,
)  # fmt: skip


def _sine(degrees: int) -> int:
    degrees %= 360
    if degrees >= 180:
        return -_sine(degrees - 180)
    return SINES[degrees] if degrees <= 90 else SINES[180 - degrees]


def cosine_of_latitude(lat_e5: int) -> int:
    """8192 * cos(latitude), interpolated between degrees; never below 143 (89 degrees)."""
    lat_e5 = min(abs(lat_e5), 8899999)
    degree = lat_e5 // 100000
    here = SINES[90 - degree]
    return here - (here - SINES[89 - degree]) * (lat_e5 % 100000) // 100000


def wrap_lon(lon_e5: int) -> int:
    """The longitude in -180..179.99999 degrees."""
    return (lon_e5 + 18000000) % 36000000 - 18000000


def quantise_sog(sog_dkn: "int | None") -> int:
    """The code of a speed, 0..255: steps of 0.1 kn to 20 kn, of 0.5 kn to 47 kn; 255 unknown."""
    if sog_dkn is None:
        return 255
    if sog_dkn <= 200:
        return max(sog_dkn, 0)
    return 200 + min((sog_dkn - 200 + 2) // 5, 54)


def sog_of_code(code: int) -> "int | None":
    """The speed in 0.1 kn of a code, None for 255."""
    if code == 255:
        return None
    return code if code <= 200 else 200 + (code - 200) * 5


def quantise_cog(cog_deg: "int | None") -> int:
    """The code of a course, 0..119 in steps of 3 degrees; 127 unknown."""
    return 127 if cog_deg is None else (cog_deg + 1) % 360 // 3


def cog_of_code(code: int) -> "int | None":
    """The course in degrees of a code; None for 120 and above."""
    return code * 3 if code < 120 else None


def predict_into(
    out: "list[int]",
    lat_e5: int,
    lon_e5: int,
    sog_dkn: "int | None",
    cog_deg: "int | None",
    elapsed_s: int,
) -> None:
    """Where a vessel is `elapsed_s` (-3600..3600, clamped) after a fix: out[0] lat, out[1] lon.

    An unknown speed or course predicts no motion. Allocates nothing on MicroPython.
    Raises LocalError("range") for a speed above 47 kn.
    """
    if sog_dkn is None or cog_deg is None:
        out[0] = lat_e5
        out[1] = lon_e5
        return
    if not 0 <= sog_dkn <= SOG_DKN_MAX:
        raise LocalError("range", "sog_dkn = %d is not in 0..%d" % (sog_dkn, SOG_DKN_MAX))
    elapsed_s = min(max(elapsed_s, -ELAPSED_S_MAX), ELAPSED_S_MAX)
    # 1 dkn = 0.0514444 m/s and 1e-5 degree = 1.11320 m, so 0.0462133 = 61/1320 per second.
    way = (sog_dkn * elapsed_s * 61 + 660) // 1320
    north = (way * _sine(cog_deg + 90) + _ONE // 2) // _ONE
    east = (way * _sine(cog_deg) + _ONE // 2) // _ONE
    out[0] = min(max(lat_e5 + north, -9000000), 9000000)
    out[1] = wrap_lon(lon_e5 + east * _ONE // cosine_of_latitude(lat_e5))


def distance_m(lat_a_e5: int, lon_a_e5: int, lat_b_e5: int, lon_b_e5: int) -> int:
    """Metres between two points, flat earth, exact to 1 % below 100 km; 2**29 - 1 when far."""
    north = abs(lat_a_e5 - lat_b_e5)
    east = abs(wrap_lon(lon_a_e5 - lon_b_e5))
    if north > 130000 or east > 130000 * 8:
        return (1 << 29) - 1
    mean = (lat_a_e5 + lat_b_e5) // 2
    east = (
        (east >> 3) * cosine_of_latitude(mean) // (_ONE >> 3)
        if east > 130000
        else (east * cosine_of_latitude(mean) // _ONE)
    )
    shift = 0
    while north > 16000 or east > 16000:  # 2 * 16,000**2 stays below 2**30
        north >>= 1
        east >>= 1
        shift += 1
    return (_root(north * north + east * east) << shift) * 1113 // 1000


def _root(square: int) -> int:
    """Integer square root by Newton's method."""
    if square < 2:
        return square
    guess = square
    better = (square + 1) >> 1
    while better < guess:
        guess = better
        better = (guess + square // guess) >> 1
    return guess


class Contract:
    """Decides when a tracker must report, so that the shore's picture is off by `error_m` at most.

    Call sent() with each fix that the shore has got or will get, then is_due() with each new fix.
    """

    def __init__(self, error_m: int = 100, heartbeat_s: int = 1800) -> None:
        self.error_m = error_m
        self.heartbeat_s = heartbeat_s
        self.off_m = 0  # of the last is_due()
        self._has_sent = False
        self._time_s = 0
        self._lat_e5 = 0
        self._lon_e5 = 0
        self._sog_dkn: int | None = None
        self._cog_deg: int | None = None
        self._guess = [0, 0]

    def sent(
        self,
        time_s: int,
        lat_e5: int,
        lon_e5: int,
        sog_dkn: "int | None",
        cog_deg: "int | None",
    ) -> None:
        """A fix left in a frame; speed and course are rounded here as the frame rounds them."""
        self._has_sent = True
        self._time_s = time_s
        self._lat_e5 = lat_e5
        self._lon_e5 = lon_e5
        self._sog_dkn = sog_of_code(quantise_sog(sog_dkn))
        self._cog_deg = cog_of_code(quantise_cog(cog_deg))

    def is_due(self, time_s: int, lat_e5: int, lon_e5: int) -> bool:
        """True when the shore's prediction is off by more than `error_m`, or is too old."""
        if not self._has_sent:
            return True
        elapsed_s = time_s - self._time_s
        predict_into(
            self._guess, self._lat_e5, self._lon_e5, self._sog_dkn, self._cog_deg, elapsed_s
        )
        self.off_m = distance_m(lat_e5, lon_e5, self._guess[0], self._guess[1])
        return self.off_m > self.error_m or elapsed_s >= self.heartbeat_s or elapsed_s < 0
