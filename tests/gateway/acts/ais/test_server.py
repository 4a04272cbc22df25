"""Plotters over TCP and UDP: many, slow, hostile, and a Signal K server."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import urllib.request
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pyais
import pytest

from gateway.acts.ais.act import AisAct
from gateway.acts.ais.server import Hub
from gateway.acts.part import Context
from gateway.clock import now_ms
from gateway.config import ConfigError
from tests.gateway.acts.fixture import act_context, alarm, flood, stored, track
from tests.gateway.peers import free_port

SECTION = """
[ais]
tcp = "{tcp}"
udp = "{udp}"
clients_max = 3

[[ais.vessel]]
device = "jukung-7"
name = "Sinar Laut"
number = 7

[[ais.gauge]]
device = "kumbasari"
number = 1
"""
SIGNALK = Path(__file__).parents[3] / "oracles/signalk/node_modules/signalk-server"


@contextlib.asynccontextmanager
async def running(context: Context) -> AsyncGenerator[AisAct]:
    assert context.settings.ais is not None
    act = AisAct(context.settings.ais, context)
    task = asyncio.create_task(act.run())
    try:
        if context.settings.ais.tcp.endswith(":0"):
            async with asyncio.timeout(10):
                while not act.hub.port:  # noqa: ASYNC110  it is asked
                    await asyncio.sleep(0.01)
        yield act
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read_messages(reader: asyncio.StreamReader, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    parts: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            line = await reader.readline()
            assert line, "the connection was closed"
            parts.append(line)
            fields = line.split(b",")
            if fields[1] == fields[2]:
                found.append(pyais.decode(*parts).asdict())
                parts = []
    return found


def test_a_plotter_gets_all_that_is_known_and_then_what_is_new_over_tcp_and_udp(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        plotter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plotter.bind(("127.0.0.1", 0))
        plotter.setblocking(False)
        udp = f"127.0.0.1:{plotter.getsockname()[1]}"
        with act_context(tmp_path, SECTION.format(tcp="127.0.0.1:0", udp=udp)) as context:
            now = now_ms()
            await stored(context.ledger, track("jukung-7", 1, now, -871234, 11521234))
            async with running(context) as act:
                reader, writer = await asyncio.open_connection("127.0.0.1", act.hub.port)
                kinds = {one["msg_type"] for one in await read_messages(reader, 4)}
                assert kinds >= {18, 24, 21}  # from before the start
                await act.handle(1, alarm("jukung-7", "sos", now, lat_e5=-871300, lon_e5=11521300))
                seen: list[dict[str, Any]] = []
                while not any(one["mmsi"] == 972990007 for one in seen):
                    seen = await read_messages(reader, 1)
                heard = b""
                async with asyncio.timeout(10):
                    while b"AIVDM" not in heard or "972990007" not in str(
                        [pyais.decode(*one.split()).asdict() for one in [heard]]
                    ):
                        heard = await asyncio.get_running_loop().sock_recv(plotter, 4096)
                writer.close()
                await writer.wait_closed()
                assert not act.faults()
        plotter.close()

    asyncio.run(run())


def test_slow_and_talking_plotters_are_dropped_and_crowds_are_refused() -> None:
    async def run() -> None:
        hub = Hub(3, lambda: [b"hello\r\n"])
        await hub.start("127.0.0.1:0")
        good, good_writer = await asyncio.open_connection("127.0.0.1", hub.port)
        assert await good.readline() == b"hello\r\n"
        slow = socket.create_connection(("127.0.0.1", hub.port))
        _, talking = await asyncio.open_connection("127.0.0.1", hub.port)
        async with asyncio.timeout(10):
            while len(hub.clients) < 3:  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0)
            fourth, fourth_writer = await asyncio.open_connection("127.0.0.1", hub.port)
            with contextlib.suppress(ConnectionError):
                assert await fourth.read() == b""
            assert hub.refused == 1
            with contextlib.suppress(ConnectionError):
                while True:
                    talking.write(os.urandom(8192))
                    await talking.drain()
                    await asyncio.sleep(0)
            data = b"x" * 65_534 + b"\r\n"
            while hub.dropped < 2:  # the slow one reads nothing
                hub.say(data)
                assert len(await good.readline()) == len(data)
        assert len(hub.clients) == 1
        hub.say(b"still here\r\n")
        assert await good.readline() == b"still here\r\n"
        slow.close()
        for writer in (good_writer, talking, fourth_writer):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await hub.stop()

    asyncio.run(run())


def test_a_port_in_use_is_a_fault_that_names_the_cure(tmp_path: Path) -> None:
    async def run() -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        tcp = f"127.0.0.1:{taken.getsockname()[1]}"
        with act_context(tmp_path, SECTION.format(tcp=tcp, udp="")) as context:
            async with running(context) as act, asyncio.timeout(10):
                while not act.faults():  # noqa: ASYNC110  it is asked
                    await asyncio.sleep(0.01)
                ((code, subject), text) = next(iter(act.faults().items()))
                assert (code, subject) == ("ais.tcp", tcp)
                assert "free the port" in text
        taken.close()

    asyncio.run(run())


def test_a_gauge_without_a_place_and_an_unknown_boat_are_refused(tmp_path: Path) -> None:
    for name, words in (("bus-3", "has no place"), ("bus-9", "there is no")):
        section = f'[ais]\ntcp = ""\nudp = ""\n[[ais.gauge]]\ndevice = "{name}"\nnumber = 1\n'
        with (
            act_context(tmp_path, section) as context,
            pytest.raises(ConfigError, match=words),
        ):
            assert context.settings.ais is not None
            AisAct(context.settings.ais, context)


async def rest(port: int, path: str) -> Any:
    """A document of Signal K's API, or {}."""

    def get() -> Any:
        with contextlib.suppress(OSError, ValueError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{port}/signalk/v1/api/{path}", timeout=5) as answer:
                return json.load(answer)
        return {}

    return await asyncio.to_thread(get)


@pytest.mark.skipif(
    not SIGNALK.exists() or shutil.which("node") is None,
    reason="no Signal K server: run `npm ci --omit=optional` in tests/oracles/signalk",
)
@pytest.mark.skipif(sys.platform != "linux", reason="Signal K is kept in its own folder on Linux")
def test_boats_calls_and_gauges_are_on_a_signal_k_server(tmp_path: Path) -> None:
    async def run() -> None:
        with act_context(tmp_path, SECTION.format(tcp="127.0.0.1:0", udp="")) as context:
            async with running(context) as act:
                port = free_port()
                folder = tmp_path / "signalk"
                folder.mkdir()
                options = {"type": "tcp", "host": "127.0.0.1", "port": act.hub.port}
                settings = {
                    "interfaces": {"nmea-tcp": False, "tcp": False, "mfd_webapp": False},
                    "mdns": False,
                    "pipedProviders": [
                        {
                            "id": "tukad",
                            "enabled": True,
                            "pipeElements": [
                                {
                                    "type": "providers/simple",
                                    "options": {"type": "NMEA0183", "subOptions": options},
                                }
                            ],
                        }
                    ],
                }
                (folder / "settings.json").write_text(json.dumps(settings))
                now = now_ms()
                act.on_readings(
                    await stored(
                        context.ledger,
                        track("jukung-7", 1, now, -871234, 11521234, speed_dkn=53, course_deg=90),
                        flood("kumbasari", 1, now, 2374),
                    )
                )
                await act.handle(1, alarm("jukung-7", "mob", now))
                server = await asyncio.create_subprocess_exec(
                    "node",
                    str(SIGNALK / "bin/signalk-server"),
                    "-c",
                    str(folder),
                    env={
                        **os.environ,
                        "PORT": str(port),
                        "NMEA0183PORT": str(free_port()),
                        "TCPSTREAMPORT": str(free_port()),
                        "EXTERNALHOST": "127.0.0.1",
                        "HOME": str(folder),
                    },
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                try:
                    everything: dict[str, Any] = {}
                    async with asyncio.timeout(55):
                        while not _has_all(everything):
                            everything = await rest(port, "")
                            await asyncio.sleep(0.2)
                finally:
                    server.kill()
                    await server.wait()
                boat = everything["vessels"]["urn:mrn:imo:mmsi:985250007"]
                assert boat["name"] == "SINAR LAUT"
                position = boat["navigation"]["position"]["value"]
                assert position["latitude"] == pytest.approx(-8.71234, abs=0.001)
                call = everything["vessels"]["urn:mrn:imo:mmsi:972990007"]
                assert call["navigation"]["state"]["value"] == "ais-sart"
                mark = everything["atons"]["urn:mrn:imo:mmsi:995256001"]
                assert mark["name"] == "KUMBASARI"
                (station,) = everything["meteo"].values()
                assert station["environment"]["water"]["level"]["value"] == 2.37

    asyncio.run(run())


def _has_all(everything: dict[str, Any]) -> bool:
    vessels = everything.get("vessels", {})
    call = vessels.get("urn:mrn:imo:mmsi:972990007", {})
    return (
        "name" in vessels.get("urn:mrn:imo:mmsi:985250007", {})
        and "state" in call.get("navigation", {})
        and "name" in everything.get("atons", {}).get("urn:mrn:imo:mmsi:995256001", {})
        and bool(everything.get("meteo"))
    )
