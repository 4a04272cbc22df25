"""NMEA 0183 in, fixes out: `NmeaParser`, `Fix`. Bounded memory, integers alone.

    pos = 0
    while pos < length:
        pos = parser.feed(buf, pos, length)
        if parser.has_fix:
            use parser.fix      # valid until the next feed() or line_idle()
    ... when the UART was silent for 100 ms: if parser.line_idle(): use parser.fix

Reads RMC, GGA, GNS, GLL, VTG, GSA and ZDA of any talker; other sentences are checked and passed
over. Sentences with the same time of day are one epoch, one `Fix`. A sentence without a checksum
is not believed: on a UART there is no other protection.
"""

from protocols.errors import LocalError

SENTENCE_MAX = 128  # the standard says 82; receivers send up to 110
_FIELDS_MAX = 24
_DAY_MS = 86400000
_ROLLOVER_DAYS = 7168  # 1,024 weeks, the week counter of GPS
_IDLE, _BODY, _HIGH, _LOW = 0, 1, 2, 3  # states: outside; inside; checksum digits
_DOLLAR, _BANG, _STAR, _COMMA, _DOT, _MINUS = 36, 33, 42, 44, 46, 45
_CR, _LF = 13, 10
_EPOCH_2020_DAYS = 737731  # `days_of` 2020-01-01 before the subtraction


class Fix:
    """One navigation epoch. None: not said.

    time_s     seconds since 2020-01-01T00:00:00Z, or None (no date yet)
    time_ms    milliseconds of the second, 0..999
    day_ms     milliseconds of the UTC day, or None
    is_valid   a position, and no sentence of the epoch called it void
    lat_e5, lon_e5   1e-5 degree (1.1 m), north and east positive; below 2**30
    sog_dkn    speed over ground, 0.1 kn;  cog_deg  0..359
    satellites, hdop_c (0.01), altitude_dm, mode (1 none, 2 2D, 3 3D), quality (GGA 0..8)
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.time_s: int | None = None
        self.time_ms = 0
        self.day_ms: int | None = None
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
    """See the module's docstring for use.

    Counters: sentences (good ones, of any kind), bad_checksums, bad_sentences (broken off, without
    checksum, or with a field that is none), dropped_bytes (outside sentences), rollovers.
    """

    def __init__(self, built_time_s: int = 0) -> None:
        """`built_time_s`: dates before it are moved by 1024 weeks until they are after it."""
        if built_time_s < 0:
            raise LocalError("range", "built_time_s = %d is before 2020" % built_time_s)
        self.has_fix = False
        self.fix = Fix()
        self.sentences = 0
        self.bad_checksums = 0
        self.bad_sentences = 0
        self.dropped_bytes = 0
        self.rollovers = 0
        self._next = Fix()
        self._is_void = False
        self._has_content = False
        self._days: int | None = None  # date of this epoch, if a sentence of it said so
        self._known_days: int | None = None  # date of the last epoch that had one
        self._known_day_ms = 0
        self._built_days = built_time_s // 86400
        self._state = _IDLE
        self._buf = bytearray(SENTENCE_MAX)
        self._length = 0
        self._xor = 0
        self._sum = 0
        self._commas = bytearray(_FIELDS_MAX + 1)  # where each field ends
        self._fields = 0
        self._is_bad = False  # a field of this sentence is no number

    def feed(self, buf: "bytes | bytearray | memoryview", start: int, end: int) -> int:
        """Take buf[start:end] up to the end of an epoch; return the position to go on from."""
        self.has_fix = False
        for at in range(start, end):
            byte = buf[at]
            if byte == _DOLLAR or byte == _BANG:  # noqa: SIM109 (a tuple would allocate)
                if self._state != _IDLE:
                    self.bad_sentences += 1
                self._state = _BODY
                self._length = self._xor = self._fields = 0
            elif self._state == _BODY:
                self._body(byte)
            elif self._state == _IDLE:
                if byte != _CR and byte != _LF:
                    self.dropped_bytes += 1
            else:
                self._checksum(byte)
                if self.has_fix:
                    return at + 1
        return end

    def line_idle(self) -> bool:
        """The line is silent: close the epoch; True when `fix` is new."""
        self.has_fix = False
        if self._has_content:
            self._emit()
        return self.has_fix

    def _body(self, byte: int) -> None:
        if byte == _STAR:
            self._end_field()
            self._state = _HIGH
        elif byte < 32 or byte > 126 or self._length == SENTENCE_MAX:
            self._break_off()
        else:
            if byte == _COMMA:
                self._end_field()
            self._buf[self._length] = byte
            self._length += 1
            self._xor ^= byte

    def _end_field(self) -> None:
        if self._fields <= _FIELDS_MAX:
            self._commas[self._fields] = self._length
        self._fields += 1

    def _break_off(self) -> None:
        self.bad_sentences += 1
        self._state = _IDLE

    def _checksum(self, byte: int) -> None:
        digit = byte - 48
        if not 0 <= digit <= 9:
            digit = (byte & 0xDF) - 55
            if not 10 <= digit <= 15:
                self._break_off()
                return
        if self._state == _HIGH:
            self._sum = digit << 4
            self._state = _LOW
            return
        self._state = _IDLE
        if self._sum | digit != self._xor:
            self.bad_checksums += 1
            return
        self.sentences += 1
        self._is_bad = False
        self._dispatch()
        if self._is_bad:
            self.bad_sentences += 1

    def _dispatch(self) -> None:
        """Read the sentence in the buffer, if it is one of ours: talker, then three letters."""
        buf = self._buf
        if self._commas[0] != 5 or self._fields > _FIELDS_MAX:
            return
        kind = buf[2] << 16 | buf[3] << 8 | buf[4]
        if kind == 0x524D43:  # RMC
            self._rmc()
        elif kind == 0x474741 or kind == 0x474E53:  # GGA, GNS
            self._gga(kind == 0x474E53)
        elif kind == 0x474C4C:  # GLL
            self._gll()
        elif kind == 0x565447:  # VTG
            self._vtg()
        elif kind == 0x475341:  # GSA
            self._gsa()
        elif kind == 0x5A4441:  # ZDA
            self._zda()

    # ---- sentences; each reads all its fields before it changes anything ----

    def _rmc(self) -> None:
        if self._fields < 10:
            self._is_bad = True
            return
        day_ms = self._time(1)
        status = self._letter(2)
        lat = self._angle(3, 90)
        lon = self._angle(5, 180)
        sog = self._number(7, 1)
        cog = self._number(8, 0)
        days = self._date(9)
        is_void = status != 65 or self._letter(12) == 78  # not "A"; mode "N"
        if self._is_bad or not self._begin(day_ms):
            return
        if days is not None:
            self._set_date(days)
        if sog is not None and sog < 20000:
            self._next.sog_dkn = sog
        if cog is not None and cog <= 360:
            self._next.cog_deg = cog % 360
        self._set_position(lat, lon, is_void)

    def _gga(self, is_gns: bool) -> None:
        if self._fields < 11:
            self._is_bad = True
            return
        day_ms = self._time(1)
        lat = self._angle(2, 90)
        lon = self._angle(4, 180)
        quality = None if is_gns else self._number(6, 0)
        satellites = self._number(7, 0)
        hdop = self._number(8, 2)
        altitude = self._number(9, 1)
        is_void = not quality
        if is_gns:
            # One letter per system, "N" for none; all "N" is void.
            is_void = True
            for at in range(self._start(6), self._commas[6]):
                if self._buf[at] != 78:
                    is_void = False
        if self._is_bad or not self._begin(day_ms):
            return
        fix = self._next
        if not is_gns:
            fix.quality = quality
        fix.satellites = satellites
        fix.hdop_c = hdop
        fix.altitude_dm = altitude
        self._set_position(lat, lon, is_void)

    def _gll(self) -> None:
        if self._fields < 7:
            self._is_bad = True
            return
        day_ms = self._time(5)
        lat = self._angle(1, 90)
        lon = self._angle(3, 180)
        is_void = self._letter(6) != 65
        if not self._is_bad and self._begin(day_ms):
            self._set_position(lat, lon, is_void)

    def _vtg(self) -> None:
        cog = self._number(1, 0)
        sog = self._number(5, 1)
        if self._is_bad or self._letter(2) != 84 or not self._has_content:  # "T": the new form
            return
        if sog is not None and sog < 20000:
            self._next.sog_dkn = sog
        if cog is not None and cog <= 360:
            self._next.cog_deg = cog % 360

    def _gsa(self) -> None:
        mode = self._number(2, 0)
        hdop = self._number(16, 2)
        if self._is_bad or not self._has_content or mode is None:
            return
        # One GSA per satellite system: the best of them is the fix.
        if self._next.mode is None or mode > self._next.mode:
            self._next.mode = mode
        if hdop is not None and self._next.hdop_c is None:
            self._next.hdop_c = hdop

    def _zda(self) -> None:
        day_ms = self._time(1)
        day = self._number(2, 0)
        month = self._number(3, 0)
        year = self._number(4, 0)
        if self._is_bad or day is None or month is None or year is None:
            return
        if not (1 <= day <= 31 and 1 <= month <= 12 and 1980 <= year < 2100):
            self._is_bad = True
        elif self._begin(day_ms):
            self._set_date(days_of(year, month, day))

    # ---- epochs ----

    def _begin(self, day_ms: "int | None") -> bool:
        """A sentence with this time: close the epoch before it if it is another one's."""
        if day_ms is None:
            return False  # no time: a receiver that has just started
        if self._has_content and self._next.day_ms != day_ms:
            self._emit()
        self._next.day_ms = day_ms
        self._has_content = True
        return True

    def _set_position(self, lat: "int | None", lon: "int | None", is_void: bool) -> None:
        if is_void:
            self._is_void = True
        elif lat is not None and lon is not None:
            self._next.lat_e5 = lat
            self._next.lon_e5 = lon

    def _set_date(self, days: int) -> None:
        while days < self._built_days:
            days += _ROLLOVER_DAYS
            self.rollovers += 1
        self._days = days

    def _emit(self) -> None:
        fix = self._next
        self._next = self.fix
        self._next.clear()
        self.fix = fix
        day_ms = fix.day_ms or 0
        days = self._days
        if days is None and self._known_days is not None:
            # No sentence of this epoch had the date: midnight may have passed.
            days = self._known_days
            if day_ms + _DAY_MS // 2 < self._known_day_ms:
                days += 1
        if days is not None:
            self._known_days = days
            self._known_day_ms = day_ms
            fix.time_s = days * 86400 + day_ms // 1000
        fix.time_ms = day_ms % 1000
        fix.is_valid = fix.lat_e5 is not None and not self._is_void
        self._days = None
        self._is_void = False
        self._has_content = False
        self.has_fix = True

    # ---- fields; an empty one is None, a broken one sets `_is_bad` ----

    def _start(self, field: int) -> int:
        return self._commas[field - 1] + 1

    def _letter(self, field: int) -> int:
        """The only character of a field, or 0."""
        if field >= self._fields or self._commas[field] - self._start(field) != 1:
            return 0
        return self._buf[self._start(field)]

    def _number(self, field: int, decimals: int) -> "int | None":
        """A decimal field times 10**decimals, rounded half up; at most eight digits."""
        if field >= self._fields:
            return None
        return self._decimal(self._start(field), self._commas[field], decimals)

    def _decimal(self, at: int, end: int, decimals: int) -> "int | None":
        if at >= end:
            return None
        buf = self._buf
        is_negative = buf[at] == _MINUS
        if is_negative:
            at += 1
        value = digits = 0
        left = -1  # decimals still wanted; below 0 before the point
        has_rounded = False
        while at < end:
            digit = buf[at] - 48
            at += 1
            if digit == _DOT - 48 and left < 0 and not has_rounded:
                left = decimals
                has_rounded = left == 0
                if has_rounded:
                    left = -2
                    # The next digit, if any, decides the rounding.
                    if at < end and 5 <= buf[at] - 48 <= 9:
                        value += 1
                continue
            if not 0 <= digit <= 9:
                self._is_bad = True
                return None
            digits += 1
            if left == -2:
                continue  # beyond the decimals that we keep
            if left > 0:
                left -= 1
                value = value * 10 + digit
                if left == 0:
                    left = -2
                    if at < end and 5 <= buf[at] - 48 <= 9:
                        value += 1
            else:
                value = value * 10 + digit
            if value > 99999999:
                self._is_bad = True
                return None
        if not digits:
            self._is_bad = True
            return None
        if left == -1:
            left = decimals
        while left > 0:
            value *= 10
            left -= 1
        return -value if is_negative else value

    def _angle(self, field: int, limit: int) -> "int | None":
        """Degrees and minutes, (d)ddmm.mmmm, and the letter after it, as 1e-5 degree."""
        start, end = self._start(field), self._commas[field]
        letter = self._letter(field + 1)
        if start == end:
            return None
        dot = start
        while dot < end and self._buf[dot] != _DOT:
            dot += 1
        whole = self._decimal(start, dot, 0)
        minutes = self._decimal(dot - 2, end, 5) if dot - start >= 3 else None
        if whole is None or minutes is None or whole > 18000:
            self._is_bad = True
            return None
        value = whole // 100 * 100000 + (minutes + 30) // 60
        is_north_south = letter == 78 or letter == 83  # "N", "S"
        is_east_west = letter == 69 or letter == 87  # "E", "W"
        is_right = is_north_south if limit == 90 else is_east_west
        if minutes >= 6000000 or value > limit * 100000 or value < 0 or not is_right:
            self._is_bad = True
            return None
        return -value if letter == 83 or letter == 87 else value

    def _time(self, field: int) -> "int | None":
        """hhmmss(.sss) as milliseconds of the day."""
        if field >= self._fields or self._start(field) >= self._commas[field]:
            return None
        start, end = self._start(field), self._commas[field]
        if end - start < 6:
            self._is_bad = True
            return None
        clock = self._decimal(start, start + 4, 0)
        second_ms = self._decimal(start + 4, end, 3)
        if clock is None or second_ms is None or clock < 0 or second_ms < 0:
            self._is_bad = True
            return None
        if clock // 100 > 23 or clock % 100 > 59 or second_ms >= 61000:
            self._is_bad = True
            return None
        return (clock // 100 * 3600 + clock % 100 * 60) * 1000 + second_ms

    def _date(self, field: int) -> "int | None":
        """ddmmyy as days since 2020; years 80 to 99 are 1980 to 1999."""
        date = self._number(field, 0)
        if date is None:
            return None
        day, month, year = date // 10000, date // 100 % 100, date % 100
        if self._commas[field] - self._start(field) != 6 or not (1 <= month <= 12):
            self._is_bad = True
            return None
        if not 1 <= day <= 31:
            self._is_bad = True
            return None
        return days_of(year + (1900 if year >= 80 else 2000), month, day)


def days_of(year: int, month: int, day: int) -> int:
    """Days from 2020-01-01 to a date of the Gregorian calendar, negative before."""
    if month < 3:
        year -= 1
        month += 12
    # March is month 3: (153 * m - 457) // 5 days before month m, years begin in March.
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day
    return days - _EPOCH_2020_DAYS
