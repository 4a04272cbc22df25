"""The adapter on what real city networks have: short lanes, turns on red, broken detectors."""

from typing import Any

from gateway.atcs.adapters.sumo import controller
from gateway.atcs.adaptive.arrivals import Lane, Sensed

HEAD = {"occupied": True, "departures": 0, "arrivals": 0, "halting": 1, "vehicles": 1}
NOBODY = {"occupied": False, "departures": 0, "arrivals": 0, "halting": 0, "vehicles": 0}


def crossing(states: list[str], length_m: float = 200.0) -> dict[str, Any]:
    """Link 0 from the north crosses link 1 from the west; link 2 turns out of a lane of its own."""
    return {
        "links": [{"index": i, "in_lane": f"in{i}", "out_lane": f"out{i}"} for i in range(3)],
        "green_states": states,
        "foes": {0: [1], 1: [0, 2], 2: [1]},
        "lanes": {f"in{i}": {"length_m": length_m, "speed_mps": 13.9} for i in range(3)},
    }


def test_a_turn_on_red_shows_its_arrow_instead_of_red() -> None:
    control = controller(crossing(["GrG", "rGs"]))
    seen: set[str] = set()
    for t in range(400):
        rows = {"in0": HEAD if t % 40 < 20 else NOBODY, "in1": NOBODY if t % 40 < 20 else HEAD}
        seen.add(control.step(t, {"lanes": rows})[2])
    assert "s" in seen and "r" not in seen


def test_a_link_that_is_never_stopped_keeps_its_sign() -> None:
    control = controller(crossing(["GrO", "rGO"]))
    states = [control.step(t, {"lanes": {"in1": HEAD}}) for t in range(60)]
    assert {state[2] for state in states} == {"O"}
    assert any(state[1] in "Gg" for state in states)
    alone = controller({"links": [{"in_lane": "a", "out_lane": "b"}], "green_states": ["O"]})
    assert [alone.step(t, {}) for t in range(3)] == ["O"] * 3


def test_a_signal_with_one_link_serves_it() -> None:
    control = controller({"links": [{"in_lane": "a", "out_lane": "b"}], "green_states": ["G"]})
    assert [control.step(t, {"a": HEAD}) for t in range(10)][-1] == "G"


def test_what_cannot_be_read_is_counted_and_changes_nothing_unsafe() -> None:
    control = controller(crossing(["GrG", "rGr"]))
    broken: list[tuple[Any, Any]] = [
        (0, None), (1, {"lanes": {"in0": {"vehicles": "many"}}}), (float("nan"), {}), (None, 7),
        (-50, {"lanes": {"in0": object()}}), ("x", {"lanes": {"in0": [1, "?"]}}), (9, []),
    ]  # fmt: skip
    for t, observations in broken:
        state = control.step(t, observations)
        assert len(state) == 3 and set(state) <= set("Ggyr")
    assert control.faults >= 4
    state = "rrr"
    for t in range(10, 300):
        state = control.step(t, {"lanes": {"in1": HEAD}})
        assert not (state[1] in "Gg" and state[0] in "Ggy")
    assert state[1] in "Gg"


def test_half_second_steps_keep_yellow_at_three_seconds() -> None:
    control = controller(crossing(["GrG", "rGr"]))
    lengths: list[int] = []
    run = 0
    for k in range(1200):
        rows = {"in0": HEAD if k % 80 < 40 else NOBODY, "in1": NOBODY if k % 80 < 40 else HEAD}
        if control.step(k / 2, {"lanes": rows})[0] == "y":
            run += 1
        elif run:
            lengths.append(run)
            run = 0
    assert lengths and set(lengths) == {6}


def test_a_queue_out_of_sight_is_guessed_from_how_soon_the_lane_fills() -> None:
    busy, calm = Lane("busy", 0.8, 13.9, guesses=True), Lane("calm", 0.8, 13.9, guesses=True)
    for lane, first in ((busy, 3), (calm, 35)):
        t, hidden = 0, 0.0
        for _ in range(10):
            lane.is_green = False
            for second in range(40):
                stands = second >= first
                lane.observe(
                    t,
                    Sensed(stands, 0, second == first, stands, stands, max(0.0, second - first)),
                    1.0,
                )
                t += 1
            hidden = lane.hidden
            lane.is_green = True
            for _ in range(30):
                lane.observe(t, Sensed(), 1.0)
                t += 1
        assert lane.hidden < max(1.0, 0.5 * hidden)
        if lane is busy:
            assert 4.0 < hidden < 15.0
        else:
            assert hidden < 1.0
    assert busy.arrival_rate > 1.2 * calm.arrival_rate
