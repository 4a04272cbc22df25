"""The flood node's real firmware in MicroPython, on simulated chips, in virtual time."""

import random
from pathlib import Path

from protocols.payload import command as cmd
from protocols.payload import ports
from protocols.payload.event import EVENT_LAST_GASP, EVENT_STAGE
from protocols.payload.status import (
    FAULT_SAFE_MODE,
    FAULT_SENSOR,
    FAULT_SENSOR_DISAGREE,
    FAULT_SUPPLY,
    RESET_CRASH,
    RESET_POWER,
)
from sim.chips.level_sensors import LevelSensor
from sim.chips.modbus import RtuSlave
from tests.firmware.host.world import World, running


def flat(_: float) -> float:
    return 300.0


def rising(at_s: float, mm_s: float = 2.0, start: float = 300.0):
    return lambda now_s: start + max(0.0, now_s - at_s) * mm_s


def test_every_reading_arrives_with_its_time_and_level(tmp_path: Path) -> None:
    level = rising(400, 0.5)
    with running(World(tmp_path, level_mm=level, rain_mm_h=lambda _: 30.0)) as world:
        world.run(1200)
        assert world.network.joins == [0]
        assert sorted(world.samples) == list(range(max(world.samples) + 1))
        assert len(world.samples) >= 20
        for sample in world.samples.values():
            true_mm = level(sample.time_s - world.network.epoch_s)
            assert sample.level_mm is not None
            assert abs(sample.level_mm - true_mm) < 15, sample.sequence
        known = [frame for frame in world.flood if frame.is_clock_set]
        assert all(frame.samples[0].time_s % 10 == 0 for frame in known)
        tips = [frame.samples[0].rain_tips or 0 for frame in world.flood]
        assert tips == sorted(tips) and 40 <= tips[-1] <= 52  # 30 mm/h in 0.2 mm tips
        status = world.status
        assert (status["role"], status["boots"], status["reset_reason"]) == (0, 1, RESET_POWER)
        assert status["faults"] == 0 and status["is_clock_set"] and status["crashes"] == 0


def test_calm_samples_share_frames_and_a_rise_ends_that(tmp_path: Path) -> None:
    settings: dict[str, object] = {"intervals_s": [60, 10, 10, 10], "report_max_s": 600}
    with running(World(tmp_path, level_mm=rising(2000, 0.3), settings=settings)) as world:
        world.run(2000)
        assert len(world.flood) <= 5
        assert sorted(world.samples) == list(range(max(world.samples) + 1))
        calm = len(world.flood)
        world.run(300)
        assert len(world.flood) - calm >= 4


def test_a_stage_is_told_at_once_and_confirmed(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=rising(200, 10.0))) as world:
        world.run(420)
        stages = [(e["previous_stage"], e["stage"]) for e in world.events]
        assert stages == [(0, 1), (1, 2), (2, 3)] or stages == [(0, 2), (2, 3)] or stages[0][0] == 0
        assert all(e["kind"] == EVENT_STAGE for e in world.events)
        # 500 mm are passed at 220 s; the sampling grid is 60 s, the jump is measured again.
        assert world.event_times[0] < 220 + 60 + 15
        last = world.events[-1]
        assert last["stage"] == 2 or last["stage"] == 3
        sent = len(world.network.of(ports.PORT_EVENT))
        world.run(300)
        confirmed = [f for f in world.network.of(ports.PORT_EVENT)[:sent] if f.confirmed]
        assert len(confirmed) == sent


def test_an_alarm_is_repeated_until_the_network_answers(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=rising(300, 10.0))) as world:
        world.run(250)
        world.network.deaf = True
        world.run(250)
        assert not world.events
        world.network.deaf = False
        world.run(400)
        assert world.events and world.events[0]["stage"] in (1, 2)


def test_a_gap_is_answered_with_exactly_what_was_missing(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=rising(0, 0.2))) as world:
        world.run(300)
        world.network.deaf = True
        world.run(3000)
        world.network.deaf = False
        world.run(300)
        have = sorted(world.samples)
        missing = [n for n in range(have[-1]) if n not in world.samples]
        assert len(missing) > 10
        world.command(cmd.CMD_GAP, {"first_sequence": missing[0], "count": len(missing)})
        # The link probes drove the data rate down meanwhile: four readings in 11 bytes.
        world.run(1000)
        assert [n for n in range(have[-1]) if n not in world.samples] == []
        assert world.answers[-1]["result"] == cmd.DONE
        for number in missing:
            sample = world.samples[number]
            true_mm = 300 + 0.2 * (sample.time_s - world.network.epoch_s)
            assert sample.level_mm is not None and abs(sample.level_mm - true_mm) < 15


def test_a_power_cut_keeps_session_numbers_rain_and_history(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=flat, rain_mm_h=lambda _: 60.0)) as world:
        world.run(400)
        before = max(world.samples)
        tips = world.flood[-1].samples[0].rain_tips
        world.power_cycle()
        world.run(400)
        assert world.network.joins == [0], "the session was kept"
        assert max(world.samples) > before
        assert sorted(world.samples) == list(range(max(world.samples) + 1))
        assert (world.flood[-1].samples[0].rain_tips or 0) >= (tips or 0)
        assert world.status["boots"] == 2


def test_thresholds_by_command_rule_at_once_and_after_a_reset(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=flat)) as world:
        world.run(150)
        assert not world.events
        world.command(
            cmd.CMD_THRESHOLDS,
            {
                "config_number": 7,
                "waspada_mm": 200,
                "siaga_mm": 900,
                "awas_mm": 1500,
                "hysteresis_mm": 50,
                "hold_s": 0,
            },
        )
        world.run(150)
        assert world.answers == [{"number": 1, "kind": cmd.CMD_THRESHOLDS, "result": 0, "value": 7}]
        assert [e["stage"] for e in world.events] == [1]
        world.power_cycle()
        world.run(200)
        assert world.flood[-1].stage == 1
        assert world.status["config_number"] == 7
        # The same command again is recognised and not done twice.
        world._number = 0  # pyright: ignore[reportPrivateUsage]
        world.command(cmd.CMD_STORM, {"until_time_s": 0})
        world.run(150)
        assert world.answers[-1]["result"] == cmd.REPEATED


def test_a_wet_float_switch_is_awas_without_the_sensor(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=flat)) as world:
        world.run(200)
        begin = world.now_s
        world.node.wet_float(True)
        world.run(20)
        assert [(e["stage"], e["is_float_switch"]) for e in world.events] == [(3, 1)]
        assert world.event_times[0] - begin < 5
        world.node.wet_float(False)
        world.run(60)
        assert world.events[-1]["stage"] == 0


def test_the_last_gasp_is_on_the_air_in_two_seconds(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=flat)) as world:
        world.node.board.drive(world.node.pins["supply"], 1)
        world.run(200)
        begin = world.now_s
        world.node.board.drive(world.node.pins["supply"], 0)
        world.run(70)
        assert [e["kind"] for e in world.events] == [EVENT_LAST_GASP]
        assert world.event_times[0] - begin <= 2
        assert int(str(world.status["faults"])) & FAULT_SUPPLY and world.status["is_last_gasp"]
        world.node.board.drive(world.node.pins["supply"], 1)
        world.run(130)
        assert len(world.events) == 1 and not world.flood[-1].has_fault


def test_a_dead_sensor_is_a_fault_and_not_a_level(tmp_path: Path) -> None:
    with running(World(tmp_path, level_mm=flat)) as world:
        world.run(200)
        assert world.node.modbus
        world.node.modbus.silent = True
        world.run(150)
        assert world.flood[-1].samples[0].level_mm is None
        assert world.flood[-1].has_fault
        assert int(str(world.status["faults"])) & FAULT_SENSOR
        world.node.modbus.silent = False
        world.run(150)
        assert world.flood[-1].samples[0].level_mm is not None
        assert not world.flood[-1].has_fault
        assert not world.events


def test_a_second_sensor_takes_over_and_a_difference_is_told(tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "second_profile": "geolux-lx80",
        "second_address": 2,
        "second_height_mm": 6000,
    }
    with running(World(tmp_path, level_mm=flat, settings=settings)) as world:
        node = world.node
        assert node.bus and node.modbus and node.sensor
        other = LevelSensor("geolux-lx80", lambda: 300.0, 6000, world.sim.rng("other"), address=2)
        RtuSlave(node.bus, other.slave, address=2, baud=other.baud, frame_format=other.frame_format)
        world.run(200)
        assert other.reads > 20 and not world.flood[-1].has_fault
        node.modbus.silent = True
        world.run(130)
        newest = world.flood[-1].samples[0]
        assert newest.level_mm is not None and abs(newest.level_mm - 300) < 20
        assert int(str(world.status["faults"])) & FAULT_SENSOR
        node.modbus.silent = False
        other.fault = "drift"
        world.run(400)
        assert int(str(world.status["faults"])) & (FAULT_SENSOR | FAULT_SENSOR_DISAGREE) == 4
        assert not world.events


def test_noise_on_the_line_a_spider_and_a_boat_raise_no_alarm(tmp_path: Path) -> None:
    """Damaged answers, an insect on the antenna, and a boat under the beam for five seconds."""
    with running(World(tmp_path, level_mm=flat)) as world:
        assert world.node.modbus and world.node.sensor
        world.node.modbus.noise = 0.3
        world.node.sensor.fault = "spider"
        world.run(379.5)  # a slot of the sampling grid begins at 380 s
        world.node.sensor.fault = "boat"
        world.run(5)
        world.node.sensor.fault = ""
        world.run(200)
        assert world.node.sensor.reads > 9 * len(world.samples), "it was looked at again"
        assert not [e for e in world.events if e["stage"]]
        levels = [s.level_mm for s in world.samples.values() if s.level_mm is not None]
        assert len(levels) >= 8
        assert all(abs(level - 300) < 20 for level in levels), levels


def test_three_crashes_end_in_safe_mode_which_still_sends_health(tmp_path: Path) -> None:
    settings: dict[str, object] = {"sensor_profile": "none-such"}
    with running(World(tmp_path, level_mm=flat, settings=settings)) as world:
        world.run(120)
        assert world.node.firmware.boots == 4
        assert int(str(world.status["faults"])) & FAULT_SAFE_MODE
        assert world.status["reset_reason"] == RESET_CRASH
        assert not world.flood
        boots = world.node.firmware.boots
        world.run(3700)
        assert world.node.firmware.boots > boots, "and it tries the application again"


def test_power_cuts_inside_flash_writes_lose_nothing_that_was_stored(tmp_path: Path) -> None:
    """The supply fails at the n-th program or erase of the simulated NOR flash, six times."""
    rng = random.Random(6)
    level = rising(300, 0.5)
    settings: dict[str, object] = {"intervals_s": [10, 10, 10, 10]}
    with running(World(tmp_path, level_mm=level, settings=settings, seed=6)) as world:
        world.run(30)
        flash = world.node.firmware.flash
        for _ in range(6):
            flash.cut_after = rng.randrange(1, 12)
            world.run(90)
        flash.cut_after = None
        world.run(60)
        newest = max(world.samples)
        world.command(cmd.CMD_GAP, {"first_sequence": 0, "count": newest})
        world.run(300)
        assert world.node.firmware.boots == 7 and not world.node.firmware.crashes
        assert world.network.joins == [0], "no DevNonce and no session was lost"
        # A reading whose start never heard the time is said to be gone; nothing else may be.
        assert len(world.samples) >= newest - 6
        for sample in world.samples.values():
            assert sample.level_mm is not None
            true_mm = level(sample.time_s - world.network.epoch_s)
            assert abs(sample.level_mm - true_mm) < 25, sample.sequence
