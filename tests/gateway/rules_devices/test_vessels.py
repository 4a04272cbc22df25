"""Vessels: what is told, how often, and when it is over."""

import json
from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.model import HISTORY, LIVE, Reading
from gateway.rules.vessels import (
    HARBOUR,
    NO_GO,
    PROTECTED,
    Limits,
    Notice,
    Plan,
    VesselRules,
    Zone,
    load_zones,
)
from protocols.payload.track import STATE_ANCHORED, STATE_MOORED, STATE_UNDER_WAY
from tests.gateway.samples import START_MS

MINUTE = 60_000
HOUR = 60 * MINUTE
SANUR = (-868_500, 11_526_500)


def square(name: str, kind: str, lat: int, lon: int, half: int, *, hole: int = 0) -> Zone:
    def ring(size: int) -> tuple[tuple[int, int], ...]:
        corners = ((-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))
        return tuple((lat + a * size, lon + b * size) for a, b in corners)

    return Zone(name, kind, rings=(ring(half), ring(hole)) if hole else (ring(half),))


class Sea:
    """One boat that sends a fix every minute."""

    def __init__(self, *zones: Zone, vessel: str = "jukung-1") -> None:
        self.rules = VesselRules([vessel], zones, Limits())
        self.vessel = vessel
        self.ms = START_MS
        self.told: list[Notice] = []

    def fix(
        self,
        north_m: float,
        east_m: float = 0,
        *,
        state: int = STATE_UNDER_WAY,
        minutes: int = 1,
        origin: str = LIVE,
        **values: int,
    ) -> list[Notice]:
        found: list[Notice] = []
        for _ in range(minutes):
            self.ms += MINUTE
            place = {
                "lat_e5": SANUR[0] + round(north_m / 1.11),
                "lon_e5": SANUR[1] + round(east_m / 1.1),
            }
            self.rules.feed(
                Reading(
                    device=self.vessel,
                    stream="track",
                    sequence=self.ms // 1000,
                    time_ms=self.ms,
                    time_source="gnss",
                    values={"state": state, **place, **values},
                    received_ms=self.ms,
                    origin=origin,
                )
            )
            found += self.rules.check(self.ms)
        self.told += found
        return found

    def wait(self, minutes: int) -> list[Notice]:
        found: list[Notice] = []
        for _ in range(minutes):
            self.ms += MINUTE
            found += self.rules.check(self.ms)
        self.told += found
        return found


def kinds(notices: list[Notice]) -> list[tuple[str, int]]:
    return [(one.kind, one.level) for one in notices]


def test_overdue_grows_louder_three_times_and_no_more() -> None:
    sea = Sea()
    plan = Plan("p1", "jukung-1", START_MS, START_MS + 2 * HOUR, 30, "Wayan 0812")
    assert sea.rules.add(plan) == ""
    assert kinds(sea.fix(500, minutes=149)) == []
    assert kinds(sea.fix(500, minutes=3)) == [("overdue", 1)]
    assert "Wayan 0812" in sea.told[-1].words_en
    found = kinds(sea.fix(500, minutes=20 * 60))
    assert found == [("overdue", 2), ("overdue", 3)]
    sea.rules.close("p1")
    assert kinds(sea.fix(500)) == [("overdue", 0)]


def test_back_in_the_harbour_ends_the_plan() -> None:
    harbour = square("Sanur", HARBOUR, *SANUR, 200)
    sea = Sea(harbour)
    sea.rules.add(Plan("p1", "jukung-1", START_MS, START_MS + HOUR, 0))
    sea.fix(0, minutes=20)
    assert sea.rules.plans  # still in port is not back
    sea.fix(3000, minutes=30)
    sea.fix(0, minutes=2)
    assert not sea.rules.plans
    assert kinds(sea.fix(0, minutes=120)) == []


def test_a_vessel_that_never_left_is_overdue_too() -> None:
    """It may have left with a dead tracker: somebody has to look."""
    sea = Sea(square("Sanur", HARBOUR, *SANUR, 200))
    sea.rules.add(Plan("p1", "jukung-1", START_MS, START_MS + HOUR, 0))
    assert kinds(sea.fix(0, minutes=70)) == [("overdue", 1)]


def test_a_no_go_area_is_told_and_its_hole_is_none() -> None:
    sea = Sea(square("reef", NO_GO, SANUR[0] + 1800, SANUR[1], 900, hole=300))
    sea.fix(0, minutes=5)
    assert kinds(sea.fix(2000, minutes=1)) == []  # the hole
    assert kinds(sea.fix(1300, minutes=3)) == [("zone", 2)]
    assert sea.told[-1].key == "reef"
    assert kinds(sea.fix(0, minutes=10)) == []
    assert kinds(sea.fix(0, minutes=10)) == [("zone", 0)]


def test_a_boat_on_the_line_does_not_flood_the_radio_room() -> None:
    sea = Sea(Zone("park", PROTECTED, centre=SANUR, radius_m=500))
    for i in range(24 * 20):
        sea.fix(480 if i % 2 else 520)
        sea.wait(2)
    assert len(sea.told) <= 2
    sea = Sea(Zone("park", PROTECTED, centre=SANUR, radius_m=500))
    for _ in range(40):  # in and out for a day, slowly
        sea.fix(300, minutes=18)
        sea.fix(800, minutes=18)
    assert len(sea.told) <= 9


@pytest.mark.parametrize(
    ("state", "minutes"), [(STATE_UNDER_WAY, 45), (STATE_ANCHORED, 120), (STATE_MOORED, 720)]
)
def test_silence_is_judged_by_what_the_vessel_was_doing(state: int, minutes: int) -> None:
    sea = Sea()
    sea.fix(0, minutes=5, state=state)
    assert kinds(sea.wait(minutes)) == []
    assert kinds(sea.wait(2)) == [("heartbeat", 2)]
    assert kinds(sea.wait(600)) == []
    assert kinds(sea.fix(0, state=state)) == [("heartbeat", 0)]


def test_an_anchor_that_drags() -> None:
    sea = Sea()
    sea.fix(0, minutes=5)
    sea.fix(0, state=STATE_ANCHORED, minutes=30)
    for i in range(30):  # swinging round it is none
        assert sea.fix(40 * (-1) ** i, state=STATE_ANCHORED) == []
    found = kinds(sea.fix(150, state=STATE_ANCHORED, minutes=5))
    assert found == [("drag", 2)]


def test_receivers_that_lie() -> None:
    sea = Sea()
    sea.fix(0, minutes=3)
    found: list[Notice] = []
    for _ in range(12):
        found += sea.fix(0, speed_dkn=60)
    assert ("gnss_frozen", 1) in kinds(found)
    sea = Sea()
    sea.fix(0, minutes=3)
    sea.ms += MINUTE
    for _ in range(5):
        sea.rules.feed(
            Reading(
                device="jukung-1",
                stream="track",
                sequence=sea.ms,
                time_ms=sea.ms,
                time_source="gnss",
                values={"lat_e5": 0, "lon_e5": 0},
                received_ms=sea.ms,
            )
        )
        sea.told += sea.rules.check(sea.ms)
        sea.ms += MINUTE
    assert kinds(sea.told) == [("gnss_null", 1)]


def test_history_decides_nothing() -> None:
    sea = Sea(square("reef", NO_GO, SANUR[0] + 1800, SANUR[1], 900))
    sea.fix(0, minutes=2)
    assert sea.fix(2000, minutes=20, origin=HISTORY) == []


def test_a_restart_tells_nothing_twice_and_forgets_no_plan() -> None:
    sea = Sea(Zone("reef", NO_GO, centre=SANUR, radius_m=500))
    sea.rules.add(Plan("p1", "jukung-1", START_MS, START_MS + HOUR, 0))
    sea.fix(0, minutes=90)
    assert kinds(sea.told) == [("zone", 2), ("overdue", 1)]
    state = json.loads(json.dumps(sea.rules.to_state()))
    again = Sea(Zone("reef", NO_GO, centre=SANUR, radius_m=500))
    again.rules.restore(state, sea.ms)
    again.ms = sea.ms
    assert kinds(again.fix(0, minutes=20)) == []
    assert kinds(again.fix(0, minutes=20)) == [("overdue", 2)]


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ({"properties": {"name": "a", "kind": "wrong"}, "geometry": {"type": "Point"}}, "kind"),
        ({"properties": {"kind": "no_go"}, "geometry": {}}, "name"),
        (
            {
                "properties": {"name": "a", "kind": "no_go"},
                "geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6]]]},
            },
            "not closed",
        ),
        (
            {
                "properties": {"name": "a", "kind": "no_go", "radius_m": 100},
                "geometry": {"type": "Point", "coordinates": [115, 95]},
            },
            "position",
        ),
    ],
)
def test_zones_that_are_none(tmp_path: Path, feature: object, words: str) -> None:
    file = tmp_path / "zones.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(ConfigError, match="feature 1") as caught:
        load_zones(file)
    assert words in str(caught.value)


def test_zones_are_longitude_first(tmp_path: Path) -> None:
    ring = [[115.26, -8.70], [115.28, -8.70], [115.28, -8.68], [115.26, -8.68], [115.26, -8.70]]
    feature = {
        "type": "Feature",
        "properties": {"name": "reef", "kind": "no_go"},
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring]]},
    }
    file = tmp_path / "zones.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (zone,) = load_zones(file)
    assert zone.holds(-869_000, 11_527_000)
    assert not zone.holds(-869_000, 11_529_000)
