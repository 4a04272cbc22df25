"""Departures to and from the neighbours, by UDP: `Neighbours`. Everything works without them."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from gateway.atcs.plan import Plan
from gateway.atcs.service.letters import KEY_MIN, Opener, RefusedError, seal
from gateway.atcs.service.settings import JunctionSettings
from gateway.config import ConfigError, split_address

log = logging.getLogger("tukad.junction")

VEHICLES_MAX = 99


class Neighbours(asyncio.DatagramProtocol):
    """Signed datagrams; `announce(movement, milliseconds from now, vehicles)` for each arrival."""

    def __init__(
        self,
        settings: JunctionSettings,
        plan: Plan,
        key: bytes,
        announce: Callable[[int, int, int], None],
    ) -> None:
        if len(key) < KEY_MIN:
            raise ConfigError(
                f'junction "{settings.name}".key_file: {len(key)} characters are too few; at least'
                f" {KEY_MIN}: openssl rand -hex 32"
            )
        self._settings = settings
        self._plan = plan
        self._key = key
        self._announce = announce
        self._opener = Opener(key)
        self._transport: asyncio.DatagramTransport | None = None
        self._targets: list[Any] = []
        self._sent_ms = 0
        self.sent = 0
        self.heard = 0

    async def open(self) -> None:
        """Open the socket. Raises ConfigError if it cannot be."""
        loop = asyncio.get_running_loop()
        host, port = split_address(self._settings.udp) if self._settings.udp else ("0.0.0.0", 0)
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self, (host, port), family=socket.AF_INET
            )
        except OSError as error:
            raise ConfigError(
                f'junction "{self._settings.name}".udp = {host}:{port}: {error.strerror}'
            ) from None
        self._transport = transport

    @property
    def port(self) -> int:
        """The port in use."""
        if self._transport is None:
            return 0
        return int(self._transport.get_extra_info("sockname")[1])

    def tell(self, departures: Mapping[str, int]) -> None:
        """Tell everybody downstream who just left."""
        if self._transport is None or not self._settings.neighbour:
            return
        self._sent_ms = max(_unix_ms(), self._sent_ms + 1)
        letter = seal(self._key, self._settings.name, self._sent_ms, {"left": dict(departures)})
        for one in self._settings.neighbour:
            host, port = split_address(one.address)
            with contextlib.suppress(OSError):
                self._transport.sendto(letter, (host, port))
        self.sent += 1

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A letter, or something that is none."""
        now_ms = _unix_ms()
        try:
            letter = self._opener.open(data, now_ms)
        except RefusedError:
            return
        left = letter.get("left")
        if not isinstance(left, dict):
            return
        self.heard += 1
        table = cast("dict[str, Any]", left)
        for up in self._plan.upstream:
            count = table.get(up.movement) if up.junction == letter["from"] else None
            if type(count) is int and 0 < count <= VEHICLES_MAX:
                eta_ms = round(up.travel_s * 1000) - (now_ms - int(letter["time"]))
                self._announce(self._plan.index[up.to], eta_ms, max(1, round(count * up.share)))

    def error_received(self, exc: Exception) -> None:
        """A neighbour that is down is none of our troubles."""

    def counters(self) -> dict[str, Any]:
        """For the status."""
        return {"sent": self.sent, "heard": self.heard, "refused": dict(self._opener.refused)}

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000
