"""Acknowledgements from everywhere, and what happens without them: `Acknowledger`.

They come in the answer to a post, by POST /ack, as a message on tukad/SITE/cap/ack, or from
`tukad gateway cap-ack`. When one is missing the alert goes to the next receiver and an alarm says
which person to call; the alarm ends with the acknowledgement or with the flood.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from gateway.acts.cap.outbox import Delivery, Issued, Outbox
from gateway.acts.cap.settings import CapSettings
from gateway.acts.cap.webhook import by_name
from gateway.acts.part import Context
from gateway.clock import now_ms
from gateway.model import CLEARED, RAISED, Alarm
from gateway.sinks.messages import Handler

log = logging.getLogger("tukad.cap")


class Acknowledger:
    """Works on the outbox; whoever calls it makes the outbox durable afterwards."""

    kind = "cap_unacknowledged"

    def __init__(self, outbox: Outbox, context: Context, settings: CapSettings) -> None:
        self._outbox = outbox
        self._context = context
        self._persons = {one.name: one.person for one in settings.receiver}
        self.count = 0
        self._is_changed = False

    def note(self, identifier: str, receiver: str, by: str) -> bool:
        """An acknowledgement; False if there is no such message for this receiver."""
        found = self._outbox.acknowledge(identifier, receiver, by, now_ms())
        if found:
            self.count += 1
            self._is_changed = True
            log.warning("cap.acknowledged receiver=%s by=%r id=%s", receiver, by, identifier)
        else:
            log.warning("cap.ack_unknown receiver=%r id=%r", receiver[:40], identifier[:60])
        return bool(found)

    def take(self, table: Mapping[str, Any]) -> bool:
        """An acknowledgement as JSON: identifier, receiver, by."""
        identifier, receiver = table.get("identifier"), table.get("receiver")
        if not isinstance(identifier, str) or not isinstance(receiver, str):
            log.warning("cap.ack_refused: identifier and receiver are needed")
            return False
        return self.note(identifier, receiver, by_name(table.get("by")))

    def from_mqtt(self, changed: Callable[[], None]) -> Handler:
        """The handler of tukad/SITE/cap/ack; the broker says who may publish there."""

        def handle(_topic: str, payload: bytes) -> None:
            try:
                found: Any = json.loads(payload)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                log.warning("cap.ack_refused bytes=%d: not a JSON object", len(payload))
            elif self.take(cast("dict[str, Any]", found)):
                changed()

        return handle

    def missing(self, receiver: str) -> list[Delivery]:
        """What a receiver has not acknowledged yet."""
        return [
            one
            for one in self._outbox.deliveries
            if one.receiver == receiver and one.needs_acknowledgement
        ]

    def check(self, messages: Sequence[Issued], now: int, tick: int) -> bool:
        """Escalate what is overdue, end alarms that are answered; True if anything changed."""
        alarms: list[Alarm] = []
        is_changed, self._is_changed = self._is_changed, False
        for one in self._outbox.overdue(tick):
            newest = next((m for m in messages if m.incident == one.incident), None)
            following = None
            if newest is not None:
                following = self._outbox.escalate(one, newest, now, tick)
            one.has_escalated = one.is_alarmed = is_changed = True
            to = following.name if following is not None else ""
            alarms.append(self._alarm(one, RAISED, now, to))
            log.error(
                "cap.escalated receiver=%s next=%s id=%s: call %s",
                one.receiver,
                to or "-",
                one.identifier,
                self._persons[one.receiver] or "them",
            )
        for one in self._outbox.deliveries:
            if one.is_alarmed and not one.needs_acknowledgement:
                one.is_alarmed = False
                is_changed = True
                alarms.append(self._alarm(one, CLEARED, now, ""))
        if alarms:
            self._context.raise_alarms(alarms)
        return is_changed

    def _alarm(self, one: Delivery, event: str, now: int, following: str) -> Alarm:
        person = self._persons[one.receiver] or one.receiver
        if event == RAISED:
            to_id = f" Diteruskan ke {following}." if following else ""
            to_en = f" Passed on to {following}." if following else ""
            text_id = f"{one.receiver} belum mengonfirmasi peringatan.{to_id} Hubungi {person}."
            text_en = f"{one.receiver} has not acknowledged an alert.{to_en} Call {person}."
        elif one.by:
            text_id = f"{one.receiver}: peringatan dikonfirmasi oleh {one.by}."
            text_en = f"{one.receiver}: the alert was acknowledged by {one.by}."
        else:
            text_id = f"{one.receiver}: konfirmasi tidak diperlukan lagi."
            text_en = f"{one.receiver}: no acknowledgement is needed any more."
        return Alarm(
            incident=f"cap/{one.receiver}/{one.identifier}",
            device=one.receiver,
            kind=self.kind,
            event=event,
            level=2 if event == RAISED else 0,
            name="unacknowledged" if event == RAISED else "acknowledged",
            time_ms=now,
            decided_ms=now,
            sequence=one.number,
            values={},
            text_id=text_id,
            text_en=text_en,
        )


__all__ = ["Acknowledger"]
