"""The ledger under any order of appends, marks and power cuts, against a dict as the model."""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.ledger.schema import connect
from gateway.ledger.store import Store
from tests.gateway.samples import reading

SEQUENCES = st.lists(st.integers(0, 40), max_size=6)


class LedgerMachine(RuleBasedStateMachine):
    """Whatever add() returned for is there after a power cut, once, until it is confirmed."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.copy = 0
        self.stored: set[int] = set()
        self.confirmed: set[int] = set()
        self.dropped_gaps: set[int] = set()
        self.open()

    def open(self) -> None:
        self.db = connect(self.folder / f"{self.copy}.db")
        self.db.execute("BEGIN")
        self.store = Store(self.db)
        self.store.open_sinks(["city"])
        self.db.execute("COMMIT")

    @rule(sequences=SEQUENCES)
    def add(self, sequences: list[int]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        new = self.store.add([reading(n, n) for n in sequences])
        self.db.execute("COMMIT")
        assert {s.reading.sequence for s in new} == set(sequences) - self.stored
        assert len(new) == len({s.reading.sequence for s in new})
        self.stored |= set(sequences)

    @rule(sequences=SEQUENCES)
    def add_and_roll_back(self, sequences: list[int]) -> None:
        """A commit that failed leaves nothing behind, in the file or in the caches."""
        self.db.execute("BEGIN IMMEDIATE")
        self.store.add([reading(n, n) for n in sequences])
        self.db.execute("ROLLBACK")
        self.store.reload()

    @rule(count=st.integers(0, 5))
    def confirm(self, count: int) -> None:
        taken = self.store.take("city", 1 << 62, count)
        self.db.execute("BEGIN IMMEDIATE")
        self.store.mark("city", [s.id for s in taken])
        self.store.mark("city", [s.id for s in taken])  # a PUBACK that came twice
        self.db.execute("COMMIT")
        self.confirmed |= {s.reading.sequence for s in taken}

    @rule()
    def power_cut(self) -> None:
        """Open what is on disk now, as after a reset: no close(), no checkpoint."""
        self.copy += 1
        for suffix in ("", "-wal"):
            old = self.folder / f"{self.copy - 1}.db{suffix}"
            if old.exists():
                shutil.copy(old, self.folder / f"{self.copy}.db{suffix}")
        self.db.close()
        self.open()

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        waiting = [s.reading for s in self.store.take("city", 1 << 62, 999)]
        assert sorted(r.sequence for r in waiting) == sorted(self.stored - self.confirmed)
        assert all(r.values == {"level_mm": r.sequence} for r in waiting)

    @invariant()
    def gaps_are_exactly_what_is_missing(self) -> None:
        if not self.stored:
            return
        first = self.db.execute("SELECT min(first) FROM gap").fetchone()[0]
        holes: set[int] = set()
        for gap in self.store.gaps():
            hole = set(range(gap.first, gap.last + 1))
            assert not holes & hole
            holes |= hole
        assert not holes & self.stored
        lowest = min(self.stored) if first is None else min(first, min(self.stored))
        assert holes == {
            n for n in range(lowest, max(self.stored)) if n not in self.stored and n in holes
        }
        counted = self.db.execute("SELECT sum(live) FROM tally").fetchone()[0]
        assert counted == len(self.stored)

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedger = LedgerMachine.TestCase
