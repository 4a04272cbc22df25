"""An ambulance is announced in time, to the right approach, and is gone when it is through."""

import inspect
import math

from gateway.atcs.priority import Priority
from gateway.model import Reading
from gateway.rules.fleet import Approach, Arrival, FleetRules, Junction, Vehicle
from tests.gateway.samples import START_MS

LAT, LON = -8.65, 115.22
WAYS = tuple(
    Approach(name=name, heading_deg=heading, preempt=f"p-{name}")
    for name, heading in (("north", 180), ("south", 0), ("west", 90), ("east", 270))
)
JUNCTION = Junction(name="j1", latitude_deg=LAT, longitude_deg=LON, approach=WAYS)
VEHICLES = (
    Vehicle(device="amb-1", vehicle_class="ambulance", authorised=True),
    Vehicle(device="truck-1", vehicle_class="refuse"),
)


def fix(device: str, t_s: float, from_north_m: float, kmh: float, course: int = 180) -> Reading:
    return Reading(
        device=device,
        stream="track",
        sequence=round(t_s),
        time_ms=START_MS + round(1000 * t_s),
        time_source="gnss",
        values={
            "lat_e5": round(LAT * 1e5 + from_north_m / 1.1132),
            "lon_e5": round(LON * 1e5),
            "speed_dkn": round(kmh / 0.1852),
            "course_deg": course,
        },
        received_ms=START_MS + round(1000 * t_s),
    )


def drive(device: str, kmh: float, every_s: int = 10) -> list[tuple[float, Arrival]]:
    """From 1.5 km north to 300 m south of the junction; asked every two seconds."""
    rules = FleetRules(VEHICLES, [JUNCTION])
    found: list[tuple[float, Arrival]] = []
    for t in range(0, round(1800 * 3.6 / kmh), 2):
        if t % every_s == 0:
            rules.feed(fix(device, t, 1500 - t * kmh / 3.6, kmh))
        found += [(t, one) for one in rules.check(START_MS + 1000 * t)]
    return found


def test_the_estimate_is_right_between_fixes_too() -> None:
    for kmh in (30.0, 50.0, 72.0):
        arrivals = [(t, one) for t, one in drive("amb-1", kmh) if not one.passed]
        there_s = 1500 * 3.6 / kmh
        for t, one in arrivals:
            if one.distance_m > 60:
                assert math.isclose(one.eta_s, there_s - t, abs_tol=2.0), (kmh, t, one)
        assert {one.approach for _, one in arrivals} == {"north"}
        assert arrivals[0][1].distance_m > 1100


def test_it_is_told_once_when_it_is_through() -> None:
    passed = [t for t, one in drive("amb-1", 50) if one.passed]
    assert len(passed) == 1 and 108 <= passed[0] <= 118


def test_class_and_right_come_along() -> None:
    (one, *_) = [one for _, one in drive("truck-1", 40)]
    assert (one.vehicle_class, one.is_authorised, one.preempt) == ("refuse", False, "p-north")


def test_who_drives_away_crawls_or_is_old_is_no_arrival() -> None:
    rules = FleetRules(VEHICLES, [JUNCTION])
    rules.feed(fix("amb-1", 0, 600, 50, course=0))
    assert rules.check(START_MS) == []
    rules.feed(fix("amb-1", 10, 600, 3))
    assert rules.check(START_MS + 10_000) == []
    rules.feed(fix("amb-1", 20, 600, 50))
    assert rules.check(START_MS + 20_000)
    assert [one.passed for one in rules.check(START_MS + 80_000)] == [True]
    assert rules.check(START_MS + 82_000) == []


def test_a_stranger_is_nobody() -> None:
    rules = FleetRules(VEHICLES, [JUNCTION])
    rules.feed(fix("thief", 0, 300, 50))
    assert rules.check(START_MS) == []


def test_an_arrival_has_what_the_controller_asks_for() -> None:
    wanted = list(inspect.signature(Priority.request).parameters)[1:4]
    assert wanted == ["vehicle", "preempt", "eta_s"]
    assert set(wanted) <= set(Arrival.__dataclass_fields__)
