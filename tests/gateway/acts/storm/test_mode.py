"""When storm mode begins, is told and ends; rain and rise as its causes."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.acts.storm.causes import RainCause, RiseCause
from gateway.acts.storm.mode import StormMode
from gateway.model import Reading
from tests.gateway.samples import START_MS, reading

MINUTE = 60_000
HOLD, LONGEST = 60 * MINUTE, 12 * 60 * MINUTE


def rain(total: int, minute: float, name: str = "rain_tips") -> Reading:
    base = reading(round(minute * 60), None, at_s=minute * 60)
    return Reading(**{f: getattr(base, f) for f in Reading.__slots__} | {"values": {name: total}})


def test_rain_counts_tips_over_the_wrap_of_the_running_total() -> None:
    it = RainCause(200)
    for minute in range(10):
        it.feed(rain((1010 + 3 * minute) % 1024, minute))
    at = START_MS + 9 * MINUTE
    assert it.rain_um(at, 10 * MINUTE) == 27 * 200
    assert it.exceeds(at, 5.0, 20.0) == "5.4 mm in 10 min"
    assert it.exceeds(at + 5 * MINUTE, 5.0, 20.0) == ""
    assert it.exceeds(at + 5 * MINUTE, 9.0, 5.0) == "5.4 mm in 1 h"


def test_a_bucket_that_is_shaken_and_a_gauge_that_begins_anew_are_no_rain() -> None:
    it = RainCause(200)
    it.feed(rain(0, 0))
    it.feed(rain(500, 1))
    assert it.rain_um(START_MS + MINUTE, 10 * MINUTE) == 0
    total = RainCause(200)
    for minute, um in enumerate((90_000, 91_000, 0, 500)):
        total.feed(rain(um, minute, "rain_total_um"))
    assert total.rain_um(START_MS + 3 * MINUTE, 10 * MINUTE) == 1500


def test_a_sure_rise_is_a_cause_and_a_wave_or_one_spike_is_none() -> None:
    steady, waves = RiseCause(), RiseCause()
    for minute in range(16):
        at = START_MS + minute * MINUTE
        steady.feed(at, 20 * minute)
        waves.feed(at, (0, 90, 0, -90)[minute % 4] + (3000 if minute == 9 else 0))
    end = START_MS + 15 * MINUTE
    rate = steady.exceeds(end, 500)
    assert rate is not None and rate.mm_h == 1200
    assert waves.exceeds(end, 500) is None
    assert steady.exceeds(end + 60 * MINUTE, 500) is None  # nothing new for an hour


def test_it_begins_once_is_told_again_before_the_end_and_ends_by_itself() -> None:
    it = StormMode("pasar", HOLD, LONGEST)
    assert it.step(START_MS) is None
    it.want("rain", "6 mm", START_MS)
    begin = it.step(START_MS)
    assert begin is not None and begin.what == "begin" and begin.until_ms == START_MS + HOLD
    it.want("rise", "1 m/h", START_MS + 20 * MINUTE)
    assert it.step(START_MS + 20 * MINUTE) is None  # they know an end that is far enough
    extend = it.step(START_MS + 46 * MINUTE)
    assert extend is not None and extend.what == "extend"
    assert extend.until_ms == START_MS + 80 * MINUTE and extend.incident == begin.incident
    assert it.step(START_MS + 79 * MINUTE) is None
    end = it.step(START_MS + 80 * MINUTE)
    assert end is not None and end.what == "end" and end.incident == begin.incident
    assert not it.is_on and it.step(START_MS + 200 * MINUTE) is None


def test_a_clock_that_is_set_back_does_not_keep_it_on_for_ever() -> None:
    it = StormMode("pasar", HOLD, LONGEST)
    it.want("rain", "", START_MS)
    it.step(START_MS)
    back = START_MS - 400 * 86_400_000
    it.step(back)
    change = it.step(back + LONGEST)
    assert change is not None and change.what == "end"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.booleans(), st.integers(1, 1500)), max_size=40))
@example([(0, True, 1), (1, True, 1500)])  # a longer cause, minutes after a short one
def test_it_is_on_exactly_while_a_cause_lasts_also_over_restarts(
    steps: list[tuple[int, bool, int]],
) -> None:
    """Against the plain definition: the latest end of all causes, none beyond `LONGEST` ahead."""
    it = StormMode("pasar", HOLD, LONGEST)
    now, until = START_MS, 0
    for minutes, is_cause, lasts in steps:
        now += minutes * MINUTE
        if is_cause:
            it.want("nowcast", "x", now, now + lasts * MINUTE)
            until = max(until, now + min(lasts * MINUTE, LONGEST))
        change = it.step(now)
        assert it.is_on == (until > now)
        if change is not None and change.what != "end":
            assert change.until_ms == until
        if it.is_on:
            assert now < it.told_ms <= until  # nodes never calm down in the middle of it
        restarted = StormMode("pasar", HOLD, LONGEST)
        restarted.restore(it.to_state())
        it = restarted
