"""The ledger's promises: durable, exact, bounded, and able to go on after what breaks it."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ledger.ledger import Ledger
from gateway.ledger.retention import Retention, maintain
from gateway.ledger.schema import LedgerFullError, connect
from gateway.ledger.store import Store
from gateway.model import BACKFILL, HISTORY
from tests.gateway.samples import START_MS, open_ledger, reading, readings

NEWEST = 1 << 62


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    db = connect(tmp_path / "store.db")
    store = Store(db)
    store.open_sinks(["city"])
    yield store
    db.close()


def gaps(store: Store) -> list[tuple[int, int]]:
    return sorted((gap.first, gap.last) for gap in store.gaps())


def test_a_repeat_is_stored_once_and_counted(store: Store) -> None:
    assert len(store.add(readings([1, 2, 3]))) == 3
    assert [s.reading.sequence for s in store.add(readings([2, 3, 4]))] == [4]


def test_holes_become_gaps_and_late_readings_close_them(store: Store) -> None:
    store.add(readings([110, 114, 120]))
    assert gaps(store) == [(111, 113), (115, 119)]
    store.add([reading(112, origin=HISTORY)])
    assert gaps(store) == [(111, 111), (113, 113), (115, 119)]
    store.add(readings([111, 113, 115, 116, 117, 118, 119]))
    assert gaps(store) == []


def test_what_a_device_counted_before_it_came_here_is_no_gap(store: Store) -> None:
    store.add(readings([5000, 5001]))
    assert gaps(store) == []


def test_streams_without_a_counter_of_their_own_have_no_gaps(store: Store) -> None:
    store.add([reading(1, stream="status"), reading(9, stream="status")])
    assert gaps(store) == []


def test_what_the_device_no_longer_has_is_given_up_and_the_rest_is_not(store: Store) -> None:
    store.add(readings([0, 10]))
    store.lose("kumbasari", 3, 4)
    assert gaps(store) == [(1, 2), (7, 9)]
    store.add([reading(4, origin=BACKFILL)])  # it did have it: still welcome
    assert [s.reading.sequence for s in store.take("city", NEWEST, 9)].count(4) == 1


def test_history_is_taken_from_the_newest_backwards(store: Store) -> None:
    store.add(readings(range(10)))
    first = store.take("city", NEWEST, 4)
    assert [s.reading.sequence for s in first] == [9, 8, 7, 6]
    assert [s.reading.sequence for s in store.take("city", first[-1].id, 4)] == [5, 4, 3, 2]


def test_a_sink_that_is_gone_holds_nothing_back(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, sinks=("city", "copy"))
    ledger.call(lambda store: store.add(readings([1])))
    ledger.call(lambda store: store.mark("city", [1]))
    assert ledger.call(lambda store: store.waiting()) == (1, 0)
    ledger.close()
    ledger = open_ledger(tmp_path, sinks=("city",))
    assert ledger.call(lambda store: store.waiting()) == (0, 0)
    ledger.close()


def test_many_writers_share_commits_and_each_is_durable(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)

    async def write() -> None:
        await asyncio.gather(*(ledger.add([reading(n)]) for n in range(500)))

    asyncio.run(write())
    assert ledger.counters.commits < 250
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("SELECT count(*) FROM reading").fetchone()[0] == 500
    other.close()
    ledger.close()


def test_one_bad_request_does_not_spoil_its_neighbours(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)

    def bad(_store: Store) -> None:
        raise ValueError("a bug")

    async def write() -> list[object]:
        jobs = [ledger.add([reading(1)]), ledger.write(bad), ledger.add([reading(2)])]
        return await asyncio.gather(*jobs, return_exceptions=True)

    results = asyncio.run(write())
    assert isinstance(results[1], ValueError)
    assert ledger.call(lambda store: len(store.take("city", NEWEST, 9))) == 2
    ledger.close()


def test_a_caller_that_goes_away_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Its future is cancelled before, while or after the writer has it: all the same."""
    ledger = open_ledger(tmp_path)

    async def write() -> None:
        for n in range(200):
            task = asyncio.create_task(ledger.add([reading(n)]))
            for _ in range(n % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            await ledger.add([reading(1000)])

    asyncio.run(write())
    ledger.close()


def test_changes_that_wait_for_a_commit_keep_their_order(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)

    async def write() -> None:
        for _ in range(50):
            (one,) = await ledger.add([reading(ledger.counters.stored)])
            ledger.write_soon(lambda store, number=one.id: store.mark("city", [number]))
            await ledger.write(lambda store, number=one.id: store.unmark("city", [number]))

    asyncio.run(write())
    assert ledger.call(lambda store: store.waiting()) == (50, 0)
    ledger.close()


def test_unsent_readings_are_thinned_only_when_full_and_counted(tmp_path: Path) -> None:
    db = connect(tmp_path / "store.db")
    store = Store(db)
    store.open_sinks(["city"])
    db.execute("BEGIN")
    store.add(readings(range(30_000)))
    db.execute("COMMIT")
    roomy, tight = Retention(max_mb=100), Retention(max_mb=1)
    assert maintain(db, roomy, START_MS).unsent == 0
    removed = maintain(db, tight, START_MS)
    assert removed.unsent > 0 and removed.delivered == 0
    left = {s.reading.sequence for s in store.take("city", NEWEST, 99_999)}
    assert len(left) == 30_000 - removed.unsent
    assert max(left) == 29_999
    assert db.execute("SELECT sum(dropped) FROM tally").fetchone()[0] == removed.unsent
    db.close()


def test_delivered_readings_go_before_unsent_ones(tmp_path: Path) -> None:
    db = connect(tmp_path / "store.db")
    store = Store(db)
    store.open_sinks(["city"])
    db.execute("BEGIN")
    new = store.add(readings(range(30_000)))
    store.mark("city", [one.id for one in new if one.reading.sequence % 10])
    db.execute("COMMIT")
    removed = maintain(db, Retention(max_mb=1), START_MS)
    assert removed.delivered > 0 and removed.unsent == 0
    db.close()


def test_old_delivered_readings_go_by_age(tmp_path: Path) -> None:
    db = connect(tmp_path / "store.db")
    store = Store(db)
    store.open_sinks(["city"])
    new = store.add(readings(range(100)))
    store.mark("city", [one.id for one in new[:50]])
    year_later = START_MS + 400 * 86_400_000
    assert maintain(db, Retention(max_days=300), year_later).delivered == 50
    assert len(store.take("city", NEWEST, 999)) == 50
    db.close()


def break_file(path: Path, at: float) -> None:
    """Overwrite a stretch of the file, as a worn card does."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * at) // 4096 * 4096
    data[start : start + 8192] = b"\xa5" * 8192
    path.write_bytes(data)


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 500)
    ledger = open_ledger(tmp_path)
    assert ledger.counters.quarantined == 1
    asyncio.run(ledger.add([reading(1)]))
    ledger.close()
    assert list(tmp_path.glob("ledger.db.broken-*"))


def test_a_broken_page_costs_few_readings_and_no_sequence_comes_again(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    asyncio.run(ledger.add(readings(range(8000))))
    ledger.close()
    break_file(tmp_path / "ledger.db", 0.4)
    ledger = open_ledger(tmp_path)

    async def use(ledger: Ledger) -> int:
        # Only touching the broken page shows it.
        for n in range(0, 8000, 100):
            await ledger.add([reading(n), reading(8000 + n)])
        waiting = await ledger.read(lambda store: store.take("city", NEWEST, 99_999))
        return len({s.reading.sequence for s in waiting})

    async def salvaged() -> int:
        try:
            return await use(ledger)
        except OSError:
            return await use(ledger)

    count = asyncio.run(salvaged())
    assert ledger.counters.quarantined == 1
    assert ledger.counters.salvaged > 7000
    assert count > 7000
    assert ledger.call(lambda store: store.last_sequence("kumbasari", "flood")) == 15_900
    ledger.close()


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files cannot grow beyond 400 kB: as a full disk, SQLite sees EFBIG instead of ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_loudly_and_keeps_what_it_took(
    tmp_path: Path, small_disk: None
) -> None:
    ledger = open_ledger(tmp_path)
    taken: set[int] = set()

    async def fill() -> None:
        for n in range(0, 20_000, 50):
            try:
                await ledger.add(readings(range(n, n + 50)))
            except LedgerFullError:
                return
            taken.update(range(n, n + 50))
        raise AssertionError("the disk never became full")

    asyncio.run(fill())
    assert ledger.disk_error
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    waiting = ledger.call(lambda store: store.take("city", NEWEST, 99_999))
    assert {s.reading.sequence for s in waiting} == taken
    asyncio.run(ledger.add([reading(50_000)]))  # it goes on by itself
    assert not ledger.disk_error
    ledger.close()
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_read_only_database_is_no_success(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    asyncio.run(ledger.add([reading(1)]))
    ledger.call(lambda store: store._db.execute("PRAGMA query_only=ON") and None)
    with pytest.raises(LedgerFullError):
        asyncio.run(ledger.add([reading(2)]))
    ledger.close()


def test_the_first_readings_of_a_new_device_are_missed_those_before_this_gateway_are_not(
    tmp_path: Path,
) -> None:
    ledger = open_ledger(tmp_path)
    ledger.call(lambda store: store.add([reading(3), reading(4)]))
    ledger.call(lambda store: store.add([reading(5000, device="old")]))
    assert [(g.device, g.first, g.last) for g in ledger.call(lambda store: store.gaps())] == [
        ("kumbasari", 0, 2)
    ]
    ledger.call(lambda store: store.add([reading(1)]))
    assert [(g.first, g.last) for g in ledger.call(lambda store: store.gaps())] == [(2, 2), (0, 0)]
    ledger.close()
