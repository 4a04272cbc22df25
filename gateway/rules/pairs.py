"""Two sensors at one place that do not agree: `PairRule`. A fault to mend, never a siren.

Compared are readings of the same time (within one usual interval); three disagreements in a row
raise it, three agreements clear it. Which of the two is wrong only a person with a staff gauge can
tell; `gateway.rules.stages` goes on with both meanwhile.
"""

from collections.abc import Mapping
from typing import Any

from gateway.model import CLEARED, RAISED, Alarm, Reading
from gateway.rules.settings import Stages

_NEEDED = 3
_APART_MS_MIN = 30_000
_STEEP_MM_MIN = 100


class PairRule:
    """Disagreement of two sensors; `first` names the place and the alarm."""

    kind = "sensors_disagree"

    def __init__(self, first: str, second: str, stages: Mapping[str, Stages]) -> None:
        self.first, self.second = first, second
        self._values = {name: stages[name].value for name in (first, second)}
        self._apart_mm = stages[first].apart_mm
        self._last: dict[str, tuple[int, int]] = {}  # time_ms, level
        self._gap_ms: dict[str, int] = {}
        self._run = 0  # comparisons in a row that speak against the present state
        self.incident = ""  # empty while they agree

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "last": self._last,
            "gap_ms": self._gap_ms,
            "run": self._run,
            "incident": self.incident,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self._last = {name: (t, v) for name, (t, v) in state["last"].items()}
        self._gap_ms = dict(state["gap_ms"])
        self._run = state["run"]
        self.incident = state["incident"]

    def feed(self, reading: Reading, decided_ms: int) -> Alarm | None:
        """Take a reading of either; the alarm when they begin or cease to disagree."""
        device = reading.device
        if device not in self._values:
            return None
        value = reading.values.get(self._values[device])
        last = self._last.get(device)
        if value is None or (last is not None and 0 <= last[0] - reading.time_ms < 600_000):
            return None
        if last is not None:
            self._gap_ms[device] = reading.time_ms - last[0]
        self._last[device] = (reading.time_ms, value)
        other = self._last.get(self.second if device == self.first else self.first)
        if other is None:
            return None
        since_ms = abs(reading.time_ms - other[0])
        if since_ms > max(_APART_MS_MIN, *self._gap_ms.values(), 0):
            return None
        allowed = self._apart_mm + _STEEP_MM_MIN * since_ms // 60_000
        is_apart = abs(value - other[1]) > allowed
        if is_apart == bool(self.incident):
            self._run = 0
            return None
        self._run += 1
        if self._run < _NEEDED:
            return None
        self._run = 0
        return self._alarm(reading, is_apart, decided_ms)

    def _alarm(self, reading: Reading, is_apart: bool, decided_ms: int) -> Alarm:
        if is_apart:
            self.incident = f"{self.first}/{self.kind}/{reading.time_ms}"
        incident = self.incident
        if not is_apart:
            self.incident = ""
        one, two = (self._last[name][1] for name in (self.first, self.second))
        pair = f"{self.first} {one} mm, {self.second} {two} mm"
        if is_apart:
            text_id = f"Dua sensor tidak sama: {pair}. Bandingkan dengan papan duga."
            text_en = f"Two sensors disagree: {pair}. Compare both with the staff gauge."
        else:
            text_id, text_en = f"Dua sensor sama lagi: {pair}.", f"Two sensors agree again: {pair}."
        return Alarm(
            incident=incident,
            device=self.first,
            kind=self.kind,
            event=RAISED if is_apart else CLEARED,
            level=1 if is_apart else 0,
            name="sensors disagree" if is_apart else "sensors agree",
            time_ms=reading.time_ms,
            decided_ms=decided_ms,
            sequence=reading.sequence,
            values={"first_mm": one, "second_mm": two, "apart_mm": abs(one - two)},
            text_id=text_id,
            text_en=text_en,
        )
