"""Sensors, receiver, flash, river: each against the maker's word or published figures."""

import itertools
import random
import struct

import pytest
from pymodbus.framer import FramerRTU

from sim.board import Board
from sim.chips.flash import NorFlash, PowerCutError
from sim.chips.gnss import Fix, GnssReceiver, sentence
from sim.chips.level_sensors import LevelSensor
from sim.chips.modbus import Rs485, RtuSlave, Slave, crc16, tcp_answer
from sim.chips.rain_gauge import RainGauge
from sim.kernel import HOUR, SECOND, Simulation
from sim.world.river import STAGES_MM, Series, golden_rain, golden_stage
from sim.world.sea import Tide, Track


def test_crc_agrees_with_published_frames_and_with_pymodbus() -> None:
    # Frames printed in the manuals of Lambrecht (rain[e]) and Sonbus (XM9505).
    for frame in ("030479190001F8B3", "03040200010130", "010300000001840A", "0103020218B92E"):
        data = bytes.fromhex(frame)
        assert crc16(data[:-2]) == data[-2:]
    rng = random.Random(1)
    for _ in range(50):
        data = rng.randbytes(rng.randrange(1, 60))
        assert int.from_bytes(crc16(data), "big") == FramerRTU.compute_CRC(data)


def line() -> tuple[Simulation, Board, Rs485, RtuSlave]:
    sim = Simulation(1)
    board = Board(sim, "n")
    bus = Rs485(sim, board.uarts[0], de_pin=4)
    slave = RtuSlave(bus, Slave(lambda a: 100 + a if a < 10 else None), address=1)
    board.setup_pin(4, 1, 0, 0)
    board.uarts[0].open(9600, 0x48, 256)
    return sim, board, bus, slave


def ask(sim: Simulation, board: Board, frame: bytes, *, release_us: int = 0) -> bytes:
    board.write_pin(4, 1)
    board.uarts[0].write(frame + crc16(frame))
    end = board.uarts[0].pending_us()
    sim.run_until(sim.now_us + end + release_us)
    board.write_pin(4, 0)
    sim.run_until(sim.now_us + SECOND)
    return board.uarts[0].read(256)


def test_slave_answers_a_request_of_its_own_address_only() -> None:
    sim, board, _, _ = line()
    answer = ask(sim, board, b"\x01\x03\x00\x02\x00\x02")
    assert answer[:-2] == b"\x01\x03\x04\x00\x66\x00\x67" and crc16(answer[:-2]) == answer[-2:]
    assert ask(sim, board, b"\x02\x03\x00\x02\x00\x02") == b""
    assert sim.faults == []


def test_slave_answers_exceptions() -> None:
    sim, board, _, _ = line()
    assert ask(sim, board, b"\x01\x03\x00\x09\x00\x02")[:3] == b"\x01\x83\x02"
    assert ask(sim, board, b"\x01\x04\x00\x00\x00\x01")[:3] == b"\x01\x84\x01"
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x7e")[:3] == b"\x01\x83\x03"


def test_driver_enable_that_falls_early_or_late_is_a_fault() -> None:
    sim, board, _, _ = line()
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x01", release_us=-2_000) == b""
    assert [what for _, _, what in sim.faults] == ["rs485.de_early"]
    sim, board, _, _ = line()
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x01", release_us=30_000) == b""
    assert [what for _, _, what in sim.faults] == ["rs485.de_late"]


def test_wrong_parity_silence_and_a_cut_cable_give_nothing_useful() -> None:
    good = b"\x01\x03\x02\x00\x64"
    sim, board, bus, slave = line()
    slave.frame_format = 0x68
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x01")[:5] != good
    slave.frame_format, slave.silent = 0x48, True
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x01") == b""
    slave.silent, bus.connected = False, False
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x01") == b""
    bus.connected = True
    assert ask(sim, board, b"\x01\x03\x00\x00\x00\x01")[:5] == good


def test_tcp_answers_whole_requests_and_keeps_the_rest() -> None:
    slave = Slave(lambda a: a)
    request = bytes.fromhex("000700000006010300050001")
    buffer = bytearray(request + request[:5])
    assert tcp_answer(slave, buffer, 1) == bytes.fromhex("0007000000050103020005")
    assert buffer == request[:5]
    with pytest.raises(ValueError):
        tcp_answer(slave, bytearray(b"GET / HTTP/1.1\r\n"), 1)


def sensor(kind: str, level: float, height: int) -> LevelSensor:
    return LevelSensor(kind, lambda: level, height, random.Random(3))


def registers(made: LevelSensor, first: int, count: int) -> bytes:
    return made.slave.answer(struct.pack(">BHH", 3, first, count))[2:]


def test_radar_registers_are_those_of_the_manual() -> None:
    made = sensor("geolux-lx80", 2_345, 7_000)
    (distance,) = struct.unpack(">H", registers(made, 0x0001, 1))
    (level,) = struct.unpack(">H", registers(made, 0x0020, 1))
    (height,) = struct.unpack(">H", registers(made, 0x0022, 1))
    assert abs(distance - 4_655) < 15 and abs(level - 2_345) < 15 and height == 7_000


def test_ultrasonic_says_ffff_without_echo_and_tells_who_it_is() -> None:
    made = sensor("dfrobot-urm14", 200, 1_200)
    assert registers(made, 0, 1) == b"\x00\x02"
    (tenths,) = struct.unpack(">H", registers(made, 5, 1))
    assert abs(tenths - 10_000) < 400
    made.fault = "no_echo"
    assert registers(made, 5, 1) == b"\xff\xff"


def test_pressure_of_three_metres_of_water_at_28_degrees() -> None:
    made = sensor("keller-s30", 2_000, -1_000)
    (bar,) = struct.unpack(">f", registers(made, 0x0100, 2))
    # Jones and Harris (1992): 996.23 kg/m3 at 28 degrees.
    assert abs(bar - 3.0 * 996.23 * 9.80665 / 1e5) < 0.0005


def test_nmea_checksum_of_the_standards_example() -> None:
    # The example of NMEA 0183 that every receiver manual prints.
    body = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"
    assert sentence(body) == f"${body}*47\r\n"


def test_receiver_needs_half_a_minute_and_then_knows_the_place() -> None:
    sim = Simulation(9)
    board = Board(sim, "boat")
    uart = board.uarts[1]
    uart.open(9600, 0x48, 100_000)
    GnssReceiver(
        sim, uart, lambda: Fix(lat=-8.7445, lon=115.2115, speed_mps=3.0, course_deg=90.0),
        epoch_s=1_757_412_000.0,
    )  # fmt: skip
    sim.run_until(60 * SECOND)
    lines = uart.read(100_000).decode().splitlines()
    fixes = [text.split(",") for text in lines if text.startswith("$GNRMC") and ",A," in text]
    assert 15 <= len(fixes) <= 45
    assert fixes[-1][1].startswith("1000") and fixes[-1][9] == "090925"
    assert fixes[-1][3].startswith("0844.6") and fixes[-1][5].startswith("11512.")
    assert abs(float(fixes[-1][7]) - 5.83) < 0.01


def test_bucket_counts_what_falls_less_what_splashes() -> None:
    sim = Simulation(1)
    board = Board(sim, "n")
    gauge = RainGauge(sim, board, 5, lambda: 40.0)
    edges: list[int] = []
    board.on_input = edges.append
    sim.run_until(HOUR)
    # 40 mm in tips of 0.2 mm, 1.2 % lost at this rate.
    assert abs(gauge.tips - 197) <= 2
    assert len(edges) == pytest.approx(4 * gauge.tips, abs=4), "the contact bounces"


def test_flash_programs_ones_to_zeros_only() -> None:
    flash = NorFlash(4, random.Random(1))
    faults: list[str] = []
    flash.on_fault = faults.append
    flash.program(0, b"\x0f\xff")
    flash.program(1, b"\xf0")
    assert flash.read(0, 3) == b"\x0f\xf0\xff" and faults == []
    flash.program(0, b"\xff")
    assert faults == ["program_without_erase"] and flash.read(0, 1) == b"\x0f"
    flash.erase(0)
    assert flash.read(0, 2) == b"\xff\xff" and flash.wear == {0: 1}


def test_power_cut_tears_the_write_it_falls_into() -> None:
    flash = NorFlash(4, random.Random(1))
    flash.cut_after = 1
    flash.program(0, b"\0" * 16)
    with pytest.raises(PowerCutError):
        flash.program(256, b"\0" * 256)
    torn = flash.read(256, 256)
    written = torn.count(0)
    assert 0 <= written < 256 and torn == b"\0" * written + b"\xff" * (256 - written)
    flash.program(1024, b"\0")


def test_golden_storm_passes_the_published_points() -> None:
    stage = golden_stage()
    assert stage(8 * 3600) > STAGES_MM[1], "02:00, water already high"
    assert stage(11 * 3600) == max(stage(t) for t in range(0, 30 * 3600, 60)), "the peak at 05:00"
    assert stage(13 * 3600) < stage(11 * 3600), "07:00, falling"
    rise = max(stage(t + 3600) - stage(t) for t in range(0, 12 * 3600, 300))
    assert rise <= 3_200, "never faster than was derived, 3.2 m/h"
    rain = golden_rain()
    total = sum(rain(t) for t in range(0, 30 * 3600, 60)) / 60
    assert 200 <= total <= 385, "mm in a day, as published"


def test_series_is_monotone_between_its_points() -> None:
    series = Series([(0, 0), (10, 1), (20, 100), (30, 100), (40, 5)])
    values = [series(t / 10) for t in range(0, 401)]
    assert max(values) <= 100.001 and min(values) >= 0
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(values[:200]))
    with pytest.raises(ValueError):
        Series([(0, 1), (0, 2)])


def test_tide_has_the_height_that_was_quoted() -> None:
    tide = Tide()
    values = [tide(t) for t in range(0, 30 * 86_400, 600)]
    assert 2_500 <= max(values) <= 3_000 and min(values) >= -400


def test_track_goes_there_and_back() -> None:
    now = [0.0]
    track = Track(((0.0, 0.0), (0.0, 0.01)), lambda: now[0], speed_mps=10.0, stop_s=5.0)
    assert track() == Fix(lat=0.0, lon=0.0)
    now[0] = 5 + 55.6
    fix = track()
    assert abs(fix.lon - 0.005) < 1e-4 and fix.course_deg == pytest.approx(90.0)
    now[0] = 5 + 111.2 + 5 + 60
    assert track().course_deg == pytest.approx(270.0)
