"""Rolling-horizon scheduling of arriving vehicles over stages: which stage to show from now on.

Every decision rolls a few candidate plans forward over the vehicles that the lanes predict: keep
the present stage a little longer, or until it is empty, or change at once to one of the others;
afterwards stages follow in the order of vehicles served per second, each until its queue is gone.
The plan with the least total delay wins and only its first step is taken. That is the idea of
schedule-driven control (Xie, Smith and Barlow 2012) with the service-rate order of Lämmer and
Helbing (2008) as base policy.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from gateway.atcs.adaptive.arrivals import Lane

HORIZON_S = 35.0
STARTUP_S = 1.5
GAP_S = 4.0
VISITS_MAX = 16
INFINITE = float("inf")


@dataclass(slots=True)
class Stage:
    """A set of links green together, and what it does for each lane."""

    mask: int
    serves: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    """(lane index, prior service rate in vehicles a second)."""
    partial: set[int] = field(default_factory=set[int])
    """Lanes of which only some links are green here and all are in another stage: such a stage
    moves them only while their head is known to want a link that is green."""
    yields: set[int] = field(default_factory=set[int])
    """Lanes that must give way to somebody in this stage."""
    after: list[list[float]] = field(default_factory=list[list[float]])
    """after[k][n]: seconds from the end of stage k to the first departure of the n-th lane served;
    negative if it is green in both and just goes on."""


@dataclass(slots=True)
class Tuning:
    """Constants of the decision; one set for every junction."""

    change_s: float = 3.0
    min_green_s: float = 5.0
    max_green_s: float = 70.0
    horizon_s: float = HORIZON_S
    gap_s: float = GAP_S
    startup_s: float = STARTUP_S
    full_weight: float = 2.0
    stop_s: float = 3.0
    """What one stop costs over the wait itself: braking and getting up to speed."""
    phantom_s: float = 4.0
    hidden_max: float = 12.0


class Planner:
    """Chooses a stage each second; owns no lamp and no clock."""

    def __init__(self, lanes: Sequence[Lane], stages: Sequence[Stage], tuning: Tuning) -> None:
        self.lanes = lanes
        self.stages = stages
        self.tuning = tuning
        for s, stage in enumerate(stages):
            if len(stage.after) != len(stages):
                raise ValueError(f"stage {s} does not say how it follows the others")
        self.blocked: set[int] = set()
        """Lanes whose head stands although its links are green."""
        self.turning: set[int] = set()
        """Lanes whose head was last seen giving way in vain: it wants a protected turn."""
        self.flow: list[float] = [1.0] * len(lanes)
        """Per lane, 0..1: what the lanes downstream can still take."""
        self._setup = [
            [tuning.change_s if before.mask & ~stage.mask else 0.5 for stage in stages]
            for before in stages
        ]
        self._times: list[list[float]] = []
        self._sizes: list[list[float]] = []
        self._sums: list[list[float]] = []
        self._weights: list[float] = []
        self._headways: list[list[tuple[int, int, float]]] = []

    def rate(self, s: int, lane: int, prior: float) -> float:
        """Vehicles a second that `lane` is expected to discharge in stage `s`."""
        stage = self.stages[s]
        rate = self.lanes[lane].service.get(s, prior) * self.flow[lane]
        if lane in stage.partial:
            return rate * 0.6 if lane in self.turning and lane not in stage.yields else 0.02
        if lane in self.turning:
            if lane in stage.yields:
                rate *= 0.2
        elif lane in self.blocked:
            rate *= 0.2
        return max(0.02, rate)

    def prepare(self, now_s: float) -> None:
        """Lay out the known and the expected arrivals of every lane, relative to `now_s`."""
        tuning = self.tuning
        self._times, self._sizes, self._sums, self._weights = [], [], [], []
        for lane in self.lanes:
            times = [0.0 if eta <= now_s else eta - now_s for eta in lane.etas]
            times.sort()
            if lane.hidden:
                times[:0] = [0.0] * round(min(lane.hidden, tuning.hidden_max))
            sizes = [1.0] * len(times)
            quantum = lane.arrival_rate * tuning.phantom_s
            if quantum > 0.002:
                t = lane.travel_s + 0.5 * tuning.phantom_s
                count = int((tuning.horizon_s - t) / tuning.phantom_s)
                times += [t + tuning.phantom_s * k for k in range(count)]
                sizes += [quantum] * count
            self._times.append(times)
            self._sizes.append(sizes)
            self._sums.append(list(accumulate(sizes, initial=0.0)))
            self._weights.append(tuning.full_weight if lane.is_full else 1.0)
        self._headways = []
        for s, stage in enumerate(self.stages):
            rows: list[tuple[int, int, float]] = []
            for n, (lane, prior) in enumerate(stage.serves):
                if self._times[lane]:
                    headway = 1.0 / self.rate(s, lane, prior)
                    if headway < 16.0:
                        rows.append((n, lane, headway))
            self._headways.append(rows)

    def choose(
        self, now_s: float, present: int, delays_s: Sequence[float], allowed: Sequence[int]
    ) -> int:
        """The stage to show from now: `present`, or another of `allowed`.

        `delays_s[s]` is how long the kernel would yet hold the greens that stage s must end.
        """
        if not any(lane.vehicles or lane.etas for lane in self.lanes):
            return present
        self.prepare(now_s)
        count = len(self.lanes)
        fresh = [0] * count
        # A standing vehicle under green leaves one headway from now at the earliest.
        ready = [-9.0] * count
        for _, lane, headway in self._headways[present]:
            if self.lanes[lane].is_green:
                ready[lane] = -0.5 * headway
        best, best_cost = present, INFINITE
        # Stay: a moment, or until empty.
        for hold in (2.0, 5.0, 9.0, -1.0):
            pointers, last = fresh[:], ready[:]
            cost, end = self._visit(present, present, 0.0, pointers, last, hold)
            if end < 1.0 or cost >= best_cost:
                # Empty already: going on would be to decide nothing, second after second.
                continue
            best_cost = min(best_cost, self._rest(present, end, pointers, last, cost, best_cost))
        for s in allowed:
            if s == present or not self._headways[s]:
                continue
            pointers, last = fresh[:], ready[:]
            cost, end = self._visit(s, present, delays_s[s], pointers, last, -1.0)
            if cost >= best_cost:
                continue
            cost = self._rest(s, end, pointers, last, cost, best_cost)
            if cost < best_cost:
                best, best_cost = s, cost
        return best

    def _visit(
        self,
        s: int,
        before: int,
        t: float,
        pointers: list[int],
        last: list[float],
        hold: float,
    ) -> tuple[float, float]:
        """Serve stage `s` from `t`, after stage `before`; (weighted delay, time it ends).

        Until its lanes are empty if `hold` is negative, else for `hold` seconds. `pointers` (next
        vehicle of each lane) and `last` (its previous departure) are moved on.
        """
        tuning = self.tuning
        stage = self.stages[s]
        rows = self._headways[s]
        mask = self.stages[before].mask
        begin = t + tuning.change_s if mask & ~stage.mask else t
        after = stage.after[before]
        minimum = begin + tuning.min_green_s if stage.mask & ~mask else t
        maximum = begin + tuning.max_green_s
        end = minimum
        all_times, all_sizes = self._times, self._sizes
        if hold >= 0.0:
            end = maximum = t + hold
        else:
            gap = tuning.gap_s
            clears: list[tuple[float, float]] = []
            early = 0.0
            for n, lane, headway in rows:
                times = all_times[lane]
                p = pointers[lane]
                size = len(times)
                if p >= size:
                    continue
                sizes = all_sizes[lane]
                at = last[lane] if after[n] < 0.0 else t + after[n] - headway
                served = 0.0
                while p < size:
                    eta = times[p]
                    step = sizes[p]
                    then = at + headway * step
                    if eta > then:
                        if eta > end and (eta > then + gap or step < 1.0):
                            break
                        then = eta
                    at = then
                    served += step
                    p += 1
                    if at > maximum:
                        break
                if at > end:
                    clears.append((at if at < maximum else maximum, served))
                elif served:
                    early += served
            if clears:
                end = _best_end(t, begin, minimum, early, clears)
        cost = 0.0
        stop_s = tuning.stop_s
        for n, lane, headway in rows:
            times = all_times[lane]
            p = pointers[lane]
            size = len(times)
            if p >= size:
                continue
            sizes = all_sizes[lane]
            at = last[lane] if after[n] < 0.0 else t + after[n] - headway
            delay = 0.0
            while p < size:
                eta = times[p]
                step = sizes[p]
                go = at + headway * step
                if eta > go:
                    go = eta
                if go > end:
                    break
                if go > eta:
                    delay += (go - eta) * step
                    if eta > 0.0 and go > eta + 1.0:
                        delay += stop_s * step
                at = go
                p += 1
            pointers[lane] = p
            last[lane] = at
            cost += self._weights[lane] * delay
        return cost, end

    def _rest(
        self,
        s: int,
        t: float,
        pointers: list[int],
        last: list[float],
        total: float,
        bound: float,
    ) -> float:
        """`total` and the delay of what stage `s` left at `t`, most vehicles a second first.

        Anything not below `bound` may be returned as soon as it is known to be so.
        """
        tuning = self.tuning
        minimum = tuning.min_green_s
        for _ in range(VISITS_MAX):
            if t > tuning.horizon_s:
                break
            if total >= bound:
                return total
            best, best_rate = -1, 0.0
            setups = self._setup[s]
            waiting = [
                sums[bisect_right(times, t + 4.0)] - sums[p]
                for times, sums, p in zip(self._times, self._sums, pointers, strict=True)
            ]
            for k, rows in enumerate(self._headways):
                if k == s:
                    continue
                count = 0.0
                needs: list[tuple[float, float]] = []
                for _, lane, headway in rows:
                    queue = waiting[lane]
                    if queue > 0.0:
                        queue_s = queue * headway
                        queue *= self._weights[lane]
                        count += queue
                        needs.append((queue_s, queue))
                if not needs or count <= best_rate * (setups[k] + minimum):
                    continue
                rate = _best_rate(setups[k], minimum, needs)
                if rate > best_rate:
                    best, best_rate = k, rate
            if best < 0:
                t += 2.0
                continue
            cost, t = self._visit(best, s, t, pointers, last, -1.0)
            total += cost
            s = best
        # Whoever is left waits at least until a next change.
        t = max(t, 0.0) + tuning.change_s + tuning.min_green_s
        serving = {lane for lane, _ in self.stages[s].serves}
        for lane, times in enumerate(self._times):
            p = pointers[lane]
            if p >= len(times) or lane in serving:
                continue
            sizes = self._sizes[lane]
            weight = self._weights[lane]
            go = t
            for eta, size in zip(times[p:], sizes[p:], strict=True):
                if go > eta:
                    total += weight * size * (go - eta + (tuning.stop_s if eta > 0.0 else 0.0))
                    go += 2.0 * size
        return total


def _best_end(
    t: float, begin: float, minimum: float, early: float, clears: list[tuple[float, float]]
) -> float:
    """When to end a visit that starts at `t`: where most vehicles a second have been served.

    `clears` has for every lane the time it is empty and the vehicles served until then; `early`
    vehicles of other lanes are through before `minimum`.
    """
    clears.sort()
    best, best_rate = minimum, 0.0
    for end, _ in clears:
        count = early
        for clear, served in clears:
            if clear <= end:
                count += served
            else:
                count += served * max(0.0, end - begin) / max(0.1, clear - begin)
        rate = count / (end - t + 0.1)
        if rate >= best_rate:
            best, best_rate = end, rate
    return best


def _best_rate(setup: float, minimum: float, needs: list[tuple[float, float]]) -> float:
    """Most vehicles a second that a visit can serve; `needs` are (seconds, vehicles) by lane."""
    best = 0.0
    for end, _ in needs:
        if end < minimum:
            end = minimum
        count = 0.0
        for need, waiting in needs:
            count += waiting if need <= end else waiting * end / need
        rate = count / (setup + end)
        if rate > best:
            best = rate
    return best
