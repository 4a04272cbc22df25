"""Requests to a SensorThings server: `Client`. Follows links, never builds them from ids."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from gateway.acts.sensorthings.settings import SensorThingsSettings

if TYPE_CHECKING:
    import httpx

_ANSWER_MAX = 16_000_000
_PAGES_MAX = 1000
_SETS = {"Things", "Sensors", "ObservedProperties", "Datastreams", "Observations"}


class LinkError(OSError):
    """No answer, or one that says "later". `is_unsure`: what was sent may have been taken."""

    def __init__(self, text: str, *, is_unsure: bool) -> None:
        super().__init__(text)
        self.is_unsure = is_unsure


class RefusedError(Exception):
    """The server will not take this, now or later."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Client:
    """One connection to one server; use `opened`."""

    def __init__(self, http: "httpx.AsyncClient", root: str, timeout_s: float) -> None:
        self._http = http
        self._timeout_s = timeout_s
        self.root = root.rstrip("/")
        self._origin = _origin(root)
        self.sets: dict[str, str] = {}  # "Things" -> its URL, as the server gives it

    async def start(self) -> None:
        """Learn where the server's sets are. Raises LinkError or RefusedError."""
        found = await self.get(f"{self.root}/")
        try:
            self.sets = {one["name"]: self._own(self.root, one["url"]) for one in found["value"]}
        except (KeyError, TypeError):
            raise RefusedError(200, "this is no SensorThings service") from None
        missing = _SETS - self.sets.keys()
        if missing:
            raise RefusedError(200, f"the service has no {', '.join(sorted(missing))}")

    def _own(self, base: str, link: str) -> str:
        """A link of the server, absolute. The token goes to no other host."""
        url = urljoin(base, link)
        if _origin(url) != self._origin:
            raise RefusedError(
                200,
                f"the server's links lead to {_origin(url)}; set its public address right, or"
                " sensorthings.url to that",
            )
        return url

    async def get(self, url: str, params: Mapping[str, str] | None = None) -> Any:
        """A JSON document. Raises LinkError or RefusedError."""
        _, _, body = await self._send("GET", url, params, None)
        return body

    async def all(self, url: str, params: Mapping[str, str]) -> AsyncIterator[Any]:
        """Every entity of a collection, over its pages."""
        page = await self.get(url, params)
        for _ in range(_PAGES_MAX):
            for entity in page.get("value", ()):
                yield entity
            link = page.get("@iot.nextLink")
            if not link:
                return
            page = await self.get(self._own(url, link))
        raise RefusedError(200, "the pages have no end")

    async def find(self, collection: str, field: str, value: str) -> Any:
        """The first entity with this value, or None."""
        quoted = value.replace("'", "''")
        found = await self.get(self.sets[collection], {"$filter": f"{field} eq '{quoted}'"})
        values = found.get("value") or [None]
        return values[0]

    async def create(self, url: str, body: Any) -> Any:
        """Create an entity and read it back from where the server says it is."""
        _, headers, answer = await self._send("POST", url, None, body)
        place = headers.get("location")
        if place:
            return await self.get(self._own(url, place))
        if isinstance(answer, dict) and "@iot.selfLink" in answer:
            return answer  # pyright: ignore[reportUnknownVariableType]
        raise LinkError("the server did not say where it put the entity", is_unsure=True)

    async def post(self, url: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of a POST. Raises LinkError or RefusedError."""
        status, _, answer = await self._send("POST", url, None, body)
        return status, answer

    async def _send(
        self, method: str, url: str, params: Mapping[str, str] | None, body: Any
    ) -> tuple[int, Mapping[str, str], Any]:
        import httpx

        try:
            async with (
                asyncio.timeout(2 * self._timeout_s),
                self._http.stream(method, url, params=params, json=body) as answer,
            ):
                data = bytearray()
                async for part in answer.aiter_bytes():
                    data += part
                    if len(data) > _ANSWER_MAX:
                        raise LinkError("the answer is too long", is_unsure=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise LinkError(f"cannot connect: {error}", is_unsure=False) from None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            text = str(error) or type(error).__name__
            raise LinkError(f"no answer: {text}", is_unsure=method == "POST") from None
        status = answer.status_code
        if status in (408, 425, 429) or status >= 500:
            raise LinkError(f"the server answers {status}", is_unsure=status >= 500)
        if status >= 300:
            raise RefusedError(status, bytes(data[:300]).decode(errors="replace"))
        if not data:
            return status, answer.headers, None
        try:
            return status, answer.headers, json.loads(data)
        except ValueError:
            if method == "POST":
                return status, answer.headers, None
            raise RefusedError(status, "the answer is not JSON") from None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"


@asynccontextmanager
async def opened(settings: SensorThingsSettings, folder: Path) -> AsyncGenerator[Client]:
    """A client that knows the server's sets. Raises LinkError, RefusedError or ConfigError."""
    import httpx

    verify: ssl.SSLContext | bool = True
    if settings.ca_file is not None:
        verify = ssl.create_default_context(cafile=folder / settings.ca_file)
    async with httpx.AsyncClient(
        headers=settings.headers(folder),
        auth=settings.login(folder),
        verify=verify,
        timeout=settings.timeout_s,
        follow_redirects=False,
        trust_env=False,
    ) as http:
        client = Client(http, settings.url, settings.timeout_s)
        await client.start()
        yield client
