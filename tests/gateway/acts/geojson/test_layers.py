"""GeoJSON layers: as RFC 7946 wants them, as public as they may be, over HTTP and as files."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.acts.geojson import GeojsonAct, read_ring
from gateway.acts.gtfs import GtfsAct
from gateway.acts.part import Context
from gateway.acts.published import PublishedAct
from gateway.config import ConfigError
from gateway.model import CLEARED
from tests.gateway.acts.fixture import act_context, alarm, flood, stored, track
from tests.gateway.samples import START_MS

SECTION = """
[geojson]
bind = "127.0.0.1:0"
every_s = 0.1
{more}
[[geojson.area]]
name = "market"
device = "kumbasari"
ring = "115.2110 -8.6560, 115.2110 -8.6545, 115.2130 -8.6545, 115.2130 -8.6560"
"""


def layers(context: Context, now_ms: int, *readings: Any, alarms: Any = ()) -> dict[str, Any]:
    """The layers by name, with their features by id."""
    assert context.settings.geojson is not None
    act = GeojsonAct(context.settings.geojson, context)
    act.picture.feed(readings)
    for one in alarms:
        act.picture.hear(one)
    found: dict[str, Any] = {}
    for name, document in act.documents(now_ms).items():
        assert document.kind == "application/geo+json"
        collection = json.loads(document.body)
        check(collection)
        found[name.removesuffix(".geojson")] = {one["id"]: one for one in collection["features"]}
    return found


def check(collection: dict[str, Any]) -> None:
    """What RFC 7946 demands (sections 3.1.6, 3.2, 3.3, 4, 7, 11.2), written from its text."""
    assert collection["type"] == "FeatureCollection"
    assert "crs" not in collection
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert isinstance(feature["properties"], dict)
        geometry = feature["geometry"]
        points = geometry["coordinates"]
        if geometry["type"] == "Point":
            points = [points]
        else:
            assert geometry["type"] == "Polygon"
            (points,) = points
            assert points[0] == points[-1]
            assert len(points) >= 4
            assert sum((b[0] - a[0]) * (b[1] + a[1]) for a, b in pairwise(points)) < 0
        for lon, lat in points:
            assert -180 <= lon <= 180
            assert -90 <= lat <= 90
            assert round(lon, 6) == lon
            assert round(lat, 6) == lat


def test_assets_and_observations_stand_where_the_configuration_says(tmp_path: Path) -> None:
    with act_context(tmp_path, SECTION.format(more="")) as context:
        found = layers(
            context,
            START_MS + 1000,
            flood("kumbasari", 1, START_MS, 2374),
            alarms=[alarm("kumbasari", "stage", START_MS, level=2, name="Siaga")],
        )
        asset = found["assets"]["kumbasari"]
        assert asset["geometry"]["coordinates"] == [115.21198, -8.65602]
        assert asset["properties"]["is_heard"]
        seen = found["observations"]["kumbasari/flood"]["properties"]
        assert seen["level_mm"] == 2374
        assert seen["time"] == "2026-09-10T00:26:40Z"
        assert (seen["quality"], seen["stage_level"], seen["stage"]) == (1, 2, "Siaga")
        assert found["areas"]["market"]["properties"]["stage"] == "Siaga"
        late = layers(context, START_MS + 3_600_000, flood("kumbasari", 1, START_MS, 2374))
        assert not late["assets"]["kumbasari"]["properties"]["is_heard"]
        assert late["areas"]["market"]["properties"]["stage_level"] == 0


def test_vessels_are_coarse_unless_the_layer_and_the_owner_allow_more(tmp_path: Path) -> None:
    fixes = [
        track("jukung-7", 1, START_MS, -871234, 11521234, speed_dkn=53, course_deg=90),
        track("jukung-8", 1, START_MS, -872222, 11522222),
    ]
    with act_context(tmp_path, SECTION.format(more="")) as context:
        vessels = layers(context, START_MS, *fixes)["vessels"]
        assert vessels.keys() == {"jukung-7"}
        boat = vessels["jukung-7"]
        assert boat["geometry"]["coordinates"] == [115.215, -8.715]
        assert not boat["properties"].keys() & {"speed_kn", "course_deg", "state"}
        assert boat["properties"]["time"] == "2026-09-10T00:20:00Z"  # ten minutes are as coarse
        text = json.dumps(vessels)
        assert "871234" not in text
        assert "8.71234" not in text
    (tmp_path / "2").mkdir()
    with act_context(tmp_path / "2", SECTION.format(more='share = "exact"')) as context:
        vessels = layers(context, START_MS, *fixes)["vessels"]
        assert vessels.keys() == {"jukung-7"}
        assert vessels["jukung-7"]["geometry"]["coordinates"] == [115.21234, -8.71234]
        assert vessels["jukung-7"]["properties"]["speed_kn"] == 5.3


def test_a_call_for_help_is_exact_whatever_the_share_until_it_is_cancelled(tmp_path: Path) -> None:
    fix = track("jukung-8", 1, START_MS, -872222, 11522222)
    sos = alarm("jukung-8", "sos", START_MS + 1000)
    end = alarm("jukung-8", "sos", START_MS + 2000, event=CLEARED)
    with act_context(tmp_path, SECTION.format(more="")) as context:
        boat = layers(context, START_MS + 1500, fix, alarms=[sos])["vessels"]["jukung-8"]
        assert boat["geometry"]["coordinates"] == [115.22222, -8.72222]
        assert boat["properties"]["call"] == "sos"
        assert not layers(context, START_MS + 2500, fix, alarms=[sos, end])["vessels"]


def test_a_fix_of_a_receiver_that_has_none_and_an_old_vessel_are_left_out(tmp_path: Path) -> None:
    with act_context(tmp_path, SECTION.format(more="expire_s = 60")) as context:
        good, bad = (
            track("jukung-7", 1, START_MS, -871234, 11521234),
            track("jukung-7", 2, START_MS + 10_000, 0, 0),
        )
        assert layers(context, START_MS, good)["vessels"]
        boat = layers(context, START_MS + 20_000, good, bad)["vessels"]["jukung-7"]
        assert boat["geometry"]["coordinates"] == [115.215, -8.715]
        assert not layers(context, START_MS + 700_000, good)["vessels"]


@pytest.mark.parametrize("text", ["", "1 2, 3 4", "1 2, 3 4, x 5", "1 2, 3 4, 181 5"])
def test_rings_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_ring(text)
    section = f'[geojson]\n[[geojson.area]]\nname = "a"\ndevice = "kumbasari"\nring = "{text}"\n'
    with pytest.raises(ConfigError, match="three corners"), act_context(tmp_path, section):
        pass


@contextlib.asynccontextmanager
async def running(act: PublishedAct) -> AsyncGenerator[str]:
    task = asyncio.create_task(act.run())
    try:
        async with asyncio.timeout(10):
            while not (act.server.port and act.counters()["made"]):  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{act.server.port}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_layers_come_over_http_with_etags_and_as_files(tmp_path: Path) -> None:
    async def run() -> None:
        with act_context(tmp_path, SECTION.format(more="")) as context:
            assert context.settings.geojson is not None
            await stored(context.ledger, flood("kumbasari", 1, START_MS, 2374))
            act = GeojsonAct(context.settings.geojson, context)
            async with running(act) as url, httpx.AsyncClient(trust_env=False) as http:
                first = await http.get(f"{url}/observations.geojson?x=1")
                assert first.status_code == 200
                assert first.headers["content-type"] == "application/geo+json"
                assert first.json()["features"][0]["properties"]["level_mm"] == 2374
                tag = first.headers["etag"]
                same = await http.get(
                    f"{url}/observations.geojson", headers={"If-None-Match": f'"x", W/{tag}'}
                )
                assert (same.status_code, same.content) == (304, b"")
                head = await http.head(f"{url}/observations.geojson")
                assert head.headers["content-length"] == str(len(first.content))
                act.on_readings(
                    await stored(context.ledger, flood("kumbasari", 2, START_MS + 10_000, 2400))
                )
                async with asyncio.timeout(10):
                    while same.status_code == 304:
                        same = await http.get(
                            f"{url}/observations.geojson", headers={"If-None-Match": tag}
                        )
                assert same.json()["features"][0]["properties"]["level_mm"] == 2400
                file = tmp_path / "geojson/observations.geojson"
                async with asyncio.timeout(10):
                    while file.read_bytes() != same.content:  # noqa: ASYNC110  it is asked
                        await asyncio.sleep(0.01)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /geojson/../gateway.toml HTTP/1.1\r\n\r\n", b"404"),
        (b"GET //assets.geojson/. HTTP/1.1\r\n\r\n", b"404"),
        (b"PUT /assets.geojson HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", b"405"),
        (b"DELETE /assets.geojson HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET /assets.geojson\r\n\r\n", b"400"),
        (b"GET /a HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b""),
        (b"GET", b""),
    ],
)
def test_hostile_requests_get_nothing_and_harm_nobody(
    tmp_path: Path, request_: bytes, status: bytes
) -> None:
    async def run() -> None:
        with act_context(tmp_path, SECTION.format(more="")) as context:
            assert context.settings.geojson is not None
            act = GeojsonAct(context.settings.geojson, context)
            async with running(act) as url, asyncio.timeout(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", act.server.port)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    writer.write(request_)
                    writer.write_eof()
                    answer = await reader.read()
                assert answer[9:12] == status
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                assert act.counters()["refused"] == (0 if status == b"404" else 1)
                async with httpx.AsyncClient(trust_env=False) as http:
                    assert (await http.get(f"{url}/assets.geojson")).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize("kind", [GeojsonAct, GtfsAct])
def test_a_port_in_use_is_a_fault_and_the_files_go_on(
    tmp_path: Path, kind: type[GeojsonAct] | type[GtfsAct]
) -> None:
    async def run() -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        section = f'[{kind.name}]\nbind = "127.0.0.1:{taken.getsockname()[1]}"\n'
        with act_context(tmp_path, section) as context:
            act = kind(getattr(context.settings, kind.name), context)
            task = asyncio.create_task(act.run())
            async with asyncio.timeout(10):
                while not (act.faults() and list((tmp_path / kind.name).glob("*[nb]"))):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            ((code, _), text) = next(iter(act.faults().items()))
            assert code == f"{kind.name}.bind"
            assert "free the port" in text
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        taken.close()

    asyncio.run(run())
