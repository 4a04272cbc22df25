"""One bogus reading raises no stage; a rise that lasts is seen two readings late at most."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gateway.config import ConfigError
from gateway.model import CLEARED, ESCALATED, RAISED, Alarm, Link, Reading
from gateway.rules.catalogue import pair_rules, places, stage_rules
from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.stages import Site, StageRule
from gateway.rules.vote import Vote
from tests.gateway.samples import START_MS, reading

LATER = START_MS + 10**10
STAGES = Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660, low_mm=-500, high_mm=4000, hold_s=60)
LINK = Link(rssi_dbm=-90, snr_cb=50, data_rate=3)


def rule(others: dict[str, Stages] | None = None) -> StageRule:
    return StageRule("kumbasari", STAGES, AlarmSettings(), Site(), others)


def run(it: StageRule, levels: list[int | None], step_s: float = 60, start: int = 0) -> list[Alarm]:
    """The alarms of raw readings so many seconds apart."""
    alarms: list[Alarm] = []
    for number, level in enumerate(levels, start):
        alarm = it.feed(reading(number, level, stream="radar", at_s=number * step_s), LATER)
        alarms += [] if alarm is None else [alarm]
    return alarms


CALM: list[int | None] = [100, 103, 98, 101, 100, 102, 99, 100]


@pytest.mark.parametrize("step_s", [10, 60, 900])
@pytest.mark.parametrize("bogus", [301, 350, 1200, 2700, 3999, 4500, 9999, -9999])
def test_one_bogus_reading_raises_nothing_at_any_interval(step_s: float, bogus: int) -> None:
    assert run(rule(), [*CALM, bogus, *CALM, bogus, 100, bogus, *CALM], step_s) == []


def test_a_spike_from_just_below_a_threshold_raises_nothing() -> None:
    near: list[int | None] = [level + 190 for level in CALM if level is not None]
    assert run(rule(), [*near, 340, *near, 800, *near]) == []


@pytest.mark.parametrize("code", [4500, 9999, -2392])
def test_an_error_value_that_stays_is_no_flood(code: int) -> None:
    assert run(rule(), [*CALM, *[code] * 50, *CALM]) == []


def test_the_highest_measurable_level_is_water_where_the_water_climbed_to_it() -> None:
    levels = [*range(0, 4000, 20), *[4100] * 20]
    assert [alarm.level for alarm in run(rule(), [*levels], 10)] == [1, 2, 3]


def test_an_echo_that_comes_and_goes_at_one_height_raises_nothing_even_in_runs() -> None:
    """As in a public log: a strut at 1230 mm, most often once, up to six readings in a row."""
    it = rule()
    levels = [*CALM, 1230, *CALM, 1228, 1231, *CALM, 1230, *CALM]
    levels += [1229, 1232, 1228, 1230, 1233, *CALM, *[1230] * 6, *CALM]
    assert run(it, levels) == []


def test_yet_water_that_stays_at_such_a_height_is_believed_in_the_end() -> None:
    it = rule()
    run(it, [*CALM, 1230, *CALM, 1230, *CALM])
    alarms = run(it, [1230 + n % 3 for n in range(12)], start=40)
    assert [alarm.level for alarm in alarms] == [2]


def test_water_that_climbs_through_such_a_height_is_not_held_back() -> None:
    it = rule()
    run(it, [*CALM, 1230, *CALM, 1230, *CALM])
    alarms = run(it, [100 + 80 * n for n in range(20)], start=40)
    crossed = next(n for n in range(20) if 100 + 80 * n >= 1160)
    assert alarms[1].level == 2 and alarms[1].sequence <= 40 + crossed


@pytest.mark.parametrize(("step_s", "late"), [(10, 2), (60, 2), (300, 1), (900, 1)])
def test_a_step_that_stays_is_seen_two_readings_late_at_most(step_s: float, late: int) -> None:
    alarms = run(rule(), [*CALM, *[3000] * 5], step_s)
    assert [(a.level, a.sequence) for a in alarms] == [(3, len(CALM) + late)]


@examples(max_examples=80, deadline=None)
@given(
    rise_m_h=st.floats(0.1, 5.0),
    step_s=st.sampled_from([10, 60, 300]),
    noise=st.floats(0, 8),
    seed=st.integers(0, 2**32),
)
def test_every_rise_that_lasts_is_seen_within_two_readings(
    rise_m_h: float, step_s: int, noise: float, seed: int
) -> None:
    """0.1 to 5 m/h with the noise of a good radar, from calm water to beyond the last threshold."""
    dice = random.Random(seed)
    it = rule()
    run(it, [round(100 + dice.gauss(0, noise)) for _ in range(20)], step_s)
    number, level = 20, 100.0
    seen: dict[int, int] = {}
    while level < 2660 + 3 * rise_m_h * 1000 * step_s / 3600 + 60:
        level += rise_m_h * 1000 * step_s / 3600
        raw = round(level + dice.gauss(0, noise))
        one = reading(number, raw, stream="radar", at_s=number * step_s)
        it.feed(one, LATER)
        for stage, limit in enumerate(STAGES.limits_mm, 1):
            if level >= limit and stage not in seen:
                seen[stage] = number
            if stage in seen and number >= seen[stage] + 2:
                assert it.level >= stage, (stage, level)
        number += 1
    assert it.level == 3


def test_at_ten_seconds_a_rise_under_way_is_decided_by_the_crossing_reading() -> None:
    """Alarm mode: no reading is waited for, also at 5 m/h."""
    levels = [2300 + 14 * n for n in range(40)]
    alarms = run(rule(), [*range(0, 2300, 14), *levels], 10)
    assert alarms[-1].level == 3
    first = next(level for level in levels if level >= 2660)
    assert alarms[-1].values["level_mm"] == first


def test_waves_widen_what_is_believed_and_spiders_do_not() -> None:
    dice = random.Random(5)
    wavy = [round(100 + dice.gauss(0, 50)) for _ in range(300)]
    it = Vote(base_mm=300)
    believed = [it.feed(START_MS + 60_000 * n, level) for n, level in enumerate(wavy)]
    assert sum(level is not None for level in believed[50:]) > 225
    spider = [100 if dice.random() < 0.5 else dice.randint(300, 4000) for _ in range(300)]
    assert run(rule(), [*CALM, *spider]) == []


# Our own nodes: filtered, measured again, with events


def node(number: int, level: int | None, at_s: float, stage: int = 0) -> Reading:
    one = reading(number, level, at_s=at_s)
    return replace(one, link=LINK, values={**one.values, "stage": stage})


def event(number: int, level: int | None, at_s: float, stage: int, is_float: int = 0) -> Reading:
    one = reading(number, level, stream="event", at_s=at_s)
    more = {"kind": 4, "number": number, "stage": stage, "previous_stage": 0}
    return replace(one, link=LINK, values={**one.values, **more, "is_float_switch": is_float})


def test_the_event_of_a_node_that_measured_again_decides_at_calm_intervals() -> None:
    it = rule()
    for number in range(4):
        assert it.feed(node(number, 100, 900 * number), LATER) is None
    alarm = it.feed(event(1, 420, 3620, 1), LATER)
    assert alarm is not None and (alarm.event, alarm.level) == (RAISED, 1)


def test_a_jump_over_two_stages_asks_for_the_nodes_next_reading() -> None:
    it = rule()
    for number in range(4):
        it.feed(node(number, 100, 900 * number), LATER)
    assert it.feed(event(1, 1300, 3620, 2), LATER) is None
    assert it.feed(node(4, 1300, 3600, 2), LATER) is None  # the same measurement
    alarm = it.feed(node(5, 1310, 3630, 2), LATER)
    assert alarm is not None and alarm.level == 2


def test_an_event_in_the_second_of_the_frame_before_it_still_decides() -> None:
    it = rule()
    for number in range(150):
        it.feed(node(number, 2000 + 4 * number, 10 * number), LATER)
    assert it.level == 2
    alarm = it.feed(event(1, 2661, 1490, 3), LATER)
    assert alarm is not None and alarm.level == 3


def test_older_readings_in_a_frame_are_votes_in_their_order() -> None:
    it = rule()
    run(it, CALM)
    frame = [reading(20 + n, 1200, stream="radar", at_s=1200 + 60 * n) for n in range(3)]
    alarms = [it.feed(one, LATER) for one in frame]
    assert [alarm is not None for alarm in alarms] == [False, False, True]


def test_a_float_switch_is_believed_when_it_is_said_twice() -> None:
    it = rule()
    it.feed(node(0, 100, 0), LATER)
    assert it.feed(event(1, 100, 30, 3, is_float=1), LATER) is None
    alarm = it.feed(node(1, 100, 25, stage=3), LATER)
    assert alarm is not None and alarm.level == 3
    calm = [it.feed(node(n, 100, 60 * n, stage=3), LATER) for n in range(2, 20)]
    assert not any(calm)  # it is still wet
    dry = [it.feed(node(n, 100, 60 * n), LATER) for n in range(20, 24)]
    assert [a.event for a in dry if a] == [CLEARED]


def test_a_float_switch_alone_counts_where_the_sensor_is_dead_or_agrees() -> None:
    dead, near = rule(), rule()
    alarm = dead.feed(event(1, None, 30, 3, is_float=1), LATER)
    assert alarm is not None and alarm.level == 3
    near.feed(node(0, 2600, 0), LATER)
    alarm = near.feed(event(1, 2620, 30, 3, is_float=1), LATER)
    assert alarm is not None and alarm.level == 3


# Two sensors


def pair() -> StageRule:
    return rule({"second": STAGES})


def both(
    it: StageRule, levels: list[tuple[int | None, int | None]], start: int = 0
) -> list[tuple[str, int]]:
    """Alarms of two sensors read every minute, the second 20 s after the first."""
    out: list[tuple[str, int]] = []
    for number, row in enumerate(levels, start):
        for offset, (device, level) in enumerate(zip(it.devices, row, strict=True)):
            at_s = 60 * number + 20 * offset
            one = reading(number, level, device=device, stream="radar", at_s=at_s)
            alarm = None if level is None else it.feed(one, LATER)
            if alarm is not None:
                assert alarm.device == "kumbasari"
                out.append((alarm.event, alarm.level))
    return out


def noisy(level: int, number: int) -> int:
    return level + (number * 7) % 5


def test_a_boat_under_one_sensor_raises_nothing_while_the_other_sees_the_water() -> None:
    it = pair()
    calm = [(noisy(100, n), noisy(103, n)) for n in range(8)]
    boat = [(noisy(1300, n), noisy(103, n)) for n in range(60)]
    assert both(it, [*calm, *boat, *calm]) == []


def test_a_jump_that_both_see_needs_no_third_reading() -> None:
    it = pair()
    both(it, [(noisy(100, n), noisy(103, n)) for n in range(8)])
    assert both(it, [(1300, 1310)], 8) == [(RAISED, 2)]


def test_either_goes_on_alone_and_the_incident_stays() -> None:
    it = pair()
    both(it, [(noisy(100, n), noisy(103, n)) for n in range(8)])
    rise = [(None, 103 + 20 * n) for n in range(60)]
    assert both(it, rise, 8) == [(RAISED, 1), (ESCALATED, 2)]
    incident = it.incident
    on = [(None, 1283 + 20 * n) for n in range(80)]
    assert both(it, on, 68) == [(ESCALATED, 3)]
    assert it.incident == incident


def test_disagreement_is_an_alarm_after_three_and_is_cleared() -> None:
    stages = {n: replace(STAGES, site="bridge", apart_mm=100) for n in ("first", "second")}
    (it,) = pair_rules(stages)
    events: list[str] = []
    for number in range(30):
        second = 400 if 10 <= number < 20 else 105
        for device, level in (("first", 100), ("second", second)):
            one = reading(number, level, device=device, stream="radar", at_s=60 * number)
            alarm = it.feed(one, LATER)
            if alarm is not None:
                events.append(f"{number} {alarm.event} {alarm.kind}")
    assert events == ["11 raised sensors_disagree", "21 cleared sensors_disagree"]


def test_the_places_of_a_configuration_and_what_is_wrong_with_them() -> None:
    at = replace(STAGES, site="bridge")
    file = Path("gateway.toml")
    assert places({"a": at, "b": STAGES, "c": at}, file) == [["a", "c"], ["b"]]
    assert [r.devices for r in stage_rules({"a": at, "c": at}, AlarmSettings(), Site(), file)] == [
        ("a", "c")
    ]
    with pytest.raises(ConfigError, match="3 sensors"):
        places({"a": at, "b": at, "c": at}, file)
    with pytest.raises(ConfigError, match="make them equal"):
        places({"a": at, "b": replace(at, awas_mm=2700)}, file)
