"""`Tickets`: which tickets the city should have, and what to do next. Sans-IO, JSON as state.

One ticket for one fault of one device at a time. Its key stands in the description, so that a
ticket whose answer was lost, or that this gateway has forgotten, is found again: before every POST
the server is asked for open ones with the key. States:

want    the fault is open, the city does not know it
token   the server took it and will give the number later
open    the city has it, with a number
ending  the fault is over, and the server must be told (FixMyStreet)
local   the fault is over, the server's ticket may still be open (plain servers have no way to
        close one): a fault that comes back is the same ticket as long as staff did not close it
done    to be forgotten
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.acts.open311.settings import FIXMYSTREET, Open311Settings
from gateway.model import CLEARED, RAISED, Alarm
from gateway.rules.devices.causes import CAUSES

WANT, TOKEN, OPEN, ENDING, LOCAL, DONE = "want", "token", "open", "ending", "local", "done"
FIND, POST, ASK_TOKEN, LOOK, CLOSE = "find", "post", "token", "look", "close"
_AGAIN_MS = 24 * 3_600_000  # staff closed it and it is still broken: a new ticket after a day
_LOCAL_MS = 90 * 24 * 3_600_000  # GeoReport answers for no longer
_TICKETS_MAX = 5000
_KEY = re.compile(r"\[tukad:([^\]\s]+)\]")


@dataclass(slots=True)
class Ticket:
    """One fault as the city knows it."""

    key: str  # site/device/cause
    device: str
    cause: str
    state: str
    since_ms: int  # of the fault
    incident: str
    level: int
    evidence: str
    request_id: str = ""
    token: str = ""
    due_ms: int = 0
    failures: int = 0  # in a row
    posts: int = 0  # how often it was sent: the server may have it
    problem: str = ""
    is_found: bool = False  # the server was asked for it since the last POST
    ended_ms: int = 0
    closed_by_staff_ms: int = 0
    number: int = 1  # how many tickets this fault has had
    update: str = ""  # id of the closing update, the same in every try


@dataclass(frozen=True, slots=True)
class Job:
    """One request to make."""

    what: str  # FIND, POST, ASK_TOKEN, LOOK, CLOSE
    ticket: Ticket


@dataclass(slots=True)
class Tickets:
    """All of them; after every change `to_state` is to be kept before the next request."""

    settings: Open311Settings
    site: str
    tickets: dict[str, Ticket] = field(default_factory=dict[str, Ticket])

    def to_state(self) -> dict[str, Any]:
        """As JSON."""
        return {"tickets": [asdict(one) for one in self.tickets.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off. What was under way is found again by its key."""
        self.tickets = {one["key"]: Ticket(**one) for one in state["tickets"]}
        for one in self.tickets.values():
            one.is_found = False

    def hear(self, alarm: Alarm, now_ms: int) -> bool:
        """Take an alarm; True when something changed. Repeats are harmless."""
        if alarm.kind not in CAUSES:
            return False
        key = f"{self.site}/{alarm.device}/{alarm.kind}"
        known = self.tickets.get(key)
        if alarm.event == CLEARED:
            if known is None or known.incident != alarm.incident:
                return False
            self._over(known, now_ms)
            return True
        if alarm.event != RAISED or alarm.level < self.settings.min_level:
            return False
        if known is not None and known.incident == alarm.incident:
            return False
        if known is None:
            if len(self.tickets) >= _TICKETS_MAX:
                return False
            self.tickets[key] = Ticket(
                key=key,
                device=alarm.device,
                cause=alarm.kind,
                state=WANT,
                since_ms=alarm.time_ms,
                incident=alarm.incident,
                level=alarm.level,
                evidence=alarm.name,
                due_ms=now_ms + 1000 * self.settings.settle_s,
            )
            return True
        known.incident, known.since_ms, known.evidence = alarm.incident, alarm.time_ms, alarm.name
        # What was closed after it had ended here broke anew; else staff closed it.
        known.closed_by_staff_ms, known.ended_ms, known.update = known.ended_ms, 0, ""
        if known.state in (LOCAL, ENDING) and known.request_id:
            # Still open there, or being closed: look, and go on from what the server says.
            known.state = OPEN
            known.due_ms, known.failures = now_ms, 0
        elif known.state in (LOCAL, ENDING, DONE):
            known.state, known.due_ms, known.failures = WANT, now_ms, 0
        return True

    def _over(self, one: Ticket, now_ms: int) -> None:
        one.ended_ms = now_ms
        if one.state == WANT and not one.posts:
            one.state = DONE  # the city never heard of it
        elif one.state in (WANT, TOKEN):
            one.is_found = False  # was it taken? Only a look can tell
        elif one.state == OPEN:
            self._end(one, now_ms)
        if one.state == DONE:
            del self.tickets[one.key]

    def _end(self, one: Ticket, now_ms: int) -> None:
        one.failures, one.due_ms = 0, now_ms
        if self.settings.dialect == FIXMYSTREET:
            one.state, one.update = ENDING, one.update or f"{one.request_id}-{one.ended_ms}"
        else:
            one.state = LOCAL
            one.due_ms = now_ms + round(1000 * self.settings.look_s)

    # What to do

    def next_job(self, now_ms: int) -> Job | None:
        """The request that is due first, if any."""
        due = [one for one in self.tickets.values() if one.due_ms <= now_ms]
        if not due:
            return None
        one = min(due, key=lambda t: (t.state != WANT, -t.level, t.due_ms))
        if one.state == WANT:
            return Job(POST if one.is_found else FIND, one)
        return Job({TOKEN: ASK_TOKEN, ENDING: CLOSE}.get(one.state, LOOK), one)

    def next_ms(self) -> int | None:
        """When the next job is due."""
        return min((one.due_ms for one in self.tickets.values()), default=None)

    # What came of it

    def found(self, one: Ticket, request_id: str, now_ms: int) -> None:
        """The server has an open ticket with this key ("" for none)."""
        one.is_found = True
        if request_id:
            self.accepted(one, request_id, "", now_ms)
        elif one.ended_ms:
            del self.tickets[one.key]  # over, and the server never took it
        else:
            one.due_ms = now_ms

    def posting(self, one: Ticket) -> None:
        """A POST is about to go out: from now on the server may have it."""
        one.is_found = False
        one.posts += 1

    def accepted(self, one: Ticket, request_id: str, token: str, now_ms: int) -> None:
        """The server took it: with a number, or a token for one."""
        one.failures, one.problem = 0, ""
        if not request_id:
            one.state, one.token = TOKEN, token
            one.due_ms = now_ms + round(1000 * self.settings.retry_s)
            return
        one.request_id, one.state, one.closed_by_staff_ms = request_id, OPEN, 0
        one.due_ms = now_ms + round(1000 * self.settings.look_s)
        if one.ended_ms:
            self._end(one, now_ms)

    def looked(self, one: Ticket, status: str, now_ms: int) -> None:
        """The server says "open" or "closed" of a ticket, or "" when it does not know it."""
        one.failures, one.problem = 0, ""
        one.due_ms = now_ms + round(1000 * self.settings.look_s)
        if status == "open":
            one.closed_by_staff_ms = 0
            if one.state == LOCAL and now_ms - one.ended_ms > _LOCAL_MS:
                del self.tickets[one.key]
            return
        if one.state == LOCAL:
            del self.tickets[one.key]
            return
        # Closed by staff, while here it is still broken. If it broke anew since, that is a new
        # one; else staff get a day.
        one.closed_by_staff_ms = one.closed_by_staff_ms or now_ms
        if one.since_ms > one.closed_by_staff_ms or now_ms - one.closed_by_staff_ms >= _AGAIN_MS:
            self._anew(one, now_ms)

    def _anew(self, one: Ticket, now_ms: int) -> None:
        one.state, one.request_id, one.token, one.update = WANT, "", "", ""
        one.is_found, one.closed_by_staff_ms, one.due_ms, one.posts = False, 0, now_ms, 0
        one.number += 1

    def closed(self, one: Ticket) -> None:
        """The server took the closing update."""
        del self.tickets[one.key]

    def failed(self, one: Ticket, problem: str, now_ms: int, *, patient: bool = False) -> None:
        """It did not work; `patient` where only a person can mend it."""
        one.problem = problem
        one.is_found = False
        one.failures = min(one.failures + 1, 30)
        longest = self.settings.retry_max_s
        pause = (
            longest if patient else min(longest, self.settings.retry_s * 2 ** (one.failures - 1))
        )
        one.due_ms = now_ms + round(1000 * pause)

    def refused_close(self, one: Ticket) -> None:
        """The server has no such update: it is closed here, and looked at like a plain one's."""
        one.state, one.failures = LOCAL, 0
        one.due_ms = one.ended_ms + round(1000 * self.settings.look_s)


def key_line(ticket: Ticket) -> str:
    """What stands at the end of a description, and is looked for."""
    return f"[tukad:{ticket.key}]"


def has_key(description: str, ticket: Ticket) -> bool:
    """Whether a description is that of this ticket."""
    return ticket.key in _KEY.findall(description)


def describe(ticket: Ticket, place: str, at: str) -> str:
    """The text of a ticket: cause, what to bring, place, since when; Indonesian, then English."""
    cause = CAUSES[ticket.cause]
    again = f" ({ticket.number})" if ticket.number > 1 else ""
    lines = [
        f"{ticket.device}: {cause.what_id}{again}.",
        f"Bawa: {cause.bring_id}.",
        f"Lokasi: {place}. Sejak {at}.",
        "",
        f"{ticket.device}: {cause.what_en}{again}.",
        f"Bring: {cause.bring_en}.",
        f"Place: {place}. Since {at}. Found by: {ticket.evidence}.",
        "",
        key_line(ticket),
    ]
    return "\n".join(lines)


def open_keys(tickets: Sequence[Ticket]) -> list[str]:
    """The keys of tickets that the city has open."""
    return [one.key for one in tickets if one.state == OPEN]
