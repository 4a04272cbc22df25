"""Which messages a course of alarms makes: one incident a flood, references, expiry, drills."""

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given, settings

from gateway.acts.cap.incident import ALERT, CANCEL, UPDATE, Draft, Incidents, Moment
from gateway.acts.cap.settings import CapSettings, GaugeSettings
from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED
from tests.gateway.acts.cap.world import alarm
from tests.gateway.samples import START_MS

MINUTE = 60_000
CAP = CapSettings(
    sender="a@b",
    gauge=(
        GaugeSettings(name="wangaya", river="Tukad Badung"),
        GaugeSettings(name="kumbasari", river="Tukad Badung"),
        GaugeSettings(name="mati", river="Tukad Mati"),
    ),
)


class Course:
    """Alarms at minutes after the start; every alarm is another one."""

    def __init__(self, section: CapSettings = CAP) -> None:
        self.incidents = Incidents(section)
        self.section = section
        self.drafts: list[Draft] = []
        self.number = 0

    def at(
        self,
        minute: float,
        event: str,
        level: int,
        device: str = "kumbasari",
        kind: str = "stage",
        **values: int,
    ) -> list[Draft]:
        self.number += 1
        time_ms = START_MS + round(minute * MINUTE)
        one = alarm(
            event, level, device=device, kind=kind, number=self.number, time_ms=time_ms, **values
        )
        drafts = self.incidents.feed(one, Moment(time_ms))
        self.drafts += drafts
        return drafts

    def tick(self, minute: float) -> list[Draft]:
        drafts = self.incidents.due(Moment(START_MS + round(minute * MINUTE)))
        self.drafts += drafts
        return drafts

    def restart(self) -> None:
        state = self.incidents.to_state()
        self.incidents = Incidents(self.section)
        self.incidents.restore(state)


def test_alert_update_cancel_with_all_that_stands_as_references() -> None:
    course = Course()
    (alert,) = course.at(0, RAISED, 1)
    (update,) = course.at(5, ESCALATED, 3)
    (lower,) = course.at(10, LOWERED, 2)
    (cancel,) = course.at(20, CLEARED, 0)
    assert [one.msg_type for one in course.drafts] == [ALERT, UPDATE, UPDATE, CANCEL]
    assert alert.references == []
    for before, after in ((1, update), (2, lower), (3, cancel)):
        names = [one.identifier for one in after.references]
        assert names == [one.identifier for one in course.drafts[:before]]
    assert len({one.incident for one in course.drafts}) == 1
    assert [one.level for one in course.drafts] == [1, 3, 2, 0]
    assert not course.incidents.lasting


def test_the_gauges_of_a_river_share_an_incident_while_it_lasts() -> None:
    course = Course()
    course.at(0, RAISED, 1, "wangaya")
    (joined,) = course.at(2, RAISED, 2, "kumbasari")
    (other,) = course.at(3, RAISED, 1, "mati")
    assert joined.msg_type == UPDATE
    assert [one.device for one in joined.members] == ["kumbasari", "wangaya"]
    assert other.msg_type == ALERT
    assert other.incident != joined.incident
    (less,) = course.at(4, CLEARED, 0, "kumbasari")
    assert (less.msg_type, less.level) == (UPDATE, 1)
    assert [one.device for one in less.members] == ["wangaya"]
    (over,) = course.at(5, CLEARED, 0, "wangaya")
    assert over.msg_type == CANCEL
    assert {one.device for one in over.members} == {"wangaya", "kumbasari"}
    (again,) = course.at(6, RAISED, 1, "wangaya")
    assert again.msg_type == ALERT
    assert again.identifier != course.drafts[0].identifier


def test_it_is_issued_again_before_it_expires_as_long_as_the_stage_lasts() -> None:
    course = Course()
    (alert,) = course.at(0, RAISED, 3)
    assert course.tick(49) == []
    (again,) = course.tick(50)
    assert again.msg_type == UPDATE
    assert [one.identifier for one in again.references] == [alert.identifier]
    assert again.expires_ms > alert.expires_ms
    assert again.sent_ms < alert.expires_ms
    assert course.tick(50.1) == []
    (third,) = course.tick(100)
    # The first one has expired: nothing is left of it to be updated.
    assert [one.identifier for one in third.references] == [again.identifier]
    course.at(101, CLEARED, 0)
    assert course.tick(500) == []


def test_after_a_long_absence_nothing_stands_and_it_is_an_alert_again() -> None:
    course = Course()
    (alert,) = course.at(0, RAISED, 3)
    course.restart()
    (again,) = course.tick(200)
    assert again.msg_type == ALERT
    assert again.references == []
    assert again.incident == alert.incident
    assert again.identifier != alert.identifier


def test_a_cancel_always_says_what_it_cancels() -> None:
    course = Course()
    (alert,) = course.at(0, RAISED, 3)
    (cancel,) = course.at(500, CLEARED, 0)
    assert cancel.msg_type == CANCEL
    assert [one.identifier for one in cancel.references] == [alert.identifier]


def test_the_same_alarm_again_makes_nothing_even_after_a_restart() -> None:
    course = Course()
    one = alarm(RAISED, 2, time_ms=START_MS)
    now = Moment(START_MS)
    (first,) = course.incidents.feed(one, now)
    assert course.incidents.feed(one, now) == []
    course.restart()
    assert course.incidents.feed(one, now) == []
    # With the state lost, the message at least has the same name: receivers drop it.
    (same,) = Incidents(CAP).feed(one, now)
    assert same.identifier == first.identifier


def test_a_drill_and_the_truth_are_two_things() -> None:
    course = Course()
    (drill,) = course.at(0, RAISED, 2, is_drill=1)
    assert drill.status == "Exercise"
    (real,) = course.at(1, ESCALATED, 3)  # the water came during the drill
    assert (real.status, real.msg_type) == ("Actual", ALERT)
    assert real.incident != drill.incident
    over = course.at(2, CLEARED, 0)  # an all-clear does not say of which
    assert sorted((one.status, one.msg_type) for one in over) == [
        ("Actual", CANCEL),
        ("Exercise", CANCEL),
    ]
    (test,) = course.at(3, RAISED, 1, is_test=1)
    assert test.status == "Test"


def test_the_end_of_another_alarm_ends_nothing() -> None:
    course = Course()
    course.at(0, RAISED, 3)
    other = alarm(CLEARED, 0, incident="kumbasari/stage/0", time_ms=START_MS + MINUTE)
    assert course.incidents.feed(other, Moment(START_MS + MINUTE)) == []
    assert course.incidents.lasting


def test_a_gauge_that_falls_silent_in_a_flood_is_told() -> None:
    course = Course()
    course.at(0, RAISED, 3)
    (update,) = course.at(5, RAISED, 1, kind="silent")
    assert update.members[0].is_silent
    assert update.level == 3
    (again,) = course.at(6, CLEARED, 0, kind="silent")
    assert not again.members[0].is_silent
    assert course.at(7, RAISED, 1, device="mati", kind="silent") == []


def test_what_came_late_is_told_as_it_is_now() -> None:
    """The agent was down: raised and cleared hours ago is nothing; raised and lasting is one."""
    course = Course()
    late = Moment(START_MS + 300 * MINUTE)
    for number, (event, level) in enumerate(((RAISED, 1), (ESCALATED, 3), (CLEARED, 0))):
        one = alarm(event, level, number=number, time_ms=START_MS + number)
        assert course.incidents.feed(one, late) == []
    one = alarm(RAISED, 2, number=9, time_ms=START_MS + 60 * MINUTE)
    assert course.incidents.feed(one, late) == []
    assert course.tick(300.01) == []  # what comes right behind may end it
    (alert,) = course.tick(300.5)
    assert (alert.msg_type, alert.level, alert.needs_ack) == (ALERT, 2, True)
    siren = alarm(RAISED, 2, kind="siren", time_ms=START_MS)
    assert course.incidents.feed(siren, late) == []
    # From memory, on a full disk, it is never late.
    assert course.incidents.feed(
        alarm(RAISED, 3, device="mati", time_ms=START_MS), late, is_stored=False
    )


def test_a_clock_that_nobody_set_neither_stops_nor_repeats_alerts() -> None:
    course = Course()
    one = alarm(RAISED, 3, time_ms=1_000)
    (alert,) = course.incidents.feed(one, Moment(2_000, False))
    assert not alert.is_clock_set
    # The sample knew the time from its network: the alert takes it.
    two = alarm(ESCALATED, 3, number=2, time_ms=START_MS)
    (update,) = course.incidents.feed(two, Moment(3_000, False))
    assert update.sent_ms == START_MS - START_MS % 1000
    # NTP answers: what was sent in 1970 is long over, so it is told again with the right time.
    fresh = Incidents(CAP)
    fresh.feed(one, Moment(2_000, False))
    (again,) = fresh.due(Moment(START_MS))
    assert again.is_clock_set
    assert abs(again.sent_ms - START_MS) < 1000
    assert fresh.due(Moment(START_MS + 2000)) == []


def test_a_restart_without_a_clock_does_not_repeat_what_stands() -> None:
    course = Course()
    course.at(0, RAISED, 3)
    course.restart()
    assert course.incidents.due(Moment(5_000, False)) == []


def test_a_clock_that_was_ahead_is_put_right_once() -> None:
    course = Course()
    (ahead,) = course.incidents.feed(
        alarm(RAISED, 3, time_ms=START_MS), Moment(START_MS + 5000 * MINUTE)
    ) or course.tick(5000.5)
    (again,) = course.tick(0)
    assert again.sent_ms < ahead.sent_ms
    assert again.msg_type == UPDATE  # the one from the future would stand for days
    assert course.tick(1) == []


def test_calls_for_help_end_by_themselves_only_when_cancelled() -> None:
    course = Course()
    (sos,) = course.at(0, RAISED, 3, "jacket-7", "sos", lat_e5=-870000, lon_e5=11525000)
    assert (sos.topic.code, sos.topic.scope) == ("OET-162", "Restricted")
    (again,) = course.tick(51)
    assert again.msg_type == UPDATE
    (over,) = course.at(60, CLEARED, 0, "jacket-7", "sos")
    assert over.msg_type == CANCEL
    (siren,) = course.at(61, RAISED, 2, "siren-1", "siren")
    assert siren.topic.category == "Infra"
    assert course.tick(200) == []  # said once
    assert not course.incidents.lasting


EVENTS = st.tuples(
    st.sampled_from([RAISED, ESCALATED, LOWERED, CLEARED]),
    st.integers(0, 3),
    st.sampled_from(["wangaya", "kumbasari", "mati", "unknown"]),
    st.booleans(),
    st.integers(0, 90),
    st.booleans(),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(EVENTS, max_size=25))
def test_any_course_keeps_the_rules_of_cap(
    events: list[tuple[str, int, str, bool, int, bool]],
) -> None:
    """Updates and cancels name earlier, unexpired messages of their incident, all of them, and an
    incident begins with an Alert and ends with at most one Cancel; restarts change nothing."""
    course = Course()
    minute = 0
    for event, level, device, is_drill, pause, is_restart in events:
        minute += pause
        course.at(minute, event, level, device, is_drill=int(is_drill))
        if is_restart:
            course.restart()
        course.tick(minute + 0.2)
    by_incident: dict[tuple[str, str], list[Draft]] = {}
    for draft in course.drafts:
        by_incident.setdefault((draft.incident, draft.status), []).append(draft)
    names = [draft.identifier for draft in course.drafts]
    assert len(names) == len(set(names))
    for chain in by_incident.values():
        assert chain[0].msg_type == ALERT
        for before, after in pairwise(chain):
            assert after.sent_ms > before.sent_ms
        for index, draft in enumerate(chain):
            begin = max((i + 1 for i in range(index) if chain[i].msg_type == CANCEL), default=0)
            standing = [d.identifier for d in chain[begin:index] if d.expires_ms > draft.sent_ms]
            found = [one.identifier for one in draft.references]
            if draft.msg_type == CANCEL and not standing:
                assert found == [chain[index - 1].identifier]
            else:
                assert found == standing
            assert (draft.msg_type == ALERT) == (not found)


def test_a_person_ends_what_a_destroyed_gauge_cannot_and_the_rest_goes_on() -> None:
    course = Course()
    (alert,) = course.at(0, RAISED, 3, device="kumbasari")
    course.at(1, RAISED, 2, device="wangaya")
    why = ("pos hanyut", "gauge washed away")
    now = Moment(START_MS + 90 * MINUTE // 10)
    (update,) = course.incidents.end(alert.incident, "kumbasari", why, now)
    assert (update.msg_type, update.level) == (UPDATE, 2)
    assert [one.device for one in update.members] == ["wangaya"]
    course.restart()
    (cancel,) = course.incidents.end(alert.incident, "", why, now)
    assert cancel.msg_type == CANCEL
    assert {one.text_en for one in cancel.members} == {"gauge washed away"}
    assert course.tick(600) == []
    # It was not destroyed after all.
    (again,) = course.at(700, ESCALATED, 3, device="kumbasari")
    assert (again.msg_type, again.references) == (ALERT, [])
