"""Posts alerts to one receiver: `Webhook`, and what proves to each side who the other is.

TLS certificates are verified, redirects are not followed, answers are bounded. Every try of a
message carries the same Idempotency-Key, its identifier, so a lost answer does no harm.
"""

import asyncio
import hashlib
import hmac
import json
import ssl
from typing import Any, cast

import httpx

from gateway.acts.cap.outbox import Issued
from gateway.acts.cap.settings import ReceiverSettings
from gateway.config import ConfigError, read_secret

_ANSWER_MAX = 4096
SIGNATURE = "X-Tukad-Signature"


def signature(secret: str, body: bytes) -> str:
    """ "sha256=" and the HMAC-SHA256 of a body, in hexadecimal."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Credentials:
    """The secrets of a receiver, which sign both ways."""

    def __init__(self, receiver: ReceiverSettings) -> None:
        what = f'cap.receiver["{receiver.name}"]'
        self._bearer = self._hmac = ""
        if receiver.bearer_file is not None:
            self._bearer = read_secret(receiver.bearer_file, f"{what}.bearer_file")
            if not self._bearer.isascii() or not self._bearer.isprintable():
                raise ConfigError(f"{receiver.bearer_file}: {what}: a token is one line of ASCII")
        if receiver.hmac_file is not None:
            self._hmac = read_secret(receiver.hmac_file, f"{what}.hmac_file")

    def headers(self, body: bytes) -> dict[str, str]:
        """What proves that a body comes from us."""
        found: dict[str, str] = {}
        if self._bearer:
            found["Authorization"] = f"Bearer {self._bearer}"
        if self._hmac:
            found[SIGNATURE] = signature(self._hmac, body)
        return found

    def fits(self, authorization: str, signed: str, body: bytes) -> bool:
        """Whether a request comes from this receiver; never without a secret."""
        bearer = f"Bearer {self._bearer}".encode()
        if self._bearer and hmac.compare_digest(authorization.encode(), bearer):
            return True
        wanted = signature(self._hmac, body).encode()
        return bool(self._hmac) and hmac.compare_digest(signed.encode(), wanted)


def envelope(message: Issued) -> dict[str, Any]:
    """A message as JSON: what a list shows, the short text, and the signed CAP itself."""
    return {
        "tukad_cap": 1,
        "identifier": message.identifier,
        "incident": message.incident,
        "msgType": message.msg_type,
        "status": message.status,
        "scope": message.scope,
        "topic": message.topic,
        "level": message.level,
        "sent": message.sent,
        "expires": message.expires,
        "needs_ack": message.needs_ack,
        "headline": {"id-ID": message.headline_id, "en-US": message.headline_en},
        "social": message.social,
        "cap": message.xml,
    }


def _trust(receiver: ReceiverSettings) -> ssl.SSLContext:
    ca_file = receiver.ca_file
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f'{ca_file}: cap.receiver["{receiver.name}"].ca_file: cannot be read: {error}'
        ) from None


class RefusedError(Exception):
    """The receiver answered, but not with 2xx."""


class Webhook:
    """One receiver. Raises ConfigError when a file of it cannot be read."""

    def __init__(self, receiver: ReceiverSettings) -> None:
        self.receiver = receiver
        self.credentials = Credentials(receiver)
        self._trust = _trust(receiver)
        self._client: httpx.AsyncClient | None = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._trust,
                timeout=self.receiver.timeout_s,
                follow_redirects=False,
                trust_env=False,
                limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            )
        return self._client

    async def close(self) -> None:
        """Close the connections; `post` opens them again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def post(self, message: Issued) -> str | None:
        """Deliver once; who acknowledged in the answer, or None if nobody did.

        Raises RefusedError, or OSError when there was no whole answer in time.
        """
        if self.receiver.format == "cap":
            kind, body = "application/cap+xml", message.xml.encode()
        else:
            kind = "application/json"
            body = json.dumps(envelope(message), ensure_ascii=False).encode()
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Idempotency-Key": message.identifier,
            "User-Agent": "tukad-cap",
            **self.credentials.headers(body),
        }
        try:
            async with asyncio.timeout(self.receiver.timeout_s):
                return await self._post(headers, body)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.receiver.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from None

    async def _post(self, headers: dict[str, str], body: bytes) -> str | None:
        answer = bytearray()
        url = self.receiver.url
        async with self._open().stream("POST", url, content=body, headers=headers) as response:
            if not response.is_success:
                raise RefusedError(f"HTTP {response.status_code}")
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _ANSWER_MAX:
                    return None  # it took the alert; what it says at such length is no answer
        return _acknowledged(bytes(answer))


def _acknowledged(answer: bytes) -> str | None:
    """The name in {"acknowledged": true, "by": "..."}, or None."""
    try:
        found: Any = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    table = cast("dict[str, Any]", found)
    if table.get("acknowledged") is not True:
        return None
    return by_name(table.get("by"))


def by_name(value: object) -> str:
    """A person's name from outside, fit for logs and lists."""
    text = value if isinstance(value, str) else ""
    return "".join(c for c in text if c.isprintable())[:80].strip() or "?"


__all__ = ["SIGNATURE", "Credentials", "RefusedError", "Webhook", "by_name", "envelope"]
