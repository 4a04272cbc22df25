"""The whole agent as a process: water in over Modbus and LoRaWAN, people warned at the other end.

The internet is dead from beginning to end: no broker answers. In the middle the agent is killed.
Every other end is real: a packet forwarder's socket, 112's HTTP server, the city's GeoReport server
and a plotter's TCP connection.
"""

import asyncio
import base64
import contextlib
import json
import time
import urllib.request
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pyais
import pytest

from gateway.acts.cap.signing import make_key, read_pin
from protocols.payload.command import CMD_SIREN, decode_command
from protocols.payload.event import (
    EVENT_SIREN,
    EVENT_TAMPER,
    PROOF_CURRENT,
    TAMPER_OPENED,
    encode_event_into,
)
from protocols.payload.flood import FloodEncoder, FloodRing
from protocols.payload.ports import EPOCH_UNIX_S, PORT_COMMAND, PORT_EVENT, PORT_FLOOD
from tests.gateway.acts.cap.world import Receiver, check, serving, text
from tests.gateway.acts.open311.server import GeoReportServer
from tests.gateway.lorawan.ends import GATEWAYS, EndDevice
from tests.gateway.peers import TUKAD, ModbusPeer, free_port, running

PROFILE = """what = "a radar"
status = "exact"
source = "this test"
[[value]]
name = "distance_mm"
address = 0
type = "u32"
"""
HEIGHT_MM = 5200
LOW_MM, HIGH_MM = 100, 3200


class Radio:
    """A packet forwarder with its nodes; it goes on while no gateway answers."""

    def __init__(self, port: int, *nodes: EndDevice) -> None:
        self._port = port
        self._nodes = nodes
        self._transport: asyncio.DatagramTransport
        self.downlinks: list[dict[str, Any]] = []
        self.orders: list[Any] = []  # commands to the siren, as it opened them
        self.joined: set[str] = set()
        self.pulled = 0
        self.changed = asyncio.Event()
        self._tmst = 1000

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncGenerator["Radio"]:
        radio = self

        class Socket(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                radio._take(data)

        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            Socket, remote_addr=("127.0.0.1", self._port)
        )
        keeper = asyncio.create_task(self._pull())
        try:
            yield self
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self._transport.close()

    def _send(self, kind: int, body: bytes = b"", token: bytes = b"\x12\x34") -> None:
        self._transport.sendto(b"\x02" + token + bytes((kind,)) + bytes.fromhex(GATEWAYS[0]) + body)

    async def _pull(self) -> None:
        while True:
            self._send(2)
            await asyncio.sleep(0.2)

    def _take(self, data: bytes) -> None:
        if data[3] == 4:
            self.pulled += 1
        elif data[3] == 3:
            self._send(5, b"", data[1:3])
            packet = json.loads(data[4:])["txpk"]
            self.downlinks.append(packet)
            phy = base64.b64decode(packet["data"])
            for node in self._nodes:
                with contextlib.suppress(Exception):  # it is for another one
                    if phy[0] >> 5 == 1:
                        if node.name not in self.joined:
                            node.take_accept(phy)
                            self.joined.add(node.name)
                        continue
                    down = node.read(phy)
                    if node.device_class == "C" and down.f_port == PORT_COMMAND:
                        command = decode_command(down.payload)
                        if command.kind == CMD_SIREN:
                            self.orders.append((packet, command))
        self.changed.set()

    def hear(self, phy: bytes) -> None:
        """A node's frame reaches the concentrator."""
        self._tmst += 3_000_000
        rxpk = {
            "tmst": self._tmst,
            "freq": 921.4,
            "stat": 1,
            "modu": "LORA",
            "datr": "SF7BW125",
            "codr": "4/5",
            "rssi": -80,
            "lsnr": 7.5,
            "size": len(phy),
            "data": base64.b64encode(phy).decode(),
        }
        self._send(0, json.dumps({"rxpk": [rxpk]}).encode())


class Gauge:
    """A flood node's log and frames."""

    def __init__(self, node: EndDevice) -> None:
        self.node = node
        self._ring = FloodRing(64)
        self._encoder = FloodEncoder(self._ring)
        self._sequence = 0
        self._time_s = int(time.time()) - EPOCH_UNIX_S - 80

    def frame(self, level_mm: int) -> bytes:
        self._time_s = (self._time_s + 10) // 10 * 10
        self._ring.push(self._sequence, self._time_s, level_mm, 0)
        self._sequence += 1
        buf = bytearray(64)
        size = self._encoder.encode_into(buf, 51)
        return self.node.uplink(bytes(buf[:size]), PORT_FLOOD)


def event(node: EndDevice, kind: int, number: int, **values: int | None) -> bytes:
    buf = bytearray(64)
    size = encode_event_into(buf, kind, number, int(time.time()) - EPOCH_UNIX_S, dict(values))
    return node.uplink(bytes(buf[:size]), PORT_EVENT)


async def until(is_true: Any, what: str, timeout_s: float = 30) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not is_true():  # noqa: ASYNC110  of other processes' files and sockets
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


def write_config(folder: Path, ports: dict[str, int], nodes: list[EndDevice]) -> Path:
    make_key(folder / "cap.key", "BPBD")
    (folder / "radar.toml").write_text(PROFILE)
    (folder / "open311.key").write_text("secret-key\n")
    for node in nodes:
        (folder / f"{node.name}.keys").write_text(f"app_key = {node.key.hex()}\n")
    stages = "{ waspada_mm = 300, siaga_mm = 1160, awas_mm = 2660, hold_s = 0 }"
    devices = "".join(
        f'[[device]]\nname = "{one.name}"\ndev_eui = "{one.dev_eui}"\n'
        f'join_eui = "70b3d57ed0000001"\nkeys = "{one.name}.keys"\n'
        f'device_class = "{one.device_class}"\n'
        + ("kind = \"siren\"\n" if one.device_class == "C" else
           f'kind = "flood"\ninterval_s = 60\nstages = {stages}\n')
        for one in nodes
    )  # fmt: skip
    path = folder / "gateway.toml"
    path.write_text(f"""
[gateway]
site = "test"
data_dir = "data"
status_bind = ""
drain_s = 0
latitude_deg = -8.65
longitude_deg = 115.21
[mqtt]
url = "mqtt://127.0.0.1:{ports["dead"]}"
reconnect_s_max = 0.5
[lorawan]
bind = "127.0.0.1:{ports["radio"]}"
region = "AS923-2"
adr = false
device_status_h = 0
{devices}
[[modbus]]
name = "bridge"
port = "tcp://127.0.0.1:{ports["modbus"]}"
[[modbus.sensor]]
name = "radar"
profile = "radar.toml"
unit = 1
interval_s = 0.1
height_mm = {HEIGHT_MM}
latitude_deg = -8.656
longitude_deg = 115.211
stages = {stages}
[siren]
answer_s = 2
proof_s = 30
[[siren.unit]]
name = "pasar"
device = "{nodes[1].name}"
[[siren.rule]]
gauges = ["{nodes[0].name}"]
level = 3
sirens = ["pasar"]
[cap]
sender = "pusdalops@bpbd.example"
bind = "127.0.0.1:{ports["cap"]}"
[[cap.gauge]]
name = "radar"
river = "Tukad Badung"
[[cap.gauge]]
name = "{nodes[0].name}"
river = "Tukad Badung"
[[cap.receiver]]
name = "112"
url = "http://127.0.0.1:{ports["112"]}/cap"
retry_s_max = 0.2
[[cap.receiver]]
name = "bpbd"
url = "http://127.0.0.1:{ports["dead"]}/cap"
retry_s_max = 0.2
person = "Wayan 0361-223333"
[open311]
url = "http://127.0.0.1:{ports["open311"]}/open311/v2"
service_code = "001"
api_key_file = "open311.key"
retry_s = 1
[ais]
tcp = "127.0.0.1:{ports["ais"]}"
udp = ""
[[ais.gauge]]
device = "radar"
number = 1
[geojson]
bind = "127.0.0.1:{ports["geojson"]}"
every_s = 1
""")
    return path


async def heights(port: int) -> list[str]:
    """What a plotter is told on connecting: the payload of its gauge messages, as sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            while True:
                line = await reader.readline()
                if line.startswith(b"!AIVDM,1"):
                    found: Any = pyais.decode(line)
                    if found.msg_type == 8:
                        return [str(found.dac), str(found.fid)]
    finally:
        writer.close()
        await writer.wait_closed()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


async def status(config: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        TUKAD, "gateway", "status", config, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


@pytest.mark.timeout(120)
def test_from_water_to_people_with_the_internet_dead_and_a_kill_in_the_middle(
    tmp_path: Path,
) -> None:
    water = {"mm": LOW_MM}

    def answer(unit: int, address: int, count: int) -> list[int]:
        return [0, HEIGHT_MM - water["mm"]][address : address + count]

    async def scenario() -> None:
        flood, siren = EndDevice(1, "hulu"), EndDevice(2, "sirene-1", "C")
        peer, receiver, city = ModbusPeer(answer), Receiver(), GeoReportServer()
        await peer.start()
        ports = {n: free_port() for n in ("dead", "radio", "cap", "ais", "geojson")}
        async with serving(receiver), city.serving(), contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(peer.stop)
            ports |= {"112": receiver.port, "open311": city.port, "modbus": peer.port}
            config = write_config(tmp_path, ports, [flood, siren])
            radio = await ends.enter_async_context(Radio(ports["radio"], flood, siren).on())
            async with running(config) as agent:
                await until(lambda: radio.pulled > 0, "the network server answers")
                for node in (flood, siren):
                    radio.hear(node.join_request())
                    await until(lambda node=node: node.name in radio.joined, f"{node.name} joins")
                gauge = Gauge(flood)
                for _ in range(3):
                    radio.hear(gauge.frame(LOW_MM))
                radio.hear(event(siren, EVENT_TAMPER, 1, cause=TAMPER_OPENED, battery_mv=None))
                await peer.until_answers(1, 5)

                # The flood.
                water["mm"] = HIGH_MM
                await until(lambda: len(receiver.taken) > 0, "112 has the alert")
                for level in (LOW_MM + 900, HIGH_MM, HIGH_MM + 10, HIGH_MM + 20):
                    radio.hear(gauge.frame(level))
                await until(lambda: radio.orders, "the siren is ordered by class C")
                packet, order = radio.orders[0]
                assert packet["imme"] is True
                assert order.values["pattern"] == 3
                await until(lambda: city.requests, "the ticket is open")
                await agent.end(9)
            taken = set(receiver.taken)
            number = order.number
            async with running(config):
                proof = {
                    "command_number": number, "cause": 0, "pattern": 3, "duration_s": 0,
                    "proof": PROOF_CURRENT, "current_ma": 5000,
                }  # fmt: skip
                before = radio.pulled
                await until(lambda: radio.pulled > before, "the network server is back")
                radio.hear(event(siren, EVENT_SIREN, 2, **proof))
                await peer.until_answers(1, 20)
                assert await heights(ports["ais"]) == ["1", "31"]
                url = f"http://127.0.0.1:{ports['geojson']}/observations.geojson"
                seen: list[Any] = []

                async def layers() -> bool:
                    seen[:] = json.loads(await asyncio.to_thread(fetch, url))["features"]
                    return any("3200" in json.dumps(one) for one in seen)

                async with asyncio.timeout(20):
                    while not await layers():  # noqa: ASYNC110  of another process
                        await asyncio.sleep(0.1)
                feed = await asyncio.to_thread(fetch, f"http://127.0.0.1:{ports['cap']}/feed.xml")
                assert b"AWAS" in feed

                # What waits for the internet has a name, and a person to call.
                said = await status(config)
                assert "mqtt.offline" in said, said
                assert "cap.waiting" in said and "Wayan 0361-223333" in said, said

                # Nothing twice: one Alert, one ticket, one number for the siren.
                kinds = receiver.types()
                assert kinds.count("Alert") == 1, kinds
                assert taken <= set(receiver.taken)
                # The same order again does no harm: a siren takes a number once.
                assert {one.number for _, one in radio.orders} == {number}
                assert len(city.requests) == 1
                assert city.violations == []

                # And the end.
                water["mm"] = LOW_MM
                for level in (LOW_MM, LOW_MM, LOW_MM, LOW_MM):
                    radio.hear(gauge.frame(level))
                await until(lambda: "Cancel" in receiver.types(), "the all-clear is at 112")
                assert receiver.types()[-1] == "Cancel"
        folder = tmp_path / "data" / "cap"
        pin = read_pin(str(tmp_path / "cap.crt"))
        files = [one for one in folder.glob("*.xml") if one.name != "feed.xml"]
        for one in files:
            check(one.read_bytes(), pin)
        assert [text(one.read_bytes(), "msgType") for one in files].count("Alert") == 1

    asyncio.run(scenario())
