"""From water levels to stages: `StageRule`, one for each place that has thresholds; `Site`.

A stage begins with the first believed reading at its threshold (`gateway.rules.vote`), and ends
when the level has stayed below threshold minus hysteresis for the hold time; it falls to the
highest stage that was supported meanwhile, so that no wave toggles a siren. Quality flags play no
part: a sensor that a test calls suspect may be telling of the flood of the century.

Two sensors at one place: the higher of the believed levels counts, each goes on alone when the
other falls silent, and a jump that a living sensor beside it does not see waits much longer.

A node's float switch is a sensor too: it counts as the highest stage when the level agrees, or
when the node's next frame says so again, or when there is no level.

The rule is a state machine over (reading) events; time comes from the readings. Readings older than
the newest one seen of their sensor change nothing: history fills the ledger, it does not raise
alarms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm, Reading
from gateway.rules.outlook import Outlook
from gateway.rules.settings import SCHEMES, AlarmSettings, Stages
from gateway.rules.texts import stage_texts
from gateway.rules.trend import WINDOWS_MIN, Trend, minutes_to, rate_values
from gateway.rules.vote import NOISE_MM, Vote

_AHEAD_MS = 600_000  # no honest clock is further ahead of ours
_FRESH_MS = 1_800_000  # a sensor that was silent for so long has no say
_CONTRADICTED_MS = 3 * 3_600_000  # a jump must last so long when the sensor beside it sees none
_REACH_MM_MAX = 200
_STILL = 60  # readings that are the same to the millimetre: such a sensor contradicts nobody
_EVENT, _FLOOD = "event", "flood"
_AWAS = 3


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the texts of an alarm need to know of the place."""

    utc_offset_h: float = 8.0
    zone: str = "WITA"

    def clock(self, time_ms: int) -> str:
        """Local time of day, such as "14:03 WITA"."""
        local = datetime.fromtimestamp(time_ms / 1000, UTC) + timedelta(hours=self.utc_offset_h)
        return f"{local:%H:%M} {self.zone}"


class _Member:
    """One sensor of the place."""

    def __init__(self, stages: Stages) -> None:
        base = stages.waspada_mm
        self.vote = Vote(stages.low_mm, stages.high_mm, base, stages.steep_mm_min)
        self.time_ms = 0  # of the newest reading
        self.raw_mm: int | None = None
        self.still = 0  # readings in a row that are the same to the millimetre
        self.contradicted_ms: int | None = None  # since when the other sensor sees no jump
        self.is_wet = False  # its float switch spoke
        self.is_floating = False  # and was confirmed

    def take(self, time_ms: int, value_mm: int) -> None:
        self.still = self.still + 1 if value_mm == self.raw_mm else 0
        self.raw_mm = value_mm
        self.time_ms = time_ms

    def to_state(self) -> dict[str, Any]:
        return {
            "vote": self.vote.to_state(),
            "time_ms": self.time_ms,
            "raw_mm": self.raw_mm,
            "still": self.still,
            "contradicted_ms": self.contradicted_ms,
            "is_wet": self.is_wet,
            "is_floating": self.is_floating,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.vote.restore(state["vote"])
        self.time_ms = state["time_ms"]
        self.raw_mm = state["raw_mm"]
        self.still = state["still"]
        self.contradicted_ms = state["contradicted_ms"]
        self.is_wet = state["is_wet"]
        self.is_floating = state["is_floating"]


class StageRule:
    """Stages of one place, with hysteresis. `device` is its first sensor and names its alarms."""

    kind = "stage"

    def __init__(
        self,
        device: str,
        stages: Stages,
        alarm: AlarmSettings,
        site: Site,
        others: Mapping[str, Stages] | None = None,
    ) -> None:
        self.device = device
        self._limits = stages.limits_mm
        self._stages = stages
        self._names = SCHEMES[alarm.scheme]
        self._confirmations = alarm.confirmations
        self._site = site
        self._members = {device: _Member(stages)}
        self._members |= {name: _Member(one) for name, one in (others or {}).items()}
        self._value_of = {device: stages.value}
        self._value_of |= {name: one.value for name, one in (others or {}).items()}
        self.trend = Trend()
        self.level = 0
        self.incident = ""
        self.value_mm: int | None = None
        self.time_ms = 0  # of the newest reading seen
        self._above = 0  # readings in a row that ask for a higher stage
        self._below_ms: int | None = None  # since when the level is below the hysteresis
        self._kept = 0  # highest stage that a reading supported since then

    @property
    def devices(self) -> Sequence[str]:
        """The sensors of the place."""
        return tuple(self._members)

    @property
    def name(self) -> str:
        """The present stage in the site's scheme."""
        return self._names[self.level]

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "level": self.level,
            "incident": self.incident,
            "time_ms": self.time_ms,
            "value_mm": self.value_mm,
            "above": self._above,
            "below_ms": self._below_ms,
            "kept": self._kept,
            "trend": self.trend.to_state(),
            "members": {name: one.to_state() for name, one in self._members.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off; state of an older version lacks what came later."""
        self.level = state["level"]
        self.incident = state["incident"]
        self.time_ms = state["time_ms"]
        self.value_mm = state["value_mm"]
        self._above = state["above"]
        self._below_ms = state["below_ms"]
        self._kept = state["kept"]
        self.trend.restore(state.get("trend", ()))
        for name, member in state.get("members", {}).items():
            if name in self._members:
                self._members[name].restore(member)

    def outlook(self) -> Outlook | None:
        """What can be said of the next hours; None before the first believed reading."""
        if self.value_mm is None:
            return None
        rates = [rate for rate in map(self.trend.rate, WINDOWS_MIN) if rate is not None]
        minutes = None
        best = self.trend.best()
        if self.level < _AWAS:
            minutes = minutes_to(self.value_mm, self._limits[self.level], best)
        return Outlook(
            device=self.device,
            time_ms=self.time_ms,
            level_mm=self.value_mm,
            stage=self.level,
            name=self.name,
            next_name="" if self.level >= _AWAS else self._names[self.level + 1],
            next_mm=None if self.level >= _AWAS else self._limits[self.level],
            rates=tuple(rates),
            rate=best,
            minutes=minutes,
        )

    def feed(self, reading: Reading, decided_ms: int) -> Alarm | None:
        """Take one reading; return the alarm it causes, if any."""
        member = self._members.get(reading.device)
        if member is None:
            return None
        if max(self.time_ms, member.time_ms) > decided_ms + _AHEAD_MS:
            # A clock was wrong: it must not make us deaf until its date comes.
            self.time_ms = 0
            for one in self._members.values():
                one.time_ms = 0
        value = reading.values.get(self._value_of[reading.device])
        by_float = self._is_float(member, reading, value)
        believed = None
        if value is not None and self._is_news(member, reading, value):
            believed = self._believed(member, reading, value)
            self.time_ms = max(self.time_ms, reading.time_ms)
        if believed is not None:
            self.value_mm = self._level_of_place(reading.time_ms)
            self.trend.add(self.time_ms, self.value_mm)
        if by_float:
            return self._awas_by_float(reading, decided_ms)
        if believed is None or self.value_mm is None:
            return None
        return self._step(self.value_mm, reading, decided_ms)

    def _is_news(self, member: _Member, reading: Reading, value: int) -> bool:
        """Whether a reading is newer than what the sensor said before.

        Times of frames are rounded: an event may carry the time of the frame before it, and a
        frame that stands in for a lost event that of the reading before. A higher level at the
        same time is news; the same one is no second vote.
        """
        since_ms = reading.time_ms - member.time_ms
        if since_ms != 0:
            return since_ms > 0
        return reading.stream == _EVENT or (member.raw_mm is not None and value > member.raw_mm)

    def _step(self, value: int, reading: Reading, decided_ms: int) -> Alarm | None:
        if any(one.is_floating for one in self._members.values()):
            value = max(value, self._limits[-1])
        reached = self._reached(value, 0)
        if reached > self.level:
            self._below_ms = None
            self._above += 1
            if self._above < self._confirmations + self._waves(value, reading):
                return None
            event = RAISED if self.level == 0 else ESCALATED
            return self._change(event, reached, reading, decided_ms)
        self._above = 0
        if self.level == 0:
            return None
        kept = self._reached(value, self._stages.hysteresis_mm)
        if kept >= self.level:
            self._below_ms = None
            return None
        if self._below_ms is None:
            self._below_ms = reading.time_ms
            self._kept = kept
        self._below_ms = min(self._below_ms, reading.time_ms)  # a clock may be set back
        self._kept = max(self._kept, kept)
        if reading.time_ms - self._below_ms < self._stages.hold_s * 1000:
            return None
        event = CLEARED if self._kept == 0 else LOWERED
        return self._change(event, self._kept, reading, decided_ms)

    def _waves(self, value: int, reading: Reading) -> int:
        """1 where the crest of one wave could look like the stage: a second reading must say so."""
        member = self._members[reading.device]
        if member.is_floating or member.vote.has_agreed or _is_filtered(reading):
            return 0
        noise = member.vote.noise_mm
        return int(noise > NOISE_MM and value < self._limits[self.level] + 2 * noise)

    # The sensors

    def _believed(self, member: _Member, reading: Reading, value: int) -> int | None:
        """The member's level if this reading made it one that is believed."""
        time_ms = reading.time_ms
        member.take(time_ms, value)
        partner = self._partner(member, time_ms)
        can_tell = partner is not None and not partner.vote.is_raving(time_ms)
        partner_mm = partner.raw_mm if partner is not None and can_tell else None
        if self._is_contradicted(member, partner, reading, value):
            return None
        stages = self._reached(value, 0) - self.level
        return member.vote.feed(
            time_ms, value, is_filtered=_is_filtered(reading), partner_mm=partner_mm, stages=stages
        )

    def _is_contradicted(
        self, member: _Member, partner: _Member | None, reading: Reading, value: int
    ) -> bool:
        """Whether a jump is seen by this sensor alone, and not yet for long enough."""
        time_ms = reading.time_ms
        is_alone = (
            partner is not None
            and partner.raw_mm is not None
            and partner.vote.level_mm is not None
            and partner.still < _STILL
            and abs(partner.raw_mm - value) > self._stages.apart_mm
            and value - partner.vote.level_mm > self._reach_mm(partner, time_ms)
            and not member.vote.would_continue(time_ms, value, is_filtered=_is_filtered(reading))
        )
        if not is_alone:
            member.contradicted_ms = None
            return False
        if member.contradicted_ms is None or member.contradicted_ms > time_ms:
            member.contradicted_ms = time_ms
        return time_ms - member.contradicted_ms < _CONTRADICTED_MS

    def _reach_mm(self, partner: _Member, time_ms: int) -> int:
        """How far the water may be above what the other sensor said when it last spoke."""
        since_min = max(0, time_ms - partner.time_ms) / 60_000
        return self._stages.apart_mm + min(
            round(self._stages.steep_mm_min * since_min), _REACH_MM_MAX
        )

    def _partner(self, member: _Member, time_ms: int) -> _Member | None:
        """Another sensor of the place that spoke lately."""
        for one in self._members.values():
            if one is not member and one.time_ms and time_ms - one.time_ms < _FRESH_MS:
                return one
        return None

    def _level_of_place(self, time_ms: int) -> int:
        """The highest that is believed of any sensor that is not silent."""
        levels = [
            one.vote.level_mm
            for one in self._members.values()
            if one.vote.level_mm is not None and time_ms - one.vote.time_ms < _FRESH_MS
        ]
        return max(levels)

    def _is_float(self, member: _Member, reading: Reading, value: int | None) -> bool:
        """Note what the float switch says; True when that makes it the highest stage.

        It must be said twice, unless the level agrees or there is none: the node's event, then its
        next frame, whose stage is the highest as long as the switch is wet.
        """
        values = reading.values
        if values.get("is_float_switch"):
            is_near = value is None or value >= self._limits[-1] - self._stages.hysteresis_mm
            member.is_floating = member.is_wet or is_near
            member.is_wet = True
        elif "stage" in values and reading.stream in (_FLOOD, _EVENT):
            if values["stage"] < _AWAS:
                member.is_wet = member.is_floating = False
            elif member.is_wet:
                member.is_floating = True
        return member.is_floating and self.level < _AWAS

    def _awas_by_float(self, reading: Reading, decided_ms: int) -> Alarm | None:
        self.time_ms = max(self.time_ms, reading.time_ms)
        return self._change(RAISED if self.level == 0 else ESCALATED, _AWAS, reading, decided_ms)

    # The alarm

    def _reached(self, value: int, margin: int) -> int:
        return sum(value >= limit - margin for limit in self._limits)

    def _change(self, event: str, level: int, reading: Reading, decided_ms: int) -> Alarm:
        if event == RAISED:
            self.incident = f"{self.device}/{self.kind}/{reading.time_ms}"
        before, self.level = self.level, level
        self._above = 0
        self._below_ms = None
        outlook = self.outlook()
        rate, minutes = (None, None) if outlook is None else (outlook.rate, outlook.minutes)
        level_mm = reading.values.get(self._value_of[reading.device], self.value_mm)
        names = (self._names[level], self._names[before])
        texts = stage_texts(
            event, self.device, names, level_mm, self._site.clock(reading.time_ms), outlook
        )
        return Alarm(
            incident=self.incident,
            device=self.device,
            kind=self.kind,
            event=event,
            level=level,
            name=self._names[level],
            time_ms=reading.time_ms,
            decided_ms=decided_ms,
            sequence=reading.sequence,
            values={**reading.values, **rate_values(rate, minutes)},
            text_id=texts[0],
            text_en=texts[1],
        )


def _is_filtered(reading: Reading) -> bool:
    """Whether one of our nodes measured it: a burst, its median, and again when it jumped."""
    return reading.stream == _EVENT or (reading.stream == _FLOOD and reading.link is not None)
