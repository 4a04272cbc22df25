"""Countdown displays: whatever they show comes true; a fixed-time plan shows all of it."""

from pathlib import Path

import pytest

from gateway.atcs.calendar import Wall
from gateway.atcs.kernel import RED
from gateway.atcs.plan import from_table
from tests.gateway.atcs.rig import sample_table
from tests.gateway.atcs.test_controller import Run


def run_of(fixed: bool) -> Run:
    table = sample_table()
    table.pop("flood")
    for m in table["movement"]:
        m["countdown"] = True
        if fixed and m.get("kind") is None:
            m["recall"] = "max"
    if fixed:
        table["movement"] = [m for m in table["movement"] if m["name"] != "LW"]
        table["conflict"] = [c for c in table["conflict"] if "LW" not in c["between"]]
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    mode = "morning" if fixed else "free"
    table["day"] = [{"name": "all", "days": days, "at": {"00:00": mode}}]
    run = Run(from_table(table, Path("test.toml")))
    run.inputs.wall = Wall("2026-11-25", 2, 43_200_000)
    return run


@pytest.mark.parametrize("fixed", [True, False])
def test_what_the_displays_show_comes_true(fixed: bool) -> None:
    run = run_of(fixed)
    run.go(600, "w-stop", "n-stop", "s-stop", "e-stop", "pw-button")
    shown: list[tuple[int, dict[int, int], tuple[int, ...]]] = []
    names = ["w-stop", "n-stop", "s-stop", "e-stop"]
    for k in range(6000):
        button = ["pw-button"] if k % 1500 < 20 else []
        run.go(0.1, *names, *button)
        shown.append((run.now_ms, run.output.countdown, run.output.lamps))
    ends: dict[int, int] = {}
    lit: dict[int, int] = {}
    for k in range(len(shown) - 2, -1, -1):
        now_ms, counts, lamps = shown[k]
        for i, lamp in enumerate(lamps):
            if shown[k + 1][2][i] != lamp:
                ends[i] = shown[k + 1][0]
            if i in counts and i in ends:
                lit[i] = lit.get(i, 0) + 1
                assert 0 <= ends[i] - now_ms - (counts[i] - 1) * 1000 <= 1300, (
                    run.plan.movement[i].name, lamp, counts[i], ends[i] - now_ms,
                )  # fmt: skip
    west = run.plan.index["W"]
    if fixed:
        assert lit[west] > 5000, "green and red of the whole cycle"
    else:
        assert 100 < lit[west] < 3000
    reds = [c[west] for _, c, lamps in shown if west in c and lamps[west] == RED]
    assert max(reds) >= (20 if fixed else 3)
