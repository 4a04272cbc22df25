"""Laws of the filters, against plain definitions."""

import statistics

from hypothesis import given
from hypothesis import strategies as st

from protocols.filters.burst import Burst
from protocols.filters.despike import Despike
from protocols.filters.rate import RateOfRise
from protocols.filters.stage import StageFilter

LEVELS = st.integers(-2000, 20000)


@given(st.lists(st.one_of(st.none(), LEVELS), max_size=31), st.integers(1, 10))
def test_burst_is_the_median_and_the_median_deviation(
    values: list[int | None], needed: int
) -> None:
    burst = Burst(31, needed)
    for value in values:
        burst.add(value)
    got = burst.finish()
    valid = [value for value in values if value is not None]
    assert (burst.valid, burst.invalid) == (len(valid), len(values) - len(valid))
    if len(valid) < needed:
        assert got is None
        return
    assert got == statistics.median_low(valid)
    assert burst.mad == statistics.median_low([abs(value - got) for value in valid])
    assert (burst.minimum, burst.maximum) == (min(valid), max(valid))


@given(
    st.lists(LEVELS, min_size=1, max_size=80),
    st.integers(1, 500),
    st.integers(0, 500),
)
def test_despike_hides_two_readings_at_most(
    levels: list[int], limit_mm: int, agree_mm: int
) -> None:
    """Whatever the levels do, the reading itself is shown within three."""
    despike = Despike(limit_mm, agree_mm)
    hidden = 0
    for level in levels:
        hidden = 0 if despike.feed(level) == level else hidden + 1
        assert hidden <= 2


@given(st.lists(st.integers(-40, 40), min_size=3, max_size=60), st.integers(1, 20))
def test_despike_does_not_touch_what_changes_slowly(steps: list[int], start: int) -> None:
    despike = Despike(limit_mm=100)
    level = start
    for step in steps:
        level += step
        assert despike.feed(level) == level
    assert despike.spikes == 0


@given(
    st.lists(st.tuples(st.integers(10, 900), LEVELS), min_size=3, max_size=20),
)
def test_rate_is_the_median_of_all_slopes(readings: list[tuple[int, int]]) -> None:
    rate = RateOfRise(window_s=3600, capacity=7)
    time_s = 0
    kept: list[tuple[int, int]] = []
    for step_s, level in readings:
        time_s += step_s
        rate.push(time_s, level)
        kept = [(t, v) for t, v in [*kept, (time_s, level)] if time_s - t <= 3600][-7:]
    if len(kept) < 3:
        assert rate.mm_per_hour is None
        return
    slopes = [
        3600 * (late[1] - early[1]) / (late[0] - early[0])
        for i, early in enumerate(kept)
        for late in kept[i + 1 :]
    ]
    assert rate.mm_per_hour is not None
    assert abs(rate.mm_per_hour - statistics.median(slopes)) <= 5


@given(
    st.lists(st.tuples(st.integers(1, 600), st.one_of(st.none(), LEVELS)), max_size=60),
    st.integers(0, 300),
    st.integers(0, 1200),
)
def test_stage_is_never_below_the_level_nor_above_what_was_reached(
    readings: list[tuple[int, int | None]], hysteresis_mm: int, hold_s: int
) -> None:
    """Never too low, and higher than the level asks for only within hysteresis or hold."""
    thresholds = (500, 1160, 2660)
    stage = StageFilter(*thresholds, hysteresis_mm, hold_s)
    time_s = 0
    history: list[tuple[int, int]] = []
    for step_s, level in readings:
        time_s += step_s
        got = stage.feed(level, time_s)
        if level is None:
            continue
        history.append((time_s, level))
        assert got >= sum(level >= threshold for threshold in thresholds)
        if got:
            bound = thresholds[got - 1] - hysteresis_mm
            recent = [v for t, v in history if time_s - t < max(hold_s, 1)]
            assert max(recent) >= bound
            assert max(v for _, v in history) >= thresholds[got - 1]
