"""Explicit-state exploration of the whole controller, and the judge of what its lamps may do.

Time runs in whole seconds. A state is everything mutable in the controller, with times relative to
now and capped where they no longer matter, plus the judge's own ages of every lamp, which it takes
from the lamps alone. Every input is tried in every state reached.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.kernel import CHANGE, FLASH, GREEN, RED
from gateway.atcs.plan import Plan, from_table

TICK_MS = 1000


class UnsafeError(AssertionError):
    """A lamp did what it must not."""


@dataclass
class Judge:
    """Knows the plan's limits and the lamps, and nothing of the controller."""

    plan: Plan
    lamps: tuple[int, ...] = ()
    age: list[int] = field(default_factory=list)  # ticks that the lamp has shown this
    ended: list[int] = field(default_factory=list)  # ticks since it was last not red
    tick_ms: int = TICK_MS

    def see(self, lamps: tuple[int, ...], fault: bool) -> None:
        count = len(lamps)
        if not self.lamps:
            self.lamps, self.age, self.ended = lamps, [0] * count, [0] * count
            return
        plan, matrix = self.plan, self.plan.clearance_ms
        for i, was in enumerate(self.lamps):
            self.age[i] += 1
            self.ended[i] = self.ended[i] + 1 if was == RED else 0
        for i, (was, now) in enumerate(zip(self.lamps, lamps, strict=True)):
            m = plan.movement[i]
            if now == was:
                continue
            name = f"{m.name}: {'rgcf'[was]} to {'rgcf'[now]} after {self.age[i]} ticks"
            if now == FLASH:
                if not fault and any(lamp not in (RED, FLASH) for lamp in self.lamps):
                    raise UnsafeError(f"{name}: into flash while somebody is not red")
            elif was == FLASH:
                if any(lamp != RED for lamp in lamps):
                    raise UnsafeError(f"{name}: out of flash not through all red")
            elif (was, now) == (GREEN, CHANGE):
                if self.age[i] * self.tick_ms < 1000 * m.min_green_s:
                    raise UnsafeError(f"{name}: short green")
            elif (was, now) == (CHANGE, RED):
                if abs(self.age[i] * self.tick_ms - 1000 * m.yellow_s) >= self.tick_ms:
                    raise UnsafeError(f"{name}: change of wrong length")
            elif (was, now) == (RED, GREEN):
                for j in range(count):
                    need = matrix[j][i]
                    if (
                        j != i
                        and need >= 0
                        and (lamps[j] != RED or self.tick_ms * self.ended[j] < need)
                    ):
                        other = plan.movement[j].name
                        raise UnsafeError(f"{name}: {other} ended {self.ended[j]} ticks ago")
            else:
                raise UnsafeError(f"{name}: no such change")
            self.age[i] = 0
        for i in range(count):
            for j in range(i):
                if matrix[i][j] >= 0 and {lamps[i], lamps[j]} <= {GREEN, CHANGE}:
                    raise UnsafeError(f"{plan.movement[i].name} and {plan.movement[j].name}")
        self.lamps = lamps


State = tuple[Any, ...]


def _ago(then: int | None, now_ms: int, cap: int) -> int:
    return -1 if then is None or then == -1 else min(cap, now_ms - then)


def save(controller: Controller, judge: Judge, cap: int, buttons: int, waits_cap: int = 0) -> State:
    """The state, hashable, with times as ages of at most `cap` ms, or less where less matters.

    Waits are kept up to `waits_cap` ms; with 0 nobody ever waits too long.
    """
    now = controller.now_ms
    kernel, sequencer, priority = controller.kernel, controller.sequencer, controller.priority
    closures = controller.closures
    waits_for_time = controller.mode in ("start", "red")
    return (
        tuple(kernel.aspect),
        tuple([min(cap, now - then) for then in kernel.since_ms]),
        kernel.fault,
        sequencer.calls,
        sequencer.walking,
        sequencer.closed,
        tuple(
            [
                (
                    ring.entry,
                    ring.gapped,
                    ring.green_ms >= 0,
                    _ago(ring.wait_ms, now, 6000),
                    _ago(ring.seen_ms, now, 2000),
                )
                for ring in sequencer.rings
            ]
        ),
        controller.detectors.on & buttons,
        priority.input,
        priority.spent,
        priority.active,
        now - priority.since_ms if priority.active >= 0 else 0,
        -1 if priority.active < 0 else _ago(priority.green_ms, now, 3000),
        controller.mode,
        min(now - controller.since_ms, cap) if waits_for_time else 0,
        _ago(controller.manual_ms, now, 0),
        controller.advance_was,
        tuple(closures.stage),
        tuple(closures.closed),
        tuple([_ago(then, now, cap) for then in closures.low_ms]),
        tuple([0 for _ in closures.heard_ms]),
        controller.waits.waiting,
        tuple([_ago(then, now, waits_cap) for then in controller.waits.since_ms]),
        controller.overdue,
        controller.pattern,
        judge.lamps,
        tuple([min(a, cap // 1000) for a in judge.age]),
        tuple([min(a, cap // 1000) for a in judge.ended]),
    )


def _then(ago: int, now_ms: int, none: Any) -> Any:
    return none if ago < 0 else now_ms - ago


def restore(controller: Controller, judge: Judge, state: State, now: int) -> None:
    """Put `state` back, as of `now` ms."""
    kernel, sequencer, priority = controller.kernel, controller.sequencer, controller.priority
    closures = controller.closures
    (
        aspect, since, kernel.fault, sequencer.calls, sequencer.walking, sequencer.closed, rings,
        controller.detectors.on, priority.input, priority.spent, priority.active, active_for,
        green_for, controller.mode, mode_for, manual_for, controller.advance_was, stage, closed,
        low, heard, controller.waits.waiting, waits, controller.overdue, controller.pattern,
        judge.lamps, age, ended,
    ) = state  # fmt: skip
    controller.now_ms = kernel.now_ms = now
    kernel.aspect = list(aspect)
    kernel.since_ms = [now - ago for ago in since]
    kernel.green = sum(1 << i for i, lamp in enumerate(aspect) if lamp == GREEN)
    kernel.change = sum(1 << i for i, lamp in enumerate(aspect) if lamp == CHANGE)
    for ring, (entry, gapped, is_green, wait, seen) in zip(sequencer.rings, rings, strict=True):
        ring.entry, ring.gapped = entry, gapped
        ring.green_ms = now if is_green else -1
        ring.wait_ms, ring.seen_ms = _then(wait, now, -1), _then(seen, now, -1)
    controller.detectors.changed_ms = [now] * len(controller.plan.detector)
    for recent in controller.detectors.changes:
        recent.clear()
    priority.since_ms = now - active_for
    priority.green_ms = _then(green_for, now, None)
    controller.since_ms = now - mode_for
    controller.manual_ms = _then(manual_for, now, None)
    controller.waits.since_ms = [_then(ago, now, -1) for ago in waits]
    controller.timing = controller.plan.timing(controller.pattern)
    controller._phases._shown = list(aspect)
    controller._phases._clearing = {}
    controller._phases._calls = sequencer.calls
    if controller.predictive is not None:
        controller.predictive._decided_ms = controller.predictive._paused_ms = None
        controller.predictive._target = None
    closures.stage, closures.closed = list(stage), list(closed)
    closures.low_ms = [_then(ago, now, None) for ago in low]
    closures.heard_ms = [now - ago for ago in heard]
    judge.age, judge.ended = list(age), list(ended)


@dataclass
class Report:
    """What was explored: states, transitions, and the longest wait of a call in seconds."""

    states: int = 0
    transitions: int = 0
    longest_wait_s: int = 0
    modes: set[str] = field(default_factory=set)
    greens: int = 0


Choice = tuple[Inputs, tuple[tuple[str, int], ...]]
"""Inputs of a second, and stages reported for sensors before it."""


class Puppet:
    """A planner that answers what it is told, sense or nonsense; an exception is raised."""

    def __init__(self, lanes: int) -> None:
        self.flow = [1.0] * lanes
        self.answer: Any = 0

    def choose(self, now_s: float, present: int, delays_s: Any, allowed: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def explore(
    plan: Plan,
    choices: list[Choice],
    *,
    cap_s: int = 3,
    wait_bound_s: int = 0,
    states_max: int = 200_000,
    answers: Sequence[Any] = (None,),
) -> Report:
    """Try every choice in every reachable state; UnsafeError with the path's last step.

    `answers` are what the planner may say in each state, where the plan has adaptive mode.

    With `wait_bound_s` the wait of every called movement is part of the state, and passing the
    bound is an error; only then use choices without preemption, flash or manual control.
    """
    cap = cap_s * 1000
    buttons = sum(1 << i for i, d in enumerate(plan.detector) if d.kind == "button")
    count = len(plan.movement)
    now_ms = 1_000_000
    controller, judge = Controller(plan, now_ms), Judge(plan)
    judge.see(tuple(controller.kernel.aspect), False)
    puppet = Puppet(count)
    if controller.predictive is not None:
        controller.predictive.planner = puppet
    waits_cap = controller.waits.bound_ms if wait_bound_s else 0
    every = [(inputs, stages, answer) for inputs, stages in choices for answer in answers]
    first = (save(controller, judge, cap, buttons, waits_cap), (0,) * count)
    seen = {first}
    queue = deque([first])
    report = Report()
    while queue:
        state, waits = queue.popleft()
        for inputs, stages, puppet.answer in every:
            restore(controller, judge, state, now_ms)
            for sensor, stage in stages:
                controller.report_stage(sensor, stage)
            before = judge.lamps
            output = controller.step(now_ms + TICK_MS, inputs)
            try:
                judge.see(output.lamps, output.mode == "fault")
            except UnsafeError as error:
                raise UnsafeError(f"{error}; lamps {before} to {output.lamps}, {inputs}") from None
            report.transitions += 1
            report.modes.add(output.mode)
            after = waits
            if wait_bound_s:
                calls = controller.sequencer.calls & ~controller.sequencer.lefts
                after = tuple(
                    waits[i] + 1
                    if calls >> i & 1 and output.lamps[i] != GREEN and output.mode == "plan"
                    else 0
                    for i in range(count)
                )
                report.longest_wait_s = max(report.longest_wait_s, *after)
                if max(after) > wait_bound_s:
                    raise UnsafeError(f"waited {after} s, bound {wait_bound_s} s")
            new = (save(controller, judge, cap, buttons, waits_cap), after)
            if new not in seen:
                seen.add(new)
                for i, lamp in enumerate(output.lamps):
                    if lamp == GREEN:
                        report.greens |= 1 << i
                queue.append(new)
                if len(seen) > states_max:
                    raise AssertionError(f"more than {states_max} states")
    report.states = len(seen)
    return report


def small(
    movements: dict[str, dict[str, Any]],
    conflicts: list[tuple[str, str, float, float]],
    entries: list[dict[str, Any]],
    red_max_s: float = 180.0,
    **more: Any,
) -> Plan:
    """A plan with short times, for exploration; `more` are further tables."""
    base = {
        "min_green_s": 2, "max_green_s": 5, "yellow_s": 2, "passage_s": 1, "gap_min_s": 1,
        "reduce_after_s": 1, "reduce_over_s": 1,
    }  # fmt: skip
    detectors = [
        {
            "name": f"d{name}",
            "movement": name,
            "kind": "button" if row.get("kind") == "pedestrian" else "stop",
            "stuck_s": 7200,
            "chatter_per_min": 600,
        }
        for name, row in movements.items()
        if row.get("kind") != "left_on_red"
    ]
    table: dict[str, Any] = {
        "junction": {
            "id": "small", "startup_flash_s": 1, "startup_red_s": 2, "watchdog_s": 2,
            "red_max_s": red_max_s,
        },
        "movement": [{"name": name, **base, **row} for name, row in movements.items()],
        "conflict": [
            {"between": [a, b], "clearance_s": [there, back]} for a, b, there, back in conflicts
        ],
        "entry": entries,
        "detector": detectors,
        **more,
    }  # fmt: skip
    return from_table(table, Path("small.toml"))
