"""The GTFS-Realtime feed, read by Google's own bindings; ours is written without them."""

from pathlib import Path
from typing import Any

import pytest
from google.transit import gtfs_realtime_pb2

from gateway.acts.gtfs import GtfsAct
from gateway.acts.part import Context
from gateway.config import ConfigError
from gateway.model import CLEARED, ESCALATED
from tests.gateway.acts.fixture import act_context, alarm, track
from tests.gateway.samples import START_MS

SECTION = """
[gtfs]
bind = ""
{more}
[[gtfs.vehicle]]
device = "bus-3"
label = "Bus 3"
license_plate = "DK 1234 AB"
route_id = "K1"

[[gtfs.vehicle]]
device = "jukung-8"

[[gtfs.road]]
name = "gajah-mada"
device = "kumbasari"
route_ids = ["K1", "K2"]
text_id = "Jalan Gajah Mada"
text_en = "Gajah Mada street"

[[gtfs.road]]
name = "underpass"
device = "kumbasari"
level = 3
effect = "no_service"
"""


def feed(context: Context, now_ms: int, *readings: Any, alarms: Any = ()) -> Any:
    """The feed as the bindings read it."""
    assert context.settings.gtfs is not None
    act = GtfsAct(context.settings.gtfs, context)
    act.picture.feed(readings)
    for one in alarms:
        act.picture.hear(one)
    message: Any = gtfs_realtime_pb2.FeedMessage()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    body = act.documents(now_ms)["gtfs-realtime.pb"].body
    assert message.ParseFromString(body) == len(body)
    assert message.IsInitialized()
    message.DiscardUnknownFields()
    assert message.SerializeToString() == body  # no field that the schema does not know
    return message


BUS = track("bus-3", 1, START_MS, -865602, 11521198, speed_dkn=194, course_deg=271)
HIDDEN = track("jukung-8", 1, START_MS, -872222, 11522222)


def test_a_vehicle_is_where_it_was_last_heard(tmp_path: Path) -> None:
    with act_context(tmp_path, SECTION.format(more="")) as context:
        message = feed(context, START_MS + 1000, BUS, HIDDEN)
        assert message.header.gtfs_realtime_version == "2.0"
        assert message.header.incrementality == 0
        assert message.header.timestamp == START_MS // 1000 + 1
        (entity,) = message.entity  # the other hides
        vehicle = entity.vehicle
        assert vehicle.position.latitude == pytest.approx(-8.65602, abs=1e-6)
        assert vehicle.position.longitude == pytest.approx(115.21198, abs=1e-5)
        assert vehicle.position.bearing == 271
        assert vehicle.position.speed == pytest.approx(9.98, abs=0.01)
        assert vehicle.timestamp == START_MS // 1000
        assert vehicle.trip.route_id == "K1"
        assert (vehicle.vehicle.id, vehicle.vehicle.label) == ("bus-3", "Bus 3")
        assert vehicle.vehicle.license_plate == "DK 1234 AB"
        assert feed(context, START_MS + 600_000, BUS).entity
        assert not feed(context, START_MS + 600_001, BUS).entity


def test_a_coarse_feed_hides_where_exactly_and_how_fast(tmp_path: Path) -> None:
    with act_context(tmp_path, SECTION.format(more='share = "coarse"')) as context:
        (entity,) = feed(context, START_MS + 1000, BUS).entity
        assert entity.vehicle.position.latitude == pytest.approx(-8.655, abs=1e-6)
        assert not entity.vehicle.position.HasField("speed")


def test_a_flooded_road_is_an_alert_from_its_stage_on_until_the_all_clear(tmp_path: Path) -> None:
    def stage(level: int, event: str, name: str) -> Any:
        return alarm("kumbasari", "stage", START_MS, event=event, level=level, name=name)

    with act_context(tmp_path, SECTION.format(more="")) as context:
        low = stage(1, "raised", "Waspada")
        assert not feed(context, START_MS, alarms=[low]).entity
        siaga = stage(2, ESCALATED, "Siaga")
        (entity,) = feed(context, START_MS, alarms=[low, siaga]).entity
        assert entity.id == "road-gajah-mada"
        alert = entity.alert
        kinds = gtfs_realtime_pb2.Alert  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        assert alert.effect == kinds.DETOUR
        assert alert.cause == kinds.WEATHER
        assert alert.severity_level == kinds.WARNING
        assert [one.route_id for one in alert.informed_entity] == ["K1", "K2"]
        assert alert.active_period[0].start == START_MS // 1000
        assert not alert.active_period[0].HasField("end")
        header = {one.language: one.text for one in alert.header_text.translation}
        assert header == {
            "id": "Banjir di Jalan Gajah Mada: rute dialihkan",
            "en": "Flood on Gajah Mada street: detour",
        }
        awas = stage(3, ESCALATED, "Awas")
        message = feed(context, START_MS, alarms=[low, siaga, awas])
        assert [one.alert.effect for one in message.entity] == [kinds.DETOUR, kinds.NO_SERVICE]
        assert [one.agency_id for one in message.entity[1].alert.informed_entity] == [
            "pasar-badung"
        ]
        end = stage(0, CLEARED, "Normal")
        assert not feed(context, START_MS, alarms=[low, siaga, awas, end]).entity


def test_an_unknown_gauge_is_refused(tmp_path: Path) -> None:
    section = '[gtfs]\n[[gtfs.road]]\nname = "a"\ndevice = "kumbasari-9"\n'
    with (
        act_context(tmp_path, section) as context,
        pytest.raises(ConfigError, match='no \\[\\[device\\]\\] or sensor "kumbasari-9"'),
    ):
        assert context.settings.gtfs is not None
        GtfsAct(context.settings.gtfs, context)
