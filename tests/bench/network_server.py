"""Network server: frames a second, CPU an uplink, and the margin before RX1.

`python -m tests.bench network_server`; the fuzz of a million inputs with
`python -m tests.bench.network_server --fuzz 1000000`.

Figures stand beside what one durable commit and the frame's own AES cost on this machine.
"""

import argparse
import asyncio
import base64
import json
import logging
import os
import socket
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.embedded import EmbeddedService
from gateway.lorawan.model import Uplink
from gateway.lorawan.records import DeviceRecord, Session
from tests.gateway.lorawan.ends import GATEWAYS, EndDevice, Site
from tests.gateway.lorawan.fuzz import Fuzz

_UPLINKS = 600
_RUNS = 3  # the best counts: the machine has other work


class Crowd(Site):
    """A site with many known devices, without playing all their joins."""

    def crowd(self, count: int, dev_addr: Callable[[int], int]) -> list[EndDevice]:
        nodes: list[EndDevice] = []
        with self.store.transaction():
            for index in range(1, count + 1):
                node = EndDevice(index)
                node.personalise(dev_addr(index), node.key, node.key)
                record = DeviceRecord(node.dev_eui, node.name, "00" * 8, node.key, "otaa")
                self.store.save_device(record)
                self.store.save_session(
                    Session(
                        node.dev_eui, 1, node.dev_addr, node.key, node.key, f_cnt_up=0,
                        mac=self.plan.after_join,
                    )
                )  # fmt: skip
                node.f_cnt = 1
                nodes.append(node)
        self.reload()
        return nodes

    def datagrams(self, nodes: list[EndDevice], confirmed: bool) -> list[bytes]:
        step = max(len(nodes) // _UPLINKS, 1)
        chosen = [nodes[i * step % len(nodes)] for i in range(_UPLINKS)]
        found: list[bytes] = []
        for node in chosen:
            rxpk = self.rxpk(node.uplink(b"11 bytes ok", confirmed=confirmed))
            body = json.dumps({"rxpk": [rxpk]}).encode()
            found.append(self._head(0, GATEWAYS[0]) + body)
        return found

    def timed(self, batches: list[list[bytes]]) -> tuple[float, float]:
        """(wall s, CPU s) of feeding all and delivering all."""
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            self.take(self.server.feed_udp([(one, (GATEWAYS[0], 1700)) for one in batch], self.now))
        return time.perf_counter() - wall, time.process_time() - cpu


def _site(folder: Path, name: str) -> Crowd:
    (folder / name).mkdir()
    # No duty limit: it would refuse most answers of this many devices, and flatter the figures.
    config = LorawanConfig(device_status_h=0, adr=False, duty_percent=100)
    return Crowd(folder / name, config)


def _commit_ms(folder: Path) -> float:
    """What one durable commit costs here."""
    db = sqlite3.connect(folder / "commit.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE t (a)")
    times: list[float] = []
    for index in range(200):
        start = time.perf_counter()
        db.execute("INSERT INTO t VALUES (?)", (index,))
        times.append(time.perf_counter() - start)
    db.close()
    return 1000 * statistics.median(times)


def throughput(folder: Path) -> None:
    """Frames a second and CPU by number of devices."""
    print(f"one durable commit here: {_commit_ms(folder):.2f} ms")
    print(f"{'case':<44}{'frames/s':>9}{'CPU ms/uplink':>15}")
    cpu_by_case: dict[str, float] = {}
    for count in (1_000, 10_000):
        site = _site(folder, f"crowd-{count}")
        nodes = site.crowd(count, lambda index: 0x01000000 + index)
        for label, confirmed, size in (
            ("unconfirmed", False, 1),
            ("confirmed, answered", True, 1),
            ("unconfirmed, 16 a commit", False, 16),
        ):
            runs: list[tuple[float, float]] = []
            for _ in range(_RUNS):
                found = site.datagrams(nodes, confirmed)
                batches = [found[i : i + size] for i in range(0, len(found), size)]
                before = site.counters().get("up_accepted", 0)
                site.advance(10_000)
                site.pull(GATEWAYS[0])
                runs.append(site.timed(batches))
                assert site.counters()["up_accepted"] - before == _UPLINKS
            wall, cpu = (min(one) for one in zip(*runs, strict=True))
            case = f"{count} devices, {label}"
            cpu_by_case[f"{count} {label}"] = cpu
            print(f"{case:<44}{_UPLINKS / wall:>9.0f}{1000 * cpu / _UPLINKS:>15.2f}")
        site.close()
    ratio = cpu_by_case["10000 unconfirmed"] / cpu_by_case["1000 unconfirmed"]
    print(f"CPU with 10,000 devices / with 1,000: {ratio:.2f}")
    site = _site(folder, "collide")
    nodes = site.crowd(100, lambda _index: 0x01020304)
    wall, cpu = site.timed([[one] for one in site.datagrams(nodes, False)])
    case = "100 devices with one DevAddr"
    print(f"{case:<44}{_UPLINKS / wall:>9.0f}{1000 * cpu / _UPLINKS:>15.2f}")
    stranger = EndDevice(65_000)
    stranger.personalise(0x26000000, bytes(16), bytes(16))
    wall, cpu = site.timed([[one] for one in site.datagrams([stranger], False)])
    print(f"{'foreign frames':<44}{_UPLINKS / wall:>9.0f}{1000 * cpu / _UPLINKS:>15.2f}")
    site.close()


async def _margins(folder: Path, count: int) -> list[float]:
    """Milliseconds from PUSH_DATA to PULL_RESP of confirmed uplinks, the agent writing durably."""
    node = EndDevice(1)
    (folder / "node.key").write_text(f"app_key = {node.key.hex()}\n")
    config = LorawanConfig(
        bind="127.0.0.1:0",
        device_status_h=0,
        adr=False,
        duty_percent=100,
        devices=(node.entry(keys=folder / "node.key"),),
    )
    ledger = os.open(folder / "ledger", os.O_CREAT | os.O_WRONLY)

    async def on_uplink(uplink: Uplink) -> None:
        os.write(ledger, uplink.payload)
        os.fsync(ledger)

    service = EmbeddedService(config, folder / "margin")
    task = asyncio.create_task(service.run(on_uplink))
    await service.ready.wait()
    assert service.udp_address is not None
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect(service.udp_address)
    loop = asyncio.get_running_loop()
    head = bytes.fromhex(GATEWAYS[0])

    async def ask(phy: bytes) -> tuple[bytes, float]:
        rxpk = {
            "tmst": 1, "freq": 921.4, "stat": 1, "datr": "SF10BW125", "rssi": -80, "lsnr": 5,
            "data": base64.b64encode(phy).decode(),
        }  # fmt: skip
        start = time.perf_counter()
        body = json.dumps({"rxpk": [rxpk]}).encode()
        await loop.sock_sendall(sock, b"\x02\x00\x01\x00" + head + body)
        while True:
            datagram = await loop.sock_recv(sock, 4096)
            if datagram[3] == 3:
                break
        took = time.perf_counter() - start
        await loop.sock_sendall(sock, b"\x02" + datagram[1:3] + b"\x05" + head)
        return base64.b64decode(json.loads(datagram[4:])["txpk"]["data"]), took

    await loop.sock_sendall(sock, b"\x02\x00\x01\x02" + head)
    accept, _ = await ask(node.join_request())
    node.take_accept(accept)
    times = [1000 * (await ask(node.uplink(b"level", confirmed=True)))[1] for _ in range(count)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    service.close()
    sock.close()
    os.close(ledger)
    return times


def margin(folder: Path) -> None:
    """How early the answer is with the forwarder, of the 1000 ms until RX1."""
    times = sorted(asyncio.run(_margins(folder, 300)))
    print("confirmed uplink to its answer over UDP, two durable commits and the agent's between:")
    for label, value in (
        ("median", statistics.median(times)),
        ("99th percentile", times[int(0.99 * len(times))]),
        ("worst of 300", times[-1]),
    ):
        print(f"  {label:<16}{value:8.1f} ms, margin to RX1 {1000 - value:6.0f} ms")
    lead = LorawanConfig().lead_ms
    print(f"  several gateways add up to {LorawanConfig().dedup_ms} ms; an answer that is not")
    print(f"  ready {lead} ms before RX1 goes to RX2, so a sent one has that margin at least")


def fuzz(count: int) -> None:
    """Bad inputs, as in the tests but more of them."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        one = Fuzz(Path(folder), 2026)
        start = time.perf_counter()
        one.run(count)
        took = time.perf_counter() - start
        accepted = one.site.counters()["up_accepted"]
        one.site.close()
    print(
        f"fuzz: {count} bad inputs in {took:.0f} s, none raised, no session changed ({accepted=})"
    )


def main() -> None:
    """Both tables."""
    logging.disable(logging.CRITICAL)
    # Not in memory: the commits are the point. The work tree's disk is what there is.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".bench-") as folder:
        throughput(Path(folder))
        margin(Path(folder))
    logging.disable(logging.NOTSET)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fuzz", type=int, default=0, help="bad inputs instead of the bench")
    chosen = parser.parse_args()
    if chosen.fuzz:
        fuzz(chosen.fuzz)
    else:
        main()
