"""A small site by hand: two flood nodes of one kind and a boat."""

from gateway.codec import Catalogue, Channel, Device, Record

FLOOD = (Channel("level_mm", "mm"), Channel("rain_um", "mm", 3), Channel("battery_mv", "V", 3))
TRACK = (
    Channel("lat_udeg", "deg", 6),
    Channel("lon_udeg", "deg", 6),
    Channel("sog_dkn", "kn", 1),
    Channel("cog_deg", "deg"),
)
CATALOGUE = Catalogue(
    7,
    (
        Device("kumbasari-1", "flood", FLOOD, 300),
        Device("kumbasari-2", "flood", FLOOD, 300),
        Device("jukung-12", "track", TRACK, 60),
    ),
    epoch_s=1_790_000_000,
    site="badung",
)
START_MS = 1_790_000_100_000


def flood(device: int, count: int, first: int = 0) -> list[Record]:
    """Regular rows: a slow rise and rain now and then."""
    return [
        Record(
            device,
            100 + i,
            START_MS + i * 300_000,
            (800 + i * i // 40 + device, 200 * (i % 7 == 0), 3612 - i // 10),
        )
        for i in range(first, first + count)
    ]


def track(count: int) -> list[Record]:
    """A boat that goes north-east at 5.4 knots."""
    return [
        Record(2, i, START_MS + i * 60_000, (-8_650_000 + 1060 * i, 115_210_000 + 1072 * i, 54, 45))
        for i in range(count)
    ]
