"""Fetches the nowcast: `NowcastFeed`, from a file or over HTTP. Every answer is bounded.

Over HTTP it asks only the feed's own host and those that are listed, follows no more than three
redirects among them, sends If-None-Match, and makes at most `_ASKS_MIN` requests a minute: BMKG
allows 60 for each address. An alert is fetched once; its feed says when it changed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from gateway.acts.storm.nowcast import BYTES_MAX, Item, Nowcast, read
from gateway.clock import tick_ms
from protocols.errors import RemoteError

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("tukad.storm")

_ASKS_MIN = 50
_FETCHED_MAX = 40  # new alerts a round; the rest come with the next
_TIMEOUT_S = 15.0
_REDIRECTS = 3
_AGENT = "tukad-gateway (flood warning at the river)"


class NowcastFeed:
    """The alerts of one feed. `refused` counts what was not taken, by code."""

    def __init__(
        self, address: str, hosts: tuple[str, ...], folder: Path, tick: Callable[[], int] = tick_ms
    ) -> None:
        self._address = address
        self._is_web = address.startswith(("http://", "https://"))
        self._hosts = hosts
        self._folder = folder
        self._tick = tick
        self._asked: deque[int] = deque(maxlen=_ASKS_MIN)  # monotonic ms of the last requests
        self._known: dict[str, tuple[str, Nowcast]] = {}  # link -> stamp, alert
        self._tag = ""
        self._items: list[Item] = []
        self.refused: dict[str, int] = {}
        self.requests = 0

    async def poll(self) -> list[Nowcast]:
        """Every alert that the feed has now. Raises OSError or RemoteError when it has no answer.

        An alert that cannot be read is counted, logged and left out.
        """
        if not self._is_web:
            return await asyncio.to_thread(self._from_file)
        import httpx

        async with httpx.AsyncClient(
            timeout=_TIMEOUT_S, headers={"User-Agent": _AGENT}, follow_redirects=False
        ) as client:
            try:
                data = await self._get(client, self._address, self._tag)
                if data is not None:
                    found = read(data)
                    if isinstance(found, Nowcast):
                        return [found]
                    self._items = found
                return await self._fetch(client)
            except httpx.HTTPError as error:
                raise OSError(f"{type(error).__name__}: {error}") from None

    async def _fetch(self, client: "httpx.AsyncClient") -> list[Nowcast]:
        import httpx

        links = {item.link for item in self._items}
        self._known = {link: one for link, one in self._known.items() if link in links}
        fetched = 0
        for item in self._items:
            known = self._known.get(item.link)
            if (known is not None and known[0] == item.stamp) or fetched >= _FETCHED_MAX:
                continue
            fetched += 1
            try:
                data = await self._get(client, urljoin(self._address, item.link))
                if data is not None:
                    self._take(item, data)
            except RemoteError as error:
                self._refuse(item.link, error)
            except (httpx.HTTPError, OSError) as error:
                self._refuse(item.link, RemoteError("fetch", repr(error)))
        return [alert for _, alert in self._known.values()]

    def _take(self, item: Item, data: bytes) -> None:
        found = read(data)
        if not isinstance(found, Nowcast):
            raise RemoteError("kind", "a feed inside a feed")
        self._known[item.link] = (item.stamp, found)

    def _refuse(self, link: str, error: RemoteError) -> None:
        self.refused[error.code] = self.refused.get(error.code, 0) + 1
        log.warning("storm.refused link=%r error=%r", link[:200], str(error))

    # HTTP

    def _is_allowed(self, host: str) -> bool:
        own = urlsplit(self._address).hostname or ""
        return host == own or any(host == h or host.endswith("." + h) for h in self._hosts)

    async def _get(self, client: "httpx.AsyncClient", url: str, tag: str = "") -> bytes | None:
        """The body, or None when it is what `tag` stands for."""
        for _ in range(_REDIRECTS + 1):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not self._is_allowed(parts.hostname or ""):
                raise RemoteError("host", f"{url[:200]} is not on a host of the feed")
            await self._wait_turn()
            headers: Mapping[str, str] = {"If-None-Match": tag} if tag else {}
            async with client.stream("GET", url, headers=headers) as answer:
                if answer.status_code == 304 and tag:
                    return None
                if answer.has_redirect_location:
                    url = urljoin(url, answer.headers["Location"])
                    continue
                if answer.status_code != 200:
                    raise RemoteError("status", f"{url[:200]}: HTTP {answer.status_code}")
                data = bytearray()
                async for part in answer.aiter_bytes(65536):
                    data += part
                    if len(data) > BYTES_MAX:
                        raise RemoteError("size", f"{url[:200]}: more than {BYTES_MAX} B")
                if url == self._address:
                    self._tag = answer.headers.get("ETag", "")[:200]
                return bytes(data)
        raise RemoteError("redirect", f"{self._address[:200]}: more than {_REDIRECTS} redirects")

    async def _wait_turn(self) -> None:
        """Never more than `_ASKS_MIN` requests in a minute."""
        if len(self._asked) == _ASKS_MIN:
            wait_ms = self._asked[0] + 60_000 - self._tick()
            if wait_ms > 0:
                await asyncio.sleep(wait_ms / 1000)
        self._asked.append(self._tick())
        self.requests += 1

    # Files

    def _from_file(self) -> list[Nowcast]:
        path = self._folder / self._address
        found = read(_bounded(path))
        if isinstance(found, Nowcast):
            return [found]
        alerts: list[Nowcast] = []
        for item in found:
            try:
                near = (path.parent / item.link.removeprefix("file:")).resolve()
                if not near.is_relative_to(path.parent.resolve()):
                    raise RemoteError("host", f"{item.link[:200]} is not beside the feed")
                alert = read(_bounded(near))
                if isinstance(alert, Nowcast):
                    alerts.append(alert)
            except (OSError, RemoteError) as error:
                is_ours = isinstance(error, RemoteError)
                self._refuse(item.link, error if is_ours else RemoteError("fetch", repr(error)))
        return alerts


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BYTES_MAX + 1)
