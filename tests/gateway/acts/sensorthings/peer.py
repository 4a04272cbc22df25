"""The SensorThings server of `server.py` as a process: `Server`, `served`."""

import asyncio
import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.peers import die_with_parent, free_port

PEER = Path(__file__).parents[4] / ".peers/bin/python"
SERVER = Path(__file__).with_name("server.py")


class Server:
    """The server as a process on one database."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "sta.sqlite"
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}/sta/v1.1"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            PEER,
            SERVER,
            str(self.database),
            str(self.port),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(40):
            assert await self._process.stdout.readline() == b"ready\n"

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    def mute_next_post(self) -> None:
        """The next POST is done, but its answer is lost."""
        Path(f"{self.database}.mute").touch()

    @property
    def is_muted(self) -> bool:
        return Path(f"{self.database}.mute").exists()

    async def all(self, path: str) -> list[dict[str, Any]]:
        """A collection, over its pages."""
        found: list[dict[str, Any]] = []
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
            url: str | None = f"{self.root}/{path}"
            while url:
                page = (await http.get(url)).json()
                found += page["value"]
                url = page.get("@iot.nextLink")
        return found

    async def results(self) -> Counter[float]:
        return Counter(one["result"] for one in await self.all("Observations"))


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[Server]:
    server = Server(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
