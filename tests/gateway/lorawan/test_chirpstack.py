"""ChirpStack mode against a real broker; the events are built by ChirpStack's own package."""

import asyncio
import base64
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from chirpstack_api import gw, integration
from google.protobuf.json_format import MessageToJson
from iotcore import Broker

from gateway.lorawan.chirpstack import ChirpStackService, Codec, _time_ms
from gateway.lorawan.config import ChirpStackConfig, LorawanConfig, SettingError
from gateway.lorawan.model import DownlinkReport, Uplink
from gateway.lorawan.service import OnDownlink, OnUplink
from protocols.errors import LocalError, RemoteError
from tests.gateway.lorawan.ends import GATEWAYS, EndDevice

APPLICATION = "0f3ac1f4-5dbb-4f0e-9f5b-5bbf2a6a8f1"  # with one more digit for each encoding
NODE = EndDevice(1)
TIME_MS = 1_795_000_000_123


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    with Broker(port=number, listen="127.0.0.1"):
        yield number


def configuration(port: int, encoding: str) -> LorawanConfig:
    return LorawanConfig(
        server="chirpstack",
        devices=(NODE.entry(kind="flood"),),
        chirpstack=ChirpStackConfig(
            url=f"mqtt://127.0.0.1:{port}",
            application_id=APPLICATION + "01"[encoding == "json"],
            encoding=encoding,
            client_id=f"tukad-{encoding}",
        ),
    )


def up_event(payload: bytes, f_cnt: int = 7, f_port: int = 1) -> integration.UplinkEvent:
    event = integration.UplinkEvent(
        deduplication_id="3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        dev_addr="00189440",
        dr=2,
        f_cnt=f_cnt,
        f_port=f_port,
        confirmed=True,
        data=payload,
        rx_info=[
            gw.UplinkRxInfo(gateway_id=GATEWAYS[0], rssi=-110, snr=-4.5),
            gw.UplinkRxInfo(gateway_id=GATEWAYS[1], rssi=-80, snr=9.0),
        ],
        tx_info=gw.UplinkTxInfo(frequency=921_400_000),
        device_info=integration.DeviceInfo(dev_eui=NODE.dev_eui, device_name="other name"),
    )
    event.time.FromMilliseconds(TIME_MS)
    return event


def encode(event: Any, encoding: str) -> bytes:
    if encoding == "json":
        return MessageToJson(event).encode()
    return event.SerializeToString()


def topic(what: str, encoding: str, dev_eui: str = NODE.dev_eui) -> str:
    return f"application/{APPLICATION}{'01'[encoding == 'json']}/device/{dev_eui}/{what}"


@asynccontextmanager
async def running(
    service: ChirpStackService, on_uplink: OnUplink, on_downlink: OnDownlink | None = None
) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run(on_uplink, on_downlink))
    try:
        await service.ready.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_uplinks_and_downlinks_pass_through_a_broker(port: int, encoding: str) -> None:
    got: asyncio.Queue[Uplink] = asyncio.Queue()
    reports: asyncio.Queue[DownlinkReport] = asyncio.Queue()
    service = ChirpStackService(configuration(port, encoding))

    async def scenario() -> None:
        async with (
            running(service, got.put, reports.put),
            aiomqtt.Client("127.0.0.1", port) as client,
        ):
            await client.subscribe(topic("command/down", encoding), qos=1)
            await client.publish(
                topic("event/up", encoding), encode(up_event(b"\x01\x02"), encoding), qos=1
            )
            uplink = await got.get()
            assert (uplink.device, uplink.kind, uplink.payload) == ("node-1", "flood", b"\x01\x02")
            assert (uplink.f_port, uplink.f_cnt, uplink.dr) == (1, 7, 2)
            assert uplink.gateways == (GATEWAYS[1], GATEWAYS[0])
            assert (uplink.rssi_dbm, uplink.snr_db) == (-80, 9.0)
            assert (uplink.received_ms, uplink.freq_hz) == (TIME_MS, 921_400_000)

            number = await service.queue_downlink("node-1", 10, b"open", confirmed=True)
            message = await anext(aiter(client.messages))
            assert isinstance(message.payload, bytes)
            if encoding == "json":
                command = json.loads(message.payload)
                item = command["id"]
                assert (command["devEui"], command["fPort"]) == (NODE.dev_eui, 10)
                assert base64.b64decode(command["data"]) == b"open"
            else:
                parsed = integration.DownlinkCommand.FromString(message.payload)
                item = parsed.id
                assert (parsed.dev_eui, parsed.f_port, parsed.data) == (NODE.dev_eui, 10, b"open")
                assert parsed.expires_at.seconds > 0
            sent = integration.TxAckEvent(queue_item_id=item)
            await client.publish(topic("event/txack", encoding), encode(sent, encoding), qos=1)
            acked = integration.AckEvent(queue_item_id=item, acknowledged=True)
            await client.publish(topic("event/ack", encoding), encode(acked, encoding), qos=1)
            states = [(await reports.get()) for _ in range(2)]
            assert [(one.id, one.state) for one in states] == [(number, "sent"), (number, "acked")]
            status = await service.status()
            assert status.is_up and status.counters["up_accepted"] == 1

    asyncio.run(scenario())


def test_what_was_not_delivered_comes_again_from_the_broker(port: int) -> None:
    config = configuration(port, "protobuf")
    first: asyncio.Queue[Uplink] = asyncio.Queue()

    async def stuck(uplink: Uplink) -> None:
        await first.put(uplink)
        await asyncio.Event().wait()

    got: asyncio.Queue[Uplink] = asyncio.Queue()

    async def scenario() -> None:
        async with (
            running(ChirpStackService(config), stuck),
            aiomqtt.Client("127.0.0.1", port) as client,
        ):
            await client.publish(
                topic("event/up", "protobuf"), encode(up_event(b"once"), "protobuf"), qos=1
            )
            await first.get()
        async with running(ChirpStackService(config), got.put):
            assert (await got.get()).payload == b"once"

    asyncio.run(scenario())


def test_a_broker_that_comes_back_is_found_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    service = ChirpStackService(configuration(port, "json"))
    got: asyncio.Queue[Uplink] = asyncio.Queue()

    async def scenario() -> None:
        first = Broker(port=port, listen="127.0.0.1").start()
        async with running(service, got.put):
            first.stop()
            await service.gone.wait()
            with pytest.raises(LocalError, match="down"):
                await service.queue_downlink("node-1", 10, b"")
            with Broker(port=port, listen="127.0.0.1"):
                await service.ready.wait()
                async with aiomqtt.Client("127.0.0.1", port) as client:
                    event = encode(up_event(b"back"), "json")
                    await client.publish(topic("event/up", "json"), event, qos=1)
                    assert (await got.get()).payload == b"back"

    asyncio.run(scenario())


def test_strangers_and_nonsense_are_counted_and_confirmed(port: int) -> None:
    service = ChirpStackService(configuration(port, "json"))
    got: asyncio.Queue[Uplink] = asyncio.Queue()

    async def scenario() -> None:
        async with running(service, got.put), aiomqtt.Client("127.0.0.1", port) as client:
            stranger = topic("event/up", "json", "00" * 8)
            await client.publish(stranger, encode(up_event(b"x"), "json"), qos=1)
            for payload in (b"{", b"[]", b'{"fPort": 1, "data": "*"}', b"[" * 9_000):
                await client.publish(topic("event/up", "json"), payload, qos=1)
            await client.publish(topic("event/join", "json"), b"{}", qos=1)
            await client.publish(
                topic("event/up", "json"), encode(up_event(b"good"), "json"), qos=1
            )
            assert (await got.get()).payload == b"good"
            assert service.counters["foreign_data"] == 1
            assert service.counters["event_event"] == 4

    asyncio.run(scenario())


def test_without_the_package_protobuf_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "chirpstack_api.integration", None)
    with pytest.raises(SettingError, match=r"tukad\[chirpstack\]"):
        Codec("protobuf")


def test_a_downlink_without_a_broker_is_an_error() -> None:
    service = ChirpStackService(configuration(1, "json"))

    async def scenario() -> None:
        with pytest.raises(LocalError, match="down"):
            await service.queue_downlink("node-1", 10, b"")
        with pytest.raises(KeyError):
            await service.queue_downlink("nobody", 10, b"")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2026-11-18T12:26:40.123456789+00:00", 1_795_004_800_123),
        ("2026-11-18T12:26:40Z", 1_795_004_800_000),
        ("2026-11-18T20:26:40.5+08:00", 1_795_004_800_500),
        ("yesterday", None),
        (7, None),
    ],
)
def test_times(text: Any, want: int | None) -> None:
    assert _time_ms(text) == want


def test_a_foreign_topic_is_refused() -> None:
    with pytest.raises(RemoteError, match="topic"):
        Codec("json").event("gateway/x/event/up", b"{}")
