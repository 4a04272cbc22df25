"""Readings arrive once in a SensorThings server of others, whatever happens on the way."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from gateway.acts.part import Context
from gateway.acts.sensorthings.act import SINK, SensorThingsAct
from gateway.ledger.ledger import Ledger
from tests.gateway.acts.fixture import act_context, flood, stored, track
from tests.gateway.acts.sensorthings.peer import PEER, Server, served
from tests.gateway.samples import START_MS

pytestmark = pytest.mark.skipif(
    not PEER.exists(), reason="no .peers: run `sh deploy/setup.sh tests`"
)


def section(server: Server, more: str = "") -> str:
    return (
        f'[sensorthings]\nurl = "{server.root}"\nlinger_s = 0\nretry_s_max = 0.2\ntimeout_s = 10\n'
        f"{more}"
    )


@contextlib.asynccontextmanager
async def running(context: Context) -> AsyncGenerator[SensorThingsAct]:
    assert context.settings.sensorthings is not None
    act = SensorThingsAct(context.settings.sensorthings, context)
    task = asyncio.create_task(act.run())
    try:
        yield act
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def give(act: SensorThingsAct, ledger: Ledger, *readings: Any) -> None:
    act.on_readings(await stored(ledger, *readings))


async def until_fault(act: SensorThingsAct, words: str) -> None:
    """Until a fault says so."""
    async with asyncio.timeout(20):
        while not any(words in text for text in act.faults().values()):  # noqa: ASYNC110  it is asked
            await asyncio.sleep(0.02)


async def until_delivered(ledger: Ledger) -> None:
    """Until the ledger has nothing more for this sink."""
    async with asyncio.timeout(40):
        while True:
            await ledger.write(lambda store: None)  # with it go the marks that wait
            if not await ledger.read(lambda store: store.take(SINK, 1 << 62, 1)):
                return
            await asyncio.sleep(0.02)


def levels(first: int, last: int) -> list[Any]:
    return [flood("kumbasari", n, START_MS + 10_250 * n, 1000 + n) for n in range(first, last)]


def test_entities_are_made_once_and_observations_say_when_what_and_how_good(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with served(tmp_path) as server:
            with act_context(tmp_path, section(server), sinks=(SINK,)) as context:
                for batch in (levels(1, 4), levels(4, 7)):
                    async with running(context) as act:
                        await give(act, context.ledger, *batch)
                        await until_delivered(context.ledger)
                things = await server.all("Things?$expand=Locations")
                assert [one["name"] for one in things] == ["pasar-badung/kumbasari"]
                point = things[0]["Locations"][0]["location"]
                assert point == {"type": "Point", "coordinates": [115.21198, -8.65602]}
                (stream,) = await server.all("Datastreams?$expand=Thing,Sensor,ObservedProperty")
                assert stream["Thing"]["name"] == "pasar-badung/kumbasari"
                assert stream["ObservedProperty"]["name"] == "level_mm"
                assert stream["unitOfMeasurement"]["symbol"] == "mm"
                found = sorted(
                    await server.all("Observations"), key=lambda one: one["phenomenonTime"]
                )
                assert [one["result"] for one in found] == [1001, 1002, 1003, 1004, 1005, 1006]
                # START_MS is 2026-09-10T00:26:40Z by `date -u -d @1789000000`.
                assert found[0]["phenomenonTime"].startswith("2026-09-10T00:26:50")
                assert found[0]["resultTime"].startswith("2026-09-10T00:26:50")
                assert found[0]["resultQuality"]["flag"] == 1

    asyncio.run(run())


def test_nothing_is_lost_or_doubled_over_outages_lost_answers_and_restarts(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        server = Server(tmp_path)
        with act_context(tmp_path, section(server), sinks=(SINK,)) as context:
            ledger = context.ledger
            async with running(context) as act:
                await give(act, ledger, *levels(1, 120))  # nobody is there
                await until_fault(act, "cannot connect")
                ((code, _), text) = next(iter(act.faults().items()))
                assert code == "sensorthings.offline"
                assert "wait in the ledger" in text
            server.mute_next_post()  # the first entity is made, and we do not hear of it
            await server.start()
            try:
                async with running(context) as act:
                    await until_delivered(ledger)
                    assert not server.is_muted
                    assert not act.faults()
                    server.mute_next_post()  # now a batch
                    await give(act, ledger, *levels(120, 180))
                    await until_delivered(ledger)
                    assert not server.is_muted
                # Delivered, but the mark was lost with the power.
                rows = await ledger.read(lambda store: store.since(None, None, 0, 1000))
                ids = [row.id for row in rows]
                await ledger.write(lambda store: store.unmark(SINK, ids))
                async with running(context) as act:
                    await give(act, ledger, *levels(180, 200))
                    await until_delivered(ledger)
                assert await server.results() == Counter(range(1001, 1200))
                assert len(await server.all("Things")) == 1
                assert len(await server.all("Datastreams")) == 1
            finally:
                await server.stop()

    asyncio.run(run())


def test_a_server_that_was_set_up_anew_gets_its_datastreams_again(tmp_path: Path) -> None:
    async def run() -> None:
        server = Server(tmp_path)
        await server.start()
        try:
            with act_context(tmp_path, section(server), sinks=(SINK,)) as context:
                async with running(context) as act:
                    await give(act, context.ledger, *levels(1, 3))
                    await until_delivered(context.ledger)
                    await server.stop()
                    server.database.unlink()
                    await server.start()
                    await give(act, context.ledger, *levels(3, 6))
                    await until_delivered(context.ledger)
                    assert await server.results() == Counter([1003, 1004, 1005])
                    assert not act.counters()["refused"]
        finally:
            await server.stop()

    asyncio.run(run())


@pytest.mark.parametrize("is_wanted", [False, True])
def test_trackers_are_pushed_only_where_wanted_and_never_the_hidden(
    tmp_path: Path, is_wanted: bool
) -> None:
    async def run() -> None:
        async with served(tmp_path) as server:
            more = "trackers = true\n" if is_wanted else ""
            with act_context(tmp_path, section(server, more), sinks=(SINK,)) as context:
                async with running(context) as act:
                    await give(
                        act,
                        context.ledger,
                        track("jukung-7", 1, START_MS, -871234, 11521234),
                        track("jukung-8", 1, START_MS, -872222, 11522222),
                    )
                    await until_delivered(context.ledger)
                found = await server.results()
                assert found == (Counter([-8.71234, 115.21234]) if is_wanted else Counter())

    asyncio.run(run())


class Hostile:
    """A server that answers as it likes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self._answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def http(body: bytes, status: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x00\xff\r\n\r\n", "no answer"),
        (http(b"<html>hotel wifi</html>"), "not JSON"),
        (http(b"[]"), "no SensorThings service"),
        (http(b'{"value":[]}'), "has no Datastreams"),
        (http(b'{"value":[{"name":"Things","url":"http://evil.example/Things"}]}'), "lead to"),
        (http(b"{}", "401 Unauthorized"), "401"),
        (http(b"", "302 Found"), "302"),
        (http(b"", "503 Busy"), "503"),
    ],
)
def test_a_server_that_is_none_keeps_the_readings_waiting_and_is_named(
    tmp_path: Path, answer: bytes, words: str
) -> None:
    async def run() -> None:
        peer = Hostile(answer)
        listening = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        sections = f'[sensorthings]\nurl = "http://127.0.0.1:{port}/v1.1"\nretry_s_max = 0.1\n'
        with act_context(tmp_path, sections, sinks=(SINK,)) as context:
            async with running(context) as act, asyncio.timeout(20):
                await give(act, context.ledger, *levels(1, 3))
                await until_fault(act, words)
            waiting = await context.ledger.read(lambda store: store.take(SINK, 1 << 62, 10))
            assert len(waiting) == 2
        listening.close()
        await listening.wait_closed()

    asyncio.run(run())
