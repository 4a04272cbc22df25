"""A GeoReport v2 server, written from the standard (wiki.open311.org/GeoReport_v2); it misbehaves.

It shares no code with the gateway. Every request is checked as the standard demands and a violation
is kept in `violations`, so that a test fails even if the client would not notice.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

SERVICES = {"001": "Sensor", "002": "Siren", "003": "Power"}
_FIELDS = {
    "api_key", "jurisdiction_id", "service_code", "lat", "long", "address_string", "address_id",
    "email", "device_id", "account_id", "first_name", "last_name", "phone", "description",
    "media_url",
}  # fmt: skip


class WrongError(Exception):
    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


@dataclass
class GeoReportServer:
    """`faults`, one for each POST: "500", "hang", "take_and_drop", "duplicate"."""

    api_key: str = "secret-key"
    use_tokens: bool = False
    token_delay: int = 1  # answers without a number first
    has_updates: bool = True
    has_pages: bool = True
    demands: tuple[str, ...] = ()  # attribute codes
    requests: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, list[Any]] = field(default_factory=dict)
    updates: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    get_faults: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    port: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/open311/v2"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["GeoReportServer"]:
        tasks: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(begin, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        parts = urlsplit(target)
        self.log.append(f"{method} {parts.path}")
        match = re.fullmatch(r"/open311/v2/(.+)\.(xml|json)", parts.path)
        kind = match[2] if match else "xml"
        fault = ""
        if method == "POST" and self.faults:
            fault = self.faults.pop(0)
        elif method == "GET" and self.get_faults:
            fault = self.get_faults.pop(0)
        if fault == "500":
            return self._answer(writer, 500, "text/html", "<h1>Oops</h1>")
        if fault == "hang":
            await asyncio.Event().wait()
        try:
            if match is None:
                raise WrongError(404, f"no resource {parts.path}")
            if fault == "duplicate":
                raise WrongError(400, "Duplicate request: this has already been reported")
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            rows, outer, inner = self._route(method, unquote(match[1]), query, headers, body)
        except WrongError as wrong:
            rows, outer, inner = (
                [{"code": wrong.code, "description": wrong.words}],
                "errors",
                "error",
            )
            code = wrong.code
            if code in (400, 403) and fault != "duplicate":
                self.violations.append(f"{method} {parts.path}: {wrong.words}")
        else:
            code = 201 if method == "POST" else 200
        self.news.set()
        if fault == "take_and_drop":
            return False
        if kind == "json":
            return self._answer(writer, code, "application/json; charset=utf-8", json.dumps(rows))
        xml = "".join(
            f"<{inner}>" + "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in row.items())
            + f"</{inner}>" for row in rows
        )  # fmt: skip
        text = f'<?xml version="1.0" encoding="utf-8"?>\n<{outer}>{xml}</{outer}>'
        return self._answer(writer, code, "text/xml; charset=utf-8", text)

    def _answer(self, writer: asyncio.StreamWriter, code: int, kind: str, text: str) -> bool:
        content = text.encode()
        head = (
            f"HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        return True

    def _route(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: str
    ) -> tuple[list[dict[str, Any]], str, str]:
        form: dict[str, str] = {}
        if method == "POST":
            kind = headers.get("content-type", "")
            if not kind.startswith("application/x-www-form-urlencoded"):
                raise WrongError(400, f"content type {kind}")
            pairs = parse_qsl(body, keep_blank_values=True)
            form = dict(pairs)
            if len(form) != len(pairs):
                raise WrongError(400, "a field is there twice")
            if form.get("api_key") != self.api_key:
                raise WrongError(403, "api_key is missing or unknown")
        if (method, path) == ("POST", "requests"):
            return [self._take(form)], "service_requests", "request"
        if (method, path) == ("GET", "requests"):
            return self._list(query), "service_requests", "request"
        if method == "GET" and path.startswith("requests/"):
            return [self._get(path.removeprefix("requests/"))], "service_requests", "request"
        if method == "GET" and path.startswith("tokens/"):
            return [self._token(path.removeprefix("tokens/"))], "service_requests", "request"
        if (method, path) == ("POST", "servicerequestupdates") and self.has_updates:
            return [self._update(form)], "service_request_updates", "request_update"
        raise WrongError(404, f"no resource {path}")

    def _take(self, form: dict[str, str]) -> dict[str, Any]:
        if form.get("service_code") not in SERVICES:
            raise WrongError(400, f"service_code {form.get('service_code')} is not valid")
        has_point = "lat" in form and "long" in form
        if not has_point and "address_string" not in form and "address_id" not in form:
            raise WrongError(400, "no lat and long, address_string or address_id")
        if has_point and not (abs(float(form["lat"])) <= 90 and abs(float(form["long"])) <= 180):
            raise WrongError(400, "lat, long")
        if not 0 < len(form.get("description", "")) <= 4000:
            raise WrongError(400, "description is missing or has more than 4,000 characters")
        for name in form:
            if name not in _FIELDS and not re.fullmatch(r"attribute\[\w+\](\[\])?", name):
                raise WrongError(400, f"no field {name}")
        for code in self.demands:
            if not form.get(f"attribute[{code}]"):
                raise WrongError(400, f"attribute {code} is required")
        number = str(1000 + len(self.requests))
        self.requests[number] = {
            "service_request_id": number,
            "status": "open",
            "service_code": form["service_code"],
            "description": form["description"],
            "lat": form.get("lat", ""),
            "long": form.get("long", ""),
            "form": json.dumps(form),
        }
        if self.use_tokens:
            token = f"tok/{number}"
            self.tokens[token] = [number, self.token_delay]
            return {"token": token}
        return {"service_request_id": number, "service_notice": "Terima kasih", "account_id": ""}

    def _list(self, query: dict[str, str]) -> list[dict[str, Any]]:
        times: list[datetime] = []
        for name in ("start_date", "end_date"):
            if name in query:
                times.append(datetime.fromisoformat(query[name]))
                if times[-1].tzinfo is None:
                    raise WrongError(400, f"{name} has no zone")
        if len(times) == 2 and (times[1] - times[0]).days > 90:
            raise WrongError(400, "more than 90 days")
        rows = [
            {k: v for k, v in one.items() if k != "form"}
            for one in self.requests.values()
            if query.get("status", one["status"]) == one["status"]
            and query.get("service_code", one["service_code"]) == one["service_code"]
        ]
        if self.has_pages:
            page = int(query.get("page", 1))
            return rows[2 * page - 2 : 2 * page]
        return rows

    def _get(self, number: str) -> dict[str, Any]:
        if number not in self.requests:
            raise WrongError(404, "service_request_id was not found")
        return {k: v for k, v in self.requests[number].items() if k != "form"}

    def _token(self, token: str) -> dict[str, Any]:
        if token not in self.tokens:
            raise WrongError(404, "token was not found")
        if self.tokens[token][1] > 0:
            self.tokens[token][1] -= 1
            return {"token": token}
        return {"token": token, "service_request_id": self.tokens[token][0]}

    def _update(self, form: dict[str, str]) -> dict[str, Any]:
        for name in (
            "service_request_id",
            "update_id",
            "status",
            "updated_datetime",
            "description",
        ):
            if not form.get(name):
                raise WrongError(400, f"{name} is missing")
        if form["status"] not in ("OPEN", "CLOSED"):
            raise WrongError(400, f"status {form['status']}")
        if datetime.fromisoformat(form["updated_datetime"]).tzinfo is None:
            raise WrongError(400, "updated_datetime has no zone")
        if form["service_request_id"] not in self.requests:
            raise WrongError(404, "service_request_id was not found")
        self.updates[form["update_id"]] = form
        self.requests[form["service_request_id"]]["status"] = form["status"].lower()
        return {"update_id": form["update_id"]}

    def open(self) -> list[str]:
        return [one["description"] for one in self.requests.values() if one["status"] == "open"]
