"""One SUMO run with every junction under somebody's control, and what it cost everybody due.

Delay is SUMO's own time loss plus the time a vehicle waited to enter, for **all** vehicles due by
the end: arrived, still under way, or never inserted.
"""

import gzip
import importlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

lib = cast(Any, importlib.import_module("libsumo"))

REACH_M = 150.0
QUEUE_M = 50.0
STOP_BAR_M = 5.0
HALTING_MPS = 0.1
MIN_GREEN_S = 5
YELLOW_S = 3
RED_S_MAX = 180


class Control(Protocol):
    """What decides one junction's lamps, once a second."""

    def step(self, t_s: float, observations: dict[str, Any]) -> str: ...


Maker = Callable[[dict[str, Any]], Control]


@dataclass(frozen=True)
class Scenario:
    """A network, its demand, and the seconds to run."""

    name: str
    net: Path
    routes: Path
    begin_s: int
    end_s: int
    options: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What one run cost. Delays in seconds; `violations` by an observer outside the controllers."""

    delays_s: list[float] = field(default_factory=list[float])
    due: int = 0
    arrived: int = 0
    stops: float = 0.0
    red_max_s: int = 0
    violations: list[str] = field(default_factory=list[str])
    teleports: int = 0

    @property
    def mean_s(self) -> float:
        return sum(self.delays_s) / max(1, len(self.delays_s))

    @property
    def p95_s(self) -> float:
        ordered = sorted(self.delays_s)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else 0.0


def net_root(path: Path) -> ET.Element:
    """The parsed network, compressed or not."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            return ET.parse(file).getroot()
    return ET.parse(path).getroot()


def specs(root: ET.Element) -> dict[str, dict[str, Any]]:
    """The adapter's spec of every signalled junction of a network (docs/atcs.md)."""
    lanes: dict[str, dict[str, float]] = {}
    ends: dict[str, tuple[str, str]] = {}
    for edge in root.iter("edge"):
        ends[edge.get("id", "")] = (edge.get("from", ""), edge.get("to", ""))
        for lane in edge.iter("lane"):
            lanes[lane.get("id", "")] = {
                "length_m": float(lane.get("length", "0")),
                "speed_mps": float(lane.get("speed", "0")),
            }
    # A turn that may wait inside the junction has two internal lanes; both mean the same link.
    beyond = {
        f"{row.get('from')}_{row.get('fromLane')}": row.get("via", "")
        for row in root.iter("connection")
        if row.get("from", "").startswith(":") and row.get("via")
    }
    via: dict[str, tuple[str, int]] = {}
    links: dict[str, dict[int, dict[str, Any]]] = {}
    for row in root.iter("connection"):
        tls = row.get("tl")
        if tls is None:
            continue
        index = int(row.get("linkIndex", "0"))
        source = f"{row.get('from')}_{row.get('fromLane')}"
        target = f"{row.get('to')}_{row.get('toLane')}"
        entry = links.setdefault(tls, {}).setdefault(
            index, {"index": index, "in_lane": source, "out_lane": []}
        )
        entry["out_lane"].append(target)
        inner = row.get("via", "")
        while inner and inner not in via:
            via[inner] = (tls, index)
            inner = beyond.get(inner, "")
    # A junction's request rows are in the order of its internal lanes.
    foes: dict[str, dict[int, set[int]]] = {tls: {} for tls in links}
    for node in root.iter("junction"):
        internal = node.get("intLanes", "").split()
        requests = {int(r.get("index", "0")): r for r in node.iter("request")}
        for i, request in requests.items():
            if i >= len(internal) or internal[i] not in via:
                continue
            tls, link = via[internal[i]]
            bits = request.get("foes", "")[::-1]
            for j, bit in enumerate(bits):
                if bit == "1" and j < len(internal) and internal[j] in via:
                    other, foe = via[internal[j]]
                    if other == tls:
                        foes[tls].setdefault(link, set()).add(foe)
    states: dict[str, list[str]] = {}
    for logic in root.iter("tlLogic"):
        found = [phase.get("state", "") for phase in logic.iter("phase")]
        greens = [s for s in found if ("G" in s or "g" in s) and "y" not in s.lower()]
        if not greens:
            greens = [s.replace("y", "r") for s in found if "G" in s or "g" in s]
        states.setdefault(logic.get("id", ""), greens)
    owner: dict[str, str] = {}
    for tls, table in links.items():
        for entry in table.values():
            owner[entry["in_lane"].rsplit("_", 1)[0]] = tls
    result: dict[str, dict[str, Any]] = {}
    for tls, table in links.items():
        used = {entry["in_lane"] for entry in table.values()}
        used |= {out for entry in table.values() for out in entry["out_lane"]}
        result[tls] = {
            "id": tls,
            "links": [table[i] for i in sorted(table)],
            "green_states": states.get(tls, []),
            "foes": {i: sorted(values) for i, values in foes[tls].items()},
            "lanes": {lane: lanes[lane] for lane in used if lane in lanes},
            "neighbours": sorted(
                {owner[lane.rsplit("_", 1)[0]] for lane in used if lane.rsplit("_", 1)[0] in owner}
                - {tls}
            ),
        }
    return result


class Observer:
    """Counts what detectors at a junction's lanes would count."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        links = cast(list[dict[str, Any]], spec["links"])
        lanes = cast(dict[str, dict[str, float]], spec["lanes"])
        self._ins = sorted({link["in_lane"] for link in links if link["in_lane"] in lanes})
        self._outs = sorted({out for link in links for out in link["out_lane"] if out in lanes})
        self._length = {lane: lanes[lane]["length_m"] for lane in [*self._ins, *self._outs]}
        self._before: dict[str, dict[str, float]] = {lane: {} for lane in self._ins}

    def look(self) -> dict[str, Any]:
        """What the adapter's `observations` hold for the second that just ended."""
        ins: dict[str, Any] = {}
        for lane in self._ins:
            length = self._length[lane]
            before = self._before[lane]
            now: dict[str, float] = {}
            halting = near = arrivals = 0
            head, wait = 1e9, 0.0
            occupied = False
            for vehicle in lib.lane.getLastStepVehicleIDs(lane):
                left = length - lib.vehicle.getLanePosition(vehicle)
                if left > REACH_M:
                    continue
                now[vehicle] = left
                near += 1
                if vehicle not in before:
                    arrivals += 1
                if left <= QUEUE_M and lib.vehicle.getSpeed(vehicle) < HALTING_MPS:
                    halting += 1
                if left <= STOP_BAR_M:
                    occupied = True
                if left < head:
                    head, wait = left, lib.vehicle.getWaitingTime(vehicle)
            gone = sum(1 for vehicle, left in before.items() if vehicle not in now and left < 40.0)
            self._before[lane] = now
            ins[lane] = {
                "occupied": occupied,
                "departures": gone,
                "arrivals": arrivals,
                "halting": halting,
                "vehicles": near,
                "wait_s": wait,
            }
        outs: dict[str, Any] = {}
        for lane in self._outs:
            outs[lane] = {
                "vehicles_first_50m": sum(
                    1
                    for vehicle in lib.lane.getLastStepVehicleIDs(lane)
                    if lib.vehicle.getLanePosition(vehicle) <= QUEUE_M
                )
            }
        return {"lanes": ins, "out_lanes": outs}


class Watcher:
    """Checks one junction's states from outside: conflicts, yellow, minimum green, longest red."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        native = cast(list[str], spec["green_states"])
        table = cast(dict[int, list[int]], spec["foes"])
        in_lane = {link["index"]: link["in_lane"] for link in spec["links"]}
        self._pairs = [
            (i, j)
            for i, row in table.items()
            for j in row
            if i < j
            and in_lane.get(i) != in_lane.get(j)
            and not any(s[i] in "Gg" and s[j] in "Gg" for s in native)
        ]
        self._links = sorted(in_lane)
        self._name = str(spec["id"])
        self._state = ""
        self._age: list[int] = []
        self.red_max_s = 0

    def see(self, t_s: int, state: str) -> list[str]:
        """The violations that `state`, shown from `t_s` on, adds."""
        wrong: list[str] = []
        for i, j in self._pairs:
            if state[i] in "Gg" and state[j] in "Gg":
                wrong.append(f"{self._name} {t_s}: links {i} and {j} both green")
        if not self._state:
            self._state, self._age = state, [0] * len(state)
            return wrong
        for i, (old, new) in enumerate(zip(self._state, state, strict=True)):
            self._age[i] += 1
            old, new = old.lower(), new.lower()
            if old == new:
                if old == "r" and i in self._links:
                    self.red_max_s = max(self.red_max_s, self._age[i])
                continue
            if old == "g" and (new != "y" or self._age[i] < MIN_GREEN_S):
                wrong.append(f"{self._name} {t_s}: link {i} green for {self._age[i]} s then {new}")
            if old == "y" and (new not in "rs" or self._age[i] < YELLOW_S):
                wrong.append(f"{self._name} {t_s}: link {i} yellow for {self._age[i]} s then {new}")
            self._age[i] = 0
        self._state = state
        return wrong


def run(
    scenario: Scenario,
    seed: int,
    folder: Path,
    maker: Maker | None = None,
    additional: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Outcome:
    """Run `scenario`; junctions follow `maker`'s controllers, or the programs in `additional`."""
    table = specs(net_root(scenario.net))
    trips = folder / "tripinfo.xml"
    command = [
        "sumo", "-n", str(scenario.net), "-r", str(scenario.routes),
        "-b", str(scenario.begin_s), "-e", str(scenario.end_s), "--seed", str(seed),
        "--step-length", "1", "--time-to-teleport", "-1", "--no-step-log", "--no-warnings",
        "--duration-log.disable", "--tripinfo-output", str(trips),
        "--tripinfo-output.write-unfinished", "--tripinfo-output.write-undeparted",
        "--max-depart-delay", "-1", "--random-depart-offset", "0", *scenario.options,
    ]  # fmt: skip
    if additional is not None:
        command += ["-a", str(additional)]
    outcome = Outcome()
    lib.start(command)
    try:
        controls = {tls: maker(spec) for tls, spec in table.items()} if maker else {}
        observers = {tls: Observer(table[tls]) for tls in controls}
        watchers = {tls: Watcher(table[tls]) for tls in table}
        for t in range(scenario.begin_s, scenario.end_s):
            for tls, control in controls.items():
                state = control.step(t, observers[tls].look())
                lib.trafficlight.setRedYellowGreenState(tls, state)
            lib.simulationStep()
            if on_step:
                on_step(t)
            for tls, watcher in watchers.items():
                state = lib.trafficlight.getRedYellowGreenState(tls)
                outcome.violations += watcher.see(t, state)
            outcome.teleports += lib.simulation.getStartingTeleportNumber()
        outcome.red_max_s = max((w.red_max_s for w in watchers.values()), default=0)
    finally:
        lib.close()
    _account(trips, scenario.end_s, outcome)
    return outcome


def _account(trips: Path, end_s: int, outcome: Outcome) -> None:
    """Read SUMO's trip file: everybody due, whatever became of them."""
    stops = 0
    for _, row in ET.iterparse(trips):
        if row.tag != "tripinfo":
            continue
        outcome.due += 1
        depart = float(row.get("depart", "-1"))
        wait = float(row.get("departDelay", "0"))
        loss = float(row.get("timeLoss", "0"))
        if depart < 0:
            loss = 0.0
        elif float(row.get("arrival", "-1")) >= 0:
            outcome.arrived += 1
        stops += int(float(row.get("waitingCount", "0") or 0)) if depart >= 0 else 0
        outcome.delays_s.append(max(0.0, wait) + max(0.0, loss))
        row.clear()
    outcome.stops = stops / max(1, outcome.due)
