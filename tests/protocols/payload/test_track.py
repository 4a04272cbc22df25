"""Track payload and dead reckoning: vectors by hand, the error contract, refusals."""

from protocols.errors import LocalError, RemoteError
from protocols.payload.reckon import (
    Contract,
    cog_of_code,
    distance_m,
    predict_into,
    quantise_cog,
    quantise_sog,
    sog_of_code,
)
from protocols.payload.track import TrackEncoder, TrackRing, decode_track

BASE = 898 * 64 * 3600  # a full hour; slot 0 on every grid
BENOA = (-875000, 11521000)


def error_code(call, *args):
    try:
        call(*args)
    except (LocalError, RemoteError) as error:
        return error.code
    return None


def bits(text):
    text = text.replace(" ", "").replace("|", "")
    text += "1" * (-len(text) % 8)
    return bytes([int(text[i : i + 8], 2) for i in range(0, len(text), 8)])


def test_absolute_vector():
    ring = TrackRing(8)
    ring.push(130, BASE + 60, BENOA[0], BENOA[1], 74, 271)
    buf = bytearray(11)
    length = TrackEncoder(ring).encode_into(buf, 11)
    text = "00 000 1 0000010 | 011 000001 |"
    text += f"{BENOA[0] + 9000000:025b}" + f"{BENOA[1] + 18000000:026b}"
    text += "01001010" + f"{90:07b}"  # 271 degrees: (271 + 1) // 3 = 90
    assert bytes(buf[:length]) == bits(text) and length == 11
    frame = decode_track(bytes(buf), BASE + 63, last_sequence=128, last_time_s=BASE)
    fix = frame.fixes[0]
    assert frame.is_absolute and frame.is_sequence_certain
    assert (fix.sequence, fix.time_s, fix.sog_dkn, fix.cog_deg) == (130, BASE + 60, 74, 270)
    assert (fix.lat_e5, fix.lon_e5) == BENOA


def test_modulo_with_history():
    ring = TrackRing(8)
    for i in range(3):
        ring.push(i, BASE + 30 * i, BENOA[0] + 20 * i, BENOA[1], None, None)
    encoder = TrackEncoder(ring)
    buf = bytearray(11)
    encoder.encode_into(buf, 11)  # absolute
    length = encoder.encode_into(buf, 11)
    # Newest -874960 is -218740 * 4; its elder -874980 is five steps of 4 below: zigzag 9.
    # 9 in k 1 is "11110" "1"; longitude 0 is "0" "0".
    text = "00 000 0 0000010 | 010 000010 |"
    text += f"{(BENOA[0] + 40) % 262144:018b}" + f"{BENOA[1] % 262144:018b}"
    text += "11111111 1111111 | 0001 | 11110 1 0 0"
    assert bytes(buf[:length]) == bits(text), "".join([f"{b:08b}" for b in buf])
    frame = decode_track(bytes(buf), BASE + 62, BENOA[0] + 90000, BENOA[1] - 90000)
    assert [(f.lat_e5, f.lon_e5) for f in frame.fixes] == [
        (-874960, 11521000),
        (-874980, 11521000),
    ]
    assert [f.time_s for f in frame.fixes] == [BASE + 60, BASE + 30]
    assert [f.resolution_e5 for f in frame.fixes] == [1, 4]


def test_extended_head_and_states():
    ring = TrackRing(8)
    ring.push(1, BASE, BENOA[0], BENOA[1], 0, 90)
    encoder = TrackEncoder(ring)
    encoder.state = 2
    encoder.is_drill = True
    buf = bytearray(19)
    for limit in (11, 19):
        length = encoder.encode_into(buf, limit)
        frame = decode_track(bytes(buf[:length]), BASE, BENOA[0], BENOA[1])
        assert frame.is_drill and not frame.has_fault and frame.is_clock_set and frame.state == 2
        assert frame.is_absolute == (limit == 19)
        assert frame.fixes[0].cog_deg is None  # no course below 0.5 kn
        assert (frame.fixes[0].lat_e5, frame.fixes[0].lon_e5) == BENOA


def test_long_history():
    """A turning boat: 115 bytes carry all fixes of an hour, exact to the rounding."""
    ring = TrackRing(64)
    lat, lon = BENOA
    truth = {}
    for i in range(60):
        lat += 20 + i % 7
        lon += 10 - i // 3
        truth[i] = (BASE + 60 * i, lat, lon)
        ring.push(i, BASE + 60 * i, lat, lon, 60, 45)
    buf = bytearray(115)
    length = TrackEncoder(ring).encode_into(buf, 115)
    frame = decode_track(bytes(buf[:length]), BASE + 3541, None, None, 50, BASE + 3000)
    assert len(frame.fixes) == 60 and frame.is_sequence_certain
    for fix in frame.fixes:
        want = truth[fix.sequence]
        assert fix.time_s == want[0]
        assert abs(fix.lat_e5 - want[1]) <= 2 and abs(fix.lon_e5 - want[2]) <= 2


def test_antimeridian():
    ring = TrackRing(16)
    for i in range(8):
        lon = 17999900 + 30 * i
        ring.push(i, BASE + 60 * i, 0, lon if lon < 18000000 else lon - 36000000, 300, 90)
    buf = bytearray(51)
    length = TrackEncoder(ring).encode_into(buf, 51)
    frame = decode_track(bytes(buf[:length]), BASE + 425)
    assert len(frame.fixes) == 8
    for fix in frame.fixes:
        want = 17999900 + 30 * fix.sequence
        off = (fix.lon_e5 - want + 18000000) % 36000000 - 18000000
        assert abs(off) <= 2, (fix.sequence, fix.lon_e5)


def test_refusals():
    ring = TrackRing(4)
    buf = bytearray(11)
    assert error_code(TrackEncoder(ring).encode_into, buf, 11) == "empty"
    assert error_code(ring.push, 0, 0, 9000001, 0, 0, 0) == "range"
    assert error_code(ring.push, 0, 0, 0, 18000001, 0, 0) == "range"
    assert error_code(ring.push, 0, -1, 0, 0, 0, 0) == "range"
    assert error_code(ring.push, -1, 0, 0, 0, 0, 0) == "range"
    ring.push(1, BASE, BENOA[0], BENOA[1], 50, 0)
    encoder = TrackEncoder(ring)
    assert error_code(encoder.encode_into, buf, 10) == "limit"
    encoder.encode_into(buf, 11)
    length = encoder.encode_into(buf, 11)
    assert error_code(decode_track, bytes(buf[:length]), BASE) == "no_reference"
    assert error_code(decode_track, bytes(buf[:9]), BASE, 0, 0) == "length"


def test_sog_and_cog_codes():
    assert [sog_of_code(quantise_sog(v)) for v in (0, 7, 200, 202, 203, 470, 999, None)] == [
        0,
        7,
        200,
        200,
        205,
        470,
        470,
        None,
    ]
    for deg in range(360):
        back = cog_of_code(quantise_cog(deg))
        assert abs((back - deg + 180) % 360 - 180) <= 1
    assert cog_of_code(quantise_cog(None)) is None


def test_reckoning_north_and_east():
    out = [0, 0]
    # 10 kn for 360 s is one nautical mile: a minute of arc, 1667 units.
    predict_into(out, 0, 0, 100, 0, 360)
    assert abs(out[0] - 1664) <= 4 and out[1] == 0
    predict_into(out, 6000000, 0, 100, 90, 360)
    assert out[0] == 6000000 and abs(out[1] - 2 * 1664) <= 8
    predict_into(out, 0, 17999999, 100, 90, 360)
    assert -18000000 <= out[1] < -17990000
    predict_into(out, 5, 6, None, 90, 360)
    assert out == [5, 6]
    assert error_code(predict_into, out, 0, 0, 471, 0, 1) == "range"


def test_distance():
    assert distance_m(0, 0, 0, 0) == 0
    assert abs(distance_m(0, 0, 100000, 0) - 111320) < 200
    assert abs(distance_m(6000000, 0, 6000000, 100000) - 55660) < 200
    assert abs(distance_m(0, 0, 300, 400) - 556) <= 2
    assert distance_m(0, 17999950, 0, -17999950) == 111
    assert distance_m(0, 0, 9000000, 0) > 1 << 28


def test_contract_keeps_the_map_right():
    """What the shore predicts is never off by more than the limit when is_due() said no."""
    contract = Contract(error_m=100, heartbeat_s=1800)
    ring = TrackRing(8)
    encoder = TrackEncoder(ring)
    buf = bytearray(11)
    lat, lon, sog, cog = BENOA[0], BENOA[1], 70, 10
    shore = None
    guess = [0, 0]
    reports = 0
    for i in range(600):
        step = [0, 0]
        cog = (cog + (i * 7) % 11 - 5) % 360
        predict_into(step, lat, lon, sog, cog, 10)
        lat, lon = step
        time_s = BASE + 10 * i
        ring.push(i, time_s, lat, lon, sog, cog)
        if contract.is_due(time_s, lat, lon):
            contract.sent(time_s, lat, lon, sog, cog)
            length = encoder.encode_into(buf, 11)
            shore = decode_track(bytes(buf[:length]), time_s + 2, lat, lon).fixes[0]
            reports += 1
        predict_into(
            guess,
            shore.lat_e5,
            shore.lon_e5,
            shore.sog_dkn,
            shore.cog_deg,
            time_s - shore.time_s,
        )
        assert distance_m(lat, lon, guess[0], guess[1]) <= 100
    assert reports < 120


def test_contract_by_time():
    contract = Contract(error_m=100, heartbeat_s=600)
    assert contract.is_due(BASE, 0, 0)
    contract.sent(BASE, 0, 0, None, None)
    assert not contract.is_due(BASE + 599, 0, 0)
    assert contract.is_due(BASE + 600, 0, 0)
    assert contract.is_due(BASE - 1, 0, 0)
    assert not contract.is_due(BASE, 89, 0) and contract.off_m == 99
    assert not contract.is_due(BASE, 90, 0) and contract.off_m == 100
    assert contract.is_due(BASE, 91, 0)


def test_far_distances_are_far():
    far = (1 << 29) - 1
    assert distance_m(0, 0, 130001, 0) == far and distance_m(0, 0, 130000, 0) < 150000
    assert distance_m(8000000, 0, 8000000, 1040000) > 180000
    assert distance_m(8000000, 0, 8000000, 1040001) == far


def test_absolute_again_after_twenty_frames_and_after_100_km():
    ring = TrackRing(4)
    ring.push(1, BASE, 0, 0, 0, 0)
    encoder = TrackEncoder(ring)
    buf = bytearray(11)

    def is_absolute():
        encoder.encode_into(buf, 11)
        return buf[0] >> 2 & 1 == 1

    assert [is_absolute() for _ in range(41)] == [i % 20 == 0 for i in range(41)]
    ring.push(2, BASE + 9000, 89000, 0, 0, 0)
    assert not is_absolute()
    ring.push(3, BASE + 9990, 91000, 0, 0, 0)
    assert is_absolute()


def test_without_a_clock_nothing_is_certain():
    ring = TrackRing(4)
    ring.push(1, 600, BENOA[0], BENOA[1], 0, 0)
    encoder = TrackEncoder(ring)
    encoder.is_clock_set = False
    buf = bytearray(19)
    length = encoder.encode_into(buf, 19)
    frame = decode_track(bytes(buf[:length]), BASE + 77, None, None, 1, BASE + 70)
    assert not frame.is_clock_set and not frame.is_sequence_certain
    assert frame.fixes[0].time_s == BASE + 70
    assert error_code(decode_track, bytes(buf[:length]), 5, 0, None) is None  # absolute
    length = encoder.encode_into(buf, 11)
    assert error_code(decode_track, bytes(buf[:length]), BASE, 0, None) == "no_reference"
