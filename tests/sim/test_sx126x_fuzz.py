"""Whatever a host does, the chip model answers, stays in a mode that exists, and never raises."""

import random

import pytest

from sim.chips import sx126x_facts as facts
from sim.chips.sx126x import BoardFacts
from sim.kernel import Simulation
from sim.radio.medium import Medium
from tests.sim.host import FLAT, Host

MODES = {0, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("seed", range(12))
def test_any_bytes_at_any_time_are_answered(seed: int) -> None:
    """Two chips near each other, random commands of right and wrong length, random waits."""
    rng = random.Random(seed)
    sim = Simulation(seed)
    medium = Medium(sim, FLAT)
    board = BoardFacts(tcxo_mv=0) if seed % 2 else BoardFacts()
    hosts = [Host(sim, medium, f"h{i}", board, x_m=50.0 * i) for i in range(2)]
    for host in hosts:
        host.configure()
    opcodes = list(facts.COMMANDS)
    for _ in range(400):
        host = rng.choice(hosts)
        choice = rng.random()
        if choice < 0.05:
            host.chip.reset(0)
            host.run(rng.randrange(1, 200))
            host.chip.reset(1)
        elif choice < 0.10:
            if host.chip.mode == facts.SLEEP:
                host.run(facts.SLEEP_STORE_US + 1)
                host.raw(0xC0, 0)
            host.configure(sf=rng.randrange(7, 13), length=rng.randrange(1, 64))
        else:
            op = rng.choice(opcodes) if choice < 0.95 else rng.randrange(256)
            count = facts.COMMANDS.get(op, ("", 3))[1]
            if choice > 0.8:
                count = rng.randrange(12)
            answer = host.raw(op, *rng.randbytes(count))
            assert len(answer) == count + 1
        host.run(rng.choice((1, 10, 200, 5_000, 50_000, 400_000)))
        assert host.chip.mode in MODES and host.chip.busy in (0, 1)
        assert host.chip.dio1 in (0, 1)
    # However it was left, a reset and the data sheet's order bring it back.
    for host in hosts:
        host.chip.reset(0)
        host.run(100)
        host.chip.reset(1)
        host.run(5_000)
        before = len(host.faults())
        host.configure(length=12)
        host.transmit(b"still alive!")
        host.run(100_000)
        assert host.irq() == facts.IRQ_TX_DONE and len(host.faults()) == before
