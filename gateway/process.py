"""The process of `tukad gateway run`: `Process` runs one agent after another, one a configuration.

SIGHUP takes up the technician's file again; an operator's signed command puts another one on
trial. Either way a configuration that is wrong, cannot start or is not confirmed is given up for
the one before, and what is stored or under way is not touched (`gateway.handover`).
"""

import asyncio
import fcntl
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import IO

from gateway.agent import Agent, StartError
from gateway.auditlog import FOLDER as AUDIT
from gateway.auditlog import AuditLog
from gateway.config import ConfigError
from gateway.handover import Handover
from gateway.remote.envelope import Command, Refused
from gateway.remote.trials import Trials
from gateway.remote.words import answer_topic, answered
from gateway.settings import Loaded, Settings, load

log = logging.getLogger("tukad.config")

_DISK_S = 1.0  # so often a disk that took nothing is tried again

# What no command may change: where the gateway is, and which program it runs.
_LOCAL = ("gateway.site", "gateway.data_dir", "broker.mosquitto")


def lock(folder: Path) -> IO[str]:
    """Take a data directory for this process; it ends with the file. Raises StartError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise StartError(f"gateway.data_dir = {folder}: {error}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    except BlockingIOError:
        file.close()
        raise StartError(f"gateway.data_dir = {folder}: another agent is running on it") from None
    except OSError as error:  # the number in the file is for people only
        log.warning("lock.number error=%r", str(error))
    return file


class Process:
    """Agents in a row; a `gateway.handover.Changes` for their operators."""

    def __init__(self, loaded: Loaded) -> None:
        self._ground = loaded  # the technician's file
        self._file = loaded.file
        self._folder = loaded.settings.gateway.data_dir
        self.trials = Trials(self._folder, self._file)
        self.last_change = ""
        self._over = Handover(AuditLog(self._folder / AUDIT), self)
        self._current = loaded
        self._before = loaded  # what runs again when a trial ends badly
        self._next: Loaded | None = None
        self._stop = asyncio.Event()
        self._asked: Command | None = None  # whose change is on trial
        self._failing: frozenset[str] = frozenset()  # parts that failed before the trial
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_ready = False
        self._was_ready = False  # some agent of this process was
        self._is_waiting = False  # a reload, for the disk

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises StartError or ConfigError when it cannot start."""
        held = lock(self._folder)
        why = "an error"
        try:
            self._begin()
            self._over.note("agent.started", version=self._version, pid=os.getpid())
            await self._run()
            why = "asked to"
        finally:
            self._cancel_timer()
            self._over.note("agent.stopped", why=why)
            await self._over.close_broker()
            await asyncio.to_thread(self._over.close)
            held.close()

    @property
    def _version(self) -> int:
        version = self.trials.trial or self.trials.confirmed
        return version.number if version else 0

    def _begin(self) -> None:
        """Find what is in force; end a trial that a restart interrupted."""
        try:
            found = self.trials.open()
        except OSError as error:
            log.error("config.state error=%r; the file is in force", str(error))
            self._current = self._ground
            return
        if found.broken:
            log.error("config.state error=%r; the file is in force", found.broken)
            self._over.note("config.broken", why=found.broken)
        if found.reverted is not None:
            number, by = found.reverted.number, found.reverted.by
            self.last_change = f"version {number} reverted: restarted before it was confirmed"
            log.warning("config.reverted version=%d by=%s error='restarted in between'", number, by)
            self._over.note("config.reverted", why=self.last_change, version=number, by=by)
        if found.overruled is not None:
            self._overruled(found.overruled.number)
        self._current = self._chosen()

    def _overruled(self, number: int) -> None:
        self.last_change = f"version {number} put aside: the file on the gateway changed"
        log.warning("config.overruled version=%d; the file %s changed", number, self._file)
        self._over.note("config.overruled", "local", self.last_change, version=number)

    def _chosen(self) -> Loaded:
        """The configuration in force; the file when what came from afar can no longer be used."""
        try:
            text = self.trials.text()
            return self._ground if text is None else load(self._file, text)
        except (OSError, ConfigError) as error:
            log.error("config.unusable error=%r; the file is in force", str(error))
            self._over.note("config.unusable", why=str(error), version=self._version)
            return self._ground

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        fallback: Loaded | None = None
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        while True:
            self._stop.clear()
            self._next = None
            failure = await self._run_agent()
            if failure is not None:
                if self.trials.trial is not None:
                    self._revert("gateway", _words(failure))
                elif self._was_ready and self._disk_error:
                    await asyncio.sleep(_DISK_S)
                    self._next = None if self._stop.is_set() else self._current
                elif fallback is not None:
                    log.error("config.reverted error=%r", str(failure))
                    self._over.note("config.reverted", "local", str(failure))
                    self._next = fallback
                else:
                    raise failure
            if self._next is None:
                return
            fallback = None if failure is not None else self._current
            self._current = self._next

    async def _run_agent(self) -> Exception | None:
        """Run one agent to its end; the error that ended it."""
        self._is_ready = False
        agent = Agent(self._current, self._over, self._ready)
        self._running = asyncio.create_task(agent.run(self._stop))
        try:
            await self._running
        except (StartError, ConfigError) as error:
            return error
        except asyncio.CancelledError:
            if self.trials.trial is None and self._next is None:
                raise
            return None
        except Exception as error:
            if self.trials.trial is None:
                raise
            log.exception("config.trial")
            return error
        return None

    def _ready(self) -> None:
        """The agent of this configuration runs."""
        self._is_ready = self._was_ready = True
        trial = self.trials.trial
        if trial is not None and self._asked is not None:
            self._tell(True, "trial", "it runs; confirm it, or it is taken back", trial.number)

    def _end(self) -> None:
        self._next = None
        self._stop.set()

    # The technician's file

    def _reload(self) -> None:
        if self._disk_error:
            # A start writes; the agent that runs holds on to what it polls until then.
            if not self._is_waiting:
                log.warning("config.waits error=%r; free some space", self._disk_error)
            self._is_waiting = True
            asyncio.get_running_loop().call_later(_DISK_S, self._reload)
            return
        self._is_waiting = False
        try:
            ground = load(self._file)
            folder = ground.settings.gateway.data_dir
            if folder != self._folder:
                raise ConfigError(f"{self._file}: gateway.data_dir: restart the agent to change it")
            overruled = self.trials.reload()
        except (ConfigError, OSError) as error:
            log.error("config.refused error=%r; the present one goes on", str(error))
            self._over.note("config.refused", "local", str(error))
            return
        if overruled is not None:
            self._cancel_timer()
            self._overruled(overruled.number)
        self._ground = ground
        log.info("config.reload file=%s", self._file)
        self._over.note("config.reload", "local", version=self._version)
        self._next = self._chosen()
        self._stop.set()

    @property
    def _disk_error(self) -> str:
        ledger = self._over.ledger
        return ledger.disk_error if ledger is not None else ""

    # From afar

    def text(self) -> str:
        """The configuration in force, as TOML. Raises OSError."""
        return self.trials.text() or self._file.read_text()

    async def propose(self, text: str, ask: Command, failing: frozenset[str]) -> int:
        """Put a configuration on trial. Raises Refused."""
        if self.trials.trial is not None:
            number = self.trials.trial.number
            raise Refused("state", f"version {number} is on trial; confirm or take it back first")
        try:
            loaded = load(self._file, text)
        except ConfigError as error:
            raise Refused("args", str(error)) from None
        if self._disk_error:
            raise Refused("disk", f"{self._disk_error}; free some space first")
        self._check_local(loaded.settings, ask.operator)
        try:
            version = await asyncio.to_thread(self.trials.begin, text, ask.operator, ask.reason)
        except OSError as error:
            raise Refused("disk", f"the configuration cannot be kept: {error}") from None
        self._asked, self._failing = ask, failing
        self._over.note(
            "config.trial", ask.operator, ask.reason, version=version.number, command=ask.command
        )
        log.warning("config.trial version=%d by=%s", version.number, ask.operator)
        remote = self._current.settings.remote
        confirm_s = remote.confirm_s if remote else 300.0
        self._timer = asyncio.get_running_loop().call_later(confirm_s, self._time_out, confirm_s)
        self._before = self._current
        self._next = loaded
        self._stop.set()
        return version.number

    def _check_local(self, settings: Settings, operator: str) -> None:
        for key in _LOCAL:
            section, name = key.split(".")
            old = getattr(getattr(self._current.settings, section), name)
            new = getattr(getattr(settings, section), name)
            if old != new:
                raise Refused("args", f"{key} can only be changed in the file on the gateway")
        people = settings.remote.operator if settings.remote else ()
        before = self._current.settings.remote
        own = [one for one in before.operator if one.name == operator] if before else []
        if not any(
            replace(one, role=own[0].role) == own[0] and one.role != "viewer"
            for one in people
            if own
        ):
            raise Refused("args", "remote.operator: you could not confirm this configuration")

    async def confirm(self, version: int, by: str, failing: frozenset[str]) -> None:
        """The trial holds. Raises Refused."""
        trial = self.trials.trial
        if trial is None:
            last = f"; {self.last_change}" if self.last_change else ""
            raise Refused("state", f"nothing is on trial{last}")
        if version != trial.number:
            raise Refused("state", f"version {trial.number} is on trial, not {version}")
        worse = sorted(failing - self._failing)
        if worse:
            raise Refused("state", f"not healthy: {', '.join(worse)} fails")
        try:
            self.trials.confirm()
        except OSError as error:
            raise Refused("disk", f"the confirmation cannot be kept: {error}") from None
        self._cancel_timer()
        self.last_change = f"version {version} confirmed by {by}"
        log.warning("config.confirmed version=%d by=%s", version, by)
        self._over.note("config.confirmed", by, version=version)

    async def take_back(self, by: str, reason: str) -> None:
        """End the trial. Raises Refused."""
        if self.trials.trial is None:
            raise Refused("state", "nothing is on trial")
        self._revert(by, reason or "taken back")

    def _time_out(self, after_s: float) -> None:
        if self.trials.trial is None:
            return
        self._revert("gateway", f"not confirmed within {after_s:g} s")
        if not self._is_ready and self._running is not None:
            self._running.cancel()  # it hangs in its start

    def _revert(self, by: str, reason: str) -> None:
        self._cancel_timer()
        trial = self.trials.trial
        assert trial is not None
        try:
            self.trials.revert()
        except OSError as error:
            log.error("config.state error=%r", str(error))
        self.last_change = f"version {trial.number} reverted: {reason}"
        log.error("config.reverted version=%d by=%s error=%r", trial.number, by, reason)
        self._over.note("config.reverted", by, reason, version=trial.number)
        self._tell(False, "reverted", self.last_change, trial.number)
        self._next = self._before
        self._stop.set()

    def _tell(self, is_ok: bool, code: str, text: str, version: int) -> None:
        """Answer the operator whose change it is."""
        if self._asked is None:
            return
        ask = self._asked
        topic, body = (
            answer_topic(ask.operator),
            answered(ask, is_ok, code, text, {"version": version}),
        )
        self._over.answers.append((topic, body))
        known = self._over.answered.get((ask.operator, ask.number))
        if known is not None:  # what came twice gets the last word
            self._over.answered[ask.operator, ask.number] = (known[0], topic, body)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _words(error: Exception) -> str:
    if isinstance(error, StartError | ConfigError):
        return str(error)
    return f"{type(error).__name__}: {error}"
