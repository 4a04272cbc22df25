"""Arrival at junctions, for priority: `FleetRules` makes `Arrival`s of the fixes of vehicles.

Between two fixes a vehicle is where dead reckoning puts it. An `Arrival` carries what the signal
controller's priority asks for (`gateway.atcs.priority`: vehicle, preempt, eta_s, and `passed`), as
plain data; who may have a green is decided there again, from the plan of the junction.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.config import setting
from gateway.model import LIVE, Reading
from protocols.payload.reckon import SOG_DKN_MAX, distance_m, predict_into

_OLD_MS = 45_000  # a fix older than this says nothing of an arrival
_SLOW_DKN = 27  # 5 km/h: below it there is no honest estimate, but a queue
_AIM_DEG = 40  # between course and junction
_WAY_DEG = 50  # between course and the approach's own heading
_AT_M = 45
_MS_PER_DKN = 0.0514444


@dataclass(frozen=True, kw_only=True)
class Approach:
    """[[watch.junction.approach]]: one way into a junction."""

    name: str = setting(doc="name of the approach, such as north")
    heading_deg: float = setting(
        low=0, high=360, unit="deg", doc="where a vehicle drives that comes in here; 180 is south"
    )
    preempt: str = setting("", doc="name of the preempt in the junction's plan")


@dataclass(frozen=True, kw_only=True)
class Junction:
    """[[watch.junction]]: where it is and how one comes in."""

    name: str = setting(doc="name of the junction")
    latitude_deg: float = setting(low=-90, high=90, unit="deg", doc="of its middle")
    longitude_deg: float = setting(low=-180, high=180, unit="deg", doc="of its middle")
    horizon_m: int = setting(1200, low=50, high=5000, unit="m", doc="arrivals from here on")
    approach: tuple[Approach, ...] = setting((), doc="the ways in")


@dataclass(frozen=True, kw_only=True)
class Vehicle:
    """[[watch.vehicle]]: a tracker on wheels."""

    device: str = setting(doc="name of the tracker")
    vehicle_class: str = setting(
        "other",
        choices=("ambulance", "fire", "police", "bus", "refuse", "other"),
        doc="what kind of vehicle",
    )
    authorised: bool = setting(False, doc="may ask for priority at junctions")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A vehicle will be at a junction, or (`passed`) has left it behind or turned away."""

    vehicle: str
    vehicle_class: str
    is_authorised: bool
    junction: str
    approach: str
    preempt: str
    eta_s: float
    distance_m: int
    time_ms: int
    passed: bool = False


@dataclass(slots=True)
class _Fix:
    time_ms: int
    lat: int
    lon: int
    speed_dkn: int
    course_deg: int


class FleetRules:
    """All vehicles and junctions."""

    def __init__(self, vehicles: Iterable[Vehicle], junctions: Iterable[Junction]) -> None:
        self._vehicles = {one.device: one for one in vehicles}
        self._junctions = {one.name: one for one in junctions}
        self._fixes: dict[str, _Fix] = {}
        self._coming: dict[tuple[str, str], str] = {}  # vehicle, junction -> approach

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart: who was told to be coming, so that it is told to have gone.

        Fixes are too old by then.
        """
        return {"coming": [[*key, approach] for key, approach in self._coming.items()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self._coming = {(v, j): a for v, j, a in state["coming"]}

    def feed(self, reading: Reading) -> None:
        """Take a fix of a vehicle."""
        values = reading.values
        if reading.device not in self._vehicles or reading.stream != "track":
            return
        known = self._fixes.get(reading.device)
        if reading.origin != LIVE or (known and known.time_ms >= reading.time_ms):
            return
        if "lat_e5" in values and "lon_e5" in values:
            course = values.get("course_deg", -1)
            speed = min(values.get("speed_dkn", 0), SOG_DKN_MAX)
            self._fixes[reading.device] = _Fix(
                reading.time_ms,
                values["lat_e5"],
                values["lon_e5"],
                speed if course >= 0 else 0,
                max(course, 0),
            )

    def check(self, now_ms: int) -> list[Arrival]:
        """Every arrival in sight, each time anew: a request that is not repeated lapses."""
        found: list[Arrival] = []
        for vehicle in self._vehicles.values():
            fix = self._fixes.get(vehicle.device)
            for junction in self._junctions.values():
                key = vehicle.device, junction.name
                arrival = None if fix is None else self._arrival(vehicle, junction, fix, now_ms)
                before = self._coming.get(key)
                if before is not None and (arrival is None or arrival.approach != before):
                    found.append(self._gone(vehicle, junction, before, now_ms))
                    del self._coming[key]
                if arrival is not None:
                    self._coming[key] = arrival.approach
                    found.append(arrival)
        return found

    def _arrival(
        self, vehicle: Vehicle, junction: Junction, fix: _Fix, now_ms: int
    ) -> Arrival | None:
        age_ms = now_ms - fix.time_ms
        if not -5000 <= age_ms <= _OLD_MS or fix.speed_dkn < _SLOW_DKN:
            return None
        place = [0, 0]
        predict_into(
            place, fix.lat, fix.lon, fix.speed_dkn, fix.course_deg, max(0, round(age_ms / 1000))
        )
        lat, lon = round(junction.latitude_deg * 1e5), round(junction.longitude_deg * 1e5)
        away = distance_m(place[0], place[1], lat, lon)
        if away > junction.horizon_m:
            return None
        north = lat - place[0]
        east = (lon - place[1]) * math.cos(math.radians(lat / 1e5))
        bearing = math.degrees(math.atan2(east, north))
        if away > _AT_M and _apart(fix.course_deg, bearing) > _AIM_DEG:
            return None
        if away <= _AT_M and _apart(fix.course_deg, bearing) > 90:
            return None  # through
        ways = [
            one for one in junction.approach if _apart(fix.course_deg, one.heading_deg) <= _WAY_DEG
        ]
        if not ways:
            return None
        way = min(ways, key=lambda one: _apart(fix.course_deg, one.heading_deg))
        return Arrival(
            vehicle.device,
            vehicle.vehicle_class,
            vehicle.authorised,
            junction.name,
            way.name,
            way.preempt,
            round(away / (fix.speed_dkn * _MS_PER_DKN), 1),
            away,
            now_ms,
        )

    def _gone(self, vehicle: Vehicle, junction: Junction, approach: str, now_ms: int) -> Arrival:
        preempt = next((one.preempt for one in junction.approach if one.name == approach), "")
        return Arrival(
            vehicle.device,
            vehicle.vehicle_class,
            vehicle.authorised,
            junction.name,
            approach,
            preempt,
            0.0,
            0,
            now_ms,
            passed=True,
        )


def as_message(arrival: Arrival) -> dict[str, Any]:
    """The message on fleet/arrival, and what a junction is handed."""
    message = asdict(arrival)
    message["class"] = message.pop("vehicle_class")
    message["authorised"] = message.pop("is_authorised")
    return message


def _apart(a_deg: float, b_deg: float) -> float:
    """Degrees between two directions, 0..180."""
    return abs((a_deg - b_deg + 180) % 360 - 180)
