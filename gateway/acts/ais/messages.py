"""The AIS messages we make: ITU-R M.1371-5, and FI 31 of IMO SN.1/Circ.289.

Positions are integers of 1e-5 degree, which are exactly six of AIS's 1/10,000 minutes. What is not
known is sent as the standard's "not available".
"""

from dataclasses import dataclass

from gateway.acts.ais.sentence import Bits, six_bit_text

UNDER_WAY, ANCHORED, MOORED, FISHING, SART_ACTIVE, UNDEFINED = 0, 1, 5, 7, 14, 15
NO_SECOND, MANUAL, RECKONED = 60, 61, 62  # instead of the second of a fix
STEADY, DECREASING, INCREASING, NO_TREND = 0, 1, 2, 3

_NO_SOG, _NO_COG, _NO_HEADING = 1023, 3600, 511
_LEVEL_MIN_CM, _LEVEL_MAX_CM = -1000, 3000
_NO_LEVEL = 4001
_COMM_STATE_CS = 1 << 19 | 393222  # what carrier-sense class B units send, M.1371-5 annex 7
_REFERENCE_POINT = 1
_SURVEYED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """Where something is, for a position report."""

    lat_e5: int
    lon_e5: int
    sog_dkn: int | None = None  # 0.1 kn
    cog_deg: int | None = None
    second: int = NO_SECOND  # of the fix, 0..59, or one of the constants above
    is_accurate: bool = False  # better than 10 m


@dataclass(frozen=True, slots=True, kw_only=True)
class Hull:
    """What does not change on a voyage."""

    name: str
    callsign: str = ""
    ship_type: int = 0  # M.1371-5 table 53: 30 fishing, 36 sailing, 37 pleasure, 60 passenger
    length_m: int = 0
    beam_m: int = 0


def _head(kind: int, mmsi: int) -> Bits:
    return Bits().put(kind, 6).put(0, 2).put(mmsi, 30)


def _position(bits: Bits, fix: Fix) -> None:
    bits.put(int(fix.is_accurate), 1)
    bits.put_signed(fix.lon_e5 * 6, 28).put_signed(fix.lat_e5 * 6, 27)


def _sog(fix: Fix) -> int:
    return _NO_SOG if fix.sog_dkn is None else min(max(fix.sog_dkn, 0), 1022)


def _cog(fix: Fix) -> int:
    return _NO_COG if fix.cog_deg is None else fix.cog_deg % 360 * 10


def position_a(mmsi: int, fix: Fix, status: int) -> Bits:
    """Message 1: a class A position; with SART_ACTIVE a call for help, with UNDEFINED a test."""
    bits = _head(1, mmsi).put(status, 4).put_signed(-128, 8).put(_sog(fix), 10)
    _position(bits, fix)
    bits.put(_cog(fix), 12).put(_NO_HEADING, 9).put(fix.second, 6)
    return bits.put(0, 2).put(0, 3).put(0, 1).put(0, 19)


def position_b(mmsi: int, fix: Fix) -> Bits:
    """Message 18: a class B position."""
    bits = _head(18, mmsi).put(0, 8).put(_sog(fix), 10)
    _position(bits, fix)
    bits.put(_cog(fix), 12).put(_NO_HEADING, 9).put(fix.second, 6).put(0, 2)
    # carrier sense, no display, no DSC, whole band, no message 22, autonomous, no RAIM
    bits.put(1, 1).put(0, 1).put(0, 1).put(1, 1).put(0, 1).put(0, 1).put(0, 1)
    return bits.put(_COMM_STATE_CS, 20)


def _dimensions(hull: Hull) -> int:
    """The antenna amidships: to bow 9 bits, stern 9, port 6, starboard 6."""
    bow, port = min(hull.length_m // 2, 511), min(hull.beam_m // 2, 63)
    stern = min(hull.length_m - hull.length_m // 2, 511)
    starboard = min(hull.beam_m - hull.beam_m // 2, 63)
    return bow << 21 | stern << 12 | port << 6 | starboard


def static_a(mmsi: int, hull: Hull) -> Bits:
    """Message 5: name, call sign, type and size of a class A vessel. Two sentences."""
    bits = _head(5, mmsi).put(0, 2).put(0, 30).put_text(hull.callsign, 7).put_text(hull.name, 20)
    bits.put(hull.ship_type, 8).put(_dimensions(hull), 30).put(1, 4)  # GPS
    bits.put(0, 4).put(0, 5).put(24, 5).put(60, 6)  # no time of arrival
    return bits.put(0, 8).put_text("", 20).put(1, 1).put(0, 1)  # no draught, destination, DTE


def static_b(mmsi: int, hull: Hull, mothership: int) -> tuple[Bits, Bits]:
    """Message 24, parts A and B. An auxiliary craft (98...) gives its mothership for its size."""
    part_a = _head(24, mmsi).put(0, 2).put_text(hull.name, 20)
    part_b = _head(24, mmsi).put(1, 2).put(hull.ship_type, 8).put_text("TKD", 3).put(0, 24)
    is_craft = mmsi // 10_000_000 == 98
    size = mothership if is_craft else _dimensions(hull)
    part_b.put_text(hull.callsign, 7).put(size, 30).put(0, 6)
    return part_a, part_b


def safety_text(mmsi: int, text: str) -> Bits:
    """Message 14: a safety related broadcast, at most 161 letters."""
    text = six_bit_text(text, 161)
    return _head(14, mmsi).put(0, 2).put_text(text, len(text))


def aid(mmsi: int, name: str, lat_e5: int, lon_e5: int, *, is_virtual: bool) -> Bits:
    """Message 21: a fixed point with a name of at most 34 letters."""
    name = six_bit_text(name, 34)
    rest = name[20:]
    bits = _head(21, mmsi).put(_REFERENCE_POINT, 5).put_text(name, 20).put(0, 1)
    bits.put_signed(lon_e5 * 6, 28).put_signed(lat_e5 * 6, 27).put(0, 30).put(_SURVEYED, 4)
    bits.put(MANUAL, 6).put(0, 1).put(0, 8).put(0, 1).put(int(is_virtual), 1).put(0, 1).put(0, 1)
    if rest:
        bits.put_text(rest, len(rest))
        bits.put(0, -bits.length % 8)
    return bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Water:
    """What a gauge says, for FI 31; None is "not available"."""

    lat_e5: int
    lon_e5: int
    day: int  # of the month, UTC
    hour: int
    minute: int
    level_mm: int | None = None  # above the local datum
    trend: int = NO_TREND
    water_temp_cdeg: int | None = None
    air_temp_cdeg: int | None = None
    humidity_percent: int | None = None
    pressure_pa: int | None = None


def _scaled(value: int | None, step: int, low: int, high: int, none: int) -> int:
    """`value / step`, rounded; `none` when it is not known or outside low..high."""
    if value is None:
        return none
    scaled = (2 * value + step) // (2 * step)
    return scaled if low <= scaled <= high else none


def met_hydro(mmsi: int, water: Water) -> Bits:
    """Message 8, DAC 1, FI 31: meteorological and hydrographic data, 360 bits, two sentences.

    A level outside -10.00..+30.00 m is sent as not available, never as a limit that looks real.
    """
    bits = _head(8, mmsi).put(0, 2).put(1, 10).put(31, 6)
    bits.put_signed(_scaled(water.lon_e5 * 6, 10, -10_800_000, 10_800_000, 10_860_000), 25)
    bits.put_signed(_scaled(water.lat_e5 * 6, 10, -5_400_000, 5_400_000, 5_460_000), 24)
    bits.put(0, 1).put(water.day, 5).put(water.hour, 5).put(water.minute, 6)
    bits.put(127, 7).put(127, 7).put(360, 9).put(360, 9)  # wind
    bits.put_signed(_scaled(water.air_temp_cdeg, 10, -600, 600, -1024), 11)
    bits.put(_scaled(water.humidity_percent, 1, 0, 100, 101), 7).put_signed(501, 10)
    pressure = _scaled(water.pressure_pa, 100, 799, 1201, 1310)
    bits.put(pressure - 799, 9).put(3, 2).put(127, 8)  # 1310 - 799 = 511; tendency, visibility
    level_cm = _scaled(water.level_mm, 10, _LEVEL_MIN_CM, _LEVEL_MAX_CM, _NO_LEVEL - 1000)
    bits.put(level_cm + 1000, 12).put(water.trend, 2)
    bits.put(255, 8).put(360, 9)  # currents: surface, and at two depths
    for _ in range(2):
        bits.put(255, 8).put(360, 9).put(31, 5)
    bits.put(255, 8).put(63, 6).put(360, 9)  # waves
    bits.put(255, 8).put(63, 6).put(360, 9).put(13, 4)  # swell, sea state
    bits.put_signed(_scaled(water.water_temp_cdeg, 10, -100, 500, 501), 10)
    return bits.put(7, 3).put(510, 9).put(3, 2).put(0, 10)  # precipitation, salinity, ice
