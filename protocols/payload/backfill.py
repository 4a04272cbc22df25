"""Back-fill payload (port 5), the answer to a gap request: encoders, `decode_backfill`.

Device: push the readings asked for, oldest first, into a scratch ring (`FloodRing`, `TrackRing`);
then, while ring.count: `length = backfill.encode_into(buf, limit)` and send. Each call takes the
newest readings that fit, and those leave the ring.
"""

from protocols.errors import LocalError, RemoteError
from protocols.payload import schema
from protocols.payload.bits import (
    BitReader,
    BitWriter,
    check_version,
    get_field,
    get_fields,
    put_field,
    put_fields,
)
from protocols.payload.flood import FloodEncoder, FloodRing, FloodSample, level_of_raw
from protocols.payload.history import PLAIN_MODES, decode_levels
from protocols.payload.ports import SLOT_S, VERSION
from protocols.payload.spacing import get_segments, put_segments, reading_times
from protocols.payload.track import (
    NO_HISTORY,
    TrackEncoder,
    TrackFix,
    TrackRing,
    get_history,
    get_position,
)

KIND_FLOOD, KIND_TRACK, KIND_MISSING = 0, 1, 2

_FLOOD_BITS = 65
_TRACK_BITS = 41
_SEQUENCES = 1 << 16
_SLOTS = 1 << 20


class FloodBackfill(FloodEncoder):
    """Takes readings out of a ring into port 5 payloads. `readings`: how many the last one has."""

    def __init__(self, ring: FloodRing) -> None:
        super().__init__(ring)

    def encode_into(self, buf: bytearray, limit: int) -> int:
        """Write a payload into buf[:limit], limit >= 11; return its length.

        Raises LocalError("empty" | "limit").
        """
        ring = self.ring
        if not ring.count:
            raise LocalError("empty", "no reading was pushed")
        writer = self._writer
        writer.start(buf, limit)
        room = limit * 8 - _FLOOD_BITS - 4
        self._choose(room, room, 1, False)
        has_rain = self._rained(self.readings)
        if has_rain:
            self._choose(room, room, 1, True)
        _put_head(writer, KIND_FLOOD)
        layout = schema.BACKFILL_FLOOD
        put_field(writer, layout[0], ring.sequence)
        put_field(writer, layout[1], ring.slots[ring.newest])
        writer.put(ring.levels[ring.newest], 14)
        put_field(writer, layout[3], ring.rains[ring.newest])
        writer.put(1 if has_rain else 0, 1)
        _put_segments(writer, ring, self._segments if self.readings else 0, schema.INTERVALS_S)
        length = self._put_history(writer, has_rain)
        self.readings += 1
        ring.drop(self.readings)
        return length


class TrackBackfill(TrackEncoder):
    """The same for fixes. Positions are absolute from 19 B on, modulo below."""

    def __init__(self, ring: TrackRing) -> None:
        super().__init__(ring)
        self._has_motion = False

    def encode_into(self, buf: bytearray, limit: int, absolute: bool = False) -> int:
        """Like `FloodBackfill.encode_into`."""
        ring = self.ring
        if not ring.count:
            raise LocalError("empty", "no fix was pushed")
        absolute = absolute or limit >= 19
        writer = self._writer
        writer.start(buf, limit)
        room = limit * 8 - _TRACK_BITS - (51 if absolute else 36)
        self._choose(room, room, 1, True)
        _put_head(writer, KIND_TRACK)
        layout = schema.BACKFILL_TRACK
        put_field(writer, layout[0], ring.sequence)
        put_field(writer, layout[1], ring.slots[ring.newest])
        put_field(writer, layout[2], 1 if absolute else 0)
        position = schema.TRACK_ABSOLUTE if absolute else schema.TRACK_MODULO
        put_field(writer, position[0], ring.lats[ring.newest])
        put_field(writer, position[1], ring.lons[ring.newest])
        segments = 0 if self._mode == NO_HISTORY else self._segments
        _put_segments(writer, ring, segments, schema.TRACK_INTERVALS_S)
        length = self._put_history(writer)
        self.readings += 1
        ring.drop(self.readings)
        return length


def encode_missing_into(buf: bytearray, first_sequence: int, count: int) -> int:
    """Say that the log no longer has these readings, so that nobody asks again.

    Returns the length, 7. Raises LocalError("range" | "limit").
    """
    writer = BitWriter()
    writer.start(buf, 7)
    _put_head(writer, KIND_MISSING)
    put_fields(writer, schema.BACKFILL_MISSING, {"sequence": first_sequence, "count": count})
    return writer.finish(1)


def _put_segments(
    writer: BitWriter, ring: "FloodRing | TrackRing", segments: int, intervals_s: "tuple[int, ...]"
) -> None:
    if segments:
        put_segments(writer, ring.slots, ring.newest, ring.count, segments, intervals_s)
    else:
        writer.put(0, 4)  # no older reading goes along, so no spacing matters


def _put_head(writer: BitWriter, kind: int) -> None:
    put_field(writer, schema.BACKFILL_HEAD[0], VERSION)
    put_field(writer, schema.BACKFILL_HEAD[1], kind)


class Backfill:
    """kind ("flood" | "track" | "missing"), first_sequence, count, and what was sent.

    samples: list of FloodSample, fixes: list of TrackFix; oldest first.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.first_sequence = 0
        self.count = 0
        self.samples: list[FloodSample] = []
        self.fixes: list[TrackFix] = []


def decode_backfill(
    data: "bytes | bytearray | memoryview",
    received_time_s: int,
    newest_sequence: int,
    near_lat_e5: "int | None" = None,
    near_lon_e5: "int | None" = None,
) -> Backfill:
    """Decode a port 5 payload.

    `newest_sequence` is the newest reading known of the device: the readings are at most 65,535
    before it and 121 days before `received_time_s`. `near_...` is for short track answers.
    Raises RemoteError("version" | "length" | "value" | "no_reference").
    """
    reader = BitReader(data)
    check_version(reader, VERSION)
    kind = get_field(reader, schema.BACKFILL_HEAD[1]) or 0
    if kind >= len(schema.BACKFILL_KINDS):
        raise RemoteError("value", "back-fill kind %d" % kind)
    answer = Backfill(schema.BACKFILL_KINDS[kind])
    values: dict[str, int | None] = {}
    if kind == KIND_MISSING:
        get_fields(reader, schema.BACKFILL_MISSING, values)
        reader.expect_end(1)
        answer.first_sequence = values["sequence"] or 0
        answer.count = values["count"] or 0
        return answer
    layout = schema.BACKFILL_FLOOD if kind == KIND_FLOOD else schema.BACKFILL_TRACK
    get_fields(reader, layout[:2], values)
    sequence = _before(values["sequence_low"] or 0, _SEQUENCES, newest_sequence)
    slot = _before(values["slot_low"] or 0, _SLOTS, (received_time_s + 120) // SLOT_S)
    if kind == KIND_FLOOD:
        times = _decode_flood(reader, answer, slot * SLOT_S, sequence)
    else:
        times = _decode_track(reader, answer, slot * SLOT_S, sequence, near_lat_e5, near_lon_e5)
    answer.count = len(times)
    answer.first_sequence = sequence - len(times) + 1
    if times[-1] < 0 or answer.first_sequence < 0:
        raise RemoteError("value", "a reading before the beginning of time")
    return answer


def _before(low: int, modulus: int, newest: int) -> int:
    """The latest number congruent to `low` that is not after `newest`."""
    return newest - (newest - low) % modulus


def _decode_flood(reader: BitReader, answer: Backfill, time_s: int, sequence: int) -> "list[int]":
    newest = reader.get(14)
    tips = reader.get(10)
    has_rain = reader.get(1)
    segments = get_segments(reader, schema.INTERVALS_S)
    mode = reader.get(4)
    if has_rain and mode >= PLAIN_MODES:
        raise RemoteError("value", "mode %d with rain" % mode)
    levels, rains = decode_levels(reader, mode, newest, tips if has_rain else None)
    times = reading_times(time_s, len(levels), segments, 0)
    for i in range(len(levels) - 1, -1, -1):
        # Without tips in the history the total did not move.
        older_tips = rains[i] if has_rain else tips
        level = level_of_raw(levels[i])
        answer.samples.append(FloodSample(sequence - 1 - i, times[i + 1], level, older_tips))
    answer.samples.append(FloodSample(sequence, time_s, level_of_raw(newest), tips))
    return times


def _decode_track(
    reader: BitReader,
    answer: Backfill,
    time_s: int,
    sequence: int,
    near_lat: "int | None",
    near_lon: "int | None",
) -> "list[int]":
    lat, lon = get_position(reader, reader.get(1) == 1, near_lat, near_lon)
    segments = get_segments(reader, schema.TRACK_INTERVALS_S)
    older, resolution = get_history(reader, lat, lon, 255, 127, 0)
    times = reading_times(time_s, len(older), segments, 0)
    for i in range(len(older) - 1, -1, -1):
        fix = TrackFix(
            sequence - 1 - i, times[i + 1], older[i][0], older[i][1], None, None, resolution
        )
        answer.fixes.append(fix)
    answer.fixes.append(TrackFix(sequence, time_s, lat, lon, None, None))
    return times
