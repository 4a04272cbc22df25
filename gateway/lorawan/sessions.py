"""Device sessions on disk: `SessionStore`, one SQLite file, durable when a transaction returns.

WAL with `synchronous=FULL`: what `commit` returned for survives power loss. Writes open a
transaction by themselves; the network server commits once for a batch of frames. The file holds
keys, so it is readable by its owner alone. The command line opens the same file beside a running
server: `changed()` tells the server that somebody else wrote.
"""

import json
import os
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gateway.lorawan.keys import Key
from gateway.lorawan.model import Uplink
from gateway.lorawan.records import DeviceRecord, LoggedFrame, MacState, Queued, Session

_VERSION = 1
_TRIM_EVERY = 256  # frames logged between two trims of the ring

_SCHEMA = """
CREATE TABLE device (
  dev_eui TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, join_eui TEXT NOT NULL, app_key BLOB,
  activation TEXT NOT NULL, device_class TEXT NOT NULL, dev_nonce_rule TEXT NOT NULL,
  kind TEXT NOT NULL, decoder TEXT NOT NULL, codec TEXT NOT NULL, origin TEXT NOT NULL,
  added_ms INTEGER NOT NULL, dev_nonce INTEGER NOT NULL, join_nonce INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE retired (
  dev_eui TEXT PRIMARY KEY, app_key BLOB, dev_nonce INTEGER NOT NULL, join_nonce INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE used_nonce (
  dev_eui TEXT NOT NULL, nonce INTEGER NOT NULL, PRIMARY KEY (dev_eui, nonce)
) WITHOUT ROWID;
CREATE TABLE session (
  dev_eui TEXT NOT NULL, number INTEGER NOT NULL, dev_addr INTEGER NOT NULL,
  nwk_s_key BLOB NOT NULL, app_s_key BLOB NOT NULL, f_cnt_up INTEGER NOT NULL,
  f_cnt_down INTEGER NOT NULL, last_mic BLOB NOT NULL, repeats INTEGER NOT NULL,
  joined_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, gateway TEXT NOT NULL, mac TEXT NOT NULL,
  PRIMARY KEY (dev_eui, number)
) WITHOUT ROWID;
CREATE TABLE inbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, dev_eui TEXT NOT NULL, uplink TEXT NOT NULL,
  payload BLOB NOT NULL
);
CREATE TABLE downlink (
  id INTEGER PRIMARY KEY AUTOINCREMENT, dev_eui TEXT NOT NULL, f_port INTEGER NOT NULL,
  data BLOB NOT NULL, confirmed INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  tries INTEGER NOT NULL, f_cnt INTEGER NOT NULL, sent_ms INTEGER NOT NULL
);
CREATE TABLE frame (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, direction TEXT NOT NULL,
  dev_eui TEXT NOT NULL, what TEXT NOT NULL, f_cnt INTEGER NOT NULL, f_port INTEGER NOT NULL,
  size INTEGER NOT NULL, dr INTEGER NOT NULL, sf INTEGER NOT NULL, freq_hz INTEGER NOT NULL,
  rssi_dbm REAL NOT NULL, snr_db REAL NOT NULL, gateway TEXT NOT NULL, gateways INTEGER NOT NULL,
  detail TEXT NOT NULL
);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

_DEVICE = (
    "dev_eui, name, join_eui, app_key, activation, device_class, dev_nonce_rule, kind, decoder,"
    " codec, origin, added_ms, dev_nonce, join_nonce"
)
_SESSION = (
    "dev_eui, number, dev_addr, nwk_s_key, app_s_key, f_cnt_up, f_cnt_down, last_mic, repeats,"
    " joined_ms, seen_ms, gateway, mac"
)
_DOWNLINK = "id, dev_eui, f_port, data, confirmed, expires_ms, tries, f_cnt, sent_ms"
_FRAME = (
    "time_ms, direction, dev_eui, what, f_cnt, f_port, size, dr, sf, freq_hz, rssi_dbm, snr_db,"
    " gateway, gateways, detail"
)


def _marks(columns: str) -> str:
    return ", ".join("?" * (columns.count(",") + 1))


class StoreError(Exception):
    """The file cannot be used as it is, and only a person can mend it; one line."""


def _make_private(path: Path) -> None:
    """Create the file before SQLite does, so that it is never readable for others.

    Made by root (`sudo tukad lorawan add`), it belongs to whom the folder belongs: the agent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One accepted uplink that the agent has not confirmed yet."""

    id: int
    uplink: Uplink


class SessionStore:
    """The network server's SQLite file. One thread at a time; not one connection for two."""

    def __init__(self, path: Path, log_frames: int = 20_000) -> None:
        """Open or create; raises StoreError if it is not ours or of a newer version."""
        try:
            _make_private(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be made: {error.strerror}") from None
        self.path = path
        self._log_limit = log_frames
        self._logged = 0
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA busy_timeout=3000")
            self._db.execute("PRAGMA journal_mode=WAL")
            # NORMAL may lose committed rows at power loss in WAL mode: then a frame counter or a
            # nonce could be used again, so FULL.
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;"
                )
            elif version != _VERSION:
                raise StoreError(
                    f"{path} has schema {version}, this version of tukad knows {_VERSION}"
                )
            self._seen_version = self._data_version()
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(f"{path} cannot be used: {error}") from error
        except StoreError:
            self._db.close()
            raise

    # -- transactions

    def _begin(self) -> sqlite3.Connection:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        return self._db

    @property
    def is_dirty(self) -> bool:
        """Whether a transaction is open, that is, something waits for `commit`."""
        return self._db.in_transaction

    def commit(self) -> None:
        """Make what was written since the last commit durable (one fsync), or nothing of it."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Forget what was written since the last commit."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All of the block's writes, or none."""
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def close(self) -> None:
        """Idempotent."""
        self._db.close()

    def _data_version(self) -> int:
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def changed(self) -> bool:
        """Whether another connection committed since the last call."""
        version = self._data_version()
        if version == self._seen_version:
            return False
        self._seen_version = version
        return True

    # -- devices

    def devices(self) -> list[DeviceRecord]:
        """All registered devices."""
        rows = self._db.execute(f"SELECT {_DEVICE} FROM device ORDER BY name")
        return [_device(row) for row in rows]

    def device(self, name_or_eui: str) -> DeviceRecord | None:
        """One device by name or DevEUI."""
        row = self._db.execute(
            f"SELECT {_DEVICE} FROM device WHERE name = ?1 OR dev_eui = ?1", (name_or_eui,)
        ).fetchone()
        return None if row is None else _device(row)

    def save_device(self, device: DeviceRecord) -> None:
        """Insert or change one device; raises sqlite3.IntegrityError if the name is taken.

        Nonces are kept (also those of a device that was removed) while the AppKey is the same;
        with a new AppKey both start again and the old sessions end.
        """
        db = self._begin()
        before = db.execute(
            "SELECT app_key, dev_nonce, join_nonce FROM device WHERE dev_eui = ?1 UNION ALL"
            " SELECT app_key, dev_nonce, join_nonce FROM retired WHERE dev_eui = ?1 LIMIT 1",
            (device.dev_eui,),
        ).fetchone()
        dev_nonce, join_nonce = device.dev_nonce, device.join_nonce
        if before is not None and before[0] == device.app_key:
            dev_nonce, join_nonce = max(dev_nonce, before[1]), max(join_nonce, before[2])
        elif before is not None:
            for table in ("used_nonce", "session"):
                db.execute(f"DELETE FROM {table} WHERE dev_eui = ?", (device.dev_eui,))
        db.execute("DELETE FROM retired WHERE dev_eui = ?", (device.dev_eui,))
        db.execute(
            f"INSERT INTO device ({_DEVICE}) VALUES ({_marks(_DEVICE)})"
            " ON CONFLICT (dev_eui) DO UPDATE SET name=excluded.name, join_eui=excluded.join_eui,"
            " app_key=excluded.app_key, activation=excluded.activation,"
            " device_class=excluded.device_class, dev_nonce_rule=excluded.dev_nonce_rule,"
            " kind=excluded.kind, decoder=excluded.decoder, codec=excluded.codec,"
            " origin=excluded.origin, dev_nonce=excluded.dev_nonce,"
            " join_nonce=excluded.join_nonce",
            (
                device.dev_eui,
                device.name,
                device.join_eui,
                device.app_key,
                device.activation,
                device.device_class,
                device.dev_nonce_rule,
                device.kind,
                device.decoder,
                device.codec,
                device.origin,
                device.added_ms,
                dev_nonce,
                join_nonce,
            ),
        )

    def remove_device(self, dev_eui: str) -> None:
        """Forget a device with its sessions, queue and undelivered uplinks, but not its nonces.

        Added again with the same AppKey it goes on counting, so an old join request stays old.
        """
        db = self._begin()
        db.execute(
            "INSERT OR REPLACE INTO retired (dev_eui, app_key, dev_nonce, join_nonce)"
            " SELECT dev_eui, app_key, dev_nonce, join_nonce FROM device WHERE dev_eui = ?",
            (dev_eui,),
        )
        for table in ("device", "session", "downlink", "inbox"):
            db.execute(f"DELETE FROM {table} WHERE dev_eui = ?", (dev_eui,))

    def save_nonces(self, dev_eui: str, dev_nonce: int, join_nonce: int) -> None:
        """The last DevNonce accepted and the next JoinNonce."""
        self._begin().execute(
            "UPDATE device SET dev_nonce = ?, join_nonce = ? WHERE dev_eui = ?",
            (dev_nonce, join_nonce, dev_eui),
        )

    def use_nonce(self, dev_eui: str, nonce: int) -> bool:
        """Remember a random DevNonce; False if it was used before."""
        cursor = self._begin().execute(
            "INSERT OR IGNORE INTO used_nonce (dev_eui, nonce) VALUES (?, ?)", (dev_eui, nonce)
        )
        return cursor.rowcount == 1

    # -- sessions

    def sessions(self) -> list[Session]:
        """All sessions, by device and number."""
        rows = self._db.execute(f"SELECT {_SESSION} FROM session ORDER BY dev_eui, number")
        return [_session(row) for row in rows]

    def save_session(self, session: Session) -> None:
        """Insert or replace one session."""
        self._begin().execute(
            f"INSERT OR REPLACE INTO session ({_SESSION}) VALUES ({_marks(_SESSION)})",
            (
                session.dev_eui,
                session.number,
                session.dev_addr,
                session.nwk_s_key,
                session.app_s_key,
                session.f_cnt_up,
                session.f_cnt_down,
                session.last_mic,
                session.repeats,
                session.joined_ms,
                session.seen_ms,
                session.gateway,
                json.dumps(session.mac.to_json(), separators=(",", ":")),
            ),
        )

    def drop_sessions(self, dev_eui: str, but: int) -> None:
        """Delete a device's sessions except number `but`."""
        self._begin().execute(
            "DELETE FROM session WHERE dev_eui = ? AND number <> ?", (dev_eui, but)
        )

    # -- accepted uplinks on their way to the agent

    def put_inbox(self, uplink: Uplink) -> int:
        """Keep an accepted uplink until the agent confirmed it."""
        values = {one.name: getattr(uplink, one.name) for one in fields(uplink)}
        del values["payload"]
        cursor = self._begin().execute(
            "INSERT INTO inbox (dev_eui, uplink, payload) VALUES (?, ?, ?)",
            (uplink.dev_eui, json.dumps(values, separators=(",", ":")), uplink.payload),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def inbox(self) -> list[Undelivered]:
        """What was accepted and not confirmed, oldest first."""
        rows = self._db.execute("SELECT id, uplink, payload FROM inbox ORDER BY id")
        found: list[Undelivered] = []
        for number, text, payload in rows:
            values: dict[str, Any] = json.loads(text)
            values["gateways"] = tuple(values["gateways"])
            found.append(Undelivered(number, Uplink(**values, payload=payload)))
        return found

    def take_inbox(self, ids: Iterable[int]) -> None:
        """Forget confirmed uplinks."""
        self._begin().executemany("DELETE FROM inbox WHERE id = ?", [(one,) for one in ids])

    # -- downlinks

    def queue(self) -> list[Queued]:
        """All waiting downlinks, oldest first."""
        return [_queued(row) for row in self._db.execute(f"SELECT {_DOWNLINK} FROM downlink")]

    def put_downlink(
        self, dev_eui: str, f_port: int, data: bytes, confirmed: bool, expires_ms: int
    ) -> Queued:
        """Append one downlink to a device's queue."""
        cursor = self._begin().execute(
            "INSERT INTO downlink (dev_eui, f_port, data, confirmed, expires_ms, tries, f_cnt,"
            " sent_ms) VALUES (?, ?, ?, ?, ?, 0, -1, 0)",
            (dev_eui, f_port, data, confirmed, expires_ms),
        )
        assert cursor.lastrowid is not None
        return Queued(cursor.lastrowid, dev_eui, f_port, data, confirmed, expires_ms)

    def save_downlink(self, item: Queued) -> None:
        """Record a transmission of a downlink, or its new expiry."""
        self._begin().execute(
            "UPDATE downlink SET tries = ?, f_cnt = ?, sent_ms = ?, expires_ms = ? WHERE id = ?",
            (item.tries, item.f_cnt, item.sent_ms, item.expires_ms, item.id),
        )

    def take_downlink(self, number: int) -> None:
        """Forget a downlink."""
        self._begin().execute("DELETE FROM downlink WHERE id = ?", (number,))

    # -- the frame log and counters

    def log_frame(self, frame: LoggedFrame) -> None:
        """Append to the ring of frames; it rides on the transaction that is open anyway."""
        self._begin().execute(
            f"INSERT INTO frame ({_FRAME}) VALUES ({_marks(_FRAME)})",
            tuple(getattr(frame, one.name) for one in fields(frame)),
        )
        self._logged += 1
        if self._logged % _TRIM_EVERY == 0:
            self._db.execute(
                "DELETE FROM frame WHERE id <= (SELECT max(id) FROM frame) - ?", (self._log_limit,)
            )

    def frames(self, after: int = 0, limit: int = 1_000_000) -> list[tuple[int, LoggedFrame]]:
        """Logged frames with an id above `after`, oldest first; at most the `limit` newest."""
        rows = self._db.execute(
            f"SELECT id, {_FRAME} FROM frame WHERE id > ? ORDER BY id DESC LIMIT ?", (after, limit)
        ).fetchall()
        return [(row[0], LoggedFrame(*row[1:])) for row in reversed(rows)]

    def save_counters(self, counters: dict[str, int]) -> None:
        """Counters as the command line shows them."""
        self._begin().executemany(
            "INSERT OR REPLACE INTO counter (name, value) VALUES (?, ?)", list(counters.items())
        )

    def counters(self) -> dict[str, int]:
        """Counters as last saved."""
        return dict(self._db.execute("SELECT name, value FROM counter ORDER BY name").fetchall())


def _device(row: Any) -> DeviceRecord:
    dev_eui, name, join_eui, app_key, *rest = row
    key = None if app_key is None else Key(app_key)
    return DeviceRecord(dev_eui, name, join_eui, key, *rest)


def _session(row: Any) -> Session:
    dev_eui, number, dev_addr, nwk_s_key, app_s_key, *middle, mac = row
    values: list[Any] = [*middle, MacState.from_json(json.loads(mac))]
    return Session(dev_eui, number, dev_addr, Key(nwk_s_key), Key(app_s_key), *values)


def _queued(row: Any) -> Queued:
    number, dev_eui, f_port, data, confirmed, *rest = row
    return Queued(number, dev_eui, f_port, data, bool(confirmed), *rest)
