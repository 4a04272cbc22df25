"""Which configuration is in force: a model of three words, restarts and power cuts as rules."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.remote.trials import Trials, in_force


class TrialsMachine(RuleBasedStateMachine):
    """Whatever the order: in force is the last confirmed text, unless the file changed since; a
    trial does not survive a restart; a version number never comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "gateway.toml"
        self.file.write_text("ground 0")
        self.ground = 0
        self.trials = self.opened()
        self.confirmed: str | None = None
        self.trial: str | None = None
        self.numbers: list[int] = []

    def opened(self) -> Trials:
        trials = Trials(self.folder, self.file)
        trials.open()
        return trials

    @precondition(lambda self: self.trial is None)
    @rule(text=st.text(max_size=5))
    def begin(self, text: str) -> None:
        text = text.encode(errors="replace").decode()
        number = self.trials.begin(text, "wayan", "why").number
        assert number > max(self.numbers, default=0)
        self.numbers.append(number)
        self.trial = text

    @precondition(lambda self: self.trial is not None)
    @rule()
    def confirm(self) -> None:
        self.trials.confirm()
        self.confirmed, self.trial = self.trial, None

    @precondition(lambda self: self.trial is not None)
    @rule()
    def revert(self) -> None:
        self.trials.revert()
        self.trial = None

    @rule()
    def power_cut(self) -> None:
        """Nothing is closed: the next process finds what is on disk."""
        self.trials = self.opened()
        self.trial = None

    @rule()
    def technician(self) -> None:
        self.ground += 1
        self.file.write_text(f"ground {self.ground}")
        self.trials.reload()
        self.confirmed = self.trial = None

    @rule()
    def technician_while_it_is_off(self) -> None:
        self.ground += 1
        self.file.write_text(f"ground {self.ground}")
        self.trials = self.opened()
        self.confirmed = self.trial = None

    @invariant()
    def in_force_is_as_the_model_says(self) -> None:
        assert self.trials.text() == (self.confirmed if self.trial is None else self.trial)
        found = in_force(self.folder, self.file)
        assert (found[1] if found else None) == self.confirmed

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestTrials = TrialsMachine.TestCase
TestTrials.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b'{"last": "x"}', b"\xff\x00"])
def test_a_state_that_cannot_be_read_falls_back_to_the_file(tmp_path: Path, state: bytes) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("ground")
    trials = Trials(tmp_path, file)
    trials.open()
    trials.begin("new", "wayan", "")
    trials.confirm()
    (tmp_path / "remote" / "state.json").write_bytes(state)
    again = Trials(tmp_path, file)
    assert again.open().broken
    assert again.text() is None
    assert again.begin("newer", "wayan", "").number == 2, "a version number came back"
