"""Back-fill payload (port 5): the answer to a gap request, self-contained (absolute numbers)."""

from protocols.errors import LocalError
from protocols.payload.flood import FloodSample
from protocols.payload.track import TrackFix


def encode_flood_backfill_into(buf: bytearray, limit: int, samples: "list[FloodSample]") -> int:
    """Put the first samples of `samples` (consecutive sequences, oldest first) into buf.

    Returns the length; `encoded_count()` of that payload says how many went in. limit >= 11.
    """
    raise LocalError("unfinished")


def encode_missing_into(buf: bytearray, first_sequence: int, count: int) -> int:
    """Say that the log no longer has these readings, so that nobody asks again."""
    raise LocalError("unfinished")


def encode_track_backfill_into(buf: bytearray, limit: int, fixes: "list[TrackFix]") -> int:
    """The same for fixes."""
    raise LocalError("unfinished")


class Backfill:
    """kind ("flood" | "track" | "missing"), samples (oldest first), first_sequence, count."""


def decode_backfill(data: bytes) -> Backfill:
    """Raises RemoteError."""
    raise LocalError("unfinished")
