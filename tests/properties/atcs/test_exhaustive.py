"""Every input in every reachable state of small junctions: the lamps are always safe."""

from typing import Any

import pytest

from gateway.atcs.calendar import Wall
from gateway.atcs.checks import round_s
from gateway.atcs.controller import ALL_RED, AUTO, MANUAL, PANEL_FLASH, Inputs
from gateway.atcs.kernel import Kernel
from gateway.atcs.plan import DAYS
from tests.properties.atcs.explorer import Choice, UnsafeError, explore, small

TWO = {"A": {}, "B": {}}
CROSS = [("A", "B", 1.0, 2.0)]
STAGES = [{"name": "a", "green": ["A"]}, {"name": "b", "green": ["B"]}]


def test_two_stages_are_safe_and_nobody_waits_longer_than_one_maximum() -> None:
    """All detector patterns for ever: a call waits for one maximum green and the changes."""
    choices: list[Choice] = [(Inputs(detectors=d), ()) for d in range(4)]
    report = explore(small(TWO, CROSS, STAGES), choices, wait_bound_s=14)
    assert report.greens == 0b11 and report.states > 200
    assert 8 <= report.longest_wait_s <= 14


def test_three_stages_with_recall_are_safe_and_bounded() -> None:
    movements = {"A": {"recall": "max"}, "B": {"locking": False}, "C": {}}
    conflicts = [("A", "B", 1.0, 1.0), ("B", "C", 1.0, 1.0), ("A", "C", 2.0, 1.0)]
    entries = [{"name": n.lower(), "green": [n]} for n in "ABC"]
    choices: list[Choice] = [(Inputs(detectors=d), ()) for d in range(0, 8)]
    report = explore(small(movements, conflicts, entries), choices, wait_bound_s=24)
    assert report.greens == 0b111


def test_pedestrians_and_preemption_always_through_clearances() -> None:
    movements = {"A": {}, "B": {}, "P": {"kind": "pedestrian"}}
    plan = small(
        movements, [("A", "B", 1.0, 1.0), ("A", "P", 1.0, 0.0)],
        [{"name": "a", "green": ["A"]}, {"name": "b", "green": ["B", "P"]}],
        preempt=[{"name": "x", "green": ["A"], "dwell_s": 2, "max_s": 10}],
    )  # fmt: skip
    choices: list[Choice] = [
        (Inputs(detectors=d, preempts=x), ()) for d in (0, 2, 4, 5) for x in (0, 1)
    ]
    report = explore(plan, choices)
    assert report.greens == 0b111 and "preempt" in report.modes


def test_flash_panel_and_flood_from_every_state() -> None:
    plan = small(
        TWO, CROSS, STAGES,
        flood=[{"name": "f", "sensor": "s", "close": ["B"], "open_after_s": 2}],
    )  # fmt: skip
    choices: list[Choice] = [
        (Inputs(detectors=3), ()),
        (Inputs(detectors=2), (("s", 2),)),
        (Inputs(detectors=2), (("s", 0),)),
        (Inputs(panel=PANEL_FLASH, detectors=1), ()),
        (Inputs(panel=MANUAL, detectors=1), (("s", 0),)),
        (Inputs(panel=MANUAL, advance=True), ()),
        (Inputs(panel=ALL_RED), ()),
        (Inputs(monitor=True, detectors=3), ()),
    ]
    report = explore(plan, choices, states_max=60_000)
    assert {"plan", "flash", "all red", "red", "monitor"} <= report.modes
    assert report.greens == 0b11


def test_dual_ring_crosses_its_barrier_safely() -> None:
    """Two rings, two barrier groups, four phases: 1 and 2 may run together, 3 and 4 too."""
    movements = {"1": {}, "2": {}, "3": {}, "4": {}}
    conflicts = [(a, b, 1.0, 1.0) for a in "12" for b in "34"]
    entries = [
        {"name": "P1", "ring": 1, "barrier": 1, "green": ["1"]},
        {"name": "P3", "ring": 1, "barrier": 2, "green": ["3"]},
        {"name": "P2", "ring": 2, "barrier": 1, "green": ["2"]},
        {"name": "P4", "ring": 2, "barrier": 2, "green": ["4"]},
    ]
    choices: list[Choice] = [(Inputs(detectors=d), ()) for d in (0, 1, 4, 6, 9, 15)]
    report = explore(small(movements, conflicts, entries), choices, states_max=60_000)
    assert report.greens == 0b1111


def test_a_left_turn_on_red_gives_way_to_its_crossing() -> None:
    movements = {
        "A": {}, "B": {}, "P": {"kind": "pedestrian"}, "L": {"kind": "left_on_red"},
    }  # fmt: skip
    plan = small(
        movements, [*CROSS, ("A", "P", 1.0, 0.0), ("L", "P", 1.0, 1.0)],
        [{"name": "a", "green": ["A"]}, {"name": "b", "green": ["B", "P"]}],
    )  # fmt: skip
    choices: list[Choice] = [(Inputs(detectors=d), ()) for d in (0, 1, 2, 6)]
    assert explore(plan, choices, states_max=60_000).greens == 0b1111


ADAPTIVE: dict[str, Any] = {
    "plan": [{"name": "clever", "mode": "adaptive"}],
    "day": [{"name": "all", "days": list(DAYS), "at": {"00:00": "clever"}}],
}
NOON = Wall("2026-11-25", 2, 43_200_000)


def test_any_answer_of_the_planner_is_safe_and_starves_nobody() -> None:
    """Stay for ever, change at every chance, nonsense: waits stay within `red_max_s`."""
    plan = small(
        {"A": {"max_green_s": 180}, "B": {"max_green_s": 180}}, CROSS, STAGES, red_max_s=25,
        **ADAPTIVE,
    )  # fmt: skip
    assert round_s(plan) <= 25
    choices: list[Choice] = [(Inputs(detectors=d, wall=NOON), ()) for d in (0, 1, 3)]
    answers = (0, 1, -1, True, None)
    report = explore(plan, choices, wait_bound_s=26, answers=answers, states_max=120_000)
    assert report.greens == 0b11
    assert 12 < report.longest_wait_s <= 25, "the bound is reached, and kept"


def test_a_planner_that_fails_and_one_that_answers_anything_with_pedestrians() -> None:
    movements = {"A": {}, "B": {}, "P": {"kind": "pedestrian"}}
    plan = small(
        movements, [("A", "B", 1.0, 1.0), ("A", "P", 1.0, 0.0)],
        [{"name": "a", "green": ["A"]}, {"name": "b", "green": ["B", "P"]}],
        preempt=[{"name": "x", "green": ["A"], "dwell_s": 2, "max_s": 10}], **ADAPTIVE,
    )  # fmt: skip
    choices: list[Choice] = [
        (Inputs(detectors=d, preempts=x, wall=NOON), ()) for d in (0, 5) for x in (0, 1)
    ]
    report = explore(plan, choices, answers=(0, 1, ValueError("x")), states_max=60_000)
    assert report.greens == 0b111 and {"plan", "preempt"} <= report.modes
    assert "fault" not in report.modes, "the planner only advises"


def test_manual_control_for_ever_starves_nobody() -> None:
    plan = small(TWO, CROSS, STAGES, red_max_s=25)
    choices: list[Choice] = [
        (Inputs(detectors=d, panel=MANUAL, advance=b), ()) for d in (0, 3) for b in (False, True)
    ]
    report = explore(plan, choices, wait_bound_s=26, states_max=60_000)
    assert report.greens == 0b11 and report.longest_wait_s <= 25


def test_the_exploration_finds_a_kernel_without_clearance(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: Kernel, group: int, now_ms: int) -> bool:
        return not self.conflicts[group] & (self.green | self.change)

    monkeypatch.setattr(Kernel, "ready", careless)
    choices: list[Choice] = [(Inputs(detectors=d, panel=AUTO), ()) for d in range(4)]
    with pytest.raises(UnsafeError, match="ended"):
        explore(small(TWO, CROSS, STAGES), choices)
