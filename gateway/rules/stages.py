"""From water levels to stages: `StageRule`, one for each device that has thresholds.

A stage begins with the reading that reaches its threshold (or the n-th in a row, by `[alarm]
confirmations`), and ends when the level has stayed below threshold minus hysteresis for the hold
time; it falls to the highest stage that was supported meanwhile, so that no wave toggles a siren.
Quality flags play no part: a sensor that a test
calls suspect may be telling of the flood of the century.

The rule is a state machine over (reading) events; time comes from the readings. Readings older than
the newest one seen change nothing: history fills the ledger, it does not raise alarms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm, Reading
from gateway.rules.settings import SCHEMES, AlarmSettings, Stages

_AHEAD_MS = 600_000  # no honest clock is further ahead of ours


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the texts of an alarm need to know of the place."""

    utc_offset_h: float = 8.0
    zone: str = "WITA"

    def clock(self, time_ms: int) -> str:
        """Local time of day, such as "14:03 WITA"."""
        local = datetime.fromtimestamp(time_ms / 1000, UTC) + timedelta(hours=self.utc_offset_h)
        return f"{local:%H:%M} {self.zone}"


class StageRule:
    """Stages of one device, with hysteresis."""

    kind = "stage"

    def __init__(self, device: str, stages: Stages, alarm: AlarmSettings, site: Site) -> None:
        self.device = device
        self._limits = (stages.waspada_mm, stages.siaga_mm, stages.awas_mm)
        self._stages = stages
        self._names = SCHEMES[alarm.scheme]
        self._confirmations = alarm.confirmations
        self._site = site
        self.level = 0
        self.incident = ""
        self.value_mm: int | None = None
        self.time_ms = 0  # of the newest reading seen
        self._above = 0  # readings in a row that ask for a higher stage
        self._below_ms: int | None = None  # since when the level is below the hysteresis
        self._kept = 0  # highest stage that a reading supported since then

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
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self.level = state["level"]
        self.incident = state["incident"]
        self.time_ms = state["time_ms"]
        self.value_mm = state["value_mm"]
        self._above = state["above"]
        self._below_ms = state["below_ms"]
        self._kept = state["kept"]

    def feed(self, reading: Reading, decided_ms: int) -> Alarm | None:
        """Take one reading; return the alarm it causes, if any."""
        value = reading.values.get(self._stages.value)
        if value is None:
            return None
        if self.time_ms > decided_ms + _AHEAD_MS:
            self.time_ms = 0  # a clock was wrong: it must not make us deaf until its date comes
        if reading.time_ms <= self.time_ms:
            return None
        self.time_ms = reading.time_ms
        self.value_mm = value
        reached = self._reached(value, 0)
        if reached > self.level:
            self._below_ms = None
            self._above += 1
            if self._above < self._confirmations:
                return None
            event = RAISED if self.level == 0 else ESCALATED
            if event == RAISED:
                self.incident = f"{self.device}/{self.kind}/{reading.time_ms}"
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

    def _reached(self, value: int, margin: int) -> int:
        return sum(value >= limit - margin for limit in self._limits)

    def _change(self, event: str, level: int, reading: Reading, decided_ms: int) -> Alarm:
        before, self.level = self.level, level
        self._above = 0
        self._below_ms = None
        words = (self._names[level], self._names[before])
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
            values=dict(reading.values),
            text_id=_text_id(event, self.device, words, self.value_mm, self._site, reading),
            text_en=_text_en(event, self.device, words, self.value_mm, self._site, reading),
        )


def _metres(value_mm: int | None, comma: str) -> str:
    return "?" if value_mm is None else f"{value_mm / 1000:.2f}".replace(".", comma)


def _text_id(
    event: str, device: str, words: tuple[str, str], value: int | None, site: Site, reading: Reading
) -> str:
    now, before = words
    at = site.clock(reading.time_ms)
    height = f"muka air {_metres(value, ',')} m pukul {at}"
    if event in (RAISED, ESCALATED):
        return f"{now.upper()} di {device}: {height}, naik dari {before}."
    return f"{device} turun ke {now} dari {before}: {height}."


def _text_en(
    event: str, device: str, words: tuple[str, str], value: int | None, site: Site, reading: Reading
) -> str:
    now, before = words
    at = site.clock(reading.time_ms)
    height = f"water level {_metres(value, '.')} m at {at}"
    if event in (RAISED, ESCALATED):
        return f"{now.upper()} at {device}: {height}, up from {before}."
    return f"{device} down to {now} from {before}: {height}."
