"""What a scenario may demand of its world: every entry of `hil.scenario.EXPECTATIONS`.

Public: `check`, `Verdict`. A verdict always says the figure that was found, so that a report in
which all held is worth reading too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hil.scenario import ExpectEntry
from hil.world import EPOCH_S, Seen, World
from sim.chips.gnss import M_PER_DEGREE
from sim.kernel import HOUR, SECOND
from sim.world.river import Gauge
from sim.world.sea import Track


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One expectation for one node (or the world): did it hold, and what was found."""

    what: str
    node: str
    held: bool
    found: str


def check(world: World) -> list[Verdict]:
    """Judge every expectation of the scenario, for each node that it names."""
    verdicts: list[Verdict] = []
    for expect in world.scenario.expects:
        verdicts += list(_CHECKS[expect.what](world, expect))
    return verdicts


def _verdict(expect: ExpectEntry, node: str, held: bool, found: str) -> Verdict:
    return Verdict(what=expect.what, node=node, held=held, found=found)


def _each(world: World, expect: ExpectEntry, role: str = "") -> Iterator[tuple[str, Seen]]:
    for node in world.select(expect.node):
        name = node.spec.name
        if not role or node.spec.role == role:
            yield name, world.seen[name]


def _no_faults(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    kinds = sorted({f"{who}: {what}" for _, who, what in world.sim.faults})
    yield _verdict(expect, "", not kinds, "; ".join(kinds) or "none")


def _no_crashes(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    crashes = [f"{name}: {c}" for name, n in world.nodes.items() for c in n.firmware.crashes]
    watchdogs = len(world.sim.trace.find("node.watchdog"))
    if watchdogs:
        crashes.append(f"{watchdogs} watchdog resets")
    yield _verdict(expect, "", not crashes, "; ".join(crashes[:5]) or "none")


def _joined(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    limit = expect.values["within"]
    joins = world.sim.trace.find("network.join")
    boots = world.sim.trace.find("node.boot")
    for name, _ in _each(world, expect):
        first = next((t for t, _, f in joins if f["device"] == name), None)
        start = next((t for t, who, _ in boots if who == name), 0)
        after = None if first is None else (first - start) / SECOND
        found = "never" if after is None else f"after {after:.1f} s"
        yield _verdict(expect, name, after is not None and after <= (limit or 1e18), found)


def _readings(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, seen in _each(world, expect, "flood"):
        count = len(seen.readings)
        yield _verdict(expect, name, count >= (expect.values["least"] or 0), f"{count}")


def _complete(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    grace = expect.values["grace"] or 0.0
    allowed = expect.values["missing"] or 0
    end_s = EPOCH_S + world.now_s() - grace
    for name, seen in _each(world, expect, "flood"):
        numbers = [n for n, (when, _) in seen.readings.items() if when <= end_s]
        if not numbers:
            yield _verdict(expect, name, False, "no readings")
            continue
        missing = max(numbers) - min(numbers) + 1 - len(set(numbers))
        found = f"{missing} missing of {max(numbers) - min(numbers) + 1}"
        yield _verdict(expect, name, missing <= allowed, found)


def _level_error(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    most = expect.values["most_mm"]
    for name, seen in _each(world, expect, "flood"):
        gauge = world.nodes[name].level_mm
        assert isinstance(gauge, Gauge)
        errors = [
            abs(level - gauge.at(when - EPOCH_S))
            for when, level in seen.readings.values()
            if level is not None and when > 0
        ]
        worst = max(errors, default=float("inf"))
        yield _verdict(expect, name, worst <= most, f"{worst:.0f} mm over {len(errors)}")


def _stage_alarm(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    stage, limit = expect.values["stage"], expect.values["within"]
    for name, seen in _each(world, expect, "flood"):
        passed = seen.crossings.get(stage)
        heard = next((t for t, s in seen.alarms if s >= stage), None)
        if passed is None:
            yield _verdict(expect, name, False, "the water never reached it")
        elif heard is None:
            yield _verdict(expect, name, False, "no alarm")
        else:
            after = (heard - passed) / SECOND
            yield _verdict(expect, name, after <= limit, f"after {after:.1f} s")


def _no_alarm(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, seen in _each(world, expect, "flood"):
        raised = [f"stage {stage} at {t / SECOND:.0f} s" for t, stage in seen.alarms if stage]
        yield _verdict(expect, name, not raised, "; ".join(raised[:5]) or "none")


def _sos_heard(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, seen in _each(world, expect):
        pressed = seen.pressed_us[0] if seen.pressed_us else None
        heard = next((t for t in seen.sos_us if pressed is not None and t >= pressed), None)
        if pressed is None or heard is None:
            yield _verdict(expect, name, False, "not heard")
        else:
            after = (heard - pressed) / SECOND
            yield _verdict(expect, name, after <= expect.values["within"], f"after {after:.1f} s")


def _siren_heard(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    least, most = expect.values["least_s"] or 0.0, expect.values["most_s"]
    for name, _ in _each(world, expect, "siren"):
        siren = world.nodes[name].siren
        heard = 0.0 if siren is None else siren.heard_s()
        held = heard >= least and (most is None or heard <= most)
        yield _verdict(expect, name, held, f"{heard:.1f} s")


def _siren_after(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    stage, limit = expect.values["stage"], expect.values["within"]
    passed = min(
        (seen.crossings[stage] for seen in world.seen.values() if stage in seen.crossings),
        default=None,
    )
    for name, _ in _each(world, expect, "siren"):
        siren = world.nodes[name].siren
        starts = [] if siren is None else [begin for begin, _ in siren.soundings]
        first = next((begin for begin in starts if passed is not None and begin >= passed), None)
        if passed is None or first is None:
            yield _verdict(expect, name, False, "never")
        else:
            after = (first - passed) / SECOND
            yield _verdict(expect, name, after <= limit, f"after {after:.1f} s")


def _siren_told(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, _ in _each(world, expect, "siren"):
        told = world.sirens.proofs(name)
        held = bool(told) and told[-1] == expect.values["last"]
        yield _verdict(expect, name, held, ", ".join(told) or "nothing")


def _siren_tests(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, _ in _each(world, expect, "siren"):
        siren = world.nodes[name].siren
        tests = 0 if siren is None else siren.tests
        yield _verdict(expect, name, _between(expect, tests), f"{tests}")


def _position(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    most, least = expect.values["most_m"] or 1e9, expect.values["least"] or 1
    for name, seen in _each(world, expect, "tracker"):
        track = world.nodes[name].where
        assert isinstance(track, Track)
        worst = 0.0
        for when, lat, lon in seen.fixes:
            true = track.at(when - EPOCH_S)
            north = (lat - true.lat) * M_PER_DEGREE
            east = (lon - true.lon) * M_PER_DEGREE * 0.9883  # cosine of Benoa's latitude
            worst = max(worst, (north * north + east * east) ** 0.5)
        held = len(seen.fixes) >= least and worst <= most
        yield _verdict(expect, name, held, f"{len(seen.fixes)} fixes, worst {worst:.0f} m")


def _between(expect: ExpectEntry, value: float) -> bool:
    least, most = expect.values.get("least"), expect.values.get("most")
    return (least is None or value >= least) and (most is None or value <= most)


def _boots(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, _ in _each(world, expect):
        boots = world.nodes[name].firmware.boots
        yield _verdict(expect, name, _between(expect, boots), f"{boots}")


def _frames(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, _ in _each(world, expect):
        sent = world.nodes[name].chip.tx_count
        yield _verdict(expect, name, _between(expect, sent), f"{sent}")


def duty_percent(airtime: list[tuple[int, int]]) -> float:
    """The most time on air in any hour, percent."""
    worst = total = 0
    first = 0
    for when, length in airtime:
        total += length
        while airtime[first][0] < when - HOUR:
            total -= airtime[first][1]
            first += 1
        worst = max(worst, total)
    return 100.0 * worst / HOUR


def _duty(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, seen in _each(world, expect):
        percent = duty_percent(seen.airtime)
        held = percent <= expect.values["most_percent"]
        yield _verdict(expect, name, held, f"{percent:.2f} %")


def _loss(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, seen in _each(world, expect):
        sent = len(seen.airtime)
        percent = 100.0 * (sent - seen.heard) / sent if sent else 100.0
        held = percent <= expect.values["most_percent"]
        yield _verdict(expect, name, held, f"{percent:.1f} % of {sent}")


def _charge(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, _ in _each(world, expect):
        battery = world.batteries.get(name)
        charge = battery.charge if battery else 1.0
        yield _verdict(expect, name, charge >= expect.values["least"], f"{100 * charge:.0f} %")


def _average_ma(world: World, expect: ExpectEntry) -> Iterator[Verdict]:
    for name, _ in _each(world, expect):
        mean = world.energy[name].average_ma()
        yield _verdict(expect, name, mean <= expect.values["most"], f"{mean:.2f} mA")


_CHECKS: dict[str, Callable[[World, ExpectEntry], Iterator[Verdict]]] = {
    "no_faults": _no_faults,
    "no_crashes": _no_crashes,
    "joined": _joined,
    "readings": _readings,
    "complete": _complete,
    "level_error": _level_error,
    "stage_alarm": _stage_alarm,
    "no_alarm": _no_alarm,
    "sos_heard": _sos_heard,
    "siren_heard": _siren_heard,
    "siren_after": _siren_after,
    "siren_told": _siren_told,
    "siren_tests": _siren_tests,
    "position": _position,
    "boots": _boots,
    "frames": _frames,
    "duty": _duty,
    "loss": _loss,
    "charge": _charge,
    "average_ma": _average_ma,
}
