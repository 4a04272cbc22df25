"""A junction and its timing as data: `load(path) -> Plan`, from one TOML file.

Movements are signal groups; entries are what a ring serves one after another (a stage with several
movements, or a single NEMA phase); rings run side by side and cross barriers together. A
stage-based plan is one ring with one barrier group, so both kinds run in one sequencer.
`gateway.atcs.checks` says whether a plan is safe; this module only whether it is well formed.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gateway.config import ConfigError, Place, Setting, build, name_check, read_toml, setting

VEHICLE, PEDESTRIAN, LEFT = "vehicle", "pedestrian", "left_on_red"
FLASH_PLAN, FREE_PLAN = "flash", "free"
ACTUATED, ADAPTIVE = "actuated", "adaptive"
CAMERA, EXIT = "camera", "exit"
"""Detectors that count the standing vehicles, and that see whether the road ahead is full."""
_OTHERS = (CAMERA, EXIT)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, kw_only=True)
class JunctionInfo:
    """[junction]: what holds for the whole junction."""

    id: str = setting(doc="name in topics, logs and neighbours", check=name_check)
    name: str = setting("", doc="name on screens")
    startup_flash_s: float = setting(5.0, doc="flash after power-up", low=0, high=60, unit="s")
    startup_red_s: float = setting(5.0, doc="all red after flash", low=2, high=30, unit="s")
    start: str = setting("", doc="entry that is green first; empty: the first")
    watchdog_s: float = setting(1.0, doc="longest pause between ticks", low=0.2, high=5, unit="s")
    manual_max_s: float = setting(
        600.0, doc="manual control falls back to automatic after this", low=30, high=7200, unit="s"
    )
    red_max_s: float = setting(
        180.0, doc="longest wait of a movement with a call", low=10, high=600, unit="s"
    )


@dataclass(frozen=True, kw_only=True)
class Movement:
    """[[movement]]: one signal group, its geometry and its limits."""

    name: str = setting(doc="short name, as on the plan", check=name_check)
    kind: str = setting(VEHICLE, doc="kind of group", choices=(VEHICLE, PEDESTRIAN, LEFT))
    speed_kmh: float = setting(50.0, doc="85th percentile approach speed", low=5, high=100)
    grade_percent: float = setting(0.0, doc="approach grade, uphill positive", low=-12, high=12)
    crossing_m: float = setting(
        20.0,
        doc="vehicles: stop bar to far conflict edge; pedestrians: kerb to kerb",
        low=2,
        high=80,
    )
    min_green_s: float = setting(7.0, doc="shortest green, or walk", low=2, high=60, unit="s")
    max_green_s: float = setting(40.0, doc="longest green with others waiting", low=5, high=180)
    yellow_s: float = setting(3.0, doc="yellow, or flashing don't walk", low=2, high=60, unit="s")
    passage_s: float = setting(3.0, doc="extension by one vehicle", low=0, high=10, unit="s")
    gap_min_s: float = setting(3.0, doc="passage after reduction", low=0, high=10, unit="s")
    reduce_after_s: float = setting(15.0, doc="green before the gap shrinks", low=0, high=120)
    reduce_over_s: float = setting(15.0, doc="time over which it shrinks", low=1, high=120)
    recall: str = setting("none", doc="standing call", choices=("none", "min", "max"))
    locking: bool = setting(True, doc="a call in red is remembered")
    countdown: bool = setting(False, doc="has a countdown display")
    lanes: int = setting(1, doc="lanes", low=0, high=6)
    flow_vph: float = setting(0.0, doc="design flow over all lanes", low=0, high=8000)
    saturation_vphpl: float = setting(1800.0, doc="saturation flow a lane", low=300, high=2400)
    walk_mps: float = setting(1.1, doc="walking speed", low=0.5, high=1.5)
    flash: str = setting("yellow", doc="aspect in flash", choices=("yellow", "red", "dark"))


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """[[conflict]]: two movements that must never be green together."""

    between: tuple[str, ...] = setting(doc="two movements")
    clearance_s: tuple[float, ...] = setting(
        doc="all red from the first to the second, and back", low=0, high=20
    )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """[[entry]]: a stage, or a phase of a ring."""

    name: str = setting(doc="name", check=name_check)
    ring: int = setting(1, doc="ring", low=1, high=4)
    barrier: int = setting(1, doc="barrier group", low=1, high=8)
    green: tuple[str, ...] = setting(doc="movements that are green")


@dataclass(frozen=True, kw_only=True)
class Detector:
    """[[detector]]: one input and what a call on it means."""

    name: str = setting(doc="name", check=name_check)
    movement: str = setting(doc="movement it calls")
    kind: str = setting("stop", doc="place", choices=("stop", "advance", "button", *_OTHERS))
    setback_m: float = setting(0.0, doc="metres before the stop bar", low=0, high=300)
    stuck_s: float = setting(300.0, doc="on for so long is a fault", low=10, high=7200, unit="s")
    silent_s: float = setting(
        0.0, doc="off for so long is a fault; 0 never", low=0, high=172800, unit="s"
    )
    chatter_per_min: int = setting(60, doc="more changes a minute are a fault", low=10, high=600)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """[[plan]]: cycle, offset and splits of one coordination pattern, or a mode."""

    name: str = setting(doc="name", check=name_check)
    cycle_s: float = setting(0.0, doc="cycle; 0 runs free", low=0, high=300, unit="s")
    offset_s: float = setting(0.0, doc="start of the coordinated entry", low=0, high=300, unit="s")
    coordinated: str = setting("", doc="entry that the offset refers to")
    splits: dict[str, float] = field(
        default_factory=dict[str, float],
        metadata={"setting": Setting("seconds by entry", 0, 300, "s")},
    )
    transition: str = setting("short_way", doc="into step by", choices=("short_way", "dwell"))
    mode: str = setting(
        ACTUATED,
        doc="adaptive: predictive control within these limits",
        choices=(ACTUATED, ADAPTIVE),
    )


@dataclass(frozen=True, kw_only=True)
class Day:
    """[[day]]: which plan when, on which days of the week or which dates."""

    name: str = setting(doc="name", check=name_check)
    days: tuple[str, ...] = setting((), doc="weekdays mon..sun", choices=DAYS)
    dates: tuple[str, ...] = setting((), doc="dates as 2027-03-08; they win over weekdays")
    at: dict[str, str] = setting(  # noqa: RUF009
        doc='plan by time, as { "06:00" = "morning" }'
    )


@dataclass(frozen=True, kw_only=True)
class Preempt:
    """[[preempt]]: a hard input, or an authorised vehicle, that takes the junction over."""

    name: str = setting(doc="name", check=name_check)
    green: tuple[str, ...] = setting(doc="movements that it needs")
    level: int = setting(1, doc="1 wins over 2", low=1, high=8)
    dwell_s: float = setting(8.0, doc="shortest green for it", low=2, high=60, unit="s")
    max_s: float = setting(120.0, doc="given up after this", low=10, high=600, unit="s")
    extend_s: float = setting(15.0, doc="longest green extension for a vehicle", low=0, high=60)
    exit: str = setting("", doc="entry served first afterwards; empty: as it comes")
    fleet: tuple[str, ...] = setting((), doc="vehicles that may ask by tracker")
    classes: tuple[str, ...] = setting(
        (), doc="kinds of vehicle that may ask if the fleet vouches for them, as ambulance"
    )
    approach: str = setting("", doc="what trackers call this approach; empty: the name")


@dataclass(frozen=True, kw_only=True)
class Flood:
    """[[flood]]: movements that a flooded road closes, and on whose word."""

    name: str = setting(doc="name", check=name_check)
    sensor: str = setting(doc="device whose stage decides", check=name_check)
    close: tuple[str, ...] = setting(doc="movements to close")
    close_stage: int = setting(
        2, doc="closed from this stage (1 waspada 2 siaga 3 awas)", low=1, high=3
    )
    open_stage: int = setting(0, doc="opened at or below this stage", low=0, high=2)
    open_after_s: float = setting(600.0, doc="after so long at it", low=0, high=86400, unit="s")
    lost_after_s: float = setting(900.0, doc="no word for so long: sensor lost", low=10, high=86400)
    lost: str = setting("close", doc="when it is lost", choices=("close", "keep"))
    plan: str = setting("", doc="plan while closed; empty: the usual one")


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """[[upstream]]: whose departures arrive here, and how much later."""

    junction: str = setting(doc="id of the neighbour", check=name_check)
    movement: str = setting(doc="movement there")
    to: str = setting(doc="movement here")
    travel_s: float = setting(doc="from its stop bar to ours", low=3, high=300, unit="s")
    share: float = setting(1.0, doc="of its departures that come here", low=0.05, high=1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One junction's whole file."""

    junction: JunctionInfo = setting(doc="the junction")  # noqa: RUF009
    movement: tuple[Movement, ...] = setting(doc="movements")
    conflict: tuple[Conflict, ...] = setting((), doc="conflicts")
    entry: tuple[Entry, ...] = setting(doc="entries in order")
    detector: tuple[Detector, ...] = setting((), doc="detectors")
    plan: tuple[Timing, ...] = setting((), doc="coordination plans")
    day: tuple[Day, ...] = setting((), doc="calendar")
    preempt: tuple[Preempt, ...] = setting((), doc="preemption")
    flood: tuple[Flood, ...] = setting((), doc="flood plans")
    upstream: tuple[Upstream, ...] = setting((), doc="neighbours to look ahead to")
    file: Path = field(default=Path("-"))

    @cached_property
    def index(self) -> dict[str, int]:
        """Movement name to its place, which is also its bit in every mask."""
        return {movement.name: i for i, movement in enumerate(self.movement)}

    def mask(self, names: tuple[str, ...]) -> int:
        """The set of these movements."""
        result = 0
        for name in names:
            result |= 1 << self.index[name]
        return result

    @cached_property
    def clearance_ms(self) -> list[list[int]]:
        """The kernel's matrix: -1 where two movements do not conflict."""
        count = len(self.movement)
        table = [[-1] * count for _ in range(count)]
        for conflict in self.conflict:
            a, b = (self.index[name] for name in conflict.between)
            there, back = (*conflict.clearance_s, conflict.clearance_s[-1])[:2]
            table[a][b] = max(table[a][b], round(there * 1000))
            table[b][a] = max(table[b][a], round(back * 1000))
        return table

    def timing(self, name: str) -> Timing | None:
        """The pattern called `name`; None for free and flash."""
        return next((timing for timing in self.plan if timing.name == name), None)


def load(path: Path) -> Plan:
    """Read and build a plan; ConfigError names the first thing that is not well formed."""
    return from_table(read_toml(path), path)


def from_table(table: dict[str, object], path: Path) -> Plan:
    """Build a plan from parsed TOML; `path` is for messages."""
    place = Place(path)
    plan = build(Plan, table, place)
    _names(plan, place)
    return plan


def _names(plan: Plan, place: Place) -> None:
    movements = [m.name for m in plan.movement]
    entries = [e.name for e in plan.entry]
    plans = [t.name for t in plan.plan]
    for what, names in (("movement", movements), ("entry", entries), ("plan", plans)):
        for name in names:
            if names.count(name) > 1:
                raise place.inside(what).wrong(f'"{name}" is there twice')
    if not plan.movement or not plan.entry:
        raise place.wrong("a junction needs at least one [[movement]] and one [[entry]]")

    def known(where: str, name: str, names: list[str], what: str) -> None:
        if name not in names:
            raise ConfigError(
                f'{place.file}: {where}: no {what} "{name}"; there are: {", ".join(names)}'
            )

    for conflict in plan.conflict:
        where = f"conflict {'-'.join(conflict.between)}"
        if len(conflict.between) != 2 or conflict.between[0] == conflict.between[1]:
            raise place.wrong(f"{where}: is between two movements")
        for name in conflict.between:
            known(where, name, movements, "movement")
    uses = [(f"entry.{e.name}.green", e.green) for e in plan.entry]
    uses += [(f"detector.{d.name}.movement", (d.movement,)) for d in plan.detector]
    uses += [(f"preempt.{p.name}.green", p.green) for p in plan.preempt]
    uses += [(f"flood.{f.name}.close", f.close) for f in plan.flood]
    uses += [(f"upstream.{u.junction}.to", (u.to,)) for u in plan.upstream]
    for where, names in uses:
        for name in names:
            known(where, name, movements, "movement")
    for timing in plan.plan:
        for name in timing.splits:
            known(f"plan.{timing.name}.splits", name, entries, "entry")
        if timing.coordinated:
            known(f"plan.{timing.name}.coordinated", timing.coordinated, entries, "entry")
    modes = [*plans, FREE_PLAN, FLASH_PLAN]
    for day in plan.day:
        for text, name in day.at.items():
            known(f'day.{day.name}.at."{text}"', name, modes, "plan")
            hour, _, minute = text.partition(":")
            if not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
                raise place.wrong(f'day.{day.name}.at: "{text}" is not a time as "06:30"')
    for preempt in plan.preempt:
        if preempt.exit:
            known(f"preempt.{preempt.name}.exit", preempt.exit, entries, "entry")
    for flood in plan.flood:
        if flood.plan:
            known(f"flood.{flood.name}.plan", flood.plan, modes, "plan")
    if plan.junction.start:
        known("junction.start", plan.junction.start, entries, "entry")
