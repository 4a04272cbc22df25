"""The kernel: order, named chance, and a trace that tells two runs apart."""

from sim.kernel import Simulation, Trace


def test_events_at_one_time_run_in_the_order_they_were_added() -> None:
    sim = Simulation()
    seen: list[str] = []
    for name in "abc":
        sim.at(10, seen.append, name)
    sim.at(5, seen.append, "first")
    sim.run_until(10)
    assert seen == ["first", "a", "b", "c"] and sim.now_us == 10


def test_a_cancelled_event_does_nothing_and_the_past_is_now() -> None:
    sim = Simulation()
    seen: list[int] = []
    event = sim.after(5, seen.append, 1)
    sim.cancel(event)
    sim.run_until(100)
    sim.at(50, lambda: seen.append(sim.now_us))
    sim.run_until(100)
    assert seen == [100]


def test_streams_of_chance_do_not_disturb_each_other() -> None:
    one, two = Simulation(7), Simulation(7)
    two.rng("another").random()
    assert one.rng("mine").random() == two.rng("mine").random()
    assert Simulation(8).rng("mine").random() != Simulation(7).rng("mine").random()


def test_advance_is_refused_when_something_is_due() -> None:
    sim = Simulation()
    sim.at(100, lambda: None)
    assert sim.advance(99, 1_000) and sim.now_us == 99
    assert not sim.advance(1, 1_000)
    assert not Simulation().advance(10, 9)


def test_the_digest_covers_what_memory_dropped() -> None:
    short, whole = Trace(keep=2), Trace()
    for trace in (short, whole):
        for i in range(10):
            trace.add(i, "x", "y", {"b": bytes([i])})
    assert short.digest() == whole.digest() and len(short.records) < 10
    whole.add(11, "x", "y", {})
    assert short.digest() != whole.digest()
