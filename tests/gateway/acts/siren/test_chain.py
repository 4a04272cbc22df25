"""Water to relay with real firmware in virtual time: what a lost frame costs, and what none does.

The bounds are those of the chain at this seed, not of the machine: LoRaWAN lets a node repeat
after RX2, 2 s after its frame, the device asks for its link before that, which takes up to RX1,
and the siren's order is sent again after `answer_s`, 2 s.
"""

import random
from pathlib import Path

import pytest

from sim.kernel import SECOND
from sim.radio.medium import BurstLoss
from tests.bench.chain import Case, Run

_SERVER_MS = 150


class LoseOne(BurstLoss):
    """Loses the first frame that begins at `from_us` or later, and no other."""

    def __init__(self, from_us: int) -> None:
        super().__init__(good_s=1e9, bad_s=1)
        self.from_us: int | None = from_us

    def step(self, now_us: int, rng: random.Random) -> bool:
        if self.from_us is None or now_us < self.from_us:
            return False
        self.from_us = None
        return True


@pytest.mark.timeout(240)  # six seconds of processor; the machine may be busy
def test_a_crossing_sounds_within_3_s_and_a_lost_frame_costs_no_more_than_it_must(
    tmp_path: Path,
) -> None:
    run = Run(Case(name="test", text="", sirens=1), 375, 1, 5, _SERVER_MS, tmp_path)
    crossings = run.pairs[0].crossings
    assert len(crossings) >= 3
    event, order = (LoseOne(at - 3 * SECOND) for at in crossings[1:3])
    run.medium.bursts[frozenset(("flood-p0", "gateway-0"))] = event
    run.medium.bursts[frozenset(("siren-p0s0", "gateway-0"))] = order
    run.play()
    rows, silent = run.rows()
    assert silent == 0 and len(rows) == 3
    assert event.from_us is None and order.from_us is None, "both were lost"
    whole, lost_event, lost_order = rows
    assert whole[1] == 0 and whole[-1] < 2.0
    assert 2.0 < lost_event[1] < 3.4, "RX2 has passed, and no more than one answered probe"
    assert lost_event[-1] - lost_event[0] < 4.0
    assert lost_order[1] == 0 and 1.9 < lost_order[4] < 2.1
    assert run.sim.faults == []
