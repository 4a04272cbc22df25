"""How fast the simulation is: `python -m tests.bench.sim [--nodes 1 10] [--hours 6] [--scenarios]`.

Prints, for each number of nodes, device-days per wall second with real firmware in MicroPython
processes, the calls between them and the simulator, and where the time went; the cost of the kernel
alone, of a round trip, and of the radio channel without firmware. `--scenarios` plays every
scenario of the project instead and exits with 1 when one fails.
"""

import argparse
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hil.run import run
from hil.scenario import NodeEntry, Scenario, available, load
from hil.unix_target import UnixNode
from hil.world import World
from sim.board import Board
from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator
from sim.radio.medium import Medium, Radio, Reception, Transmission


@dataclass
class Figure:
    """One measurement of whole nodes."""

    nodes: int
    role: str
    hours: float
    wall_s: float
    own_cpu_s: float
    child_cpu_s: float
    calls: int
    frames: int

    @property
    def device_days_per_s(self) -> float:
        return self.nodes * self.hours / 24 / self.wall_s


def cpu() -> tuple[float, float]:
    own, child = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, child.ru_utime + child.ru_stime


def measure(nodes: int, hours: float, role: str, river: str) -> Figure:
    scenario = Scenario(
        path=Path("bench.toml"),
        title="bench",
        about="",
        duration_s=3600 * hours,
        river=river,
        river_from_h=6.0,
        nodes=(NodeEntry(name="n", role=role, count=nodes, x_m=0.0, spread_m=1_500.0),),
    )
    before = cpu()
    start = time.perf_counter()
    world = World(scenario, 1)
    try:
        world.run()
    finally:
        world.close()
    wall_s = time.perf_counter() - start
    after = cpu()
    faults = sorted({what for _, _, what in world.sim.faults})
    if faults:
        print(f"  faults: {', '.join(faults)}")
    return Figure(
        nodes=nodes,
        role=role,
        hours=hours,
        wall_s=wall_s,
        own_cpu_s=after[0] - before[0],
        child_cpu_s=after[1] - before[1],
        calls=sum(node.firmware.calls for node in world.nodes.values()),
        frames=sum(node.chip.tx_count for node in world.nodes.values()),
    )


def kernel_events_per_s(count: int = 300_000) -> float:
    sim = Simulation()

    def again(left: int) -> None:
        if left:
            sim.after(7, again, left - 1)

    for lane in range(10):
        sim.after(lane, again, count // 10)
    start = time.perf_counter()
    sim.run_until(count * 10)
    return count / (time.perf_counter() - start)


def round_trips_per_s(seconds: float = 20.0) -> float:
    """A child that only reads a pin another device keeps changing: every read is a call."""
    sim = Simulation()
    board = Board(sim, "n")
    node = UnixNode(sim, board, entry=("tests.hil.device.checks", "asks"))
    try:
        node.power_on()
        sim.run_until(SECOND)
        calls, start = node.calls, time.perf_counter()
        sim.run_until(round(seconds * SECOND))
        return (node.calls - calls) / (time.perf_counter() - start)
    finally:
        node.close()


class _Voice(Radio):
    def listening_since(self, tx: Transmission) -> int | None:
        return None

    def on_preamble(self, reception: Reception) -> None:
        pass

    def on_end(self, reception: Reception) -> None:
        pass


def packets_per_s(nodes: int = 100, packets: int = 3_000) -> float:
    """Packets of many nodes at one concentrator, no firmware."""
    sim = Simulation()
    medium = Medium(sim)
    Concentrator(sim, medium)
    rng = sim.rng("bench")
    voices = [_Voice(f"v{i}", x_m=rng.uniform(-2e3, 2e3)) for i in range(nodes)]
    for voice in voices:
        medium.join(voice)

    def send(voice: _Voice) -> None:
        medium.transmit(
            voice,
            Transmission(
                sender=voice.name, freq_hz=921_400_000 + 200_000 * rng.randrange(8), sf=7,
                bw_hz=125_000, cr=1, preamble=8, explicit=True, crc=True, iq_inverted=False,
                sync_word=0x3444, power_dbm=14.0, payload=bytes(24), start_us=sim.now_us,
            ),
        )  # fmt: skip

    for i in range(packets):
        sim.at(i * 100_000, send, voices[i % nodes])
    start = time.perf_counter()
    sim.run_until(packets * 100_000 + SECOND)
    return packets / (time.perf_counter() - start)


def play_all() -> int:
    """Every scenario, the shortest first; the number that failed."""
    failed = 0
    for scenario in sorted((load(path) for path in available()), key=lambda s: s.duration_s):
        result = run(scenario)
        failed += not result.held
        word = "held" if result.held else "FAILED"
        print(
            f"{scenario.name:<24} {word:<6} {result.duration_s / 3600:7.1f} h "
            f"{result.wall_s:8.1f} s {result.duration_s / result.wall_s:8,.0f} x real",
            flush=True,
        )
        for verdict in result.verdicts:
            if not verdict.held:
                print(f"    {verdict.what} {verdict.node}: {verdict.found}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--river", default="golden", choices=("golden", "calm"))
    parser.add_argument("--scenarios", action="store_true")
    options = parser.parse_args()
    if options.scenarios:
        sys.exit(1 if play_all() else 0)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start; wall figures suffer under load")
    print(f"kernel: {kernel_events_per_s():,.0f} events/s")
    print(f"round trips, simulator and MicroPython: {round_trips_per_s():,.0f}/s")
    print(f"channel, 100 nodes: {packets_per_s():,.0f} packets/s")
    print(
        "role     nodes  hours   wall s  own cpu  child cpu     calls  frames  dev-days/s  x real"
    )
    for role in ("flood", "tracker"):
        for nodes in options.nodes:
            hours = options.hours if role == "flood" else min(options.hours, 1.0)
            f = measure(nodes, hours, role, options.river)
            print(
                f"{f.role:<8} {f.nodes:5d} {f.hours:6.1f} {f.wall_s:8.2f} {f.own_cpu_s:8.2f} "
                f"{f.child_cpu_s:10.2f} {f.calls:9,d} {f.frames:7d} {f.device_days_per_s:11.3f} "
                f"{3600 * f.hours / f.wall_s:7,.0f}"
            )


if __name__ == "__main__":
    main()
