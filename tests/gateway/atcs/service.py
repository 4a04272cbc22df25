"""A gateway configuration with one quick junction, and its process."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from tests.gateway.atcs.rig import ROOT
from tests.gateway.peers import die_with_parent

NAME = "kumbasari"


def write(
    folder: Path,
    board_port: int = 0,
    *,
    junction: str = "",
    more: str = "",
    mqtt: str = "",
    flood: bool = False,
) -> Path:
    """gateway.toml, plan.toml and, with a board, cabinet.toml in `folder`."""
    plan = (ROOT / "deploy/atcs/kumbasari.toml").read_text()
    plan = plan.replace(
        'start = "A"', 'start = "A"\nstartup_flash_s = 0\nstartup_red_s = 2\nwatchdog_s = 5'
    )
    plan = plan.replace("open_stage = 0", "open_stage = 0\nlost_after_s = 86400")
    if not flood:
        plan = plan[: plan.index("[[flood]]")]
    head, tail = plan.split("[[day]]", 1)
    del tail
    rest = plan[plan.index("[[preempt]]") :]
    (folder / "plan.toml").write_text(head + rest)
    cabinet = ""
    if board_port:
        wires = (ROOT / "deploy/atcs/kumbasari-cabinet.toml").read_text()
        wires = wires.replace("192.168.8.20:502", f"127.0.0.1:{board_port}")
        (folder / "cabinet.toml").write_text(wires)
        cabinet = 'cabinet = "cabinet.toml"\n'
    config = folder / "gateway.toml"
    config.write_text(
        f'[gateway]\nsite = "test"\ndata_dir = "{folder}/data"\nstatus_bind = ""\n'
        f"[mqtt]\n{mqtt}\n{more}\n"
        f'[[junction]]\nname = "{NAME}"\nplan = "plan.toml"\n{cabinet}{junction}\n'
    )
    return config


class Process:
    """A junction's process and one connection to its socket."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.socket = config.parent / "data/atcs" / f"{NAME}.sock"
        self.said: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.process: asyncio.subprocess.Process
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        with (self.config.parent / "junction.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.atcs.service", str(self.config), NAME,
                stderr=log, preexec_fn=die_with_parent,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        async with asyncio.timeout(20):
            while True:
                try:
                    reader, self._writer = await asyncio.open_unix_connection(
                        str(self.socket), limit=1 << 20
                    )
                    break
                except OSError:
                    assert self.process.returncode is None, self.log()
                    await asyncio.sleep(0.02)
        self._task = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            self.said.append(json.loads(line))
            self.changed.set()

    def log(self) -> str:
        return (self.config.parent / "junction.log").read_text()

    def send(self, **message: Any) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps(message).encode() + b"\n")

    def last(self, what: str) -> dict[str, Any]:
        """The body of the newest message of a kind."""
        return next((m.get("body", m) for m in reversed(self.said) if m["is"] == what), {})

    async def until(self, test: Callable[[], Any], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not test():
                self.changed.clear()
                await self.changed.wait()

    async def end(self, how: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(how)
        code = await self.process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        return code


@contextlib.asynccontextmanager
async def junction(config: Path) -> AsyncGenerator[Process]:
    """A junction's process that ends with the test."""
    process = Process(config)
    await process.start()
    try:
        yield process
    finally:
        await process.end()


def pids_of(config: Path) -> list[int]:
    """Junction processes of this configuration, whoever started them."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if b"gateway.atcs.service" in words and str(config).encode() in words:
                    found.append(int(folder.name))
    return found
