"""The two kinds of protocol error, by who must act: `LocalError` and `RemoteError`.

Incomplete input is never an error: readers return `None` until a whole frame is there.
"""


class ProtocolError(Exception):
    """Base of both; `code` is a stable word from a closed list, fit for a counter's name."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.code + ": " + self.detail if self.detail else self.code


class LocalError(ProtocolError):
    """We asked for something the protocol forbids: our bug. Never retry."""


class RemoteError(ProtocolError):
    """The peer, or the line, sent something the protocol forbids. Count it, drop it, go on."""
