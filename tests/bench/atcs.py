"""Adaptive control against five others in SUMO, and the controller's cost per tick.

    python -m tests.bench.atcs [--quick]
    python -m tests.bench.atcs --net CITY.net.xml --routes CITY.rou.xml --begin 25200 --end 28800

Networks come from SUMO's own `netgenerate` (PyPI eclipse-sumo, or a SUMO on PATH), demand from a
seeded generator here. One run per network, demand, seed and controller; delay counts everybody due.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.plan import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sim.junction.sumo import Outcome

ROOT = Path(__file__).parents[2]
SECONDS = 1800
NETWORKS: dict[str, list[str]] = {
    "grid": ["--grid", "--grid.number", "3", "--grid.length", "200", "--grid.attach-length", "200"],
    "arterial": [
        "--grid", "--grid.x-number", "5", "--grid.y-number", "2", "--grid.x-length", "280",
        "--grid.y-length", "220", "--grid.attach-length", "220", "--default.lanenumber", "2",
    ],
    "irregular": ["--rand", "--rand.iterations", "40", "--rand.grid", "--rand.min-distance", "150"],
}  # fmt: skip
COMMON = [
    "--default.speed", "13.9", "--default-junction-type", "traffic_light", "--no-turnarounds",
    "--tls.discard-simple", "--lefthand", "--junctions.join", "--seed", "7",
]  # fmt: skip
RIVALS = ("webster", "actuated", "delay_based", "pressure", "wave")


def find(name: str) -> str | None:
    """A SUMO program: beside this Python, in the package `sumo`, or on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def network(kind: str, folder: Path) -> Path:
    """Generate one of `NETWORKS`."""
    program = find("netgenerate")
    if program is None:
        sys.exit("bench atcs: netgenerate is not here; install the PyPI package eclipse-sumo")
    target = folder / f"{kind}.net.xml"
    if not target.exists():
        command = [program, *NETWORKS[kind], *COMMON, "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True)
    return target


def trips(net: Path, vehicles_per_hour: float, seed: int, target: Path) -> Path:
    """Trips between dead ends, more of them on some relations than on others."""
    from sim.junction.sumo import net_root

    root = net_root(net)
    ends = {j.get("id") for j in root.iter("junction") if j.get("type") == "dead_end"}
    edges = [e for e in root.iter("edge") if e.get("function") is None]
    sources = [e.get("id", "") for e in edges if e.get("from") in ends]
    sinks = [e.get("id", "") for e in edges if e.get("to") in ends]
    if not sources or not sinks:
        sources = sinks = [e.get("id", "") for e in edges]
    rng = random.Random(seed)
    weight = {edge: rng.uniform(0.4, 1.6) for edge in sources + sinks}
    rows: list[str] = []
    t = 0.0
    while True:
        t += rng.expovariate(vehicles_per_hour / 3600.0)
        if t >= SECONDS:
            break
        start = rng.choices(sources, [weight[e] for e in sources])[0]
        end = rng.choices(sinks, [weight[e] for e in sinks])[0]
        if start.lstrip("-") != end.lstrip("-"):
            rows.append(
                f'<trip id="{len(rows)}" depart="{t:.1f}" from="{start}" to="{end}" '
                'departLane="best" departSpeed="max"/>'
            )
    target.write_text("<routes>\n" + "\n".join(rows) + "\n</routes>\n")
    return target


def outcomes(kind: str, rate: float, seed: int, folder: Path) -> Iterator[tuple[str, object]]:
    """(controller, outcome) of every controller on one demand of a generated network."""
    net = network(kind, folder)
    routes = trips(net, rate, seed, folder / f"{kind}.rou.xml")
    yield from race(kind, net, routes, (0, SECONDS), seed, folder)


def race(
    name: str,
    net: Path,
    routes: Path,
    span_s: tuple[int, int],
    seed: int,
    folder: Path,
    scale: float = 1.0,
) -> Iterator[tuple[str, object]]:
    """(controller, outcome) of every controller on one network and demand."""
    from gateway.atcs.adapters.sumo import controller
    from sim.junction import rivals, sumo

    options = ("--ignore-route-errors", "true", "--scale", str(scale))
    scenario = sumo.Scenario(name, net, routes, *span_s, options)
    counter = rivals.Counter(sumo.specs(sumo.net_root(net)))
    extra = folder / "rival.add.xml"
    first = sumo.run(
        scenario, seed, folder, additional=rivals.native(net, extra, "actuated"), on_step=counter
    )
    yield "actuated", first
    rivals.webster(net, extra, counter.flows_vps(span_s[1] - span_s[0]))
    yield "webster", sumo.run(scenario, seed, folder, additional=extra)
    rivals.native(net, extra, "delay_based")
    yield "delay_based", sumo.run(scenario, seed, folder, additional=extra)
    yield "pressure", sumo.run(scenario, seed, folder, maker=rivals.max_pressure)
    yield "wave", sumo.run(scenario, seed, folder, maker=rivals.longest_wave)
    yield "ours", sumo.run(scenario, seed, folder, maker=controller)


HEAD = "network demand seed controller   mean s  p95 s stops arrived/due  red s violations"


def row(name: str, demand: float, seed: int, who: str, result: "Outcome") -> str:
    """One line of the table."""
    return (
        f"{name:9} {demand:5} {seed:3} {who:11} {result.mean_s:7.1f} "
        f"{result.p95_s:7.1f} {result.stops:5.2f} "
        f"{result.arrived:5}/{result.due:<5} {result.red_max_s:5} {len(result.violations):4}"
    )


def city(net: Path, routes: Path, span_s: tuple[int, int], scale: float, seeds: int) -> None:
    """The table for somebody's own network and demand."""
    from sim.junction.sumo import Outcome

    print(HEAD)
    total: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, seeds + 1):
            for who, result in race(net.stem, net, routes, span_s, seed, Path(folder), scale):
                assert isinstance(result, Outcome)
                total[who] = total.get(who, 0.0) + result.mean_s
                print(row(net.name.split(".")[0], scale, seed, who, result), flush=True)
    best = min(RIVALS, key=lambda who: total[who])
    print(
        f"ours against {best}, the best other: {100.0 * (total['ours'] / total[best] - 1.0):+.0f} %"
    )


def compare(quick: bool) -> None:
    """Print a row for every run, then ours against the best of the others by network."""
    from sim.junction.sumo import Outcome

    demands = {"grid": (1500, 2300), "arterial": (1500, 2200), "irregular": (900, 1500)}
    seeds = (1,) if quick else (1, 2)
    print(HEAD)
    with tempfile.TemporaryDirectory() as name:
        for kind, rates in demands.items():
            total: dict[str, float] = {}
            for rate in rates[:1] if quick else rates:
                for seed in seeds:
                    for who, result in outcomes(kind, rate, seed, Path(name)):
                        assert isinstance(result, Outcome)
                        total[who] = total.get(who, 0.0) + result.mean_s
                        print(row(kind, rate, seed, who, result), flush=True)
            best = min(RIVALS, key=lambda who: total[who])
            change = 100.0 * (total["ours"] / total[best] - 1.0)
            print(f"{kind}: ours against {best}, the best other: {change:+.0f} % mean delay")


def ticks() -> None:
    """Microseconds of one core for one tick of 1 and of 64 junctions."""
    for count in (1, 64):
        plan = load(ROOT / "deploy/atcs/dual-ring.toml")
        junctions = [Controller(plan, 0) for _ in range(count)]
        rng = random.Random(1)
        inputs = Inputs()
        rounds = 6000 if count == 1 else 200
        begin = time.perf_counter()
        for k in range(1, rounds + 1):
            if k % 7 == 0:
                inputs.detectors = rng.getrandbits(8)
            for junction in junctions:
                junction.step(100 * k, inputs)
        spent = (time.perf_counter() - begin) / rounds * 1e6
        print(
            f"{count:3} junctions: {spent:8.0f} us a tick of 100 ms, {spent / 1000:.2f} % of a core"
        )


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one demand, one seed a network")
    parser.add_argument("--net", type=Path, help="a SUMO network of your own, instead of ours")
    parser.add_argument("--routes", type=Path, help="its demand")
    parser.add_argument("--begin", type=int, default=0, help="seconds")
    parser.add_argument("--end", type=int, default=3600, help="seconds")
    parser.add_argument("--scale", type=float, default=1.0, help="of the demand")
    parser.add_argument("--seeds", type=int, default=2, help="runs")
    arguments = parser.parse_args()
    if arguments.net:
        span_s = (arguments.begin, arguments.end)
        city(arguments.net, arguments.routes, span_s, arguments.scale, arguments.seeds)
        return
    ticks()
    compare(arguments.quick)


if __name__ == "__main__":
    main()
