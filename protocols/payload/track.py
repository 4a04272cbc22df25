"""Track payload (port 2): `TrackRing`, `TrackEncoder`, `decode_track`, `TrackFrame`, `TrackFix`.

Positions are integers of 1e-5 degree (1.1 m), never floats. Device and shore predict with the
same integer dead reckoning (`protocols.payload.reckon`), so the map is never wrong by more than E.

A frame is `schema.TRACK_HEAD`, the extended head if the grid is 7, the position modulo 2.62 degrees
or absolute, speed and course, then a mode (15: no history) and older positions, newest first, as
Rice codes of their distance from where dead reckoning (the first) or a straight line puts them.
"""

from array import array

from protocols.errors import LocalError, RemoteError
from protocols.payload import schema
from protocols.payload.bits import BitReader, BitWriter, check_version, get_field, put_field
from protocols.payload.history import get_rice, put_rice, rice_length
from protocols.payload.ports import SEQUENCE_MAX, SLOT_S, TIME_S_MAX, VERSION
from protocols.payload.reckon import (
    cog_of_code,
    distance_m,
    predict_into,
    quantise_cog,
    quantise_sog,
    sog_of_code,
    wrap_lon,
)
from protocols.payload.spacing import (
    get_segments,
    put_segments,
    reading_times,
    segment_bits,
    uniform_count,
)
from protocols.payload.unwrap import nearest, slot_before, unwrap_sequence

STATE_UNDER_WAY, STATE_SOS, STATE_MOB, STATE_TAMPER = 0, 1, 2, 3
STATE_ANCHORED, STATE_MOORED, STATE_GEAR_DOWN, STATE_GEOFENCE = 4, 5, 6, 7
TRACK_INTERVALS_S = schema.TRACK_INTERVALS_S

LIMIT_MIN = 11
LENGTH_MIN = 10
# (Rice parameter, shift): older positions are rounded to 2**shift of 1e-5 degree, 4.5 or 18 m.
TRACK_MODES = tuple([(k, 2) for k in range(8)] + [(k, 4) for k in range(7)])
NO_HISTORY = 15
_POSITION_BITS = 18
_MODULUS = 1 << _POSITION_BITS
_HEAD_BITS = 22
_EXTENDED_BITS = 7
_SEGMENTS_MAX = 3
_ABSOLUTE_EVERY = 20
_ABSOLUTE_M = 100000
_ABSOLUTE_LIMIT = 51  # from this limit on the 15 bits more are cheap


class TrackFix:
    """One fix.

    sequence, time_s (multiple of 10), lat_e5, lon_e5 (1e-5 degree), sog_dkn (0.1 kn) and cog_deg
    (None: unknown, not sent for older fixes), resolution_e5 (1: exact; 4, 16: rounded to so much)
    """

    def __init__(
        self,
        sequence: int,
        time_s: int,
        lat_e5: int,
        lon_e5: int,
        sog_dkn: "int | None",
        cog_deg: "int | None",
        resolution_e5: int = 1,
    ) -> None:
        self.sequence = sequence
        self.time_s = time_s
        self.lat_e5 = lat_e5
        self.lon_e5 = lon_e5
        self.sog_dkn = sog_dkn
        self.cog_deg = cog_deg
        self.resolution_e5 = resolution_e5


class TrackRing:
    """The newest `capacity` (2..512) fixes, in preallocated memory."""

    def __init__(self, capacity: int = 128) -> None:
        if not 2 <= capacity <= 512:
            raise LocalError("range", "capacity %d is not in 2..512" % capacity)
        self.lats = array("i", bytes(4 * capacity))
        self.lons = array("i", bytes(4 * capacity))
        self.slots = array("I", bytes(4 * capacity))
        self.sogs = array("B", bytes(capacity))
        self.cogs = array("B", bytes(capacity))
        self.sequence = 0
        self.newest = capacity - 1
        self.count = 0

    def push(
        self,
        sequence: int,
        time_s: int,
        lat_e5: int,
        lon_e5: int,
        sog_dkn: "int | None",
        cog_deg: "int | None",
    ) -> None:
        """Add a fix; the rules of `FloodRing.push`. A course below 0.5 kn is dropped."""
        if not (0 <= sequence <= SEQUENCE_MAX and 0 <= time_s <= TIME_S_MAX):
            raise LocalError("range", "sequence %d, time_s %d" % (sequence, time_s))
        if not (-9000000 <= lat_e5 <= 9000000 and -18000000 <= lon_e5 <= 18000000):
            raise LocalError("range", "position %d, %d" % (lat_e5, lon_e5))
        slot = time_s // SLOT_S
        if sequence != self.sequence + 1 or slot <= self.slots[self.newest]:
            self.count = 0
        at = self.newest + 1
        if at == len(self.lats):
            at = 0
        if sog_dkn is not None and sog_dkn < 5:
            cog_deg = None
        self.lats[at] = lat_e5
        self.lons[at] = wrap_lon(lon_e5)
        self.slots[at] = slot
        self.sogs[at] = quantise_sog(sog_dkn)
        self.cogs[at] = quantise_cog(cog_deg)
        self.newest = at
        self.sequence = sequence
        if self.count < len(self.lats):
            self.count += 1

    def drop(self, readings: int) -> None:
        """Forget the newest `readings` (at most `count`)."""
        self.newest = (self.newest - readings) % len(self.lats)
        self.sequence -= readings
        self.count -= readings


class _Predictor:
    """Walks back along a track on both ends: `lat_e5`, `lon_e5` is the guess at the next older."""

    def __init__(self) -> None:
        self._lat = self._lon = 0
        self._out = [0, 0]
        self.lat_e5 = self.lon_e5 = 0

    def start(self, lat: int, lon: int, sog_code: int, cog_code: int, spacing_s: int) -> None:
        out = self._out
        predict_into(out, lat, lon, sog_of_code(sog_code), cog_of_code(cog_code), -spacing_s)
        self._lat = lat
        self._lon = lon
        self.lat_e5 = out[0]
        self.lon_e5 = out[1]

    def step(self, lat: int, lon: int) -> None:
        self.lat_e5 = 2 * lat - self._lat
        self.lon_e5 = lon + wrap_lon(lon - self._lon)
        self._lat = lat
        self._lon = lon


class TrackEncoder:
    """Makes port 2 payloads out of a ring.

    state is STATE_...; is_drill marks a drill of SOS or MOB; history_shift is 2 (older fixes to
    4.5 m) or 4 (to 18 m, and more of them).
    """

    def __init__(self, ring: TrackRing) -> None:
        self.ring = ring
        self.state = STATE_UNDER_WAY
        self.is_drill = False
        self.is_clock_set = True
        self.has_fault = False
        self.history_shift = 2
        self.readings = 0  # older fixes in the last frame
        self._writer = BitWriter()
        self._predictor = _Predictor()
        self._frames = 0
        self._absolute_lat = 0
        self._absolute_lon = 0
        self._used = 0
        self._segments = 0
        self._mode = NO_HISTORY
        self._has_motion = True

    def encode_into(self, buf: bytearray, limit: int, absolute: bool = False) -> int:
        """Like `FloodEncoder.encode_into`. `absolute=True` sends the whole position if it fits.

        The first, every 20th, every frame after 100 km and all of 51 B and more are absolute by
        themselves. An absolute position and an extended head (drill, fault, no clock) together
        do not fit 11 B: then the position goes modulo.
        """
        ring = self.ring
        if not ring.count:
            raise LocalError("empty", "no fix was pushed")
        if limit < LIMIT_MIN:
            raise LocalError("limit", "%d B is below %d B" % (limit, LIMIT_MIN))
        writer = self._writer
        writer.start(buf, limit)
        is_extended = self.is_drill or self.has_fault or not self.is_clock_set
        absolute = absolute or self._is_absolute_due(limit)
        if absolute and is_extended and limit == LIMIT_MIN:
            absolute = False
        base = _HEAD_BITS + 15 + (51 if absolute else 36)
        room = limit * 8 - base
        self._choose(room, room - _EXTENDED_BITS, 0, is_extended)
        self._put_head(writer, absolute, is_extended or self._segments > 0, self._segments)
        if absolute:
            self._absolute_lat = ring.lats[ring.newest]
            self._absolute_lon = ring.lons[ring.newest]
            self._frames = 0
        self._frames += 1
        return self._put_history(writer)

    def _put_history(self, writer: BitWriter) -> int:
        self.readings = 0
        if self._mode != NO_HISTORY:
            writer.put(self._mode, 4)
            room = writer.limit - writer.position
            self.readings = self._code(self._mode, self._reach(self._segments), room, writer)
        elif writer.limit - writer.position >= 4:
            writer.put(NO_HISTORY, 4)
        return writer.finish(1)

    def _is_absolute_due(self, limit: int) -> bool:
        ring = self.ring
        if self._frames == 0 or self._frames >= _ABSOLUTE_EVERY or limit >= _ABSOLUTE_LIMIT:
            return True
        lat, lon = ring.lats[ring.newest], ring.lons[ring.newest]
        return distance_m(lat, lon, self._absolute_lat, self._absolute_lon) > _ABSOLUTE_M

    def _spacing_s(self) -> int:
        ring = self.ring
        if ring.count < 2:
            return 0
        return (ring.slots[ring.newest] - ring.slots[ring.newest - 1]) * SLOT_S

    def _is_on_grid(self) -> bool:
        spacing_s = self._spacing_s()
        if spacing_s not in TRACK_INTERVALS_S:
            return False
        return not self.is_clock_set or self.ring.slots[self.ring.newest] * SLOT_S % spacing_s == 0

    def _reach(self, segments: int) -> int:
        ring = self.ring
        if not segments:
            segments = 1
            if not self._is_on_grid():
                return 0
        reach = 0
        while segments:
            reach += uniform_count(ring.slots, ring.newest, ring.count, reach)
            segments -= 1
        return reach

    def _choose(self, room: int, extended_room: int, first: int, is_extended: bool) -> None:
        """Set segments (`first` and up) and mode to carry most fixes in the room after the head."""
        ring = self.ring
        most = 0
        least_used = 0
        self._segments = first
        self._mode = NO_HISTORY
        for segments in range(first, _SEGMENTS_MAX + 1):
            reach = self._reach(segments)
            left = (extended_room if segments or is_extended else room) - 4
            if segments:
                left -= segment_bits(
                    ring.slots, ring.newest, ring.count, segments, TRACK_INTERVALS_S
                )
            for mode in range(len(TRACK_MODES)):
                if TRACK_MODES[mode][1] != self.history_shift or left <= 0:
                    continue
                got = self._code(mode, reach, left, None)
                if got > most or (got and got == most and self._used < least_used):
                    most = got
                    least_used = self._used
                    self._segments = segments
                    self._mode = mode
            if most < reach or reach + 1 >= ring.count:
                break

    def _put_head(
        self, writer: BitWriter, absolute: bool, is_extended: bool, segments: int
    ) -> None:
        ring = self.ring
        head = schema.TRACK_HEAD
        at = ring.newest
        grid = 0
        if self._is_on_grid():
            grid = TRACK_INTERVALS_S.index(self._spacing_s())
        elif ring.slots[at] % 6 == 0:
            grid = 3
        put_field(writer, head[0], VERSION)
        put_field(writer, head[1], self.state)
        put_field(writer, head[2], 1 if absolute else 0)
        put_field(writer, head[3], ring.sequence)
        put_field(writer, head[4], schema.GRID_EXTENDED if is_extended else grid)
        put_field(writer, head[5], ring.slots[at] * SLOT_S // TRACK_INTERVALS_S[grid])
        if is_extended:
            writer.put(grid, 3)
            writer.put(0 if self.is_clock_set else 1, 1)
            writer.put(1 if self.is_drill else 0, 1)
            writer.put(1 if self.has_fault else 0, 1)
            writer.put(1 if segments else 0, 1)
            if segments:
                put_segments(writer, ring.slots, at, ring.count, segments, TRACK_INTERVALS_S)
        layout = schema.TRACK_ABSOLUTE if absolute else schema.TRACK_MODULO
        put_field(writer, layout[0], ring.lats[at])
        put_field(writer, layout[1], ring.lons[at])
        writer.put(ring.sogs[at], 8)
        writer.put(ring.cogs[at], 7)

    def _code(self, mode: int, count: int, bits: int, writer: "BitWriter | None") -> int:
        """Fit, or write, the `count` fixes before the newest; returns how many fit in `bits`."""
        k, shift = TRACK_MODES[mode]
        ring = self.ring
        at = ring.newest
        half = 1 << shift >> 1
        predictor = self._predictor
        spacing_s = self._spacing_s() if self._has_motion else 0
        predictor.start(ring.lats[at], ring.lons[at], ring.sogs[at], ring.cogs[at], spacing_s)
        used = done = 0
        while done < count:
            at -= 1
            lat = (ring.lats[at] + half) >> shift
            lon = (ring.lons[at] + half) >> shift
            guess_lon = (predictor.lon_e5 + half) >> shift
            off_lat = _zigzag(lat - ((predictor.lat_e5 + half) >> shift))
            # The difference is taken the short way round the globe.
            lon = guess_lon + (wrap_lon((lon - guess_lon) << shift) >> shift)
            off_lon = _zigzag(lon - guess_lon)
            cost = rice_length(off_lat, k, _POSITION_BITS) + rice_length(off_lon, k, _POSITION_BITS)
            if used + cost > bits:
                break
            if writer is not None:
                put_rice(writer, off_lat, k, lat & (_MODULUS - 1), _POSITION_BITS)
                put_rice(writer, off_lon, k, lon & (_MODULUS - 1), _POSITION_BITS)
            predictor.step(lat << shift, wrap_lon(lon << shift))
            used += cost
            done += 1
        self._used = used
        return done


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


class TrackFrame:
    """A decoded port 2 payload: fixes (newest first) and the flags of its head."""

    def __init__(self) -> None:
        self.fixes: list[TrackFix] = []
        self.state = 0
        self.is_drill = False
        self.has_fault = False
        self.is_clock_set = True
        self.is_absolute = False
        self.is_sequence_certain = False
        self.interval_s = 0


def decode_track(
    data: "bytes | bytearray | memoryview",
    received_time_s: int,
    near_lat_e5: "int | None" = None,
    near_lon_e5: "int | None" = None,
    last_sequence: "int | None" = None,
    last_time_s: "int | None" = None,
) -> TrackFrame:
    """Decode a port 2 payload. `near_...`: the last known position, or the gateway's.

    A modulo position is resolved within 1.31 degrees (145 km of latitude) of `near`. Raises
    RemoteError("version" | "length" | "value"), RemoteError("no_reference") for a modulo position
    without `near`.
    """
    if len(data) < LENGTH_MIN:
        raise RemoteError("length", "%d B is below %d B" % (len(data), LENGTH_MIN))
    reader = BitReader(data)
    check_version(reader, VERSION)
    values: dict[str, int] = {}
    for field in schema.TRACK_HEAD[1:]:
        values[field[0]] = get_field(reader, field) or 0
    segments: list[tuple[int, int]] = []
    if values["grid"] == schema.GRID_EXTENDED:
        for field in schema.TRACK_EXTENDED:
            values[field[0]] = get_field(reader, field) or 0
        if values["grid"] == schema.GRID_EXTENDED:
            raise RemoteError("value", "grid 7 inside the extended head")
        if values["has_segments"]:
            segments = get_segments(reader, TRACK_INTERVALS_S)
    frame = TrackFrame()
    frame.state = values["state"]
    frame.is_absolute = values["is_absolute"] == 1
    frame.is_clock_set = not values.get("is_clock_unset", 0)
    frame.is_drill = values.get("is_drill", 0) == 1
    frame.has_fault = values.get("has_fault", 0) == 1
    frame.interval_s = TRACK_INTERVALS_S[values["grid"]]
    lat, lon = get_position(reader, frame.is_absolute, near_lat_e5, near_lon_e5)
    sog_code = reader.get(8)
    cog_code = reader.get(7)
    if 120 <= cog_code < 127:
        raise RemoteError("value", "course code %d" % cog_code)
    spacing_s = segments[0][1] * SLOT_S if segments else frame.interval_s
    older, resolution = get_history(reader, lat, lon, sog_code, cog_code, spacing_s)
    if frame.is_clock_set:
        time_s = slot_before(values["slot_low"], frame.interval_s, 64, received_time_s)
    else:
        time_s = received_time_s // SLOT_S * SLOT_S
    times = reading_times(time_s, len(older), segments, frame.interval_s)
    sequence, is_certain = unwrap_sequence(
        values["sequence_low"], 128, times, last_sequence, last_time_s
    )
    frame.is_sequence_certain = is_certain and frame.is_clock_set
    if times[-1] < 0 or sequence < len(older):
        raise RemoteError("value", "a fix before the beginning of time")
    sog, cog = sog_of_code(sog_code), cog_of_code(cog_code)
    frame.fixes.append(TrackFix(sequence, time_s, lat, lon, sog, cog))
    for i in range(len(older)):
        lat, lon = older[i]
        sequence -= 1
        frame.fixes.append(TrackFix(sequence, times[i + 1], lat, lon, None, None, resolution))
    return frame


def get_position(
    reader: BitReader, is_absolute: bool, near_lat: "int | None", near_lon: "int | None"
) -> "tuple[int, int]":
    if is_absolute:
        lat = reader.get(25) - 9000000
        lon = reader.get(26) - 18000000
        if lon > 18000000:
            raise RemoteError("value", "longitude %d" % lon)
    else:
        low_lat = reader.get(_POSITION_BITS)
        low_lon = reader.get(_POSITION_BITS)
        if near_lat is None or near_lon is None:
            raise RemoteError("no_reference", "a modulo position needs one to be near to")
        lat = nearest(low_lat, _MODULUS, near_lat)
        # 360 degrees are no multiple of the modulus: try the other side of the antimeridian too.
        lon = nearest(low_lon, _MODULUS, near_lon)
        if not -18000000 <= lon < 18000000:
            lon = nearest(low_lon, _MODULUS, near_lon + (36000000 if lon < 0 else -36000000))
    if not -9000000 <= lat <= 9000000:
        raise RemoteError("value", "latitude %d" % lat)
    return lat, lon


def get_history(
    reader: BitReader, lat: int, lon: int, sog_code: int, cog_code: int, spacing_s: int
) -> "tuple[list[tuple[int, int]], int]":
    """The older positions, newest first, and what they are rounded to."""
    older: list[tuple[int, int]] = []
    mode = reader.get(4) if reader.left >= 4 else NO_HISTORY
    if mode == NO_HISTORY:
        reader.expect_end(1)
        return older, 1
    k, shift = TRACK_MODES[mode]
    half = 1 << shift >> 1
    predictor = _Predictor()
    predictor.start(lat, lon, sog_code, cog_code, spacing_s)
    while True:
        mark = reader.position
        left = reader.left
        try:
            lat_code = get_rice(reader, k, _POSITION_BITS)
            lon_code = get_rice(reader, k, _POSITION_BITS)
        except RemoteError:
            reader.position = mark
            reader.left = left
            reader.expect_end(1)
            return older, 1 << shift
        lat = _place(lat_code, (predictor.lat_e5 + half) >> shift) << shift
        lon = wrap_lon(_place(lon_code, (predictor.lon_e5 + half) >> shift) << shift)
        if not -9000004 <= lat <= 9000008:
            raise RemoteError("value", "latitude %d" % lat)
        older.append((lat, lon))
        predictor.step(lat, lon)


def _place(code: int, guess: int) -> int:
    if code < 0:
        return nearest(-1 - code, _MODULUS, guess)
    return guess + (code >> 1 if not code & 1 else -1 - (code >> 1))
