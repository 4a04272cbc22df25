"""The controller by behaviour: actuation, coordination, calendar, flood, preemption, faults."""

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.atcs import events as e
from gateway.atcs.calendar import Wall, plan_name
from gateway.atcs.controller import Controller, Inputs, Output
from gateway.atcs.kernel import CHANGE, FLASH, GREEN, RED
from gateway.atcs.plan import Plan, from_table
from tests.gateway.atcs.rig import sample, sample_table


class Run:
    """A controller driven at 10 Hz; `go` returns the last output, `log` has all events."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.controller = Controller(plan, 0)
        self.inputs = Inputs()
        self.now_ms = 0
        self.log: list[e.Event] = []
        self.output = Output(())

    def go(self, seconds: float, *on: str, **inputs: Any) -> Output:
        names = [d.name for d in self.plan.detector]
        self.inputs.detectors = sum(1 << names.index(name) for name in on)
        for key, value in inputs.items():
            setattr(self.inputs, key, value)
        for _ in range(round(seconds * 10)):
            self.now_ms += 100
            wall = self.inputs.wall
            if wall is not None:
                self.inputs.wall = Wall(wall.date, wall.weekday, wall.day_ms + 100)
            self.output = self.controller.step(self.now_ms, self.inputs)
            self.log += self.output.events
        return self.output

    def shows(self, name: str) -> int:
        return self.output.lamps[self.plan.index[name]]

    def codes(self) -> set[int]:
        return {event.code for event in self.log}


def started(name: str = "kumbasari") -> Run:
    """A junction that has been through start-up and rests in its main entry."""
    run = Run(sample(name))
    run.go(60)
    run.go(1, *(d.name for d in run.plan.detector if d.movement in ("W", "2", "6")))
    run.go(45)
    run.log.clear()
    return run


def test_start_up_is_flash_then_all_red_then_the_first_entry() -> None:
    run = Run(sample("kumbasari"))
    assert set(run.go(4.8).lamps) == {FLASH}
    assert set(run.go(0.4).lamps) == {RED}
    assert set(run.go(4.5).lamps) == {RED}
    run.go(0.5)
    assert run.shows("W") == GREEN and run.shows("N") == RED and run.shows("LW") == GREEN


def test_a_call_ends_a_green_by_gap_and_a_busy_green_by_maximum() -> None:
    run = started()
    assert run.shows("W") == GREEN
    run.go(44, "w-stop", "n-stop")
    assert e.MAX_OUT not in run.codes()
    run.go(3, "w-stop", "n-stop")
    assert e.MAX_OUT in run.codes() and run.shows("W") == CHANGE
    run.log.clear()
    run.go(30)
    assert run.shows("W") == GREEN and e.GAP_OUT in run.codes()


def test_a_walk_is_served_with_its_whole_clearance_before_anybody_drives() -> None:
    run = started()
    run.go(0.3, "pw-button")
    run.log.clear()
    run.go(80, "w-stop")
    times = {}
    for event in run.log:
        if event.parameter == run.plan.index["PW"] + 1 and event.code in (21, 22, 23):
            times[event.code] = event.time_ms
    west = next(
        event.time_ms
        for event in run.log
        if event.code == e.BEGIN_GREEN and event.parameter == 1 and event.time_ms > times[23]
    )
    assert times[22] - times[21] >= 6000 and times[23] - times[22] == 12000
    assert west >= times[23]


def test_a_flood_closes_the_road_at_once_and_opens_it_late() -> None:
    run = started()
    run.controller.report_stage("kumbasari-1", 0)
    run.go(1)
    run.controller.report_stage("kumbasari-1", 2)
    run.go(90, "s-stop", "n-stop", "w-stop")
    assert run.output.closed == run.plan.mask(("S",)) and run.shows("S") == RED
    south = run.plan.index["S"] + 1
    since = next(ev.time_ms for ev in run.log if ev.code == e.PHASE_OMIT_ON)
    late = [ev for ev in run.log if ev.code == e.BEGIN_GREEN and ev.parameter == south]
    assert not [ev for ev in late if ev.time_ms > since]
    assert run.controller.pattern == "river-closed"
    for _ in range(10):
        run.controller.report_stage("kumbasari-1", 1)
        run.go(60, "w-stop")
    assert run.output.closed
    for _ in range(11):
        run.controller.report_stage("kumbasari-1", 0)
        run.go(60, "w-stop")
    assert not run.output.closed


def test_a_silent_flood_sensor_closes_the_road() -> None:
    run = started()
    run.go(900)
    assert run.output.closed
    notes = [ev.note for ev in run.log if ev.code == e.ALARM]
    assert notes == ["flood riverside: closed, sensor lost"]


def test_an_ambulance_gets_its_green_and_a_stranger_does_not() -> None:
    run = started()
    run.go(20, "n-stop", "s-stop")
    assert not run.controller.request("taxi-9", "ambulance-east", 10)
    assert run.controller.request("ambulance-01", "ambulance-east", 15)
    for eta in range(14, 0, -1):
        run.controller.request("ambulance-01", "ambulance-east", eta)
        run.go(1, "n-stop", "s-stop")
    run.go(9, "n-stop")
    assert run.shows("E") == GREEN and run.output.mode == "preempt"
    run.controller.passed("ambulance-01")
    run.go(12, "n-stop")
    assert run.output.mode == "plan"
    codes = run.codes()
    assert {e.PRIORITY_CHECK_IN, e.PREEMPT_ENTRY, e.PREEMPT_DWELL, e.PREEMPT_EXIT} <= codes
    assert any("taxi-9" in ev.note for ev in run.log if ev.code == e.ALARM)


def test_a_preempt_that_never_ends_is_given_up() -> None:
    run = started()
    run.go(119, preempts=1)
    assert run.output.mode == "preempt"
    run.go(3)
    assert run.output.mode == "plan"
    run.go(200, "n-stop")
    assert run.output.mode == "plan"


def test_holidays_win_over_weekdays_and_no_clock_runs_free() -> None:
    plan = sample("kumbasari")
    day_ms = 7 * 3_600_000
    assert plan_name(plan, Wall("2026-11-24", 1, day_ms)) == "morning"
    assert plan_name(plan, Wall("2026-11-24", 1, 3_600_000)) == "flash"
    assert plan_name(plan, Wall("2027-03-08", 0, day_ms)) == "flash"  # nyepi, a Monday
    assert plan_name(plan, Wall("2027-06-02", 2, day_ms)) == "free"  # galungan
    assert plan_name(plan, None) == "free"


def test_nyepi_flashes_through_red_and_comes_back_through_red() -> None:
    run = started()
    run.go(60, wall=Wall("2027-03-08", 0, 7 * 3_600_000))
    assert set(run.output.lamps) == {FLASH} and run.output.mode == "flash"
    run.go(0.2, wall=Wall("2027-03-09", 1, 12 * 3_600_000))
    assert set(run.output.lamps) == {RED}


@pytest.mark.parametrize(
    ("name", "start_s", "seconds"), [("kumbasari", 25_000, 600), ("dual-ring", 25_010, 850)]
)
def test_coordination_gets_into_step_and_stays_there(name: str, start_s: int, seconds: int) -> None:
    run = started(name)
    wall = Wall("2026-11-24", 1, start_s * 1000)
    everybody = [d.name for d in run.plan.detector if d.kind != "button"]
    run.go(seconds, *everybody, wall=wall)
    coordinator = run.controller.coordinator
    assert coordinator is not None and coordinator.in_step
    first = run.plan.entry[coordinator.coordinated].green[0]
    begins = [
        ev.time_ms
        for ev in run.log
        if ev.code == e.BEGIN_GREEN and ev.parameter == run.plan.index[first] + 1
    ][-4:]
    cycle_ms = coordinator.timing.cycle_s * 1000
    for a, b in pairwise(begins):
        assert b - a == pytest.approx(cycle_ms, abs=300)


def test_manual_control_holds_until_the_button_and_not_for_ever() -> None:
    run = started()
    run.go(100, "n-stop", "s-stop", panel="manual")
    assert run.shows("W") == GREEN
    run.go(10, "n-stop", advance=True)
    assert run.shows("W") == RED and run.shows("N") == GREEN
    run.go(125, "w-stop", advance=False)
    assert run.shows("N") == GREEN
    run.go(63, "w-stop")
    assert run.shows("W") == GREEN, "nobody waits longer than red_max_s, policeman or not"
    run.go(100, "n-stop", advance=True)
    run.go(25, "n-stop", advance=False)
    assert run.shows("N") == GREEN
    run.go(580)
    run.go(60, "w-stop")
    assert run.shows("W") == GREEN, "manual control left behind ends by itself"


def test_a_stuck_detector_is_logged_and_its_road_recalled() -> None:
    run = started()
    run.go(310, "n-stop")
    assert e.DETECTOR_FAULT_STUCK in run.codes()
    run.log.clear()
    run.go(200, "n-stop", "w-stop")
    north = run.plan.index["N"] + 1
    served = [v for v in run.log if v.code == e.BEGIN_GREEN and v.parameter == north]
    assert len(served) >= 2


def test_a_fault_in_any_decision_flashes_until_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    run = started()
    with monkeypatch.context() as patch:
        patch.setattr(run.controller.sequencer, "register", None)
        run.go(0.1)
    assert set(run.output.lamps) == {FLASH} and run.output.mode == "fault"
    assert any("TypeError" in ev.note for ev in run.log)
    run.go(30)
    assert run.output.mode == "fault"
    run.go(0.1, reset=True)
    run.go(12, reset=False)
    assert run.output.mode == "plan"


def test_a_pause_of_the_caller_flashes() -> None:
    run = started()
    run.now_ms += 5000
    run.go(0.1)
    assert run.output.mode == "fault" and set(run.output.lamps) == {FLASH}


def test_all_red_by_the_panel_holds_and_the_first_entry_follows() -> None:
    run = started()
    run.go(30, "w-stop", "n-stop", panel="all_red")
    assert set(run.output.lamps) == {RED} and run.output.mode == "all red"
    run.go(0.1, panel="auto")
    assert run.shows("W") == GREEN and run.output.mode == "plan"


def test_flash_by_the_panel_only_through_all_red_and_back_the_same_way() -> None:
    run = started()
    seen: list[tuple[int, ...]] = []
    for _ in range(300):
        run.go(0.1, "w-stop", panel="flash")
        seen.append(run.output.lamps)
    first = next(k for k, lamps in enumerate(seen) if FLASH in lamps)
    assert set(seen[first - 1]) == {RED} and set(seen[first]) == {FLASH}
    assert e.LOCAL_FLASH in [ev.parameter for ev in run.log if ev.code == e.UNIT_FLASH]
    run.go(0.1, panel="auto")
    assert set(run.output.lamps) == {RED}
    run.go(4.7)
    assert set(run.output.lamps) == {RED}
    run.go(0.5)
    assert run.shows("W") == GREEN


def test_a_left_turn_on_red_runs_beside_red_and_stops_for_its_pedestrians() -> None:
    table = sample_table()
    table["conflict"] = [c for c in table["conflict"] if c["between"] != ["LW", "N"]]
    run = Run(from_table(table, Path("test.toml")))
    run.go(60)
    run.go(1, "w-stop")
    run.go(45)
    assert run.shows("W") == GREEN and run.shows("LW") == GREEN
    run.go(0.3, "pw-button")
    together = 0
    alone = 0
    for _ in range(900):
        run.go(0.1, "n-stop")
        walking = run.shows("PW") in (GREEN, CHANGE)
        together += walking and run.shows("LW") != RED
        alone += run.shows("W") == RED and run.shows("LW") == GREEN
    assert together == 0
    run.go(60, "w-stop")
    assert run.shows("LW") == GREEN and alone > 0


def test_a_road_that_is_full_behind_the_junction_gets_no_extension() -> None:
    table = sample_table()
    table["detector"].append({"name": "w-exit", "movement": "W", "kind": "exit"})
    greens: list[int] = []
    for jam in ((), ("w-exit",)):
        run = Run(from_table(copy.deepcopy(table), Path("test.toml")))
        run.go(15, "w-stop", *jam)
        run.log.clear()
        run.go(0.1, "w-stop", "n-stop", *jam)
        start = run.now_ms
        while run.shows("W") == GREEN and run.now_ms < start + 90_000:
            run.go(0.1, "w-stop", "n-stop", *jam)
        greens.append(run.now_ms - start)
    assert greens[0] >= 40_000 and greens[1] < 15_000, greens


def test_a_camera_calls_by_its_count_and_recalls_when_it_is_lost() -> None:
    table = sample_table()
    table["detector"] = [
        d for d in table["detector"] if d["movement"] != "N"
    ] + [{"name": "n-eye", "movement": "N", "kind": "camera"}]  # fmt: skip
    run = Run(from_table(table, Path("test.toml")))
    eye = len(table["detector"]) - 1
    north = run.plan.index["N"] + 1

    def greens() -> int:
        return sum(ev.code == e.BEGIN_GREEN and ev.parameter == north for ev in run.log)

    run.go(120, "w-stop", counts={eye: 0})
    run.log.clear()
    run.go(120, "w-stop", counts={eye: 0})
    assert greens() == 0
    run.go(60, "w-stop", counts={eye: 4})
    assert greens() == 1
    run.go(60, "w-stop", counts={eye: 0})
    run.log.clear()
    run.go(200, "w-stop", counts={})
    assert e.DETECTOR_FAULT_OTHER in run.codes() and greens() >= 2


def test_an_event_of_a_phase_has_the_phase_for_its_parameter() -> None:
    run = started()
    run.go(200, "w-stop", "n-stop", "s-stop")
    north = run.plan.index["N"] + 1
    codes = [ev.code for ev in run.log if ev.parameter == north and ev.code < 40]
    cycle = [0, 1, 5, 7, 8, 9, 10, 11, 12]
    begin = codes.index(0)
    assert [code for code in codes[begin : begin + 9] if code != 5] == [
        code for code in cycle if code != 5
    ] + codes[begin + 9 : begin + 9], codes
    split = next(ev.parameter for ev in run.log if ev.code == e.SPLIT + north)
    assert 12 <= split <= 40


def test_a_call_that_locks_is_remembered_and_one_that_does_not_is_forgotten() -> None:
    for locking, greens in ((True, 1), (False, 0)):
        table = sample_table()
        for m in table["movement"]:
            m["locking"] = locking
        table["movement"][2]["min_green_s"] = 7
        run = Run(from_table(table, Path("test.toml")))
        run.go(60)
        run.go(1, "w-stop")
        run.go(60)
        assert run.shows("W") == GREEN
        # It comes while West must be green yet, and turns right on red.
        run.go(3, "w-stop")
        run.log.clear()
        run.go(0.5, "n-stop", "w-stop")
        run.go(2, "w-stop")
        run.go(40)
        north = run.plan.index["N"] + 1
        seen = sum(ev.code == e.BEGIN_GREEN and ev.parameter == north for ev in run.log)
        assert seen == greens, locking


def test_the_gap_shrinks_while_others_wait() -> None:
    """A vehicle each 2.5 s keeps a green whose gap is 3 s, and loses it at a gap of 2 s."""
    lengths: list[int] = []
    for gap_min in (3.0, 2.0):
        table = sample_table()
        for m in table["movement"]:
            m |= {"passage_s": 3.0, "gap_min_s": gap_min, "reduce_after_s": 4, "reduce_over_s": 6}
        run = Run(from_table(table, Path("test.toml")))
        run.go(60)
        run.go(1, "w-stop")
        run.go(60)
        start = run.now_ms
        while run.shows("W") == GREEN and run.now_ms < start + 60_000:
            run.go(0.1, "n-stop", "w-stop")
            run.go(2.4, "n-stop")
        lengths.append(run.now_ms - start)
    assert lengths[0] > 40_000 and 8_000 < lengths[1] < 16_000, lengths


def test_a_pattern_gets_into_step_by_dwelling_in_its_road() -> None:
    table = sample_table()
    table.pop("flood")
    table["plan"][0]["transition"] = "dwell"
    run = Run(from_table(table, Path("test.toml")))
    run.go(60)
    wall = Wall("2026-11-24", 1, 25_000_000)
    run.go(400, "w-stop", "n-stop", "s-stop", "e-stop", wall=wall)
    coordinator = run.controller.coordinator
    assert coordinator is not None and coordinator.in_step
    red = [ev.time_ms for ev in run.log if ev.code == e.END_YELLOW and ev.parameter == 3]
    green = [ev.time_ms for ev in run.log if ev.code == e.BEGIN_GREEN and ev.parameter == 3]
    splits = [b - a for a, b in zip(green, red, strict=False)]
    # The first began before the pattern did.
    assert len(splits) > 3 and max(splits[1:]) <= 36_000, "dwelling stretches its own road only"


def test_an_ambulance_that_is_far_only_keeps_a_green_that_is_on() -> None:
    run = started()
    assert run.shows("E") == GREEN
    run.go(20, "n-stop")
    assert run.shows("N") == GREEN, "without it the gap ends the green"
    run = started()
    for eta in range(34, 22, -1):
        assert run.controller.request("ambulance-01", "ambulance-east", eta)
        run.go(1, "n-stop")
        assert run.shows("E") == GREEN and run.output.mode == "plan"
    assert e.PRIORITY_EXTENSION in run.codes() and e.PREEMPT_ENTRY not in run.codes()
    run.controller.passed("ambulance-01")
    run.go(15, "n-stop")
    assert run.shows("N") == GREEN


def test_after_preemption_the_exit_entry_of_that_preempt_comes() -> None:
    table = sample_table()
    table["preempt"] = [
        {"name": "fire", "green": ["N"], "exit": "B", "level": 2},
        {"name": "east", "green": ["E"], "exit": "A"},
    ]
    run = Run(from_table(table, Path("test.toml")))
    run.go(60, "w-stop")
    run.go(40, preempts=1)
    assert run.shows("N") == GREEN and run.shows("W") == RED
    run.go(1, preempts=0)
    run.go(1)
    assert run.shows("S") != CHANGE and run.shows("N") == GREEN and run.output.mode == "plan"
    run.log.clear()
    run.go(15, "n-stop", preempts=3)
    assert [ev.note for ev in run.log if ev.code == e.PREEMPT_ENTRY][-1] == "east", "level 1 wins"
