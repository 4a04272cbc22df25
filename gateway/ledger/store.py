"""`Store`: what is in the ledger, as plain synchronous calls on one SQLite connection.

Owns no thread and no transaction: `gateway.ledger.ledger` calls it from its writer thread, many
calls inside one transaction. After a rollback call `reload`, for two small caches mirror tables.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.ledger.epochs import COUNTED, begin_epoch, epoch_of, number_of
from gateway.ledger.gaps import Gap, fill_gap, lose, open_gap, open_gaps
from gateway.model import BACKFILL, HISTORY, LIVE, ORIGINS, TIME_SOURCES, Alarm, Link, Reading

DAY_MS = 86_400_000

# Sinks that have no place for alarms.
_NO_ALARMS = ("sparkplug", "sensorthings")

_YOUNG = 64  # numbers of a log that began minutes ago

_COLUMNS = (
    "reading.id, device, stream.stream, sequence, time_ms, time_source, quality, origin,"
    " received_ms, body, link"
)
_JOINED = f"SELECT {_COLUMNS} FROM reading JOIN stream ON stream.id = reading.stream"
_INSERT = (
    "INSERT OR IGNORE INTO reading (stream, sequence, time_ms, time_source, quality, origin,"
    " received_ms, body, link, pending) VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_dumps = json.JSONEncoder(separators=(",", ":")).encode
SOURCE_CODES = {name: code for code, name in enumerate(TIME_SOURCES)}
_ORIGIN_CODES = {name: code for code, name in enumerate(ORIGINS)}


@dataclass(frozen=True, slots=True)
class Stored:
    """A reading with the ledger's number for it."""

    id: int
    reading: Reading


@dataclass(slots=True)
class _Stream:
    id: int
    last: int
    gaps: int


def reading_from_row(row: Any) -> Stored:
    """A row of `_COLUMNS` as a reading."""
    link: Link | None = None
    if row[10] is not None:
        rssi, snr, rate, gateway = json.loads(row[10])
        link = Link(rssi_dbm=rssi, snr_cb=snr, data_rate=rate, gateway=gateway)
    return Stored(
        row[0],
        Reading(
            device=row[1],
            stream=row[2],
            sequence=row[3],
            time_ms=row[4],
            time_source=TIME_SOURCES[int(row[5])],
            quality=row[6],
            origin=ORIGINS[int(row[7])],
            received_ms=row[8],
            values=json.loads(row[9]),
            link=link,
        ),
    )


class Store:
    """Readings, alarms, gaps and delivery marks on one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._streams: dict[tuple[str, str], _Stream] = {}
        self.sink_bits: dict[str, int] = {}
        self.reload()

    @property
    def db(self) -> sqlite3.Connection:
        """For the ledger's own modules."""
        return self._db

    def reload(self) -> None:
        """Read the caches again, as after a rollback."""
        gaps = dict(self._db.execute("SELECT stream, count(*) FROM gap GROUP BY stream"))
        self._streams = {
            (device, stream): _Stream(number, last, gaps.get(number, 0))
            for number, device, stream, last in self._db.execute(
                "SELECT id, device, stream, last FROM stream"
            )
        }
        rows = self._db.execute("SELECT name, bit FROM sink")
        self.sink_bits = dict(rows)

    # Sinks

    def open_sinks(self, names: Sequence[str]) -> None:
        """Give each sink its bit; what only forgotten sinks waited for counts as delivered."""
        for name in names:
            if name not in self.sink_bits:
                taken = set(self.sink_bits.values())
                bit = next(1 << n for n in range(62) if 1 << n not in taken)
                self._db.execute("INSERT INTO sink (bit, name) VALUES (?, ?)", (bit, name))
                self.sink_bits[name] = bit
        gone = [name for name in self.sink_bits if name not in names]
        for name in gone:
            bit = self.sink_bits.pop(name)
            self._db.execute("DELETE FROM sink WHERE bit = ?", (bit,))
            for table in ("reading", "alarm"):
                self._db.execute(
                    f"UPDATE {table} SET pending = pending & ~? WHERE pending != 0", (bit,)
                )

    @property
    def all_sinks(self) -> int:
        """The bits of every sink."""
        return sum(self.sink_bits.values())

    # Readings

    def last_sequence(self, device: str, stream: str) -> int | None:
        """The highest sequence ever stored of a stream."""
        known = self._streams.get((device, stream))
        return known.last if known else None

    def add(self, readings: Iterable[Reading]) -> list[Stored]:
        """Store what is new; return it with its numbers. Repeats are counted and ignored."""
        new: list[Stored] = []
        tallies: dict[tuple[int, int], list[int]] = {}
        pending = self.all_sinks
        for one in sorted(readings, key=lambda r: r.sequence):
            stream = self._stream(one)
            cursor = self._db.execute(
                _INSERT,
                (
                    stream.id,
                    one.sequence,
                    one.time_ms,
                    SOURCE_CODES[one.time_source],
                    one.quality,
                    _ORIGIN_CODES[one.origin],
                    one.received_ms,
                    _dumps(dict(one.values)),
                    None if one.link is None else _link(one.link),
                    pending,
                ),
            )
            tally = tallies.setdefault((stream.id, one.time_ms // DAY_MS), [0, 0, 0, 0])
            if cursor.rowcount != 1:
                tally[3] += 1
                continue
            assert cursor.lastrowid is not None
            new.append(Stored(cursor.lastrowid, one))
            tally[_ORIGIN_CODES[one.origin]] += 1
            if one.sequence > stream.last:
                if one.sequence > stream.last + 1 and one.stream in COUNTED:
                    self._skipped(stream, one)
                stream.last = one.sequence
                self._db.execute(
                    "UPDATE stream SET last = ? WHERE id = ?", (stream.last, stream.id)
                )
            elif stream.gaps:
                stream.gaps += fill_gap(self._db, stream.id, one.sequence)
        self._db.executemany(
            "INSERT INTO tally VALUES (?,?,?,?,?,?,0) ON CONFLICT DO UPDATE SET"
            " live = live + excluded.live, history = history + excluded.history,"
            " backfill = backfill + excluded.backfill, repeats = repeats + excluded.repeats",
            [(*key, *counts) for key, counts in tallies.items()],
        )
        return new

    def _stream(self, one: Reading) -> _Stream:
        key = (one.device, one.stream)
        known = self._streams.get(key)
        if known is None:
            # What a device counted before it came to this gateway is not a gap; but a log that has
            # hardly begun, began here, and its first frames were lost.
            last = one.sequence - 1
            cursor = self._db.execute(
                "INSERT INTO stream (device, stream, last) VALUES (?, ?, ?)",
                (one.device, one.stream, last),
            )
            assert cursor.lastrowid is not None
            known = self._streams[key] = _Stream(cursor.lastrowid, last, 0)
            number = number_of(one.sequence)
            if one.stream in COUNTED and 0 < number < _YOUNG:
                day = one.time_ms // DAY_MS
                open_gap(self._db, known.id, one.sequence - number, last, day, one.received_ms)
                known.gaps = 1
        return known

    def mark(self, sink: str, ids: Iterable[int]) -> None:
        """Note that a sink's other side confirmed these readings. Repeats are harmless."""
        keep = ~self.sink_bits[sink]
        self._db.executemany(
            "UPDATE reading SET pending = pending & ? WHERE id = ?", [(keep, i) for i in ids]
        )

    def unmark(self, sink: str, ids: Iterable[int]) -> None:
        """Take a confirmation back."""
        bit = self.sink_bits[sink]
        self._db.executemany(
            "UPDATE reading SET pending = pending | ? WHERE id = ?", [(bit, i) for i in ids]
        )

    def take(self, sink: str, before: int, limit: int) -> list[Stored]:
        """Up to `limit` readings that a sink has not confirmed, the newest below `before` first."""
        rows = self._db.execute(
            f"{_JOINED} WHERE pending != 0 AND pending & ? AND reading.id < ?"
            " ORDER BY reading.id DESC LIMIT ?",
            (self.sink_bits[sink], before, limit),
        )
        return [reading_from_row(row) for row in rows]

    def last_reading(self) -> int:
        """Number of the newest reading ever stored, 0 if there was none."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'reading'").fetchone()
        return 0 if row is None else row[0]

    def latest(self, device: str, stream: str) -> Reading | None:
        """The stored reading of a stream with the highest sequence."""
        row = self._db.execute(
            f"{_JOINED} WHERE device = ? AND stream.stream = ? ORDER BY sequence DESC LIMIT 1",
            (device, stream),
        ).fetchone()
        return None if row is None else reading_from_row(row).reading

    def stored_as(
        self, device: str, stream: str, sequences: Iterable[int]
    ) -> dict[int, tuple[int, dict[str, int]]]:
        """Time (Unix milliseconds) and values of those of these sequences that are here."""
        found: dict[int, tuple[int, dict[str, int]]] = {}
        for sequence in sequences:
            row = self._db.execute(
                "SELECT time_ms, body FROM reading WHERE sequence = ? AND stream ="
                " (SELECT id FROM stream WHERE device = ? AND stream = ?)",
                (sequence, device, stream),
            ).fetchone()
            if row is not None:
                found[sequence] = row[0], json.loads(row[1])
        return found

    def since(
        self, device: str | None, stream: str | None, after_id: int, limit: int
    ) -> list[Stored]:
        """Readings of a device (or all), of a stream (or all), stored after a number, in order."""
        rows = self._db.execute(
            f"{_JOINED} WHERE reading.id > ? AND (? IS NULL OR device = ?)"
            " AND (? IS NULL OR stream.stream = ?) ORDER BY reading.id LIMIT ?",
            (after_id, device, device, stream, stream, limit),
        )
        return [reading_from_row(row) for row in rows]

    def waiting(self) -> tuple[int, int]:
        """How many readings and alarms some sink has not confirmed."""
        count = "SELECT count(*) FROM {} WHERE pending != 0"
        readings = self._db.execute(count.format("reading")).fetchone()[0]
        return readings, self._db.execute(count.format("alarm")).fetchone()[0]

    # Alarms and small state

    def add_alarm(self, alarm: Alarm) -> int:
        """Store an alarm for every sink; returns its number."""
        body = _dumps({name: getattr(alarm, name) for name in Alarm.__dataclass_fields__})
        pending = sum(bit for name, bit in self.sink_bits.items() if name not in _NO_ALARMS)
        cursor = self._db.execute(
            "INSERT INTO alarm (body, pending) VALUES (?, ?)", (body, pending)
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def mark_alarm(self, sink: str, number: int) -> None:
        """Note that a sink's other side confirmed an alarm."""
        self._db.execute(
            "UPDATE alarm SET pending = pending & ? WHERE id = ?", (~self.sink_bits[sink], number)
        )

    def take_alarms(self, sink: str, limit: int) -> list[tuple[int, Alarm]]:
        """Alarms that a sink has not confirmed, oldest first."""
        rows = self._db.execute(
            "SELECT id, body FROM alarm WHERE pending != 0 AND pending & ? ORDER BY id LIMIT ?",
            (self.sink_bits[sink], limit),
        )
        return [(number, Alarm(**json.loads(body))) for number, body in rows]

    def last_alarm(self) -> int:
        """Number of the newest alarm, 0 if there is none."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'alarm'").fetchone()
        return 0 if row is None else row[0]

    def alarms_since(self, number: int, limit: int) -> list[tuple[int, Alarm]]:
        """Alarms with a higher number, oldest first."""
        rows = self._db.execute(
            "SELECT id, body FROM alarm WHERE id > ? ORDER BY id LIMIT ?", (number, limit)
        )
        return [(row[0], Alarm(**json.loads(row[1]))) for row in rows]

    def alarms(self, limit: int) -> list[Alarm]:
        """The latest alarms, newest first."""
        rows = self._db.execute("SELECT body FROM alarm ORDER BY id DESC LIMIT ?", (limit,))
        return [Alarm(**json.loads(body)) for (body,) in rows]

    def get_state(self, key: str) -> Any:
        """A small JSON value kept beside the readings, or None."""
        row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_state(self, key: str, value: Any) -> None:
        """Keep a small JSON value."""
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, _dumps(value)))

    # Gaps, in the devices' own numbers

    def _skipped(self, stream: _Stream, one: Reading) -> None:
        """A reading with a higher sequence than any of its stream: what lies between is a gap."""
        first: int | None = stream.last + 1
        if epoch_of(one.sequence) > epoch_of(stream.last):
            first = begin_epoch(self._db, stream.id, stream.last, one.sequence, one.time_ms)
        if first is not None and first < one.sequence:
            day = one.time_ms // DAY_MS
            open_gap(self._db, stream.id, first, one.sequence - 1, day, one.received_ms)
            stream.gaps += 1

    def gaps(self, device: str | None = None, limit: int = 1000) -> list[Gap]:
        """Gaps that may still be filled, the newest first."""
        return open_gaps(self._db, device, limit)

    def gap_asked(self, number: int, now_ms: int) -> None:
        """Note that the device was asked for a gap."""
        self._db.execute(
            "UPDATE gap SET tries = tries + 1, asked_ms = ? WHERE id = ?", (now_ms, number)
        )

    def gap_lost(self, number: int) -> None:
        """Give a gap up: the device no longer has it. A late reading still fills it."""
        self._db.execute("UPDATE gap SET lost = 1 WHERE id = ?", (number,))

    def lose(self, device: str, first: int, count: int) -> None:
        """The device says that it no longer has `count` readings from its number `first` on."""
        lose(self._db, device, first, count)
        self.reload()


def _link(link: Link) -> str:
    return _dumps([link.rssi_dbm, link.snr_cb, link.data_rate, link.gateway])


assert ORIGINS == (LIVE, HISTORY, BACKFILL)  # their order is the order of tally's columns
