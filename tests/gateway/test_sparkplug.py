"""Sparkplug B 3.0 on the wire, read by a decoder of its own; names follow the spec's assertions."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gateway.ledger.ledger import Ledger
from gateway.service import end_tasks
from gateway.sinks.settings import MqttSettings
from gateway.sinks.sparkplug import SparkplugSettings, SparkplugSink
from gateway.sinks.sparkplug_payload import decode_commands
from protocols.errors import RemoteError
from tests.gateway.peers import Broker, Link
from tests.gateway.samples import open_ledger, reading, readings


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def fields(data: bytes) -> list[tuple[int, Any]]:
    """Protocol Buffers wire format, from its public description."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        else:
            assert key & 7 == 2
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        found.append((key >> 3, value))
    return found


METRIC = {1: "name", 2: "alias", 3: "time", 4: "type", 5: "historical", 7: "null"}
METRIC |= {11: "value", 13: "value", 14: "value"}


class Host:
    """A host application that sees everything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.messages: list[tuple[str, str, dict[str, Any]]] = []  # kind, device, payload
        self.changed = asyncio.Event()
        self.client: aiomqtt.Client

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator["Host"]:
        ready = asyncio.Event()

        async def listen() -> None:
            async with aiomqtt.Client("127.0.0.1", self._port) as self.client:
                await self.client.subscribe("spBv1.0/#", 1)
                ready.set()
                async for message in self.client.messages:
                    words = str(message.topic).split("/")
                    if words[2] in ("NCMD",) or words[1] == "STATE":
                        continue
                    body: dict[str, Any] = {"metrics": [], "qos": message.qos}
                    for number, value in fields(bytes(message.payload)):
                        if number == 2:
                            metric = {METRIC[n]: v for n, v in fields(value)}
                            if "name" in metric:
                                metric["name"] = metric["name"].decode()
                            body["metrics"].append(metric)
                        else:
                            body[{1: "time", 3: "seq"}[number]] = value
                    self.messages.append((words[2], words[4] if len(words) > 4 else "", body))
                    self.changed.set()

        task = asyncio.create_task(listen())
        await ready.wait()
        try:
            yield self
        finally:
            await end_tasks([task])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body for found, _, body in self.messages if found == kind]


def node(ledger: Ledger, port: int, host: str = "") -> SparkplugSink:
    url = (f"mqtt://127.0.0.1:{port}",)
    mqtt = MqttSettings(url=url, keepalive_s=2, reconnect_s_max=0.3)
    return SparkplugSink(SparkplugSettings(primary_host=host), mqtt, "site", ledger, url)


@contextlib.asynccontextmanager
async def bench(folder: Path) -> AsyncGenerator[tuple[Ledger, Broker, Host]]:
    ledger = open_ledger(folder, sinks=("sparkplug",))
    broker = Broker("embedded", folder)
    await broker.start()
    try:
        async with Host(broker.port).listening() as host:
            yield ledger, broker, host
    finally:
        await broker.stop()
        ledger.close()


def test_births_come_before_data_and_seq_counts_through(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (ledger, broker, host):
            await ledger.add(readings(range(3)))
            sink = node(ledger, broker.port)
            task = asyncio.create_task(sink.run())
            await host.until(lambda: len(host.of("DDATA")) == 3)
            sink.outbox.offer(await ledger.add([reading(3, 777)]))
            await host.until(lambda: len(host.of("DDATA")) == 4)
            kinds = [kind for kind, _, _ in host.messages]
            assert kinds[:2] == ["NBIRTH", "DBIRTH"]
            assert [body["seq"] for _, _, body in host.messages] == list(range(len(kinds)))
            (birth,) = host.of("NBIRTH")
            names = {metric["name"]: metric for metric in birth["metrics"]}
            assert names["Node Control/Rebirth"] == {**names["Node Control/Rebirth"], "value": 0}
            (device,) = host.of("DBIRTH")
            (level,) = device["metrics"]
            assert level["name"] == "flood/level_mm" and level["type"] == 4
            assert all("name" not in m for body in host.of("DDATA") for m in body["metrics"])
            history, live = host.of("DDATA")[:3], host.of("DDATA")[3]
            assert all(body["metrics"][0]["historical"] for body in history)
            assert "historical" not in live["metrics"][0]
            assert live["metrics"][0]["value"] == 777
            assert live["metrics"][0]["alias"] == level["alias"]
            assert all("time" in m for _, _, body in host.messages for m in body["metrics"])
            await end_tasks([task])
            await host.until(lambda: bool(host.of("NDEATH")))
            (death,) = host.of("NDEATH")
            assert "seq" not in death and death["qos"] == 1
            assert death["metrics"][0]["value"] == names["bdSeq"]["value"]
            await ledger.write(lambda store: None)
            assert await ledger.read(lambda store: store.waiting()) == (0, 0)

    asyncio.run(scenario())


def test_a_lost_connection_dies_by_its_will_and_the_next_birth_has_the_next_bd_seq(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (ledger, broker, host):
            link = Link(broker.port)
            await link.start()
            task = asyncio.create_task(node(ledger, link.port).run())
            await host.until(lambda: len(host.of("NBIRTH")) == 1)
            link.cut()
            await host.until(lambda: len(host.of("NBIRTH")) == 2 and bool(host.of("NDEATH")))
            first, second = (body["metrics"][0]["value"] for body in host.of("NBIRTH"))
            assert second == (first + 1) % 256
            assert host.of("NDEATH")[0]["metrics"][0]["value"] == first
            await end_tasks([task])
            await link.stop()

    asyncio.run(scenario())


def test_rebirth_on_command_keeps_bd_seq_and_tells_the_latest_values(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (ledger, broker, host):
            sink = node(ledger, broker.port)
            task = asyncio.create_task(sink.run())
            await host.until(lambda: bool(host.of("NBIRTH")))
            sink.outbox.offer(await ledger.add([reading(1, 555)]))
            await host.until(lambda: bool(host.of("DDATA")))
            name = b"Node Control/Rebirth"
            metric = b"\x0a" + bytes([len(name)]) + name + b"\x20\x0b\x70\x01"
            command = b"\x12" + bytes([len(metric)]) + metric
            await host.client.publish("spBv1.0/Tukad/NCMD/site", b"\xff\xff", 1)  # nonsense first
            await host.client.publish("spBv1.0/Tukad/NCMD/site", command, 1)
            await host.until(lambda: len(host.of("NBIRTH")) == 2 and len(host.of("DBIRTH")) == 2)
            first, second = (body["metrics"][0]["value"] for body in host.of("NBIRTH"))
            assert first == second and host.of("NBIRTH")[1]["seq"] == 0
            assert host.of("DBIRTH")[1]["metrics"][0]["value"] == 555
            await end_tasks([task])

    asyncio.run(scenario())


def test_with_a_primary_host_nothing_is_sent_until_it_is_online(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (ledger, broker, host):
            await ledger.add(readings([1]))
            task = asyncio.create_task(node(ledger, broker.port, "wall").run())
            topic = "spBv1.0/STATE/wall"
            off = json.dumps({"online": False, "timestamp": 1})
            await host.client.publish(topic, off, 1, True)
            assert not host.messages
            on = json.dumps({"online": True, "timestamp": 2})
            await host.client.publish(topic, on, 1, True)
            await host.until(lambda: bool(host.of("DDATA")))
            stale = json.dumps({"online": False, "timestamp": 1})
            await host.client.publish(topic, stale, 1, True)  # an older statement: no effect
            gone = json.dumps({"online": False, "timestamp": 3})
            await host.client.publish(topic, gone, 1, True)
            await host.until(lambda: bool(host.of("NDEATH")))
            assert len(host.of("NBIRTH")) == 1
            await end_tasks([task])

    asyncio.run(scenario())


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_command_breaks_the_decoder(data: bytes) -> None:
    with contextlib.suppress(RemoteError):
        decode_commands(data)


def test_a_cut_command_is_a_remote_error() -> None:
    with pytest.raises(RemoteError):
        decode_commands(b"\x12\x7f\x0a")
