"""Flood payload (port 1): `FloodRing`, `FloodEncoder`, `decode_flood`, `FloodFrame`, `FloodSample`.

Device:  ring.push(...) after each reading; `encoder.encode_into(buf, limit)` when about to send.
Gateway: `decode_flood(payload, received_time_s, last_sequence, last_time_s)`.

A frame is `schema.FLOOD_HEAD`, the extended head if the grid is 7, extras, the mode of the
history and the history (see `history`). docs/payload.md shows every bit.
"""

from array import array

from protocols.errors import LocalError, RemoteError
from protocols.payload import schema
from protocols.payload.bits import BitReader, BitWriter, check_version, get_field, put_field
from protocols.payload.history import MODES, PLAIN_MODES, READINGS_MAX, LevelCoder, decode_levels
from protocols.payload.ports import SEQUENCE_MAX, SLOT_S, TIME_S_MAX, VERSION
from protocols.payload.spacing import (
    get_segments,
    put_segments,
    reading_times,
    segment_bits,
    uniform_count,
)
from protocols.payload.unwrap import slot_before, unwrap_sequence

LEVEL_MM_MIN = -1024  # saturates: a reading of LEVEL_MM_MIN means "this or lower"
LEVEL_MM_MAX = 15358  # saturates: this or higher
INTERVALS_S = schema.INTERVALS_S

STAGE_NORMAL, STAGE_WASPADA, STAGE_SIAGA, STAGE_AWAS = 0, 1, 2, 3

LENGTH_MIN = 7  # head, no extras, mode
LIMIT_MIN = 11  # the smallest a region allows: AS923 DR2 with dwell time, US915 DR0
RAIN_LIMIT = 51  # from this limit on the history carries tip totals too, while it rains
_MISSING = 16383
_RAW_TOP = LEVEL_MM_MAX - LEVEL_MM_MIN
_HEAD_BITS = 46
_EXTRA_BITS = 10
_SEGMENTS_MAX = 4
_TRIAL = 32  # readings that all modes are tried on
_FINALISTS = 4


class FloodSample:
    """One reading.

    sequence   number in the device's log, 0..2**30-1, counts over reboots
    time_s     seconds since 2020, a multiple of 10
    level_mm   water surface above station zero, LEVEL_MM_MIN..LEVEL_MM_MAX, or None: no reading
    rain_tips  running total of bucket tips modulo 1024, or None: not sent with this reading
    """

    def __init__(
        self, sequence: int, time_s: int, level_mm: "int | None", rain_tips: "int | None"
    ) -> None:
        self.sequence = sequence
        self.time_s = time_s
        self.level_mm = level_mm
        self.rain_tips = rain_tips


class FloodRing:
    """The newest `capacity` (2..512) readings of a device, in 8 bytes each, preallocated."""

    def __init__(self, capacity: int = 256) -> None:
        if not 2 <= capacity <= READINGS_MAX:
            raise LocalError("range", "capacity %d is not in 2..%d" % (capacity, READINGS_MAX))
        self.levels = array("H", bytes(2 * capacity))  # raw, see schema.LEVEL
        self.rains = array("H", bytes(2 * capacity))  # modulo 1024
        self.slots = array("I", bytes(4 * capacity))  # time_s / 10
        self.sequence = 0  # of the newest reading
        self.newest = capacity - 1  # its index
        self.count = 0

    def push(self, sequence: int, time_s: int, level_mm: "int | None", rain_tips: int) -> None:
        """Add a reading. `time_s` is floored to 10 s, the level saturates, None is "no reading".

        `rain_tips` is the running total (any size). A sequence that does not follow the newest
        one, or a time that is not later, empties the ring first. Allocates nothing.
        Raises LocalError("range") for a sequence or time outside 0..2**30-1.
        """
        if not (0 <= sequence <= SEQUENCE_MAX and 0 <= time_s <= TIME_S_MAX):
            raise LocalError("range", "sequence %d, time_s %d" % (sequence, time_s))
        slot = time_s // SLOT_S
        if sequence != self.sequence + 1 or slot <= self.slots[self.newest]:
            self.count = 0
        raw = _MISSING
        if level_mm is not None:
            raw = min(max(level_mm - LEVEL_MM_MIN, 0), _RAW_TOP)
        size = len(self.levels)
        at = self.newest + 1
        if at == size:
            at = 0
        self.levels[at] = raw
        self.rains[at] = rain_tips & 1023
        self.slots[at] = slot
        self.newest = at
        self.sequence = sequence
        if self.count < size:
            self.count += 1

    def drop(self, readings: int) -> None:
        """Forget the newest `readings` (at most `count`)."""
        self.newest = (self.newest - readings) % len(self.levels)
        self.sequence -= readings
        self.count -= readings


class FloodEncoder:
    """Makes port 1 payloads out of a ring. Set the attributes before `encode_into`.

    stage            0..3, STAGE_...
    has_fault        anything wrong: details are in the status payload
    is_clock_set     False until network or GNSS time was ever heard: then the gateway uses its own
    Rotating extras, None when unknown (then not sent), all saturate: battery_mv 2400..4260,
    temperature_c -10..52, quality 0..62 (spread, MAD, of the burst in mm), tilt_deg 0..62,
    sensor_snr_db 0..62, downlink_snr_db -32..30, config_number 0..62
    extra_every      below 19 B one extra goes into every so many frames, twice as often below 51 B
    """

    def __init__(self, ring: FloodRing) -> None:
        self.ring = ring
        self.stage = STAGE_NORMAL
        self.has_fault = False
        self.is_clock_set = True
        self.battery_mv: int | None = None
        self.temperature_c: int | None = None
        self.quality: int | None = None
        self.tilt_deg: int | None = None
        self.sensor_snr_db: int | None = None
        self.downlink_snr_db: int | None = None
        self.config_number: int | None = None
        self.extra_every = 8
        self.readings = 0  # older readings in the last frame
        self._frames = 0
        self._extra = 7  # the kind to try next; first the sequence, for who knows nothing of us
        self._writer = BitWriter()
        self._coder = LevelCoder()
        self._scores = [0] * len(MODES)
        self._segments = 0
        self._mode = 0

    def encode_into(self, buf: bytearray, limit: int) -> int:
        """Write the newest reading and as many older ones as fit into buf[:limit].

        Returns the length. `limit` is 11..242 bytes (`device.max_payload()`). Allocates nothing.
        Raises LocalError("empty") when the ring is empty, LocalError("limit") when limit is below
        11 or buf is shorter, LocalError("range") for a stage outside 0..3.
        """
        ring = self.ring
        if not ring.count:
            raise LocalError("empty", "no reading was pushed")
        if limit < LIMIT_MIN:
            raise LocalError("limit", "%d B is below %d B" % (limit, LIMIT_MIN))
        writer = self._writer
        writer.start(buf, limit)
        extras = self._extras_wanted(limit)
        room = limit * 8 - _HEAD_BITS - 1 - 4 - extras * _EXTRA_BITS
        has_rain = False
        self._choose(room if self.is_clock_set else room - 6, room - 6, 0, False)
        if limit >= RAIN_LIMIT and self._rained(self.readings):
            has_rain = True
            self._choose(room - 6, room - 6, 0, True)
        self._put_head(writer, has_rain)
        self._put_extras(writer, extras)
        self._frames += 1
        return self._put_history(writer, has_rain)

    def _put_history(self, writer: BitWriter, has_rain: bool) -> int:
        ring = self.ring
        put_field(writer, schema.FLOOD_MODE, self._mode)
        most = self._reach(self._segments) if self.readings else 0
        rains = ring.rains if has_rain else None
        coder = self._coder
        room = writer.limit - writer.position
        coder.code(self._mode, ring.levels, ring.newest, most, room, rains, writer)
        self.readings = coder.readings
        return writer.finish(1)

    def _rained(self, readings: int) -> bool:
        """The tip total is not the same in so many readings before the newest."""
        ring = self.ring
        total = ring.rains[ring.newest]
        for back in range(1, readings + 1):  # noqa: SIM110 (a generator would allocate)
            if ring.rains[ring.newest - back] != total:
                return True
        return False

    def _reach(self, segments: int) -> int:
        """How many older readings `segments` uniform spacings (0: the grid alone) describe."""
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

    def _spacing_s(self) -> int:
        ring = self.ring
        if ring.count < 2:
            return 0
        return (ring.slots[ring.newest] - ring.slots[ring.newest - 1]) * SLOT_S

    def _is_on_grid(self) -> bool:
        spacing_s = self._spacing_s()
        if spacing_s not in INTERVALS_S:
            return False
        return not self.is_clock_set or self.ring.slots[self.ring.newest] * SLOT_S % spacing_s == 0

    def _grid(self) -> int:
        """Index of the grid of the newest reading's time, and of the spacing if that is uniform."""
        spacing_s = self._spacing_s()
        time_s = self.ring.slots[self.ring.newest] * SLOT_S
        if self._is_on_grid():
            return INTERVALS_S.index(spacing_s)
        return 1 if time_s % 60 == 0 else 0

    def _choose(self, room: int, segments_room: int, first: int, has_rain: bool) -> None:
        """Set mode, segments (`first` and up) and `readings` so that most readings fit.

        `room` is for what follows the head without segments, `segments_room` with them.
        """
        ring = self.ring
        rains = ring.rains if has_rain else None
        most = before = -1
        self._mode = 0
        self._segments = segments = first
        while segments <= _SEGMENTS_MAX:
            reach = self._reach(segments)
            if before > 0 and reach <= before:
                break  # one spacing more reaches no further
            before = reach
            left = room
            if segments:
                left = segments_room - segment_bits(
                    ring.slots, ring.newest, ring.count, segments, INTERVALS_S
                )
            if left >= 0:
                mode = self._best_mode(reach, left, rains)
                if self._coder.readings > most:
                    most = self._coder.readings
                    self._mode = mode
                    self._segments = segments
            if most < reach:
                break  # not even this many fit
            # On a grid the first spacing is said already.
            segments += 2 if segments == 0 and reach else 1
        self.readings = max(most, 0)

    def _best_mode(self, reach: int, left: int, rains: "array[int] | None") -> int:
        """The mode that carries most of `reach` readings; the coder's results are of this mode.

        Long histories are tried on their first _TRIAL readings, and only the best few in full.
        """
        ring = self.ring
        coder = self._coder
        scores = self._scores
        modes = len(MODES) if rains is None else PLAIN_MODES
        trial = min(reach, _TRIAL)
        coder.is_trial = trial < reach
        best = 0
        for mode in range(modes):
            coder.code(mode, ring.levels, ring.newest, trial, left, rains, None)
            scores[mode] = (coder.readings << 12) - coder.used
            if scores[mode] > scores[best]:
                best = mode
        is_whole = not coder.is_trial or scores[best] <= (trial - 1) << 12
        coder.is_trial = False
        if not is_whole:
            best = self._best_of_few(reach, left, rains, modes)
        coder.code(best, ring.levels, ring.newest, reach, left, rains, None)
        return best

    def _best_of_few(self, reach: int, left: int, rains: "array[int] | None", modes: int) -> int:
        """Code the _FINALISTS of the trial in full."""
        ring = self.ring
        coder = self._coder
        scores = self._scores
        best = 0
        best_score = -1
        for _ in range(_FINALISTS):
            first = 0
            for mode in range(1, modes):
                if scores[mode] > scores[first]:
                    first = mode
            scores[first] = -(1 << 29)
            coder.code(first, ring.levels, ring.newest, reach, left, rains, None)
            score = (coder.readings << 12) - coder.used
            if score > best_score:
                best = first
                best_score = score
        return best

    def _put_head(self, writer: BitWriter, has_rain: bool) -> None:
        ring = self.ring
        head = schema.FLOOD_HEAD
        grid = self._grid()
        is_extended = has_rain or self._segments > 0 or not self.is_clock_set
        slot = ring.slots[ring.newest] * SLOT_S // INTERVALS_S[grid]
        put_field(writer, head[0], VERSION)
        put_field(writer, head[1], self.stage)
        put_field(writer, head[2], 1 if self.has_fault else 0)
        put_field(writer, head[3], ring.sequence)
        put_field(writer, head[4], schema.GRID_EXTENDED if is_extended else grid)
        put_field(writer, head[5], slot)
        writer.put(ring.levels[ring.newest], 14)
        put_field(writer, head[7], ring.rains[ring.newest])
        if is_extended:
            put_field(writer, schema.FLOOD_EXTENDED[0], grid)
            writer.put(0 if self.is_clock_set else 1, 1)
            writer.put(1 if has_rain else 0, 1)
            writer.put(1 if self._segments else 0, 1)
            if self._segments:
                put_segments(
                    writer, ring.slots, ring.newest, ring.count, self._segments, INTERVALS_S
                )

    def _extras_wanted(self, limit: int) -> int:
        known = 0
        for kind in range(len(schema.FLOOD_EXTRAS)):
            if self._extra_value(kind) is not None:
                known += 1
        if limit >= 51:
            wanted = 1 if limit < 115 else 2
        else:
            every = self.extra_every if limit < 19 else self.extra_every // 2
            wanted = 0 if self._frames % max(every, 1) else 1
        return min(wanted, known)

    def _put_extras(self, writer: BitWriter, wanted: int) -> None:
        kinds = len(schema.FLOOD_EXTRAS)
        while wanted:
            value = self._extra_value(self._extra)
            if value is not None:
                writer.put(1, 1)
                writer.put(self._extra, 3)
                put_field(writer, schema.FLOOD_EXTRAS[self._extra], value)
                wanted -= 1
            self._extra = (self._extra + 1) % kinds
        writer.put(0, 1)

    def _extra_value(self, kind: int) -> "int | None":
        if kind == 0:
            return self.battery_mv
        if kind == 1:
            return self.temperature_c
        if kind == 2:
            return self.quality
        if kind == 3:
            return self.tilt_deg
        if kind == 4:
            return self.sensor_snr_db
        if kind == 5:
            return self.downlink_snr_db
        if kind == 6:
            return self.config_number
        return self.ring.sequence >> 8


class FloodFrame:
    """A decoded port 1 payload.

    samples      newest first; sequences fall by one from sample to sample, times are exact
    stage        0..3 as the device sees it
    has_fault    device has a fault; the status payload says which
    is_clock_set False: times are reckoned from the reception time, spacing is still exact
    interval_s   the grid the newest reading was taken on
    is_sequence_certain  False: the best guess, but it may be off by a multiple of 256 (no last
                 state, or an outage that the history does not bridge and that is long enough for
                 256 readings 10 s apart): a status page or the extra `sequence_high` settles it
    extras       the rotating extras of this frame by name ("battery_mv", ...)
    """

    def __init__(self) -> None:
        self.samples: list[FloodSample] = []
        self.stage = 0
        self.has_fault = False
        self.is_clock_set = True
        self.interval_s = 0
        self.is_sequence_certain = False
        self.extras: dict[str, int | None] = {}


def decode_flood(
    data: "bytes | bytearray | memoryview",
    received_time_s: int,
    last_sequence: "int | None" = None,
    last_time_s: "int | None" = None,
) -> FloodFrame:
    """Decode a port 1 payload that was received at `received_time_s` (seconds since 2020).

    `last_sequence`, `last_time_s`: the newest reading known of this device, if any. The newest
    reading of a frame is at most 9 min old at reception on the 10 s grid, 1 h on the 60 s grid,
    5 h and more on the slower ones. Raises RemoteError("version" | "length" | "value").
    """
    reader = BitReader(data)
    if len(data) < LENGTH_MIN:
        raise RemoteError("length", "%d B is below %d B" % (len(data), LENGTH_MIN))
    check_version(reader, VERSION)
    head: dict[str, int] = {}
    for field in schema.FLOOD_HEAD[1:]:
        if field[0] != "level_mm":
            head[field[0]] = get_field(reader, field) or 0
        else:
            head["level"] = reader.get(field[1])
    frame = FloodFrame()
    frame.stage = head["stage"]
    frame.has_fault = head["has_fault"] == 1
    spacings: list[tuple[int, int]] = []
    extended: dict[str, int] = {}
    grid = head["grid"]
    if grid == schema.GRID_EXTENDED:
        for field in schema.FLOOD_EXTENDED:
            extended[field[0]] = get_field(reader, field) or 0
        grid = extended["grid"]
        if grid == schema.GRID_EXTENDED:
            raise RemoteError("value", "grid 7 inside the extended head")
        if extended["has_segments"]:
            spacings = get_segments(reader, INTERVALS_S)
    frame.is_clock_set = not extended.get("is_clock_unset", 0)
    frame.interval_s = INTERVALS_S[grid]
    low, modulus = head["sequence_low"], 256
    while reader.get(1):
        field = schema.FLOOD_EXTRAS[reader.get(3)]
        value = get_field(reader, field)
        if field[0] == "sequence_high" and value is not None:
            low, modulus = value << 8 | low, 1 << 14
        else:
            frame.extras[field[0]] = value
    mode = reader.get(4)
    rain = head["rain_tips"] if extended.get("has_rain", 0) else None
    if rain is not None and mode >= PLAIN_MODES:
        raise RemoteError("value", "mode %d with rain" % mode)
    levels, rains = decode_levels(reader, mode, head["level"], rain)
    if frame.is_clock_set:
        time_s = slot_before(head["slot_low"], frame.interval_s, 64, received_time_s)
    else:
        time_s = received_time_s // SLOT_S * SLOT_S
    times = reading_times(time_s, len(levels), spacings, frame.interval_s)
    sequence, is_certain = unwrap_sequence(low, modulus, times, last_sequence, last_time_s)
    frame.is_sequence_certain = is_certain and frame.is_clock_set
    if times[-1] < 0 or sequence < len(levels):
        raise RemoteError("value", "a reading before the beginning of time")
    frame.samples.append(
        FloodSample(sequence, time_s, level_of_raw(head["level"]), head["rain_tips"])
    )
    for i in range(len(levels)):
        tips = rains[i] if rain is not None else None
        frame.samples.append(
            FloodSample(sequence - 1 - i, times[i + 1], level_of_raw(levels[i]), tips)
        )
    return frame


def level_of_raw(raw: int) -> "int | None":
    """The level of a raw 14-bit number, None for 16383."""
    return None if raw == _MISSING else raw + LEVEL_MM_MIN
