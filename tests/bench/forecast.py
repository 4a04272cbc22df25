"""The honest skill of the short forecast, on events and storms that the fit has not seen.

    python -m tests.bench.forecast [--data ../shared/data] [--storms 300] [--seed 1]

Real series: fitted on the first 60 % of the time (80 % on the Calder), judged on the rest, at
times at which something moves; "not used" is what the fit itself says of a horizon by the times it
left out. Skill is 1 - MAE / MAE of a peer: persistence (the level stays) and the trend (it goes on
as in the past half hour). Cover is the share inside the 80 % band. Storms: `sim.world.runoff` with
random rain, wetness and gauges that are wrong by 30 %; fitted on a third of them. There the top
stage is forecast when the likely level of any horizon reaches it.
"""

import argparse
import csv
import math
import random
import statistics
from dataclasses import replace
from pathlib import Path

from gateway.rules.forecast import (
    SKILL_MIN,
    History,
    Model,
    Series,
    dot,
    features,
    fit,
    is_active,
    scale,
)
from sim.world.river import Series as Curve
from sim.world.runoff import TUKAD_MATI, stage_from_rain

ACTIVE_MM = 10  # small rivers too


def column(folder: Path, name: str, key: str, factor: float) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    with (folder / name / "data.csv").open() as file:
        for row in csv.DictReader(file):
            if row[key]:
                point = int(row["ts"]), float(row[key]) * factor
                found.setdefault(row["dev"], []).append(point)
    return found


def running(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    total = 0.0
    out: list[tuple[int, float]] = []
    for time_ms, mm in points:
        total += mm
        out.append((time_ms, total))
    return out


def judge(model: Model, series: Series, since_ms: int) -> list[str]:
    """A cell for each horizon: skill over persistence, over the trend, cover, times."""
    cells: list[str] = []
    for one in model.horizons:
        mine = stay = trend = 0.0
        inside = count = 0
        for time_ms, level in zip(series.target.times, series.target.values, strict=True):
            if time_ms < since_ms:
                continue
            later = series.target.at(time_ms + one.minutes * 60_000)
            row = features(series, model.base_mm, time_ms, one.minutes)
            if later is None or row is None:
                continue
            if not is_active(row, 1 + len(model.upstream), len(model.rain), model.active_mm):
                continue
            change = later - level
            predicted = dot(one.weights, row)
            size = scale(predicted)
            inside += one.low * size <= change - predicted <= one.high * size
            count += 1
            mine += abs(change - predicted)
            stay += abs(change)
            trend += abs(change - row[3] * one.minutes / 30)  # row[3]: own rise in 30 min
        if not count or not stay:
            cells.append("-")
            continue
        used = "" if one.skill >= SKILL_MIN else " (not used)"
        cells.append(
            f"{1 - mine / stay:+.2f} / {1 - mine / trend:+.2f} / {inside / count:.0%}{used}"
        )
    return cells


def real(folder: Path) -> None:
    heads = ("15", "30", "45", "60", "90 min")
    print("| series | fitted on, judged on | " + " | ".join(heads) + " |\n" + "|---" * 7 + "|")
    calder = column(folder, "flood_ea_calder_a", "level_m", 1000)
    rain = column(folder, "flood_ea_calder_a", "rain_mm", 1)
    gauges = {name: History(running(points)) for name, points in rain.items()}
    hebden = History(calder["EA-Hebden-Bridge"])
    callis = History(calder["EA-Todmorden-Callis-Bridge"])
    cases: list[tuple[str, Series, tuple[str, ...], tuple[str, ...]]] = [
        ("Calder, alone", Series(hebden, [], []), (), ()),
        ("Calder, upstream", Series(hebden, [callis], []), ("Callis",), ()),
        ("Calder, rain", Series(hebden, [], list(gauges.values())), (), tuple(gauges)),
        (
            "Calder, both",
            Series(hebden, [callis], list(gauges.values())),
            ("Callis",),
            tuple(gauges),
        ),
    ]
    for name, key, factor in (
        ("flood_usgs_deadrun_2018", "stage_m", 1000),
        ("flood_usgs_plumtree_2016", "stage_m", 1000),
        ("flood_isar_2025", "level_cm", 10),
        ("flood_usgs_spring_2011", "stage_m", 1000),
        ("tide_noaa_newlondon_2013", "level_m", 1000),
    ):
        (points,) = column(folder, name, key, factor).values()
        cases.append((name, Series(History(points), [], []), (), ()))
    for label, series, upstream, rains in cases:
        times = series.target.times
        # The Calder's events came late in the record.
        split = times[0] + round((0.8 if "Calder" in label else 0.6) * (times[-1] - times[0]))
        try:
            model = fit("x", series, upstream, rains, until_ms=split, active_mm=ACTIVE_MM)
        except ValueError as error:
            print(f"| {label} | {error} |")
            continue
        cells = judge(model, series, split)
        rows = model.horizons[0].rows
        print(f"| {label} | {rows} times | " + " | ".join(cells) + " |")


# Storms


def storm(dice: random.Random) -> tuple[Curve, float]:
    """A day with rain of one to three bursts: mm/h over seconds, and how wet the ground is."""
    points = {0.0: 0.0, 86_400.0: 0.0}
    start = dice.uniform(2, 8) * 3600
    for _ in range(dice.randint(1, 3)):
        length = dice.uniform(0.5, 4) * 3600
        peak = math.exp(dice.gauss(math.log(30), 0.6))
        points[start] = 0.0
        points[start + length * dice.uniform(0.3, 0.7)] = min(peak, 120)
        points[start + length] = 0.0
        start += length + dice.uniform(0.2, 3) * 3600
        if start > 72_000:
            break
    return Curve(sorted(points.items())), dice.uniform(72, 93)


def play(dice: random.Random, number: int) -> Series:
    """One storm as gauges see it, every five minutes, on its own day."""
    rain, wetness = storm(dice)
    lower = replace(TUKAD_MATI, curve_number=wetness)
    upper = replace(TUKAD_MATI, curve_number=wetness, area_km2=22.0, lag_h=1.4, rating_a=9.0)
    day = number * 2 * 86_400_000
    seen = math.exp(dice.gauss(0, 0.3))
    shift = dice.uniform(-900, 900)
    down = stage_from_rain(lower, rain, 86_400)
    up = stage_from_rain(upper, rain, 86_400)
    times = range(0, 86_400, 300)
    total = 0.0
    fallen: list[tuple[int, float]] = []
    for t in times:
        total += seen * rain(t + shift) / 12
        fallen.append((day + t * 1000, round(total / 0.2) * 0.2))
    return Series(
        History([(day + t * 1000, down(t) + dice.gauss(0, 4)) for t in times]),
        [History([(day + t * 1000, up(t) + dice.gauss(0, 4)) for t in times])],
        [History(fallen)],
    )


def joined(parts: list[Series]) -> Series:
    def one(histories: list[History], is_total: bool) -> History:
        out: list[tuple[int, float]] = []
        base = 0.0
        for history in histories:
            out += [(t, base + v) for t, v in zip(history.times, history.values, strict=True)]
            base = out[-1][1] if is_total else 0.0
        return History(out)

    return Series(
        one([p.target for p in parts], False),
        [one([p.upstream[0] for p in parts], False)],
        [one([p.rain[0] for p in parts], True)],
    )


def leads(
    model: Model, part: Series, top_mm: float
) -> tuple[float | None, dict[str, float | None]]:
    """When the top is truly reached (s), and when each way of forecasting first says so."""
    times, levels = part.target.times, part.target.values
    crossed = next((t for t, v in zip(times, levels, strict=True) if v >= top_mm), None)
    said: dict[str, float | None] = {"forecast": None, "forecast, twice": None, "trend": None}
    run = 0
    for time_ms, level in zip(times, levels, strict=True):
        if crossed is not None and time_ms >= crossed:
            break
        is_said = False
        for one in model.horizons:
            row = features(part, model.base_mm, time_ms, one.minutes)
            if row is None or not is_active(row, 2, 1):
                continue
            is_said |= level + dot(one.weights, row) >= top_mm
            if said["trend"] is None and level + row[3] * one.minutes / 30 >= top_mm:
                said["trend"] = time_ms
        run = run + 1 if is_said else 0
        if is_said and said["forecast"] is None:
            said["forecast"] = time_ms
        if run >= 2 and said["forecast, twice"] is None:
            said["forecast, twice"] = time_ms
    return crossed, said


def synthetic(count: int, seed: int) -> None:
    dice = random.Random(seed)
    parts = [play(dice, number) for number in range(count)]
    train, test = parts[: count // 3], parts[count // 3 :]
    whole = joined(train)
    model = fit("x", whole, ("upstream",), ("rain",))
    print("\n| storms not seen | " + " | ".join(str(h.minutes) for h in model.horizons) + " min |")
    print("|---" * 6 + "|")
    since = int(test[0].target.times[0])
    cells = judge(model, joined(test), since)
    print(f"| {len(test)} | " + " | ".join(cells) + " |")
    peaks = sorted(max(p.target.values) for p in parts)
    top = peaks[int(len(peaks) * 0.7)]
    print(f"\ntop stage {top:.0f} mm: 30 % of the storms reach it")
    print("| said by | storms over | POD | FAR | lead median | 10 % | lead >= 45 min |")
    print("|---" * 7 + "|")
    results = [leads(model, part, top) for part in test]
    for name in ("forecast", "forecast, twice", "trend"):
        over = [(c, s[name]) for c, s in results if c is not None]
        hits = sorted((c - s) / 60_000 for c, s in over if s is not None)
        false = sum(1 for c, s in results if c is None and s[name] is not None)
        pod = len(hits) / max(1, len(over))
        far = false / max(1, false + len(hits))
        long = sum(1 for lead in hits if lead >= 45) / max(1, len(over))
        middle = statistics.median(hits) if hits else 0
        tenth = hits[len(hits) // 10] if hits else 0
        print(
            f"| {name} | {len(over)} of {len(results)} | {pod:.2f} | {far:.2f} | {middle:.0f} min"
            f" | {tenth:.0f} | {long:.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--storms", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("Cells: skill over persistence / over the trend / share inside the 80 % band.\n")
    if options.data.exists():
        real(options.data)
    else:
        print(f"{options.data} is absent")
    synthetic(options.storms, options.seed)


if __name__ == "__main__":
    main()
