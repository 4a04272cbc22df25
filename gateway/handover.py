"""What one agent leaves to the next one of the same process when the configuration changes.

The ledger stays open: on a full disk it could not be opened again. The broker of its own goes on
when its settings did not change: the embedded one would forget its clients. Readings that a source
has and the disk has not are offered to the ledger by the next agent. The audit log goes on.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gateway.auditlog import AuditLog
from gateway.broker import LocalBroker
from gateway.clock import now_ms
from gateway.ledger.ledger import Ledger
from gateway.ledger.retention import Retention
from gateway.ledger.schema import LedgerFullError
from gateway.model import Accept, Reading
from gateway.remote.envelope import Command
from gateway.remote.trials import Trials
from gateway.sinks.settings import BrokerSettings

log = logging.getLogger("tukad.agent")

_HELD_MAX = 50_000


class Changes(Protocol):
    """Who changes the configuration of the process; implemented by `gateway.process.Process`.

    Refusals are `gateway.remote.envelope.Refused`.
    """

    trials: Trials
    last_change: str  # what became of the last change, for people

    def text(self) -> str:
        """The configuration in force, as TOML."""
        ...

    async def propose(self, text: str, ask: Command, failing: frozenset[str]) -> int:
        """Check a configuration, put it on trial and switch to it soon; returns its version.

        `failing` are the parts that fail already: the trial must not add to them.
        """
        ...

    async def confirm(self, version: int, by: str, failing: frozenset[str]) -> None:
        """The trial holds."""
        ...

    async def take_back(self, by: str, reason: str) -> None:
        """End the trial, switch back soon."""
        ...


class Handover:
    """Belongs to the process; each agent takes from it and leaves in it."""

    def __init__(self, audit: AuditLog, changes: Changes | None = None) -> None:
        self.audit = audit
        self.changes = changes
        self.held: list[Reading] = []
        self.answers: list[tuple[str, bytes]] = []  # topic and payload, for the next agent
        # By operator and number: the message, the answer's topic and the answer.
        self.answered: dict[tuple[str, int], tuple[bytes, str, bytes]] = {}
        self.lost = 0
        self.ledger: Ledger | None = None
        self._key: object = None
        self._broker: LocalBroker | None = None
        self._broker_key: object = None

    def open_ledger(self, folder: Path, keep: Retention, sinks: Sequence[str]) -> Ledger:
        """The open ledger of this folder. Raises sqlite3.Error or OSError."""
        key = (folder, keep, tuple(sinks))
        if self.ledger is not None and key == self._key:
            return self.ledger
        self.close()
        ledger = Ledger(folder, keep, sinks)
        ledger.open()
        self.ledger, self._key = ledger, key
        return ledger

    def close(self) -> None:
        """Close the ledger; repeats are harmless. Blocks while what waits is written."""
        ledger, self.ledger = self.ledger, None
        if ledger is not None:
            ledger.close()

    async def open_broker(self, kind: str, settings: BrokerSettings, folder: Path) -> LocalBroker:
        """The running broker of this machine; the one before, if it is the same: its clients and
        their sessions stay. Raises BrokerError."""
        key = (kind, settings, folder)
        if self._broker is not None and key == self._broker_key and self._broker.is_running:
            return self._broker
        await self.close_broker()
        broker = LocalBroker(kind, settings, folder)
        await broker.start()
        self._broker, self._broker_key = broker, key
        return broker

    async def close_broker(self) -> None:
        """End the broker; repeats are harmless."""
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.stop()

    def leave(self, readings: Sequence[Reading]) -> None:
        """Readings that are not on disk yet; of too many the oldest go, and are counted."""
        self.held.extend(readings)
        over = len(self.held) - _HELD_MAX
        if over > 0:
            del self.held[:over]
            self.lost += over

    def next_sequence(self, device: str, stream: str) -> int:
        """One more than the highest number among the held readings of a stream, or 0."""
        numbers = (
            one.sequence for one in self.held if one.device == device and one.stream == stream
        )
        return 1 + max(numbers, default=-1)

    def note(self, event: str, who: str = "", why: str = "", **what: object) -> None:
        """An entry in the audit log, now."""
        self.audit.note(now_ms(), event, who, why, **what)

    async def hand_over(self, accept: Accept) -> None:
        """Offer the held readings until the disk has them."""
        while self.held:
            waiting = list(self.held)
            lost = self.lost
            try:
                await accept(waiting)
            except LedgerFullError:
                await asyncio.sleep(1)
                continue
            del self.held[: max(0, len(waiting) - (self.lost - lost))]
            log.info("handover.stored readings=%d", len(waiting))
