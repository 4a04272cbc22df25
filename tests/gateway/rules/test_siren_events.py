"""A siren without sound is one alarm, whatever its retries say, until it proves itself again."""

from gateway.model import CLEARED, RAISED, Alarm, Reading
from gateway.rules.events import EventRule
from gateway.rules.settings import AlarmSettings
from gateway.rules.stages import Site
from protocols.payload.event import EVENT_SIREN, PROOF_CURRENT, PROOF_FAILED, PROOF_NONE

T0 = 1_789_000_000_000


def rule() -> EventRule:
    return EventRule(AlarmSettings(), Site(), frozenset())


def tell(one: EventRule, number: int, proof: int, device: str = "siren-1") -> Alarm | None:
    """The siren's event `number`, one a minute."""
    at_ms = T0 + number * 60_000
    values = {"kind": EVENT_SIREN, "number": number, "proof": proof, "is_drill": 0}
    reading = Reading(
        device=device,
        stream="event",
        sequence=number,
        time_ms=at_ms,
        time_source="network",
        values=values,
        received_ms=at_ms,
    )
    return one.feed(reading, at_ms)


def test_retries_that_fail_raise_no_second_alarm_and_proof_clears_the_first() -> None:
    one = rule()
    first = tell(one, 1, PROOF_FAILED)
    assert first is not None and (first.event, first.level) == (RAISED, 2)
    assert [tell(one, n, PROOF_FAILED) for n in (2, 3)] == [None, None]
    assert tell(one, 4, PROOF_NONE) is None, "no news of the sound is no proof"
    over = tell(one, 5, PROOF_CURRENT)
    assert over is not None and (over.event, over.level) == (CLEARED, 0)
    assert over.incident == first.incident
    assert tell(one, 6, PROOF_CURRENT) is None
    again = tell(one, 7, PROOF_FAILED)
    assert again is not None and again.event == RAISED and again.incident != first.incident


def test_each_siren_has_its_own_alarm_and_an_open_one_survives_a_restart() -> None:
    one = rule()
    assert tell(one, 1, PROOF_FAILED) is not None
    assert tell(one, 1, PROOF_FAILED, "siren-2") is not None
    after = rule()
    after.restore(one.to_state())
    assert tell(after, 2, PROOF_FAILED) is None
    over = tell(after, 3, PROOF_CURRENT)
    assert over is not None and (over.event, over.device) == (CLEARED, "siren-1")
    assert tell(after, 4, PROOF_FAILED, "siren-2") is None
