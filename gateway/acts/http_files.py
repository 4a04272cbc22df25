"""A small read-only web server for maps: `FileServer` serves documents that others keep fresh.

GET and HEAD, ETag with If-None-Match, any origin (what is served is public by its settings). One
request a connection; who is slow, talks too much or comes in crowds is turned away.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.config import split_address

_HEAD_MAX = 8192
_WAIT_S = 10.0
_CLIENTS_MAX = 64


@dataclass(frozen=True, slots=True)
class Document:
    """A body with its type."""

    body: bytes
    kind: str

    @property
    def tag(self) -> str:
        """A strong validator: the same for the same bytes."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


class FileServer:
    """Serves what `look_up` gives for a path; None is a 404."""

    def __init__(self, look_up: Callable[[str], Document | None], max_age_s: int = 5) -> None:
        self._look_up = look_up
        self._max_age_s = max_age_s
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.requests = 0
        self.refused = 0  # malformed, slow, or too many at once

    async def start(self, address: str) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        host, port = split_address(address)
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_MAX)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close; repeats are harmless."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) > _CLIENTS_MAX:
                self.refused += 1
                return
            async with asyncio.timeout(_WAIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            self.refused += 1
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            # The server is being closed: nobody waits for this connection.
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self.refused += 1
            return _response("400 Bad Request", {}, b"this is no HTTP request\n")
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            self.refused += 1
            return _response("405 Method Not Allowed", {"Allow": "GET, HEAD"}, b"read only\n")
        self.requests += 1
        document = self._look_up(target.partition("?")[0])
        if document is None:
            return _response("404 Not Found", {}, b"there is no such document\n", method)
        fields = {
            "Content-Type": document.kind,
            "ETag": document.tag,
            "Cache-Control": f"max-age={self._max_age_s}",
            "Access-Control-Allow-Origin": "*",
            "X-Content-Type-Options": "nosniff",
        }
        if _matches(lines[1:], document.tag):
            return _response("304 Not Modified", fields, b"")
        return _response("200 OK", fields, document.body, method)


def _matches(lines: list[str], tag: str) -> bool:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "if-none-match":
            tags = [one.strip().removeprefix("W/") for one in value.split(",")]
            if tag in tags or "*" in tags:
                return True
    return False


def _response(status: str, fields: Mapping[str, str], body: bytes, method: str = "GET") -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    if not status.startswith("304"):
        lines.append(f"Content-Length: {len(body)}")
        if "Content-Type" not in fields:
            lines.append("Content-Type: text/plain")
    lines.append("Connection: close")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if method == "HEAD" else head + body


def keep_file(path: Path, body: bytes) -> None:
    """Put a whole file in place of the old one, if it differs. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == body:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
