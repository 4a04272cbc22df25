"""The controllers to beat: fixed time by Webster, SUMO's own two, greedy pressure, longest wave.

All use the network's native green states, yellow 3 s and minimum green 5 s, as ours does.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from sim.junction.sumo import MIN_GREEN_S, YELLOW_S, lib, net_root, specs

MAX_GREEN_S = 50
SATURATION_VPS = 0.5


def greens(spec: Mapping[str, Any]) -> list[str]:
    """The native green states, each once."""
    return list(dict.fromkeys(cast(list[str], spec["green_states"])))


def yellow(state: str, after: str) -> str:
    """`state` with yellow for what is green now and not in `after`."""
    return "".join(
        ("y" if b not in "Gg" else a) if a in "Gg" else "r"
        for a, b in zip(state, after, strict=True)
    )


class Greedy:
    """Chooses a native green state each second after the minimum; `score` rates one lane."""

    def __init__(self, spec: Mapping[str, Any], *, pressure: bool) -> None:
        self._states = greens(spec)
        self._links = {link["index"]: link for link in spec["links"]}
        self._pressure = pressure
        self._now: int = 0
        self._next: int = 0
        self._since = -1e9
        self._yellow_until = -1.0

    def step(self, t_s: float, observations: dict[str, Any]) -> str:
        if t_s < self._yellow_until:
            return yellow(self._states[self._now], self._states[self._next])
        if self._next != self._now:
            self._now, self._since = self._next, t_s
        if t_s - self._since >= MIN_GREEN_S:
            scores = [self._score(s, observations) for s in range(len(self._states))]
            best: int = self._now if scores[self._now] == max(scores) else scores.index(max(scores))
            if best != self._now:
                self._next, self._yellow_until = best, t_s + YELLOW_S
                state = yellow(self._states[self._now], self._states[best])
                if "y" in state:
                    return state
                self._now, self._since, self._yellow_until = best, t_s, -1.0
        return self._states[self._now]

    def _score(self, s: int, observations: dict[str, Any]) -> float:
        ins = observations["lanes"]
        outs = observations["out_lanes"]
        total = 0.0
        counted: set[str] = set()
        for i, char in enumerate(self._states[s]):
            link = self._links.get(i)
            if char not in "Gg" or link is None:
                continue
            row = ins.get(link["in_lane"])
            if row is None:
                continue
            if self._pressure:
                out = [outs[o]["vehicles_first_50m"] for o in link["out_lane"] if o in outs]
                total += row["vehicles"] - (sum(out) / len(out) if out else 0.0)
            elif link["in_lane"] not in counted:
                counted.add(link["in_lane"])
                total += row["vehicles"]
        return total


def max_pressure(spec: Mapping[str, Any]) -> Greedy:
    """Greedy max-pressure over links: vehicles within 150 m less those just downstream."""
    return Greedy(spec, pressure=True)


def longest_wave(spec: Mapping[str, Any]) -> Greedy:
    """Greedy longest wave: most vehicles, halting or approaching, on the lanes served."""
    return Greedy(spec, pressure=False)


def native(net: Path, target: Path, kind: str) -> Path:
    """Write programs of SUMO's `kind` (actuated, delay_based) over the native green states."""
    root = ET.Element("additional")
    for tls, spec in specs(net_root(net)).items():
        logic = ET.SubElement(
            root, "tlLogic", {"id": tls, "type": kind, "programID": "rival", "offset": "0"}
        )
        states = greens(spec)
        for k, state in enumerate(states):
            limits = {"minDur": str(MIN_GREEN_S), "maxDur": str(MAX_GREEN_S)}
            ET.SubElement(logic, "phase", {"duration": "20", "state": state, **limits})
            change = yellow(state, states[(k + 1) % len(states)])
            if "y" in change:
                ET.SubElement(logic, "phase", {"duration": str(YELLOW_S), "state": change})
    ET.ElementTree(root).write(target)
    return target


class Counter:
    """Counts departures by lane, for Webster; call it after every step."""

    def __init__(self, table: Mapping[str, Mapping[str, Any]]) -> None:
        self._lanes = sorted({link["in_lane"] for spec in table.values() for link in spec["links"]})
        self._seen: dict[str, set[str]] = {lane: set() for lane in self._lanes}

    def __call__(self, t_s: int) -> None:
        if t_s % 3 == 0:
            for lane in self._lanes:
                if not lane.startswith(":"):
                    self._seen[lane].update(lib.lane.getLastStepVehicleIDs(lane))

    def flows_vps(self, seconds: float) -> dict[str, float]:
        return {lane: len(ids) / seconds for lane, ids in self._seen.items()}


def webster(net: Path, target: Path, flows_vps: Mapping[str, float]) -> Path:
    """Write fixed programs with Webster's cycle and splits for the lane flows counted."""
    root = ET.Element("additional")
    for tls, spec in specs(net_root(net)).items():
        states = greens(spec)
        links = {link["index"]: link["in_lane"] for link in spec["links"]}
        ratios: list[float] = []
        left = dict(flows_vps)
        for state in states:
            lanes = {links[i] for i, c in enumerate(state) if c in "Gg" and i in links}
            major = {links[i] for i, c in enumerate(state) if c == "G" and i in links}
            ratio = max((left.get(lane, 0.0) / SATURATION_VPS for lane in major), default=0.0)
            ratios.append(max(0.02, ratio))
            for lane in lanes & major:
                left[lane] = 0.0
        lost = (YELLOW_S + 1.0) * len(states)
        load = min(0.9, sum(ratios))
        cycle = min(120.0, max(30.0, (1.5 * lost + 5.0) / (1.0 - load)))
        spare = cycle - YELLOW_S * len(states)
        logic = ET.SubElement(
            root, "tlLogic", {"id": tls, "type": "static", "programID": "rival", "offset": "0"}
        )
        for k, state in enumerate(states):
            green = max(MIN_GREEN_S, round(spare * ratios[k] / sum(ratios)))
            ET.SubElement(logic, "phase", {"duration": str(green), "state": state})
            change = yellow(state, states[(k + 1) % len(states)])
            if "y" in change:
                ET.SubElement(logic, "phase", {"duration": str(YELLOW_S), "state": change})
    ET.ElementTree(root).write(target)
    return target
