"""A simulated month on the real agent: memory and file descriptors must stay where they were.

`make bench BENCH=soak`; `make bench BENCH="soak --days 3 --devices 5"` for a short one. The agent
runs as its own process: embedded network server, wired Modbus, MQTT to a broker. Devices send what
they send in a month, valid frames over Semtech UDP, as fast as the agent takes them: readings
every ten minutes, status pages, events; some frames are lost and asked for, some come twice; every
day has a flood with its alarms, every third day an outage of the broker. The agent's clock is the
real one, so the devices say that they have no clock and the readings are dated by reception.

After the warm-up, a quarter of the days, memory may grow by GROWTH_MB in the rest of the month and
descriptors by none.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from protocols.errors import LocalError, RemoteError
from protocols.payload.backfill import FloodBackfill
from protocols.payload.command import CMD_GAP, decode_command
from protocols.payload.event import EVENT_FAULT, encode_event_into
from protocols.payload.flood import FloodEncoder, FloodRing
from protocols.payload.ports import (
    PORT_BACKFILL,
    PORT_COMMAND,
    PORT_EVENT,
    PORT_FLOOD,
    PORT_STATUS,
)
from protocols.payload.status import Status, StatusEncoder
from tests.gateway.lorawan.ends import GATEWAYS, EndDevice
from tests.gateway.peers import MOSQUITTO, Broker, City, ModbusPeer, running

GROWTH_MB = 3.0
UPLINKS_PER_DAY = 144
_SPACING_S = 10  # of readings within a frame: shorter than real, as time is
_LIMIT = 16  # bytes of a frame: its history is shorter than a loss
_LOST = 0.03
_LOST_READINGS = 20
_STATUS_EVERY = 36
_CONFIRMED_EVERY = 8
_DATA_RATES = ("SF10BW125", "SF9BW125", "SF8BW125")
_FLOOD_MM = 2600


@dataclass
class Sample:
    """The agent's process at the end of a day."""

    day: int
    rss_mb: float
    files: int
    threads: int
    rows: int
    alarms: int


@dataclass
class Outcome:
    """What a run found."""

    samples: list[Sample] = field(default_factory=list[Sample])
    uplinks: int = 0
    seconds: float = 0.0
    answered: int = 0  # requests for missing readings
    sent: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    lost_rows: int = 0  # readings that arrived at the agent and not at the city

    def growth_mb(self) -> float:
        """Median of the last quarter of the days against that of the quarter after warm-up."""
        quarter = max(1, len(self.samples) // 4)
        after = [one.rss_mb for one in self.samples[quarter : 2 * quarter]]
        last = [one.rss_mb for one in self.samples[-quarter:]]
        return statistics.median(last) - statistics.median(after)

    def files_growth(self) -> int:
        """Open files at the end against the most after warm-up."""
        quarter = max(1, len(self.samples) // 4)
        after = max(one.files for one in self.samples[: 2 * quarter])
        return min(one.files for one in self.samples[-quarter:]) - after


class Node:
    """A device: its ring, its log, its radio."""

    def __init__(self, index: int, dice: random.Random) -> None:
        self.radio = EndDevice(index)
        self.dice = dice
        self.ring = FloodRing(64)
        self.encoder = FloodEncoder(self.ring)
        self.encoder.is_clock_set = False
        self.log: list[tuple[int, int]] = []
        self.level = 900.0
        self.flood = 0
        self.answers: list[bytes] = []
        self.is_lost = False
        self.status = StatusEncoder(Status())
        self.sent: set[int] = set()
        self._buf = bytearray(64)

    def measure(self) -> None:
        """The next reading; a flood rises for an hour and goes."""
        target = _FLOOD_MM if self.flood > 0 else 900
        self.flood -= 1
        self.level += (target - self.level) * 0.3 + self.dice.gauss(0, 8)
        sequence = len(self.log)
        time_s = _SPACING_S * (sequence + 1000)
        self.log.append((time_s, round(self.level)))
        self.ring.push(sequence, time_s, round(self.level), 0)

    def frame(self) -> bytes:
        """The newest reading and some older ones."""
        length = self.encoder.encode_into(self._buf, _LIMIT)
        newest = len(self.log) - 1
        self._numbers = range(newest - self.encoder.readings, newest + 1)
        return bytes(self._buf[:length])

    def arrived(self) -> None:
        """The last frame was handed over."""
        self.sent.update(self._numbers)

    def status_page(self) -> bytes:
        self.status.status.sequence = len(self.log) - 1
        return bytes(self._buf[: self.status.encode_into(self._buf, 11)])

    def event(self) -> bytes:
        length = encode_event_into(
            self._buf, EVENT_FAULT, self.dice.randrange(64), 0, {"faults": 1, "is_cleared": 0}
        )
        return bytes(self._buf[:length])

    def command(self, data: bytes) -> bool:
        """A command from the gateway; whether it asked for readings."""
        command = decode_command(data)
        if command.kind != CMD_GAP:
            return False
        first, count = command.values["first_sequence"], command.values["count"]
        ring = FloodRing(512)
        for sequence in range(first, min(first + count, len(self.log))):
            time_s, level = self.log[sequence]
            ring.push(sequence, time_s, level, 0)
        backfill = FloodBackfill(ring)
        while ring.count:
            self.answers.append(bytes(self._buf[: backfill.encode_into(self._buf, 51)]))
        return True


class Forwarder:
    """A packet forwarder: sends what devices send, hands on what the server answers."""

    def __init__(self, port: int, nodes: list[Node]) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(("127.0.0.1", port))
        self.head = bytes.fromhex(GATEWAYS[0])
        self.nodes = {node.radio.dev_addr: node for node in nodes}
        self.acks = asyncio.Semaphore(0)
        self.answered = 0
        self.downlinks: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_joining = True

    def close(self) -> None:
        self.sock.close()

    async def pull(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, b"\x02\x00\x02\x02" + self.head)

    async def push(self, phy: bytes, *, copies: int = 1) -> None:
        rxpk = {
            "tmst": time.monotonic_ns() // 1000 & 0xFFFFFFFF,
            "freq": 921.4,
            "stat": 1,
            "datr": _DATA_RATES[len(phy) % 3],
            "codr": "4/5",
            "rssi": -80,
            "lsnr": 5,
            "data": base64.b64encode(phy).decode(),
        }
        body = json.dumps({"rxpk": [rxpk] * copies}).encode()
        await asyncio.get_running_loop().sock_sendall(
            self.sock, b"\x02\x00\x01\x00" + self.head + body
        )

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                datagram = await loop.sock_recv(self.sock, 4096)
            except ConnectionError:  # nobody listens yet
                await asyncio.sleep(0.05)
                continue
            if datagram[3] == 1:
                self.acks.release()
            if datagram[3] != 3:
                continue
            await loop.sock_sendall(self.sock, b"\x02" + datagram[1:3] + b"\x05" + self.head)
            phy = base64.b64decode(json.loads(datagram[4:])["txpk"]["data"])
            if self.is_joining:
                self.downlinks.put_nowait(phy)
            else:
                self._downlink(phy)

    def _downlink(self, phy: bytes) -> None:
        node = self.nodes.get(int.from_bytes(phy[1:5], "little"))
        if node is None:
            return
        # A downlink that was sent once more has a counter that was used.
        with contextlib.suppress(LocalError, RemoteError, AssertionError):
            found = node.radio.read(phy)
            if found.f_port == PORT_COMMAND and node.command(found.payload):
                self.answered += 1


class Watcher(City):
    """The city; an outage that ends late shall be reported without all the numbers."""

    def holes(self) -> dict[tuple[str, str], list[int]]:
        return {}


def _write_config(folder: Path, broker: int, modbus: int, udp: int, nodes: list[Node]) -> Path:
    profile = folder / "level.toml"
    profile.write_text(
        'what = "a level"\nstatus = "exact"\nsource = "bench"\n'
        '[[value]]\nname = "count"\naddress = 0\ntype = "u32"\n'
    )
    devices = ""
    for node in nodes:
        (folder / f"{node.radio.name}.keys").write_text(f"app_key = {node.radio.key.hex()}\n")
        entry = node.radio.entry()
        devices += (
            f'[[device]]\nname = "{entry.name}"\ndev_eui = "{entry.dev_eui}"\n'
            f'join_eui = "{entry.join_eui}"\nkeys = "{entry.name}.keys"\nkind = "flood"\n'
            "interval_s = 1\n"
            "stages = {waspada_mm=1500,siaga_mm=2000,awas_mm=2500,hold_s=1}\n"
        )
    path = folder / "gateway.toml"
    path.write_text(
        f'[gateway]\nsite = "test"\ndata_dir = "{folder}/data"\nstatus_bind = ""\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker}"\nformat = "batch"\nack_timeout_s = 5.0\n'
        "reconnect_s_max = 1.0\n"
        f'[[modbus]]\nname = "bus"\nport = "tcp://127.0.0.1:{modbus}"\n'
        f'[[modbus.sensor]]\nname = "wired"\nprofile = "{profile}"\nunit = 1\ninterval_s = 0.5\n'
        f'[lorawan]\nbind = "127.0.0.1:{udp}"\nduty_percent = 100.0\ndedup_ms = 20\n'
        "[backfill]\nrequests_per_day = 1000\nwait_s = 1.0\n"
        f"{devices}"
    )
    return path


def _free_udp() -> int:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _look(day: int, pid: int, city: City) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    found: dict[str, str] = dict(re.findall(r"(\w+):\s+(\d+)", status))
    return Sample(
        day,
        int(found["VmRSS"]) / 1024,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(found["Threads"]),
        len(city.rows),
        len(city.alarms),
    )


async def _join(forwarder: Forwarder, nodes: list[Node]) -> None:
    for node in nodes:
        while True:
            await forwarder.pull()
            await forwarder.push(node.radio.join_request())
            try:
                async with asyncio.timeout(2):
                    node.radio.take_accept(await forwarder.downlinks.get())
                break
            except TimeoutError:
                continue
    forwarder.nodes = {node.radio.dev_addr: node for node in nodes}
    forwarder.is_joining = False


async def _taken(city: City, node: Node) -> None:
    """Wait until the city has what the node sent, unless the broker is away."""
    newest = max(node.sent)
    await city.until(lambda: (node.radio.name, "flood", newest) in city.rows, 120)


async def _day(
    day: int, nodes: list[Node], forwarder: Forwarder, dice: random.Random, per_day: int
) -> int:
    """All uplinks of a day, in turn; returns how many."""
    count = 0
    flooded = dice.randrange(per_day)
    for turn in range(per_day):
        for node in nodes:
            if turn == flooded:
                node.flood = 6
            node.measure()
            payload, port = node.frame(), PORT_FLOOD
            if dice.random() < _LOST and not node.is_lost:
                # Further than a frame's history reaches, so that a gap is left; but no more than a
                # device may measure in so little time.
                for _ in range(_LOST_READINGS):
                    node.measure()
                    node.frame()
                node.is_lost = True
                continue
            node.is_lost = False
            confirmed = turn % _CONFIRMED_EVERY == 0
            await _send(forwarder, node, payload, port, confirmed, dice)
            node.arrived()
            count += 1
            if turn % _STATUS_EVERY == 0:
                await _send(forwarder, node, node.status_page(), PORT_STATUS, False, dice)
                count += 1
            if turn == flooded:
                await _send(forwarder, node, node.event(), PORT_EVENT, True, dice)
                count += 1
            if node.answers:
                answer = node.answers.pop(0)
                await _send(forwarder, node, answer, PORT_BACKFILL, False, dice)
                count += 1
        if turn % 24 == 0:
            await forwarder.pull()
    return count


async def _send(
    forwarder: Forwarder,
    node: Node,
    payload: bytes,
    port: int,
    confirmed: bool,
    dice: random.Random,
) -> None:
    phy = node.radio.uplink(payload, f_port=port, confirmed=confirmed)
    copies = 1 + (dice.random() < 0.1)
    for _ in range(10):
        await forwarder.push(phy, copies=copies)
        try:
            async with asyncio.timeout(3):
                await forwarder.acks.acquire()
        except TimeoutError:  # the datagram or its answer was dropped
            continue
        return
    raise TimeoutError("the agent takes no more frames")


async def soak(
    days: int, devices: int, per_day: int = UPLINKS_PER_DAY, show: Callable[[Sample], object] = id
) -> Outcome:
    """Run the days; returns, and shows, what the process looked like after each."""
    dice = random.Random(17)
    nodes = [Node(n + 1, dice) for n in range(devices)]
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = ModbusPeer()
        broker = Broker("mosquitto" if MOSQUITTO.exists() else "embedded", folder)
        await peer.start()
        await broker.start()
        udp = _free_udp()
        config = _write_config(folder, broker.port, peer.port, udp, nodes)
        forwarder = Forwarder(udp, nodes)
        began = time.monotonic()
        listener = asyncio.create_task(forwarder.listen())
        try:
            async with Watcher(broker.port).listening() as city, running(config) as agent:
                await city.until(lambda: bool(city.rows), 30)
                await _join(forwarder, nodes)
                for day in range(days):
                    await _whole_day(day, nodes, forwarder, dice, per_day, broker, city, outcome)
                    outcome.samples.append(_look(day, agent.pid, city))
                    show(outcome.samples[-1])
                await _counted(nodes, city, outcome)
                await _asked(nodes, forwarder, dice)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            forwarder.close()
            await broker.stop()
            await peer.stop()
    outcome.seconds = time.monotonic() - began
    outcome.answered = forwarder.answered
    return outcome


async def _whole_day(
    day: int,
    nodes: list[Node],
    forwarder: Forwarder,
    dice: random.Random,
    per_day: int,
    broker: Broker,
    city: City,
    outcome: Outcome,
) -> None:
    is_away = day % 3 == 1
    if is_away:
        await broker.stop()
    outcome.uplinks += await _day(day, nodes, forwarder, dice, per_day)
    if is_away:
        await broker.start()
    for node in nodes:
        await _taken(city, node)


async def _asked(nodes: list[Node], forwarder: Forwarder, dice: random.Random) -> None:
    """Go on until a gap was asked for: the agent looks every few seconds."""
    async with asyncio.timeout(60):
        while not forwarder.answered:
            for node in nodes:
                await _send(forwarder, node, node.status_page(), PORT_STATUS, False, dice)
            await asyncio.sleep(0.3)


async def _counted(nodes: list[Node], city: City, outcome: Outcome) -> None:
    """Every reading in a frame that the agent took is at the city."""

    def missing() -> int:
        return sum(
            (node.radio.name, "flood", number) not in city.rows
            for node in nodes
            for number in node.sent
        )

    await city.until(lambda: not missing(), 120)
    outcome.lost_rows = missing()


def _show(one: Sample) -> None:
    print(
        f"{one.day + 1:4} {one.rss_mb:8.1f} {one.files:6} {one.threads:8} {one.rows:9,}"
        f" {one.alarms:7,}",
        flush=True,
    )


def main() -> None:
    """A month, and its table."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--per-day", type=int, default=UPLINKS_PER_DAY)
    chosen = parser.parse_args()
    print(f"{'day':>4} {'RSS MB':>8} {'files':>6} {'threads':>8} {'rows':>9} {'alarms':>7}")
    found = asyncio.run(soak(chosen.days, chosen.devices, chosen.per_day, _show))
    print(
        f"{chosen.devices} devices, {chosen.days} days, {found.uplinks:,} uplinks in"
        f" {found.seconds:.0f} s ({found.uplinks / found.seconds:.0f}/s),"
        f" {found.answered} requests for missing readings, {found.lost_rows} readings lost"
    )
    growth, files = found.growth_mb(), found.files_growth()
    print(f"after warm-up: memory {growth:+.1f} MB (bound {GROWTH_MB}), files {files:+d} (bound 0)")
    if growth > GROWTH_MB or files > 0 or found.lost_rows:
        raise SystemExit("not flat")


if __name__ == "__main__":
    main()
