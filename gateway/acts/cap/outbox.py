"""Messages that were issued, and who still has to get or confirm them: `Outbox`, without I/O.

A `Delivery` is one message for one receiver: waiting, then sent, then acknowledged if that is
expected. When the acknowledgement does not come in time the message goes to the next receiver.
A newer message of an incident that was accepted makes the older ones of it useless to that
receiver; a Cancel ends what was still to be acknowledged. Durations are monotonic; over a restart
the time that is left is worked out from the wall clock and never more than it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.acts.cap.incident import CANCEL
from gateway.acts.cap.settings import ReceiverSettings

WAITING, SENT, ACKNOWLEDGED, OBSOLETE = "waiting", "sent", "acknowledged", "obsolete"
_RETRY_S = 1.0
_RECENT = 30  # messages whose finished deliveries are kept
_STALE_MS = 86_400_000  # a message that expired a day ago helps nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A signed message and what lists of messages show of it."""

    number: int  # grows by one a message
    stem: str  # file name without its ending
    identifier: str
    incident: str
    topic: str
    msg_type: str
    status: str
    scope: str
    sent: str  # as in the message
    sent_ms: int
    expires: str
    expires_ms: int
    references: int
    level: int
    needs_ack: bool
    headline_id: str
    headline_en: str
    description_id: str
    social: str
    xml: str


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One message for one receiver; times that end in `tick_ms` end with the process."""

    receiver: str
    number: int
    identifier: str
    incident: str
    msg_type: str
    expires_ms: int
    created_ms: int  # wall clock
    needs_ack: bool
    state: str = WAITING
    tries: int = 0
    by: str = ""  # who acknowledged
    acked_ms: int = 0
    has_escalated: bool = False  # nobody acknowledged in time
    is_alarmed: bool = False  # and an alarm says so
    error: str = ""
    due_tick_ms: int = 0
    ack_tick_ms: int = 0  # deadline of the acknowledgement, monotonic

    @property
    def needs_acknowledgement(self) -> bool:
        """Somebody still has to say that he has seen it."""
        return self.needs_ack and self.state in (WAITING, SENT)

    @property
    def is_open(self) -> bool:
        """Something is still to be done or to be waited for."""
        return self.state == WAITING or (self.state == SENT and self.needs_ack)


_VOLATILE = ("due_tick_ms", "ack_tick_ms")


class Outbox:
    """All deliveries of the messages that are kept."""

    def __init__(self, receivers: Sequence[ReceiverSettings]) -> None:
        self._receivers = {one.name: one for one in receivers}
        self.deliveries: list[Delivery] = []

    def plan(self, message: Issued, now_ms: int, tick_ms: int) -> None:
        """A message was issued: note who gets it. Done before: nothing happens."""
        for one in self.deliveries:
            if one.state == WAITING:
                one.due_tick_ms = tick_ms  # all in order, the new one last
        known = {one.receiver for one in self.deliveries if one.incident == message.incident}
        for receiver in self._receivers.values():
            is_wanted = message.topic in receiver.wants and not receiver.reserve
            if is_wanted or receiver.name in known:
                self._add(message, receiver, now_ms, tick_ms)
        if message.msg_type == CANCEL:
            for one in self.deliveries:
                if one.incident == message.incident and one.needs_acknowledgement:
                    one.needs_ack = False

    def _add(
        self, message: Issued, receiver: ReceiverSettings, now_ms: int, tick_ms: int
    ) -> Delivery | None:
        for one in self.deliveries:
            if one.receiver == receiver.name and one.identifier == message.identifier:
                return None
        delivery = Delivery(
            receiver=receiver.name,
            number=message.number,
            identifier=message.identifier,
            incident=message.incident,
            msg_type=message.msg_type,
            expires_ms=message.expires_ms,
            created_ms=now_ms,
            needs_ack=message.needs_ack and receiver.ack_min > 0,
            due_tick_ms=tick_ms,
            ack_tick_ms=tick_ms + round(receiver.ack_min * 60_000),
        )
        self.deliveries.append(delivery)
        return delivery

    def due(self, receiver: str, tick_ms: int) -> list[Delivery]:
        """What is to be sent to a receiver now, oldest first."""
        return [
            one
            for one in self.deliveries
            if one.receiver == receiver and one.state == WAITING and one.due_tick_ms <= tick_ms
        ]

    def next_tick_ms(self, receiver: str) -> int | None:
        """When `due` will have something, or None."""
        waiting = [
            one.due_tick_ms
            for one in self.deliveries
            if one.receiver == receiver and one.state == WAITING
        ]
        return min(waiting, default=None)

    def succeeded(self, delivery: Delivery) -> None:
        """The receiver took it."""
        delivery.tries += 1
        delivery.error = ""
        if delivery.state == WAITING:
            delivery.state = SENT
        for one in self._of(delivery.receiver, delivery.incident):
            if one.number < delivery.number and one.state == WAITING:
                # What it should have confirmed, the newer message asks of it.
                delivery.needs_ack |= one.needs_ack and delivery.msg_type != CANCEL
                delivery.ack_tick_ms = min(delivery.ack_tick_ms, one.ack_tick_ms)
                one.state = OBSOLETE

    def failed(
        self, delivery: Delivery, error: str, tick_ms: int, jitter: float, *, is_line: bool
    ) -> None:
        """It did not; `jitter` 0..1 spreads the next try. A dead line makes all others wait too."""
        delivery.tries += 1
        delivery.error = error
        longest_s = self._receivers[delivery.receiver].retry_s_max
        pause_s = min(_RETRY_S * 2 ** min(delivery.tries - 1, 12), longest_s)
        delivery.due_tick_ms = tick_ms + round(pause_s * (0.5 + jitter / 2) * 1000)
        for one in self.deliveries if is_line else ():
            if one.receiver == delivery.receiver and one.state == WAITING:
                one.due_tick_ms = delivery.due_tick_ms
                one.error = error

    def acknowledge(self, identifier: str, receiver: str, by: str, now_ms: int) -> list[Delivery]:
        """Somebody has seen a message, and with it the ones before it; [] if there is none such."""
        for named in self.deliveries:
            if named.identifier == identifier and named.receiver == receiver:
                break
        else:
            return []
        acked: list[Delivery] = []
        for one in self._of(receiver, named.incident):
            if one is named or (one.number <= named.number and one.is_open):
                if one.state != ACKNOWLEDGED:
                    one.by, one.acked_ms = by, now_ms
                one.state = ACKNOWLEDGED
                acked.append(one)
        return acked

    def overdue(self, tick_ms: int) -> list[Delivery]:
        """Deliveries whose acknowledgement did not come in time, once each."""
        return [
            one
            for one in self.deliveries
            if one.needs_acknowledgement and not one.has_escalated
            if tick_ms >= one.ack_tick_ms
        ]

    def escalate(
        self, delivery: Delivery, newest: Issued, now_ms: int, tick_ms: int
    ) -> ReceiverSettings | None:
        """Pass the incident's newest message on; the receiver that gets it, if there is one."""
        receiver = self._receivers.get(delivery.receiver)
        following = self._receivers.get(receiver.next) if receiver is not None else None
        if following is None:
            return None
        made = self._add(newest, following, now_ms, tick_ms)
        if made is not None and following.ack_min > 0:
            made.needs_ack = True  # also when the newest is only a repeat
        return following

    def tidy(self, oldest: int, now_ms: int) -> None:
        """Forget deliveries of messages that are gone, give up what is of no more use."""
        recent = max((one.number for one in self.deliveries), default=0) - _RECENT
        newest: dict[tuple[str, str], int] = {}
        for one in self.deliveries:
            key = (one.receiver, one.incident)
            newest[key] = max(newest.get(key, 0), one.number)
        for one in self.deliveries:
            age_ms = now_ms - one.expires_ms
            is_newest = newest[one.receiver, one.incident] == one.number
            if one.state == WAITING and age_ms > (_STALE_MS if is_newest else 0):
                one.state = OBSOLETE
        self.deliveries = [
            one
            for one in self.deliveries
            if one.number >= oldest and (one.number > recent or one.is_open or one.is_alarmed)
        ]

    def _of(self, receiver: str, incident: str) -> list[Delivery]:
        return [
            one for one in self.deliveries if one.receiver == receiver and one.incident == incident
        ]

    # State

    def to_state(self) -> list[dict[str, Any]]:
        """What must survive a restart, as JSON."""
        return [
            {name: value for name, value in asdict(one).items() if name not in _VOLATILE}
            for one in self.deliveries
        ]

    def restore(self, state: Sequence[Mapping[str, Any]], now_ms: int, tick_ms: int) -> None:
        """Take up where `to_state` left off."""
        self.deliveries = [Delivery(**one) for one in state if one["receiver"] in self._receivers]
        for one in self.deliveries:
            whole_ms = round(self._receivers[one.receiver].ack_min * 60_000)
            passed_ms = min(max(0, now_ms - one.created_ms), whole_ms)
            one.due_tick_ms = tick_ms
            one.ack_tick_ms = tick_ms + whole_ms - passed_ms


__all__ = ["Delivery", "Issued", "Outbox"]
