"""Rate of rise with its band, minutes to the next stage, and what an alarm says of them."""

import itertools
import json
import random
import statistics
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gateway.model import Alarm
from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.stages import Site, StageRule
from gateway.rules.trend import Trend, minutes_to, theil_sen
from tests.gateway.samples import START_MS, reading

MINUTE = 60_000
PEER = Path(__file__).parents[3] / ".peers/bin/python"


def points(levels: list[int]) -> list[tuple[int, int]]:
    return [(START_MS + MINUTE * n, level) for n, level in enumerate(levels)]


@examples(max_examples=100, deadline=None)
@given(st.lists(st.integers(-500, 4000), min_size=4, max_size=20))
def test_the_rate_is_the_median_of_all_slopes_and_lies_in_its_band(levels: list[int]) -> None:
    rate = theil_sen(points(levels), 60)
    assert rate is not None
    numbered = list(enumerate(levels))
    slopes = [60 * (b - a) / (j - i) for (i, a), (j, b) in itertools.combinations(numbered, 2)]
    assert abs(rate.mm_h - statistics.median(slopes)) <= 1
    assert rate.low_mm_h <= rate.mm_h <= rate.high_mm_h


def test_the_band_holds_the_truth_nine_times_in_ten() -> None:
    dice = random.Random(2)
    held = 0
    for _ in range(400):
        rate = theil_sen(points([round(20 * n + dice.gauss(0, 15)) for n in range(16)]), 15)
        assert rate is not None
        held += rate.low_mm_h <= 1200 <= rate.high_mm_h
    assert 0.85 <= held / 400 <= 0.98


def test_rate_and_band_are_those_of_scipy() -> None:
    """`scipy.stats.theilslopes`, an independent reading of Sen (1968)."""
    if not PEER.exists():
        pytest.skip(f"{PEER} is absent: sh deploy/setup.sh tests")
    dice = random.Random(8)
    cases = [
        [round(dice.uniform(-20, 40) * n + dice.gauss(0, 60)) for n in range(dice.randint(5, 25))]
        for _ in range(40)
    ]
    ask = (
        "import json, sys; from scipy.stats import theilslopes\n"
        "print(json.dumps([[float(v) for v in theilslopes(y, range(len(y)), 0.9)]"
        " for y in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [str(PEER), "-c", ask],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    for levels, (slope, _, low, high) in zip(cases, json.loads(done.stdout), strict=True):
        rate = theil_sen(points(levels), 60)
        assert rate is not None
        assert abs(rate.mm_h - 60 * slope) <= 1
        # Ranks are rounded differently by one at the ends, always outwards here.
        assert rate.low_mm_h <= 60 * low + 1 and rate.high_mm_h >= 60 * high - 1
        width = rate.high_mm_h - rate.low_mm_h
        assert width <= 1.6 * 60 * (high - low) + 300


def test_wild_readings_do_not_move_it() -> None:
    levels = [10 * n for n in range(16)]
    levels[3], levels[9], levels[14] = 4000, -500, 3999
    rate = theil_sen(points(levels), 15)
    assert rate is not None and 500 <= rate.mm_h <= 700


def test_three_windows_each_tell_their_own_past() -> None:
    it = Trend()
    for n in range(61):  # a slow rise for 50 minutes, then a fast one
        it.add(START_MS + MINUTE * n, 2 * n if n <= 50 else 100 + 30 * (n - 50))
    five, hour = it.rate(5), it.rate(60)
    assert five is not None and five.mm_h == 1800
    assert hour is not None and hour.mm_h < 600
    best = it.best()
    assert best is not None and best.window_min == 5


@pytest.mark.parametrize(
    ("mm_h", "target", "want"), [(600, 600, 50), (600, 90, None), (0, 600, None)]
)
def test_minutes_to_a_level(mm_h: int, target: int, want: int | None) -> None:
    rate = theil_sen(points([mm_h * n // 60 for n in range(11)]), 15)
    found = minutes_to(100, target, rate)
    assert (found and found.likely) == want
    if found is not None:
        assert found.earliest <= found.likely and (found.latest or 10**6) >= found.likely


def test_an_alarm_says_how_fast_and_when_the_next_stage_comes() -> None:
    stages = Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660)
    it = StageRule("kumbasari", stages, AlarmSettings(), Site())
    alarms: list[Alarm] = []
    for n in range(40):  # 1.2 m/h
        one = it.feed(reading(n, 20 * n, stream="radar", at_s=60 * n), START_MS + 10**9)
        alarms += [] if one is None else [one]
    (alarm,) = alarms
    assert alarm.values["rate_mm_h"] == 1200
    low, high = alarm.values["rate_low_mm_h"], alarm.values["rate_high_mm_h"]
    assert low <= 1200 <= high
    assert alarm.values["next_stage_min"] == 43  # (1160 - 300) / 1200 h
    earliest, latest = (alarm.values[f"next_stage_{n}_min"] for n in ("earliest", "latest"))
    assert earliest <= 43 <= latest
    assert "Naik 1,2 m/jam; Siaga dalam " in alarm.text_id
    assert "Rising 1.2 m/h; Siaga in " in alarm.text_en
    outlook = it.outlook()
    assert outlook is not None and outlook.next_name == "Siaga" and outlook.next_mm == 1160
    assert [rate.window_min for rate in outlook.rates] == [5, 15, 60]


def test_calm_water_has_no_minutes() -> None:
    stages = Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660)
    it = StageRule("kumbasari", stages, AlarmSettings(), Site())
    for n in range(70):
        it.feed(reading(n, 100 + n % 2, stream="radar", at_s=60 * n), START_MS + 10**9)
    outlook = it.outlook()
    assert outlook is not None and outlook.minutes is None and outlook.stage == 0
