"""Is a plan safe, and does it work? `check(plan)` answers with findings that name the numbers.

REFUSED findings are those that a cabinet must not run; ADVICE is what an engineer should know.
"""

from dataclasses import dataclass
from itertools import combinations

from gateway.atcs.plan import DAYS, LEFT, PEDESTRIAN, VEHICLE, Entry, Movement, Plan, Timing
from gateway.atcs.timing import (
    LOST_S,
    YELLOW_S_MAX,
    pedestrian_clearance_s,
    red_clearance_s,
    webster_cycle_s,
    webster_greens_s,
    yellow_s,
)

REFUSED, ADVICE = "refused", "advice"
_ROUND_S = 0.05
"""Published tables round to a tenth; half of one is not a fault."""
_WALK_S_MIN = 4.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing; `where` is the key in the plan file."""

    level: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.text}"


def check(plan: Plan) -> list[Finding]:
    """All findings, refusals first."""
    findings: list[Finding] = []
    for movement in plan.movement:
        findings += _movement(movement)
    findings += _conflicts(plan)
    findings += _entries(plan)
    for timing in plan.plan:
        findings += _timing(plan, timing)
    findings += _waits(plan)
    findings += _specials(plan)
    findings += _load(plan)
    return sorted(findings, key=lambda finding: finding.level != REFUSED)


def refusals(plan: Plan) -> list[Finding]:
    """Only what forbids to run the plan."""
    return [finding for finding in check(plan) if finding.level == REFUSED]


def _movement(m: Movement) -> list[Finding]:
    where = f"movement.{m.name}"
    found: list[Finding] = []

    def refuse(key: str, text: str) -> None:
        found.append(Finding(REFUSED, f"{where}.{key}", text))

    if m.kind == PEDESTRIAN:
        need = pedestrian_clearance_s(m.crossing_m, m.walk_mps)
        if m.yellow_s < need - _ROUND_S:
            refuse(
                "yellow_s",
                f"flashing don't walk of {m.yellow_s:g} s is shorter than {need:.1f} s "
                f"({m.crossing_m:g} m at {m.walk_mps:g} m/s)",
            )
        if m.min_green_s < _WALK_S_MIN:
            refuse("min_green_s", f"walk of {m.min_green_s:g} s is shorter than {_WALK_S_MIN:g} s")
        return found
    need = yellow_s(m.speed_kmh, m.grade_percent)
    if m.yellow_s < need - _ROUND_S:
        refuse(
            "yellow_s",
            f"{m.yellow_s:g} s is shorter than {need:.1f} s (ITE: {m.speed_kmh:g} km/h, grade "
            f"{m.grade_percent:g} %)",
        )
    if m.yellow_s > YELLOW_S_MAX:
        refuse("yellow_s", f"{m.yellow_s:g} s is longer than {YELLOW_S_MAX:g} s: it is not obeyed")
    if m.min_green_s < 5.0 and m.kind == VEHICLE:
        refuse("min_green_s", f"{m.min_green_s:g} s is shorter than 5 s")
    if m.max_green_s < m.min_green_s:
        refuse(
            "max_green_s", f"{m.max_green_s:g} s is shorter than min_green_s {m.min_green_s:g} s"
        )
    if m.gap_min_s > m.passage_s:
        refuse("gap_min_s", f"{m.gap_min_s:g} s is longer than passage_s {m.passage_s:g} s")
    return found


def _conflicts(plan: Plan) -> list[Finding]:
    found: list[Finding] = []
    for conflict in plan.conflict:
        where = f"conflict.{'-'.join(conflict.between)}"
        ways = list(
            zip((*conflict.clearance_s, conflict.clearance_s[-1])[:2], (0, 1), strict=False)
        )
        for given, first in ways:
            m = plan.movement[plan.index[conflict.between[first]]]
            if m.kind == PEDESTRIAN:
                continue
            need = red_clearance_s(m.speed_kmh, m.crossing_m)
            if given < need - _ROUND_S:
                other = conflict.between[1 - first]
                found.append(
                    Finding(
                        REFUSED,
                        f"{where}.clearance_s",
                        f"{given:g} s from {m.name} to {other} is shorter than {need:.1f} s "
                        f"(ITE: {m.crossing_m:g} m and a vehicle at {m.speed_kmh:g} km/h)",
                    )
                )
    return found


def _entries(plan: Plan) -> list[Finding]:
    found: list[Finding] = []
    table = plan.clearance_ms

    def clash(a: Entry, b: Entry) -> str:
        for x in a.green:
            for y in b.green:
                if x != y and table[plan.index[x]][plan.index[y]] >= 0:
                    return f"{x} and {y}"
        return ""

    served: set[str] = set()
    for entry in plan.entry:
        served.update(entry.green)
        pair = clash(entry, entry)
        if pair:
            found.append(
                Finding(REFUSED, f"entry.{entry.name}.green", f"{pair} conflict and are both green")
            )
    for a, b in combinations(plan.entry, 2):
        if a.ring != b.ring and a.barrier == b.barrier:
            pair = clash(a, b)
            if pair:
                found.append(
                    Finding(
                        REFUSED,
                        f"entry.{a.name}",
                        f"may run beside {b.name} (rings {a.ring} and {b.ring}, barrier group "
                        f"{a.barrier}), but {pair} conflict",
                    )
                )
    for m in plan.movement:
        if m.name not in served and m.kind != LEFT:
            found.append(Finding(REFUSED, f"movement.{m.name}", "is green in no entry"))
        if m.kind == LEFT and m.name in served:
            found.append(
                Finding(ADVICE, f"movement.{m.name}", "runs by itself and needs to be in no entry")
            )
    return found


def change_s(plan: Plan, entry: Entry) -> float:
    """Yellow and the longest clearance after `entry`: what its split holds besides green."""
    longest = 0.0
    for name in entry.green:
        i = plan.index[name]
        if plan.movement[i].kind != PEDESTRIAN:
            longest = max(
                longest, plan.movement[i].yellow_s + max(0, *plan.clearance_ms[i], 0) / 1000.0
            )
    return longest


def shortest_s(plan: Plan, entry: Entry) -> float:
    """The shortest split of `entry`: minimum green or walk and its clearance, then change."""
    green = 0.0
    for name in entry.green:
        m = plan.movement[plan.index[name]]
        if m.kind == PEDESTRIAN:
            green = max(green, m.min_green_s + m.yellow_s)
        else:
            green = max(green, m.min_green_s)
    return green + change_s(plan, entry)


def _timing(plan: Plan, timing: Timing) -> list[Finding]:
    found: list[Finding] = []
    where = f"plan.{timing.name}"
    if not timing.cycle_s:
        return found

    def refuse(key: str, text: str) -> None:
        found.append(Finding(REFUSED, f"{where}.{key}", text))

    if timing.offset_s >= timing.cycle_s:
        refuse("offset_s", f"{timing.offset_s:g} s is not within the cycle of {timing.cycle_s:g} s")
    if not timing.coordinated:
        refuse("coordinated", "is missing: the offset needs an entry to refer to")
    rings = sorted({entry.ring for entry in plan.entry})
    barriers = sorted({entry.barrier for entry in plan.entry})
    sums: dict[tuple[int, int], float] = {}
    for entry in plan.entry:
        split = timing.splits.get(entry.name)
        if split is None:
            refuse("splits", f"has none for entry {entry.name}")
            continue
        need = shortest_s(plan, entry)
        if split < need - _ROUND_S:
            refuse(
                f"splits.{entry.name}",
                f"{split:g} s is shorter than {need:.1f} s (minimum green or pedestrians, yellow "
                f"and clearance)",
            )
        key = (entry.ring, entry.barrier)
        sums[key] = sums.get(key, 0.0) + split
    for ring in rings:
        total = sum(sums.get((ring, barrier), 0.0) for barrier in barriers)
        if abs(total - timing.cycle_s) > 0.05:
            refuse(
                "cycle_s", f"splits of ring {ring} sum to {total:g} s, not to {timing.cycle_s:g} s"
            )
    for barrier in barriers:
        lengths = {round(sums.get((ring, barrier), 0.0), 2) for ring in rings}
        if len(lengths) > 1:
            refuse("splits", f"rings reach the end of barrier group {barrier} at different times")
    return found


def serving_s(plan: Plan) -> tuple[float, list[float]]:
    """(the longest time until another entry is green, and that of serving each), in seconds."""
    extra = 0.0
    for i, m in enumerate(plan.movement):
        if m.kind == LEFT:
            # A free left turn that has just begun may be in the way.
            extra = max(
                extra, m.min_green_s + m.yellow_s + max(0, *plan.clearance_ms[i], 0) / 1000.0
            )
    shortest = [shortest_s(plan, entry) for entry in plan.entry]
    # Ticks are lost at every change of lamps; a second covers them.
    first = max(change_s(plan, entry) for entry in plan.entry) + max(shortest) + extra + 1.0
    return first, [length + extra + 1.0 for length in shortest]


def round_s(plan: Plan) -> float:
    """The longest time in which everybody can be served once, whatever the junction does now."""
    first, steps = serving_s(plan)
    total = first
    for barrier in {entry.barrier for entry in plan.entry}:
        rows = [i for i, entry in enumerate(plan.entry) if entry.barrier == barrier]
        rings = [plan.entry[i].ring for i in rows]
        most = max(rings.count(ring) for ring in rings)
        total += sum(sorted((steps[i] for i in rows), reverse=True)[:most])
    return total


def _waits(plan: Plan) -> list[Finding]:
    """Whether the bound on waits can be kept, and leaves the patterns alone."""
    found: list[Finding] = []
    bound = plan.junction.red_max_s
    need = round_s(plan)
    if bound < need:
        found.append(
            Finding(
                REFUSED,
                "junction.red_max_s",
                f"{bound:g} s cannot be kept: serving everybody once takes up to {need:.0f} s",
            )
        )
    for timing in plan.plan:
        if timing.cycle_s and timing.cycle_s + serving_s(plan)[0] > bound:
            found.append(
                Finding(
                    ADVICE,
                    f"plan.{timing.name}.cycle_s",
                    f"with {timing.cycle_s:g} s the bound of {bound:g} s on waits may break it",
                )
            )
    return found


def _specials(plan: Plan) -> list[Finding]:
    found: list[Finding] = []
    table = plan.clearance_ms
    for preempt in plan.preempt:
        for x, y in combinations(preempt.green, 2):
            if table[plan.index[x]][plan.index[y]] >= 0:
                found.append(
                    Finding(REFUSED, f"preempt.{preempt.name}.green", f"{x} and {y} conflict")
                )
    for flood in plan.flood:
        if flood.open_stage >= flood.close_stage:
            found.append(
                Finding(
                    REFUSED,
                    f"flood.{flood.name}.open_stage",
                    f"{flood.open_stage} is not below close_stage {flood.close_stage}",
                )
            )
        if flood.lost == "keep":
            found.append(
                Finding(ADVICE, f"flood.{flood.name}.lost", "keep leaves a road open unwatched")
            )
    if plan.day and {d for day in plan.day for d in day.days} != set(DAYS):
        found.append(Finding(ADVICE, "day", "some weekday has no plan: it runs free"))
    return found


def _load(plan: Plan) -> list[Finding]:
    """Webster's advice from the design flows, for plans of one ring."""
    found: list[Finding] = []
    if {entry.ring for entry in plan.entry} != {1} or not any(m.flow_vph for m in plan.movement):
        return found
    ratios: list[float] = []
    lost = 0.0
    for entry in plan.entry:
        ratio = 0.0
        for name in entry.green:
            m = plan.movement[plan.index[name]]
            if m.kind != PEDESTRIAN and m.lanes:
                ratio = max(ratio, m.flow_vph / (m.saturation_vphpl * m.lanes))
        ratios.append(ratio)
        lost += change_s(plan, entry) + LOST_S
    try:
        cycle = webster_cycle_s(ratios, lost)
    except ValueError as error:
        return [Finding(ADVICE, "movement", f"Webster: {error}")]
    greens = webster_greens_s(ratios, cycle, lost)
    text = ", ".join(f"{e.name} {g:.0f}" for e, g in zip(plan.entry, greens, strict=True))
    found.append(
        Finding(
            ADVICE,
            "movement",
            f"Webster: load {sum(ratios):.2f}, lost {lost:.0f} s, cycle {cycle:.0f} s, "
            f"green {text} s",
        )
    )
    return found
