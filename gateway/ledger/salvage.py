"""A broken database: `quarantine` puts it aside, `salvage` copies what can still be read."""

import sqlite3
from pathlib import Path

from gateway.ledger.schema import connect, is_corrupt

_CHUNK = 500
_TABLES = ("stream", "sink", "state", "gap", "tally", "epoch", "alarm", "reading")


def quarantine(path: Path, now_ms: int) -> Path:
    """Rename the database, with its WAL, to `NAME.broken-TIME`; returns the new path."""
    aside = path.with_name(f"{path.name}.broken-{now_ms}")
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    return aside


def salvage(aside: Path, db: sqlite3.Connection) -> int:
    """Copy what reads of the broken file into the new database; returns the readings copied.

    Rows are fetched in small ranges, from the front and then from the back, so that a broken page
    costs the rows on it and not the rest of the table.
    """
    saved = 0
    try:
        old = connect(aside, read_only=True)
    except sqlite3.Error:
        return 0
    try:
        db.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            try:
                saved_here = _copy(old, db, table)
            except sqlite3.OperationalError as error:
                if table != "epoch":  # a ledger of version 1 has none
                    raise error
                saved_here = 0
            except sqlite3.DatabaseError as error:
                if not is_corrupt(error):
                    raise
                saved_here = 0
            if table == "reading":
                saved = saved_here
        # A stream's high mark must never fall behind its readings: a number may not be used twice.
        db.execute(
            "UPDATE stream SET last = max(last, coalesce("
            "(SELECT max(sequence) FROM reading WHERE reading.stream = stream.id), last))"
        )
        db.execute("COMMIT")
    except sqlite3.DatabaseError:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return 0
    finally:
        old.close()
    return saved


def _copy(old: sqlite3.Connection, db: sqlite3.Connection, table: str) -> int:
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    insert = f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(columns))})"
    if table not in ("reading", "alarm"):
        rows = old.execute(f"SELECT * FROM {table}").fetchall()
        db.executemany(insert, rows)
        return len(rows)
    insert = insert.replace("REPLACE", "IGNORE")
    copied = 0
    seen_to = -1
    try:  # forwards, until a broken page
        while rows := old.execute(
            f"SELECT * FROM {table} WHERE id > ? ORDER BY id LIMIT {_CHUNK}", (seen_to,)
        ).fetchall():
            copied += db.executemany(insert, rows).rowcount
            seen_to = rows[-1][0]
        return copied
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
    below = 1 << 62
    for size in (_CHUNK, 20, 1):  # backwards, down to the broken page, in ever smaller steps
        try:
            while rows := old.execute(
                f"SELECT * FROM {table} WHERE id < ? AND id > ? ORDER BY id DESC LIMIT {size}",
                (below, seen_to),
            ).fetchall():
                copied += db.executemany(insert, rows).rowcount
                below = rows[-1][0]
            break
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
    return copied
