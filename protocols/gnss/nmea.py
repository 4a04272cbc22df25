"""NMEA 0183 in, fixes out: `NmeaParser`, `Fix`. Bounded memory, integers alone.

pos = 0
while pos < length:
    pos = parser.feed(buf, pos, length)
    if parser.has_fix:
        use parser.fix      # valid until the next feed() or line_idle()
... when the UART was silent for 100 ms: if parser.line_idle(): use parser.fix
"""

from protocols.errors import LocalError


class Fix:
    """One navigation epoch. None: not said.

    time_s     seconds since 2020-01-01T00:00:00Z, or None (no date yet)
    time_ms    milliseconds of the second, 0..999
    is_valid   a position that the receiver itself calls good
    lat_e5, lon_e5   1e-5 degree (1.1 m), north and east positive; below 2**30
    sog_dkn    speed over ground, 0.1 kn;  cog_deg  0..359
    satellites, hdop_c (0.01), altitude_dm, mode (1 none, 2 2D, 3 3D), quality (GGA 0..8)
    """

    def __init__(self) -> None:
        self.time_s: int | None = None
        self.time_ms = 0
        self.is_valid = False
        self.lat_e5: int | None = None
        self.lon_e5: int | None = None
        self.sog_dkn: int | None = None
        self.cog_deg: int | None = None
        self.satellites: int | None = None
        self.hdop_c: int | None = None
        self.altitude_dm: int | None = None
        self.mode: int | None = None
        self.quality: int | None = None


class NmeaParser:
    """Counters: sentences, bad_checksums, bad_sentences, dropped_bytes, rollovers."""

    def __init__(self, built_time_s: int = 0) -> None:
        """`built_time_s`: dates before it are moved by 1024 weeks until they are after it."""
        raise LocalError("unfinished")

    def feed(self, buf: "bytes | bytearray | memoryview", start: int, end: int) -> int:
        """Take buf[start:end] up to the end of an epoch; return the position to go on from."""
        raise LocalError("unfinished")

    def line_idle(self) -> bool:
        """The line is silent: close the epoch; True when `fix` is new."""
        raise LocalError("unfinished")
