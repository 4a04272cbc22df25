"""Trains the codec's prior, and measures what it gives on series it was not trained on.

    python -m tests.bench.codec_train            write gateway/codec/prior_1.bin
    python -m tests.bench.codec_train --check    leave each series out in turn and measure it

For each kind of block and each context, batches of several sizes give counts of zeros and ones.
The prior is the beta distribution under which those counts are most likely (to the nearest of
32 means and 7 strengths); where a kind has seen little, what all alike kinds saw stands in.
Every series has the same weight. The asset holds only these means and strengths.
"""

import math
import sys
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import gateway.codec.prior as prior_module
from gateway.codec import batch as batch_module
from gateway.codec.catalogue import KINDS
from gateway.codec.columns import BLOCK
from gateway.codec.groups import put_groups
from gateway.codec.prior import FLAT, PRIOR_KINDS, PROBABILITIES, STRENGTHS, unpack
from gateway.codec.state import Model
from tests.bench.codec import Series, batches, everything, figures, mean, numbered, unlearned

ASSET = Path(prior_module.__file__).with_name("prior_1.bin")
# Batch size: how many batches, and the weight of all together.
TRAINING = {1: (150, 1.0), 10: (150, 1.0), 100: (30, 0.5), 1000: (3, 0.15)}
POOL_WEIGHT = 0.02  # of what alike kinds saw, beside a kind's own counts
SEEN_MAX = 200  # counts of one batch are scaled down to this

Counts = dict[tuple[int, int], float]  # (zeros, ones) of a context in a batch -> weight
Statistics = dict[str, dict[int, Counts]]  # by kind and context


def observe(series: Series, statistics: Statistics) -> None:
    """Add the counts of one series."""
    for size, (most, weight) in TRAINING.items():
        some = batches(series.records, size, most)
        for records in some:
            model = Model(FLAT)
            groups = batch_module.grouped(series.catalogue, records)
            counts: dict[int, list[int]] = {}
            for decision in put_groups(series.catalogue, groups, model):
                if decision >= 0:
                    counts.setdefault(decision >> 1, [0, 0])[decision & 1] += 1
            for context, (zeros, ones) in counts.items():
                scale = min(1.0, SEEN_MAX / (zeros + ones))
                key = round(zeros * scale), round(ones * scale)
                kind = model.kinds[context // BLOCK]
                slot = statistics.setdefault(kind, {}).setdefault(context % BLOCK, {})
                slot[key] = slot.get(key, 0.0) + weight / len(some)


def _likelihood(p: float, strength: float, counts: Counts) -> float:
    a, b = p * strength, (1 - p) * strength
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return sum(
        weight
        * (constant + math.lgamma(a + n1) + math.lgamma(b + n0) - math.lgamma(a + b + n0 + n1))
        for (n0, n1), weight in counts.items()
    )  # fmt: skip


def _fit(counts: Counts) -> tuple[int, int]:
    """Indices of the best probability and strength."""
    zeros = sum(min(z, 8) * w for (z, _), w in counts.items()) + 1e-3
    ones = sum(min(o, 8) * w for (_, o), w in counts.items()) + 1e-3
    middle = min(31, max(0, round(math.log(ones / zeros) / 0.5 + 15.5)))
    choices = (
        (_likelihood(PROBABILITIES[i] / 65536, STRENGTHS[s] + 0.6, counts), i, s)
        for i in range(max(0, middle - 5), min(31, middle + 5) + 1)
        for s in range(1, len(STRENGTHS))
    )
    _, i, s = max(choices)
    return i, s


def _family(kind: str) -> str:
    if kind in KINDS:
        return "value"
    return "first_value" if kind.removeprefix("first_") in KINDS else kind


def _merged(parts: Sequence[tuple[Counts, float]]) -> Counts:
    total: defaultdict[tuple[int, int], float] = defaultdict(float)
    for counts, weight in parts:
        for key, value in counts.items():
            total[key] += value * weight
    return dict(total)


def train(all_statistics: Sequence[Statistics]) -> bytes:
    """The asset's bytes."""
    own: dict[str, dict[int, list[tuple[Counts, float]]]] = {}
    pool: dict[str, dict[int, list[tuple[Counts, float]]]] = {}
    for statistics in all_statistics:
        for kind, contexts in statistics.items():
            for context, counts in contexts.items():
                own.setdefault(kind, {}).setdefault(context, []).append((counts, 1.0))
                family = pool.setdefault(_family(kind), {})
                family.setdefault(context, []).append((counts, POOL_WEIGHT))
    table = bytearray(BLOCK * len(PRIOR_KINDS))
    for place, kind in enumerate(PRIOR_KINDS):
        for context, shared in pool.get(_family(kind), {}).items():
            mine = own.get(kind, {}).get(context, [])
            i, s = _fit(_merged(mine + shared))
            if not mine:
                s = min(s, 3)  # hearsay
            table[place * BLOCK + context] = i << 3 | s
    return zlib.compress(bytes(table), 9)


def leave_one_out(everyone: Sequence[Series], statistics: dict[str, Statistics]) -> None:
    """Measure each series with a prior trained on all others."""
    totals: dict[str, list[list[float]]] = {}
    for series in everyone:
        name = series.name.split("@")[0]
        others = [s for other, s in statistics.items() if other.split("@")[0] != name]
        blocks = unpack(train(others))
        prior_module.use(blocks)
        row = figures(series)
        if "@" not in series.name:
            totals.setdefault(series.kind, []).append(row)
        print(f"  {series.name:30}" + "".join(f"{value:9.3f}" for value in row), flush=True)
    for kind, rows in totals.items():
        columns = zip(*rows, strict=True)
        print(f"  mean {kind:25}" + "".join(f"{mean(column):9.3f}" for column in columns))


def run(arguments: Sequence[str]) -> None:
    """Train, or check."""
    everyone = list(everything())
    statistics: dict[str, Statistics] = {}
    for series in everyone:
        observe(series, statistics.setdefault(series.name, {}))
        observe(numbered(series), statistics[series.name])
        observe(unlearned(series), statistics[series.name])
    if "--check" in arguments:
        leave_one_out(everyone, statistics)
        return
    packed = train(list(statistics.values()))
    ASSET.write_bytes(packed)
    print(f"{ASSET.name}: {len(packed)} bytes")


if __name__ == "__main__":
    run(sys.argv[1:])
