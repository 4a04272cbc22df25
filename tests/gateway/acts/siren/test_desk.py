"""Which sirens sound, how often, and who is told when one is silent."""

from gateway.acts.siren.desk import Do, SirenDesk, Sound, Tell
from gateway.acts.siren.settings import RuleSettings, SirenSettings, UnitSettings
from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm

T0 = 1_789_000_000_000
SECOND = 1000


def desk(**settings: float) -> SirenDesk:
    units = tuple(UnitSettings(name=name, device=f"{name}-node") for name in ("a", "b", "c"))
    rules = (
        RuleSettings(gauges=("river",), level=1, sirens=("a",)),
        RuleSettings(gauges=("river",), level=3, sirens=("a", "b"), backup=("c",)),
    )
    return SirenDesk(SirenSettings(unit=units, rule=rules, **settings))  # type: ignore[arg-type]


def stage(event: str, level: int, at_ms: int = T0, incident: str = "i1", **values: int) -> Alarm:
    return Alarm(
        incident=incident,
        device="river",
        kind="stage",
        event=event,
        level=level,
        name="",
        time_ms=at_ms,
        decided_ms=at_ms,
        sequence=1,
        values=values,
        text_id="",
        text_en="",
    )


def sounds(doing: list[Do], one: SirenDesk, number: int = 0) -> list[tuple[str, int]]:
    """The sirens ordered, with their patterns; they get numbers as if they had left."""
    found: list[tuple[str, int]] = []
    for index, do in enumerate(item for item in doing if isinstance(item, Sound)):
        found.append((do.order.siren, do.order.pattern))
        if number:
            one.sent(do.order, number + index)
    return found


def told(doing: list[Do]) -> list[tuple[str, str, int]]:
    return [(t.alarm.device, t.alarm.event, t.alarm.level) for t in doing if isinstance(t, Tell)]


def test_a_level_sounds_its_sirens_once_and_again_only_on_a_further_rise() -> None:
    one = desk()
    assert sounds(one.alarm(stage(RAISED, 1), T0), one) == [("a", 1)]
    assert sounds(one.alarm(stage(ESCALATED, 2), T0), one) == [], "no rule for level 2"
    assert sounds(one.alarm(stage(ESCALATED, 3), T0), one) == [("a", 3), ("b", 3)]
    assert sounds(one.alarm(stage(ESCALATED, 3), T0), one) == [], "the runner may hand it twice"
    assert one.alarm(stage(LOWERED, 1), T0) == []
    assert sounds(one.alarm(stage(ESCALATED, 3), T0), one) == [("a", 3), ("b", 3)]


def test_a_jump_to_the_highest_level_sounds_each_siren_once() -> None:
    one = desk()
    assert sounds(one.alarm(stage(RAISED, 3), T0), one) == [("a", 3), ("b", 3)]


def test_old_alarms_drills_and_other_kinds_are_silent() -> None:
    one = desk()
    assert one.alarm(stage(RAISED, 3, T0 - 601 * SECOND), T0) == []
    assert one.alarm(stage(RAISED, 3, is_drill=1), T0) == []
    assert one.counters["old"] == 1 and one.counters["drills"] == 1
    assert sounds(one.alarm(stage(RAISED, 3, T0 - 599 * SECOND), T0), one)


def test_soundings_of_one_incident_are_bounded_and_the_next_incident_is_free() -> None:
    one = desk(max_soundings=2)
    heard = 0
    for _ in range(5):
        heard += len(sounds(one.alarm(stage(ESCALATED, 3), T0), one))
        one.alarm(stage(LOWERED, 0), T0)
    assert heard == 4, "two sirens, twice"
    one.alarm(stage(CLEARED, 0), T0)
    assert sounds(one.alarm(stage(RAISED, 3, incident="i2"), T0), one)


def test_a_mute_node_is_asked_again_with_the_same_number_then_with_a_new_one() -> None:
    one = desk(answer_s=5, proof_s=20)
    sounds(one.alarm(stage(RAISED, 1), T0), one, number=7)
    assert one.due_ms() == T0 + 5000
    assert one.step(T0 + 4999) == []
    first = one.step(T0 + 5000)
    assert [(do.order.number, do.is_new) for do in first if isinstance(do, Sound)] == [(7, False)]
    assert one.step(T0 + 14_999) == [] and len(one.step(T0 + 15_000)) == 1, "twice as long"
    assert one.due_ms() == T0 + 20_000
    retry = one.step(T0 + 20_000)
    assert [do.is_new for do in retry if isinstance(do, Sound)] == [True]
    assert told(retry) == []


def test_a_node_that_answered_is_waited_for_in_peace() -> None:
    one = desk(answer_s=5, proof_s=20)
    sounds(one.alarm(stage(RAISED, 1), T0), one, number=7)
    one.heard("a", 7, False, T0 + 900)
    assert one.step(T0 + 19_999) == []
    assert len(one.step(T0 + 20_000)) == 1


def test_proof_ends_the_matter_but_only_with_its_own_number() -> None:
    one = desk()
    sounds(one.alarm(stage(RAISED, 1), T0), one, number=7)
    one.proof("a", 6, True, T0)
    assert one.orders
    one.proof("b", 7, True, T0)
    assert one.orders
    one.proof("a", 7, True, T0)
    assert not one.orders and one.due_ms() is None


def test_a_dead_siren_is_retried_then_the_backup_sounds_and_people_are_told() -> None:
    one = desk()
    sounds(one.alarm(stage(RAISED, 3), T0), one, number=7)  # a: 7, b: 8
    one.proof("b", 8, True, T0 + 2000)
    retry = one.proof("a", 7, False, T0 + 2000)
    assert sounds(retry, one, number=20) == [("a", 3)] and told(retry) == []
    second = one.proof("a", 20, False, T0 + 4000)
    assert sounds(second, one, number=30) == [("c", 3)]
    assert told(second) == [("a-node", RAISED, 2)]
    one.proof("c", 30, False, T0 + 6000)
    sounds([Sound(order=one.orders[0], is_new=True)], one, number=40)
    last = one.proof("c", 40, False, T0 + 8000)
    assert told(last) == [("c-node", RAISED, 3)]
    text = next(do.alarm for do in last if isinstance(do, Tell))
    assert "person" in text.text_en and "orang" in text.text_id
    assert set(one.silent) == {"a", "c"}
    later = one.proof("a", 99, True, T0 + 86_400_000)
    assert told(later) == [("a-node", CLEARED, 0)] and set(one.silent) == {"c"}


def test_a_refusal_counts_as_silence_at_once() -> None:
    one = desk()
    sounds(one.alarm(stage(RAISED, 1), T0), one, number=7)
    assert sounds(one.heard("a", 7, True, T0 + 900), one) == [("a", 1)]


def test_open_orders_survive_a_restart_and_old_ones_end_with_a_call_for_a_person() -> None:
    one = desk()
    sounds(one.alarm(stage(RAISED, 1), T0), one, number=7)
    again = desk()
    again.restore(one.to_state())
    assert sounds(again.step(T0 + 30_000), again, number=8) == [("a", 1)]
    assert sounds(again.alarm(stage(RAISED, 1), T0 + 31_000), again) == [], "it is the same rise"
    late = desk()
    late.restore(one.to_state())
    doing = late.step(T0 + 3600 * SECOND)
    assert sounds(doing, late) == [] and told(doing) == [("a-node", RAISED, 3)]


def test_what_could_not_be_queued_is_tried_again_and_then_left_to_the_backup() -> None:
    one = desk(answer_s=5, proof_s=20)
    one.alarm(stage(RAISED, 3), T0)  # nothing gets a number: the network server is down
    assert len(sounds(one.step(T0 + 5000), one)) == 2
    one.step(T0 + 20_000)
    assert ("c", 3) in sounds(one.step(T0 + 40_000), one)


def test_silence_by_a_person_demands_no_more_proof() -> None:
    one = desk()
    sounds(one.order("a", 5, 60, T0), one, number=7)
    one.silence("a")
    assert one.step(T0 + 3_600_000) == []


def test_a_lower_order_does_not_take_over_a_higher_one() -> None:
    one = desk()
    sounds(one.alarm(stage(RAISED, 3), T0), one, number=7)
    assert sounds(one.order("a", 1, 10, T0), one) == []
    assert {order.level for order in one.orders} == {3}
