"""Keeps the parts of the agent running: `Supervisor`; and tells systemd: `notify`, `watchdog`.

Each part is a coroutine that ends only by an error. It is started again by itself, after a pause
that doubles, while the others go on; a part that ran for a while begins with a short pause again.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, cast

from gateway.model import PartHealth

log = logging.getLogger("tukad.service")

_PAUSE_S = (0.5, 60.0)
_STEADY_S = 60.0  # a part that ran so long counts as sound again


class Supervisor:
    """Runs named parts and restarts them one by one."""

    def __init__(self) -> None:
        self._parts: dict[str, Callable[[], Awaitable[None]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._health: dict[str, PartHealth] = {}

    @property
    def health(self) -> list[PartHealth]:
        """The state of every part."""
        return list(self._health.values())

    def start(self, parts: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        """Start parts; each runs until `stop`."""
        for name, part in parts.items():
            self._parts[name] = part
            self._set(name, "starting", 0, "")
            self._tasks[name] = asyncio.create_task(self._keep(name, part), name=name)

    async def stop(self, *names: str) -> None:
        """End these parts, or all when none is named; returns when they have ended."""
        chosen = {name: self._tasks.pop(name) for name in names or tuple(self._tasks)}
        await end_tasks(chosen.values())
        for name in chosen:
            self._set(name, "stopped", self._health[name].restarts, "")

    async def restart(self, name: str) -> None:
        """End a part and start it anew. Raises KeyError when it does not run here."""
        part = self._parts[name]
        restarts = self._health[name].restarts
        await self.stop(name)
        self.start({name: part})
        log.warning("part.restarted name=%s", name)
        self._set(name, "starting", restarts + 1, "")

    def _set(self, name: str, state: str, restarts: int, detail: str) -> None:
        self._health[name] = PartHealth(name=name, state=state, restarts=restarts, detail=detail)

    async def _keep(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        restarts = self._health[name].restarts
        pause_s = _PAUSE_S[0]
        while True:
            started = time.monotonic()
            self._set(name, "running", restarts, "")
            try:
                await part()
                detail = "ended by itself"
            except asyncio.CancelledError:
                raise
            except Exception as error:
                detail = _words(error)
                log.error("part.failed name=%s error=%r", name, detail, exc_info=_is_bug(error))
            if time.monotonic() - started > _STEADY_S:
                pause_s = _PAUSE_S[0]
            restarts += 1
            self._set(name, "waiting", restarts, detail)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, _PAUSE_S[1])


def _first(error: BaseException) -> BaseException:
    """Of a group of errors the first one, which is what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _words(error: BaseException) -> str:
    first = _first(error)
    return f"{type(first).__name__}: {first}"


def _is_bug(error: BaseException) -> bool:
    """Whether a traceback helps: the world being as it is (OSError) needs none."""
    return not isinstance(_first(error), OSError)


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes in the
    moment in which its future is done, and libraries use it.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=0.5)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run until all have ended, or one of them with an error, which then ends the others.

    Like a TaskGroup, but a cancellation is repeated until each has ended: a TaskGroup passes it on
    once, and where that is swallowed (see `end_tasks`) it waits for ever.
    """
    tasks = {asyncio.create_task(work) for work in works}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        while waiting := {task for task in tasks if not task.done()}:
            for task in waiting:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # we are ending already
                await asyncio.wait(waiting, timeout=0.5)
        for task in tasks:  # seen, so that asyncio does not complain about a second error
            if not task.cancelled():
                task.exception()


def notify(text: str) -> None:
    """Tell systemd, if it started us: "READY=1", "STATUS=...", "WATCHDOG=1" (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(address)
        sender.send(text.encode())


async def watchdog(is_alive: Callable[[], Awaitable[bool]], status: Callable[[], str]) -> None:
    """Pet systemd's watchdog while the agent can still make a reading durable."""
    period_us = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
    while True:
        await asyncio.sleep(period_us / 2e6 if period_us else 10)
        if await is_alive():
            notify(f"WATCHDOG=1\nSTATUS={status()}")
