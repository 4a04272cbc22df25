"""The whole store under any order of events and power cuts, against plain dictionaries.

Appends (of several logs of a device), marks, gaps that the device gives up, small state, the clock
that becomes known, tidying up when full, rollbacks: what was committed is there after a power cut,
as the model says, and the audit's numbers add up to it. Power cuts: what is on the disk at that
moment is opened, without a close or a checkpoint.
"""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.clock import Jump
from gateway.ledger.audit import audit, new_logs
from gateway.ledger.epochs import compose, epoch_of, number_of
from gateway.ledger.retention import Retention, maintain
from gateway.ledger.schema import connect
from gateway.ledger.store import Store
from gateway.ledger.times import TimeKeeper
from gateway.model import Reading
from tests.gateway.samples import START_MS

DEVICE, STREAM = "node", "flood"


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.copy = 0
        self.now_ms = START_MS  # true time
        self.wrong_ms = 0  # of the gateway's clock
        self.boot = 0
        self.rows: dict[int, tuple[int, bool]] = {}  # sequence -> time, waits for the sink
        self.stored: set[int] = set()  # ever
        self.dropped = 0
        self.missing: set[int] = set()
        self.lost: set[int] = set()
        self.unsure: set[int] = set()  # stored while the clock was not known, in this boot
        self.state: dict[str, int] = {}
        self.epoch = 0
        self.number = 0
        self.is_sure = True
        self.open()
        self.look()

    def open(self) -> None:
        self.db = connect(self.path)
        self.db.execute("BEGIN")
        self.store = Store(self.db)
        self.store.open_sinks(["city"])
        self.keeper = TimeKeeper(f"boot-{self.boot}")
        self.keeper.restore(self.store, self.wrong_ms, self.now_ms + self.wrong_ms)
        self.db.execute("COMMIT")

    @property
    def path(self) -> Path:
        return self.folder / f"{self.copy}.db"

    def look(self, jumps: tuple[Jump, ...] = ()) -> None:
        source = "ntp" if self.is_sure else "unknown"
        self.db.execute("BEGIN IMMEDIATE")
        self.keeper.look(self.store, source, jumps, self.wrong_ms)
        self.db.execute("COMMIT")

    def reading(self, sequence: int) -> Reading:
        at_ms = self.now_ms + self.wrong_ms
        return Reading(
            device=DEVICE,
            stream=STREAM,
            sequence=sequence,
            time_ms=at_ms,
            time_source="ntp" if self.is_sure else "unknown",
            values={"level_mm": sequence % 1000},
            received_ms=at_ms,
        )

    def add(self, sequence: int) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        new = self.store.add([self.reading(sequence)])
        self.db.execute("COMMIT")
        assert len(new) == (sequence not in self.rows)
        if new:
            self.stored.add(sequence)
            self.rows[sequence] = self.now_ms + self.wrong_ms, True
            self.missing.discard(sequence)
            self.lost.discard(sequence)
            if not self.is_sure:
                self.unsure.add(sequence)

    @rule(skipped=st.integers(0, 3), seconds=st.integers(10, 9000))
    def measure(self, skipped: int, seconds: int) -> None:
        self.now_ms += 1000 * seconds
        if self.stored or self.number + skipped < 64:  # a log that hardly began, began here
            self.missing |= {compose(self.epoch, self.number + n) for n in range(skipped)}
        self.number += skipped
        self.add(compose(self.epoch, self.number))
        self.number += 1

    @rule()
    def a_new_log(self) -> None:
        """Numbered from elsewhere: nothing before it is missing."""
        self.lost |= self.missing
        self.missing = set()
        self.epoch += 1
        self.number = 100_000
        self.now_ms += 10_000
        if not self.stored:
            self.epoch, self.number = 0, 0
        self.add(compose(self.epoch, self.number))
        self.number += 1

    @precondition(lambda self: self.missing)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        self.add(data.draw(st.sampled_from(sorted(self.missing))))

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.add(data.draw(st.sampled_from(sorted(self.rows))))

    @precondition(lambda self: self.missing)
    @rule(data=st.data(), count=st.integers(1, 3))
    def the_device_gives_up(self, data: st.DataObject, count: int) -> None:
        first = data.draw(st.sampled_from(sorted(self.missing)))
        self.db.execute("BEGIN IMMEDIATE")
        self.store.lose(DEVICE, number_of(first), count)
        self.db.execute("COMMIT")
        gone = self.missing & set(range(first, first + count))
        self.missing -= gone
        self.lost |= gone

    @rule(count=st.integers(1, 9))
    def confirm(self, count: int) -> None:
        taken = self.store.take("city", 1 << 62, count)
        self.db.execute("BEGIN IMMEDIATE")
        self.store.mark("city", [one.id for one in taken])
        self.db.execute("COMMIT")
        for one in taken:
            time_ms, _ = self.rows[one.reading.sequence]
            self.rows[one.reading.sequence] = time_ms, False

    @rule(name=st.sampled_from(["act/siren", "act/sign"]), value=st.integers(0, 9))
    def remember(self, name: str, value: int) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.store.set_state(name, value)
        self.db.execute("COMMIT")
        self.state[name] = value

    @rule()
    def fail(self) -> None:
        """A transaction with some of everything, which the disk refuses at its end."""
        self.db.execute("BEGIN IMMEDIATE")
        self.store.add([self.reading(compose(self.epoch, self.number + 5))])
        self.store.add([self.reading(compose(self.epoch + 1, 3))])
        self.store.lose(DEVICE, 0, 1 << 20)
        self.store.set_state("act/siren", 77)
        self.keeper.look(self.store, "ntp", (), self.wrong_ms)
        self.db.execute("ROLLBACK")
        self.keeper.failed()
        self.store.reload()

    @rule(wrong_ms=st.integers(-90_000_000, 90_000_000))
    def the_machine_restarts_without_a_clock(self, wrong_ms: int) -> None:
        self.boot += 1
        self.wrong_ms = wrong_ms
        self.is_sure = False
        self.unsure.clear()
        self.cut()
        self.look()

    @precondition(lambda self: not self.is_sure)
    @rule()
    def the_clock_becomes_known(self) -> None:
        self.look()
        step_ms = -self.wrong_ms
        jump = Jump(self.now_ms + self.wrong_ms, step_ms)
        self.wrong_ms = 0
        self.is_sure = True
        self.look((jump,))
        for sequence in self.unsure & self.rows.keys():
            self.rows[sequence] = self.rows[sequence][0] + step_ms, True
        self.unsure.clear()

    @rule()
    def cut(self) -> None:
        """The power goes, or the agent is killed: what is on the disk is all there is."""
        for suffix in ("", "-wal"):
            old = Path(f"{self.path}{suffix}")
            if old.exists():
                shutil.copy(old, self.folder / f"{self.copy + 1}.db{suffix}")
        self.db.close()
        self.copy += 1
        self.open()

    @precondition(lambda self: self.rows)
    @rule()
    def fill_up(self) -> None:
        """The ledger is at its limit: delivered readings go first, then unsent ones, counted."""
        # The table's fixed pages alone are more than this limit, so every round removes.
        keep = Retention(max_mb=1, max_days=36_500)
        object.__setattr__(keep, "max_mb", 0)
        self.db.execute("BEGIN IMMEDIATE")
        removed = maintain(self.db, keep, self.now_ms)
        self.db.execute("COMMIT")
        left = {row[0] for row in self.db.execute("SELECT sequence FROM reading")}
        gone = self.rows.keys() - left
        unsent = {one for one in gone if self.rows[one][1]}
        assert len(unsent) == removed.unsent
        assert len(gone) == removed.unsent + removed.delivered
        if unsent:
            assert all(self.rows[one][1] for one in left), "delivered ones go first"
        self.dropped += len(unsent)
        for one in gone:
            del self.rows[one]

    @invariant()
    def the_database_is_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        found = {
            row[0]: (row[1], row[2] != 0)
            for row in self.db.execute("SELECT sequence, time_ms, pending FROM reading")
        }
        assert found == self.rows
        assert {name: self.store.get_state(name) for name in self.state} == self.state
        asked = {
            compose(self.epoch, n)
            for gap in self.store.gaps()
            for n in range(gap.first, gap.last + 1)
        }
        assert asked == self.missing, "what is asked for is missing of the present log"
        lines = audit(self.path)
        assert sum(one.received for one in lines) == len(self.stored)
        assert sum(one.missing for one in lines) == len(self.missing)
        assert sum(one.lost for one in lines) == len(self.lost)
        assert sum(one.dropped for one in lines) == self.dropped
        assert sum(one.waiting for one in lines if one.waiting) <= len(self.rows)
        assert len(new_logs(self.path)) == self.epoch
        assert epoch_of(max(self.stored, default=0)) == self.epoch

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            shutil.rmtree(self.folder)


StoreMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStore = StoreMachine.TestCase
