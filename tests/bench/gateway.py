"""Bench of the gateway agent: what a reading costs, how fast a backlog drains, what a kill loses.

The load of the peers' table: ten Modbus TCP units with ten registers each, polled every second,
QoS 1 to a broker on the same machine. As there, a "reading" is one value, so 100 a second.
Environment: KILLS (default 40), BACKLOG (default 50000 samples), SECONDS (default 20).
"""

import asyncio
import contextlib
import os
import pty
import random
import re
import signal
import statistics
import tempfile
import time
import tty
from pathlib import Path
from typing import Any

from gateway.ledger.ledger import Ledger
from gateway.ledger.retention import Retention
from gateway.model import Reading
from gateway.sources.line import open_line
from tests.gateway.peers import MOSQUITTO, AgentProcess, Broker, City, ModbusPeer, running

KILLS = int(os.environ.get("KILLS", "40"))
BACKLOG = int(os.environ.get("BACKLOG", "100000"))  # samples of ten values each
SECONDS = int(os.environ.get("SECONDS", "20"))
UNITS, REGISTERS = 10, 10
# Measured in November 2026 (facts): CPU-s per 1,000 readings, RSS in MB, start in s.
PEERS = (("thingsboard-gateway 3.8.5", 0.85, 65.0, 1.5), ("Node-RED 5", 0.13, 147.0, 2.3))


def write_profile(folder: Path) -> Path:
    values = "".join(f'[[value]]\nname = "value{n}_mm"\naddress = {n}\n' for n in range(REGISTERS))
    path = folder / "ten.toml"
    path.write_text(f'what = "ten registers"\nstatus = "exact"\nsource = "bench"\n{values}')
    return path


def write_config(folder: Path, broker: int, modbus: int, *, kind: str, interval_s: float) -> Path:
    profile = write_profile(folder)
    sensors = "".join(
        f'[[modbus.sensor]]\nname = "unit-{n}"\nprofile = "{profile}"\nunit = {n}\n'
        f"interval_s = {interval_s}\n"
        'stages = {waspada_mm=60000,siaga_mm=61000,awas_mm=62000,value="value0_mm"}\n'
        for n in range(1, UNITS + 1)
    )
    path = folder / "gateway.toml"
    path.write_text(
        f'[gateway]\nsite = "test"\ndata_dir = "{folder}/data"\nstatus_bind = ""\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker}"\nformat = "{kind}"\nack_timeout_s = 10.0\n'
        f'[[modbus]]\nname = "bus"\nport = "tcp://127.0.0.1:{modbus}"\n{sensors}'
    )
    return path


class Walk:
    """Registers that wander as water does; `flood` sends the first of every unit to the top."""

    def __init__(self) -> None:
        self._dice = random.Random(5)
        self._levels: dict[int, list[int]] = {}
        self.flood_ns = 0

    def __call__(self, unit: int, address: int, count: int) -> list[int]:
        levels = self._levels.setdefault(unit, [1000] * REGISTERS)
        for n in range(REGISTERS):
            levels[n] = max(0, levels[n] + self._dice.randint(-3, 3))
        if self.flood_ns:
            return [65000, *levels[1:]][address : address + count]
        return levels[address : address + count]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def pid_of(agent: AgentProcess) -> int:
    process = agent._process
    assert process is not None
    return process.pid


class TimedCity(City):
    """Notes how long after its poll each live reading arrived."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.delays_ms: list[float] = []

    def _row(self, key: tuple[str, str, int], row: tuple[int, dict[str, int]]) -> None:
        if key not in self.rows:
            self.delays_ms.append(time.time() * 1000 - row[0])
        super()._row(key, row)


@contextlib.asynccontextmanager
async def stage(folder: Path, kind: str, interval_s: float) -> Any:
    """Modbus units, a broker, a city, a configuration."""
    walk = Walk()
    peer = ModbusPeer(walk)
    broker = Broker("mosquitto" if MOSQUITTO.exists() else "embedded", folder)
    await peer.start()
    await broker.start()
    config = write_config(folder, broker.port, peer.port, kind=kind, interval_s=interval_s)
    try:
        async with TimedCity(broker.port).listening() as city:
            yield walk, city, config, broker.kind
    finally:
        await broker.stop()
        await peer.stop()


async def steady(kind: str, interval_s: float) -> dict[str, float]:
    """Cost and latency at a steady load."""
    with tempfile.TemporaryDirectory() as name:
        async with stage(Path(name), kind, interval_s) as (_, city, config, _):
            began = time.monotonic()
            async with running(config) as agent:
                await city.until(lambda: bool(city.rows), 30)
                start_s = time.monotonic() - began
                await asyncio.sleep(3)
                pid = pid_of(agent)
                cpu, rows, octets = cpu_s(pid), len(city.rows), city.bytes
                city.delays_ms.clear()
                await asyncio.sleep(SECONDS)
                used, count = cpu_s(pid) - cpu, (len(city.rows) - rows) * REGISTERS
                delays = sorted(city.delays_ms)
                return {
                    "start": start_s,
                    "per_s": count / SECONDS,
                    "cpu": used / count * 1000,
                    "rss": rss_mb(pid),
                    "p50": statistics.median(delays),
                    "p99": delays[int(len(delays) * 0.99)],
                    "bytes": (city.bytes - octets) / count if kind == "batch" else float("nan"),
                }


def fill(folder: Path, count: int) -> float:
    """A ledger with `count` samples that nobody took; returns samples a second, durable."""
    ledger = Ledger(folder / "data", Retention(), ["mqtt"])
    ledger.open()
    dice = random.Random(1)
    levels = [[1000] * REGISTERS for _ in range(UNITS)]
    began = time.monotonic()

    def sample(n: int) -> Reading:
        unit = n % UNITS
        levels[unit] = [level + dice.randint(-3, 3) for level in levels[unit]]
        at_ms = 1_789_000_000_000 + n // UNITS * 1000
        return Reading(
            device=f"unit-{unit + 1}",
            stream=str(folder / "ten.toml"),
            sequence=n // UNITS,
            time_ms=at_ms,
            time_source="ntp",
            values={f"value{k}_mm": level for k, level in enumerate(levels[unit])},
            received_ms=at_ms,
        )

    async def write() -> None:
        for first in range(0, count, 100):
            await ledger.add([sample(n) for n in range(first, min(first + 100, count))])

    asyncio.run(write())
    took = time.monotonic() - began
    ledger.close()
    return count / took


async def drain() -> dict[str, float]:
    """A backlog after an outage, with an alarm in the middle of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate = await asyncio.to_thread(fill, folder, BACKLOG)
        async with (
            stage(folder, "batch", 1.0) as (walk, city, config, _),
            running(config) as agent,
        ):
            await city.until(lambda: len(city.rows) > 100, 60)
            began, rows, cpu = time.monotonic(), len(city.rows), cpu_s(pid_of(agent))
            await city.until(lambda: len(city.rows) > BACKLOG // 3, 600)
            walk.flood_ns = time.time_ns()
            await city.until(lambda: bool(city.alarms), 60)
            alarm = city.alarms[0]
            seen_ms = time.time() * 1000
            await city.until(lambda: len(city.rows) >= BACKLOG, 900)
            took = time.monotonic() - began
            moved = len(city.rows) - rows
            return {
                "fill": rate,
                "drain": moved / took,
                "cpu": (cpu_s(pid_of(agent)) - cpu) / moved / REGISTERS * 1000,
                "alarm": seen_ms - alarm["time_ms"],
                "bytes": city.bytes / len(city.rows) / REGISTERS,
                "rss": rss_mb(pid_of(agent)),
            }


async def kills() -> dict[str, int]:
    """SIGKILL at random moments under load, then count at the city."""
    dice = random.Random(9)
    with tempfile.TemporaryDirectory() as name:
        async with stage(Path(name), "batch", 0.05) as (_, city, config, _):
            for _ in range(KILLS):
                async with running(config) as agent:
                    before = len(city.rows)
                    await city.until(lambda before=before: len(city.rows) > before, 60)
                    await asyncio.sleep(dice.uniform(0, 0.3))
                    await agent.end(signal.SIGKILL)
            async with running(config):
                before = len(city.rows)
                await city.until(lambda: len(city.rows) > before + 200, 60)
            holes = sum(len(missing) for missing in city.holes().values())
            return {
                "rows": len(city.rows),
                "lost": holes,
                "conflicts": city.conflicts,
                "repeats": city.repeats,
            }


async def bus_share(baud: int) -> tuple[float, float]:
    """Polls of ten registers a second over a serial line with the wire's own timing, and the share
    of what that wire allows: request, reply and twice 3.5 characters of silence, no turnaround."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    loop = asyncio.get_running_loop()
    character_s = 10 / baud
    gap_s = max(3.5 * character_s, 0.00175)
    body = bytes([1, 3, 20]) + bytes(20)
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    reply = body + crc.to_bytes(2, "little")
    wire_s = (8 + len(reply)) * character_s + gap_s

    def answer() -> None:
        os.read(master, 300)
        loop.call_later(wire_s, os.write, master, reply)

    loop.add_reader(master, answer)
    line = open_line(os.ttyname(slave), baud, "8N1")
    await line.open()
    began = time.monotonic()
    count = 0
    while time.monotonic() - began < 3:
        await line.read(1, 3, 0, 10, 1.0)
        count += 1
    rate = count / (time.monotonic() - began)
    line.close()
    loop.remove_reader(master)
    os.close(master)
    os.close(slave)
    return rate, rate * (wire_s + gap_s)


def fsyncs() -> float:
    """Append and fdatasync a second: the floor of this disk."""
    with tempfile.TemporaryDirectory() as name, (Path(name) / "f").open("wb", buffering=0) as file:
        began = time.monotonic()
        for _ in range(300):
            file.write(bytes(200))
            os.fdatasync(file.fileno())
        return 300 / (time.monotonic() - began)


def main() -> None:
    """Run every part and print its table."""
    broker = "Mosquitto" if MOSQUITTO.exists() else "the embedded broker"
    print(f"{UNITS} units x {REGISTERS} registers at 1 s, QoS 1 to {broker}; a reading is a value")
    print(f"{'agent':28} CPU-s/1000   RSS MB  start s  p50/p99 ms  B/reading")
    for kind in ("batch", "json"):
        r = asyncio.run(steady(kind, 1.0))
        print(
            f"{'tukad, ' + kind:28} {r['cpu']:10.3f} {r['rss']:8.0f} {r['start']:8.2f}"
            f"  {r['p50']:4.1f}/{r['p99']:5.1f}  {r['bytes']:9.2f}"
        )
        ratios = ", ".join(
            f"{name}: {cpu / r['cpu']:.1f} x the CPU, {rss / r['rss']:.1f} x the memory"
            for name, cpu, rss, _ in PEERS
        )
        print(f"    {ratios}")
    r = asyncio.run(steady("batch", 0.05))
    print(f"fastest: {r['per_s']:,.0f} readings/s polled, durable, delivered; CPU {r['cpu']:.3f}")
    print(f"    poll to MQTT p50/p99 {r['p50']:.1f}/{r['p99']:.1f} ms, {r['bytes']:.2f} B/reading")
    d = asyncio.run(drain())
    print(
        f"ledger: {d['fill']:,.0f} samples/s durable in groups of 100;"
        f" the disk does {fsyncs():,.0f} fdatasync/s"
    )
    print(
        f"backlog of {BACKLOG:,} samples: {d['drain']:,.0f} samples/s"
        f" ({d['drain'] * REGISTERS:,.0f} readings/s), {d['bytes']:.3f} B/reading,"
        f" CPU-s/1000 {d['cpu']:.3f}, RSS {d['rss']:.0f} MB"
    )
    print(f"alarm through that backlog: {d['alarm']:.0f} ms from the poll to the city")
    for baud in (9600, 19200, 115200):
        rate, share = asyncio.run(bus_share(baud))
        print(f"RTU at {baud} baud: {rate:.0f} polls of 10 registers/s, {share:.0%} of the wire's")
    k = asyncio.run(kills())
    print(
        f"{KILLS} x SIGKILL under load: {k['rows']:,} samples, {k['lost']} lost,"
        f" {k['conflicts']} numbered twice, {k['repeats']} repeats dropped by the city"
    )


if __name__ == "__main__":
    main()
