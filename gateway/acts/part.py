"""`Act`, the base of everything that acts on alarms and readings; `Context`, what it may use.

An act is one module in this package with one section in the configuration. The agent runs it as a
supervised part of its own: when it fails, it alone is started again, and no other part waits.

`handle` gets every alarm once, in order, also those that were decided while the agent was down:
the number of the last one handled is kept in the ledger after `handle` returned
(`gateway.acts.runner`).
So a crash in between handles an alarm twice: what an act does must be harmless when done again.
An old alarm may come late (`alarm.decided_ms`): each act says for how long it still matters.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.clock import WallClock
from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Stored
from gateway.lorawan.service import NetworkServerService
from gateway.model import Alarm, Fault
from gateway.sinks.messages import Messages

if TYPE_CHECKING:
    from gateway.settings import Settings


# What runs a signed command of an operator (docs/remote.md): takes the command's arguments as they
# came (check every one of them), returns what the answer tells, as JSON. ValueError refuses: its
# text is the reason that the operator reads. It may be a coroutine function.
CommandHandler = Callable[[Mapping[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the agent lends its acts."""

    settings: "Settings"
    file: Path  # the configuration; paths in it start at its folder
    ledger: Ledger  # `get_state`/`set_state` under "act/NAME/..." keep what must survive
    clock: WallClock
    messages: Messages  # small MQTT messages below tukad/SITE/
    service: NetworkServerService | None  # to queue downlinks; None without [lorawan]
    faults: Callable[[], Sequence[Fault]]  # everything that is degraded now
    raise_alarms: Callable[[Sequence[Alarm]], None]  # makes alarms of an act durable and public

    @property
    def site(self) -> str:
        """The site's name."""
        return self.settings.gateway.site

    @property
    def data_dir(self) -> Path:
        """Where files are kept."""
        return self.settings.gateway.data_dir


class Act:
    """Does nothing by itself; an act overrides what it needs."""

    name = ""  # short, unique, stable: the key of its state in the ledger

    async def handle(self, number: int, alarm: Alarm) -> None:
        """Act on an alarm; return when that is done or safely queued.

        `number` is the alarm's in the ledger, or 0 while the disk takes nothing. Raises OSError
        to be called again after a pause with the same alarm.
        """

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """See readings that just became durable, of any origin and order. Must return at once."""

    async def run(self) -> None:
        """Work of its own (timers, servers, retries), until cancelled."""

    def faults(self) -> Mapping[tuple[str, str], str]:
        """What is degraded: (stable dotted code, subject) -> detail with what to do."""
        return {}

    def commands(self) -> Mapping[str, tuple[str, CommandHandler]]:
        """Commands that operators may send: name -> (least role, handler).

        The role is "viewer", "operator" or "admin". The command's full name is NAME.name with the
        name of the act. Signature, replay, expiry and role are checked before, and every command
        is in the audit log.
        """
        return {}

    def counters(self) -> Mapping[str, int]:
        """Counted since the start; a name that begins with "now_" is a gauge."""
        return {}
