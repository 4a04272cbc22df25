"""Twenty thousand mutated downlinks; `tests/bench/lorawan_device.py` does a million."""

from tests.properties.lorawan.fuzz import fuzz


def test_mutants_raise_nothing_and_change_nothing() -> None:
    assert fuzz(20000, seed=1) > 15000
