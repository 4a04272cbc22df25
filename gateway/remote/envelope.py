"""A signed command: `seal` for the operator, `Gate` for the gateway. No clock, no file, no socket.

On the wire it is JSON: {"tukad_command": 1, "body": TEXT, "signature": BASE64}. The signature
(Ed25519) is over CONTEXT and the bytes of TEXT as they are, so nothing depends on how JSON is
written. TEXT is JSON again:

    site         the gateway's site; a command for another site is refused
    operator     who signs; his key and role are in the gateway's configuration
    number       1..2**53, higher than every number that this operator used here before
    issued_ms    Unix milliseconds; at most two minutes ahead of the gateway's clock
    expires_ms   Unix milliseconds; at most `expiry_s_max` after issued_ms
    command      its name
    args         an object
    reason       why, for the audit log, at most 500 characters
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from gateway.remote.settings import ROLES, Operator

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CONTEXT = b"tukad command 1\n"
LENGTH_MAX = 400_000  # bytes of the whole message: a large configuration fits
NUMBER_MAX = 2**53
REASON_MAX = 500
_AHEAD_MS = 120_000
_MARK = "tukad_command"
_FIELDS = {
    "site": str,
    "operator": str,
    "number": int,
    "issued_ms": int,
    "expires_ms": int,
    "command": str,
    "args": dict,
    "reason": str,
}


class Refused(Exception):  # noqa: N818  it is an answer, not an accident
    """A command that is not done: a code from a closed list, and the reason for a person.

    Codes: form, site, signature, clock, expired, replayed, role, command, args, state, disk.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as it was signed."""

    site: str
    operator: str
    number: int
    issued_ms: int
    expires_ms: int
    command: str
    args: Mapping[str, Any]
    reason: str = ""


def seal(command: Command, key: "Ed25519PrivateKey") -> bytes:
    """The message that carries a command."""
    body = {name: getattr(command, name) for name in _FIELDS}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    signature = key.sign(CONTEXT + text.encode())
    message = {_MARK: 1, "body": text, "signature": base64.b64encode(signature).decode()}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


class Gate:
    """Which commands are genuine, fresh and new. `numbers` survive restarts: keep them."""

    def __init__(
        self,
        site: str,
        operators: Sequence[Operator],
        expiry_s_max: int,
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        self._site = site
        self._operators = {one.name: one for one in operators}
        self._expiry_ms_max = expiry_s_max * 1000
        self.numbers: dict[str, int] = dict(numbers or {})  # by public key

    def open(self, message: bytes) -> tuple[Command, Operator]:
        """The command in a message whose signature is good. Raises Refused.

        It may still be old, or for another site: `admit` says so. Never raises anything else.
        """
        command, signed, signature = _parse(message)
        operator = self._operators.get(command.operator)
        if operator is None or not _is_signed(operator, signed, signature):
            raise Refused("signature", "no operator known here signed this")
        return command, operator

    def admit(self, command: Command, operator: Operator, now_ms: int | None) -> None:
        """Refuse what is not for here and now. `now_ms` is None while the clock is not set.

        The number counts as used when this returns: make `numbers` durable before acting on it.
        """
        if command.site != self._site:
            raise Refused("site", f'this is site "{self._site}", not "{command.site}"')
        if command.number <= self.numbers.get(operator.key, 0):
            last = self.numbers[operator.key]
            raise Refused("replayed", f"number {command.number} is not above {last}, the last one")
        if now_ms is None:
            raise Refused("clock", "the gateway's clock is not set, so it cannot tell old from new")
        valid_ms = command.expires_ms - command.issued_ms
        if not 0 < valid_ms <= self._expiry_ms_max:
            limit = self._expiry_ms_max // 1000
            raise Refused("expired", f"valid for {valid_ms / 1000:g} s; allowed are 0..{limit} s")
        if command.issued_ms > now_ms + _AHEAD_MS:
            ahead = (command.issued_ms - now_ms) // 1000
            raise Refused("clock", f"issued {ahead} s ahead of the gateway's clock; compare clocks")
        if now_ms >= command.expires_ms:
            late = (now_ms - command.expires_ms) / 1000
            raise Refused("expired", f"expired {late:.0f} s ago")
        self.numbers[operator.key] = command.number


def allows(operator: Operator, least: str) -> bool:
    """Whether an operator's role is enough."""
    return ROLES.index(operator.role) >= ROLES.index(least)


def _parse(message: bytes) -> tuple[Command, bytes, bytes]:
    if len(message) > LENGTH_MAX:
        raise Refused("form", f"{len(message)} bytes; at most {LENGTH_MAX} are read")
    outer = _object(message)
    text = outer.get("body")
    if outer.get(_MARK) != 1 or not isinstance(text, str):
        raise Refused("form", "is not a command of version 1")
    try:
        signature = base64.b64decode(str(outer.get("signature")), validate=True)
        signed = text.encode()
    except (binascii.Error, ValueError):
        raise Refused("form", "the signature is not base64") from None
    body = _object(signed)
    if set(body) != set(_FIELDS):
        raise Refused("form", f"fields are {', '.join(_FIELDS)}")
    for name, kind in _FIELDS.items():
        if type(body[name]) is not kind:
            raise Refused("form", f"{name} is no {kind.__name__}")
    if not 0 < body["number"] <= NUMBER_MAX:
        raise Refused("form", "number is outside 1..2**53")
    if not all(0 <= body[name] <= NUMBER_MAX for name in ("issued_ms", "expires_ms")):
        raise Refused("form", "a time is outside 0..2**53")
    if len(body["reason"]) > REASON_MAX or len(body["command"]) > 100:
        raise Refused("form", f"reason or command is longer than {REASON_MAX} or 100 characters")
    return Command(**body), CONTEXT + signed, signature


def _object(data: bytes) -> dict[str, Any]:
    try:
        body: object = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused("form", "is not JSON") from None
    if not isinstance(body, dict):
        raise Refused("form", "is not a JSON object")
    return cast("dict[str, Any]", body)


def _is_signed(operator: Operator, signed: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(operator.key))
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
