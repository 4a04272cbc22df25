"""The adaptive controller for one SUMO junction: `controller(spec)`, then `step` once a second.

    control = controller(spec)
    state = control.step(t_s, observations)      # a SUMO state string, one character a link

Phases, clearances and limits come from the spec alone (docs/atcs.md has its format): the stages
are the native green states and every larger set of links that the foes allow; yellow 3 s, minimum
green 5 s, no red over 180 s. `gateway.atcs.kernel.Kernel` stands between the decisions and the
state string, so no decision, however wrong, can show two conflicting greens or a short yellow.
"""

import math
from collections.abc import Sequence
from typing import Any

from gateway.atcs.adapters.native import group, right_of_way
from gateway.atcs.adapters.spec import (
    LENGTH_M,
    SPEED_MPS,
    filled,
    junction,
    observations_by_lane,
    sensed,
)
from gateway.atcs.adaptive.arrivals import Lane, Sensed
from gateway.atcs.adaptive.planner import Planner, Stage, Tuning
from gateway.atcs.adaptive.stages import derive
from gateway.atcs.kernel import CHANGE, COMPATIBLE, GREEN, Group, Kernel

YELLOW_S = 3.0
MIN_GREEN_S = 5.0
RED_S_MAX = 180.0
MIN_RED_MS = 1000
CLEARANCE_S = 0.0
SATURATION_VPS = 0.52
"""Vehicles a second from one lane with a standing queue: 1,870 an hour."""

_YIELDING = 0.45
_ON_RED = 0.3
_SHARED = 0.4
_STANDS_S = 4.0
_GAP_TAKEN_S = 4
_LEARN_FROM_MS = 3000
_JAM_MS = 7000
_TURN_MEMORY_S = 20.0
_JAM_MEMORY_S = 120.0
"""How long after signs of a jam inside turners are let out before cross traffic enters."""

_RED_MARGIN_S = 11.0
_DETOUR_S = 9.0
"""What one more stage in between costs at least."""

_EMPTY = Sensed()


class Controller:
    """One junction's adaptive controller; `step` is its whole interface."""

    def __init__(self, spec: Any, tuning: Tuning | None = None) -> None:
        self.spec, self.groups = group(junction(spec))
        self.tuning = tuning or Tuning(change_s=YELLOW_S, min_green_s=MIN_GREEN_S)
        known = self.spec
        lane_names = list(known.links_of)
        lane_masks = [known.links_of[name] for name in lane_names]
        self.stages, allowed = derive(known.count, known.foes, known.states, lane_masks)
        self._minor, self._priority = right_of_way(known)
        # Turns on red: their lanes move in every stage, after a stop and giving way to all.
        self._arrows = 0
        for link, at in enumerate(self.groups.of_link):
            if at >= 0 and self.groups.rest[link] == "s":
                self._arrows |= 1 << at
        self.lanes = [
            Lane(
                name,
                known.lengths_m.get(name, LENGTH_M),
                known.speeds_mps.get(name, SPEED_MPS),
                guesses=True,
            )
            for name in lane_names
        ]
        self._lane_masks = lane_masks
        limits = Group(round(MIN_GREEN_S * 1000), round(YELLOW_S * 1000), MIN_RED_MS)
        clearance = [
            [
                COMPATIBLE if i == j or allowed[i] >> j & 1 else round(1000 * CLEARANCE_S)
                for j in range(known.count)
            ]
            for i in range(known.count)
        ]
        self.kernel = Kernel([limits] * known.count, clearance, 0, step_ms_max=1 << 40)
        stages = [self._stage(mask) for mask in self.stages]
        for stage in stages:
            stage.after = [
                [self._start_s(before, stage.mask, lane) for lane, _ in stage.serves]
                for before in self.stages
            ]
        self.planner = Planner(self.lanes, stages, self.tuning)
        self._priors = [dict(stage.serves) for stage in stages]
        self._out_of_lane = [
            sorted({out for i in range(known.count) if mask >> i & 1 for out in known.out_lanes[i]})
            for mask in lane_masks
        ]
        self.target = 0
        self._turned: set[int] = set()
        self._quiet = [0] * len(lane_names)
        self._started = False
        self._last_s = 0.0
        self.faults = 0
        self._jam_until_s = -1.0

    def _start_s(self, before: int, mask: int, lane: int) -> float:
        """Seconds from leaving `before` for `mask` to the first departure of `lane`."""
        links = self._lane_masks[lane] & mask
        if links & ~before == 0 or not self._lane_masks[lane] & ~self._arrows:
            return -1.0
        ending = before & ~mask
        for i in range(self.spec.count):
            if links >> i & 1 and self.kernel.conflicts[i] & ending:
                return YELLOW_S + self.tuning.startup_s
        return self.tuning.startup_s

    def _stage(self, mask: int) -> Stage:
        """What a stage does for each lane before anything has been learned about it."""
        serves: list[tuple[int, float]] = []
        yields: set[int] = set()
        partial: set[int] = set()
        sizes = [self.groups.of_link.count(i) for i in range(self.spec.count)]
        for lane, links in enumerate(self._lane_masks):
            green = links & mask or (0 if links & ~self._arrows else links)
            if not green or self.lanes[lane].name.startswith(":"):
                continue
            if green != links and any(links & ~whole == 0 for whole in self.stages):
                # The first vehicle for a red link blocks the lane: no stage for it.
                partial.add(lane)
            rate = SATURATION_VPS
            share = 0.0
            for i in range(self.spec.count):
                if green >> i & 1:
                    if not mask >> i & 1:
                        share += _ON_RED * sizes[i]
                        yields.add(lane)
                    elif self._minor[i] & mask:
                        share += _YIELDING * sizes[i]
                        yields.add(lane)
                    else:
                        share += sizes[i]
            counted = green if lane in partial else links
            share /= sum(sizes[i] for i in range(self.spec.count) if counted >> i & 1)
            if green != links and lane not in partial:
                share *= _SHARED
            serves.append((lane, rate * share))
        return Stage(mask, serves, partial, yields)

    def step(self, t_s: float, observations: Any) -> str:
        """Take the last second's observations at `t_s`; return the state to show from now on.

        Never raises: with a time that is no time one second has passed, and observations that
        cannot be read leave the decision as it was; `faults` counts both.
        """
        try:
            now_s = float(t_s)
            if not math.isfinite(now_s) or (self._started and now_s < self._last_s):
                raise ValueError(f"the time is {t_s}, after {self._last_s}")
        except (TypeError, ValueError, OverflowError):
            self.faults += 1
            now_s = self._last_s + 1.0
        now_ms = round(now_s * 1000)
        fresh = not self._started
        if fresh:
            self._started = True
            self.kernel.restart(now_ms)
            self._last_s = now_s - 1.0
        try:
            self._observe(now_s, observations)
        except Exception:  # noqa: BLE001
            # Whatever the caller handed over, the junction goes on with what it knew.
            self.faults += 1
            self._last_s = now_s
        if fresh:
            self.target = self._first()
        else:
            # Advance changes that are due before deciding, so that the decision sees them.
            self.kernel.step(now_ms, self.stages[self.target])
            if self._settled():
                choice = self._decide(now_s)
                if choice != self.target:
                    if self._overdue(_DETOUR_S) < 0:
                        choice = self._clearing(choice)
                    self._turned.clear()
                self.target = choice
        self.kernel.step(now_ms, self.stages[self.target])
        return self._state()

    def _clearing(self, choice: int) -> int:
        """A stage that lets turners out of the junction before `choice`, if any may be inside."""
        present, after = self.stages[self.target], self.stages[choice]
        inside = 0
        for n in self._turned:
            for i in range(self.spec.count):
                if self._lane_masks[n] & present & ~after & 1 << i and self._minor[i] & present:
                    inside |= 1 << i
        if not inside or self._last_s > self._jam_until_s:
            return choice
        best, score = choice, 0
        for s, mask in enumerate(self.stages):
            held = inside & mask
            if s in (choice, self.target) or any(
                held >> i & 1 and self._minor[i] & mask for i in range(self.spec.count)
            ):
                continue
            gain = held.bit_count() * 100 + (mask & present).bit_count()
            if held and gain > score:
                best, score = s, gain
        return best

    def _observe(self, t_s: float, observations: Any) -> None:
        lanes, outs = observations_by_lane(observations)
        dt_s = max(0.1, t_s - self._last_s)
        self._last_s = t_s
        green = self.kernel.green
        learning = dt_s <= 1.5 and not self.kernel.change
        priors = self._priors[self.target]
        departed = 0
        for n, lane in enumerate(self.lanes):
            seen = sensed(lanes, lane.name)
            if seen is None:
                seen = _EMPTY
            links = self._lane_masks[n] & green
            prior = priors.get(n)
            queued = lane.halting or lane.occupied
            known = learning and queued and self._shown_ms(links) >= _LEARN_FROM_MS
            if known and prior is not None:
                lane.learn(self.target, prior, seen.departures, 0.5)
            lane.observe(t_s, seen, dt_s)
            if seen.departures:
                departed |= self._lane_masks[n]
            links &= self.kernel.green
            lane.is_green = links != 0 and links == self._lane_masks[n]
            self._judge(n, links, seen)
            worst = 1.0
            for out in self._out_of_lane[n]:
                full = filled(outs, out)
                if full is not None:
                    worst = min(worst, _downstream(full))
            self.planner.flow[n] = worst
        self._follow_turners(departed)

    def _shown_ms(self, links: int) -> int:
        """How long all of `links` have shown what they show; long if there are none."""
        return min(
            (self.kernel.elapsed_ms(i) for i in range(self.spec.count) if links >> i & 1),
            default=1 << 30,
        )

    def _follow_turners(self, departed: int) -> None:
        """Who gave way may still be inside until the others left a gap; `departed`: links."""
        stage = self.stages[self.target]
        for n in self.planner.stages[self.target].yields:
            against = 0
            for i in range(self.spec.count):
                if self._lane_masks[n] & stage & 1 << i:
                    against |= self._minor[i] & stage
            if departed & against:
                self._quiet[n] = 0
            else:
                self._quiet[n] += 1
            if departed & self._lane_masks[n] and self._quiet[n] < _GAP_TAKEN_S:
                self._turned.add(n)
            elif self._quiet[n] >= _GAP_TAKEN_S:
                self._turned.discard(n)

    def _judge(self, n: int, links: int, seen: Sensed) -> None:
        """Learn from a head that stands under green: is the lane blocked, does it want a turn?"""
        planner = self.planner
        stage = planner.stages[self.target]
        if seen.departures or not seen.vehicles:
            planner.turning.discard(n)
        planner.blocked.discard(n)
        if not links or self.kernel.change:
            return
        green_ms = self._shown_ms(links)
        if seen.wait_s <= _STANDS_S or green_ms <= _STANDS_S * 1000:
            return
        # Turners who wait, or somebody with priority who cannot go: some may be stuck inside.
        if n in stage.yields:
            planner.turning.add(n)
            self._jam_until_s = max(self._jam_until_s, self._last_s + _TURN_MEMORY_S)
        elif planner.flow[n] == 1.0 and green_ms > _JAM_MS:
            self._jam_until_s = self._last_s + _JAM_MEMORY_S
        if n not in stage.yields and n in planner.turning:
            # It did not go in its own stage either.
            planner.turning.discard(n)
        if links == self._lane_masks[n]:
            planner.blocked.add(n)

    def _first(self) -> int:
        load = [
            sum(self.lanes[lane].vehicles + 0.01 for lane, _ in stage.serves)
            for stage in self.planner.stages
        ]
        return load.index(max(load))

    def _settled(self) -> bool:
        stage = self.stages[self.target]
        return not self.kernel.change and self.kernel.green & stage == stage

    def _decide(self, t_s: float) -> int:
        forced = self._overdue()
        if forced >= 0:
            return forced if self._delay_s(forced) <= 0.0 else self.target
        delays = [self._delay_s(s) for s in range(len(self.stages))]
        if all(delay > 0.0 for s, delay in enumerate(delays) if s != self.target):
            return self.target
        choice = self.planner.choose(t_s, self.target, delays, range(len(self.stages)))
        if choice != self.target and delays[choice] > 0.0:
            return self.target
        return choice

    def _delay_s(self, s: int) -> float:
        """How long the kernel would yet hold a green that stage `s` must end."""
        bits = self.kernel.green & ~self.stages[s]
        held = 0
        while bits:
            low = bits & -bits
            bits ^= low
            held = max(
                held, round(MIN_GREEN_S * 1000) - self.kernel.elapsed_ms(low.bit_length() - 1)
            )
        return held / 1000.0

    def _overdue(self, spent_s: float = 0.0) -> int:
        """The stage that must come now so that no link stays red too long; -1 if none must.

        Links in order of their deadline, each served by the stage that covers most of the others:
        if any would be late after one more second of the present stage, or `spent_s` more, its turn
        has come.
        """
        red: list[tuple[float, int]] = []
        for i in range(self.spec.count):
            if not self.kernel.green >> i & 1:
                red.append((RED_S_MAX - _RED_MARGIN_S - self.kernel.elapsed_ms(i) / 1000.0, i))
        red.sort()
        pending = 0
        for _, i in red:
            pending |= 1 << i
        at = 1.0 + YELLOW_S + spent_s
        first = -1
        for left, i in red:
            if not pending >> i & 1:
                continue
            if left > RED_S_MAX / 2:
                break
            best, most = -1, -1
            for s, mask in enumerate(self.stages):
                if mask >> i & 1:
                    gain = (mask & pending).bit_count()
                    if gain > most:
                        best, most = s, gain
            if first < 0:
                first = best
            if left <= at:
                return first
            pending &= ~self.stages[best]
            at += YELLOW_S + MIN_GREEN_S + 1.0
        return -1

    def _state(self) -> str:
        green = self.kernel.green
        chars: list[str] = []
        for i, shown in enumerate(self.kernel.aspect):
            if shown == GREEN:
                major = self._priority >> i & 1 and not self._minor[i] & green
                chars.append("G" if major else "g")
            elif shown == CHANGE:
                chars.append("y")
            else:
                chars.append("r")
        return self.groups.expand(chars)


def _downstream(vehicles_50m: float) -> float:
    """Share of the saturation flow that the first 50 m of an out lane can take."""
    if vehicles_50m >= 6.0:
        return 0.1
    if vehicles_50m >= 5.0:
        return 0.5
    return 1.0


def controller(spec: Any) -> Controller:
    """A controller for the junction of `spec`; raises ValueError if none can be made of it."""
    return Controller(spec)


__all__: Sequence[str] = ("Controller", "controller")
