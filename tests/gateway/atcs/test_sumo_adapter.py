"""The public adapter: any observations in, safe and bounded SUMO states out."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.atcs.adapters.sumo import controller

ARMS = "NESW"
GREENS = ["GGgrrrGGgrrr", "rrGrrrrrGrrr", "rrrGGgrrrGGg", "rrrrrGrrrrrG"]


def spec() -> dict[str, Any]:
    """A crossroads: per arm through, through+left lane pair as links 3k, 3k+1 and a turn 3k+2."""
    links = []
    foes: dict[int, list[int]] = {i: [] for i in range(12)}
    for k, arm in enumerate(ARMS):
        for m in range(3):
            lane = f"{arm}_{min(m, 1)}" if m < 2 else f"{arm}_2"
            links.append({"index": 3 * k + m, "in_lane": lane, "out_lane": f"out_{k}_{m}"})
    for i in range(12):
        for j in range(12):
            a, b = divmod(i, 3), divmod(j, 3)
            opposite = (a[0] + 2) % 4 == b[0]
            if a[0] == b[0]:
                continue
            if not opposite or (a[1] == 2) != (b[1] == 2):
                foes[i].append(j)
    lanes = {link["in_lane"]: {"length_m": 200.0, "speed_mps": 13.9} for link in links}
    return {"id": "x", "links": links, "green_states": GREENS, "foes": foes, "lanes": lanes}


def observations(rng: random.Random, load: float) -> dict[str, Any]:
    ins = {}
    for arm in ARMS:
        for lane in range(3):
            n = rng.randrange(20) if rng.random() < load else 0
            halting = min(n, rng.randrange(8))
            ins[f"{arm}_{lane}"] = {
                "occupied": n > 0, "departures": rng.randrange(2), "arrivals": rng.randrange(2),
                "halting": halting, "vehicles": n, "wait_s": float(rng.randrange(200)),
            }  # fmt: skip
    outs = {
        f"out_{k}_{m}": {"vehicles_first_50m": rng.randrange(8)} for k in range(4) for m in range(3)
    }
    return {"lanes": ins, "out_lanes": outs}


def watch(states: list[str], table: dict[str, Any]) -> int:
    """Assert the safety of a run, one state a second; the longest red of any link."""
    foes = table["foes"]
    native = [{i for i, c in enumerate(g) if c in "Gg"} for g in table["green_states"]]
    age = [0] * 12
    longest = 0
    before = states[0]
    for state in states[1:]:
        green = {i for i, c in enumerate(state) if c in "Gg"}
        for i in green:
            for j in foes[i]:
                if j in green:
                    assert any({i, j} <= both for both in native), (state, i, j)
                    assert "g" in (state[i], state[j]) or state[i] != state[j], (state, i, j)
        for i, (a, b) in enumerate(zip(before.lower(), state.lower(), strict=True)):
            age[i] += 1
            if a != b:
                assert (a, b) in {("r", "g"), ("g", "y"), ("y", "r")}, (i, a, b)
                assert a != "g" or age[i] >= 5
                assert a != "y" or age[i] == 3
                age[i] = 0
            elif a == "r":
                longest = max(longest, age[i])
        before = state
    return longest


@pytest.mark.parametrize(("seed", "load"), [(1, 0.0), (2, 0.1), (3, 0.6), (4, 1.0)])
def test_any_observations_give_safe_states_and_no_red_over_180_s(seed: int, load: float) -> None:
    rng = random.Random(seed)
    control = controller(spec())
    states = [control.step(float(t), observations(rng, load)) for t in range(1500)]
    assert watch(states, spec()) <= 180
    served = {i for state in states for i, c in enumerate(state) if c in "Gg"}
    assert served == set(range(12))


def test_one_busy_road_for_ever_does_not_starve_the_others() -> None:
    control = controller(spec())
    quiet = {"occupied": False, "departures": 0, "arrivals": 0, "halting": 0, "vehicles": 0}
    busy = {"occupied": True, "departures": 1, "arrivals": 1, "halting": 7, "vehicles": 19,
            "wait_s": 60.0}  # fmt: skip
    lanes = {f"{arm}_{k}": busy if arm in "NS" else quiet for arm in ARMS for k in range(3)}
    lanes["E_1"] = {**quiet, "vehicles": 1, "halting": 1, "occupied": True}
    states = [control.step(float(t), {"lanes": lanes, "out_lanes": {}}) for t in range(900)]
    assert watch(states, spec()) <= 180


def test_objects_lists_and_sparse_observations_are_read_too() -> None:
    table = spec()
    rows = [table["foes"][i] for i in range(12)]
    by_object = SimpleNamespace(
        id="x",
        links=[SimpleNamespace(**link) for link in table["links"]],
        native_green_states=table["green_states"],
        foes=rows,
        lane_lengths={k: v["length_m"] for k, v in table["lanes"].items()},
        lane_speeds={k: v["speed_mps"] for k, v in table["lanes"].items()},
    )
    rng = random.Random(5)
    one, two = controller(table), controller(by_object)
    for t in range(300):
        seen = observations(rng, 0.5)
        flat = {**seen["lanes"], **seen["out_lanes"]}
        as_objects = {k: SimpleNamespace(**v) for k, v in flat.items()}
        assert one.step(t, seen) == two.step(t, as_objects)
    assert len(one.step(301, {})) == 12
    assert len(one.step(302, None)) == 12


def test_a_spec_without_foes_keeps_to_the_native_states() -> None:
    table = spec()
    del table["foes"]
    control = controller(table)
    rng = random.Random(6)
    native = [{i for i, c in enumerate(g) if c in "Gg"} for g in GREENS]
    for t in range(400):
        state = control.step(t, observations(rng, 0.5))
        green = {i for i, c in enumerate(state) if c in "Gg"}
        for i in green:
            for j in green:
                assert any({i, j} <= s for s in native), state
    with pytest.raises(ValueError, match="neither links nor green states"):
        controller({})
