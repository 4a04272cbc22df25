"""The sirens' scenarios hold, with real firmware on the simulated board."""

from pathlib import Path

import pytest

from hil.run import run
from hil.scenario import load

NAMES = ("siren-on-stage", "siren-dead-amplifier", "siren-replay", "siren-weekly-test")


@pytest.mark.parametrize("name", NAMES)
def test_a_siren_scenario_holds(name: str) -> None:
    result = run(load(Path(name)), seed=1)
    assert result.verdicts
    assert [f"{v.what} {v.node}: {v.found}" for v in result.verdicts if not v.held] == []
