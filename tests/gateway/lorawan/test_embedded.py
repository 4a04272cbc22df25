"""The embedded service over real sockets: UDP forwarder, Basics Station, deliveries, restart."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from gateway.lorawan.config import LorawanConfig, SettingError, StationConfig
from gateway.lorawan.embedded import EmbeddedService
from gateway.lorawan.model import DownlinkReport, Uplink
from gateway.lorawan.service import OnDownlink, OnUplink, open_service
from protocols.errors import LocalError
from tests.gateway.lorawan.ends import GATEWAYS, EndDevice


class Forwarder:
    """A packet forwarder with a real socket."""

    def __init__(self, address: tuple[str, int], eui: str = GATEWAYS[0]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(address)
        self.eui = bytes.fromhex(eui)

    async def send(self, kind: int, body: bytes = b"", token: bytes = b"\x12\x34") -> None:
        datagram = b"\x02" + token + bytes((kind,)) + self.eui + body
        await asyncio.get_running_loop().sock_sendall(self.socket, datagram)

    async def receive(self, kind: int) -> bytes:
        """The next datagram of that kind."""
        while True:
            datagram = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
            if datagram[3] == kind:
                return datagram

    async def pull(self) -> None:
        await self.send(2)
        assert await self.receive(4) == b"\x02\x12\x34\x04"

    async def hear(self, phy: bytes, tmst: int) -> None:
        rxpk = {
            "tmst": tmst,
            "freq": 921.4,
            "stat": 1,
            "modu": "LORA",
            "datr": "SF9BW125",
            "codr": "4/5",
            "rssi": -80,
            "lsnr": 7.5,
            "size": len(phy),
            "data": base64.b64encode(phy).decode(),
        }
        await self.send(0, json.dumps({"rxpk": [rxpk]}).encode())
        assert await self.receive(1) == b"\x02\x12\x34\x01"

    async def downlink(self) -> dict[str, Any]:
        """The next PULL_RESP, acknowledged."""
        datagram = await self.receive(3)
        await self.send(5, b"", datagram[1:3])
        return json.loads(datagram[4:])["txpk"]


def configuration(folder: Path, node: EndDevice, **settings: Any) -> LorawanConfig:
    path = folder / "node.key"
    path.write_text(f"app_key = {node.key.hex()}\n")
    return LorawanConfig(
        bind="127.0.0.1:0",
        device_status_h=0,
        adr=False,
        devices=(node.entry(keys=path),),
        **settings,
    )


@asynccontextmanager
async def running(
    config: LorawanConfig,
    folder: Path,
    on_uplink: OnUplink,
    on_downlink: OnDownlink | None = None,
) -> AsyncIterator[EmbeddedService]:
    service = EmbeddedService(config, folder)

    task = asyncio.create_task(service.run(on_uplink, on_downlink))
    try:
        ready = asyncio.create_task(service.ready.wait())
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await task
        yield service
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        service.close()


def test_a_device_joins_is_heard_and_is_acknowledged(tmp_path: Path) -> None:
    node = EndDevice(1)
    got: asyncio.Queue[Uplink] = asyncio.Queue()
    reports: asyncio.Queue[DownlinkReport] = asyncio.Queue()

    async def scenario() -> None:
        async with running(
            configuration(tmp_path, node), tmp_path, got.put, reports.put
        ) as service:
            assert service.udp_address is not None
            forwarder = Forwarder(service.udp_address)
            await forwarder.pull()
            await forwarder.hear(node.join_request(), 1000)
            accept = await forwarder.downlink()
            assert accept["tmst"] == 5_001_000
            node.take_accept(base64.b64decode(accept["data"]))
            number = await service.queue_downlink(node.name, 10, b"faster")
            await forwarder.hear(node.uplink(b"3.2 m", confirmed=True), 4_294_900_000)
            answer = await forwarder.downlink()
            assert answer["tmst"] == (4_294_900_000 + 1_000_000) % 2**32
            down = node.read(base64.b64decode(answer["data"]))
            assert (down.is_ack, down.payload) == (True, b"faster")
            uplink = await got.get()
            assert (uplink.payload, uplink.device, uplink.rssi_dbm) == (b"3.2 m", "node-1", -80)
            report = await reports.get()
            assert (report.id, report.state) == (number, "sent")
            status = await service.status()
            assert status.is_up and status.devices == 1 and status.undelivered == 0
            forwarder.socket.close()

    asyncio.run(scenario())


def test_what_the_agent_refused_comes_again_after_a_restart(tmp_path: Path) -> None:
    node = EndDevice(1)
    config = configuration(tmp_path, node)
    seen: asyncio.Queue[Uplink] = asyncio.Queue()

    async def failing(uplink: Uplink) -> None:
        await seen.put(uplink)
        raise OSError("the ledger is full")

    async def first() -> None:
        async with running(config, tmp_path, failing) as service:
            assert service.udp_address is not None
            forwarder = Forwarder(service.udp_address)
            await forwarder.pull()
            await forwarder.hear(node.join_request(), 1000)
            node.take_accept(base64.b64decode((await forwarder.downlink())["data"]))
            await forwarder.hear(node.uplink(b"level"), 20_000_000)
            await seen.get()
            forwarder.socket.close()

    got: asyncio.Queue[Uplink] = asyncio.Queue()

    async def second() -> None:
        async with running(config, tmp_path, got.put):
            uplink = await got.get()
            assert (uplink.payload, uplink.again) == (b"level", True)

    asyncio.run(first())
    asyncio.run(second())


def test_a_busy_port_and_a_bad_downlink_are_errors(tmp_path: Path) -> None:
    node = EndDevice(1)
    config = configuration(tmp_path, node)

    async def nothing(uplink: Uplink) -> None:
        pass

    async def scenario() -> None:
        async with running(config, tmp_path, nothing) as service:
            with pytest.raises(KeyError):
                await service.queue_downlink("nobody", 1, b"")
            with pytest.raises(LocalError, match="range"):
                await service.queue_downlink(node.name, 224, b"")
            assert service.udp_address is not None
            host, port = service.udp_address
            other = open_service(LorawanConfig(bind=f"{host}:{port}"), tmp_path / "other")
            with pytest.raises(OSError):
                await other.run(nothing)
            other.close()

    asyncio.run(scenario())


def test_a_bad_key_file_is_one_line_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_text("app_key = 00112233445566778899aabbccddee\n")
    config = LorawanConfig(devices=(EndDevice(1).entry(keys=path),))
    with pytest.raises(SettingError) as caught:
        EmbeddedService(config, tmp_path)
    assert str(path) in str(caught.value)
    assert "expected 32 hex digits" in str(caught.value)
    assert "0011" not in str(caught.value)


async def say(connection: ClientConnection, **message: Any) -> None:
    await connection.send(json.dumps(message))


async def hear(connection: ClientConnection) -> dict[str, Any]:
    return json.loads(await connection.recv())


def test_a_basics_station_is_configured_and_served(tmp_path: Path) -> None:
    node = EndDevice(1)
    config = configuration(tmp_path, node, station=StationConfig(listen="127.0.0.1:0"))
    got: asyncio.Queue[Uplink] = asyncio.Queue()

    async def scenario() -> None:
        async with running(config, tmp_path, got.put) as service:
            assert service.station_address is not None
            host, port = service.station_address
            base = f"ws://{host}:{port}"
            with pytest.raises(InvalidStatus):
                await connect(f"{base}/elsewhere")
            async with connect(f"{base}/router-info") as connection:
                await say(connection, router="a840:411b:7c3d:4150")
                info = await hear(connection)
            assert info["uri"] == f"{base}/gateway/{GATEWAYS[0]}"
            async with connect(info["uri"]) as station:
                await say(station, msgtype="version", station="2.0.6", protocol=2)
                settings = await hear(station)
                assert settings["msgtype"] == "router_config"
                assert settings["region"] == "AS923-1"
                assert settings["freq_range"] == [920_000_000, 923_000_000]
                assert settings["DRs"][2] == [10, 125, 0]
                radio = settings["sx1301_conf"][0]["radio_0"]["freq"]
                channel = settings["sx1301_conf"][0]["chan_multiSF_0"]
                assert radio + channel["if"] == 921_400_000
                info = {"rctx": 0, "xtime": 123456789, "gpstime": 0, "rssi": -70, "snr": 9.25}
                radio = {"DR": 3, "Freq": 921_400_000, "upinfo": info}
                join = node.join_request()
                await say(
                    station,
                    msgtype="jreq",
                    MHdr=join[0],
                    JoinEui="-".join(f"{b:02X}" for b in join[8:0:-1]),
                    DevEui="-".join(f"{b:02X}" for b in join[16:8:-1]),
                    DevNonce=int.from_bytes(join[17:19], "little"),
                    MIC=int.from_bytes(join[19:23], "little", signed=True),
                    **radio,
                )
                accept = await hear(station)
                assert (accept["dC"], accept["RxDelay"], accept["RX1DR"]) == (0, 5, 3)
                assert (accept["xtime"], accept["RX2DR"]) == (123456789, 2)
                node.take_accept(bytes.fromhex(accept["pdu"]))
                await say(station, msgtype="dntxed", diid=accept["diid"], DR=3, Freq=921_400_000)
                phy = node.uplink(b"tide", confirmed=True)
                await say(
                    station,
                    msgtype="updf",
                    MHdr=phy[0],
                    DevAddr=int.from_bytes(phy[1:5], "little", signed=True),
                    FCtrl=phy[5],
                    FCnt=int.from_bytes(phy[6:8], "little"),
                    FOpts="",
                    FPort=phy[8],
                    FRMPayload=phy[9:-4].hex(),
                    MIC=int.from_bytes(phy[-4:], "little", signed=True),
                    **radio,
                )
                answer = await hear(station)
                assert node.read(bytes.fromhex(answer["pdu"])).is_ack
                assert (await got.get()).payload == b"tide"
                await say(station, msgtype="timesync", txtime=42)
                sync = await hear(station)
                assert sync["txtime"] == 42
                assert sync["gpstime"] > 1_400_000_000_000_000

    asyncio.run(scenario())
