"""Stages, events and silence: when an alarm is raised, and above all when it is not lost."""

import itertools
import random

import pytest

from gateway.ledger.schema import connect
from gateway.ledger.store import Store, Stored
from gateway.model import (
    CLEARED,
    ESCALATED,
    FAIL,
    GOOD,
    LOWERED,
    MISSING,
    RAISED,
    SUSPECT,
    Alarm,
    Reading,
)
from gateway.rules.engine import Rules
from gateway.rules.events import EventRule
from gateway.rules.quality import QualitySettings, QualityTests
from gateway.rules.settings import SIAGA, AlarmSettings, Stages
from gateway.rules.silence import SilenceRule
from gateway.rules.stages import Site, StageRule
from protocols.payload.event import EVENT_SOS, EVENT_SOS_CANCEL, EVENT_STAGE
from tests.gateway.samples import START_MS, reading

STAGES = Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660, hysteresis_mm=100, hold_s=60)
LATER = START_MS + 10**9


def rule(alarm: AlarmSettings | None = None, stages: Stages = STAGES) -> StageRule:
    return StageRule("kumbasari", stages, alarm or AlarmSettings(), Site())


def feed(rule: StageRule, levels: list[int | None], start: int = 0) -> list[tuple[str, str]]:
    """Events and names, one reading every ten seconds."""
    alarms = [rule.feed(reading(start + n, level), LATER) for n, level in enumerate(levels)]
    return [(alarm.event, alarm.name) for alarm in alarms if alarm is not None]


def climb(*levels: int) -> list[int]:
    """Levels a reading apart that go from one to the next in steps of 20 mm."""
    steps = [levels[0]]
    for low, high in itertools.pairwise(levels):
        steps += range(low + 20, high, 20) if high > low else range(low - 20, high, -20)
        steps.append(high)
    return steps


def test_each_stage_begins_at_its_threshold_and_not_below() -> None:
    it = rule()
    for threshold, event, name in ((300, RAISED, "Waspada"), (1160, ESCALATED, "Siaga")):
        start = it.time_ms // 10_000 - START_MS // 10_000 + 1 if it.time_ms else 0
        first = 0 if threshold == 300 else 300
        below = climb(first, threshold - 1)
        assert feed(it, below, start) == []
        assert feed(it, [threshold], start + len(below)) == [(event, name)]


def test_a_jump_goes_straight_to_the_worst_stage_at_the_third_reading() -> None:
    it = rule()
    assert feed(it, [0, 5000, 5000]) == []
    assert feed(it, [5000], 3) == [(RAISED, "Awas")]


def test_jakarta_counts_down() -> None:
    assert feed(rule(AlarmSettings(scheme=SIAGA)), [0, *[5000] * 3]) == [(RAISED, "Siaga 1")]


def test_waves_about_the_threshold_do_not_toggle_and_calm_clears_after_the_hold() -> None:
    dice = random.Random(3)
    waves = [300 + dice.randint(-90, 90) for _ in range(500)]
    it = rule()
    assert feed(it, waves) == [(RAISED, "Waspada")]
    assert feed(it, [100] * 6, 500) == []
    assert feed(it, [100] * 6, 506) == [(CLEARED, "Normal")]


def test_it_falls_to_the_highest_stage_supported_during_the_hold() -> None:
    it = rule()
    feed(it, [0, *[2700] * 3])
    assert feed(it, [1100] * 3 + [100] * 5, 4) == []
    assert feed(it, [100], 12) == [(LOWERED, "Siaga")]


def test_one_incident_from_raised_to_cleared() -> None:
    it = rule(stages=Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660, hold_s=0))
    levels = climb(0, 300) + [2700] * 3 + [0] * 3 + climb(0, 400)
    alarms = [it.feed(reading(n, level), LATER) for n, level in enumerate(levels)]
    first, second, third, fourth = (alarm for alarm in alarms if alarm is not None)
    assert first.incident == second.incident == third.incident != fourth.incident
    assert third.event == CLEARED


def test_quality_never_gates_an_alarm() -> None:
    it = rule()
    alarms = [it.feed(reading(n, 3000, quality=FAIL), LATER) for n in range(3)]
    assert [alarm.level for alarm in alarms if alarm] == [3]


def test_a_missing_value_changes_nothing() -> None:
    levels = [*climb(0, 400), None, None, *[1200] * 2, None, 1200]
    assert feed(rule(), levels) == [(RAISED, "Waspada"), (ESCALATED, "Siaga")]


def test_history_raises_no_alarm() -> None:
    it = rule()
    feed(it, [0, 0, 0], 100)
    assert feed(it, [5000] * 9, 50) == []


def test_a_frame_with_the_time_of_the_one_before_stands_in_for_a_lost_event() -> None:
    """Times on the air are rounded to ten seconds: the crossing may share those of the calm."""
    one = rule()
    assert feed(one, climb(100, 280)) == []
    last = len(climb(100, 280)) - 1
    crossing = reading(last, 305, at_s=10 * last)
    alarm = one.feed(crossing, LATER)
    assert alarm is not None
    assert (alarm.event, alarm.level) == (RAISED, 1)


def test_a_level_said_twice_at_one_time_is_one_vote() -> None:
    one = rule()
    assert feed(one, [100, 105, 103]) == []
    for _ in range(4):
        assert one.feed(reading(3, 2700, at_s=30), LATER) is None
    assert one.feed(reading(4, 2700, at_s=40), LATER) is None
    assert one.feed(reading(5, 2700, at_s=50), LATER) is not None


def test_confirmations_ask_for_more_readings_in_a_row() -> None:
    it = rule(AlarmSettings(confirmations=2))
    assert feed(it, [*climb(0, 290), 305, 290, 305]) == []
    assert feed(it, [310], 19) == [(RAISED, "Waspada")]


def test_a_clock_that_ran_ahead_does_not_make_it_deaf() -> None:
    it = rule()
    ahead = reading(1, 100, at_s=10 * 365 * 86400)
    assert it.feed(ahead, START_MS) is None
    alarms = [it.feed(reading(n, 3000), START_MS + 60_000) for n in (2, 3, 4)]
    assert [alarm.level for alarm in alarms if alarm] == [3]


def test_texts_are_in_both_languages_with_local_time() -> None:
    it = rule()
    alarm = [it.feed(reading(n, 2710), LATER) for n in range(3)][-1]
    assert alarm is not None
    assert alarm.text_id.startswith("AWAS di kumbasari: muka air 2,71 m pukul ")
    assert "water level 2.71 m" in alarm.text_en and alarm.text_en.count("WITA") == 1


def event(number: int, kind: int, *, at_s: float = 0, count: int = 0, **more: int) -> Reading:
    base = reading(count or number, None, device="jukung-7", stream="event", at_s=at_s)
    values = {"kind": kind, "number": number, "is_drill": 0, **more}
    return Reading(**{f: getattr(base, f) for f in Reading.__slots__} | {"values": values})


def event_rule(staged: frozenset[str] = frozenset()) -> EventRule:
    return EventRule(AlarmSettings(), Site(), staged)


def test_an_sos_is_raised_once_however_often_it_is_sent_and_cleared_by_the_crew() -> None:
    it = event_rule()
    sos = [
        event(5, EVENT_SOS, at_s=n, count=n + 1, lat_e5=-874500, lon_e5=11521000) for n in range(4)
    ]
    alarms = [alarm for one in sos if (alarm := it.feed(one, LATER))]
    assert [(a.event, a.kind, a.level) for a in alarms] == [(RAISED, "sos", 3)]
    assert "-8.74500, 115.21000" in alarms[0].text_en
    cleared = it.feed(event(6, EVENT_SOS_CANCEL, at_s=60), LATER)
    assert cleared is not None and cleared.event == CLEARED
    assert cleared.incident == alarms[0].incident


def test_the_same_number_hours_later_is_a_new_event() -> None:
    it = event_rule()
    assert it.feed(event(5, EVENT_SOS), LATER)
    assert it.feed(event(5, EVENT_SOS, at_s=30_000, count=9), LATER)


def test_a_drill_says_so() -> None:
    alarm = event_rule().feed(event(1, EVENT_SOS, is_drill=1), LATER)
    assert alarm is not None and alarm.text_en.startswith("DRILL: ")
    assert alarm.text_id.startswith("LATIHAN: ")


@pytest.mark.parametrize(("staged", "count"), [(frozenset(), 3), (frozenset({"jukung-7"}), 0)])
def test_a_device_decides_its_stage_only_without_thresholds_here(
    staged: frozenset[str], count: int
) -> None:
    it = event_rule(staged)
    steps = [(1, 0, 1), (2, 1, 3), (3, 3, 0)]
    alarms = [
        alarm
        for number, before, after in steps
        if (alarm := it.feed(event(number, EVENT_STAGE, stage=after, previous_stage=before), LATER))
    ]
    assert len(alarms) == count
    assert [a.event for a in alarms] == [RAISED, ESCALATED, CLEARED][:count]
    assert len({a.incident for a in alarms}) == min(count, 1)


def test_silence_is_an_alarm_and_so_is_the_end_of_it() -> None:
    it = SilenceRule({"a": 60, "b": 600}, 4, Site(), 0)
    assert it.check(239_000, START_MS) == []
    assert [(a.device, a.event) for a in it.check(241_000, START_MS)] == [("a", RAISED)]
    assert it.check(242_000, START_MS) == []
    it.heard("a", 300_000)
    assert [(a.device, a.event) for a in it.check(301_000, START_MS)] == [("a", CLEARED)]


def rules() -> Rules:
    return Rules([rule()], event_rule(), SilenceRule({}, 4, Site(), 0))


def decide(it: Rules, store: Store, one: Reading) -> list[Alarm]:
    alarms = it.decide(store.add([one]), LATER)
    it.save(store)
    for alarm in alarms:
        store.add_alarm(alarm)
    it.saved()
    return alarms


def test_a_crash_between_reading_and_alarm_delays_the_alarm_and_repeats_none(tmp_path) -> None:
    db = connect(tmp_path / "store.db")
    store = Store(db)
    store.open_sinks(["city"])
    it = rules()
    levels = [*climb(0, 300), 2700, 2700]
    decided = [decide(it, store, reading(n, level)) for n, level in enumerate(levels)]
    assert [len(alarms) for alarms in decided] == [0] * 15 + [1, 0, 0]
    store.add([reading(len(levels), 2700)])  # stored; the crash comes before the rules see it
    again = rules()
    assert [alarm.event for _, alarm in again.recover(store, LATER)] == [ESCALATED]
    again.saved()
    once_more = rules()
    assert once_more.recover(store, LATER) == []
    assert [a.event for _, a in store.take_alarms("city", 9)] == [RAISED, ESCALATED]
    assert again.stages["kumbasari"].level == 3
    db.close()


def test_a_full_disk_does_not_silence_the_alarm_and_it_is_not_raised_twice() -> None:
    it = rules()
    rise = [reading(n, 3000) for n in range(3)]
    assert len(it.decide_unstored(rise, LATER)) == 1
    assert it.decide([Stored(n + 1, one) for n, one in enumerate(rise)], LATER) == []


QUALITY = QualitySettings(
    fail_low=-500, fail_high=9000, suspect_high=6500, rate_per_min=600, flat_s=100, flat_by=1
)


@pytest.mark.parametrize(
    ("levels", "flags"),
    [
        ([100, 101], [GOOD, GOOD]),
        ([100, None, 101], [GOOD, MISSING, GOOD]),
        ([9001, -501], [FAIL, FAIL]),
        ([6450, 6501], [GOOD, SUSPECT]),
        ([100, 200, 301], [GOOD, GOOD, SUSPECT]),  # 100 mm in ten seconds is 600 mm a minute
        ([100, 101, 100] * 4, [GOOD] * 10 + [SUSPECT] * 2),
    ],
)
def test_quality_flags(levels: list[int | None], flags: list[int]) -> None:
    tests = QualityTests({"kumbasari": QUALITY})
    got = [tests.flag([reading(n, level)])[0].quality for n, level in enumerate(levels)]
    assert got == flags


def test_history_does_not_disturb_the_tests_of_the_present() -> None:
    tests = QualityTests({"kumbasari": QUALITY})
    tests.flag([reading(100, 100)])
    assert tests.flag([reading(50, 5000)])[0].quality == GOOD
    assert tests.flag([reading(101, 110)])[0].quality == GOOD
