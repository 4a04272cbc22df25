"""`Ledger`: the durable store as the rest of the gateway sees it, safe to call from asyncio.

One thread writes. It takes every request that is waiting, runs all of them in one transaction and
commits once (group commit): with a disk that needs 20 ms for an fsync, a thousand readings still
become durable in 20 ms. A second thread reads. `write` returns after the commit, and not before.

Failures: a full, read-only or failing disk raises `LedgerFullError` to whoever waits, after what
was kept in reserve has been used to tidy up; a broken database is put aside
(`ledger.db.broken-...`), a new one is started and what can still be read is copied over.
"""

import asyncio
import logging
import queue
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gateway.ledger.retention import Retention, free_some, maintain, used_bytes
from gateway.ledger.salvage import quarantine, salvage
from gateway.ledger.schema import LedgerFullError, connect, is_corrupt, is_disk_error
from gateway.ledger.store import Store, Stored
from gateway.model import Reading

T = TypeVar("T")
log = logging.getLogger("tukad.ledger")

_GROUP_MAX = 256  # requests in one transaction: bounds what one failed commit takes back
_MAINTAIN_S = 30.0
_LAZY_S = 1.0
_LAZY_MAX = 100


@dataclass(slots=True)
class Counters:
    """Counted since the start; names are metric labels."""

    stored: int = 0
    repeats: int = 0
    commits: int = 0
    refused: int = 0  # requests answered with LedgerFullError
    removed_delivered: int = 0
    dropped_unsent: int = 0
    quarantined: int = 0
    salvaged: int = 0


@dataclass(slots=True)
class _Request:
    run: Callable[[Store], Any]
    future: "Future[Any]"
    result: Any = None


class Ledger:
    """Open with `open`, close with `close`; see the module's docstring."""

    def __init__(self, folder: Path, keep: Retention, sinks: Sequence[str]) -> None:
        self.path = folder / "ledger.db"
        self._reserve = folder / "reserve"
        self._keep = keep
        self._sinks = tuple(sinks)
        self.counters = Counters()
        self.disk_error = ""  # the latest, while it lasts
        self.used_bytes = 0
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._lazy: deque[_Request] = deque()  # appended by the loop, taken by the writer
        self._reader = ThreadPoolExecutor(1, "ledger-reader")
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._db: sqlite3.Connection
        self._store: Store
        self._read_db: sqlite3.Connection | None = None
        self._read_store: Store | None = None
        self._generation = 0  # grows when the database file is replaced
        self._read_generation = -1
        self._is_open = False

    # The asyncio side

    def open(self) -> None:
        """Open or create the database and start the writer. Raises sqlite3.Error or OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open_db()
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                self._replace(error)
            elif is_disk_error(error) and self._reserve.exists():
                # To bring an old ledger up to date takes a little space.
                self._reserve.unlink()
                self._open_db()
            else:
                raise
        self._is_open = True
        self._make_reserve()
        self._thread.start()

    def close(self) -> None:
        """Finish what is waiting, checkpoint and close. Repeats are harmless."""
        if not self._is_open:
            return
        self._is_open = False
        self._requests.put(None)
        self._thread.join()
        self._reader.submit(self._close_reader).result()
        self._reader.shutdown()
        self._db.close()

    async def write(self, run: Callable[[Store], T]) -> T:
        """Run a change in the writer's next transaction; returns when it is on disk.

        Raises LedgerFullError when it could not be made durable; nothing of it is then stored.
        """
        future: Future[T] = Future()
        self._requests.put(_Request(run, future))
        return await asyncio.wrap_future(future)

    def write_soon(self, run: Callable[[Store], object]) -> None:
        """Queue a change whose loss in a crash does no harm, such as a delivery mark.

        It shares the fsync of the next `write`, or waits a second for one.
        """
        self._lazy.append(_Request(run, Future()))
        if len(self._lazy) == _LAZY_MAX:
            self._requests.put(_Request(_nothing, Future()))

    async def add(self, readings: Sequence[Reading]) -> list[Stored]:
        """Make readings durable; returns those that are new. Raises LedgerFullError."""
        new = await self.write(lambda store: store.add(readings))
        self.counters.stored += len(new)
        self.counters.repeats += len(readings) - len(new)
        return new

    async def read(self, run: Callable[[Store], T]) -> T:
        """Run a query on the reader's own connection."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._query, run)

    def call(self, run: Callable[[Store], T]) -> T:
        """As `write`, but blocking: for start-up, before the loop has work."""
        future: Future[T] = Future()
        self._requests.put(_Request(run, future))
        return future.result()

    # The reader's thread

    def _query(self, run: Callable[[Store], T]) -> T:
        if self._read_store is None or self._read_generation != self._generation:
            self._close_reader()
            self._read_generation = self._generation
            self._read_db = connect(self.path, read_only=True)
            self._read_store = Store(self._read_db)
        self._read_store.sink_bits = self._store.sink_bits
        try:
            return run(self._read_store)
        except sqlite3.DatabaseError as error:
            self._close_reader()
            if is_corrupt(error):
                self.write_soon(self._report(error, self._read_generation))
            raise OSError(f"{self.path}: {error}") from error

    def _report(self, error: sqlite3.Error, generation: int) -> Callable[[Store], None]:
        """Tell the writer what the reader found, unless that file was replaced meanwhile."""

        def run(_store: Store) -> None:
            if generation == self._generation:
                raise error

        return run

    def _close_reader(self) -> None:
        if self._read_db is not None:
            self._read_db.close()
        self._read_db = self._read_store = None

    # The writer's thread

    def _open_db(self) -> None:
        self._db = connect(self.path)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._store = Store(self._db)
            self._store.open_sinks(self._sinks)
            self._db.execute("COMMIT")
            self.used_bytes = used_bytes(self._db)
        except BaseException:
            self._db.close()
            raise

    def _work(self) -> None:
        maintained = time.monotonic()
        ending = False
        while not ending:
            group: list[_Request] = []
            try:
                first = self._requests.get(timeout=_LAZY_S)
                while first is not None:
                    # From here on it cannot be cancelled: whoever waits may go, the write stays.
                    if first.future.set_running_or_notify_cancel():
                        group.append(first)
                    if len(group) == _GROUP_MAX:
                        break
                    first = self._requests.get_nowait()
                else:
                    ending = True
            except queue.Empty:
                pass
            # They were queued before: a later change must have the last word.
            group = [*(self._lazy.popleft() for _ in range(len(self._lazy))), *group]
            try:
                if group:
                    self._commit(group)
            except Exception as error:
                log.exception("ledger.writer")
                for one in group:
                    if not one.future.done():
                        one.future.set_exception(error)
            if time.monotonic() - maintained > _MAINTAIN_S:
                maintained = time.monotonic()
                self._maintain()

    def _commit(self, group: list[_Request]) -> None:
        """Run the group in one transaction; on a failure of the disk or the file, try once more."""
        error: BaseException | None = None
        for _ in range(2):
            try:
                self._transact(group)
            except sqlite3.Error as failure:
                error = failure
                self._roll_back()
                if is_corrupt(failure):
                    self._replace(failure)
                elif is_disk_error(failure):
                    self._use_reserve(failure)
                else:
                    break
            except Exception as failure:  # noqa: BLE001  the caller's own mistake
                error = failure
                self._roll_back()
                break
            else:
                self.counters.commits += 1
                self.disk_error = ""
                for one in group:
                    one.future.set_result(one.result)
                return
        if len(group) > 1 and not isinstance(error, sqlite3.Error):
            for one in group:  # only the request that failed shall fail
                self._commit([one])
            return
        if isinstance(error, sqlite3.Error) and (is_disk_error(error) or is_corrupt(error)):
            self.counters.refused += len(group)
            self.disk_error = str(error)
            error = LedgerFullError(f"{self.path}: {error}")
        for one in group:
            assert error is not None
            one.future.set_exception(error)

    def _transact(self, group: list[_Request]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for one in group:
            one.result = one.run(self._store)
        self._db.execute("COMMIT")

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._store.reload()
        except sqlite3.Error as error:
            log.warning("ledger.rollback error=%r", str(error))

    def _maintain(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            removed = maintain(self._db, self._keep, time.time_ns() // 1_000_000)
            self._db.execute("COMMIT")
            self.used_bytes = used_bytes(self._db)
        except sqlite3.Error as error:
            self._roll_back()
            if is_corrupt(error):
                self._replace(error)
            else:
                self.disk_error = str(error)
            return
        self.counters.removed_delivered += removed.delivered
        self.counters.dropped_unsent += removed.unsent
        if removed.unsent:
            log.error(
                "ledger.dropped_unsent count=%d limit_mb=%d; no sink took them: restore the"
                " connection or raise ledger.max_mb",
                removed.unsent,
                self._keep.max_mb,
            )
        self._make_reserve()

    # A full disk

    def _make_reserve(self) -> None:
        size = self._keep.reserve_mb * 1_000_000
        try:
            if self._reserve.exists() or not size:
                return
            if shutil.disk_usage(self.path.parent).free < 4 * size:
                return
            with self._reserve.open("wb") as file:
                for _ in range(self._keep.reserve_mb):
                    file.write(bytes(1_000_000))
        except OSError as error:
            log.warning("ledger.reserve error=%r", str(error))

    def _use_reserve(self, error: sqlite3.Error) -> None:
        """Give the reserve back to the disk and remove what is delivered."""
        if not self.disk_error:
            log.error("ledger.disk error=%r; free some space on %s", str(error), self.path.parent)
        try:
            self._reserve.unlink(missing_ok=True)
            self._db.execute("BEGIN IMMEDIATE")
            self.counters.removed_delivered += free_some(self._db)
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, OSError):
            self._roll_back()

    # A broken file

    def _replace(self, error: sqlite3.Error) -> None:
        """Put the broken database aside, start anew and copy what can still be read."""
        if hasattr(self, "_db"):
            self._db.close()
        aside = quarantine(self.path, time.time_ns() // 1_000_000)
        self.counters.quarantined += 1
        self._open_db()
        self._generation += 1
        saved = salvage(aside, self._db)
        self._store.reload()
        self.counters.salvaged += saved
        log.error(
            "ledger.broken error=%r kept_as=%s salvaged=%d; the card may be worn: replace it soon",
            str(error),
            aside.name,
            saved,
        )


def _nothing(_store: Store) -> None:
    """A request whose only purpose is the commit."""
