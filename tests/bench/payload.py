"""How many older readings a flood or track frame carries, on public series: a table.

    python -m tests.bench.payload [--data ../shared/data] [--positions 200]

Each series is pushed reading by reading, on the grid nearest to its own interval (a device samples
on a grid), and at so many places a frame is made at each limit, decoded and compared. Printed per
cell: median / 10th percentile / median in the fastest 5 % of the record. Extras go along as usual.
"""

import argparse
import csv
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from protocols.payload.flood import FloodEncoder, FloodRing, decode_flood
from protocols.payload.ports import EPOCH_UNIX_S
from protocols.payload.track import TrackEncoder, TrackRing, decode_track

LIMITS = (11, 19, 51, 115, 242)
RING = 260
BASE = 898 * 64 * 3600
# folder, column, factor to mm, grid in seconds
FLOOD = (
    ("flood_ea_calder_a", "level_m", 1000, 900),
    ("flood_floodnet_a", "dist_mm", -1, 60),
    ("flood_isar_2025", "level_cm", 10, 900),
    ("flood_usgs_deadrun_2018", "stage_m", 1000, 300),
    ("flood_usgs_plumtree_2016", "stage_m", 1000, 300),
    ("flood_usgs_spring_2011", "stage_m", 1000, 900),
    ("tide_noaa_newlondon_2013", "level_m", 1000, 300),
)
TRACK = ("boat_ais_adriatic", "boat_creel_scotland", "boat_portugal_a", "bus_liverpool")


def rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    with (folder / name / "data.csv").open() as file:
        yield from csv.DictReader(file)


def level_series(folder: Path) -> Iterator[tuple[str, int, list[int]]]:
    """Name, grid and levels in mm of every series with more than 500 readings."""
    for name, column, factor, grid_s in FLOOD:
        by_device: dict[str, list[int]] = {}
        for row in rows(folder, name):
            if row[column]:
                level = round(float(row[column]) * factor)
                by_device.setdefault(row["dev"], []).append(level)
        for device, levels in by_device.items():
            if len(levels) > 500:
                yield f"{name} {device}", grid_s, levels


def flood_counts(grid_s: int, levels: list[int], limit: int, positions: list[int]) -> list[int]:
    """How many older readings each frame carried; every frame is decoded and compared."""
    middle = statistics.median_low(levels)
    counts: list[int] = []
    for position in positions:
        ring = FloodRing(RING)
        for i in range(position - RING + 1, position + 1):
            # Sea levels and ranges are moved into the field; far outliers saturate on both ends.
            ring.push(i, BASE + i * grid_s, levels[i] - middle + 2000, 0)
        encoder = FloodEncoder(ring)
        encoder.battery_mv, encoder.temperature_c, encoder.config_number = 3600, 28, 1
        encoder.is_clock_set = True
        buf = bytearray(limit)
        for _ in range(position % encoder.extra_every + 1):  # extras as often as in the field
            length = encoder.encode_into(buf, limit)
        frame = decode_flood(
            buf[:length], BASE + position * grid_s + 5, position, BASE + position * grid_s
        )
        for sample in frame.samples:
            want = min(max(levels[sample.sequence] - middle + 2000, -1024), 15358)
            assert sample.level_mm == want and sample.time_s == BASE + sample.sequence * grid_s
        counts.append(len(frame.samples) - 1)
    return counts


def cell(counts: list[int], fast: list[int]) -> str:
    ordered = sorted(counts)
    return "/".join(
        str(value)
        for value in (
            ordered[len(ordered) // 2],
            ordered[len(ordered) // 10],
            statistics.median_low(fast) if fast else "-",
        )
    )


def flood_table(folder: Path, count: int) -> None:
    print("| series | " + " | ".join(f"{limit} B" for limit in LIMITS) + " |")
    print("|---" * (len(LIMITS) + 1) + "|")
    for name, grid_s, levels in level_series(folder):
        last = len(levels) - 1
        positions = [RING + i * (last - RING) // count for i in range(count)]
        changes = sorted(
            range(RING, last), key=lambda i: abs(levels[i] - levels[i - 4]), reverse=True
        )
        fast = sorted(changes[: max(len(changes) // 20, 1)])
        fast = fast[:: max(len(fast) // (count // 3), 1)]
        cells = [
            cell(
                flood_counts(grid_s, levels, limit, positions),
                flood_counts(grid_s, levels, limit, fast),
            )
            for limit in LIMITS
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def tracks(folder: Path, name: str, step_s: int) -> Iterator[list[tuple[int, int, int]]]:
    """Tracks on a grid of `step_s` by straight lines, cut at gaps of 10 min: time, lat, lon."""
    by_device: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows(folder, name):
        if row["lat"] and row["lon"]:
            fix = (
                (int(row["ts"]) // 1000 - EPOCH_UNIX_S) % BASE,  # some tracks are before 2020
                float(row["lat"]),
                float(row["lon"]),
            )
            by_device.setdefault(row["dev"], []).append(fix)
    for fixes in by_device.values():
        track: list[tuple[int, int, int]] = []
        for a, b in pairwise(fixes):
            if not 0 < b[0] - a[0] <= 600:
                if len(track) > 20:
                    yield track
                track = []
                continue
            for t in range(-(-a[0] // step_s) * step_s, b[0], step_s):
                part = (t - a[0]) / (b[0] - a[0])
                lat = a[1] + (b[1] - a[1]) * part
                lon = a[2] + (b[2] - a[2]) * part
                track.append((t, round(lat * 1e5), round(lon * 1e5)))
        if len(track) > 20:
            yield track


def motion(track: list[tuple[int, int, int]], i: int) -> tuple[int, int]:
    """Speed in 0.1 kn and course at fix `i`, from the fixes on both sides: some sets have none."""
    a, b = track[max(i - 1, 0)], track[min(i + 1, len(track) - 1)]
    north = (b[1] - a[1]) * 1.1132
    east = (b[2] - a[2]) * 1.1132 * math.cos(math.radians(b[1] / 1e5))
    knots10 = math.hypot(north, east) / max(b[0] - a[0], 1) / 0.0514444
    return min(round(knots10), 470), round(math.degrees(math.atan2(east, north))) % 360


def track_table(folder: Path, count: int) -> None:
    print("\n| track, step | " + " | ".join(f"{limit} B" for limit in LIMITS) + " |")
    print("|---" * (len(LIMITS) + 1) + "|")
    for step_s in (30, 60, 300):
        for name in TRACK:
            cells: list[str] = []
            for limit in LIMITS:
                both: list[str] = []
                for shift in (2, 4):
                    counts = sorted(track_counts(folder, name, step_s, limit, shift, count))
                    if not counts:
                        both.append("-")
                        continue
                    both.append(f"{counts[len(counts) // 2]}/{counts[len(counts) // 10]}")
                cells.append(f"{both[0]} ({both[1]})")
            print(f"| {name} {step_s} s | " + " | ".join(cells) + " |", flush=True)


def track_counts(
    folder: Path, name: str, step_s: int, limit: int, shift: int, count: int
) -> list[int]:
    counts: list[int] = []
    for track in tracks(folder, name, step_s):
        ring = TrackRing(200)
        encoder = TrackEncoder(ring)
        encoder.history_shift = shift
        buf = bytearray(limit)
        every = max(len(track) // max(count // 4, 1), 1)
        for i, (t, lat, lon) in enumerate(track):
            ring.push(i, t, lat, lon, *motion(track, i))
            if i < len(track) // 4 or i % every:
                continue
            length = encoder.encode_into(buf, limit)
            frame = decode_track(buf[:length], t + 3, lat, lon, i, t)
            for fix in frame.fixes:
                want = track[fix.sequence]
                assert fix.time_s == want[0]
                assert abs(fix.lat_e5 - want[1]) <= fix.resolution_e5 // 2
                assert abs(fix.lon_e5 - want[2]) <= fix.resolution_e5 // 2
            counts.append(len(frame.fixes) - 1)
    return counts


def delivery_table(folder: Path, frames_max: int) -> None:
    """Readings that arrive over the losses that real street sensors had.

    FloodNet's frame counters say which frames were lost. The reading of a lost frame is drawn on
    the straight line between its neighbours, plus a difference that the same sensor had between
    two frames in a row (more noise than it really has). One reading a minute, each sent once.
    """
    rng = random.Random(1)
    by_device: dict[str, list[tuple[int, int]]] = {}
    for row in rows(folder, "flood_floodnet_a"):
        if row["dist_mm"] and row["fcnt"]:
            pair = (int(row["fcnt"]), -round(float(row["dist_mm"])) + 3000)
            by_device.setdefault(row["dev"], []).append(pair)
    print("\n| sensor | frames | arrived % | readings % 11 B | 51 B | uncertain | wrong |")
    print("|---|---|---|---|---|---|---|")
    for device, pairs in by_device.items():
        levels: list[int] = []
        arrived: set[int] = set()
        noise = [v - u for (a, u), (b, v) in pairwise(pairs) if b - a == 1 and abs(v - u) < 100]
        for (a, level_a), (b, level_b) in pairwise(pairs):
            # A rejoin starts the counter again, a duplicate repeats it: go on from there.
            step = b - a if 0 < b - a < 5000 else 1
            arrived.add(len(levels))
            levels.append(level_a)
            levels += [
                level_a + (level_b - level_a) * i // step + rng.choice(noise)
                for i in range(1, step)
            ]
            if len(levels) >= frames_max:
                break
        results = [deliver(levels, arrived, limit) for limit in (11, 51)]
        share = [100 * len(got) / len(levels) for got, _, _ in results]
        print(
            f"| {device} | {len(levels)} | {100 * len(arrived) / len(levels):.2f}"
            f" | {share[0]:.2f} | {share[1]:.2f} | {results[0][1]} | {results[0][2]} |",
            flush=True,
        )


def deliver(levels: list[int], arrived: set[int], limit: int) -> tuple[set[int], int, int]:
    """Sequences that arrived, frames whose sequence was not certain, and wrong readings."""
    ring = FloodRing(256)
    encoder = FloodEncoder(ring)
    buf = bytearray(limit)
    got: set[int] = set()
    uncertain = wrong = 0
    last: tuple[int, int] | None = None
    for sequence, level in enumerate(levels):
        time_s = BASE + 60 * sequence
        ring.push(sequence, time_s, level, 0)
        if sequence not in arrived:
            encoder._frames += 1  # pyright: ignore[reportPrivateUsage]  # lost: no need to make it
            continue
        length = encoder.encode_into(buf, limit)
        known = last or (None, None)
        frame = decode_flood(buf[:length], time_s + 2, *known)
        uncertain += not frame.is_sequence_certain
        for sample in frame.samples:
            want = min(max(levels[sample.sequence], -1024), 15358)
            is_right = sample.level_mm == want and sample.time_s == BASE + 60 * sample.sequence
            wrong += not is_right
            got.add(sample.sequence)
        last = (frame.samples[0].sequence, frame.samples[0].time_s)
    return got, uncertain, wrong


def speed() -> None:
    """Encoder and decoder time on this machine, CPython, for each limit."""
    ring = FloodRing(RING)
    for i in range(RING):
        ring.push(i, BASE + 60 * i, 2000 + i * i % 7, 0)
    encoder = FloodEncoder(ring)
    print("\n| limit | encode ms | decode ms |\n|---|---|---|")
    for limit in LIMITS:
        buf = bytearray(limit)
        begin = time.perf_counter()
        for _ in range(20):
            length = encoder.encode_into(buf, limit)
        middle = time.perf_counter()
        for _ in range(20):
            decode_flood(buf[:length], BASE + 60 * RING)
        end = time.perf_counter()
        print(f"| {limit} | {(middle - begin) * 50:.2f} | {(end - middle) * 50:.2f} |")


def main(words: tuple[str, ...] = ()) -> None:
    parser = argparse.ArgumentParser(description="Readings a frame carries.")
    default = os.environ.get("TUKAD_SHARED_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--positions", type=int, default=60)
    parser.add_argument("--tracks", action="store_true", help="leave the levels out")
    arguments = parser.parse_args(words)
    if not arguments.data.is_dir():
        print(f"no public series in {arguments.data}: set --data or TUKAD_SHARED_DATA")
        speed()
        return
    if not arguments.tracks:
        flood_table(arguments.data, arguments.positions)
    track_table(arguments.data, arguments.positions)
    delivery_table(arguments.data, 6000)
    speed()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
