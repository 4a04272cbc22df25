"""Rules for vessels: overdue, zones, heartbeat, GNSS that lies, dragging anchor; `VesselRules`.

Sans-IO: fixes and the time in, `Notice`s out. Calls for help are `gateway.rules.events`' business
and pass none of these filters. Each condition has a latch: it must hold for a while to be told,
must be gone for longer to be over, and one that flaps stays told for hours.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

from gateway.config import ConfigError
from gateway.model import LIVE, Reading
from protocols.gnss import sanity
from protocols.payload.reckon import distance_m
from protocols.payload.track import STATE_ANCHORED, STATE_MOORED

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HARBOUR, PROTECTED, NO_GO = "harbour", "protected", "no_go"
ZONE_KINDS = (HARBOUR, PROTECTED, NO_GO)
_FLAPPING = 4  # times a day
_FLAPPING_CLEAR_MS = 6 * HOUR_MS
_STEPS_MS = (0, HOUR_MS, 3 * HOUR_MS)  # overdue: told again at most twice, each time louder


@dataclass(frozen=True, slots=True)
class Plan:
    """A float plan: who is back when."""

    id: str
    vessel: str  # the device's name
    depart_ms: int
    return_ms: int
    grace_min: int = 60
    contact: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What became true of a vessel, got worse or ended."""

    vessel: str
    kind: str
    key: str  # tells two of a kind apart: the zone, the plan
    level: int  # 1..3; 0: over
    since_ms: int
    lat_e5: int | None
    lon_e5: int | None
    words_id: str
    words_en: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon (rings of (lat, lon) in 1e-5 degree; the first is the shore) or a circle."""

    name: str
    kind: str
    rings: tuple[tuple[tuple[int, int], ...], ...] = ()
    centre: tuple[int, int] = (0, 0)
    radius_m: int = 0

    def holds(self, lat: int, lon: int) -> bool:
        """Whether a position is inside: even-odd over all rings, so holes count."""
        if self.radius_m:
            return distance_m(*self.centre, lat, lon) <= self.radius_m
        inside = False
        for ring in self.rings:
            for (a_lat, a_lon), (b_lat, b_lon) in itertools.pairwise(ring):
                if (a_lat > lat) != (b_lat > lat):
                    cross = a_lon + (lat - a_lat) * (b_lon - a_lon) / (b_lat - a_lat)
                    inside ^= lon < cross
        return inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient the rules are."""

    under_way_min: int = 45
    anchored_min: int = 120
    moored_min: int = 720
    drag_m: int = 80
    confirm_s: int = 60
    clear_s: int = 900


@dataclass(slots=True)
class Latch:
    """One condition of one vessel."""

    seen_ms: int = 0
    gone_ms: int = 0
    open_ms: int = 0
    level: int = 0
    opened: list[int] = field(default_factory=list[int])

    def step(self, holds: bool, now_ms: int, confirm_ms: int, clear_ms: int) -> int:
        """1: began now, -1: ended now, 0: nothing new."""
        if holds:
            self.gone_ms = 0
            self.seen_ms = self.seen_ms or now_ms
            if self.open_ms or now_ms - self.seen_ms < confirm_ms:
                return 0
            self.open_ms = now_ms
            self.opened = [t for t in self.opened if now_ms - t < 24 * HOUR_MS] + [now_ms]
            return 1
        self.seen_ms = 0
        if not self.open_ms:
            return 0
        self.gone_ms = self.gone_ms or now_ms
        if len(self.opened) >= _FLAPPING:
            clear_ms = max(clear_ms, _FLAPPING_CLEAR_MS)
        if now_ms - self.gone_ms < clear_ms:
            return 0
        self.open_ms = self.gone_ms = self.level = 0
        return -1


@dataclass(slots=True)
class _Vessel:
    heard_ms: int = 0
    fix_ms: int = 0  # time of the newest believed fix
    lat: int = 0
    lon: int = 0
    state: int = 0
    verdict: int = sanity.GOOD
    verdict_ms: int = 0
    anchor: list[list[int]] = field(default_factory=list[list[int]])
    left_ms: int = 0  # when it was last seen outside every harbour
    landed_ms: int = 0  # when it was last seen inside one


class VesselRules:
    """All vessels of a site."""

    def __init__(self, vessels: Iterable[str], zones: Sequence[Zone], limits: Limits) -> None:
        self._limits = limits
        self._zones = zones
        self._vessels = {name: _Vessel() for name in vessels}
        self._checks = {name: sanity.FixCheck() for name in self._vessels}
        self._latches: dict[tuple[str, str, str], Latch] = {}
        self.plans: dict[str, Plan] = {}

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "vessels": {n: asdict(v) for n, v in self._vessels.items()},
            "latches": [[*key, asdict(one)] for key, one in self._latches.items()],
            "plans": [asdict(one) for one in self.plans.values()],
        }

    def restore(self, state: Mapping[str, Any], now_ms: int) -> None:
        """Take up where `to_state` left off; it was the agent that did not listen meanwhile."""
        for name, one in state["vessels"].items():
            if name in self._vessels:
                self._vessels[name] = _Vessel(**one)
                if one["heard_ms"]:
                    self._vessels[name].heard_ms = now_ms
        for vessel, kind, key, one in state["latches"]:
            self._latches[vessel, kind, key] = Latch(**one)
        self.plans = {one["id"]: Plan(**one) for one in state["plans"]}

    def add(self, plan: Plan) -> str:
        """Register a float plan; one with the same id replaces it. Returns what is wrong, or ""."""
        if plan.vessel not in self._vessels:
            return f'there is no vessel "{plan.vessel}"; there are: {", ".join(self._vessels)}'
        if plan.return_ms <= plan.depart_ms:
            return "the return is not after the departure"
        if not 0 <= plan.grace_min <= 1440:
            return f"grace_min = {plan.grace_min} is outside 0..1440"
        self.plans[plan.id] = plan
        return ""

    def close(self, plan_id: str) -> bool:
        """The vessel is back, or the plan is void."""
        return self.plans.pop(plan_id, None) is not None

    def feed(self, reading: Reading) -> None:
        """Take a reading of a vessel; history fills the track but decides nothing."""
        vessel = self._vessels.get(reading.device)
        if vessel is None:
            return
        vessel.heard_ms = max(vessel.heard_ms, reading.received_ms)
        values = reading.values
        if reading.stream != "track" or "lat_e5" not in values or "lon_e5" not in values:
            return
        if reading.origin != LIVE or reading.time_ms <= vessel.fix_ms:
            return
        lat, lon, speed = values["lat_e5"], values["lon_e5"], values.get("speed_dkn")
        verdict = self._checks[reading.device].judge(reading.time_ms // 1000, lat, lon, speed)
        if verdict == sanity.GOOD or verdict != vessel.verdict:
            vessel.verdict_ms = reading.received_ms
        vessel.verdict = verdict
        state = values.get("state", vessel.state)
        if state != STATE_ANCHORED or vessel.state != STATE_ANCHORED:
            vessel.anchor = []
        vessel.state = state
        if verdict != sanity.GOOD:
            return
        vessel.fix_ms, vessel.lat, vessel.lon = reading.time_ms, lat, lon
        if state == STATE_ANCHORED and len(vessel.anchor) < 3:
            vessel.anchor.append([lat, lon])
        harbours = [one for one in self._zones if one.kind == HARBOUR]
        if any(one.holds(lat, lon) for one in harbours):
            vessel.landed_ms = reading.time_ms
        elif harbours:
            vessel.left_ms = reading.time_ms

    def check(self, now_ms: int) -> list[Notice]:
        """What began, got worse and ended since the last check."""
        notices: list[Notice] = []
        for name, vessel in self._vessels.items():
            if vessel.heard_ms:
                self._watch(name, vessel, now_ms, notices)
        self._overdue(now_ms, notices)
        return notices

    def _watch(self, name: str, vessel: _Vessel, now_ms: int, notices: list[Notice]) -> None:
        limits = self._limits
        quiet_min = {
            STATE_MOORED: limits.moored_min,
            STATE_ANCHORED: limits.anchored_min,
        }.get(vessel.state, limits.under_way_min)
        is_quiet = now_ms - vessel.heard_ms > quiet_min * MINUTE_MS
        told = f"{(now_ms - vessel.heard_ms) // MINUTE_MS}"
        self._latch(notices, name, vessel, "heartbeat", "", is_quiet, 2, now_ms,
                    f"tidak terdengar {told} menit", f"not heard for {told} min")  # fmt: skip
        if is_quiet:
            return  # what follows would judge an old position
        for verdict, kind, words_id, words_en in (
            (sanity.STUCK, "gnss_frozen", "posisi GNSS macet", "GNSS position is stuck"),
            (sanity.NULL, "gnss_null", "posisi GNSS nol", "GNSS position is null"),
            (sanity.JUMP, "gnss_jump", "posisi GNSS melompat", "GNSS position jumps"),
        ):
            self._latch(notices, name, vessel, kind, "", vessel.verdict == verdict, 1, now_ms,
                        words_id, words_en)  # fmt: skip
        away = 0
        if len(vessel.anchor) == 3:
            middle = [round(median(one[i] for one in vessel.anchor)) for i in (0, 1)]
            away = distance_m(middle[0], middle[1], vessel.lat, vessel.lon)
        self._latch(notices, name, vessel, "drag", "", away > limits.drag_m, 2, now_ms,
                    f"jangkar hanyut {away} m", f"anchor drags, {away} m")  # fmt: skip
        for zone in self._zones:
            if zone.kind == HARBOUR:
                continue
            inside = bool(vessel.fix_ms) and zone.holds(vessel.lat, vessel.lon)
            level = 2 if zone.kind == NO_GO else 1
            word = ("zona terlarang", "no-go area") if level == 2 else (
                "kawasan lindung", "protected area")  # fmt: skip
            self._latch(notices, name, vessel, "zone", zone.name, inside, level, now_ms,
                        f"di {word[0]} {zone.name}", f"in {word[1]} {zone.name}")  # fmt: skip

    def _latch(
        self,
        notices: list[Notice],
        name: str,
        vessel: _Vessel | None,
        kind: str,
        key: str,
        holds: bool,
        level: int,
        now_ms: int,
        words_id: str,
        words_en: str,
    ) -> None:
        latch = self._latches.setdefault((name, kind, key), Latch())
        before, since = latch.level, latch.open_ms
        # Silence has its own patience, and the first word ends it.
        slow = kind not in ("heartbeat", "overdue")
        confirm = 1000 * self._limits.confirm_s if slow else 0
        clear = 1000 * self._limits.clear_s if slow else 0
        turn = latch.step(holds, now_ms, confirm, clear)
        if turn == 0 and not (latch.open_ms and holds and level > before):
            return
        latch.level = level if latch.open_ms else 0
        has_fix = vessel is not None and vessel.fix_ms
        notices.append(
            Notice(
                name, kind, key, latch.level, latch.open_ms or since,
                vessel.lat if has_fix and vessel else None,
                vessel.lon if has_fix and vessel else None,
                words_id, words_en, turn == 1,
            )
        )  # fmt: skip

    def _overdue(self, now_ms: int, notices: list[Notice]) -> None:
        for plan in list(self.plans.values()):
            vessel = self._vessels[plan.vessel]
            # Back: seen in a harbour after it was seen outside on this trip.
            out = vessel.left_ms > plan.depart_ms
            if out and vessel.landed_ms > vessel.left_ms:
                self.plans.pop(plan.id)
                continue
            late_ms = now_ms - plan.return_ms - plan.grace_min * MINUTE_MS
            level = sum(late_ms >= step for step in _STEPS_MS)
            late = max(0, (now_ms - plan.return_ms) // MINUTE_MS)
            self._latch(notices, plan.vessel, vessel, "overdue", plan.id, level > 0, level, now_ms,
                        f"terlambat {late} menit, hubungi {plan.contact or '-'}",
                        f"overdue by {late} min, call {plan.contact or '-'}")  # fmt: skip
        for (name, kind, key), latch in list(self._latches.items()):
            if kind == "overdue" and key not in self.plans:
                if latch.open_ms:
                    self._latch(notices, name, self._vessels.get(name), kind, key, False, 0,
                                now_ms, "rencana selesai", "plan closed")  # fmt: skip
                del self._latches[name, kind, key]


def load_zones(file: Path) -> list[Zone]:
    """The zones of a GeoJSON file (RFC 7946: longitude first). Raises ConfigError."""
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"watch.zones = {file}: cannot be read: {error}") from None
    zones: list[Zone] = []
    features = cast("dict[str, Any]", data).get("features") if isinstance(data, dict) else None
    if not isinstance(features, list):
        raise ConfigError(f"watch.zones = {file}: is not a GeoJSON FeatureCollection")
    for number, feature in enumerate(cast("list[Any]", features), 1):
        try:
            zones += _zone(feature)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(
                f"watch.zones = {file}: feature {number}: {error}; expected a Polygon, a"
                " MultiPolygon, or a Point with radius_m, with name and kind"
                f" ({', '.join(ZONE_KINDS)})"
            ) from None
    return zones


def _zone(feature: Any) -> list[Zone]:
    about, shape = feature["properties"], feature["geometry"]
    name, kind = str(about["name"]), str(about["kind"])
    if kind not in ZONE_KINDS:
        raise ValueError(f"kind = {kind}")
    if shape["type"] == "Point":
        radius = round(float(about["radius_m"]))
        if not 1 <= radius <= 100_000:
            raise ValueError(f"radius_m = {radius}")
        return [Zone(name, kind, centre=_point(shape["coordinates"]), radius_m=radius)]
    if shape["type"] not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"type = {shape['type']}")
    several = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
    zones: list[Zone] = []
    for rings in several:
        made = tuple(tuple(_point(one) for one in ring) for ring in rings)
        if any(len(ring) < 4 or ring[0] != ring[-1] for ring in made):
            raise ValueError("a ring is not closed")
        zones.append(Zone(name, kind, rings=made))
    return zones


def _point(pair: Any) -> tuple[int, int]:
    lon, lat = float(pair[0]), float(pair[1])
    if not (math.isfinite(lat) and abs(lat) <= 90 and abs(lon) <= 180):
        raise ValueError(f"position {pair}")
    return round(lat * 1e5), round(lon * 1e5)
