"""Takes operators' commands: `Desk`, a part of the agent named "remote".

Topics below tukad/SITE/ (docs/remote.md):

    command             in: one signed command a message (`gateway.remote.envelope`)
    answer/OPERATOR     out: what became of it
    config              out, retained: which configuration is in force and which is on trial

Commands are done one after another. A command whose number is used up is never done again, over
restarts too, because the number is on disk before the command is begun. The broker may deliver
twice: the very same message again gets the very same answer again.
"""

import asyncio
import contextlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway.acts.part import CommandHandler
from gateway.clock import WallClock, now_ms
from gateway.handover import Handover
from gateway.ledger.schema import LedgerFullError
from gateway.remote.envelope import Command, Gate, Refused, allows
from gateway.remote.files import write_durably
from gateway.remote.settings import Operator, RemoteSettings
from gateway.remote.trials import FOLDER
from gateway.remote.words import answer_topic, answered
from gateway.sinks.messages import Messages
from protocols.errors import LocalError

log = logging.getLogger("tukad.remote")

# They start another agent: a second answer, "trial" or "reverted", comes from that one.
SWITCHING = ("config.set", "config.file", "thresholds.set", "config.revert")

_WAITING_MAX = 32
_KNOWN_MAX = 32
_FORGED_PER_MIN = 10  # so many forged messages are answered and logged; the rest is counted
_HANDLER_S = 60.0
_SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A command that this gateway knows."""

    role: str
    run: CommandHandler
    doc: str = ""


@dataclass(slots=True)
class Counters:
    """Counted since the start; names are metric labels."""

    done: int = 0
    refused: int = 0
    forged: int = 0
    dropped: int = 0  # came while too many waited


# Most handlers need not know who asks; these get the whole command.
AskHandler = Callable[[Command, Operator], Any]


class Desk:
    """One agent's desk for its operators."""

    def __init__(
        self,
        settings: RemoteSettings,
        site: str,
        data_dir: Path,
        messages: Messages,
        clock: WallClock,
        over: Handover,
    ) -> None:
        self._numbers = data_dir / FOLDER / "numbers.json"
        self._messages = messages
        self._clock = clock
        self._over = over
        self._gate = Gate(site, settings.operator, settings.expiry_s_max, self._read_numbers())
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_MAX)
        self._offers: dict[str, Offer] = {}
        self._asks: dict[str, tuple[str, AskHandler, str]] = {}
        self._forged: list[float] = []
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.counters = Counters()
        messages.subscribe("command", self._take)

    def offer(self, name: str, role: str, run: CommandHandler, doc: str = "") -> None:
        """Know a command."""
        self._offers[name] = Offer(role, run, doc)

    def offer_asked(self, name: str, role: str, run: AskHandler, doc: str = "") -> None:
        """Know a command whose handler gets the command and the operator."""
        self._asks[name] = (role, run, doc)

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Every command known here with its least role and what it does."""
        found = {name: (one.role, one.doc) for name, one in self._offers.items()}
        return found | {name: (role, doc) for name, (role, _, doc) in self._asks.items()}

    async def run(self) -> None:
        """Answer until cancelled."""
        self.publish_config()
        while self._over.answers:
            self._messages.publish(*self._over.answers.pop(0))
        while True:
            message = await self._waiting.get()
            self._is_idle.clear()
            try:
                await self._do(message)
            finally:
                self._is_idle.set()

    async def settle(self) -> None:
        """Wait, a little, until the command in hand is answered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await self._is_idle.wait()

    def publish_config(self) -> None:
        """Say which configuration is in force."""
        changes = self._over.changes
        if changes is None:
            return
        trials = changes.trials
        body = {
            "tukad_config": 1,
            "version": trials.confirmed.number if trials.confirmed else 0,
            "by": trials.confirmed.by if trials.confirmed else "local",
            "trial": None
            if trials.trial is None
            else {
                "version": trials.trial.number,
                "by": trials.trial.by,
                "reason": trials.trial.reason,
            },
            "last_change": changes.last_change,
        }
        self._messages.publish("config", json.dumps(body).encode(), retain=True)

    def _take(self, _topic: str, payload: bytes) -> None:
        try:
            self._waiting.put_nowait(payload)
        except asyncio.QueueFull:
            self.counters.dropped += 1

    # One command

    async def _do(self, message: bytes) -> None:
        try:
            command, operator = self._gate.open(message)
        except Refused as refusal:
            self._forgery(refusal, len(message))
            return
        known = self._over.answered.get((operator.name, command.number))
        if known is not None and known[0] == message:
            self._messages.publish(*known[1:])
            return
        is_ok, code, text = True, "done", ""
        result: Mapping[str, Any] = {}
        try:
            await self._admit(command, operator)
            result = await self._dispatch(command, operator)
            code = "switching" if command.command in SWITCHING else "done"
        except Refused as refusal:
            is_ok, code, text = False, refusal.code, refusal.text
        if is_ok:
            self.counters.done += 1
            log.info("remote.done command=%s by=%s", command.command, operator.name)
        else:
            self.counters.refused += 1
            log.warning(
                "remote.refused command=%s by=%s code=%s reason=%r",
                command.command,
                operator.name,
                code,
                text,
            )
        if code != "replayed":
            # A replay is counted and logged, but must not fill the audit log.
            noting = asyncio.to_thread(self._note, command, operator, code, text)
            await asyncio.shield(asyncio.ensure_future(noting))
        answer = (answer_topic(operator.name), answered(command, is_ok, code, text, result))
        if code != "replayed":
            self._remember(command, message, answer)
        self._messages.publish(*answer)
        if command.command.startswith("config."):
            self.publish_config()

    async def _admit(self, command: Command, operator: Operator) -> None:
        """Use up the command's number, on disk. Raises Refused."""
        is_set = self._clock.time_source() != "unknown"
        before = dict(self._gate.numbers)
        self._gate.admit(command, operator, now_ms() if is_set else None)
        text = json.dumps(self._gate.numbers).encode()
        try:
            await asyncio.to_thread(self._write_numbers, text)
        except OSError as error:
            self._gate.numbers = before
            raise Refused("disk", f"the number of the command cannot be kept: {error}") from None

    def _write_numbers(self, text: bytes) -> None:
        self._numbers.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._numbers, text)

    def _read_numbers(self) -> dict[str, int]:
        try:
            body = cast("dict[str, Any]", json.loads(self._numbers.read_bytes()))
            return {str(key): int(value) for key, value in body.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.error("remote.numbers error=%r; only the expiry guards against replay", str(error))
            return {}

    async def _dispatch(self, command: Command, operator: Operator) -> Mapping[str, Any]:
        offer, ask = self._offers.get(command.command), self._asks.get(command.command)
        role = offer.role if offer else ask[0] if ask else None
        if role is None:
            raise Refused("command", f"there is no {command.command} here; commands.list names all")
        if not allows(operator, role):
            words = f"{command.command} needs the role {role}; {operator.name} is {operator.role}"
            raise Refused("role", words)
        try:
            async with asyncio.timeout(_HANDLER_S):
                if offer is not None:
                    found: Any = offer.run(command.args)
                else:
                    assert ask is not None
                    found = ask[1](command, operator)
                return await found if inspect.isawaitable(found) else found
        except Refused:
            raise
        except (ValueError, KeyError, TypeError) as error:
            words = str(error).strip("'\"") or type(error).__name__
            raise Refused("args", words) from None
        except LocalError as error:
            raise Refused("args", f"{error.code}: {error.detail}") from None
        except LedgerFullError as error:
            raise Refused("disk", str(error)) from None
        except (OSError, TimeoutError) as error:
            raise Refused("state", str(error) or "it took too long") from None

    def _note(self, command: Command, operator: Operator, code: str, text: str) -> None:
        args = command.args
        self._over.note(
            "command",
            operator.name,
            command.reason,
            command=command.command,
            args={key: value for key, value in args.items() if key != "text"},
            number=command.number,
            result=code,
            refused=text,
        )

    def _remember(self, command: Command, message: bytes, answer: tuple[str, bytes]) -> None:
        known = self._over.answered
        known[command.operator, command.number] = (message, *answer)
        while len(known) > _KNOWN_MAX:
            del known[next(iter(known))]

    def _forgery(self, refusal: Refused, size: int) -> None:
        self.counters.forged += 1
        now = asyncio.get_running_loop().time()
        self._forged = [at for at in self._forged if now - at < 60]
        if len(self._forged) >= _FORGED_PER_MIN:
            return
        self._forged.append(now)
        log.warning("remote.forged code=%s reason=%r bytes=%d", refusal.code, refusal.text, size)
        self._over.note("command.forged", why=refusal.text, bytes=size)
        body = {"tukad_answer": 1, "ok": False, "code": refusal.code, "text": refusal.text}
        self._messages.publish("answer/unknown", json.dumps(body).encode())
