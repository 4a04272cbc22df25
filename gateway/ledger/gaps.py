"""Gaps: sequences of a stream that are not here. `Gap` and the calls behind `Store`'s.

Stored are sequences with their epoch; a `Gap` has the device's own numbers, for those are what a
command must ask for. Only the device's present log can be asked: when a new epoch begins, what was
missing of the old one is lost.
"""

import sqlite3
from dataclasses import dataclass

from gateway.ledger.epochs import compose, epoch_of, number_of


@dataclass(frozen=True, slots=True)
class Gap:
    """The device's own numbers first..last, which never came."""

    id: int
    device: str
    stream: str
    first: int
    last: int
    since_ms: int
    tries: int
    asked_ms: int


def open_gap(
    db: sqlite3.Connection, stream: int, first: int, last: int, day: int, since_ms: int
) -> None:
    """Note that sequences first..last did not come, known since `since_ms`, before `day`'s end."""
    db.execute(
        "INSERT INTO gap (stream, first, last, day, since_ms) VALUES (?,?,?,?,?)",
        (stream, first, last, day, since_ms),
    )


def fill_gap(db: sqlite3.Connection, stream: int, sequence: int) -> int:
    """A reading came after all; returns by how many the stream's gaps grew (-1, 0, 1)."""
    row = db.execute(
        "SELECT id, first, last, day, since_ms, tries, asked_ms, lost FROM gap"
        " WHERE stream = ? AND first <= ? AND last >= ?",
        (stream, sequence, sequence),
    ).fetchone()
    if row is None:
        return 0
    number, first, last, *rest = row
    db.execute("DELETE FROM gap WHERE id = ?", (number,))
    parts = [(first, sequence - 1), (sequence + 1, last)]
    parts = [(low, high) for low, high in parts if low <= high]
    for low, high in parts:
        db.execute(
            "INSERT INTO gap (stream, first, last, day, since_ms, tries, asked_ms, lost)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (stream, low, high, *rest),
        )
    return len(parts) - 1


def open_gaps(db: sqlite3.Connection, device: str | None, limit: int) -> list[Gap]:
    """Gaps that may still be filled, the newest first."""
    rows = db.execute(
        "SELECT gap.id, device, stream.stream, first, gap.last, since_ms, tries, asked_ms"
        " FROM gap JOIN stream ON stream.id = gap.stream"
        " WHERE lost = 0 AND (? IS NULL OR device = ?) ORDER BY gap.id DESC LIMIT ?",
        (device, device, limit),
    )
    return [
        Gap(number, name, stream, number_of(first), number_of(last), *rest)
        for number, name, stream, first, last, *rest in rows
    ]


def lose(db: sqlite3.Connection, device: str, first: int, count: int) -> None:
    """The device no longer has `count` readings from its own number `first` on."""
    rows = db.execute(
        "SELECT gap.id, gap.stream, first, gap.last, day, since_ms, tries, asked_ms, stream.last"
        " FROM gap JOIN stream ON stream.id = gap.stream WHERE lost = 0 AND device = ?",
        (device,),
    ).fetchall()
    for number, stream, gap_first, gap_last, *rest, newest in rows:
        begin = compose(epoch_of(newest), first)
        low, high = max(gap_first, begin), min(gap_last, begin + count - 1)
        if low > high:
            continue
        db.execute("DELETE FROM gap WHERE id = ?", (number,))
        for part_first, part_last, lost in (
            (gap_first, low - 1, 0),
            (low, high, 1),
            (high + 1, gap_last, 0),
        ):
            if part_first <= part_last:
                db.execute(
                    "INSERT INTO gap (stream, first, last, lost, day, since_ms, tries, asked_ms)"
                    " VALUES (?,?,?,?,?,?,?,?)",
                    (stream, part_first, part_last, lost, *rest),
                )
