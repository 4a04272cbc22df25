"""Which alarms belong together and what is to be said of them: `Incidents`, without I/O.

All gauges of a river share one incident from the first stage to the last all-clear; a call for
help, a silent siren and a closed road are incidents of their own. Each change is a `Draft` of a CAP
message: Alert, then Update, then Cancel. An Update or Cancel refers to every earlier message of
the incident that has not expired (CAP 1.2, 3.2.1 `references`); where none stands any more, the
next message is an Alert again.

An alarm that was already taken is not taken again, and the identifier of a message is worked out
from its alarm, so that a crash between issuing and noting it makes no second alert.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gateway.acts.cap.settings import CapSettings
from gateway.model import CLEARED, ESCALATED, RAISED, Alarm

ALERT, UPDATE, CANCEL = "Alert", "Update", "Cancel"
_NAMESPACE = uuid.UUID("6f1c6f0e-7d0a-5b0e-9a39-0d9b1f0c9a51")
_PLAUSIBLE_MS = 1_735_689_600_000  # 2025-01-01: no alarm is older
_AHEAD_MS = 120_000  # a message that was sent further ahead than this was sent by a wrong clock
_SETTLE_MS = 10_000  # a late alarm waits so long for the ones behind it
_DONE_MAX = 200


@dataclass(frozen=True, slots=True)
class Topic:
    """What CAP says of a kind of alarm; the last tuple is by level 0..3."""

    name: str  # one of settings.TOPICS
    code: str  # OASIS Event Terms List 1.2
    category: str
    scope: str
    lasts: bool  # until it is cleared; else it ends with the message's expiry
    grades: tuple[tuple[str, str, str, str], ...]  # severity, urgency, certainty, response


_OVER = ("Minor", "Past", "Observed", "AllClear")
_HELP = ("Severe", "Immediate", "Observed", "Execute")
_FLOOD = Topic(
    "flood",
    "OET-081",
    "Met",
    "Public",
    True,
    (
        _OVER,
        ("Minor", "Expected", "Likely", "Prepare"),
        ("Severe", "Expected", "Observed", "Prepare"),
        ("Extreme", "Immediate", "Observed", "Evacuate"),
    ),
)
_ROAD = ("Moderate", "Immediate", "Observed", "Avoid")
_SIREN = ("Moderate", "Immediate", "Observed", "Assess")
_SYSTEM = Topic("system", "", "Infra", "Restricted", False, (_OVER, *[_SIREN] * 3))
_CLOSED = Topic("road", "OET-165", "Transport", "Public", True, (_OVER, *[_ROAD] * 3))
KINDS = {
    "stage": _FLOOD,
    "sos": Topic("rescue", "OET-162", "Rescue", "Restricted", True, (_OVER, *[_HELP] * 3)),
    "mob": Topic("rescue", "OET-139", "Rescue", "Restricted", True, (_OVER, *[_HELP] * 3)),
    "siren": _SYSTEM,
    "siren_silent": _SYSTEM,
    "siren_dead": _SYSTEM,
    "siren_failed": _SYSTEM,
    "road": _CLOSED,
    "road_closed": _CLOSED,
    "closure": _CLOSED,
    "junction_closed": _CLOSED,
}
_SILENT = "silent"


def topic_of(kind: str) -> Topic | None:
    """The topic of a kind of alarm, or None if nobody is alerted to it."""
    return KINDS.get(kind.replace("-", "_"))


@dataclass(frozen=True, slots=True)
class Moment:
    """The wall clock, and whether anybody has set it."""

    now_ms: int
    is_clock_set: bool = True


@dataclass(slots=True, kw_only=True)
class Member:
    """A device in an incident, as its last alarm told."""

    device: str
    incident: str  # of the alarm
    level: int
    name: str
    time_ms: int
    values: dict[str, int]
    text_id: str
    text_en: str
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that went out."""

    identifier: str
    sent_ms: int
    expires_ms: int


@dataclass(slots=True, kw_only=True)
class _Incident:
    id: str
    kind: str
    status: str
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    past: dict[str, Member] = field(default_factory=dict[str, Member])
    chain: list[Sent] = field(default_factory=list[Sent])
    count: int = 0
    owed_ms: int | None = None  # a message is owed at this time, for a late alarm
    is_ack_owed: bool = False

    @property
    def level(self) -> int:
        return max((one.level for one in self.members.values()), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What one CAP message says; times in Unix ms, whole seconds."""

    identifier: str
    incident: str
    kind: str
    topic: Topic
    msg_type: str
    status: str
    sent_ms: int
    expires_ms: int
    references: Sequence[Sent]
    level: int
    members: Sequence[Member]  # worst first; of a Cancel those that took part
    is_clock_set: bool
    needs_ack: bool


def _slug(text: str) -> str:
    return (
        "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-") or "x"
    )


def _status(alarm: Alarm, wanted: str) -> str:
    if alarm.values.get("is_test"):
        return "Test"
    if alarm.values.get("is_drill"):
        return "Exercise"
    topic = topic_of(alarm.kind)
    is_ours = wanted == "Actual" and topic is not None and topic.name == "system"
    return "System" if is_ours else wanted  # CAP: for the alerting network itself


def alarm_key(alarm: Alarm) -> str:
    """What makes two copies of an alarm the same."""
    parts = (alarm.incident, alarm.event, alarm.level, alarm.time_ms, alarm.sequence)
    return "|".join(str(part) for part in parts)


class Incidents:
    """All incidents that last, and the alarms that were taken."""

    def __init__(self, settings: CapSettings) -> None:
        self._settings = settings
        self._open: dict[str, _Incident] = {}  # by group: the river, or the alarm's incident
        self._done: dict[str, None] = {}  # keys of alarms, oldest first
        self.late = 0  # alarms too old for an alert of their own

    @property
    def lasting(self) -> list[str]:
        """Ids of the incidents that last."""
        return [one.id for one in self._open.values()]

    def feed(self, alarm: Alarm, now: Moment, *, is_stored: bool = True) -> list[Draft]:
        """Take an alarm; return the messages that it asks for now, mostly one or none."""
        key = alarm_key(alarm)
        if key in self._done:
            return []
        topic = topic_of(alarm.kind)
        if topic is None:
            return self._silence(alarm, key, now) if alarm.kind == _SILENT else []
        self._done[key] = None
        while len(self._done) > _DONE_MAX:
            del self._done[next(iter(self._done))]
        age_ms = now.now_ms - alarm.decided_ms
        is_late = (
            is_stored
            and now.is_clock_set
            and alarm.decided_ms > _PLAUSIBLE_MS
            and age_ms > self._settings.late_min * 60_000
        )
        if alarm.event == CLEARED or alarm.level == 0:
            return self._clear(alarm, key, now)
        if is_late:
            self.late += 1
            if not topic.lasts:
                return []
        group = self._group(alarm)
        if group not in self._open:
            self._open[group] = self._new(alarm)
        incident = self._open[group]
        is_silent = alarm.device in incident.members and incident.members[alarm.device].is_silent
        incident.members[alarm.device] = _member(alarm, is_silent)
        incident.past.pop(alarm.device, None)
        is_worse = alarm.event in (RAISED, ESCALATED)
        if is_late:
            incident.owed_ms = now.now_ms + _SETTLE_MS
            incident.is_ack_owed |= is_worse
            return []
        return [self._message(incident, key, now, needs_ack=is_worse)]

    def due(self, now: Moment) -> list[Draft]:
        """The messages that time alone asks for; call it every few seconds."""
        drafts: list[Draft] = []
        for group, incident in list(self._open.items()):
            last = incident.chain[-1] if incident.chain else None
            is_wrong = (
                last is not None and now.is_clock_set and last.sent_ms > now.now_ms + _AHEAD_MS
            )
            if not KINDS[incident.kind].lasts:
                if last is None or is_wrong or last.expires_ms <= now.now_ms:
                    del self._open[group]
                continue
            owed_ms = incident.owed_ms
            is_owed = owed_ms is not None and not now.now_ms < owed_ms <= now.now_ms + _SETTLE_MS
            margin_ms = round(self._settings.reissue_min * 60_000)
            is_ending = last is not None and now.now_ms >= last.expires_ms - margin_ms
            if is_owed or is_ending or is_wrong:
                key = f"{incident.id}|{incident.count}"
                drafts.append(self._message(incident, key, now, needs_ack=incident.is_ack_owed))
        return drafts

    def _silence(self, alarm: Alarm, key: str, now: Moment) -> list[Draft]:
        """A gauge in an incident is heard no more, or again: people must know which."""
        is_silent = alarm.event != CLEARED
        drafts: list[Draft] = []
        for incident in self._open.values():
            member = incident.members.get(alarm.device)
            if incident.kind == "stage" and member is not None and member.is_silent != is_silent:
                member.is_silent = is_silent
                if incident.chain:
                    drafts.append(self._message(incident, key, now, needs_ack=False))
        return drafts

    def _clear(self, alarm: Alarm, key: str, now: Moment) -> list[Draft]:
        """A drill may be cleared without a word of being one: the alarm's incident tells."""
        drafts: list[Draft] = []
        for group, incident in list(self._open.items()):
            member = incident.members.get(alarm.device)
            if member is None or member.incident != alarm.incident:
                continue
            del incident.members[alarm.device]
            incident.past[alarm.device] = _member(alarm, False)
            if not incident.members:
                del self._open[group]
            if incident.chain:  # else nobody was told that it began, or that is still owed
                drafts.append(self._message(incident, key, now, needs_ack=False))
        return drafts

    def end(self, incident: str, device: str, why: tuple[str, str], now: Moment) -> list[Draft]:
        """A person ends an incident, or one gauge's part of it; `why` in Indonesian and English.

        For gauges that the flood destroyed: they never clear what they began. Should one speak
        again at a stage, that is a new Alert. Raises KeyError when there is no such incident.
        """
        group = next((key for key, one in self._open.items() if one.id == incident), None)
        if group is None:
            raise KeyError(incident)
        found = self._open[group]
        if device and device not in found.members:
            raise KeyError(device)
        for name in [device] if device else list(found.members):
            member = found.members.pop(name)
            # What was last measured there is not what the river does now.
            found.past[name] = replace(
                member, values={}, time_ms=now.now_ms, text_id=why[0], text_en=why[1]
            )
        if not found.members:
            del self._open[group]
        if not found.chain:
            return []
        return [self._message(found, f"{incident}|end|{found.count}", now, needs_ack=False)]

    def members_of(self, incident: str) -> list[str]:
        """The devices of an incident that lasts."""
        return [name for one in self._open.values() if one.id == incident for name in one.members]

    def _group(self, alarm: Alarm) -> str:
        status = _status(alarm, self._settings.status)
        if alarm.kind != "stage":
            return f"{status}/{alarm.incident}"
        gauge = self._settings.gauge_of(alarm.device)
        return f"{status}/river/{gauge.river or gauge.place or gauge.name}"

    def _new(self, alarm: Alarm) -> _Incident:
        status = _status(alarm, self._settings.status)
        gauge = self._settings.gauge_of(alarm.device)
        what = (gauge.river or gauge.place or gauge.name) if alarm.kind == "stage" else alarm.device
        # A drill has another one than the flood that may come during it.
        name = f"{self._settings.sender}|{status}|{alarm.incident}"
        unique = uuid.uuid5(_NAMESPACE, name).hex[:8]
        kind = alarm.kind.replace("-", "_")
        return _Incident(id=f"{_slug(kind)}-{_slug(what)}-{unique}", kind=kind, status=status)

    def _message(self, incident: _Incident, key: str, now: Moment, *, needs_ack: bool) -> Draft:
        members = incident.members or incident.past
        sent_ms = self._sent_ms(incident, list(members.values()), now)
        expires_ms = sent_ms + round(self._settings.expires_min * 60) * 1000
        standing = [one for one in incident.chain if one.expires_ms > sent_ms]
        if not incident.members:
            msg_type = CANCEL
            standing = standing or incident.chain[-1:]
        else:
            msg_type = UPDATE if standing else ALERT
        name = f"{self._settings.sender}|{incident.id}|{key}"
        draft = Draft(
            identifier=f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}",
            incident=incident.id,
            kind=incident.kind,
            topic=KINDS[incident.kind],
            msg_type=msg_type,
            status=incident.status,
            sent_ms=sent_ms,
            expires_ms=expires_ms,
            references=standing,
            level=incident.level,
            members=sorted(members.values(), key=lambda one: (-one.level, one.device)),
            is_clock_set=now.is_clock_set,
            needs_ack=needs_ack and msg_type != CANCEL,
        )
        incident.chain = [*standing, Sent(draft.identifier, sent_ms, expires_ms)]
        incident.count += 1
        incident.owed_ms = None
        incident.is_ack_owed = False
        return draft

    def _sent_ms(self, incident: _Incident, members: Sequence[Member], now: Moment) -> int:
        """Now; with an unset clock at least the time of the sample; later than the one before."""
        time_ms = now.now_ms
        if not now.is_clock_set:
            time_ms = max(time_ms, *(one.time_ms for one in members))
        time_ms -= time_ms % 1000
        if incident.chain:
            last_ms = incident.chain[-1].sent_ms
            if not now.is_clock_set or last_ms <= time_ms + _AHEAD_MS:
                time_ms = max(time_ms, last_ms + 1000)
        return time_ms

    # State

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "open": {group: asdict(one) for group, one in self._open.items()},
            "done": list(self._done),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self._done = dict.fromkeys(state["done"])
        self._open = {group: _incident(one) for group, one in state["open"].items()}


def _member(alarm: Alarm, is_silent: bool) -> Member:
    return Member(
        device=alarm.device,
        incident=alarm.incident,
        level=alarm.level,
        name=alarm.name,
        time_ms=alarm.time_ms,
        values=dict(alarm.values),
        text_id=alarm.text_id,
        text_en=alarm.text_en,
        is_silent=is_silent,
    )


def _incident(state: Mapping[str, Any]) -> _Incident:
    values = dict(state)
    for name in ("members", "past"):
        values[name] = {key: Member(**one) for key, one in values[name].items()}
    values["chain"] = [Sent(**one) for one in values["chain"]]
    return _Incident(**values)


__all__ = ["ALERT", "CANCEL", "UPDATE", "Draft", "Incidents", "Member", "Moment", "Sent", "Topic"]
