"""Quality tests against `ioos-qc`, an independent reading of QARTOD, on real series."""

import csv
import itertools
import json
import subprocess
from pathlib import Path

import pytest

from gateway.model import FAIL, GOOD, SUSPECT
from gateway.rules.qartod import FlatLine, Gap, RateOfChange, Spike, climatology, gross_range

ROOT = Path(__file__).parents[3]
PEER = ROOT / ".peers/bin/python"
DATA = ROOT.parent / "shared/data"
SERIES = (
    ("flood_usgs_deadrun_2018", "stage_m", 1000),
    ("flood_ea_calder_a", "level_m", 1000),
    ("tide_noaa_newlondon_2013", "level_m", 1000),
    ("flood_floodnet_a", "dist_mm", 1),
)
_ASK = """
import json, sys
from ioos_qc import qartod
t, x = json.load(sys.stdin)
season = [{"tspan": (4, 9), "period": "month", "vspan": tuple(json.loads(sys.argv[1]))}]
ask = {
    "gross": qartod.gross_range_test(x, (-2000, 5500), tuple(json.loads(sys.argv[1]))),
    "rate": qartod.rate_of_change_test(x, t, 30 / 60),
    "spike": qartod.spike_test(x, 100, 300),
    "flat": qartod.flat_line_test(x, t, 3 * 3600, 12 * 3600, 2),
    "climatology": qartod.climatology_test(season, x, t, [None] * len(x)),
}
print(json.dumps({name: [int(f) for f in flags] for name, flags in ask.items()}))
"""


def series(name: str, column: str, factor: int) -> tuple[list[int], list[int]]:
    """Times in whole seconds and levels in mm of the first device of a series."""
    path = DATA / name / "data.csv"
    if not path.exists() or not PEER.exists():
        pytest.skip(f"{path if PEER.exists() else PEER} is absent: sh deploy/setup.sh tests")
    times: list[int] = []
    levels: list[int] = []
    device = ""
    with path.open() as file:
        for row in csv.DictReader(file):
            device = device or (row["dev"] if row[column] else "")
            time_s = int(row["ts"]) // 1000
            if row["dev"] == device and row[column] and (not times or time_s > times[-1]):
                times.append(time_s)
                levels.append(round(float(row[column]) * factor))
            if len(times) == 6000:
                break
    return times, levels


@pytest.mark.parametrize(("name", "column", "factor"), SERIES)
def test_the_tests_agree_with_ioos_qc(name: str, column: str, factor: int) -> None:
    times, levels = series(name, column, factor)
    ordered = sorted(levels)
    span = ordered[len(ordered) // 50], ordered[-len(ordered) // 50]
    done = subprocess.run(
        [str(PEER), "-W", "ignore", "-c", _ASK, json.dumps(span)],
        input=json.dumps([times, levels]),
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    theirs: dict[str, list[int]] = json.loads(done.stdout)

    assert [gross_range(x, (-2000, 5500), span) for x in levels] == theirs["gross"]

    seasons = [(4, 9, *span)]
    ours = [climatology(x, 1000 * t, seasons) for t, x in zip(times, levels, strict=True)]
    # Where no season is given theirs is "not evaluated"; the others' flags then decide.
    assert ours == [GOOD if flag == 2 else flag for flag in theirs["climatology"]]

    rate = RateOfChange(30)
    ours = [rate.flag(1000 * t, x) for t, x in zip(times, levels, strict=True)]
    assert ours == theirs["rate"]

    # What theirs calls a spike ours does too unless it only stands beside one, or the level goes on
    # from there; ours flags no reading that does not differ from its neighbour before.
    spike = Spike(100, 300)
    mine = [spike.flag(x) for x in levels]
    for i in range(2, len(levels) - 1):
        before = [abs(levels[i] - levels[i - 1]), abs(levels[i] - levels[i - 2])]
        after = abs(levels[i] - levels[i + 1])
        if min(*before, after) > 300:  # a true spike stands alone on both sides
            assert mine[i] == FAIL
            is_steep = (levels[i] - levels[i - 1]) * (levels[i + 1] - levels[i]) > 0
            assert theirs["spike"][i] == FAIL or is_steep
        if mine[i] == FAIL:
            assert max(theirs["spike"][i - 1 : i + 2]) >= SUSPECT

    steps = [b - a for a, b in itertools.pairwise(times)]
    if len(set(steps)) == 1:
        flat = FlatLine(3 * 3600, 12 * 3600, 1)
        assert [flat.flag(1000 * t, x) for t, x in zip(times, levels, strict=True)] == theirs[
            "flat"
        ]


def test_flat_line_is_the_range_of_a_window_of_time() -> None:
    """Against the window itself, on uneven times."""
    times = [0]
    for i in range(400):
        times.append(times[-1] + (7_000, 10_000, 61_000)[i % 3])
    levels = [100 + (i * i) % 3 + 5 * (i // 90) for i in range(401)]
    flat = FlatLine(600, None, 2)
    for i, (time_ms, level) in enumerate(zip(times, levels, strict=True)):
        got = flat.flag(time_ms, level)
        window = [x for t, x in zip(times[: i + 1], levels, strict=False) if t >= time_ms - 600_000]
        is_flat = time_ms >= 600_000 and max(window) - min(window) <= 2
        assert (got == SUSPECT) == is_flat, i
    assert len(flat._highest) <= 4  # pyright: ignore[reportPrivateUsage]


def test_a_step_is_suspect_once_and_the_return_from_a_spike_is_not() -> None:
    step = Spike(100, 300)
    assert [step.flag(x) for x in (0, 0, 400, 400, 400)] == [GOOD, GOOD, FAIL, GOOD, GOOD]
    spike = Spike(100, 300)
    assert [spike.flag(x) for x in (0, 0, 200, 0, 0)] == [GOOD, GOOD, SUSPECT, GOOD, GOOD]


def test_the_reading_after_a_hole_is_suspect() -> None:
    gap = Gap(60)
    assert [gap.flag(t) for t in (0, 60_000, 121_000)] == [GOOD, GOOD, SUSPECT]
