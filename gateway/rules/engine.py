"""`Rules`: every rule of the site, what they decide, and how they survive a restart.

The state of a rule is stored in the same transaction as the alarm it raised, together with the
number of the last reading it saw; after a crash `recover` feeds the readings that came after it.
So a crash between "reading stored" and "alarm stored" delays an alarm by the restart, and neither
loses nor repeats it.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Protocol

from gateway.clock import tick_ms
from gateway.ledger.store import Store, Stored
from gateway.model import Alarm, Reading
from gateway.rules.events import STREAM, EventRule
from gateway.rules.forecast import Forecaster
from gateway.rules.outlook import Outlook
from gateway.rules.pairs import PairRule
from gateway.rules.silence import SilenceRule
from gateway.rules.stages import StageRule
from gateway.rules.thresholds import Thresholds
from gateway.rules.vote import Vote

_CHUNK = 1000
_CHECKPOINT = 500  # readings between two saved states of a rule: bounds what recovery reads
_REFILL = 20_000  # ledger numbers back in which the forecast looks for its past hours
_ANY_MM = 1 << 30
_EVENTS = "events"
_SILENCE = "silence"


class _Rule(Protocol):
    """What the engine asks of a rule over readings."""

    def feed(self, reading: Reading, decided_ms: int) -> Alarm | None: ...
    def to_state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


class _Track:
    """Where a rule stands in the ledger; `devices` is None for all, then of one stream."""

    def __init__(self, rule: _Rule, devices: Sequence[str] | None) -> None:
        self.rule = rule
        self.devices = devices
        self.seen = 0  # number of the last reading fed
        self.fed = 0  # readings since the state was saved

    def feed(self, one: Stored, now_ms: int) -> Alarm | None:
        self.seen = max(self.seen, one.id)
        self.fed += 1
        return self.rule.feed(one.reading, now_ms)

    def missed(self, store: Store) -> list[Stored]:
        """The next readings in the ledger that the rule has not seen, in order."""
        if self.devices is None:
            return store.since(None, STREAM, self.seen, _CHUNK)
        rows = [store.since(device, None, self.seen, _CHUNK) for device in self.devices]
        # Beyond the end of a full chunk another device's rows are not known yet to be next.
        end = min((part[-1].id for part in rows if len(part) == _CHUNK), default=None)
        merged = heapq.merge(*rows, key=attrgetter("id"))
        return [row for row in merged if end is None or row.id <= end]


class Rules:
    """The rules: stages by place, disagreeing sensors, events of all, silence of all."""

    def __init__(
        self,
        stages: Iterable[StageRule],
        events: EventRule,
        silence: SilenceRule,
        pairs: Iterable[PairRule] = (),
        thresholds: Thresholds | None = None,
        forecaster: Forecaster | None = None,
    ) -> None:
        stages, pairs = list(stages), list(pairs)
        self._tracks = {f"stage/{r.device}": _Track(r, r.devices) for r in stages}
        self._tracks |= {f"pair/{r.first}": _Track(r, (r.first, r.second)) for r in pairs}
        self._keys: dict[str, list[str]] = {}  # by device
        for key, track in self._tracks.items():
            for device in track.devices or ():
                self._keys.setdefault(device, []).append(key)
        self._tracks[_EVENTS] = _Track(events, None)
        self._changed: set[str] = set()  # keys whose state is to be saved
        self.stages: Mapping[str, StageRule] = {d: rule for rule in stages for d in rule.devices}
        self.silence = silence
        self._thresholds = thresholds
        self._forecaster = forecaster

    def outlook(self, device: str) -> Outlook | None:
        """Rate of rise and minutes to the next stage at a device's place, if it has stages."""
        rule = self.stages.get(device)
        found = None if rule is None else rule.outlook()
        forecaster = self._forecaster
        if found is None or forecaster is None or forecaster.model.target != found.device:
            return found
        return replace(found, forecast=forecaster.expect(found.time_ms))

    def _note(self, reading: Reading) -> None:
        """Levels as they are believed, and rain, for the forecast."""
        if self._forecaster is None:
            return
        device, time_ms = reading.device, reading.time_ms
        rule = self.stages.get(device)
        level = reading.values.get("level_mm") if rule is None else rule.value_mm
        if level is not None:
            name = device if rule is None else rule.device
            self._forecaster.feed_level(name, time_ms, level)
        self._forecaster.feed_rain(device, reading.values, time_ms)

    def recover(self, store: Store, now_ms: int) -> list[tuple[int, Alarm]]:
        """Restore every rule and decide on what was stored but not yet decided."""
        missed: list[tuple[int, Alarm]] = []
        for key, track in self._tracks.items():
            state: dict[str, Any] | None = store.get_state(key)
            if state is not None:
                track.rule.restore(state)
                track.seen = state["seen"]
            while rows := track.missed(store):
                for row in rows:
                    alarm = track.feed(row, now_ms)
                    if alarm is not None:
                        missed.append((store.add_alarm(alarm), alarm))
            self._changed.add(key)
        silence: dict[str, Any] | None = store.get_state(_SILENCE)
        if silence is not None:
            self.silence.restore(silence)
        if self._thresholds is not None:
            self._thresholds.keep(store, now_ms)
        self._refill(store)
        self.save(store)
        return missed

    def _refill(self, store: Store) -> None:
        """Give the forecast its past hours back; levels are voted on again."""
        if self._forecaster is None:
            return
        newest = max(track.seen for track in self._tracks.values())
        for device in self._forecaster.devices:
            vote = Vote(base_mm=_ANY_MM)
            rows = store.since(device, None, max(0, newest - _REFILL), _REFILL)
            for one in sorted((row.reading for row in rows), key=attrgetter("time_ms")):
                level = one.values.get("level_mm")
                believed = None if level is None else vote.feed(one.time_ms, level)
                if believed is not None:
                    self._forecaster.feed_level(device, one.time_ms, believed)
                self._forecaster.feed_rain(device, one.values, one.time_ms)

    def decide(self, stored: Iterable[Stored], now_ms: int) -> list[Alarm]:
        """Feed readings that are on disk; return the alarms to store and publish."""
        alarms: list[Alarm] = []
        for one in sorted(stored, key=lambda s: s.reading.time_ms):
            self.silence.heard(one.reading.device, tick_ms())
            keys = list(self._keys.get(one.reading.device, ()))
            if one.reading.stream == STREAM:
                keys.append(_EVENTS)
            for key in keys:
                track = self._tracks[key]
                alarm = track.feed(one, now_ms)
                if alarm is not None:
                    alarms.append(alarm)
                if alarm is not None or track.fed >= _CHECKPOINT:
                    self._changed.add(key)
            self._note(one.reading)
        return alarms

    def decide_unstored(self, readings: Iterable[Reading], now_ms: int) -> list[Alarm]:
        """The same while the disk takes nothing: a full disk must not silence a siren."""
        return self.decide([Stored(0, reading) for reading in readings], now_ms)

    def check_silence(self, now_ms: int) -> list[Alarm]:
        """Alarms of devices that fell silent or came back."""
        alarms = self.silence.check(tick_ms(), now_ms)
        if alarms:
            self._changed.add(_SILENCE)
        return alarms

    @property
    def is_unsaved(self) -> bool:
        """Whether `save` has something to do."""
        return bool(self._changed)

    def save(self, store: Store) -> None:
        """Keep what changed; call it in the transaction that stores the alarms."""
        for key in tuple(self._changed):
            if key == _SILENCE:
                store.set_state(key, self.silence.to_state())
            else:
                track = self._tracks[key]
                store.set_state(key, track.rule.to_state() | {"seen": track.seen})
                track.fed = 0

    def saved(self) -> None:
        """The transaction in which `save` ran is on disk."""
        self._changed.clear()
