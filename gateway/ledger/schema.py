"""The ledger's tables and how a database is opened: `connect`, `SCHEMA`, error classes.

WAL with `synchronous=FULL`: a commit that returned survives a power cut. NORMAL would lose the last
commits then, and what was committed has been acknowledged to devices.
"""

import sqlite3
from pathlib import Path

VERSION = 2

SCHEMA = """
CREATE TABLE stream (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, stream TEXT NOT NULL,
  last INTEGER NOT NULL,              -- highest sequence stored; survives retention
  UNIQUE (device, stream)
);
CREATE TABLE reading (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: a late mark must not hit another row
  stream INTEGER NOT NULL, sequence INTEGER NOT NULL,
  time_ms INTEGER NOT NULL, time_source INTEGER NOT NULL, quality INTEGER NOT NULL,
  origin INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  body TEXT NOT NULL,                 -- values as JSON
  link TEXT,                          -- [rssi_dbm, snr_cb, data_rate, gateway] as JSON
  pending INTEGER NOT NULL            -- bit per sink that has not confirmed it
);
CREATE UNIQUE INDEX reading_identity ON reading (stream, sequence);
CREATE INDEX reading_pending ON reading (id) WHERE pending != 0;
CREATE TABLE alarm (
  id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, pending INTEGER NOT NULL
);
CREATE INDEX alarm_pending ON alarm (id) WHERE pending != 0;
CREATE TABLE gap (                    -- sequences first..last of a stream are not here
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  day INTEGER NOT NULL, since_ms INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  asked_ms INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX gap_stream ON gap (stream, first);
CREATE TABLE tally (                  -- counted in the same transaction as the readings
  stream INTEGER NOT NULL, day INTEGER NOT NULL, live INTEGER NOT NULL, history INTEGER NOT NULL,
  backfill INTEGER NOT NULL, repeats INTEGER NOT NULL, dropped INTEGER NOT NULL,
  PRIMARY KEY (stream, day)
) WITHOUT ROWID;
CREATE TABLE epoch (                  -- a device began to count from 0 again
  stream INTEGER NOT NULL, number INTEGER NOT NULL, since_ms INTEGER NOT NULL,
  last_before INTEGER NOT NULL,       -- the device's number of the newest reading before
  PRIMARY KEY (stream, number)
) WITHOUT ROWID;
CREATE TABLE sink (bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

# What leads from a version to the next; each step is one transaction with the new number in it.
_UPGRADES = {
    1: """
CREATE TABLE epoch (
  stream INTEGER NOT NULL, number INTEGER NOT NULL, since_ms INTEGER NOT NULL,
  last_before INTEGER NOT NULL,
  PRIMARY KEY (stream, number)
) WITHOUT ROWID;
""",
}

_DISK = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class LedgerFullError(OSError):
    """The reading could not be made durable: disk full, read-only or failing. Not acknowledged."""


def is_disk_error(error: sqlite3.Error) -> bool:
    """The disk is full, read-only or failing; the database itself may be sound."""
    return _primary(error) in _DISK


def is_corrupt(error: sqlite3.Error) -> bool:
    """The file is no database, or a broken one."""
    return _primary(error) in _CORRUPT


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open or create the database; one of an older version is brought up to date.

    Raises sqlite3.Error; sqlite3.DatabaseError if it is broken. A reader changes nothing and may
    see an older version.
    """
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        if read_only:
            db.execute("PRAGMA query_only=ON")
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA journal_size_limit=16777216")
        db.execute("PRAGMA wal_autocheckpoint=2000")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        while 0 < version < VERSION:
            step = _UPGRADES[version]
            version += 1
            db.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version={version}; COMMIT;")
        if version > VERSION:
            raise sqlite3.NotSupportedError(
                f"{path}: has ledger version {version}, this program writes {VERSION};"
                " install the newer program again, or move the file away to begin a new ledger"
            )
    except BaseException:
        db.close()
        raise
    return db
