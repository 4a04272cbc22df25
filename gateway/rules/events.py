"""Alarms from what a device reports by itself: SOS, man overboard, tamper, siren; `EventRule`.

A device repeats an event until it is heard, so each is told by its kind and number and raises one
alarm. "Cancel" clears every open SOS and man overboard of the device. A siren without sound raises
one alarm, whatever its retries say, until it proves itself again. A drill is marked as one.
"""

from collections.abc import Mapping
from typing import Any

from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm, Reading
from gateway.rules.settings import SCHEMES, AlarmSettings
from gateway.rules.stages import Site
from protocols.payload.event import (
    EVENT_FAULT,
    EVENT_GEOFENCE,
    EVENT_LAST_GASP,
    EVENT_MOB,
    EVENT_SIREN,
    EVENT_SOS,
    EVENT_SOS_CANCEL,
    EVENT_STAGE,
    EVENT_TAMPER,
    PROOF_BOTH,
    PROOF_CURRENT,
    PROOF_FAILED,
    PROOF_MICROPHONE,
    event_name,
)

STREAM = "event"
_NUMBERS = 256  # events of a device are counted modulo 256
_REPEAT_MS = 6 * 3_600_000  # the same number later than this is a new event

# kind: level, Indonesian, English
_KINDS = {
    EVENT_SOS: (3, "SOS", "SOS"),
    EVENT_MOB: (3, "orang jatuh ke laut", "man overboard"),
    EVENT_TAMPER: (2, "alat diganggu", "tampered with"),
    EVENT_SIREN: (2, "sirene tidak berbunyi", "the siren gave no sound"),
    EVENT_LAST_GASP: (1, "daya habis", "power is gone"),
    EVENT_FAULT: (1, "gangguan alat", "device fault"),
    EVENT_GEOFENCE: (1, "melewati batas wilayah", "crossed a fence"),
}
_CALLS = ("sos", "mob")
_PROVED = (PROOF_CURRENT, PROOF_MICROPHONE, PROOF_BOTH)


class EventRule:
    """Events of all devices."""

    def __init__(self, alarm: AlarmSettings, site: Site, staged: frozenset[str]) -> None:
        self._names = SCHEMES[alarm.scheme]
        self._site = site
        self._staged = staged  # devices whose stage is decided here, not by themselves
        self._heard: dict[str, int] = {}  # "device/kind/number" -> time_ms
        self._open: dict[str, str] = {}  # "device/kind" -> incident

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {"heard": self._heard, "open": self._open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self._heard = dict(state["heard"])
        self._open = dict(state["open"])

    def feed(self, reading: Reading, decided_ms: int) -> Alarm | None:
        """Take one event; return the alarm it causes, if any."""
        kind = reading.values.get("kind", 0)
        name = event_name(kind)
        key = f"{reading.device}/{name}/{reading.values.get('number', 0) % _NUMBERS}"
        heard_ms = self._heard.get(key)
        if heard_ms is not None and abs(reading.time_ms - heard_ms) < _REPEAT_MS:
            return None
        self._heard[key] = reading.time_ms
        self._forget(reading.time_ms)
        if kind == EVENT_STAGE:
            return self._stage(reading, decided_ms)
        if kind == EVENT_SOS_CANCEL:
            return self._cancel(reading, decided_ms)
        if kind == EVENT_SIREN and self._is_told(reading):
            return None
        if kind == EVENT_SIREN and reading.values.get("proof") in _PROVED:
            incident = self._open.pop(f"{reading.device}/{name}")
            words = ("sirene terbukti berbunyi", "the siren proved its sound")
            return self._alarm(reading, decided_ms, name, CLEARED, 0, incident, words)
        if kind not in _KINDS or not self._is_alarming(kind, reading):
            return None
        level, text_id, text_en = _KINDS[kind]
        incident = f"{reading.device}/{name}/{reading.time_ms}"
        if name in _CALLS or kind == EVENT_SIREN:
            self._open[f"{reading.device}/{name}"] = incident
        return self._alarm(reading, decided_ms, name, RAISED, level, incident, (text_id, text_en))

    def _is_alarming(self, kind: int, reading: Reading) -> bool:
        return not (kind == EVENT_FAULT and reading.values.get("is_cleared"))

    def _is_told(self, reading: Reading) -> bool:
        """Whether a siren's event says what is known: failed again, or proved as ever."""
        is_open = f"{reading.device}/{event_name(EVENT_SIREN)}" in self._open
        proof = reading.values.get("proof")
        return is_open if proof == PROOF_FAILED else not (is_open and proof in _PROVED)

    def _forget(self, now_ms: int) -> None:
        if len(self._heard) > 1000:
            kept = {k: t for k, t in self._heard.items() if now_ms - t < _REPEAT_MS}
            self._heard = kept

    def _cancel(self, reading: Reading, decided_ms: int) -> Alarm | None:
        for name in _CALLS:
            incident = self._open.pop(f"{reading.device}/{name}", None)
            if incident is not None:
                words = ("batal", "cancelled")
                return self._alarm(reading, decided_ms, name, CLEARED, 0, incident, words)
        return None

    def _stage(self, reading: Reading, decided_ms: int) -> Alarm | None:
        """The device's own decision, where the gateway has no thresholds for it."""
        if reading.device in self._staged:
            return None
        stage = reading.values.get("stage", 0)
        before = reading.values.get("previous_stage", 0)
        if stage == before or not 0 <= stage <= 3:
            return None
        key = f"{reading.device}/stage"
        if before == 0 or key not in self._open:
            self._open[key] = f"{reading.device}/stage/{reading.time_ms}"
        incident = self._open[key]
        event = ESCALATED if before else RAISED
        if stage < before:
            event = LOWERED if stage else CLEARED
        if stage == 0:
            del self._open[key]
        words = (self._names[stage], self._names[stage])
        return self._alarm(reading, decided_ms, "stage", event, stage, incident, words)

    def _alarm(
        self,
        reading: Reading,
        decided_ms: int,
        kind: str,
        event: str,
        level: int,
        incident: str,
        words: tuple[str, str],
    ) -> Alarm:
        at = self._site.clock(reading.time_ms)
        lat, lon = reading.values.get("lat_e5"), reading.values.get("lon_e5")
        place = "" if lat is None or lon is None else f" ({lat / 1e5:.5f}, {lon / 1e5:.5f})"
        drill = ("LATIHAN: ", "DRILL: ") if reading.values.get("is_drill") else ("", "")
        return Alarm(
            incident=incident,
            device=reading.device,
            kind=kind,
            event=event,
            level=level,
            name=self._names[level] if kind == "stage" else words[1],
            time_ms=reading.time_ms,
            decided_ms=decided_ms,
            sequence=reading.sequence,
            values=dict(reading.values),
            text_id=f"{drill[0]}{reading.device}: {words[0]}, pukul {at}{place}.",
            text_en=f"{drill[1]}{reading.device}: {words[1]}, at {at}{place}.",
        )
