"""What a chart plotter hears, read by pyais, which shares nothing with our encoder."""

import re
from pathlib import Path
from typing import Any

import pyais
import pytest

from gateway.acts.ais import messages
from gateway.acts.ais.feed import Feed
from gateway.acts.ais.sentence import sentences
from gateway.acts.ais.settings import AisSettings, mmsi_kind
from gateway.acts.picture import Picture
from gateway.config import ConfigError, Place, build
from gateway.model import CLEARED
from gateway.settings import load
from tests.gateway.acts.fixture import BASE, alarm, flood, track
from tests.gateway.samples import START_MS

BOATS = """
[ais]
{more}
[[ais.vessel]]
device = "jukung-7"
name = "Sinar Laut"
callsign = "YB7"
number = 7
mothership = 525123456
length_m = 9
beam_m = 2

[[ais.vessel]]
device = "bus-3"
name = "Patrol"
mmsi = 525000111
ais_class = "A"
ship_type = 55

[[ais.gauge]]
device = "kumbasari"
name = "Kumbasari bridge gauge north"
number = 1
datum_mm = -1000
trend = true
"""


class Chart:
    """A feed and what it said, decoded."""

    def __init__(self, folder: Path, more: str = "") -> None:
        file = folder / "gateway.toml"
        file.write_text(BASE.format(data=folder) + BOATS.format(more=more))
        settings = load(file).settings
        assert settings.ais is not None
        self.picture = Picture(settings)
        self.feed = Feed(settings.ais, self.picture)
        self.tick_ms = 0

    def give(self, *readings: Any) -> None:
        for device in self.picture.feed(readings):
            self.feed.noted(device, self.tick_ms)

    def hear(self, one: Any) -> None:
        self.picture.hear(one)
        self.feed.noted(one.device, self.tick_ms)

    def at(self, seconds: float) -> list[dict[str, Any]]:
        """What is said at this time."""
        self.tick_ms = round(seconds * 1000)
        return decode(self.feed.due(self.tick_ms, START_MS + self.tick_ms))

    def run(self, first: int, last: int) -> dict[int, list[dict[str, Any]]]:
        """What is said in every second of these, by kind of message."""
        found: dict[int, list[dict[str, Any]]] = {}
        for second in range(first, last):
            for one in self.at(second):
                found.setdefault(one["msg_type"], []).append(one)
        return found


def decode(said: list[bytes]) -> list[dict[str, Any]]:
    return [pyais.decode(*one.split()).asdict() for one in said]


def of(said: list[dict[str, Any]], kind: int) -> list[dict[str, Any]]:
    return [one for one in said if one["msg_type"] == kind]


def test_a_boat_without_a_number_of_its_own_is_a_craft_of_its_ship(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    chart.give(track("jukung-7", 1, START_MS, -871234, 11521234, speed_dkn=53, course_deg=271))
    said = chart.at(0)
    (report,) = of(said, 18)
    assert report["mmsi"] == 985250007
    assert (report["lat"], report["lon"]) == (-8.71234, 115.21234)
    assert (report["speed"], report["course"], report["heading"]) == (5.3, 271.0, 511)
    assert report["second"] == START_MS // 1000 % 60
    assert report["accuracy"]
    name, rest = of(said, 24)
    assert name["shipname"] == "SINAR LAUT"
    assert (rest["callsign"], rest["ship_type"]) == ("YB7", 30)
    assert rest["mothership_mmsi"] == 525123456


def test_a_patrol_boat_is_class_a_with_its_status_and_size(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    chart.give(track("bus-3", 1, START_MS, -871234, 11521234, speed_dkn=0, state=5))
    said = chart.at(0)
    (report,) = of(said, 1)
    assert (report["mmsi"], report["status"]) == (525000111, 5)
    (static,) = of(said, 5)
    assert (static["shipname"], static["ship_type"]) == ("PATROL", 55)


def test_messages_come_in_the_intervals_of_the_standard(tmp_path: Path) -> None:
    chart = Chart(tmp_path, "reckon = false")
    chart.give(
        track("jukung-7", 1, START_MS, -871234, 11521234, speed_dkn=53, course_deg=271),
        track("bus-3", 1, START_MS, -871234, 11521234, speed_dkn=100, course_deg=90),
        flood("kumbasari", 1, START_MS, 2374),
    )
    said = chart.run(0, 360)
    counted = {kind: len(found) for kind, found in said.items()}
    # class B every 30 s, class A every 10 s, names every 6 min, the gauge every 3 min
    assert counted == {18: 12, 1: 36, 5: 1, 24: 2, 21: 2, 8: 2}


def test_who_lies_still_is_said_every_three_minutes(tmp_path: Path) -> None:
    chart = Chart(tmp_path, "reckon = false")
    chart.give(
        track("jukung-7", 1, START_MS, -871234, 11521234, speed_dkn=20, course_deg=271),
        track("bus-3", 1, START_MS, -871234, 11521234, speed_dkn=0, state=4),
    )
    said = chart.run(0, 720)
    assert (len(said[18]), len(said[1])) == (4, 4)


def test_between_fixes_the_boat_goes_on_as_it_went_and_an_old_one_is_not_shown(
    tmp_path: Path,
) -> None:
    chart = Chart(tmp_path, "expire_s = 600")
    chart.give(track("jukung-7", 1, START_MS, -871234, 11521234, speed_dkn=100, course_deg=0))
    chart.at(0)
    (later,) = of(chart.at(360), 18)
    # 10 kn for 6 min is 1 nautical mile, a minute of latitude.
    assert later["lat"] == pytest.approx(-8.71234 + 1 / 60, abs=0.0002)
    assert later["lon"] == pytest.approx(115.21234, abs=0.0001)
    assert later["second"] == 62
    assert not later["accuracy"]
    assert of(chart.at(600), 18)
    assert not chart.at(601.0)


def test_a_call_for_help_is_said_at_once_and_eight_times_a_minute_until_it_ends(
    tmp_path: Path,
) -> None:
    chart = Chart(tmp_path)
    chart.give(track("jukung-7", 1, START_MS, -871234, 11521234))
    chart.at(0)
    sos = alarm("jukung-7", "mob", START_MS + 1000, lat_e5=-871300, lon_e5=11521300)
    chart.hear(sos)
    first = chart.at(1)
    (call,) = [one for one in first if one["mmsi"] == 972990007 and one["msg_type"] == 1]
    assert call["status"] == 14
    assert (call["lat"], call["lon"]) == (-8.713, 115.213)
    assert of(first, 14)[0]["text"] == "MOB ACTIVE"
    said = chart.run(2, 62)
    assert len(said[1]) == 7  # with the first, eight a minute
    assert len(said[14]) == 1
    chart.hear(alarm("jukung-7", "mob", START_MS + 70_000, event=CLEARED))
    after = chart.run(70, 140)
    assert 1 not in after
    assert 14 not in after


def test_a_call_that_comes_late_does_not_move_the_boat_back(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    chart.give(track("jukung-7", 1, START_MS, -871234, 11521234))
    chart.hear(alarm("jukung-7", "sos", START_MS - 60_000, lat_e5=-860000, lon_e5=11500000))
    (call,) = of(chart.at(1), 1)
    assert (call["lat"], call["lon"]) == (-8.71234, 115.21234)


def test_a_drill_never_looks_like_a_call(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    chart.give(track("jukung-7", 1, START_MS, -871234, 11521234, state=2, is_drill=1))
    said = chart.at(0)
    assert of(said, 1)[0]["status"] == 15
    assert of(said, 14)[0]["text"] == "MOB TEST"


@pytest.mark.parametrize("kind", ["sos", "mob"])
def test_who_hides_is_shown_exactly_while_calling_for_help(tmp_path: Path, kind: str) -> None:
    chart = Chart(tmp_path)
    fix = track("jukung-8", 1, START_MS, -872222, 11522222, speed_dkn=10, course_deg=5)
    chart.give(fix)
    assert not [one for one in chart.at(0) if one["msg_type"] in (1, 18)]
    drill = alarm("jukung-8", kind, START_MS, incident="d", is_drill=1)
    chart.hear(drill)
    assert not of(chart.at(1), 1)  # a drill gives nothing away
    chart.hear(alarm("jukung-8", kind, START_MS + 2000, incident="r"))
    (call,) = of(chart.at(3), 1)
    assert call["mmsi"] // 1_000_000 == 972
    assert (call["lat"], call["lon"]) == (-8.72222, 115.22222)


def test_a_coarse_boat_is_in_the_middle_of_its_square_without_speed(tmp_path: Path) -> None:
    text = BOATS.replace("number = 7", 'number = 7\nshare = "coarse"')
    file = tmp_path / "gateway.toml"
    file.write_text(BASE.format(data=tmp_path) + text.format(more=""))
    settings = load(file).settings
    assert settings.ais is not None
    picture = Picture(settings)
    feed = Feed(settings.ais, picture)
    seen: set[tuple[float, float]] = set()
    for number, lat_e5 in enumerate((-871999, -871500, -871001)):
        fix = track("jukung-7", number, START_MS + number, lat_e5, 11521234, speed_dkn=40)
        picture.feed([fix])
        (report,) = of(decode(feed.everything(START_MS + 1000)), 18)
        seen.add((report["lat"], report["lon"]))
        assert report["speed"] == 102.3
        assert report["second"] == 60
        assert not report["accuracy"]
    assert seen == {(-8.715, 115.215)}


def test_a_gauge_is_a_virtual_mark_with_its_level_above_chart_datum(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    chart.give(flood("kumbasari", 1, START_MS, 2374))
    said = chart.at(0)
    (mark,) = of(said, 21)
    assert mark["mmsi"] == 995256001
    assert mark["full_name"] == "KUMBASARI BRIDGE GAUGE NORTH"
    assert mark["virtual_aid"]
    assert (mark["lat"], mark["lon"]) == (-8.65602, 115.21198)
    (water,) = of(said, 8)
    assert (water["dac"], water["fid"]) == (1, 31)
    assert water["waterlevel"] == 1.37
    assert (water["lat"], water["lon"]) == (-8.656017, 115.211983)  # in 1/1000 minutes
    assert (water["day"], water["hour"], water["minute"]) == (10, 0, 26)
    assert water["leveltrend"] == 0
    chart.give(flood("kumbasari", 2, START_MS + 700_000, 2574))
    assert of(chart.at(701), 8)[0]["leveltrend"] == 2
    chart.give(flood("kumbasari", 3, START_MS + 1_400_000, 2274))
    assert of(chart.at(1401), 8)[0]["leveltrend"] == 1
    assert 8 not in chart.run(5100, 5300)  # older than an hour: the mark stays, the level goes


def test_a_gauge_that_is_polled_fast_does_not_flood_the_plotter(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    levels = 0
    for number in range(600):
        chart.give(flood("kumbasari", number, START_MS + 100 * number, 2000 + number))
        levels += len(of(chart.at(number / 10), 8))
    assert levels == 6


@pytest.mark.parametrize(("level_mm", "shown"), [(-10_000, -10.0), (30_000, 30.0), (0, 0.0)])
def test_levels_at_the_ends_of_the_range(level_mm: int, shown: float) -> None:
    assert water(level_mm)["waterlevel"] == shown


@pytest.mark.parametrize("level_mm", [-10_006, 30_006, 10**9, None])
def test_a_level_out_of_range_is_not_available(level_mm: int | None) -> None:
    assert water(level_mm)["waterlevel"] == 30.01  # 4001 of 0.01 m above -10 m


def water(level_mm: int | None) -> dict[str, Any]:
    one = messages.Water(lat_e5=0, lon_e5=0, day=1, hour=0, minute=0, level_mm=level_mm)
    return decode([sentences(messages.met_hydro(995256001, one), 0)])[0]


def test_sentences_keep_to_the_standard(tmp_path: Path) -> None:
    chart = Chart(tmp_path)
    chart.give(
        track("jukung-7", 1, START_MS, 8_999_999, -17_999_999, speed_dkn=9999, course_deg=359),
        track("bus-3", 1, START_MS, -8_999_999, 17_999_999),
        flood("kumbasari", 1, START_MS, 2374),
    )
    for one in chart.feed.everything(START_MS):
        lines = one.split(b"\r\n")
        assert lines.pop() == b""
        for line in lines:
            assert len(line) + 2 <= 82
            match = re.fullmatch(rb"!(AIVDM,\d,\d,\d?,A,[0-W`-w]+,[0-5])\*([0-9A-F]{2})", line)
            assert match, line
            total = 0
            for byte in match[1]:
                total ^= byte
            assert int(match[2], 16) == total


@pytest.mark.parametrize(
    ("mmsi", "kind"),
    [
        (525123456, "ship"),
        (985250007, "craft"),
        (995256001, "aid"),
        (972990001, "call"),
        (970990001, ""),
        (123456789, ""),
        (98, ""),
        (5251234567, ""),
        (989990001, ""),
    ],
)
def test_numbers_say_what_they_are(mmsi: int, kind: str) -> None:
    assert mmsi_kind(mmsi) == kind


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"vessel": [{"device": "a"}]}, "has neither mmsi nor number"),
        ({"vessel": [{"device": "a", "mmsi": 972990001}]}, "no ship's MMSI"),
        ({"vessel": [{"device": "a", "mmsi": 995250001}]}, "no ship's MMSI"),
        ({"gauge": [{"device": "a", "mmsi": 525000001}]}, "no aid to navigation's MMSI"),
        (
            {"vessel": [{"device": "a", "number": 1}, {"device": "b", "number": 1}]},
            "would both have MMSI 985250001",
        ),
        ({"vessel": [{"device": "a", "number": 1}, {"device": "a", "number": 2}]}, "twice"),
        ({"mid": 100}, "201..775"),
        ({"udp": "plotter.lan:10110"}, "an address in numbers"),
    ],
)
def test_wrong_numbers_are_refused_with_the_cure(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        build(AisSettings, table, Place(Path("gateway.toml"), "ais"))
