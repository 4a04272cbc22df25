"""Where sentences go: `Hub` for plotters that connect over TCP, `Datagrams` for UDP.

A plotter only listens. One that does not read what it is sent, or that talks, is dropped; nobody
waits for it.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterable
from typing import cast

from gateway.config import split_address

_BUFFER_MAX = 256 * 1024
_HEARD_MAX = 64 * 1024  # bytes that a plotter may say before it is dropped


class _Client(asyncio.Protocol):
    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._heard = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._hub.came(self)

    def data_received(self, data: bytes) -> None:
        self._heard += len(data)
        if self._heard > _HEARD_MAX:
            self._hub.dropped += 1
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.clients.discard(self)


class Hub:
    """A TCP server that says the same to everyone; `greeting` makes what a newcomer is told."""

    def __init__(self, clients_max: int, greeting: Callable[[], Iterable[bytes]]) -> None:
        self._clients_max = clients_max
        self._greeting = greeting
        self._server: asyncio.Server | None = None
        self.clients: set[_Client] = set()
        self.connects = 0
        self.dropped = 0  # did not read, or talked
        self.refused = 0  # too many at once
        self.port = 0

    async def start(self, address: str) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close all; repeats are harmless."""
        if self._server is None:
            return
        self._server.close()
        for client in tuple(self.clients):
            client.transport.abort()
        await self._server.wait_closed()
        self._server = None

    def came(self, client: _Client) -> None:
        """A plotter connected."""
        if len(self.clients) >= self._clients_max:
            self.refused += 1
            client.transport.abort()
            return
        self.connects += 1
        self.clients.add(client)
        client.transport.set_write_buffer_limits(high=_BUFFER_MAX)
        client.transport.write(b"".join(self._greeting()))

    def say(self, data: bytes) -> None:
        """Send to all; drop who is too far behind."""
        for client in tuple(self.clients):
            if client.transport.get_write_buffer_size() + len(data) > _BUFFER_MAX:
                self.dropped += 1
                self.clients.discard(client)
                client.transport.abort()
            else:
                client.transport.write(data)


class Datagrams:
    """Sends each message as one datagram to a host or a broadcast address."""

    def __init__(self, address: str) -> None:
        host, port = split_address(address)
        self._target = (host, port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        if family == socket.AF_INET:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.lost = 0
        self.error = ""  # the latest, while it lasts

    def say(self, data: bytes) -> None:
        """Send, or count what could not be sent."""
        try:
            self._socket.sendto(data, self._target)
            self.error = ""
        except OSError as error:
            self.lost += 1
            # On this machine nobody may listen, which is no fault; a full queue passes.
            if error.errno not in (errno.ECONNREFUSED, errno.EAGAIN):
                self.error = str(error)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()
