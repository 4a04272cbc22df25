"""Epochs of a device's own numbering: `compose`, `number_of`, `epoch_of`, `begin_epoch`.

A device whose log was erased (reset to factory state, flash swapped) counts from 0 again. Its new
readings must not be taken for the old ones of the same numbers, so the ledger stores

    sequence = epoch << 32 | the device's own number (below 2**30)

and a new log is a new epoch. Epoch 0 is the first, so nothing changes for a device that was never
erased. Only streams that devices number themselves (`COUNTED`) have epochs.
"""

import sqlite3
from dataclasses import dataclass

# Streams whose devices number every reading; in others a hole in the numbers means nothing.
COUNTED = ("flood", "track")

_BITS = 32
_SPACING_MS = 10_000  # readings of a device are at least this far apart (docs/payload.md)
_SLACK = 2  # readings, for rounded times


@dataclass(frozen=True, slots=True)
class Epoch:
    """A new log that a device began."""

    device: str
    stream: str
    number: int  # 1 is the first after the original log
    since_ms: int  # time of its first reading here
    last_before: int  # the device's number of the newest reading of the log before


def compose(epoch: int, number: int) -> int:
    """The stored sequence of a device's own number."""
    return epoch << _BITS | number


def number_of(sequence: int) -> int:
    """The device's own number of a stored sequence."""
    return sequence & ((1 << _BITS) - 1)


def epoch_of(sequence: int) -> int:
    """Which of the device's logs a stored sequence belongs to."""
    return sequence >> _BITS


def readings_between(first_ms: int, last_ms: int) -> int:
    """How many readings a device may have taken between two times at most."""
    return max(0, last_ms - first_ms) // _SPACING_MS + _SLACK


def begin_epoch(
    db: sqlite3.Connection, stream: int, last: int, sequence: int, time_ms: int
) -> int | None:
    """Close the log that ended with `last`, begin the one of `sequence`, a reading at `time_ms`.

    What was missing of the old log is lost for good: the device no longer has it. Returns the first
    sequence of a gap before `sequence`, or None: numbers from 0 on are missing if so many readings
    fit between the two logs; if not, the new log was begun elsewhere, and they are no business of
    ours.
    """
    before = db.execute(
        "SELECT time_ms FROM reading WHERE stream = ? AND sequence = ?", (stream, last)
    ).fetchone()
    db.execute("UPDATE gap SET lost = 1 WHERE stream = ? AND lost = 0", (stream,))
    db.execute(
        "INSERT OR IGNORE INTO epoch (stream, number, since_ms, last_before) VALUES (?,?,?,?)",
        (stream, epoch_of(sequence), time_ms, number_of(last)),
    )
    fits = before is not None and number_of(sequence) <= readings_between(before[0], time_ms)
    return compose(epoch_of(sequence), 0) if fits and number_of(sequence) else None


def epochs(db: sqlite3.Connection) -> list[Epoch]:
    """Every new log, in order of stream and number."""
    rows = db.execute(
        "SELECT device, stream.stream, number, since_ms, last_before FROM epoch"
        " JOIN stream ON stream.id = epoch.stream ORDER BY device, stream.stream, number"
    )
    return [Epoch(*row) for row in rows]
