"""`Rules`: every rule of the site, what they decide, and how they survive a restart.

The state of a rule is stored in the same transaction as the alarm it raised, together with the
number of the last reading it saw; after a crash `recover` feeds the readings that came after it.
So a crash between "reading stored" and "alarm stored" delays an alarm by the restart, and neither
loses nor repeats it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.ledger.store import Store, Stored
from gateway.model import Alarm, Reading
from gateway.rules.stages import StageRule

_CHUNK = 1000
_CHECKPOINT = 500  # readings of one device between two saved states: bounds what recovery reads


class Rules:
    """The rules by device."""

    def __init__(self, rules: Iterable[StageRule]) -> None:
        self._rules = {rule.device: rule for rule in rules}
        self._seen: dict[str, int] = {}  # device -> number of the last reading fed
        self._saved: dict[str, int] = {}
        self._fed: dict[str, int] = {}  # readings since the state was saved

    @property
    def stages(self) -> Mapping[str, StageRule]:
        """The stage rules by device, for the status."""
        return self._rules

    def recover(self, store: Store, now_ms: int) -> list[tuple[int, Alarm]]:
        """Restore every rule and decide on what was stored but not yet decided."""
        missed: list[tuple[int, Alarm]] = []
        for device, rule in self._rules.items():
            state: dict[str, Any] | None = store.get_state(f"stage/{device}")
            if state is not None:
                rule.restore(state)
                self._seen[device] = state["seen"]
            while rows := store.since(device, self._seen.get(device, 0), _CHUNK):
                for row in rows:
                    self._seen[device] = row.id
                    alarm = rule.feed(row.reading, now_ms)
                    if alarm is not None:
                        missed.append((store.add_alarm(alarm), alarm))
            self.save(store, device)
        return missed

    def decide(self, stored: Iterable[Stored], now_ms: int) -> list[Alarm]:
        """Feed readings that are on disk; return the alarms to store and publish."""
        alarms: list[Alarm] = []
        for one in sorted(stored, key=lambda s: s.reading.time_ms):
            rule = self._rules.get(one.reading.device)
            if rule is None:
                continue
            device = rule.device
            self._seen[device] = max(self._seen.get(device, 0), one.id)
            self._fed[device] = self._fed.get(device, 0) + 1
            alarm = rule.feed(one.reading, now_ms)
            if alarm is not None:
                alarms.append(alarm)
        return alarms

    def decide_unstored(self, readings: Iterable[Reading], now_ms: int) -> list[Alarm]:
        """The same while the disk takes nothing: a full disk must not silence a siren."""
        return self.decide([Stored(0, reading) for reading in readings], now_ms)

    def is_due(self, devices: Iterable[str]) -> bool:
        """Whether a state should be saved although nothing changed."""
        return any(self._fed.get(device, 0) >= _CHECKPOINT for device in devices)

    def save(self, store: Store, device: str) -> None:
        """Keep a device's state; call it in the transaction that stores its alarm."""
        rule = self._rules.get(device)
        if rule is not None:
            state = rule.to_state() | {"seen": self._seen.get(device, 0)}
            store.set_state(f"stage/{device}", state)
            self._fed[device] = 0
