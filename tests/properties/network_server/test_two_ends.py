"""Device and network server against each other over a bad air: safety always, then recovery."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.gateway.lorawan.memory import in_memory_path
from tests.properties.network_server.world import Faults, World


def test_a_clean_air_needs_no_repetition(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    for _ in range(30):
        for node in world.nodes:
            node.send(confirmed=True)
            world.advance(30_000)
    counters = world.counters()
    assert counters["joined"] == 2
    assert counters["up_accepted"] >= 50
    assert counters.get("up_repeated", 0) == 0
    assert len(world.delivered_payloads) == world.queued
    world.close()


def swarm(seed: int) -> Faults:
    """Each seed has its own mix of faults; most faults are off in most seeds."""
    dice = random.Random(seed)

    def some(value: float) -> float:
        return dice.choice((0.0, 0.0, value, value * dice.random()))

    return Faults(
        up_loss=some(0.7),
        down_loss=some(0.7),
        datagram_loss=some(0.3),
        duplicate=some(0.5),
        delay_ms=int(some(400)),
        refuse=some(0.6),
        early_late_ms=int(some(8)),
        cut_on_save=some(0.2),
        deliver_ms=int(5 + some(2500)),
        deliver_fails=some(0.3),
    )


def live(world: World, seed: int, steps: int = 60) -> None:
    """A random life: uplinks, downlinks, replays, power cuts of both sides."""
    dice = random.Random(seed * 7919)
    for _ in range(steps):
        action = dice.random()
        node = dice.choice(world.nodes)
        if action < 0.6:
            node.send(confirmed=dice.random() < 0.7)
        elif action < 0.7:
            world.replay(dice.randrange(1000))
        elif action < 0.76:
            world.cut_server()
        elif action < 0.80:
            node.boot()
        elif action < 0.86:
            data = bytes([dice.randrange(256)])
            confirmed = dice.random() < 0.5
            _, out = world.server.queue_downlink(
                node.end.name, 10, data, confirmed, 7200, world.now
            )
            world.take(out)
        world.advance(int(dice.expovariate(1 / 20_000)))


@pytest.mark.parametrize("seed", range(18))
def test_swarm(tmp_path: Path, seed: int) -> None:
    """Faults of all kinds, power cuts of both sides, replays; then everything works again."""
    world = World(tmp_path, seed)
    world.faults = swarm(seed)
    live(world, seed)
    world.recover()
    world.close()


@pytest.mark.parametrize("f_cnt", [0xFFF8, 0x1FFF8, 0xFFFF_FFF0])
def test_counters_roll_over_under_faults(tmp_path: Path, f_cnt: int) -> None:
    """At 16 bits the counters go on; at 32 bits the session is over and a new one is made."""
    world = World(tmp_path, f_cnt)
    for node in world.nodes:
        node.send(confirmed=True)
    world.recover()
    for node in world.nodes:
        world.wind(node, f_cnt)
    world.faults = Faults(up_loss=0.3, down_loss=0.3, duplicate=0.3, cut_on_save=0.05)
    live(world, 5)
    world.recover()
    highest = max(f_cnt for _, session, f_cnt in world.accepted)
    assert highest >= min(f_cnt + 8, 0xFFFF_FFFF) or f_cnt > 0xFFFF_0000
    world.close()


@pytest.mark.parametrize("seed", range(3))
def test_class_c_and_class_a_together(tmp_path: Path, seed: int) -> None:
    """A siren that always listens beside a class A node; its commands come through in the end."""
    world = World(tmp_path, seed, nodes=1)
    siren = world.add_node(7, "C")
    for node in world.nodes:
        node.send(confirmed=True)
    world.recover()
    world.faults = swarm(seed + 100)
    live(world, seed, 30)
    world.recover()
    world.advance(60_000)
    before = len(siren.downlinks)
    _, out = world.server.queue_downlink(siren.end.name, 10, b"wail", True, 7200, world.now)
    world.take(out)
    world.advance(900_000)
    assert b"wail" in siren.downlinks[before:]
    assert world.reports[-1].state == "acked"
    world.close()


class TwoEnds(RuleBasedStateMachine):
    """Whatever happens in whatever order, the laws of `World` hold, and it recovers."""

    def __init__(self) -> None:
        super().__init__()
        self.place = in_memory_path()
        self.world = World(self.place.__enter__(), 99)

    @rule(node=st.integers(0, 1), confirmed=st.booleans())
    def send(self, node: int, confirmed: bool) -> None:
        self.world.nodes[node].send(confirmed)

    @rule(seconds=st.sampled_from((1, 2, 4, 7, 30, 200, 4000)))
    def wait(self, seconds: int) -> None:
        self.world.advance(seconds * 1000)

    @rule(ms=st.integers(0, 2000))
    def wait_a_moment(self, ms: int) -> None:
        self.world.advance(ms)

    @rule()
    def cut_server(self) -> None:
        self.world.cut_server()

    @rule(node=st.integers(0, 1))
    def cut_device(self, node: int) -> None:
        self.world.nodes[node].boot()

    @rule(index=st.integers(0, 10_000))
    @precondition(lambda self: self.world.captured)
    def replay(self, index: int) -> None:
        self.world.replay(index)

    @rule(
        node=st.integers(0, 1),
        data=st.binary(min_size=1, max_size=11),
        confirmed=st.booleans(),
    )
    def downlink(self, node: int, data: bytes, confirmed: bool) -> None:
        name = self.world.nodes[node].end.name
        _, out = self.world.server.queue_downlink(name, 10, data, confirmed, 600, self.world.now)
        self.world.take(out)

    @rule(seed=st.integers(0, 1000))
    def weather(self, seed: int) -> None:
        self.world.faults = swarm(seed)

    @invariant()
    def at_most_two_sessions_a_device(self) -> None:
        sessions = self.world.store.sessions()
        for node in self.world.nodes:
            own = [one for one in sessions if one.dev_eui == node.end.dev_eui]
            assert len(own) <= 2

    def teardown(self) -> None:
        try:
            self.world.recover()
        finally:
            self.world.close()
            self.place.__exit__(None, None, None)


TwoEnds.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
test_two_ends_stateful = TwoEnds.TestCase
