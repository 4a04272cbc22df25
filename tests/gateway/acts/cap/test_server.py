"""The HTTP server: what readers of feeds get, and what hostile clients do not."""

import asyncio
from pathlib import Path

import capvalidator
import feedparser
import httpx
import pytest

from gateway.model import ESCALATED, RAISED
from tests.gateway.acts.cap.world import Receiver, World, alarm, receiver_section, serving, until


async def ask(port: int, request: bytes, *, is_whole: bool = True) -> bytes:
    """Everything that comes back for some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if is_whole:
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_a_feed_reader_imports_every_public_alert(tmp_path: Path) -> None:
    """The way of WMO's cap-composer: `entry.link` that ends in .xml, fetched, checked strictly."""

    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running() as act:
            await until(lambda: act.server.port)
            base = f"http://127.0.0.1:{act.server.port}"
            await act.handle(1, alarm(RAISED, 1))
            await act.handle(2, alarm(ESCALATED, 3, number=1))
            await act.handle(3, alarm(RAISED, 3, device="jacket-7", kind="sos"))
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"{base}/feed.xml")
                assert answer.headers["content-type"].startswith("application/atom+xml")
                feed = feedparser.parse(answer.content)
                assert [entry.id for entry in feed.entries] == [
                    one.identifier for one in act.messages if one.scope == "Public"
                ]
                for entry in feed.entries:
                    name = entry.link.rpartition("/")[2]
                    assert name.endswith(".xml")
                    alert = await client.get(f"{base}/{name}")
                    result = capvalidator.validate_cap_message(alert.content, strict=True)
                    assert result.passed, result.message
                    short = await client.get(f"{base}/{name.replace('.xml', '.txt')}")
                    assert short.text == entry.content[0].value
                same = await client.get(
                    f"{base}/feed.xml", headers={"If-None-Match": answer.headers["etag"]}
                )
                assert (same.status_code, same.content) == (304, b"")
                head = await client.head(f"{base}/feed.xml")
                assert (head.content, head.headers["content-length"]) == (
                    b"",
                    str(len(answer.content)),
                )
                restricted = next(one for one in act.messages if one.scope != "Public")
                for name in (restricted.stem, f"restricted/{restricted.stem}"):
                    assert (await client.get(f"{base}/{name}.xml")).status_code == 404
                pem = await client.get(f"{base}/cap.crt")
                assert pem.content == (tmp_path / "cap.crt").read_bytes()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /../ledger.db HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /%2e%2e/cap.key HTTP/1.1\r\n\r\n", b"404"),
        (b"GET //etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /ack/1.json HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /cap.key HTTP/1.1\r\n\r\n", b"404"),
        (b"GET http://other/ HTTP/1.1\r\n\r\n", b"400"),
        (b"PUT /feed.xml HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"DELETE /feed.xml HTTP/1.1\r\n\r\n", b"405"),
        (b"POST /feed.xml HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"POST /ack HTTP/1.1\r\n\r\n", b"411"),
        (b"POST /ack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /ack HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n", b"413"),
        (b"POST /ack HTTP/1.1\r\nContent-Length: 9999\r\n\r\n", b"413"),
        (b"POST /ack HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
        (b"POST /ack HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"401"),
        (
            b"POST /ack HTTP/1.1\r\nContent-Length: 2\r\nAuthorization: Bearer \xff\r\n\r\n{}",
            b"401",
        ),
        (b"POST /ack HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"400"),
        (b"GET /feed.xml HTTP/1.1\r\nHost : x\r\n\r\n", b"400"),
        (b"GET /feed.xml\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /feed.xml HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b""),
    ],
)
def test_hostile_requests_get_nothing_and_are_counted(
    tmp_path: Path, request_bytes: bytes, status: bytes
) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running() as act:
            await until(lambda: act.server.port)
            answer = await ask(act.server.port, request_bytes)
            assert answer.split(b" ")[1:2] == ([status] if status else [])
            assert act.counters()["refused_requests"] == 1
            good = await ask(act.server.port, b"GET /feed.xml HTTP/1.1\r\n\r\n")
            assert good.startswith(b"HTTP/1.1 200 OK\r\n")

    asyncio.run(scenario())


def test_many_slow_clients_do_not_stop_alerts(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver))
            async with world.running() as act:
                await until(lambda: act.server.port)
                slow = [
                    await asyncio.open_connection("127.0.0.1", act.server.port) for _ in range(64)
                ]
                for _, writer in slow:
                    writer.write(b"GET /feed")
                    await writer.drain()
                answer = await ask(act.server.port, b"GET /feed.xml HTTP/1.1\r\n\r\n")
                assert b" 200 " not in answer
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: receiver.types() == ["Alert"])
                for _, writer in slow:
                    writer.close()
                await asyncio.gather(*(writer.wait_closed() for _, writer in slow))

    asyncio.run(scenario())


def test_a_port_in_use_is_a_fault_and_alerts_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        other, receiver = Receiver(), Receiver()
        async with serving(other, receiver):
            world = World(tmp_path, receiver_section("112", receiver))
            world.bind = f"127.0.0.1:{other.port}"
            async with world.running() as act:
                await until(lambda: ("cap.feed", world.bind) in act.faults())
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: receiver.types() == ["Alert"])

    asyncio.run(scenario())
