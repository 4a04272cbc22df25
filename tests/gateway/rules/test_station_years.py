"""A small share of `make bench BENCH=warning_rules`: bad stations with floods, always the same."""

from tests.bench.warning_rules import LATE, run


def test_weeks_of_bad_sensors_raise_nothing_false_and_miss_no_flood() -> None:
    """Eight stations for two weeks each, a flood every other day."""
    parts = [run(seed, 14, 60, per_year=180) for seed in range(8)]
    assert sum(part.crossings for part in parts) > 50
    assert sum(part.missed for part in parts) == 0
    assert [part.why for part in parts if part.false] == []
    late = sorted(n for part in parts for n in part.late)
    assert late[len(late) * 95 // 100] <= LATE


def test_of_a_boat_that_stays_a_second_sensor_makes_nothing() -> None:
    alone = [run(seed, 8, 60, per_year=12, moored_per_year=200) for seed in range(3)]
    pairs = [run(s, 8, 60, per_year=12, moored_per_year=200, is_double=True) for s in range(3)]
    assert sum(part.false for part in alone) > 2 * sum(part.false for part in pairs)
    assert sum(part.missed for part in pairs) == 0
