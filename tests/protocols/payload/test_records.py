"""Status, events, commands, answers and back-fill: vectors by hand, refusals, round trips."""

from protocols.errors import LocalError, RemoteError
from protocols.payload import backfill, command, event, status
from protocols.payload.flood import FloodRing
from protocols.payload.track import TrackRing

BASE = 898 * 64 * 3600  # a full hour; slot 0 on every grid


def error_code(call, *args):
    try:
        call(*args)
    except (LocalError, RemoteError) as error:
        return error.code
    return None


def mac(data):
    return bytes([sum(data) & 255, len(data), 1, 2])


def test_stage_event_vector():
    buf = bytearray(11)
    values = {
        "stage": 2,
        "previous_stage": 1,
        "level_mm": 2660,
        "rate_mm_10min": 5,
        "is_float_switch": 0,
        "config_number": 3,
    }
    length = event.encode_event_into(buf, event.EVENT_STAGE, 7, BASE + 5, values)
    # 00 00100 0 | 00000111 | time mod 16384 | 10 01 | level + 1024 | rate + 4095 | 0 | 000011
    time_low = (BASE + 5) % 16384
    text = "0000100000000111" + f"{time_low:014b}"
    text += "1001001110011001001000000000100000001100"
    text += "0" * (-len(text) % 8)
    assert len(text) == 72 and length == 9
    assert bytes(buf[:9]) == bytes([int(text[i : i + 8], 2) for i in range(0, 72, 8)])
    got = event.decode_event(bytes(buf[:length]), BASE + 4000)
    values.update({"kind": 4, "number": 7, "is_drill": 0, "time_s": BASE + 5})
    assert got == values and event.event_name(4) == "stage"


def test_an_event_of_a_device_without_a_clock_has_no_time():
    buf = bytearray(11)
    values = {"fix_age_s": None, "lat_e5": None, "lon_e5": None}
    length = event.encode_event_into(buf, event.EVENT_SOS, 1, None, values)
    assert event.decode_event(bytes(buf[:length]), BASE)["time_s"] is None
    true_s = BASE - BASE % 16384 + 16383  # would read as "unknown": sent one second early
    length = event.encode_event_into(buf, event.EVENT_SOS, 1, true_s, values)
    assert event.decode_event(bytes(buf[:length]), true_s)["time_s"] == true_s - 1


def test_every_event_fits_eleven_bytes_and_comes_back():
    for kind in range(1, 10):
        buf = bytearray(11)
        fields = {}
        for name, _, low, step, _ in event.schema.EVENTS[kind][1]:
            fields[name] = low + step
        length = event.encode_event_into(buf, kind, 300, BASE, fields, is_drill=True)
        got = event.decode_event(bytes(buf[:length]), BASE)
        assert got["kind"] == kind and got["number"] == 44 and got["is_drill"] == 1
        for name in fields:
            assert got[name] == fields[name], name


def test_sos_without_a_fix():
    buf = bytearray(11)
    length = event.encode_event_into(buf, event.EVENT_SOS, 0, BASE, {})
    got = event.decode_event(bytes(buf[:length]), BASE)
    assert got["lat_e5"] is None and got["lon_e5"] is None and got["fix_age_s"] is None


def test_event_refusals():
    buf = bytearray(11)
    assert error_code(event.encode_event_into, buf, 0, 0, 0, {}) == "kind"
    assert error_code(event.encode_event_into, buf, 4, 0, 0, {"stage": 4}) == "range"
    length = event.encode_event_into(buf, event.EVENT_SOS, 0, BASE, {"lat_e5": 1})
    assert error_code(event.decode_event, bytes(buf[:length]), BASE) == "value"
    assert error_code(event.decode_event, bytes(buf[: length - 1]), BASE) == "length"
    assert error_code(event.decode_event, bytes(buf[:length]) + b"\x00", BASE) == "length"
    assert error_code(event.decode_event, b"\x00" * 11, BASE) == "kind"
    assert error_code(event.decode_event, b"\x40" * 11, BASE) == "version"


def test_status_pages_in_turn():
    values = status.Status()
    values.battery_mv = 3604
    values.faults = status.FAULT_SENSOR | status.FAULT_MEMORY
    values.sequence = 123456789
    values.rain_tips = 70000
    values.firmware_major = 1
    values.reset_reason = status.RESET_WATCHDOG
    encoder = status.StatusEncoder(values)
    buf = bytearray(51)
    got = {}
    for page in range(5):
        length = encoder.encode_into(buf, 11)
        assert length <= 11
        part = status.decode_status(bytes(buf[:length]))
        assert part["pages"] == 1 << page
        got.update(part)
    assert got["battery_mv"] == 3608  # steps of 8
    assert got["faults"] == 32769 and got["sequence"] == 123456789 and got["rain_tips"] == 70000
    assert got["tilt_deg"] is None and got["firmware_major"] == 1 and got["reset_reason"] == 2
    length = encoder.encode_into(buf, 51)
    assert status.decode_status(bytes(buf[:length]))["pages"] == 15  # five do not fit
    # A page that is urged goes first and once; then it goes on where it was.
    encoder.page = 3
    encoder.urge(status.PAGE_POWER)
    encoder.urge(status.PAGE_POWER)
    order = []
    for _ in range(3):
        length = encoder.encode_into(buf, 11)
        order.append(status.decode_status(bytes(buf[:length]))["pages"])
    assert order == [1, 8, 16]
    encoder.page = 3
    encoder.urge(status.PAGE_POWER)
    buf = bytearray(55)
    assert status.decode_status(buf[: encoder.encode_into(buf, 55)])["pages"] == 31
    values.sensor_error = status.SENSOR_NO_ECHO
    values.sensor_exception = 4
    values.release = 70000
    values.is_on_trial = True
    encoder.page = status.PAGE_SENSOR
    got = status.decode_status(buf[: encoder.encode_into(buf, 11)])
    assert got["sensor_error"] == 4 and got["sensor_exception"] == 4
    assert got["release"] == 70000 and got["is_on_trial"] == 1 and got["sensor_silences"] == 0
    assert error_code(status.decode_status, bytes(buf[: length - 1])) == "length"
    assert error_code(status.decode_status, bytes(buf[:length]) * 2) == "value"
    assert error_code(encoder.encode_into, buf, 9) == "limit"


def test_last_gasp_flag():
    values = status.Status()
    values.is_last_gasp = True
    buf = bytearray(11)
    length = status.StatusEncoder(values).encode_into(buf, 11)
    assert status.decode_status(bytes(buf[:length]))["is_last_gasp"] == 1


def test_siren_command_vector():
    values = {"pattern": 3, "duration_s": 60, "expires_time_s": 207000000}
    data = command.encode_command(command.CMD_SIREN, 513, values)
    text = "0000111000000010000000010110000111100" + f"{207000000:030b}"
    text += "0" * (-len(text) % 8)
    assert data == bytes([int(text[i : i + 8], 2) for i in range(0, len(text), 8)])
    got = command.decode_command(data)
    assert (got.kind, got.number, got.values, got.is_authentic) == (7, 513, values, False)


EXAMPLES = {
    1: {"first_sequence": 5, "count": 4096},
    2: {
        "config_number": 62,
        "waspada_mm": -5,
        "siaga_mm": 1160,
        "awas_mm": 2660,
        "hysteresis_mm": 100,
        "hold_s": 900,
    },
    3: {
        "config_number": 1,
        "calm": 4,
        "rising": 1,
        "stage": 1,
        "storm": 0,
        "rising_mm_10min": 50,
    },
    4: {"until_time_s": 0},
    5: {"time_s": 207000001},
    6: {"delay_s": 5, "is_safe_mode": 1},
    7: {"pattern": 7, "duration_s": 1023, "expires_time_s": 1},
    8: {"expires_time_s": 99},
    9: {"event_number": 200, "step": 4},
    10: {"error_m": 100, "heartbeat_s": 1800},
    11: {"fence": 2, "lat_e5": -867000, "lon_e5": 11521000, "radius_m": 500, "is_forbidden": 1},
    12: {"pages": 15},
    13: {"is_audible": 0},
    14: {"until_time_s": 1},
}


def test_every_command_comes_back_with_and_without_mac():
    for kind in EXAMPLES:
        for tag in (None, mac):
            data = command.encode_command(kind, 9, EXAMPLES[kind], tag)
            assert len(data) <= command.LENGTH_MAX
            got = command.decode_command(data, mac)
            assert (got.kind, got.number, got.values) == (kind, 9, EXAMPLES[kind])
            assert got.is_authentic == (tag is not None)


def test_forged_command():
    data = command.encode_command(7, 1, EXAMPLES[7], mac)
    for i in range(len(data)):
        bad = bytearray(data)
        bad[i] ^= 1
        assert error_code(command.decode_command, bytes(bad), mac) is not None, i
    assert error_code(command.decode_command, data) == "mac"
    assert error_code(command.decode_command, data[:-1], mac) == "mac"
    assert error_code(command.decode_command, data + b"\x00", mac) == "mac"


def test_command_refusals():
    wrong = dict(EXAMPLES[2])
    wrong["siaga_mm"] = wrong["awas_mm"]
    assert error_code(command.encode_command, 2, 1, wrong) == "range"
    assert error_code(command.encode_command, 4, 1, {"until": 0}) == "field"
    assert error_code(command.encode_command, 4, 1, {}) == "range"
    assert error_code(command.encode_command, 4, 65536, EXAMPLES[4]) == "range"
    assert error_code(command.encode_command, 15, 1, {}) == "kind"
    wrong = dict(EXAMPLES[3])
    wrong["calm"] = 7
    assert error_code(command.encode_command, 3, 1, wrong) == "range"
    wrong = dict(EXAMPLES[10])
    wrong["heartbeat_s"] = 1801
    assert error_code(command.encode_command, 10, 1, wrong) == "range"
    data = command.encode_command(9, 1, EXAMPLES[9])
    assert error_code(command.decode_command, data[:-1]) == "length"
    assert error_code(command.decode_command, data + b"\x00") == "length"
    assert error_code(command.decode_command, b"") == "length"


def test_answer():
    buf = bytearray(6)
    assert command.encode_answer_into(buf, 513, command.CMD_THRESHOLDS, command.DONE, 7) == 6
    got = command.decode_answer(bytes(buf))
    assert got == {"number": 513, "kind": 2, "result": 0, "value": 7}
    assert error_code(command.decode_answer, bytes(buf[:5])) == "length"


def test_flood_backfill_empties_the_ring():
    for limit, frames_max in ((11, 34), (51, 3), (242, 1)):
        ring = FloodRing(128)
        truth = {}
        for i in range(100):
            level = None if i == 50 else 700 + i * i % 13
            truth[70000 + i] = (BASE + 60 * i, level, (2000 + i // 10) & 1023)
            ring.push(70000 + i, BASE + 60 * i, level, 2000 + i // 10)
        encoder = backfill.FloodBackfill(ring)
        buf = bytearray(limit)
        frames = 0
        while ring.count:
            length = encoder.encode_into(buf, limit)
            frames += 1
            got = backfill.decode_backfill(bytes(buf[:length]), BASE + 999999, 80000)
            assert got.kind == "flood" and got.count == len(got.samples) == encoder.readings
            assert got.first_sequence == got.samples[0].sequence
            for sample in got.samples:
                want = truth.pop(sample.sequence)
                assert (sample.time_s, sample.level_mm, sample.rain_tips) == want
        assert not truth and frames <= frames_max, (limit, frames)
        assert error_code(encoder.encode_into, buf, limit) == "empty"


def test_track_backfill_empties_the_ring():
    for limit in (11, 19, 51, 115):
        ring = TrackRing(64)
        truth = {}
        for i in range(50):
            time_s = BASE + 30 * i + (300 if i > 20 else 0)
            truth[i] = (time_s, -860000 + 37 * i, 11500000 + 11 * i)
            ring.push(i, time_s, truth[i][1], truth[i][2], 80, 0)
        encoder = backfill.TrackBackfill(ring)
        buf = bytearray(limit)
        while ring.count:
            length = encoder.encode_into(buf, limit)
            got = backfill.decode_backfill(bytes(buf[:length]), BASE + 9999, 60, -860000, 11510000)
            assert got.kind == "track" and got.count == encoder.readings
            for fix in got.fixes:
                time_s, lat, lon = truth.pop(fix.sequence)
                assert fix.time_s == time_s
                assert abs(fix.lat_e5 - lat) <= fix.resolution_e5 // 2
                assert abs(fix.lon_e5 - lon) <= fix.resolution_e5 // 2
        assert not truth


def test_missing_readings_are_said():
    buf = bytearray(11)
    length = backfill.encode_missing_into(buf, 123456789, 100)
    got = backfill.decode_backfill(bytes(buf[:length]), BASE, 0)
    assert (got.kind, got.first_sequence, got.count) == ("missing", 123456789, 100)
    assert error_code(backfill.encode_missing_into, buf, 0, 0) == "range"
    assert error_code(backfill.decode_backfill, b"\x30" + bytes(9), BASE, 0) == "value"


def test_number_63_is_no_configuration():
    wrong = dict(EXAMPLES[2])
    wrong["config_number"] = 63
    assert error_code(command.encode_command, 2, 1, wrong) == "range"
    wrong = dict(EXAMPLES[9])
    for step in (0, 6):
        wrong["step"] = step
        assert error_code(command.encode_command, 9, 1, wrong) == "range"
    wrong = dict(EXAMPLES[11])
    wrong["lat_e5"] = 9000001
    assert error_code(command.encode_command, 11, 1, wrong) == "range"
    assert error_code(command.encode_command, 4, 1, EXAMPLES[4], lambda data: b"123") == "range"


def test_numbers_of_kinds_are_the_wire_format():
    names = "gap thresholds intervals storm time reboot siren silence sos_step contract geofence"
    names = names.split() + ["status", "test", "drill"]
    numbers = [getattr(command, "CMD_" + name.upper()) for name in names]
    assert numbers == list(range(1, 15))
    assert [command.command_name(number) for number in numbers] == names
    names = [
        "sos",
        "sos_cancel",
        "mob",
        "stage",
        "tamper",
        "siren",
        "last_gasp",
        "fault",
        "geofence",
    ]
    numbers = [getattr(event, "EVENT_" + name.upper()) for name in names]
    assert numbers == list(range(1, 10))
    assert [event.event_name(number) for number in numbers] == names
    steps = (command.SOS_STEP_HEARD, command.SOS_STEP_STORED, command.SOS_STEP_ACCEPTED)
    assert steps == (1, 2, 3) and (command.SOS_STEP_SEEN, command.SOS_STEP_CLOSED) == (4, 5)
    results = (command.DONE, command.REFUSED, command.EXPIRED, command.REPEATED)
    assert results == (0, 1, 2, 3)
    assert (command.UNKNOWN, command.FORGED, command.BUSY) == (4, 5, 6)


def test_values_beyond_their_range_saturate_and_are_not_missing():
    values = status.Status()
    values.tilt_deg = 63
    values.temperature_c = -41
    values.uptime_h = 65536
    values.stored = 1 << 20
    buf = bytearray(51)
    length = status.StatusEncoder(values).encode_into(buf, 51)
    got = status.decode_status(bytes(buf[:length]))
    assert (got["tilt_deg"], got["temperature_c"]) == (62, -40)
    assert (got["uptime_h"], got["stored"]) == (65535, (1 << 20) - 1)
