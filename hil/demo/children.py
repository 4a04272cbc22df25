"""Child processes of the demo that never outlive it: `Child`.

Each child gets a process group of its own, so that Ctrl-C reaches the demo alone and the demo ends
its children in order; should the demo be killed, the kernel ends them (PR_SET_PDEATHSIG).
"""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LINE_MAX = 1 << 20


def _die_with_parent() -> None:
    """In the child, before exec: ask the kernel for SIGTERM when the parent is gone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ChildFailedError(Exception):
    """A child ended that should be running; the text is its last words."""


class Child:
    """One process: its standard output goes line by line to `on_line`, its log to a file."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(
        self, on_line: Callable[[str], None], env: Mapping[str, str] | None = None
    ) -> None:
        """Start it; OSError when the program cannot be run."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent,
                limit=_LINE_MAX,
            )
        self._reader = asyncio.create_task(self._read(on_line), name=f"{self.name} output")

    async def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process is not None and self._process.stdout is not None
        async for line in self._process.stdout:
            on_line(line.decode(errors="replace").rstrip("\n"))

    def check(self) -> None:
        """Raise `ChildFailedError` when the process is no longer running."""
        if self._process is not None and self._process.returncode is not None:
            raise ChildFailedError(
                f"{self.name} ended with exit code {self._process.returncode}: {self.last_words()}"
            )

    def last_words(self) -> str:
        """The last line that it wrote to its log."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1]
        return f"it said nothing; see {self._log}"

    async def stop(self, patience_s: float) -> None:
        """SIGTERM, then after `patience_s` SIGKILL to its whole group. Safe to call twice."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reader is not None:
            await self._reader
