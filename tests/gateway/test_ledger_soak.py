"""A few short days of tests/bench/soak.py: nothing lost, gaps asked for, no file left open."""

import asyncio

from tests.bench.soak import soak


def test_a_few_days_with_outages_and_alarms_leave_nothing_behind() -> None:
    found = asyncio.run(soak(days=4, devices=3, per_day=12))
    assert found.lost_rows == 0
    assert found.samples[-1].alarms > 0
    assert found.answered, "the agent asks for what is missing"
    assert found.files_growth() <= 0
    # Caches still fill in so short a time: this only sees what grows with every frame.
    assert found.growth_mb() < 10, found.samples
