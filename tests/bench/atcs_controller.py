"""The controller's own cost: `python -m tests.bench.atcs_controller [--seconds 120]`.

Microseconds per tick on one core, for 1 and 64 junctions, actuated, coordinated and adaptive, with
seeded arrivals; then how late the 10 Hz loop of one junction is on its own thread while another
thread of the same process works without pause, which is worse than anything the gateway does.
"""

import argparse
import random
import threading
import time
from pathlib import Path

from gateway.atcs.calendar import Wall
from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.plan import Plan, from_table, load
from gateway.atcs.service.control import Control, Tick
from gateway.config import read_toml

ROOT = Path(__file__).parents[2]
SAMPLES = ("kumbasari", "dual-ring")
NOON_MS = 43_200_000


def plan_of(name: str, adaptive: bool) -> Plan:
    path = ROOT / "deploy/atcs" / f"{name}.toml"
    if not adaptive:
        return load(path)
    table = read_toml(path)
    table["plan"] = [*table.get("plan", []), {"name": "adaptive", "mode": "adaptive"}]
    return from_table(table, path)


def patterns_of(plan: Plan) -> dict[str, str]:
    coordinated = next(timing.name for timing in plan.plan if timing.cycle_s)
    return {"actuated": "free", "coordinated": coordinated, "adaptive": "adaptive"}


def tick_us(name: str, mode: str, junctions: int, seconds: int) -> tuple[float, float]:
    """(mean, worst) microseconds of one round over all junctions."""
    plan = plan_of(name, mode == "adaptive")
    rng = random.Random(junctions)
    controllers = [Controller(plan, 0) for _ in range(junctions)]
    for controller in controllers:
        controller.central = patterns_of(plan)[mode]
    inputs = [Inputs() for _ in controllers]
    total = worst = 0.0
    rounds = seconds * 10
    for k in range(1, rounds + 1):
        for given in inputs:
            if rng.random() < 0.2:
                given.detectors ^= 1 << rng.randrange(len(plan.detector))
            given.wall = Wall("2026-11-25", 2, NOON_MS + k * 100)
        if k % 600 == 1:
            for controller in controllers:
                for row in plan.flood:
                    controller.report_stage(row.sensor, 0)
        begin = time.perf_counter()
        for controller, given in zip(controllers, inputs, strict=True):
            controller.step(k * 100, given)
        took = time.perf_counter() - begin
        total += took
        worst = max(worst, took)
    return total / rounds * 1e6, worst * 1e6


def jitter_ms(seconds: int) -> tuple[float, float]:
    """(99th percentile, worst) lateness of the loop beside a thread that never rests."""
    ticks: list[Tick] = []
    control = Control(plan_of("kumbasari", False), None, {}, 8.0, ticks.append, lambda _: None)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sum(range(1000))

    worker = threading.Thread(target=work, daemon=True)
    control.start()
    worker.start()
    late: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(1)
        late = [*control.late_ms]
    stop.set()
    worker.join()
    control.stop()
    late.sort()
    return late[int(0.99 * (len(late) - 1))], late[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="of virtual time, each")
    seconds = parser.parse_args().seconds
    print("junction   mode         junctions   mean us/tick   us/junction   worst us")
    for name in SAMPLES:
        for mode in ("actuated", "coordinated", "adaptive"):
            for junctions in (1, 64):
                mean, worst = tick_us(name, mode, junctions, seconds if junctions == 1 else 30)
                print(
                    f"{name:10} {mode:12} {junctions:9} {mean:14.0f} {mean / junctions:13.1f}"
                    f" {worst:10.0f}"
                )
    p99, worst = jitter_ms(10)
    print(f"loop beside a busy thread: late by {p99:.1f} ms (99 %), {worst:.1f} ms at worst")


if __name__ == "__main__":
    main()
