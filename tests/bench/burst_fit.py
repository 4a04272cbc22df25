"""Fits the burst channel to frame counters: `python -m tests.bench.burst_fit DATA.csv`.

The file has the columns `ts` (ms), `dev` and `fcnt`, as `flood_floodnet_a`. Prints the figures that
`sim/radio/floodnet.py` keeps. Random restarts with shrinking steps: slow, but nothing to tune.
"""

import argparse
import csv
import math
import random
from collections import defaultdict
from pathlib import Path

from sim.radio.floodnet import HISTORIES, PERIOD_S, delivered

_REJOIN = 1380  # frames: more than a day without one is no loss but an absence


def runs_of(counters: list[int]) -> tuple[list[int], int]:
    """Lost frames between received ones (0: none), and how many frames were sent."""
    runs, frames, last = [], 1, counters[0]
    for counter in counters[1:]:
        step = counter - last
        if 0 < step <= _REJOIN:
            runs.append(step - 1)
        if step:
            frames += step if 0 < step <= _REJOIN else 1
            last = counter
    return runs, frames


def channel(point: list[float]) -> tuple[float, float, float, float]:
    """good_s, bad_s, loss_good, loss_bad of four unbounded numbers."""
    mixed, share, ratio, loss_bad = (1 / (1 + math.exp(-x)) for x in point)
    rate = -math.log(1 - 0.98 * mixed) / PERIOD_S
    return 1 / (rate * share), 1 / (rate * (1 - share)), ratio * loss_bad, loss_bad


def cost(point: list[float], wanted: list[float]) -> float:
    """Squared errors of the shares, and a little of the logarithms of what is lost."""
    found = delivered(*channel(point))
    return sum(
        100 * (a - b) ** 2 + 0.05 * math.log((1 - a + 2e-5) / (1 - b + 2e-5)) ** 2
        for a, b in zip(found, wanted, strict=True)
    )


def fit(wanted: list[float], restarts: int = 14) -> tuple[float, list[float]]:
    """The best point and its cost."""
    rng = random.Random(1)
    best: tuple[float, list[float]] = (math.inf, [])
    for _ in range(restarts):
        point = [rng.uniform(-3, 3), rng.uniform(-4, 3), rng.uniform(-5, 1), rng.uniform(-1, 3)]
        value, step = cost(point, wanted), 1.0
        while step > 1e-3:
            before = value
            for _ in range(60):
                near = [x + rng.gauss(0, step) for x in point]
                if (other := cost(near, wanted)) < value:
                    point, value = near, other
            if value == before:
                step /= 2
        best = min(best, (value, point))
    return best


def main() -> None:
    """Print one line a sensor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with parser.parse_args().data.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["fcnt"]:
                rows[row["dev"]].append((int(row["ts"]), int(row["fcnt"])))
    for name, seen in sorted(rows.items()):
        runs, frames = runs_of([counter for _, counter in sorted(seen)])
        wanted = [1 - sum(max(0, r - h) for r in runs) / frames for h in HISTORIES]
        value, point = fit(wanted)
        lost = [run for run in runs if run]
        good_s, bad_s, loss_good, loss_bad = channel(point)
        print(f"{name}: {frames} frames, mean run {sum(lost) / len(lost):.3f}, cost {value:.5f}")
        print("  measured", [round(x, 4) for x in wanted])
        print("  fitted  ", [round(x, 4) for x in delivered(*channel(point))])
        print(f"  good_s={good_s:.1f} bad_s={bad_s:.1f} {loss_good=:.5f} {loss_bad=:.5f}")


if __name__ == "__main__":
    main()
