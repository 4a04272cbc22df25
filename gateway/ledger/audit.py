"""Completeness by device and day: `audit`, `new_logs`, for `tukad gateway audit`.

Expected is what a device's own numbering says it measured; every number is received (live, inside
a later frame, or because we asked), dropped here by the size limit, lost for good, or missing.
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from gateway.ledger.epochs import Epoch, epochs
from gateway.ledger.schema import connect
from gateway.ledger.store import DAY_MS


@dataclass(frozen=True, slots=True)
class Line:
    """One stream on one day (UTC)."""

    device: str
    stream: str
    day: date
    live: int
    history: int  # came inside later frames
    backfill: int  # came because we asked
    repeats: int
    dropped: int  # lost here: the ledger was full and nothing took them
    lost: int  # the device no longer has them
    missing: int  # may still come
    waiting: int  # received, but not confirmed by every sink

    @property
    def received(self) -> int:
        """Readings stored."""
        return self.live + self.history + self.backfill

    @property
    def completeness(self) -> float:
        """Share of the expected readings that were received and kept, 0..1."""
        expected = self.received + self.lost + self.missing
        return (self.received - self.dropped) / expected if expected else 1.0


def audit(path: Path) -> list[Line]:
    """Every stream and day in the ledger, in order. Raises sqlite3.Error, FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(path)
    db = connect(path, read_only=True)
    try:
        return _lines(db)
    finally:
        db.close()


def new_logs(path: Path) -> list[Epoch]:
    """When devices began to count from 0 again. Raises sqlite3.Error, FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(path)
    db = connect(path, read_only=True)
    try:
        has_epochs = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'epoch'").fetchone()
        return epochs(db) if has_epochs else []
    finally:
        db.close()


def _lines(db: sqlite3.Connection) -> list[Line]:
    gaps: dict[tuple[int, int, int], int] = {
        (stream, day, lost): count
        for stream, day, lost, count in db.execute(
            "SELECT stream, day, lost, sum(last - first + 1) FROM gap GROUP BY 1, 2, 3"
        )
    }
    waiting: dict[tuple[int, int], int] = {
        (stream, day): count
        for stream, day, count in db.execute(
            # By itself SQLite would go through the whole table in the order of the groups.
            "SELECT stream, time_ms / ?, count(*) FROM reading INDEXED BY reading_pending"
            " WHERE pending != 0 GROUP BY 1, 2",
            (DAY_MS,),
        )
    }
    names = {
        row[0]: (row[1], row[2]) for row in db.execute("SELECT id, device, stream FROM stream")
    }
    tallies: dict[tuple[int, int], tuple[int, ...]] = {
        (row[0], row[1]): tuple(row[2:]) for row in db.execute("SELECT * FROM tally")
    }
    keys = sorted(
        tallies.keys() | {(stream, day) for stream, day, _ in gaps},
        key=lambda key: (names[key[0]], key[1]),
    )
    lines: list[Line] = []
    for stream, day in keys:
        live, history, backfill, repeats, dropped = tallies.get((stream, day), (0,) * 5)
        lines.append(
            Line(
                device=names[stream][0],
                stream=names[stream][1],
                day=datetime.fromtimestamp(day * 86_400, UTC).date(),
                live=live,
                history=history,
                backfill=backfill,
                repeats=repeats,
                dropped=dropped,
                lost=gaps.get((stream, day, 1), 0),
                missing=gaps.get((stream, day, 0), 0),
                waiting=waiting.get((stream, day), 0),
            )
        )
    return lines
