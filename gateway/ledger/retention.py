"""Keep the ledger inside its bounds: `maintain`, and what the bounds cost.

Delivered readings go first, oldest first, by age and by size. When the file is full of readings
that no sink has confirmed, history is thinned (every second reading of the older half), then the
oldest goes; each such loss is counted per stream and day and reported, never silent. Alarms stay;
only delivered ones go, by age.
"""

import sqlite3
from dataclasses import dataclass

from gateway.config import setting
from gateway.ledger.store import DAY_MS

_CHUNK = 5000


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Section [ledger]: how much is kept on this gateway."""

    max_mb: int = setting(1024, low=1, high=1_000_000, unit="MB", doc="size of the ledger's file")
    max_days: int = setting(
        400, low=1, high=36500, unit="days", doc="delivered readings older than this are removed"
    )
    reserve_mb: int = setting(
        4, low=0, high=1000, unit="MB", doc="kept free to be able to tidy up when the disk is full"
    )


@dataclass(frozen=True, slots=True)
class Removed:
    """What one round of tidying up removed."""

    delivered: int = 0
    unsent: int = 0


def used_bytes(db: sqlite3.Connection) -> int:
    """Bytes in use in the database file, without what is free inside it."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def maintain(db: sqlite3.Connection, keep: Retention, now_ms: int) -> Removed:
    """Remove what is over the bounds; a few chunks at most, so that it never takes long."""
    delivered = unsent = 0
    oldest = now_ms - keep.max_days * DAY_MS
    # Numbers grow with time, so only the first rows can be too old: no scan of the whole table.
    delivered += db.execute(
        "DELETE FROM reading WHERE id IN (SELECT id FROM (SELECT id, pending, received_ms"
        f" FROM reading ORDER BY id LIMIT {_CHUNK}) WHERE pending = 0 AND received_ms < ?)",
        (oldest,),
    ).rowcount
    db.execute(
        "DELETE FROM alarm WHERE id IN (SELECT id FROM (SELECT id, pending, body FROM alarm"
        f" ORDER BY id LIMIT {_CHUNK}) WHERE pending = 0"
        " AND json_extract(body, '$.decided_ms') < ?)",
        (oldest,),
    )
    limit = keep.max_mb * 1_000_000
    for _ in range(4):
        if used_bytes(db) <= limit:
            break
        removed = _delete(db, "pending = 0", ())
        delivered += removed
        if not removed:
            unsent += _thin(db)
    return Removed(delivered, unsent)


def free_some(db: sqlite3.Connection) -> int:
    """Remove a chunk of delivered readings at once, as when the disk is full."""
    return _delete(db, "pending = 0", ())


def _delete(db: sqlite3.Connection, where: str, values: tuple[int, ...]) -> int:
    return db.execute(
        f"DELETE FROM reading WHERE id IN"
        f" (SELECT id FROM reading WHERE {where} ORDER BY id LIMIT {_CHUNK})",
        values,
    ).rowcount


def _thin(db: sqlite3.Connection) -> int:
    """Drop unsent readings: every second one of the older half, then simply the oldest."""
    low, high = db.execute("SELECT min(id), max(id) FROM reading").fetchone()
    if low is None:
        return 0
    middle = (low + high) // 2
    for where, values in (
        ("id < ? AND sequence % 2 = 1", (middle,)),
        ("id <= ?", (high,)),
    ):
        chosen = f"SELECT id FROM reading WHERE {where} ORDER BY id LIMIT {_CHUNK}"
        db.execute(
            "INSERT INTO tally SELECT stream, time_ms / ?, 0, 0, 0, 0, count(*) FROM reading"
            f" WHERE id IN ({chosen}) GROUP BY 1, 2"
            " ON CONFLICT DO UPDATE SET dropped = dropped + excluded.dropped",
            (DAY_MS, *values),
        )
        removed = db.execute(f"DELETE FROM reading WHERE id IN ({chosen})", values).rowcount
        if removed:
            return removed
    return 0
