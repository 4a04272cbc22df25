"""A ledger of version 1 is brought up to date in one step, or not at all; epochs in the audit."""

import sqlite3
from pathlib import Path

import pytest

from gateway.ledger.audit import audit, new_logs
from gateway.ledger.epochs import compose
from gateway.ledger.ledger import Ledger
from gateway.ledger.retention import Retention
from gateway.ledger.schema import VERSION, connect
from gateway.ledger.store import Store
from tests.gateway.samples import reading

FIXTURE = Path(__file__).parent / "fixtures" / "ledger_v1.sql"  # written by the program of then


def make_v1(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode=WAL;" + FIXTURE.read_text())
    db.close()


def version(path: Path) -> int:
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA user_version").fetchone()[0]
    finally:
        db.close()


def test_everything_in_an_old_ledger_is_still_there(tmp_path: Path) -> None:
    make_v1(tmp_path / "ledger.db")
    before = audit(tmp_path / "ledger.db")
    assert version(tmp_path / "ledger.db") == 1, "looking at it changes nothing"
    ledger = Ledger(tmp_path, Retention(reserve_mb=0), ["city"])
    ledger.open()
    waiting = ledger.call(lambda store: store.take("city", 1 << 62, 99))
    assert [one.id for one in waiting] == [8, 7, 6, 5, 4]
    assert [one.reading.sequence for one in waiting] == [2, 1, 0, 8, 7]
    gaps = ledger.call(lambda store: store.gaps())
    assert [(gap.first, gap.last) for gap in gaps] == [(4, 6)]
    assert ledger.call(lambda store: store.get_state("command/kumbasari")) == 12
    assert len(ledger.call(lambda store: store.take_alarms("city", 9))) == 1
    assert ledger.call(lambda store: store.add([reading(8, 8)])) == []
    ledger.close()
    assert version(tmp_path / "ledger.db") == VERSION
    after = audit(tmp_path / "ledger.db")
    assert [(one.device, one.received, one.missing) for one in after] == [
        (one.device, one.received, one.missing) for one in before
    ]


def test_an_upgrade_that_is_cut_off_starts_again(tmp_path: Path) -> None:
    """No step of it is durable before the last: a reader never sees half of it."""
    path = tmp_path / "ledger.db"
    make_v1(path)
    full = sqlite3.connect(path, isolation_level=None)
    full.execute("PRAGMA journal_mode=WAL")
    full.execute("BEGIN IMMEDIATE")
    full.execute("CREATE TABLE epoch (stream INTEGER)")
    full.execute("PRAGMA user_version=2")
    # The power goes: what is on disk now is copied, with the WAL of an open transaction.
    copy = tmp_path / "after" / "ledger.db"
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            Path(f"{copy}{suffix}").write_bytes(source.read_bytes())
    full.execute("ROLLBACK")
    full.close()
    assert version(copy) == 1
    db = connect(copy)
    assert db.execute("SELECT count(*) FROM reading").fetchone()[0] == 8
    assert db.execute("SELECT count(*) FROM epoch").fetchone()[0] == 0
    db.close()
    assert version(copy) == VERSION


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    make_v1(tmp_path / "ledger.db")
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(sqlite3.NotSupportedError, match="version 99"):
        connect(tmp_path / "ledger.db")
    assert version(tmp_path / "ledger.db") == 99


def test_a_broken_old_ledger_is_salvaged_into_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_v1(path)
    db = sqlite3.connect(path)
    root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'alarm'").fetchone()[0]
    size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    ledger = Ledger(tmp_path, Retention(reserve_mb=0), ["city"])
    ledger.open()
    ledger.call(_touch_alarms)
    assert len(ledger.call(lambda store: store.since(None, None, 0, 99))) == 8
    assert ledger.counters.quarantined == 1 and ledger.counters.salvaged == 8
    ledger.close()


def _touch_alarms(store: Store) -> None:
    store.db.execute("SELECT count(*), max(body) FROM alarm").fetchone()


def test_a_new_log_is_a_new_epoch_and_the_audit_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    db = connect(path)
    store = Store(db)
    db.execute("BEGIN")
    store.add([reading(n, n) for n in (100, 101, 105)])
    assert [(gap.first, gap.last) for gap in store.gaps()] == [(102, 104)]
    # Erased: the readings 0 and 1 never came; 10 s apart, they fit between the two logs.
    new = store.add([reading(compose(1, n), n, at_s=1100 + 10 * n) for n in (2, 3)])
    assert len(new) == 2
    assert [(gap.first, gap.last) for gap in store.gaps()] == [(0, 1)], "its own numbers"
    store.lose("kumbasari", 0, 1)
    assert [(gap.first, gap.last) for gap in store.gaps()] == [(1, 1)]
    late = store.add([reading(compose(1, 1), 9, at_s=1110, origin="backfill")])
    assert len(late) == 1 and store.gaps() == []
    # Another flash, which has counted elsewhere: what it measured there is no business of ours.
    assert len(store.add([reading(compose(2, 70_000), 1, at_s=1300)])) == 1
    assert store.gaps() == []
    db.execute("COMMIT")
    db.close()
    lines = audit(path)
    assert sum(line.lost for line in lines) == 3 + 1
    assert sum(line.received for line in lines) == 3 + 2 + 1 + 1
    assert [(one.number, one.last_before) for one in new_logs(path)] == [(1, 105), (2, 3)]
