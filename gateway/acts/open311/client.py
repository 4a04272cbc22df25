"""GeoReport v2 over HTTP: `GeoReport` makes one request at a time and reads XML and JSON answers.

Source: Open311 GeoReport v2 (wiki.open311.org/GeoReport_v2) and FixMyStreet's service request
updates. An answer may be XML although JSON was asked for: what it is, is told from its content.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote
from xml.etree import ElementTree

from gateway.acts.open311.settings import Open311Settings

if TYPE_CHECKING:
    import httpx

_BYTES_MAX = 8_000_000  # of one answer: a thousand requests with long texts
_PAGES_MAX = 20


class RefusedError(Exception):
    """The server said no: `status` of HTTP and its own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"HTTP {status}: {words}")
        self.status = status
        self.words = words

    @property
    def is_duplicate(self) -> bool:
        """Whether it says that it has this one already."""
        text = self.words.lower()
        return self.status in (400, 409) and any(
            word in text for word in ("duplicate", "already", "duplikat", "sudah ada")
        )


class GeoReport:
    """One server. Raises OSError when the outcome is not known, RefusedError when it is."""

    def __init__(self, settings: Open311Settings, api_key: str) -> None:
        self._settings = settings
        self._key = api_key
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def find(self, service_code: str, start: str, end: str) -> list[dict[str, str]]:
        """Open requests of a service between two times (ISO 8601), all pages."""
        found: list[dict[str, str]] = []
        seen: set[str] = set()
        for page in range(1, _PAGES_MAX + 1):
            query = {"service_code": service_code, "status": "open"}
            query |= {"start_date": start, "end_date": end, "page": str(page)}
            rows = await self._call("GET", "requests", query)
            new = [row for row in rows if row.get("service_request_id") not in seen]
            if not new:
                break
            seen |= {row.get("service_request_id", "") for row in new}
            found += new
        return found

    async def post(self, form: Mapping[str, str]) -> tuple[str, str]:
        """Report; returns (service_request_id, token), one of which may be ""."""
        rows = await self._call("POST", "requests", dict(form))
        row = rows[0] if rows else {}
        request_id, token = row.get("service_request_id", ""), row.get("token", "")
        if not request_id and not token:
            raise OSError("the answer has neither service_request_id nor token")
        return request_id, token

    async def token(self, token: str) -> str:
        """The number of a request that was answered with a token; "" if there is none yet."""
        rows = await self._call("GET", f"tokens/{_quoted(token)}", {})
        return rows[0].get("service_request_id", "") if rows else ""

    async def status(self, request_id: str) -> str:
        """ "open", "closed", or "" for a request that the server does not know."""
        try:
            rows = await self._call("GET", f"requests/{_quoted(request_id)}", {})
        except RefusedError as refused:
            if refused.status in (404, 410):
                return ""
            raise
        return rows[0].get("status", "").lower() if rows else ""

    async def update(self, form: Mapping[str, str]) -> None:
        """FixMyStreet's service request update."""
        await self._call("POST", "servicerequestupdates", dict(form))

    async def _call(self, method: str, path: str, fields: dict[str, str]) -> list[dict[str, str]]:
        import httpx

        settings = self._settings
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=settings.timeout_s, trust_env=False)
        if settings.jurisdiction_id:
            fields["jurisdiction_id"] = settings.jurisdiction_id
        url = f"{settings.url.rstrip('/')}/{path}.{settings.format}"
        try:
            if method == "POST":
                fields["api_key"] = self._key
                request = self._client.build_request(method, url, data=fields)
            else:
                request = self._client.build_request(method, url, params=fields)
            answer = await self._client.send(request, stream=True)
            try:
                content = b""
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _BYTES_MAX:
                        raise OSError(f"{url}: the answer is longer than {_BYTES_MAX} B")
            finally:
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(f"{url}: {type(error).__name__} {error}".strip()) from None
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise OSError(f"{url}: HTTP {answer.status_code}")
        if not 200 <= answer.status_code < 300:
            raise RefusedError(answer.status_code, _words(content))
        return rows_of(content)


def rows_of(content: bytes) -> list[dict[str, str]]:
    """The records of an answer as text by name. Raises OSError when it is neither XML nor JSON."""
    text = content.lstrip()
    try:
        if text[:1] in (b"[", b"{"):
            return _json_rows(json.loads(text))
        return _xml_rows(text)
    except ValueError as error:
        raise OSError(f"the answer cannot be read: {error}") from None


def _json_rows(data: object) -> list[dict[str, str]]:
    if isinstance(data, dict):
        table = cast("dict[str, Any]", data)
        only: object = next(iter(table.values()), None) if len(table) == 1 else None
        data = cast("object", only) if isinstance(only, list) else [table]
    if not isinstance(data, list):
        raise ValueError("no list")
    rows: list[dict[str, str]] = []
    for one in cast("list[object]", data):
        if not isinstance(one, dict):
            raise ValueError("no object in the list")
        table = cast("dict[str, Any]", one)
        rows.append({str(k): str(v).strip() for k, v in table.items() if v is not None})
    return rows


def _xml_rows(text: bytes) -> list[dict[str, str]]:
    if b"<!DOCTYPE" in text[:1000]:
        raise ValueError("a document type, which GeoReport has not")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None
    return [{field.tag: (field.text or "").strip() for field in record} for record in root]


def _words(content: bytes) -> str:
    try:
        rows = rows_of(content[:100_000])
        words = "; ".join(one.get("description", "") for one in rows)
    except OSError:
        words = ""
    return (words or content[:200].decode("utf-8", "replace")).replace("\n", " ")[:300]


def _quoted(part: str) -> str:

    return quote(part, safe="")
