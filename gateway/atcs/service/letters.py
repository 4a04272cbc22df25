"""Signed messages between junctions and from vehicles: `Seal` signs, `Opener` checks. Sans-IO.

A letter is JSON with `from`, `n` (grows with every letter of a sender, over restarts too: use
Unix milliseconds), `time` (Unix ms), a body, and `mac`: HMAC-SHA256, hex, over the other members as
JSON with sorted keys and without spaces. Old, repeated, strange and forged letters are counted.
"""

import hmac
import json
from collections.abc import Mapping
from typing import Any, cast

LETTER_MAX = 4096
AGE_MS_MAX = 5_000
SENDERS_MAX = 256
KEY_MIN = 16


class RefusedError(Exception):
    """A letter is not taken; `args[0]` is the counted reason."""


def _mac(key: bytes, body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def seal(key: bytes, sender: str, now_ms: int, body: Mapping[str, Any]) -> bytes:
    """A letter of `sender` at `now_ms`; two in one millisecond are one too many."""
    letter = {**body, "from": sender, "n": now_ms, "time": now_ms}
    return json.dumps({**letter, "mac": _mac(key, letter)}, separators=(",", ":")).encode()


class Opener:
    """Checks letters of one key; remembers who said what last."""

    def __init__(self, key: bytes, age_ms_max: int = AGE_MS_MAX) -> None:
        self._key = key
        self._age_ms_max = age_ms_max
        self._last: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.taken = 0

    def open(self, data: bytes, now_ms: int) -> dict[str, Any]:
        """The letter. Raises RefusedError (counted) for any that is not to be taken."""
        try:
            letter = self._open(data, now_ms)
        except RefusedError as error:
            reason = str(error)
            self.refused[reason] = self.refused.get(reason, 0) + 1
            raise
        self.taken += 1
        return letter

    def _open(self, data: bytes, now_ms: int) -> dict[str, Any]:
        if len(data) > LETTER_MAX:
            raise RefusedError("too long")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise RefusedError("not JSON") from None
        if not isinstance(value, dict):
            raise RefusedError("not an object")
        letter = cast("dict[str, Any]", value)
        mac = letter.pop("mac", None)
        try:
            good = isinstance(mac, str) and hmac.compare_digest(
                mac.encode(), _mac(self._key, letter).encode()
            )
        except (ValueError, UnicodeEncodeError):
            good = False
        if not good:
            raise RefusedError("forged")
        sender, number, time_ms = letter.get("from"), letter.get("n"), letter.get("time")
        if type(sender) is not str or type(number) is not int or type(time_ms) is not int:
            raise RefusedError("incomplete")
        if abs(now_ms - time_ms) > self._age_ms_max:
            raise RefusedError("old")
        if number <= self._last.get(sender, -1):
            raise RefusedError("repeated")
        if sender not in self._last and len(self._last) >= SENDERS_MAX:
            raise RefusedError("too many senders")
        self._last[sender] = number
        return letter
