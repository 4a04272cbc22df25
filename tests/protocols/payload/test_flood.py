"""Flood payload: vectors written by hand from docs/payload.md, then both ends together."""

from protocols.errors import LocalError, RemoteError
from protocols.payload.flood import (
    LEVEL_MM_MAX,
    LEVEL_MM_MIN,
    FloodEncoder,
    FloodRing,
    decode_flood,
)
from protocols.payload.history import MODES, PLAIN_MODES, RUN_LENGTHS

BASE = 898 * 64 * 3600  # a full hour; slot 0 on every grid


def bits(text):
    """Bytes of a string of 0 and 1 (spaces and | are for the reader), filled with ones."""
    text = text.replace(" ", "").replace("|", "")
    text += "1" * (-len(text) % 8)
    return bytes([int(text[i : i + 8], 2) for i in range(0, len(text), 8)])


def error_code(call, *args):
    try:
        call(*args)
    except (LocalError, RemoteError) as error:
        return error.code
    return None


def filled(readings):
    ring = FloodRing(256)
    for reading in readings:
        ring.push(*reading)
    return ring


def encode(ring, limit, **settings):
    encoder = FloodEncoder(ring)
    for name in settings:
        setattr(encoder, name, settings[name])
    encoder.extra_every = settings.get("extra_every", 1000000)
    encoder._frames = 1
    encoder._extra = 0
    buf = bytearray(limit)
    return bytes(buf[: encoder.encode_into(buf, limit)])


# version, stage, fault, sequence, grid, slot, level + 1024, rain, extras, mode, history
VECTORS = (
    # One reading alone, no interval known: grid 60 s (the time is on a full minute), mode 0.
    (
        "00 00 0 00000111 | 001 000000 | 00010111110100 | 0000000101 | 0 | 0000",
        ((7, BASE, 500, 5),),
        {},
    ),
    # Waspada and a fault, three readings a minute apart: 1 mm, then 1 mm, up.
    # Order 1, k 0: differences back in time -1 (u 1: "10"), -1 ("10").
    (
        "00 01 1 00000010 | 001 000010 | 00010111110110 | 1111111111 | 0 | 0000 | 10 10",
        ((0, BASE, 500, 1023), (1, BASE + 60, 501, 1023), (2, BASE + 120, 502, 1023)),
        {"stage": 1, "has_fault": True},
    ),
    # A missing newest reading and an extra: kind 0, (3600 - 2400) / 30 = 40.
    (
        "00 00 0 00000000 | 001 000000 | 11111111111111 | 0000000000 | 1 000 101000 | 0 | 0000",
        ((256, BASE, None, 1024),),
        {"battery_mv": 3600, "extra_every": 1},
    ),
    # No clock: the extended head (grid 7, then the grid, no clock, no rain, no segments).
    (
        "00 00 0 00000001 | 111 000001 | 00010000000000 | 0000000000 | 000 1 0 0 | 0 | 0000 | 0",
        ((0, 0, 0, 0), (1, 10, 0, 0)),
        {"is_clock_set": False},
    ),
)


def test_vectors_encode():
    for text, readings, settings in VECTORS:
        got = encode(filled(readings), 11, **settings)
        assert got == bits(text), (text, "".join([f"{b:08b}" for b in got]))


def test_vectors_decode():
    for text, readings, settings in VECTORS:
        newest = readings[-1]
        frame = decode_flood(bits(text), newest[1] + 7, newest[0], newest[1])
        assert len(frame.samples) == len(readings)
        assert frame.stage == settings.get("stage", 0)
        assert frame.has_fault == settings.get("has_fault", False)
        assert frame.is_clock_set == settings.get("is_clock_set", True)
        assert frame.extras.get("battery_mv") == settings.get("battery_mv")
        for i, sample in enumerate(frame.samples):
            sequence, time_s, level_mm, tips = readings[-1 - i]
            assert (sample.sequence, sample.time_s, sample.level_mm) == (sequence, time_s, level_mm)
            assert sample.rain_tips == (tips & 1023 if i == 0 else None)


def test_run_mode_carries_a_quiet_day():
    """96 quarter hours without a change, in 11 bytes."""
    ring = filled([(i, BASE + 900 * i, 700, 3) for i in range(200)])
    frame = decode_flood(encode(ring, 11), BASE + 900 * 199 + 2, 190, BASE + 900 * 190)
    assert len(frame.samples) >= 97
    assert frame.is_sequence_certain and frame.interval_s == 900
    for i, sample in enumerate(frame.samples):
        assert (sample.sequence, sample.level_mm) == (199 - i, 700)
        assert sample.time_s == BASE + 900 * (199 - i)


def test_change_of_interval_is_coded():
    """Quarter hours, then minutes: the times on both sides of the change are exact."""
    readings = [(i, BASE + 900 * i, 700 + i, 0) for i in range(10)]
    start = BASE + 8100
    readings += [(10 + i, start + 60 * (i + 1), 712 + 2 * i, 0) for i in range(3)]
    truth = {r[0]: r for r in readings}
    frame = decode_flood(encode(filled(readings), 11), start + 185, 12, start + 180)
    assert len(frame.samples) >= 8
    for sample in frame.samples:
        want = truth[sample.sequence]
        assert (sample.time_s, sample.level_mm) == (want[1], want[2])


def test_newest_reading_off_every_grid():
    """Slowing down: 8 minutes between the last two readings."""
    readings = [(i, BASE + 60 * i, 700, 0) for i in range(8)] + [(8, BASE + 900, 690, 0)]
    frame = decode_flood(encode(filled(readings), 11), BASE + 901, 8, BASE + 900)
    assert frame.samples[0].time_s == BASE + 900
    assert frame.samples[1].time_s == BASE + 420
    assert len(frame.samples) >= 3


def test_missing_and_saturated_readings_in_the_history():
    readings = [
        (0, BASE, None, 0),
        (1, BASE + 10, 99999, 0),
        (2, BASE + 20, -99999, 0),
        (3, BASE + 30, None, 0),
        (4, BASE + 40, 5, 0),
    ]
    frame = decode_flood(encode(filled(readings), 51), BASE + 41, 4, BASE + 40)
    assert [s.level_mm for s in frame.samples] == [5, None, LEVEL_MM_MIN, LEVEL_MM_MAX, None]


def test_rain_history_in_large_frames():
    readings = [(i, BASE + 60 * i, 700 + i % 3, 1020 + i // 2) for i in range(40)]
    frame = decode_flood(encode(filled(readings), 51), BASE + 2340, 39, BASE + 2340)
    assert len(frame.samples) == 40
    for sample in frame.samples:
        assert sample.rain_tips == readings[sample.sequence][3] & 1023


def test_gap_in_the_sequence_cuts_the_history():
    ring = filled([(0, BASE, 1, 0), (1, BASE + 60, 2, 0), (3, BASE + 180, 3, 0)])
    assert ring.count == 1
    ring = filled([(0, BASE, 1, 0), (1, BASE, 2, 0)])
    assert ring.count == 1


def test_extras_rotate():
    ring = filled([(0x1234, BASE, 1, 0)])
    encoder = FloodEncoder(ring)
    encoder.battery_mv = 3333
    encoder.temperature_c = -30
    encoder.config_number = 9
    encoder.extra_every = 1
    encoder._extra = 0
    seen = []
    buf = bytearray(11)
    for _ in range(4):
        frame = decode_flood(bytes(buf[: encoder.encode_into(buf, 11)]), BASE)
        seen.append(frame.extras)
    assert seen[:3] == [{"battery_mv": 3330}, {"temperature_c": -10}, {"config_number": 9}]
    # The fourth says the sequence modulo 2**14.
    assert seen[3] == {} and frame.samples[0].sequence == 0x1234


def test_first_frame_says_more_of_the_sequence():
    ring = filled([(0x2345, BASE, 1, 0)])
    buf = bytearray(11)
    length = FloodEncoder(ring).encode_into(buf, 11)
    assert decode_flood(bytes(buf[:length]), BASE).samples[0].sequence == 0x2345


def test_refusals():
    assert error_code(encode, FloodRing(4), 11) == "empty"
    ring = filled([(0, BASE, 1, 0)])
    assert error_code(encode, ring, 10) == "limit"
    assert error_code(FloodEncoder(ring).encode_into, bytearray(10), 11) == "limit"
    assert error_code(FloodRing, 1) == "range"
    assert error_code(ring.push, -1, 0, 0, 0) == "range"
    assert error_code(ring.push, 0, 1 << 30, 0, 0) == "range"
    good = encode(ring, 11)
    assert error_code(decode_flood, good[:6], BASE) == "length"
    assert error_code(decode_flood, bytes([good[0] | 0x40]) + good[1:], BASE) == "version"
    assert error_code(decode_flood, good + b"\xff", BASE) == "length"
    assert error_code(decode_flood, good + b"\xff\x00", BASE) is not None


def test_ring_wraps():
    ring = FloodRing(5)
    for i in range(23):
        ring.push(i, BASE + 60 * i, i, 0)
    frame = decode_flood(encode(ring, 51), BASE + 60 * 22, 22, BASE + 60 * 22)
    assert [s.level_mm for s in frame.samples] == [22, 21, 20, 19, 18]
    ring.drop(2)
    frame = decode_flood(encode(ring, 51), BASE + 60 * 20, 20, BASE + 60 * 20)
    assert [s.level_mm for s in frame.samples] == [20, 19, 18]


def test_extras_go_into_one_frame_of_eight():
    ring = filled([(5, BASE, 1, 0)])
    encoder = FloodEncoder(ring)
    encoder.battery_mv = 3600
    for limit, every in ((11, 8), (19, 4), (51, 1)):
        encoder._frames = 0
        buf = bytearray(limit)
        has_extra = []
        for _ in range(17):
            length = encoder.encode_into(buf, limit)
            has_extra.append(buf[5] >> 1 & 1 == 1)
        assert length == 7 or has_extra[-1]
        assert has_extra == [i % every == 0 for i in range(17)], limit


def test_ring_exhausted_at_the_end_of_a_run():
    """Every length of a quiet ring comes back whole or shorter, never longer."""
    for count in range(2, 60):
        ring = filled([(i, BASE + 60 * i, 700, 0) for i in range(count)])
        frame = decode_flood(encode(ring, 19), BASE + 60 * count, count - 1, BASE + 60 * count - 60)
        assert len(frame.samples) <= count
        assert frame.samples[-1].sequence == count - len(frame.samples)
        assert len(frame.samples) >= count - 8


def test_segments_of_every_spacing():
    """Spacings out of the list, and one too long for a frame, which cuts the history."""
    for spacing_s in (20, 70, 163830):
        readings = [(i, BASE + spacing_s * i, 700, 0) for i in range(4)]
        ring = filled(readings)
        frame = decode_flood(encode(ring, 19), readings[3][1], 3, readings[3][1])
        assert [s.time_s for s in frame.samples] == [r[1] for r in readings[::-1]]
    ring = filled([(0, BASE, 700, 0), (1, BASE + 163840, 700, 0)])
    assert len(decode_flood(encode(ring, 19), BASE + 163840).samples) == 1


def test_mode_table_is_the_wire_format():
    """Order, k, step and first run state, as printed in docs/payload.md."""
    assert MODES == (
        (1, 0, 1, -1),
        (1, 1, 1, -1),
        (1, 2, 1, -1),
        (1, 3, 1, -1),
        (1, 5, 1, -1),
        (2, 1, 1, -1),
        (2, 2, 1, -1),
        (2, 3, 1, -1),
        (2, 4, 1, -1),
        (1, 1, 10, -1),
        (1, 0, 1, 0),
        (1, 0, 1, 8),
        (1, 1, 1, 4),
        (1, 3, 1, 0),
        (1, 0, 3, 0),
        (1, 0, 10, 0),
    )
    assert [MODES[i][3] < 0 for i in range(16)] == [i < PLAIN_MODES for i in range(16)]
    widths = "0000111122223333445566778"
    assert [int(width) for width in widths] == list(RUN_LENGTHS)
