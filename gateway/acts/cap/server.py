"""Feed, alerts and acknowledgements over HTTP: `CapServer`. Small, read-only but for POST /ack.

It serves what is in memory by exact name and never opens a file, so no path leads anywhere else;
it goes on while the disk is full. Heads, bodies, waits and clients are bounded. An acknowledgement
needs the secret of its receiver. No TLS: bind it to loopback and put the city's web server before
it, or copy the files.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from gateway.acts.cap.webhook import SIGNATURE, Credentials, by_name
from gateway.config import split_address

_HEAD_MAX = 8192
_BODY_MAX = 4096
_WAIT_S = 5.0
_CLIENTS_MAX = 64

# name -> (media type, content), or None
Content = Callable[[str], tuple[str, bytes] | None]
# identifier, receiver, by -> whether there is such a message; durable when it returns
Acknowledge = Callable[[str, str, str], Awaitable[bool]]


class _ClientError(Exception):
    """The request is not one of ours; the status line says why."""


class CapServer:
    """Serves until `stop`."""

    def __init__(
        self,
        bind: str,
        content: Content,
        acknowledge: Acknowledge,
        credentials: Mapping[str, Credentials],
    ) -> None:
        self._bind = bind
        self._content = content
        self._acknowledge = acknowledge
        self._credentials = credentials
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.refused = 0
        self.port = 0

    async def start(self) -> None:
        """Bind. Raises OSError when the port is in use."""
        host, port = split_address(self._bind)
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_MAX)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close; repeats are harmless."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            clients = dict(self._clients)
            for writer in clients.values():
                writer.transport.abort()
            await asyncio.gather(*clients)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            async with asyncio.timeout(_WAIT_S):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            self.refused += 1
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del self._clients[task]

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            if len(self._clients) > _CLIENTS_MAX:
                raise _ClientError("503 Service Unavailable")
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, headers = _parse(head)
            if method == "POST":
                return await self._post(target, headers, reader)
            if method not in ("GET", "HEAD"):
                raise _ClientError("405 Method Not Allowed")
            return self._get(method, target, headers)
        except _ClientError as error:
            self.refused += 1
            return _http(str(error), "text/plain", str(error).encode() + b"\n")

    def _get(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        found = self._content(target.split("?", 1)[0].removeprefix("/"))
        if found is None:
            raise _ClientError("404 Not Found")
        kind, body = found
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if headers.get("if-none-match") == tag:
            return _http("304 Not Modified", kind, b"", tag)
        return _http("200 OK", kind, body, tag, has_body=method == "GET")

    async def _post(
        self, target: str, headers: Mapping[str, str], reader: asyncio.StreamReader
    ) -> bytes:
        if target != "/ack":
            raise _ClientError("405 Method Not Allowed")
        length = headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or "transfer-encoding" in headers:
            raise _ClientError("411 Length Required")
        if len(length) > 9 or int(length) > _BODY_MAX:
            raise _ClientError("413 Content Too Large")
        body = await reader.readexactly(int(length))
        receiver = self._sender_of(headers, body)
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise _ClientError("400 Bad Request") from None
        identifier = by = None
        if isinstance(found, dict):
            table = cast("dict[str, Any]", found)
            identifier, by = table.get("identifier"), table.get("by")
        if not isinstance(identifier, str):
            raise _ClientError("400 Bad Request")
        if not await self._acknowledge(identifier, receiver, by_name(by)):
            raise _ClientError("404 Not Found")
        return _http("200 OK", "application/json", b'{"acknowledged": true}\n')

    def _sender_of(self, headers: Mapping[str, str], body: bytes) -> str:
        """Which receiver it is; its secret tells."""
        authorization = headers.get("authorization", "")
        signed = headers.get(SIGNATURE.lower(), "")
        for name, one in self._credentials.items():
            if one.fits(authorization, signed, body):
                return name
        raise _ClientError("401 Unauthorized")


def _parse(head: str) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers by lower-case name."""
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):
        raise _ClientError("400 Bad Request")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip() or name in headers:
            raise _ClientError("400 Bad Request")
        headers[name] = value.strip()
    return words[0], words[1], headers


def _http(status: str, kind: str, body: bytes, tag: str = "", *, has_body: bool = True) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-cache",
        "Connection: close",
    ]
    if tag:
        lines.append(f"ETag: {tag}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + body if has_body else head


__all__ = ["CapServer"]
