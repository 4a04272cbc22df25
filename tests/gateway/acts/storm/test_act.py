"""The act on a ledger: what nodes and sirens are told, what is published, what survives."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.acts.part import Context
from gateway.acts.storm.act import StormAct
from gateway.acts.storm.feed import NowcastFeed
from gateway.acts.storm.settings import StormSettings
from gateway.clock import now_ms
from gateway.config import ConfigError
from gateway.model import Alarm
from protocols.errors import RemoteError
from protocols.payload.command import CMD_STORM, CMD_TEST, Command, decode_command
from protocols.payload.ports import EPOCH_UNIX_S
from tests.gateway.acts.fixture import act_context, alarm
from tests.gateway.acts.storm.feeds import BULELENG, alert, rss

SECTIONS = """
[[device]]
name = "siren-1"
dev_eui = "70b3d57ed0061009"
kind = "siren"

[storm]
feed = "feed.xml"
"""
PLACE = "latitude_deg = -8.65602\nlongitude_deg = 115.21198\n"


@dataclass
class Radio:
    """The network server's end of `queue_downlink`."""

    sent: list[tuple[str, Command]] = field(default_factory=list[tuple[str, Command]])

    async def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        *,
        confirmed: bool = False,
        expiry_s: float = 0,
    ) -> int:
        assert f_port == 10 and expiry_s > 0
        self.sent.append((device, decode_command(data)))
        return len(self.sent)


@dataclass
class World:
    """An act that runs, and what came out."""

    context: Context
    radio: Radio
    alarms: list[Alarm]
    act: StormAct

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_so():  # noqa: ASYNC110  what is waited for is on many sides
                await asyncio.sleep(0.005)

    def published(self) -> dict[str, Any]:
        return json.loads(self.context.messages._retained["storm"])  # pyright: ignore


@contextlib.asynccontextmanager
async def running(context: Context) -> AsyncGenerator[World]:
    radio, alarms = Radio(), list[Alarm]()
    whole: Any = replace(context, service=radio, raise_alarms=alarms.extend)
    settings = whole.settings.storm
    assert settings is not None
    act = StormAct(settings, whole)
    task = asyncio.create_task(act.run())
    try:
        yield World(whole, radio, alarms, act)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def site(folder: Path, sections: str = SECTIONS):
    """A context whose gateway has a place."""
    with act_context(folder, sections) as context:
        gateway = replace(context.settings.gateway, latitude_deg=-8.65602, longitude_deg=115.21198)
        yield replace(context, settings=replace(context.settings, gateway=gateway))


def write_feed(folder: Path, *alerts: bytes) -> None:
    for number, one in enumerate(alerts):
        (folder / f"{number}.xml").write_bytes(one)
    (folder / "feed.xml").write_bytes(rss([f"{n}.xml" for n in range(len(alerts))]))


def test_a_nowcast_over_the_site_tells_nodes_and_tests_sirens_in_silence(tmp_path: Path) -> None:
    async def go() -> None:
        with site(tmp_path) as context:
            write_feed(tmp_path, alert(now_ms(), polygon=BULELENG), alert(now_ms(), hours=3))
            async with running(context) as world:
                await world.until(lambda: len(world.radio.sent) == 2 and bool(world.alarms))
                sent = dict(world.radio.sent)
                storm, test = sent["kumbasari"], sent["siren-1"]
                assert storm.kind == CMD_STORM and test.kind == CMD_TEST
                ahead_s = storm.values["until_time_s"] + EPOCH_UNIX_S - now_ms() // 1000
                assert 3 * 3600 - 30 < ahead_s <= 3 * 3600
                assert test.values["is_audible"] == 0
                (raised,) = world.alarms
                assert (raised.kind, raised.event) == ("storm", "raised")
                assert "BMKG" in raised.text_en and "BMKG" in raised.text_id
                assert world.published()["is_on"] is True

    asyncio.run(go())


@pytest.mark.parametrize(
    "changed",
    [
        {"polygon": BULELENG},
        {"severity": "Minor"},
        {"status": "Test"},
        {"hours": -0.1},
    ],
)
def test_a_warning_elsewhere_weak_for_practice_or_past_begins_nothing(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    async def go() -> None:
        with site(tmp_path) as context:
            write_feed(tmp_path, alert(now_ms(), **changed))
            assert context.settings.storm is not None
            act = StormAct(context.settings.storm, context)
            assert act.feed is not None
            act.take_alerts(await act.feed.poll(), now_ms())
            assert act.mode.step(now_ms()) is None

    asyncio.run(go())


def test_a_cancelled_warning_begins_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        with site(tmp_path) as context:
            at = now_ms()
            first = alert(at, identifier="a.1")
            gone = alert(
                at,
                identifier="a.2",
                message_type="Cancel",
                references="nowcast@met.example,a.1,2026-11-25T09:00:00+08:00",
            )
            write_feed(tmp_path, first, gone)
            assert context.settings.storm is not None
            act = StormAct(context.settings.storm, context)
            assert act.feed is not None
            act.take_alerts(await act.feed.poll(), at)
            assert act.mode.step(at) is None
            write_feed(tmp_path, first)
            act.take_alerts(await act.feed.poll(), at)
            assert act.mode.step(at) is not None

    asyncio.run(go())


def test_it_survives_a_restart_without_telling_twice(tmp_path: Path) -> None:
    async def go() -> None:
        with site(tmp_path, SECTIONS.replace('feed = "feed.xml"', "")) as context:
            async with running(context) as world:
                await world.act.handle(1, alarm("kumbasari", "stage", now_ms(), level=1))
                await world.until(lambda: len(world.radio.sent) == 2 and bool(world.alarms))
                incident = world.act.mode.incident
            async with running(context) as again:
                await again.until(lambda: again.act.mode.is_on)
                await asyncio.sleep(0)
                assert again.act.mode.incident == incident
                assert again.radio.sent == [] and again.alarms == []
                assert again.published()["cause"] == "stage"

    asyncio.run(go())


def test_an_old_alarm_begins_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        with site(tmp_path, SECTIONS.replace('feed = "feed.xml"', "")) as context:
            assert context.settings.storm is not None
            act = StormAct(context.settings.storm, context)
            await act.handle(1, alarm("kumbasari", "stage", now_ms() - 3_600_000))
            assert act.mode.step(now_ms()) is None

    asyncio.run(go())


def test_a_feed_without_a_place_is_a_configuration_error(tmp_path: Path) -> None:
    with act_context(tmp_path, SECTIONS) as context:
        assert context.settings.storm is not None
        with pytest.raises(ConfigError, match="latitude_deg"):
            StormAct(context.settings.storm, context)


# Over HTTP


@contextlib.asynccontextmanager
async def web(pages: dict[str, tuple[str, bytes]]) -> AsyncGenerator[tuple[str, list[str]]]:
    """A server of these pages: path -> (status and headers, body); the paths that were asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        asked.append(path)
        status, body = pages.get(path, ("404 Not Found", b""))
        if "if-none-match" in head.lower() and "ETag" in status:
            status, body = "304 Not Modified", b""
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n" + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", asked
    finally:
        server.close()
        await server.wait_closed()


def test_an_alert_is_fetched_once_and_again_when_it_changed(tmp_path: Path) -> None:
    async def go() -> None:
        pages: dict[str, tuple[str, bytes]] = {"/a.xml": ("200 OK", alert(now_ms()))}
        async with web(pages) as (base, asked):
            pages["/feed"] = ("200 OK", rss([f"{base}/a.xml", "http://intern.example/secret"]))
            feed = NowcastFeed(f"{base}/feed", (), tmp_path)
            assert len(await feed.poll()) == 1
            assert len(await feed.poll()) == 1
            assert asked == ["/feed", "/a.xml", "/feed"]
            assert feed.refused["host"] == 2  # each time it was listed
            pages["/feed"] = ("200 OK", rss([f"{base}/a.xml"], "later"))
            await feed.poll()
            assert asked[-1] == "/a.xml"

    asyncio.run(go())


def test_what_has_not_changed_is_not_sent_again(tmp_path: Path) -> None:
    async def go() -> None:
        pages = {"/a.xml": ("200 OK", alert(now_ms()))}
        async with web(pages) as (base, asked):
            pages["/feed"] = ('200 OK\r\nETag: "7"', rss([f"{base}/a.xml"]))
            feed = NowcastFeed(f"{base}/feed", (), tmp_path)
            assert len(await feed.poll()) == len(await feed.poll()) == 1
            assert asked == ["/feed", "/a.xml", "/feed"]

    asyncio.run(go())


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (("200 OK", b"<rss>" + b" " * 1_100_000), "size"),
        (("302 Found\r\nLocation: http://intern.example/x", b""), "host"),
        (("302 Found\r\nLocation: /feed", b""), "redirect"),
        (("500 Broken", b""), "status"),
    ],
)
def test_a_hostile_server_is_refused(tmp_path: Path, page: tuple[str, bytes], code: str) -> None:
    async def go() -> None:
        async with web({"/feed": page}) as (base, _):
            with pytest.raises(RemoteError) as caught:
                await NowcastFeed(f"{base}/feed", (), tmp_path).poll()
            assert caught.value.code == code

    asyncio.run(go())


def test_a_feed_that_is_gone_is_a_fault_that_says_what_to_do(tmp_path: Path) -> None:
    async def go() -> None:
        with site(tmp_path) as context:
            assert context.settings.storm is not None
            settings: StormSettings = context.settings.storm
            act = StormAct(settings, context)
            assert act.feed is not None
            with pytest.raises(FileNotFoundError):
                await act.feed.poll()
            act._fails = 3  # pyright: ignore[reportPrivateUsage]  three polls are 15 minutes
            ((key, detail),) = act.faults().items()
            assert key == ("storm.feed", "feed.xml") and "check storm.feed" in detail

    asyncio.run(go())
