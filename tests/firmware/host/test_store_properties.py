"""Laws of the store under power cuts at any byte, in any order of operations (Hypothesis)."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from firmware.store.readings import ReadingLog
from firmware.store.record import Record
from tests.firmware.device.fakes import FlashFake, PowerCutError

SEGMENTS, PER_SEGMENT = 3, 4


class LogMachine(RuleBasedStateMachine):
    """What `append` returned for is there until the ring turned; numbers are never given twice."""

    @initialize(rot=st.sampled_from([b"", b"\xff" * 24, b"\x00" * 24]))
    def power_on(self, rot: bytes) -> None:
        self.flash = FlashFake(rot=rot)
        self.model: dict[int, int] = {}
        self.log = ReadingLog(self.flash, SEGMENTS, PER_SEGMENT)  # type: ignore[arg-type]
        self.doubtful = -1  # a value that may or may not have been written whole

    @rule(value=st.integers(0, 30_000), cut=st.none() | st.integers(0, 40))
    def append(self, value: int, cut: int | None) -> None:
        self.flash.budget = cut
        try:
            number = self.log.append(value, 1, value, value)
        except PowerCutError:
            self.flash.power_up()
            expected = self.log.next_sequence
            self.log = ReadingLog(self.flash, SEGMENTS, PER_SEGMENT)  # type: ignore[arg-type]
            # Either it was not written, or it is there whole.
            if self.log.next_sequence == expected + 1:
                self.model[expected] = value
            else:
                assert self.log.next_sequence == expected
        else:
            self.flash.power_up()
            assert number not in self.model
            self.model[number] = value

    @precondition(lambda self: self.model)
    @rule()
    def reset(self) -> None:
        damaged = self.log.next_sequence
        self.log = ReadingLog(self.flash, SEGMENTS, PER_SEGMENT)  # type: ignore[arg-type]
        assert self.log.next_sequence == damaged

    @invariant()
    def every_kept_reading_is_as_it_was_appended(self) -> None:
        for number in range(self.log.first_sequence, self.log.next_sequence):
            row = self.log.read(number)
            assert row is not None and row.sequence == number
            assert (row.time_s, row.a, row.b) == (self.model[number],) * 3

    @invariant()
    def without_cuts_two_whole_segments_are_kept(self) -> None:
        assert self.log.stored <= SEGMENTS * PER_SEGMENT


class RecordMachine(RuleBasedStateMachine):
    """`load` gives the last content that was saved, or the one that was being saved."""

    @initialize(rot=st.sampled_from([b"", b"\xff" * 24]))
    def power_on(self, rot: bytes) -> None:
        self.flash = FlashFake(rot=rot)
        self.record = Record(self.flash, "r")  # type: ignore[arg-type]
        self.record.load()
        self.saved: bytes | None = None

    @rule(content=st.binary(max_size=20), cut=st.none() | st.integers(0, 40))
    def save(self, content: bytes, cut: int | None) -> None:
        self.flash.budget = cut
        try:
            self.record.save(content)
        except PowerCutError:
            self.flash.power_up()
            self.record = Record(self.flash, "r")  # type: ignore[arg-type]
            found = self.record.load()
            assert found in (self.saved, content)
            self.saved = found
        else:
            self.flash.power_up()
            self.saved = content

    @rule()
    def reset(self) -> None:
        self.record = Record(self.flash, "r")  # type: ignore[arg-type]
        assert self.record.load() == self.saved


_SETTINGS = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_reading_log_under_power_cuts() -> None:
    run_state_machine_as_test(LogMachine, settings=_SETTINGS)


def test_record_under_power_cuts() -> None:
    run_state_machine_as_test(RecordMachine, settings=_SETTINGS)
