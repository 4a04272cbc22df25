"""Adaptive mode inside the controller: it decides, the limits hold, and it may fail."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.atcs import events as e
from gateway.atcs.calendar import Wall
from gateway.atcs.kernel import CHANGE, GREEN
from gateway.atcs.plan import Plan, from_table
from sim.junction.queue import Approach, Queues
from tests.gateway.atcs.rig import Rig, sample_table
from tests.gateway.atcs.test_controller import Run


def adaptive(
    name: str = "kumbasari", mode: str = "clever", table: dict[str, Any] | None = None
) -> Plan:
    table = table or sample_table(name)
    table["plan"] = [*table.get("plan", []), {"name": "clever", "mode": "adaptive"}]
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    table["day"] = [{"name": "all", "days": days, "at": {"00:00": mode}}]
    table.pop("flood", None)
    return from_table(table, Path("test.toml"))


def run_of(plan: Plan) -> Run:
    run = Run(plan)
    run.inputs.wall = Wall("2026-11-25", 2, 43_200_000)
    return run


RATES = {"W": 0.3, "E": 0.25, "N": 0.1, "S": 0.08}
SETBACK_M = 80


def with_advance(mode: str) -> Plan:
    """The sample with an advance loop on every approach."""
    table = sample_table()
    table["detector"] = [d for d in table["detector"] if d.get("kind") != "advance"]
    table["detector"] += [
        {"name": f"{m}-advance", "movement": m, "kind": "advance", "setback_m": SETBACK_M}
        for m in RATES
    ]
    return adaptive(mode=mode, table=table)


def delay_s(plan: Plan, seed: int) -> float:
    """Mean delay of half an hour, the same arrivals for every plan; no monitor, so it is quick."""
    run = run_of(plan)
    rows = [
        Approach(RATES.get(m.name, 0.004), 0.5 * max(1, m.lanes), SETBACK_M / (m.speed_kmh / 3.6))
        for m in plan.movement
    ]
    queues = Queues(rows, seed)
    for _ in range(18_000):
        stops, advances = queues.step(run.now_ms / 1000, run.output.lamps or (3,) * len(rows))
        on = {"stop": stops, "button": stops, "advance": advances}
        run.go(0.1, *(d.name for d in plan.detector if on[d.kind][plan.index[d.movement]]))
    assert sum(queues.waiting()) < 40
    return queues.delay_s / queues.served


@pytest.mark.parametrize("name", ["kumbasari", "dual-ring"])
def test_the_monitor_finds_nothing_and_everybody_is_served(name: str) -> None:
    rig = Rig(adaptive(name), seed=5)
    rig.inputs.wall = Wall("2026-11-25", 2, 43_200_000)
    assert rig.run(300) == "none"
    assert rig.controller.pattern == "clever"
    served = {i for lamps in rig.history for i, lamp in enumerate(lamps) if lamp == GREEN}
    vehicles = {i for i, m in enumerate(rig.plan.movement) if m.kind == "vehicle"}
    assert vehicles <= served


def test_an_empty_green_gives_way_at_once_and_a_queue_is_served_whole() -> None:
    """West has nobody; six vehicles come in the north. Actuation would need its gap."""
    run = run_of(adaptive())
    run.go(60)
    run.go(2, "n-stop", "s-stop")
    assert run.shows("W") == CHANGE or run.shows("N") == GREEN


@pytest.mark.parametrize("answer", [0, 1, 7, -1, None, "B", 0.5, True, ValueError("broken")])
def test_whatever_the_planner_answers_everybody_is_served_in_time(answer: Any) -> None:
    class Odd:
        flow = [1.0] * 8

        def choose(self, *_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    run = run_of(adaptive())
    assert run.controller.predictive is not None
    run.controller.predictive.planner = Odd()
    names = ("w-stop", "n-stop", "s-stop", "e-stop")
    red_since: dict[str, int] = {}
    for _ in range(5000):
        run.go(0.1, *names)
        for name in ("W", "E", "N", "S"):
            if run.shows(name) == GREEN:
                red_since[name] = run.now_ms
            assert run.now_ms - red_since.get(name, 15_000) <= 180_000, name
    assert run.output.mode == "plan"
    if isinstance(answer, ValueError):
        notes = [ev.note for ev in run.log if ev.code == e.ALARM]
        assert "adaptive: ValueError: broken; actuated for a minute" in notes


def test_adaptive_within_a_pattern_keeps_its_splits() -> None:
    """The coordinated entry is not left before its force-off, whatever the planner wants."""
    table = sample_table()
    table.pop("flood")
    table["plan"][0]["mode"] = "adaptive"
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    table["day"] = [{"name": "all", "days": days, "at": {"00:00": "morning"}}]
    run = run_of(from_table(table, Path("test.toml")))
    run.go(400, "n-stop")
    coordinator = run.controller.coordinator
    assert coordinator is not None and coordinator.in_step
    run.log.clear()
    run.go(320, "n-stop")
    west = [ev for ev in run.log if ev.parameter == 1 and ev.code in (e.BEGIN_GREEN, 7)]
    lengths = [(b.time_ms - a.time_ms) / 1000 for a, b in pairwise(west) if a.code == e.BEGIN_GREEN]
    assert len(lengths) >= 3
    assert all(length >= 40 for length in lengths), lengths


def test_neighbours_announce_a_platoon_and_nothing_breaks_without_sense() -> None:
    run = run_of(adaptive())
    run.go(60)
    run.controller.announce(run.plan.index["N"], run.now_ms + 8000, 10)
    run.controller.announce(99, run.now_ms, 10_000)
    run.controller.announce(run.plan.index["N"], -5, 10**9)
    run.go(60, "w-stop")
    assert run.output.mode == "plan"


def test_adaptive_delays_less_than_actuation_here() -> None:
    """One junction, seeded queues: no figure to boast with, but it must not be worse."""
    ours = [delay_s(with_advance("clever"), seed) for seed in (1, 2)]
    actuated = [delay_s(with_advance("free"), seed) for seed in (1, 2)]
    print(ours, actuated)
    assert sum(ours) < sum(actuated)
