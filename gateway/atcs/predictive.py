"""Adaptive mode: the planner's choice of a stage, from what a cabinet can sense.

Stages are the sets of entries that may run side by side. This module counts vehicles between the
detectors, asks `gateway.atcs.adaptive.planner` once a second and passes its answer on only if it
is one of those allowed. Minimum greens, pedestrians, clearances, maximum greens, splits and the
bound on every wait are kept elsewhere, so an answer, however wrong, costs time and never safety.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Protocol

from gateway.atcs import events as e
from gateway.atcs.adaptive.arrivals import Lane
from gateway.atcs.adaptive.planner import Planner, Stage, Tuning
from gateway.atcs.checks import change_s
from gateway.atcs.coordination import Coordinator
from gateway.atcs.detectors import Detectors
from gateway.atcs.kernel import GREEN, Kernel
from gateway.atcs.plan import LEFT, PEDESTRIAN, Plan
from gateway.atcs.sensing import Approach
from gateway.atcs.sequencer import Sequencer

STARTUP_S = 1.5
DECIDE_MS = 1000
PAUSE_MS = 60_000
"""After an exception the planner is not asked for so long; actuation takes over."""
STAGES_MAX = 64
_JAMMED = 0.1
_STRANGE_MAX = 10

Log = Callable[[int, int, str], None]


class Chooser(Protocol):
    """What adaptive mode needs of a planner."""

    flow: list[float]

    def choose(
        self, now_s: float, present: int, delays_s: Sequence[float], allowed: Sequence[int]
    ) -> int:
        """The stage to show from now: `present`, or another of `allowed`."""
        ...


class Predictive:
    """Counts, and asks the planner. `observe` every tick, `decide` whenever a stage runs."""

    def __init__(self, plan: Plan, sequencer: Sequencer) -> None:
        self.plan = plan
        self._sequencer = sequencer
        self.stages = _combinations(plan, sequencer)
        """Per stage the entry of every ring."""
        self._index = {stage: s for s, stage in enumerate(self.stages)}
        self._movements = [i for i, m in enumerate(plan.movement) if m.kind != LEFT]
        self.approaches = [Approach(plan, i) for i in self._movements]
        self.lanes: list[Lane] = [approach.lane for approach in self.approaches]
        self._peds = sequencer.peds
        masks = [self._mask(stage) for stage in self.stages]
        self.planner: Chooser = Planner(
            self.lanes,
            [self._stage(mask, masks) for mask in masks],
            Tuning(
                change_s=max(3.0, sum(change_s(plan, x) for x in plan.entry) / len(plan.entry)),
                min_green_s=min(m.min_green_s for m in plan.movement),
                max_green_s=max(m.max_green_s for m in plan.movement),
            ),
        )
        self.failures = 0
        self.strange = 0
        """Answers in a row that were not allowed."""
        self._decided_ms: int | None = None
        self._paused_ms: int | None = None
        self._target: tuple[int, ...] | None = None

    def _mask(self, stage: tuple[int, ...]) -> int:
        result = 0
        for entry in stage:
            result |= self._sequencer.masks[entry]
        return result

    def _stage(self, mask: int, masks: Sequence[int]) -> Stage:
        stage = Stage(mask)
        for n, i in enumerate(self._movements):
            if mask >> i & 1:
                m = self.plan.movement[i]
                walks = m.kind == PEDESTRIAN
                rate = 1.0 if walks else m.saturation_vphpl / 3600.0 * max(1, m.lanes)
                stage.serves.append((n, rate))
        for before in masks:
            stage.after.append([self._start_s(before, mask, n) for n, _ in stage.serves])
        return stage

    def _start_s(self, before: int, mask: int, lane: int) -> float:
        """Seconds from leaving `before` to the first departure of `lane`; negative: goes on."""
        i = self._movements[lane]
        if before >> i & 1:
            return -1.0
        longest = 0.0
        for j, m in enumerate(self.plan.movement):
            clearance = self.plan.clearance_ms[j][i]
            if before & ~mask & 1 << j and clearance >= 0:
                longest = max(longest, m.yellow_s + clearance / 1000.0)
        return longest + STARTUP_S

    def announce(self, movement: int, eta_ms: int, vehicles: int) -> None:
        """A neighbour let `vehicles` go that reach our stop bar at `eta_ms`."""
        for n, i in enumerate(self._movements):
            if i == movement:
                self.approaches[n].announce(eta_ms, vehicles)

    def observe(self, now_ms: int, kernel: Kernel, detectors: Detectors, on: int) -> None:
        """Count what this tick's detectors say; `on` is the raw input."""
        calls = self._sequencer.calls
        for n, approach in enumerate(self.approaches):
            i = self._movements[n]
            green = kernel.aspect[i] == GREEN
            approach.see(now_ms, on, detectors.counts, green, bool(calls >> i & 1))
            self.planner.flow[n] = _JAMMED if detectors.blocked >> i & 1 else 1.0

    def decide(
        self, now_ms: int, kernel: Kernel, coordinator: Coordinator | None, log: Log
    ) -> tuple[int, ...] | None:
        """The entries to go to, which may be those of now; None if actuation has to decide."""
        present = tuple(ring.entry for ring in self._sequencer.rings)
        if self._paused_ms is not None:
            if now_ms - self._paused_ms < PAUSE_MS:
                return None
            self._paused_ms = None
        if any(ring.green_ms < 0 for ring in self._sequencer.rings) or present not in self._index:
            self._target = None
            return None
        if self._decided_ms is not None and 0 <= now_ms - self._decided_ms < DECIDE_MS:
            return self._still(present, coordinator)
        self._decided_ms = now_ms
        allowed = [
            s for s, stage in enumerate(self.stages) if self._allowed(stage, present, coordinator)
        ]
        if not allowed:
            self._target = present
            return present
        s = self._index[present]
        try:
            answer: object = self._ask(now_ms, kernel, s, allowed)
        except Exception as error:  # noqa: BLE001  the planner only advises: whatever broke in it
            self.failures += 1
            self._paused_ms = now_ms
            self._target = None
            log(e.ALARM, 0, f"adaptive: {type(error).__name__}: {error}; actuated for a minute")
            return None
        if type(answer) is not int or (answer != s and answer not in allowed):
            self.strange += 1
            if self.strange == _STRANGE_MAX:
                log(e.ALARM, 0, f"adaptive: {_STRANGE_MAX} answers were no stage")
            self._target = None
            return None
        self.strange = 0
        self._target = self.stages[answer]
        return self._target

    def _ask(self, now_ms: int, kernel: Kernel, present: int, allowed: Sequence[int]) -> object:
        now_s = now_ms / 1000.0
        delays: list[float] = []
        for stage in self.stages:
            held = 0
            bits = kernel.green & ~self._mask(stage) & ~self._sequencer.lefts
            while bits:
                low = bits & -bits
                bits ^= low
                i = low.bit_length() - 1
                held = max(held, kernel.groups[i].min_green_ms - kernel.elapsed_ms(i))
            delays.append(held / 1000.0)
        for n, approach in enumerate(self.approaches):
            green = kernel.aspect[self._movements[n]] == GREEN
            approach.settle(now_ms, green)
        return self.planner.choose(now_s, present, delays, allowed)

    def _still(
        self, present: tuple[int, ...], coordinator: Coordinator | None
    ) -> tuple[int, ...] | None:
        """The last answer, as long as it is allowed."""
        target = self._target
        if target is None or target == present or self._allowed(target, present, coordinator):
            return target
        return None

    def _allowed(
        self, stage: tuple[int, ...], present: tuple[int, ...], coordinator: Coordinator | None
    ) -> bool:
        """True if somebody waits for the change to `stage` and the pattern lets it happen now."""
        wanted = False
        for ring, to, now in zip(self._sequencer.rings, stage, present, strict=True):
            if to == now:
                continue
            if not self._sequencer.open_mask(to):
                return False
            if coordinator is not None:
                if now == coordinator.coordinated and ring.force_left_ms > 0:
                    return False
                if not self._sequencer.called(to, coordinator):
                    return False
            wanted |= self._sequencer.called(to, coordinator)
        return wanted


def _combinations(plan: Plan, sequencer: Sequencer) -> list[tuple[int, ...]]:
    """Every set of entries, one a ring, of the same barrier group; rings without one stay out."""
    result: list[tuple[int, ...]] = []
    for barrier in sequencer.barriers:
        rows = [
            [i for i in ring.order if plan.entry[i].barrier == barrier] for ring in sequencer.rings
        ]
        if all(rows):
            result += [stage for stage in product(*rows) if stage not in result]
    return result[:STAGES_MAX]
