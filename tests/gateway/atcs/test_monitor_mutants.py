"""Classic controller bugs and broken wires: the monitor, which shares nothing, catches each.

Run with -s to see the table.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.atcs.controller import Controller
from gateway.atcs.kernel import CHANGE, GREEN, RED, Group, Kernel
from sim.junction.cabinet import STUCK_OFF, STUCK_ON
from tests.gateway.atcs.rig import Rig, sample

Mutant = Callable[[Rig, pytest.MonkeyPatch], None]


def _limits(rig: Rig, **changes: Any) -> None:
    kernel = rig.controller.kernel
    kernel.groups = tuple(replace(group, **changes) for group in kernel.groups)


def forgets_conflicts(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Kernel, "ready", lambda self, group, now_ms: True)
    rig.controller.kernel.conflicts = [0] * rig.controller.kernel.count


def forgets_clearance(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Kernel,
        "ready",
        lambda self, group, now_ms: not self.conflicts[group] & (self.green | self.change),
    )


def short_yellow(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    _limits(rig, change_ms=2500)


def no_yellow(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    _limits(rig, change_ms=0)


def one_row_of_the_matrix_lost(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    kernel = rig.controller.kernel
    w, n = rig.plan.index["W"], rig.plan.index["N"]
    kernel.conflicts[w] &= ~(1 << n)
    kernel.conflicts[n] &= ~(1 << w)
    kernel._needs = [
        tuple(p for p in row if (i, p[0]) not in ((w, n), (n, w)))
        for i, row in enumerate(kernel._needs)
    ]
    rig.controller.sequencer.masks[0] |= 1 << n


def clearance_of_the_wrong_direction(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    kernel = rig.controller.kernel
    table = rig.plan.clearance_ms
    kernel._needs = [tuple((i, table[j][i]) for i, _ in row) for j, row in enumerate(kernel._needs)]


def outputs_swapped(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    step = Controller.step

    def crossed(self: Controller, now_ms: int, inputs: Any) -> Any:
        output = step(self, now_ms, inputs)
        lamps = list(output.lamps)
        e, n = self.plan.index["E"], self.plan.index["N"]
        lamps[e], lamps[n] = lamps[n], lamps[e]
        output.lamps = tuple(lamps)
        return output

    patch.setattr(Controller, "step", crossed)


def green_left_on(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    show = Kernel._show

    def lazy(self: Kernel, group: int, aspect: int, now_ms: int) -> None:
        if not (group == 0 and aspect == CHANGE):
            show(self, group, aspect, now_ms)

    patch.setattr(Kernel, "_show", lazy)


def walk_without_clearance(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    kernel = rig.controller.kernel
    kernel.groups = tuple(
        Group(g.min_green_ms, 1000, g.min_red_ms) if m.kind == "pedestrian" else g
        for g, m in zip(kernel.groups, rig.plan.movement, strict=True)
    )


def hangs(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    rig.cabinet.wiring.watchdog_stuck = True


def red_switch_dead(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    rig.cabinet.wiring.outputs[(0, RED)] = STUCK_OFF


def green_switch_welded(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    rig.cabinet.wiring.outputs[(2, 2)] = STUCK_ON


def red_lamp_burnt(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    rig.cabinet.wiring.lamp_dead.add((1, RED))


TABLE: list[tuple[Mutant, tuple[str, ...]]] = [
    (forgets_conflicts, ("conflict", "short clearance")),
    (forgets_clearance, ("short clearance",)),
    (short_yellow, ("short yellow",)),
    (no_yellow, ("short yellow",)),
    (one_row_of_the_matrix_lost, ("conflict", "short clearance")),
    (clearance_of_the_wrong_direction, ("short clearance",)),
    (outputs_swapped, ("conflict", "short clearance", "short yellow")),
    (green_left_on, ("conflict", "short clearance", "short yellow")),
    (walk_without_clearance, ("short clearance",)),
    (hangs, ("watchdog",)),
    (red_switch_dead, ("red failure",)),
    (green_switch_welded, ("dual indication", "conflict")),
    (red_lamp_burnt, ("lamp current",)),
]


@pytest.mark.parametrize(("mutant", "faults"), TABLE, ids=lambda x: getattr(x, "__name__", ""))
def test_the_monitor_catches(
    mutant: Mutant, faults: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(sample("kumbasari"))
    assert rig.run(12) == "none" and rig.monitor.relay
    mutant(rig, monkeypatch)
    tripped = rig.run(120)
    print(f"{mutant.__name__:34} {tripped:16} after {rig.now_ms / 1000 - 12:.2f} s")
    assert tripped in faults
    assert rig.cabinet.street() == ["flash"] * 6


@pytest.mark.parametrize("name", ["kumbasari", "dual-ring"])
def test_the_controller_as_it_is_never_trips_the_monitor(name: str) -> None:
    """Fifteen minutes at random demand, with preemption, manual control and flash in between."""
    rig = Rig(sample(name), seed=3)
    assert rig.run(240) == "none"
    rig.inputs.preempts = 1
    assert rig.run(40) == "none"
    rig.inputs.preempts = 0
    rig.inputs.panel = "manual"
    for _ in range(4):
        rig.inputs.advance = True
        assert rig.run(25) == "none"
    rig.inputs.panel = "flash"
    assert rig.run(60) == "none" and not rig.monitor.relay
    rig.inputs.panel = "auto"
    assert rig.run(120) == "none" and rig.monitor.relay
    assert {lamp for lamps in rig.history for lamp in lamps} == {RED, GREEN, CHANGE, 3}


def test_after_a_trip_and_a_reset_by_hand_both_come_back_through_all_red() -> None:
    """The monitor closes its relay on nothing but all red, so the controller waits with that."""
    rig = Rig(sample("kumbasari"))

    def go(seconds: float) -> set[tuple[str, ...]]:
        seen: set[tuple[str, ...]] = set()
        for _ in range(round(seconds * 100)):
            rig.inputs.monitor = not rig.monitor.relay
            rig.run(0.01)
            seen.add(tuple(rig.cabinet.street()))
        return seen

    go(15)
    assert rig.monitor.relay and rig.controller.mode == "plan"
    rig.cabinet.wiring.outputs[(2, 2)] = STUCK_ON
    go(5)
    assert rig.tripped in ("conflict", "dual indication") and not rig.monitor.relay
    rig.cabinet.wiring.outputs.clear()
    assert go(60) == {("flash",) * 6}, "latched"
    assert rig.controller.mode == "monitor" and set(rig.lamps) == {RED}
    rig.cabinet.reset.value(0)
    go(0.3)
    rig.cabinet.reset.value(1)
    street = go(20)
    assert rig.monitor.relay and rig.controller.mode == "plan" and rig.tripped == "none"
    first = [lamps for lamps in street if "flash" not in lamps]
    assert ("R", "R", "R", "R", "R", "") in first
