"""Scenario files: what exists, what happens when, what must hold. TOML, closed, checked at load.

Public: `load`, `available`, `Scenario`, `NodeEntry`, `EventEntry`, `ExpectEntry`, `ScenarioError`,
`ACTIONS`, `EXPECTATIONS`, `seconds`.

Every error names file, key, value and what was expected. docs/simulation.md documents the keys
with the tables below; a scenario is also its own documentation.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sim.chips.level_sensors import FAULTS, KINDS
from sim.chips.siren_amp import AMP_FAULTS
from sim.radio.floodnet import STREETS
from sim.world.river import STAGES_MM

FOLDER = Path(__file__).with_name("scenarios")
_MISSING = object()

# action -> (needs a node, value: None, or (kind, what it means))
ACTIONS: dict[str, tuple[bool, tuple[str, str] | None]] = {
    "power_cut": (True, None),  # the supply goes, `for` it stays away
    "flash_cut": (True, ("integer", "erases and programs that still succeed before the cut")),
    "reset": (True, None),  # the processor's reset line
    "battery": (True, ("number", "volts at the cell")),
    "battery_stolen": (True, None),
    "sun": (True, ("number", "of full sun on the panel, 0..1")),
    "sensor_fault": (True, ("text", "one of " + ", ".join(f or '""' for f in FAULTS))),
    "sensor_silent": (True, None),
    "sensor_noise": (True, ("number", "chance that an answer is damaged, 0..1")),
    "wrong_parity": (True, None),
    "cable_cut": (True, None),
    "rain_blocked": (True, None),
    "float_wet": (True, None),
    "clock_drift": (True, ("number", "ppm that the node's clock runs too fast; unix only")),
    "sos": (True, ("number", "seconds the button is held")),
    "siren_fault": (True, ("text", "one of " + ", ".join(f or '""' for f in AMP_FAULTS))),
    "siren_order": (True, ("integer", "pattern 0..7, for 30 s, with a fresh number")),
    "siren_replay": (True, None),  # the last order again, by somebody who has the network's keys
    "gnss_outage": (True, None),
    "gnss_jump": (True, ("number", "metres to the north")),
    "burst_loss": (True, ("number", "share of time the link is bad, 0..1; spells of 2 min")),
    "street_loss": (True, ("text", "loss as of a FloodNet sensor: " + ", ".join(STREETS))),
    "antenna_lost": (True, ("number", "dB less from now on")),
    "gateway_down": (False, None),
    "network_down": (False, None),
    "jam": (False, ("number", "dBm at every receiver, on all channels")),
    "downlink": (True, ("text", "port:hex, for example 10:0102")),
}

# what must hold -> (needs a node, keys with kind and meaning)
EXPECTATIONS: dict[str, tuple[bool, dict[str, tuple[str, str]]]] = {
    "no_faults": (False, {}),
    "no_crashes": (False, {}),
    "joined": (True, {"within": ("duration", "after the node's first start")}),
    "readings": (True, {"least": ("integer", "readings delivered, each counted once")}),
    "complete": (
        True,
        {
            "missing": ("integer", "numbers that may be absent"),
            "grace": ("duration", "newest time left out of the count"),
        },
    ),
    "level_error": (True, {"most_mm": ("integer", "of any reading against the true water")}),
    "stage_alarm": (
        True,
        {"stage": ("integer", "1..3"), "within": ("duration", "after the water passed it")},
    ),
    "no_alarm": (True, {}),
    "sos_heard": (True, {"within": ("duration", "after the button was pressed")}),
    "siren_heard": (
        True,
        {
            "least_s": ("number", "seconds of tone that people hear, pauses apart"),
            "most_s": ("number", "seconds of tone"),
        },
    ),
    "siren_after": (
        True,
        {"stage": ("integer", "1..3"), "within": ("duration", "after the water passed it")},
    ),
    "siren_told": (True, {"last": ("text", "good or failed: the last proof that it sent")}),
    "siren_tests": (True, {"least": ("integer", "silent tests"), "most": ("integer", "tests")}),
    "position": (
        True,
        {"most_m": ("number", "newest fix from the truth"), "least": ("integer", "fixes")},
    ),
    "boots": (True, {"least": ("integer", "starts"), "most": ("integer", "starts")}),
    "duty": (True, {"most_percent": ("number", "time on air in any hour")}),
    "loss": (True, {"most_percent": ("number", "of frames sent that the concentrator missed")}),
    "charge": (True, {"least": ("number", "of the battery at the end, 0..1")}),
    "average_ma": (True, {"most": ("number", "mean current by the account")}),
    "frames": (True, {"least": ("integer", "frames sent"), "most": ("integer", "frames sent")}),
}


class ScenarioError(Exception):
    """The file is wrong and only a person can mend it; the text is one line."""


@dataclass(frozen=True, kw_only=True)
class NodeEntry:
    """A node, or `count` alike: NAME-1, NAME-2, ... spread over a circle of `spread_m`."""

    name: str
    role: str = "flood"
    count: int = 1
    x_m: float = 800.0
    y_m: float = 0.0
    spread_m: float = 0.0
    gain_dbi: float = 2.0
    sensor: str = "geolux-lx80"
    height_mm: int = 7_000
    lag_s: float = 0.0
    scale: float = 1.0
    start_s: float = 0.0  # power comes this long after the beginning
    speed_mps: float = 3.0  # of a tracker's vessel
    battery_mah: float = 0.0  # 0: a supply that never ends, at 3.9 V
    solar_ma: float = 0.0  # of the panel in full sun
    charge: float = 0.9  # of the battery at the beginning
    sensor_ma: float = 0.0  # drawn all the time, by whatever hangs on the supply
    settings: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True)
class EventEntry:
    """Something that happens at `at_s`; `for_s` later it is undone (0: it stays)."""

    at_s: float
    do: str
    node: str = ""
    for_s: float = 0.0
    value: Any = None
    times: int = 1  # repeat, `every_s` apart
    every_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ExpectEntry:
    """What must hold at the end; `node` is a name, or "*" for each node of the fitting role."""

    what: str
    node: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A whole file."""

    path: Path
    title: str
    about: str
    duration_s: float
    river: str = "golden"  # golden, runoff, calm, or a CSV file beside the scenario
    river_from_h: float = 0.0
    river_speed: float = 1.0
    stages_mm: tuple[int, int, int] = STAGES_MM
    exponent: float = 2.9
    shadowing_db: float = 4.0
    gateway_gain_dbi: float = 3.0
    nodes: tuple[NodeEntry, ...] = ()
    events: tuple[EventEntry, ...] = ()
    expects: tuple[ExpectEntry, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def seconds(text: object) -> float:
    """A duration such as "90s", "15m", "2h30m", "3d"; raises ValueError."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(text))
    if not parts or "".join(a + b for a, b in parts) != str(text):
        raise ValueError('expected a duration such as "90s", "15m" or "2h30m"')
    return sum(float(number) * units[unit] for number, unit in parts)


class _Table:
    """A TOML table that is taken apart key by key; what is left over is an error."""

    def __init__(self, where: str, table: Mapping[str, Any]) -> None:
        self.where = where
        self._left = dict(table)
        self._known: list[str] = []

    def fail(self, key: str, why: str) -> ScenarioError:
        return ScenarioError(f"{self.where}.{key}: {why}")

    def take(self, key: str, kind: str, default: Any = _MISSING) -> Any:
        self._known.append(key)
        if key not in self._left:
            if default is _MISSING:
                raise ScenarioError(f"{self.where}: {key} is missing (a {kind})")
            return default
        value = self._left.pop(key)
        return _checked(self, key, kind, value)

    def number(self, key: str, low: float, high: float, default: float) -> float:
        value = cast("float", self.take(key, "number", default))
        if not low <= value <= high:
            raise self.fail(key, f"{value} is outside {low:g}..{high:g}")
        return float(value)

    def one_of(self, key: str, words: tuple[str, ...], default: Any = _MISSING) -> str:
        value = self.take(key, "text", default)
        if value not in words:
            raise self.fail(key, f"{value!r} is none of {', '.join(words)}")
        return str(value)

    def end(self) -> None:
        for key in self._left:
            there = ", ".join(self._known)
            raise ScenarioError(f"{self.where}: no such key {key}; there are: {there}")


def _checked(table: _Table, key: str, kind: str, value: Any) -> Any:
    if kind == "duration":
        try:
            return seconds(value)
        except ValueError as error:
            raise table.fail(key, f"{value!r}: {error}") from None
    kinds: dict[str, tuple[type, ...]] = {
        "text": (str,), "number": (int, float), "integer": (int,), "table": (dict,),
        "list": (list,), "truth": (bool,),
    }  # fmt: skip
    wrong = not isinstance(value, kinds[kind])
    if wrong or (isinstance(value, bool) and kind != "truth"):
        raise table.fail(key, f"{value!r}: expected a {kind}")
    return value


def available(folder: Path = FOLDER) -> list[Path]:
    """The scenario files that come with the project, by name."""
    return sorted(folder.glob("*.toml"))


def load(path: Path) -> Scenario:
    """Read and check a scenario; a bare name means one that comes with the project."""
    if not path.exists() and (FOLDER / f"{path.name}.toml").exists():
        path = FOLDER / f"{path.name}.toml"
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError:
        names = ", ".join(p.stem for p in available())
        raise ScenarioError(f"{path}: no such scenario; there are: {names}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not TOML: {error}") from None
    top = _Table(str(path), tree)
    head = _Table(f"{path}: scenario", top.take("scenario", "table"))
    world = _Table(f"{path}: world", top.take("world", "table", {}))
    nodes = tuple(_node(path, i, t) for i, t in enumerate(top.take("node", "list", [])))
    names = {n for node in nodes for n in node_names(node)} | {n.name for n in nodes}
    scenario = Scenario(
        path=path,
        title=head.take("title", "text"),
        about=head.take("about", "text", ""),
        duration_s=head.take("duration", "duration"),
        river=world.take("river", "text", "golden"),
        river_from_h=world.number("from_h", 0, 1_000, 0.0),
        river_speed=world.number("speed", 0.01, 1_000, 1.0),
        stages_mm=_stages(world),
        exponent=world.number("path_exponent", 1.5, 6, 2.9),
        shadowing_db=world.number("shadowing_db", 0, 20, 4.0),
        gateway_gain_dbi=world.number("gateway_gain_dbi", -5, 20, 3.0),
        nodes=nodes,
        events=tuple(
            _event(path, i, t, names) for i, t in enumerate(top.take("event", "list", []))
        ),
        expects=tuple(
            _expect(path, i, t, names) for i, t in enumerate(top.take("expect", "list", []))
        ),
    )
    for table in (head, world, top):
        table.end()
    if scenario.duration_s <= 0 or not nodes:
        raise ScenarioError(f"{path}: needs a duration above 0 and at least one [[node]]")
    return scenario


def node_names(node: NodeEntry) -> list[str]:
    """Names of the nodes that an entry makes."""
    if node.count == 1:
        return [node.name]
    return [f"{node.name}-{i + 1}" for i in range(node.count)]


def _stages(world: _Table) -> tuple[int, int, int]:
    values = world.take("stages_mm", "list", list(STAGES_MM))
    rising = len(values) == 3 and all(isinstance(v, int) for v in values)
    if not rising or not values[0] < values[1] < values[2]:
        raise world.fail("stages_mm", f"{values}: expected three rising integers")
    return values[0], values[1], values[2]


def _node(path: Path, i: int, value: Any) -> NodeEntry:
    table = _Table(f"{path}: node {i + 1}", value)
    node = NodeEntry(
        name=table.take("name", "text"),
        role=table.one_of("role", ("flood", "tracker", "siren"), "flood"),
        count=int(table.number("count", 1, 1_000, 1)),
        x_m=table.number("x_m", -100_000, 100_000, 800.0),
        y_m=table.number("y_m", -100_000, 100_000, 0.0),
        spread_m=table.number("spread_m", 0, 50_000, 0.0),
        gain_dbi=table.number("gain_dbi", -20, 20, 2.0),
        sensor=table.one_of("sensor", tuple(KINDS), "geolux-lx80"),
        height_mm=int(table.number("height_mm", -20_000, 40_000, 7_000)),
        lag_s=table.take("lag", "duration", 0.0),
        scale=table.number("scale", 0, 100, 1.0),
        start_s=table.take("start", "duration", 0.0),
        speed_mps=table.number("speed_mps", 0.1, 50, 3.0),
        battery_mah=table.number("battery_mah", 0, 1e6, 0.0),
        solar_ma=table.number("solar_ma", 0, 1e5, 0.0),
        charge=table.number("charge", 0, 1, 0.9),
        sensor_ma=table.number("sensor_ma", 0, 1e4, 0.0),
        settings=table.take("settings", "table", {}),
    )
    table.end()
    return node


def _event(path: Path, i: int, value: Any, names: set[str]) -> EventEntry:
    table = _Table(f"{path}: event {i + 1}", value)
    do = table.one_of("do", tuple(ACTIONS))
    needs_node, kind = ACTIONS[do]
    event = EventEntry(
        at_s=table.take("at", "duration"),
        do=do,
        node=_named(table, names) if needs_node else "",
        for_s=table.take("for", "duration", 0.0),
        value=table.take("value", kind[0]) if kind else None,
        times=int(table.number("times", 1, 10_000, 1)),
        every_s=table.take("every", "duration", 0.0),
    )
    if do == "sensor_fault" and event.value not in FAULTS:
        raise table.fail("value", f"{event.value!r} is none of {', '.join(FAULTS)}")
    if do == "street_loss" and event.value not in STREETS:
        raise table.fail("value", f"{event.value!r} is none of {', '.join(STREETS)}")
    if do == "siren_fault" and event.value not in AMP_FAULTS:
        raise table.fail("value", f"{event.value!r} is none of {', '.join(AMP_FAULTS)}")
    table.end()
    return event


def _expect(path: Path, i: int, value: Any, names: set[str]) -> ExpectEntry:
    table = _Table(f"{path}: expect {i + 1}", value)
    what = table.one_of("what", tuple(EXPECTATIONS))
    needs_node, keys = EXPECTATIONS[what]
    node = _named(table, names | {"*"}) if needs_node else ""
    values = {key: table.take(key, kind, None) for key, (kind, _) in keys.items()}
    if keys and all(v is None for v in values.values()):
        raise ScenarioError(f"{table.where}: {what} needs one of {', '.join(keys)}")
    table.end()
    return ExpectEntry(what=what, node=node, values=values)


def _named(table: _Table, names: set[str]) -> str:
    name = table.take("node", "text")
    if name not in names:
        raise table.fail("node", f"{name!r} is none of {', '.join(sorted(names))}")
    return str(name)
