"""Dead reckoning in integers, so that both ends agree on any processor.

Between two fixes a vessel is taken to move with the mean of its velocity at both ends. Velocity
comes from speed and course where the stream has them; else from the last displacement.
"""

from math import isqrt

from gateway.codec.catalogue import Channel, Device

# sin(0..90 degrees) * 32768, rounded.
_SINE = (
    0, 572, 1144, 1715, 2286, 2856, 3425, 3993, 4560, 5126, 5690, 6252, 6813, 7371, 7927, 8481,
    9032, 9580, 10126, 10668, 11207, 11743, 12275, 12803, 13328, 13848, 14365, 14876, 15384, 15886,
    16384, 16877, 17364, 17847, 18324, 18795, 19261, 19720, 20174, 20622, 21063, 21498, 21926,
    22348, 22763, 23170, 23571, 23965, 24351, 24730, 25102, 25466, 25822, 26170, 26510, 26842,
    27166, 27482, 27789, 28088, 28378, 28660, 28932, 29197, 29452, 29698, 29935, 30163, 30382,
    30592, 30792, 30983, 31164, 31336, 31499, 31651, 31795, 31928, 32052, 32166, 32270, 32365,
    32449, 32524, 32588, 32643, 32688, 32723, 32748, 32763, 32768,
)  # fmt: skip
ONE = 32768
METRES_PER_DEGREE = 111_120
_METRES_PER_HOUR = {"kn": 1852, "km/h": 1000, "m/s": 3600}


def sine(angle: int, unit: int) -> int:
    """32768 * sin(angle / unit degrees), by linear interpolation in a table of whole degrees."""
    angle %= 360 * unit
    half = 180 * unit
    sign = 1
    if angle >= half:
        angle -= half
        sign = -1
    if angle > half // 2:
        angle = half - angle
    degree, part = divmod(angle, unit)
    value = _SINE[degree]
    if part:
        value += (_SINE[degree + 1] - value) * part // unit
    return sign * value


class Motion:
    """Guesses of latitude and longitude for one device, in the channels' own units."""

    __slots__ = (
        "_course_unit", "_down", "_dt_ms", "_e_full", "_e_half", "_e_plain", "_east", "_full",
        "_lat", "_lat_step", "_lon", "_lon_step", "_moving", "_north", "_plain", "_refined",
        "_unit", "_up", "course", "lat", "lat_guess", "lon", "lon_guess", "ready", "speed",
    )  # fmt: skip

    def __init__(self, device: Device) -> None:
        kinds = [channel.kind for channel in device.channels]
        self.lat, self.lon = kinds.index("lat"), kinds.index("lon")
        self.speed = kinds.index("speed") if "speed" in kinds else -1
        self.course = kinds.index("course") if "course" in kinds else -1
        speed = device.channels[self.speed] if self.speed >= 0 else Channel("speed", "kn")
        self._course_unit = 10 ** device.channels[self.course].decimals if self.course >= 0 else 1
        self._unit = 10 ** device.channels[self.lat].decimals
        # speed * sine * ms * _up / _down is a distance in position units.
        self._up = _METRES_PER_HOUR.get(speed.unit, 1852) * self._unit
        self._down = 10**speed.decimals * 3_600_000 * METRES_PER_DEGREE * ONE
        self._lat = self._lon = 0
        self._lat_step = self._lon_step = 0  # the last displacement
        self._dt_ms = 0  # and the time it took; 0: there was none
        self._north = self._east = 0  # the last speed * sine
        self._moving = False  # are they known?
        self.lat_guess = self.lon_guess = 0
        self.ready = False  # is there a last position?
        # Longitude as guessed and as corrected by the latitude, and errors of ways to correct it.
        self._refined = False
        self._plain = self._full = 0
        self._e_plain = self._e_half = self._e_full = 0

    @staticmethod
    def fits(device: Device) -> bool:
        """Has the device one position, both parts in the same unit?"""
        kinds = [channel.kind for channel in device.channels]
        return (
            kinds.count("lat") == kinds.count("lon") == 1
            and device.channels[kinds.index("lat")].decimals
            == device.channels[kinds.index("lon")].decimals
        )

    def guess(self, speed: int | None, course: int | None, dt_ms: int) -> None:
        """Set `lat_guess` and `lon_guess` for the row that comes `dt_ms` after the last."""
        lat_step = lon_step = 0
        cos_lat = max(sine(self._lat + 90 * self._unit, self._unit), 300)
        if course is not None and speed is not None:
            north = speed * sine(course + 90 * self._course_unit, self._course_unit)
            east = speed * sine(course, self._course_unit)
            both_north = self._north + north if self._moving else 2 * north
            both_east = self._east + east if self._moving else 2 * east
            self._north, self._east, self._moving = north, east, True
            lat_step = both_north * dt_ms * self._up // (2 * self._down)
            lon_step = both_east * dt_ms * self._up * ONE // (2 * self._down * cos_lat)
        else:
            self._moving = False
            if self._dt_ms > 0:
                lat_step = self._lat_step * dt_ms // self._dt_ms
                lon_step = self._lon_step * dt_ms // self._dt_ms
                if course is not None:  # as far as before, but this way
                    far = isqrt(lat_step**2 + (lon_step * cos_lat // ONE) ** 2)
                    north = sine(course + 90 * self._course_unit, self._course_unit)
                    lat_step = (lat_step + far * north // ONE) // 2
                    east = sine(course, self._course_unit)
                    lon_step = (lon_step + far * east // cos_lat) // 2
        self.lat_guess = self._lat + lat_step
        self.lon_guess = self._lon + lon_step

    def refine(self, lat: int) -> None:
        """Correct `lon_guess` for a way that was longer or shorter than guessed.

        Not at all, by half or in full: whichever was best of late.
        """
        guessed = self.lat_guess - self._lat
        ahead = self.lon_guess - self._lon
        self._refined = 2 * abs(guessed) >= abs(ahead) and abs(guessed) >= 8
        if self._refined:
            ratio = min(max(((lat - self._lat) << 8) // guessed, 0), 512)
            self._plain = self.lon_guess
            self._full = self._lon + (ahead * ratio >> 8)
            best = min(self._e_half, self._e_full, self._e_plain)
            if best == self._e_half:
                self.lon_guess = (self._plain + self._full) >> 1
            elif best == self._e_full:
                self.lon_guess = self._full

    def learn(self, lat: int | None, lon: int | None, dt_ms: int) -> None:
        """Take in the position of the row, if it has both parts."""
        if self._refined and lon is not None:
            self._e_plain += (abs(lon - self._plain) << 4) - (self._e_plain >> 3)
            self._e_full += (abs(lon - self._full) << 4) - (self._e_full >> 3)
            half = (self._plain + self._full) >> 1
            self._e_half += (abs(lon - half) << 4) - (self._e_half >> 3)
        self._refined = False
        if lat is None or lon is None:
            self._moving = False
            self.ready = False
            self._dt_ms = 0
            return
        if self.ready and dt_ms > 0:
            self._lat_step, self._lon_step = lat - self._lat, lon - self._lon
            self._dt_ms = dt_ms
        else:
            self._dt_ms = 0
        self._lat, self._lon = lat, lon
        self.ready = True
