"""Crashes at any moment, full disks, repeats: decided is what an engine decides that never fell."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.ledger.schema import connect
from gateway.ledger.store import Store, Stored
from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm, Reading
from gateway.rules.catalogue import pair_rules, stage_rules
from gateway.rules.engine import Rules
from gateway.rules.events import EventRule
from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.silence import SilenceRule
from gateway.rules.stages import Site
from tests.gateway.samples import START_MS, reading

STAGES = {
    name: Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660, hold_s=120, site=site)
    for name, site in (("a", "bridge"), ("b", "bridge"), ("c", ""))
}
LATER = START_MS + 10**9


def engine() -> Rules:
    return Rules(
        stage_rules(STAGES, AlarmSettings(), Site()),
        EventRule(AlarmSettings(), Site(), frozenset(STAGES)),
        SilenceRule({}, 4, Site(), 0),
        pair_rules(STAGES),
    )


def shown(alarm: Alarm) -> tuple[str, str, str, int, int]:
    return alarm.incident, alarm.kind, alarm.event, alarm.level, alarm.time_ms


class Machine(RuleBasedStateMachine):
    """A ledger with an engine that crashes, beside an engine that sees each reading once."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.db = connect(self.folder / "ledger.db")
        self.store = Store(self.db)
        self.store.open_sinks(["city"])
        self.rules = engine()
        self.recover()
        self.model = engine()
        self.expected: list[Alarm] = []
        self.number = 0
        self.levels = dict.fromkeys(STAGES, 100)
        self.unseen = 0  # readings on disk that no engine decided on

    def teardown(self) -> None:
        self.db.close()
        shutil.rmtree(self.folder)

    def recover(self) -> None:
        with self.db:
            self.rules.recover(self.store, LATER)
        self.rules.saved()
        self.unseen = 0

    def next(self, device: str, change: int) -> Reading:
        self.number += 1
        level = min(max(self.levels[device] + change, -400), 4000)
        self.levels[device] = level
        return reading(self.number, level, device=device, stream="radar", at_s=20 * self.number)

    @rule(
        device=st.sampled_from(sorted(STAGES)),
        changes=st.lists(
            st.one_of(st.integers(-25, 25), st.integers(-3000, 3000)), min_size=1, max_size=6
        ),
        crash=st.sampled_from(["no", "no", "before", "inside"]),
    )
    def readings(self, device: str, changes: list[int], crash: str) -> None:
        """A frame of readings: on disk, then decided, unless the power goes in between."""
        frame = [self.next(device, change) for change in changes]
        self.expected += self.model.decide([Stored(0, one) for one in frame], LATER)
        with self.db:
            stored = self.store.add(frame)
        self.unseen += len(frame)
        if crash == "before" or self.unseen > len(frame):
            return
        alarms = self.rules.decide(stored, LATER)
        try:
            with self.db:
                self.rules.save(self.store)
                for alarm in alarms:
                    self.store.add_alarm(alarm)
                if crash == "inside":
                    raise RuntimeError("the power is gone inside the transaction")
        except RuntimeError:
            self.store.reload()
            return
        self.rules.saved()
        self.unseen = 0

    @precondition(lambda self: self.unseen)
    @rule()
    def start_again(self) -> None:
        """The agent starts after a crash."""
        self.rules = engine()
        self.recover()

    @rule()
    def start_again_in_peace(self) -> None:
        """A restart when nothing was under way."""
        self.rules = engine()
        self.recover()

    @precondition(lambda self: not self.unseen)
    @rule(device=st.sampled_from(sorted(STAGES)), change=st.integers(-25, 25))
    def repeat(self, device: str, change: int) -> None:
        """A reading that comes twice is decided once."""
        one = self.next(device, change)
        self.expected += self.model.decide([Stored(0, one)], LATER)
        for _ in range(2):
            with self.db:
                stored = self.store.add([one])
                alarms = self.rules.decide(stored, LATER)
                self.rules.save(self.store)
                for alarm in alarms:
                    self.store.add_alarm(alarm)
            self.rules.saved()

    @invariant()
    def nothing_is_lost_or_repeated(self) -> None:
        if self.unseen:
            return
        kept = [alarm for _, alarm in self.store.alarms_since(0, 10_000)]
        assert sorted(map(shown, kept)) == sorted(map(shown, self.expected))
        for device, one in self.model.stages.items():
            assert self.rules.stages[device].level == one.level

    @invariant()
    def an_incident_is_raised_once_and_cleared_once_at_its_end(self) -> None:
        by_incident: dict[str, list[str]] = {}
        for _, alarm in self.store.alarms_since(0, 10_000):
            by_incident.setdefault(alarm.incident, []).append(alarm.event)
        for events in by_incident.values():
            assert events[0] == RAISED and events.count(RAISED) == 1
            assert set(events[1:-1]) <= {ESCALATED, LOWERED}
            assert CLEARED not in events[:-1]


Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestEngine = Machine.TestCase


def test_a_disk_that_takes_nothing_loses_no_stage() -> None:
    """Half of a rise is decided without the ledger; when it is back, nothing is raised again."""
    it = engine()
    rise = [reading(n, 20 * n, device="c", stream="radar", at_s=20 * n) for n in range(150)]
    alarms = it.decide([Stored(n + 1, one) for n, one in enumerate(rise[:70])], LATER)
    for one in rise[70:]:
        alarms += it.decide_unstored([one], LATER)
    assert [alarm.level for alarm in alarms] == [1, 2, 3]
    assert it.decide([Stored(n + 1, one) for n, one in enumerate(rise)], LATER) == []


def test_a_long_backlog_of_one_sensor_is_decided_whole_before_the_others(tmp_path: Path) -> None:
    """More rows than one read takes: those of the second sensor let none of them be skipped."""
    db = connect(tmp_path / "ledger.db")
    store = Store(db)
    rise = [0] * 1100 + list(range(0, 500, 20))
    store.add([reading(n, v, device="a", stream="radar", at_s=10 * n) for n, v in enumerate(rise)])
    end = 10 * len(rise)
    store.add([reading(n, 500, device="b", stream="radar", at_s=end + 10 * n) for n in range(5)])
    missed = [alarm for _, alarm in engine().recover(store, LATER) if alarm.kind == "stage"]
    assert [(alarm.event, alarm.level) for alarm in missed] == [(RAISED, 1)]
    assert missed[0].values["level_mm"] == 300
    db.close()
