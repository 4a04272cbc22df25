"""Health over HTTP: `StatusServer` serves /health (JSON) and /metrics (OpenMetrics).

It listens on [gateway] status_bind and on DATA_DIR/status.sock, where `tukad gateway status` asks.
Read-only, tiny, no keep-alive: for a technician and for a scraper on the same machine.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.config import split_address
from gateway.model import Health

_HEAD_MAX = 8192
_WAIT_S = 5.0


def metrics_text(health: Health) -> str:
    """OpenMetrics text of a health record."""
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: Mapping[str, float]) -> None:
        lines.append(f"# TYPE {name} {kind}")
        lines.append(f"# HELP {name} {text}")
        suffix = "_total" if kind == "counter" else ""
        lines.extend(f"{name}{suffix}{labels} {value:g}" for labels, value in samples.items())

    family("tukad_uptime_seconds", "gauge", "Since the agent started.", {"": health.uptime_s})
    family(
        "tukad_part_up",
        "gauge",
        "1 while a part runs.",
        {f'{{part="{part.name}"}}': int(part.state == "running") for part in health.parts},
    )
    family(
        "tukad_part_restarts",
        "counter",
        "How often a part was started again.",
        {f'{{part="{part.name}"}}': part.restarts for part in health.parts},
    )
    family(
        "tukad_fault",
        "gauge",
        "1 for each fault that lasts.",
        {f'{{code="{f.code}",subject="{_label(f.subject)}"}}': 1 for f in health.faults},
    )
    for key, value in health.counters.items():
        kind = "gauge" if key.startswith("now_") else "counter"
        family(f"tukad_{key.removeprefix('now_')}", kind, f"{key}.", {"": value})
    lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def health_json(health: Health) -> dict[str, Any]:
    """A health record as a plain object."""
    return {"tukad_health": 1, **asdict(health)}


class StatusServer:
    """Serves what `health` returns."""

    def __init__(self, health: Callable[[], Health], bind: str, socket_path: Path) -> None:
        self._health = health
        self._bind = bind
        self._socket_path = socket_path
        self._servers: list[asyncio.Server] = []
        self.port = 0

    async def start(self) -> None:
        """Bind. Raises OSError when the port is in use."""
        self._socket_path.unlink(missing_ok=True)
        self._servers.append(
            await asyncio.start_unix_server(self._serve, self._socket_path, limit=_HEAD_MAX)
        )
        if self._bind:
            host, port = split_address(self._bind)
            server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_MAX)
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close; repeats are harmless."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
            await server.wait_closed()
        self._socket_path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b" ", 2)
        path = words[1] if len(words) == 3 and words[0] == b"GET" else b""
        if path == b"/metrics":
            kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
            return _http("200 OK", kind, metrics_text(self._health()))
        if path in (b"/health", b"/"):
            body = json.dumps(health_json(self._health()), indent=1)
            return _http("200 OK", "application/json", body)
        return _http("404 Not Found", "text/plain", "there are /health and /metrics\n")


def _http(status: str, kind: str, body: str) -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + data


async def ask_health(socket_path: Path) -> dict[str, Any]:
    """The health of the agent that runs on this data directory. Raises OSError."""
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: tukad\r\n\r\n")
        async with asyncio.timeout(_WAIT_S):
            answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return json.loads(answer.partition(b"\r\n\r\n")[2])
