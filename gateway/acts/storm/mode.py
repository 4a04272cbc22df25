"""When storm mode begins, lasts and ends: `StormMode`. Sans-IO; its state survives a restart.

A cause says until when the mode is wanted; the latest one counts. Nodes are told an end; they are
told again when the end moves, a while before the one they know. The mode ends by itself, here and,
without any radio, in the nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RENEW_MS = 900_000  # nodes are told of a later end so long before the one that they know
_TELL_AGAIN_MS = 300_000  # and no more often than this,
_LAST_MS = 60_000  # unless they would calm down in so long


@dataclass(frozen=True, slots=True)
class Change:
    """What `step` decided: begin, tell the nodes a later end, or end."""

    what: str  # "begin", "extend", "end"
    until_ms: int
    incident: str
    cause: str  # rain, rise, stage, nowcast
    detail: str


class StormMode:
    """One site's storm mode."""

    def __init__(self, site: str, hold_ms: int, longest_ms: int) -> None:
        self._site = site
        self._hold_ms = hold_ms
        self._longest_ms = longest_ms
        self.until_ms = 0  # of the latest cause; the mode is on while it lies ahead
        self.told_ms = 0  # the end that nodes were told
        self._told_at_ms = 0
        self.incident = ""  # empty while it is off
        self.cause = ""
        self.detail = ""

    @property
    def is_on(self) -> bool:
        """Whether storm mode is on."""
        return bool(self.incident)

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "until_ms": self.until_ms,
            "told_ms": self.told_ms,
            "told_at_ms": self._told_at_ms,
            "incident": self.incident,
            "cause": self.cause,
            "detail": self.detail,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self.until_ms = state["until_ms"]
        self.told_ms = state["told_ms"]
        self._told_at_ms = state["told_at_ms"]
        self.incident = state["incident"]
        self.cause = state["cause"]
        self.detail = state["detail"]

    def want(self, cause: str, detail: str, now_ms: int, until_ms: int | None = None) -> None:
        """There is a cause now; it lasts until `until_ms`, or for the usual time."""
        until_ms = now_ms + self._hold_ms if until_ms is None else until_ms
        until_ms = min(until_ms, now_ms + self._longest_ms)
        if until_ms > max(self.until_ms, now_ms):
            self.until_ms = until_ms
            if not self.is_on:
                self.cause, self.detail = cause, detail

    def step(self, now_ms: int) -> Change | None:
        """What changes now; call it after causes and every few seconds."""
        if self.until_ms > now_ms + self._longest_ms:
            self.until_ms = now_ms + self._longest_ms  # the clock was set back
        if not self.is_on:
            if self.until_ms <= now_ms:
                return None
            self.incident = f"{self._site}/storm/{now_ms}"
            return self._tell("begin", now_ms)
        if self.until_ms <= now_ms:
            change = Change("end", now_ms, self.incident, self.cause, self.detail)
            self.incident = self.cause = self.detail = ""
            self.told_ms = 0
            return change
        is_later = self.until_ms > self.told_ms
        is_soon = now_ms >= self.told_ms - _RENEW_MS
        is_last = now_ms >= self.told_ms - _LAST_MS
        if is_later and is_soon and (is_last or now_ms - self._told_at_ms >= _TELL_AGAIN_MS):
            return self._tell("extend", now_ms)
        return None

    def _tell(self, what: str, now_ms: int) -> Change:
        self.told_ms = self.until_ms
        self._told_at_ms = now_ms
        return Change(what, self.until_ms, self.incident, self.cause, self.detail)
