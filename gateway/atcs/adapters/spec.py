"""A junction as a simulator describes it, read forgivingly: mappings or objects, several spellings.

`junction(spec)` and `sensed(observations, ...)` are all that `adapters.sumo` needs; docs/atcs.md
gives the format in full. Unknown keys are ignored: the caller's dictionary is not ours to refuse.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.atcs.adaptive.arrivals import Sensed

LENGTH_M = 100.0
SPEED_MPS = 13.9
"""Taken where the spec names no length or speed for a lane: the urban default of SUMO."""


@dataclass(slots=True)
class Junction:
    """The spec, normalised. `foes[i]` is a bit mask; -1 in a lane index means none."""

    name: str
    count: int
    in_lanes: list[str]
    out_lanes: list[list[str]]
    """By link; a link index may stand for several connections, hence a list."""
    links_of: dict[str, int]
    """Approach lane -> mask of its links."""
    foes: list[int]
    states: list[str]
    lengths_m: dict[str, float]
    speeds_mps: dict[str, float]
    neighbours: list[Any] = field(default_factory=list[Any])


def get(source: Any, *names: str, default: Any = None) -> Any:
    """The first of `names` that `source`, a mapping or an object, has; else `default`."""
    if source is None:
        return default
    for name in names:
        if isinstance(source, Mapping):
            if name in source:
                return cast(Any, source[name])
        elif hasattr(source, name):
            return getattr(source, name)
    return default


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return list(cast(Mapping[Any, Any], value).values())
    return list(cast(Iterable[Any], value))


def _link(entry: Any, position: int) -> tuple[int, str, list[str], Any]:
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        row = cast(Sequence[Any], entry)
        if row and isinstance(row[0], int):
            return int(row[0]), str(row[1]), [str(row[2])], None
        if len(row) >= 2:
            return position, str(row[0]), [str(row[1])], None
        return position, "", [], None
    index = int(get(entry, "index", "link", "link_index", "id", default=position))
    source = get(entry, "in_lane", "in", "from_lane", "incoming", "lane_in", "from", default="")
    target = get(entry, "out_lane", "out", "to_lane", "outgoing", "lane_out", "to", default="")
    foes = get(entry, "foes", "foe_links", "conflicts")
    return index, str(source or ""), [str(lane) for lane in _items(target) if lane], foes


def junction(spec: Any) -> Junction:
    """Normalise `spec`; raises ValueError where no controller could be made of it."""
    states = [
        str(get(state, "state", "green", default=state))
        for state in _items(
            get(
                spec, "green_states", "native_green_states", "states", "phases", "native_states"
            )
        )
    ]  # fmt: skip
    raw = get(spec, "links", "controlled_links", "connections", default=[])
    if isinstance(raw, Mapping):
        rows: list[tuple[int, str, list[str], Any]] = []
        for key, entry in cast(Mapping[Any, Any], raw).items():
            _, source, target, foes = _link(entry, int(key))
            rows.append((int(key), source, target, foes))
    else:
        rows = [_link(entry, i) for i, entry in enumerate(cast(Iterable[Any], raw))]
    count = max((row[0] + 1 for row in rows), default=0)
    if states:
        count = max(count, len(states[0]))
    if not count:
        raise ValueError("the spec has neither links nor green states")
    in_lanes = [""] * count
    out_lanes: list[list[str]] = [[] for _ in range(count)]
    links_of: dict[str, int] = {}
    foes = [0] * count
    for index, source, targets, link_foes in rows:
        if source:
            in_lanes[index] = in_lanes[index] or source
            links_of[source] = links_of.get(source, 0) | 1 << index
        out_lanes[index] += [lane for lane in targets if lane not in out_lanes[index]]
        for foe in _items(link_foes):
            foes[index] |= 1 << int(foe)
    _read_foes(get(spec, "foes", "foe_links", "conflicts"), foes)
    for i in range(count):
        foes[i] &= (1 << count) - 1 & ~(1 << i)
        for j in range(count):
            if foes[i] >> j & 1:
                foes[j] |= 1 << i
    if not any(foes):
        # Nobody said what conflicts: then whatever is not green together natively does.
        together = [1 << i for i in range(count)]
        for state in states:
            green = sum(1 << i for i, char in enumerate(state) if char in "Gg")
            for i in range(count):
                if green >> i & 1:
                    together[i] |= green
        foes = [(1 << count) - 1 & ~mask for mask in together]
    for mask in links_of.values():
        # Links out of one lane follow each other; no vehicle can be in two of them.
        for i in range(count):
            if mask >> i & 1:
                foes[i] &= ~mask
    lengths, speeds = _lanes(spec)
    neighbours = _items(get(spec, "neighbours", "neighbors", default=[]))
    name = str(get(spec, "id", "name", "tls", "junction", default="junction"))
    return Junction(
        name, count, in_lanes, out_lanes, links_of, foes, states, lengths, speeds, neighbours
    )


def _read_foes(table: Any, foes: list[int]) -> None:
    """Add to `foes` what `table` says: {link: links}, one list of links a link, or pairs."""
    if table is None:
        return
    if isinstance(table, Mapping):
        for key, value in cast(Mapping[Any, Any], table).items():
            for foe in _items(value):
                foes[int(key)] |= 1 << int(foe)
        return
    rows = [_items(row) for row in _items(table)]
    by_link = len(rows) == len(foes) and not all(len(row) == 2 for row in rows)
    if by_link:
        for i, row in enumerate(rows):
            if len(row) == len(foes) and all(isinstance(flag, bool) for flag in row):
                row = [j for j, flag in enumerate(row) if flag]
            for foe in row:
                foes[i] |= 1 << int(foe)
    elif len(rows) == len(foes):
        # Two numbers in each of n rows: foes by link unless a link would be its own foe.
        own = any(int(foe) == i for i, row in enumerate(rows) for foe in row)
        for i, row in enumerate(rows):
            if own:
                foes[int(row[0])] |= 1 << int(row[1])
            else:
                for foe in row:
                    foes[i] |= 1 << int(foe)
    else:
        for row in rows:
            foes[int(row[0])] |= 1 << int(row[1])


def _lanes(spec: Any) -> tuple[dict[str, float], dict[str, float]]:
    lengths: dict[str, float] = {}
    speeds: dict[str, float] = {}
    table = get(spec, "lanes", "lane", default={})
    if isinstance(table, Mapping):
        pairs = list(cast(Mapping[Any, Any], table).items())
    else:
        pairs = [(get(row, "id", "lane", "name"), row) for row in cast(Iterable[Any], table)]
    for key, row in pairs:
        if isinstance(row, Sequence) and not isinstance(row, str):
            values = cast(Sequence[Any], row)
            lengths[str(key)], speeds[str(key)] = float(values[0]), float(values[1])
            continue
        lengths[str(key)] = float(get(row, "length_m", "length", default=LENGTH_M))
        speeds[str(key)] = float(
            get(row, "speed_mps", "speed", "max_speed", "speed_m_s", default=SPEED_MPS)
        )
    for names, target in (
        (("lane_lengths", "lane_length", "lengths", "lane_lengths_m"), lengths),
        (("lane_speeds", "lane_speed", "speeds", "lane_speeds_mps"), speeds),
    ):
        for key, value in cast(Mapping[Any, Any], get(spec, *names, default={})).items():
            target[str(key)] = float(value)
    return lengths, speeds


_OCCUPIED = ("occupied", "stop_bar_occupied", "stopbar_occupied", "stop_bar", "occupancy")
_DEPARTURES = ("departures", "departed", "departures_last_second", "departures_1s")
_ARRIVALS = (
    "arrivals", "advance_arrivals", "arrived", "arrivals_last_second", "advance",
)  # fmt: skip
_HALTING = ("halting", "halting_50m", "halting_within_50m", "halting_50", "queue", "halted")
_VEHICLES = ("vehicles", "vehicles_150m", "vehicles_within_150m", "vehicles_150", "count", "near")
_WAIT = ("wait_s", "wait", "head_wait", "head_wait_s", "waiting", "waiting_time", "wait_head")
_OUT = ("vehicles_first_50m", "first_50m", "vehicles_50m", "vehicles", "first50", "count")


def observations_by_lane(observations: Any) -> tuple[Any, Any]:
    """(approach lanes, out lanes) of the observations, whichever way they are nested."""
    lanes = get(observations, "lanes", "in_lanes", "in", "incoming", "approach", default=None)
    outs = get(observations, "out_lanes", "out", "outgoing", "exits", default=None)
    if lanes is None:
        lanes = observations
    return lanes, outs if outs is not None else lanes


def sensed(lanes: Any, lane: str) -> Sensed | None:
    """What `lanes` say about `lane`; None if nothing."""
    row = get(lanes, lane)
    if row is None:
        return None
    if isinstance(row, Sequence) and not isinstance(row, str):
        # The order in which the project's issue lists the quantities.
        row = dict(
            zip(
                ("occupied", "departures", "arrivals", "halting", "vehicles", "wait_s"),
                cast(Sequence[Any], row),
                strict=False,
            )
        )
    halting = int(get(row, *_HALTING, default=0) or 0)
    return Sensed(
        occupied=bool(get(row, *_OCCUPIED, default=False)),
        departures=int(get(row, *_DEPARTURES, default=0) or 0),
        arrivals=int(get(row, *_ARRIVALS, default=0) or 0),
        halting=halting,
        vehicles=max(halting, int(get(row, *_VEHICLES, default=halting) or 0)),
        wait_s=float(get(row, *_WAIT, default=0.0) or 0.0),
    )


def filled(outs: Any, lane: str) -> float | None:
    """Vehicles in the first 50 m of out lane `lane`; None if not observed."""
    row = get(outs, lane)
    if row is None:
        return None
    if isinstance(row, (int, float)):
        return float(row)
    value = get(row, *_OUT)
    return None if value is None else float(value)
