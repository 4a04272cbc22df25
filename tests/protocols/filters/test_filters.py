"""Filters: published failure cases, and each rule at its edge."""

from protocols.errors import LocalError
from protocols.filters.burst import Burst
from protocols.filters.despike import Despike
from protocols.filters.interval import IntervalPolicy
from protocols.filters.rate import RateOfRise
from protocols.filters.stage import AWAS, NORMAL, SIAGA, WASPADA, StageFilter


def error_code(call, *args):
    try:
        call(*args)
    except LocalError as error:
        return error.code
    return None


def burst_of(values, capacity=15, needed=5):
    burst = Burst(capacity, needed)
    for value in values:
        burst.add(value)
    burst.finish()
    return burst


def test_burst_ignores_what_is_invalid_and_wild():
    burst = burst_of([1502, None, 1500, 9999, 1501, None, 1499, 500, 1500])
    assert (burst.median, burst.valid, burst.invalid) == (1500, 7, 2)
    assert (burst.minimum, burst.maximum) == (500, 9999)
    assert burst.mad == 1  # deviations 0, 0, 1, 1, 2, 1000, 8499: the middle one


def test_burst_mad_against_the_definition():
    seed = 12345
    for count in range(1, 20):
        values = []
        for _ in range(count):
            seed = seed * 1103 % 65521
            values.append(seed % 50 - 25)
        burst = burst_of(values, 31, 1)
        median = sorted(values)[(count - 1) // 2]
        deviations = sorted([abs(v - median) for v in values])
        assert burst.median == median
        assert burst.mad == deviations[(count - 1) // 2], values


def test_burst_needs_enough_and_starts_afresh():
    burst = burst_of([1, 2, 3, 4])
    assert burst.median is None and burst.mad is None and burst.valid == 4
    for value in (7, 8, 9, 10, 11):
        burst.add(value)
    assert burst.finish() == 9 and burst.valid == 5
    assert burst.finish() is None and burst.valid == 0
    assert error_code(burst_of, range(20)) == "full"
    assert error_code(Burst, 5, 6) == "range"


def test_floodnet_latch_up():
    """FloodNet's published filter never lets a true 400 mm step at 60 s through; ours does."""
    despike = Despike()
    shown = [despike.feed(level) for level in [0] * 10 + [400] * 10]
    assert shown[:10] == [0] * 10
    assert shown.index(400) - 10 <= 2
    assert shown[12:] == [400] * 8


def test_a_persisting_change_is_hidden_for_two_samples_at_most():
    """Whatever the shape of the change: steps, ramps, noise of half a metre."""
    shapes = (
        [400] * 8,
        [300, 600, 900, 1200, 1500, 1800],
        [400, 900, 150, 700, 2000, 300, 1200],
        [-500, 500, -900, 900, -1500, 1500],
        [400, None, 410, None, 420, 430],
    )
    for shape in shapes:
        despike = Despike(limit_mm=100, agree_mm=50)
        despike.feed(0)
        hidden = 0
        for level in shape:
            shown = despike.feed(level)
            if level is None:
                assert shown is None
                continue
            hidden = 0 if shown == level else hidden + 1
            assert hidden <= 2, shape


def test_single_and_double_spikes_never_show():
    despike = Despike()
    levels = [10, 11, 900, 12, 13, 900, -700, 14, 15]
    shown = [despike.feed(level) for level in levels]
    assert shown == [10, 11, 11, 12, 13, 13, 13, 14, 15]
    assert despike.spikes == 3
    assert not despike.is_jump
    despike.feed(900)
    assert despike.is_jump


def test_rate_of_a_flood():
    rate = RateOfRise()
    for i in range(6):
        rate.push(60 * i, 500 + 27 * i)
    assert rate.mm_per_hour == 27 * 60
    level = 500 + 27 * 5
    assert rate.seconds_to(level + 1500) == 1500 * 3600 // 1620
    assert rate.seconds_to(level) == 0 and rate.seconds_to(level + 100000) is None


def test_one_wild_reading_does_not_move_the_rate():
    rate = RateOfRise()
    for i in range(7):
        rate.push(60 * i, 5000 if i == 3 else 500 + 10 * i)
    assert 500 <= rate.mm_per_hour <= 700


def test_rate_window_and_clock():
    rate = RateOfRise(window_s=600)
    assert rate.push(0, 1) is None and rate.push(60, 2) is None
    assert rate.push(120, 3) == 60
    assert rate.push(10000, 4) is None  # the others are too old
    rate.push(10060, 5)
    assert rate.push(10120, None) is None
    assert rate.push(10120, 6) == 60
    assert rate.push(50, 0) is None  # the clock went back: start afresh
    assert rate.push(50 + 600, -100000) is None
    assert error_code(RateOfRise, 0) == "range"


def test_falling_rate_is_negative():
    rate = RateOfRise()
    for i in range(5):
        rate.push(900 * i, 500 - 25 * i)
    assert rate.mm_per_hour == -100 and rate.seconds_to(600) is None


def test_stage_rises_at_once_over_several():
    stage = StageFilter(500, 1160, 2660)
    assert stage.feed(499, 0) == NORMAL
    assert stage.feed(500, 10) == WASPADA
    assert stage.feed(2660, 20) == AWAS


def test_stage_falls_after_the_hold_only():
    stage = StageFilter(500, 1160, 2660, hysteresis_mm=100, hold_s=900)
    stage.feed(2700, 0)
    for time_s in range(60, 900, 60):
        assert stage.feed(2500, time_s) == AWAS
    assert stage.feed(2500, 900) == SIAGA
    # Inside the hysteresis the stage stays for ever.
    for time_s in range(960, 9000, 60):
        assert stage.feed(1061, time_s) == SIAGA
    assert stage.feed(100, 9000) == SIAGA
    # The hold counts from the last reading that supported the stage, at 8,940 s.
    assert stage.feed(100, 9839) == SIAGA
    assert stage.feed(100, 9840) == NORMAL


def test_stage_ignores_waves_and_missing_readings():
    stage = StageFilter(500, 1160, 2660, hysteresis_mm=50, hold_s=60)
    seen = []
    for i in range(100):
        seen.append(stage.feed(520 if i % 2 else 430, 30 * i))
    assert seen[1:] == [WASPADA] * 99
    assert stage.feed(None, 99999) == WASPADA


def test_stage_without_hold_and_bad_thresholds():
    stage = StageFilter(500, 1160, 2660, hysteresis_mm=0, hold_s=0)
    assert stage.feed(1200, 0) == SIAGA
    assert stage.feed(1159, 1) == WASPADA
    assert stage.feed(499, 2) == NORMAL
    assert error_code(StageFilter, 500, 500, 600) == "range"
    assert error_code(StageFilter, 1, 2, 3, -1) == "range"


def test_interval_goes_faster_at_once_and_slower_late():
    policy = IntervalPolicy()
    assert policy.choose(0, NORMAL, None) == 900
    assert policy.choose(900, NORMAL, 300) == 60
    assert policy.choose(960, SIAGA, 1000) == 10
    assert policy.choose(970, NORMAL, 0) == 10
    assert policy.choose(970 + 1789, NORMAL, 0) == 10
    assert policy.choose(970 + 1790, NORMAL, 0) == 900


def test_interval_of_rain_stage_and_storm():
    assert IntervalPolicy().choose(0, NORMAL, None, rain_tips_10min=25) == 60
    assert IntervalPolicy().choose(0, WASPADA, -100) == 60
    assert IntervalPolicy().choose(0, NORMAL, 0, is_storm=True) == 10
    assert error_code(IntervalPolicy, 5) == "range"


def test_despike_at_its_limits():
    despike = Despike(limit_mm=100, agree_mm=50)
    assert [despike.feed(v) for v in (0, 100, 201, 100)] == [0, 100, 100, 100]
    assert despike.spikes == 1
    assert [despike.feed(v) for v in (300, 351, 401)] == [100, 100, 401]
    assert despike.spikes == 2  # 300 did not agree with 401; 351 did
    assert [despike.feed(v) for v in (600, 650)] == [401, 650]
    assert error_code(Despike, 0) == "range" and error_code(Despike, 1, -1) == "range"
    assert error_code(Despike, 1, 0) is None


def test_rate_of_an_even_number_of_slopes():
    rate = RateOfRise()
    for time_s, level in ((0, 0), (3600, 1), (7200, 12), (10800, 100)):
        rate.push(time_s, level)
    # Only the last two are within the hour.
    assert rate.mm_per_hour is None
    rate = RateOfRise(window_s=86400)
    for time_s, level in ((0, 0), (3600, 1), (7200, 12), (10800, 100)):
        rate.push(time_s, level)
    # Slopes 1, 11, 88, 6, 49, 33: sorted 1 6 11 33 49 88.
    assert rate.mm_per_hour == 22


def test_stage_at_the_edge_of_its_hysteresis():
    stage = StageFilter(500, 1160, 2660, hysteresis_mm=100, hold_s=0)
    stage.feed(500, 0)
    assert stage.feed(400, 1) == WASPADA
    assert stage.feed(399, 2) == NORMAL
    assert [stage.threshold_mm(i) for i in (1, 2, 3)] == [500, 1160, 2660]


def test_interval_counts_from_the_last_need():
    policy = IntervalPolicy()
    policy.choose(0, WASPADA, 0)
    assert policy.choose(1700, WASPADA, 0) == 60
    assert policy.choose(3400, NORMAL, 0) == 60
    assert policy.choose(3500, NORMAL, 0) == 900
