"""Laws of the payloads: what arrives is what was measured, whatever was lost on the way."""

import contextlib
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import RemoteError
from protocols.payload import schema
from protocols.payload.backfill import FloodBackfill, decode_backfill
from protocols.payload.flood import (
    LEVEL_MM_MAX,
    LEVEL_MM_MIN,
    FloodEncoder,
    FloodRing,
    FloodSample,
    decode_flood,
)
from protocols.payload.reckon import (
    SINES,
    cog_of_code,
    distance_m,
    predict_into,
    quantise_cog,
    quantise_sog,
    sog_of_code,
)
from protocols.payload.track import TrackEncoder, TrackRing, decode_track

BASE = 898 * 64 * 3600
LIMITS = st.sampled_from((11, 19, 24, 51, 115, 242))
LEVELS = st.one_of(
    st.none(),
    st.integers(LEVEL_MM_MIN - 50, LEVEL_MM_MAX + 50),
    st.integers(480, 520),
    st.just(500),
)
# (interval in slots of 10 s, level, tips since the reading before)
STEPS = st.lists(
    st.tuples(
        st.sampled_from((1, 6, 6, 6, 30, 90, 90, 90, 7, 360, 20000)),
        LEVELS,
        st.sampled_from((0, 0, 0, 1, 3)),
    ),
    min_size=1,
    max_size=60,
)


def clamp(level: int | None) -> int | None:
    return None if level is None else min(max(level, LEVEL_MM_MIN), LEVEL_MM_MAX)


def run_of(steps: list[tuple[int, int | None, int]], first: int) -> dict[int, FloodSample]:
    """Readings by sequence, times rounded to the grid that the device samples on."""
    time_s, tips = BASE, 0
    readings: dict[int, FloodSample] = {}
    for i, (slots, level, more) in enumerate(steps):
        time_s += slots * 10
        tips += more
        readings[first + i] = FloodSample(first + i, time_s, level, tips)
    return readings


def same(got: FloodSample, want: FloodSample) -> bool:
    tips = got.rain_tips in (None, (want.rain_tips or 0) & 1023)
    return got.time_s == want.time_s and got.level_mm == clamp(want.level_mm) and tips


@given(STEPS, LIMITS, st.integers(0, 1 << 20), st.integers(0, 8), st.booleans())
def test_every_reading_of_a_frame_is_true(
    steps: list[tuple[int, int | None, int]], limit: int, first: int, late_s: int, extras: bool
) -> None:
    """Levels, times and tips are those measured, and there is at least the newest."""
    ring = FloodRing(64)
    readings = run_of(steps, first)
    for reading in readings.values():
        ring.push(reading.sequence, reading.time_s, reading.level_mm, reading.rain_tips or 0)
    encoder = FloodEncoder(ring)
    if extras:
        encoder.battery_mv = 3600
        encoder.config_number = 3
        encoder.extra_every = 1
    buf = bytearray(limit)
    length = encoder.encode_into(buf, limit)
    newest = max(readings)
    frame = decode_flood(
        buf[:length], readings[newest].time_s + late_s, newest, readings[newest].time_s
    )
    assert frame.is_sequence_certain
    assert [s.sequence for s in frame.samples] == list(
        range(newest, newest - len(frame.samples), -1)
    )
    assert len(frame.samples) == encoder.readings + 1
    for sample in frame.samples:
        assert same(sample, readings[sample.sequence])


@given(
    STEPS,
    st.lists(st.booleans(), min_size=60, max_size=60),
    LIMITS,
    st.integers(0, 1 << 20),
    st.integers(0, 100),
)
def test_gateway_that_misses_frames_never_learns_a_wrong_reading(
    steps: list[tuple[int, int | None, int]],
    arrives: list[bool],
    limit: int,
    first: int,
    late_s: int,
) -> None:
    """Device sends after each reading; some frames are lost; what is certain is true."""
    ring = FloodRing(32)
    readings = run_of(steps, first)
    encoder = FloodEncoder(ring)
    buf = bytearray(limit)
    last_sequence: int | None = first - 1
    last_time_s: int | None = BASE
    for (sequence, reading), comes in zip(readings.items(), arrives, strict=False):
        ring.push(sequence, reading.time_s, reading.level_mm, reading.rain_tips or 0)
        length = encoder.encode_into(buf, limit)
        if not comes:
            continue
        frame = decode_flood(buf[:length], reading.time_s + late_s, last_sequence, last_time_s)
        assert frame.samples[0].time_s == reading.time_s
        if not frame.is_sequence_certain:
            assert frame.samples[0].sequence % 256 == sequence % 256
            last_sequence, last_time_s = sequence, reading.time_s  # a status page said so
            continue
        for sample in frame.samples:
            assert same(sample, readings[sample.sequence])
        last_sequence, last_time_s = sequence, reading.time_s


@given(STEPS, LIMITS, st.data())
def test_a_cut_frame_yields_no_other_readings(
    steps: list[tuple[int, int | None, int]], limit: int, data: st.DataObject
) -> None:
    """A payload cut at any byte is refused, or yields a first part of the same readings."""
    ring = FloodRing(64)
    readings = run_of(steps, 1000)
    for reading in readings.values():
        ring.push(reading.sequence, reading.time_s, reading.level_mm, reading.rain_tips or 0)
    buf = bytearray(limit)
    length = FloodEncoder(ring).encode_into(buf, limit)
    newest = readings[max(readings)]
    cut = data.draw(st.integers(0, length - 1))
    try:
        frame = decode_flood(buf[:cut], newest.time_s, newest.sequence, newest.time_s)
    except RemoteError:
        return
    for sample in frame.samples:
        assert same(sample, readings[sample.sequence])


@given(st.binary(max_size=60), st.integers(0, (1 << 30) - 1))
def test_any_bytes_end_in_a_frame_or_a_remote_error(data: bytes, received_s: int) -> None:
    """No other exception, bounded work, levels in range, times before the reception."""
    try:
        frame = decode_flood(data, received_s)
    except RemoteError:
        pass
    else:
        assert len(frame.samples) <= 513 + 256
        for sample in frame.samples:
            assert sample.level_mm is None or LEVEL_MM_MIN <= sample.level_mm <= LEVEL_MM_MAX
            assert 0 <= sample.time_s <= received_s + 120
    try:
        track = decode_track(data, received_s, -870000, 11520000)
    except RemoteError:
        pass
    else:
        for fix in track.fixes:
            assert abs(fix.lat_e5) <= 9000008 and -18000000 <= fix.lon_e5 <= 18000000
    with contextlib.suppress(RemoteError):
        decode_backfill(data, received_s, 1 << 20, 0, 0)


@given(STEPS, LIMITS)
def test_backfill_gives_back_each_reading_once(
    steps: list[tuple[int, int | None, int]], limit: int
) -> None:
    """Frames of a gap answer cover exactly the readings asked for."""
    ring = FloodRing(64)
    readings = run_of(steps, 70000)
    for reading in readings.values():
        ring.push(reading.sequence, reading.time_s, reading.level_mm, reading.rain_tips or 0)
    received_s = max(r.time_s for r in readings.values()) + 86400
    encoder = FloodBackfill(ring)
    buf = bytearray(limit)
    left = dict(readings)
    while ring.count:
        length = encoder.encode_into(buf, limit)
        answer = decode_backfill(buf[:length], received_s, 100000)
        for sample in answer.samples:
            assert same(sample, left.pop(sample.sequence))
            assert sample.rain_tips is not None
    assert not left


TRACKS = st.lists(
    st.tuples(
        st.sampled_from((1, 3, 3, 3, 6, 6, 7, 60)),
        st.integers(-300, 300),
        st.integers(-300, 300),
        st.one_of(st.none(), st.integers(0, 600)),
        st.one_of(st.none(), st.integers(0, 359)),
    ),
    min_size=1,
    max_size=40,
)


@given(
    TRACKS,
    LIMITS,
    st.integers(-8900000, 8900000),
    st.integers(-17800000, 17800000),
    st.sampled_from((2, 4)),
    st.integers(1, 3),
)
@settings(max_examples=60)
def test_every_fix_of_a_frame_is_true(
    steps: list[tuple[int, int, int, int | None, int | None]],
    limit: int,
    lat: int,
    lon: int,
    shift: int,
    frames: int,
) -> None:
    """The newest exactly, older ones within half of their resolution, times exactly."""
    ring = TrackRing(64)
    truth: dict[int, tuple[int, int, int]] = {}
    time_s = BASE
    for i, (slots, north, east, sog, cog) in enumerate(steps):
        time_s += slots * 10
        lat, lon = lat + north, lon + east
        truth[i] = (time_s, lat, lon)
        ring.push(i, time_s, lat, lon, sog, cog)
    encoder = TrackEncoder(ring)
    encoder.history_shift = shift
    buf = bytearray(limit)
    length = 0
    for _ in range(frames):
        length = encoder.encode_into(buf, limit)
    newest = len(steps) - 1
    near_lat = min(max(lat + 90000, -9000000), 9000000)
    frame = decode_track(buf[:length], time_s + 5, near_lat, lon - 90000, newest, time_s)
    assert frame.is_sequence_certain and len(frame.fixes) == encoder.readings + 1
    for fix in frame.fixes:
        want = truth[fix.sequence]
        assert fix.time_s == want[0]
        allowed = fix.resolution_e5 // 2
        assert abs(fix.lat_e5 - want[1]) <= allowed and abs(fix.lon_e5 - want[2]) <= allowed
    first = frame.fixes[0]
    sog, cog = steps[-1][3], steps[-1][4]
    assert first.sog_dkn == sog_of_code(quantise_sog(sog))
    if sog is None or sog >= 5:
        assert first.cog_deg == cog_of_code(quantise_cog(cog))


@given(
    st.integers(-8000000, 8000000),
    st.integers(-18000000, 17999999),
    st.integers(0, 470),
    st.integers(0, 359),
    st.integers(-3600, 3600),
)
def test_dead_reckoning_goes_the_right_way(
    lat: int, lon: int, sog: int, cog: int, elapsed_s: int
) -> None:
    """Distance made good is speed times time within 2 % and 20 m, and numbers stay small."""
    out = [0, 0]
    predict_into(out, lat, lon, sog, cog, elapsed_s)
    want_m = sog * 0.0514444 * abs(elapsed_s)
    got_m = distance_m(lat, lon, out[0], out[1])
    assert abs(got_m - want_m) <= 20 + want_m * 0.02
    assert abs(out[0]) <= 9000000 and -18000000 <= out[1] < 18000000


def test_sine_table() -> None:
    assert [round(8192 * math.sin(math.radians(d))) for d in range(91)] == list(SINES)


def test_no_layout_is_longer_than_its_payload_may_be() -> None:
    """Events and status pages fit 11 B; names are unique in each layout."""
    for name, layout in schema.EVENTS:
        bits = 30 + sum(field[1] for field in layout)
        assert bits <= 88, (name, bits)
    for layout in schema.STATUS_PAGES:
        assert 8 + sum(field[1] for field in layout) <= 88
    for group in (*schema.STATUS_PAGES, *(fields for _, fields in schema.COMMANDS)):
        assert len({field[0] for field in group}) == len(group)
        assert all(field[1] <= 30 for field in group)
