"""Plans: well formed or a message with key and cure; safe or refused with the numbers."""

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.atcs.card import card
from gateway.atcs.checks import check, refusals
from gateway.atcs.plan import from_table
from gateway.atcs.timing import (
    pedestrian_clearance_s,
    red_clearance_s,
    webster_cycle_s,
    webster_greens_s,
    yellow_s,
)
from gateway.config import ConfigError
from tests.gateway.atcs.rig import ROOT, sample

TABLE = tomllib.loads((ROOT / "deploy/atcs/kumbasari.toml").read_text())


def changed(*path_and_value: Any) -> list[str]:
    """The refusals after one value of the sample plan is another."""
    table = copy.deepcopy(TABLE)
    *path, value = path_and_value
    at: Any = table
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return [str(finding) for finding in refusals(from_table(table, Path("k.toml")))]


@pytest.mark.parametrize("name", ["kumbasari", "dual-ring"])
def test_the_sample_plans_are_safe(name: str) -> None:
    assert refusals(sample(name)) == []


def test_formulas_against_published_values() -> None:
    """ITE 2020 examples in metres, MUTCD's walking speed, Webster's cycle."""
    assert yellow_s(56.3, 0) == pytest.approx(3.56, abs=0.02)  # 35 mph, level: 3.6 s
    assert yellow_s(72.4, 0) == pytest.approx(4.30, abs=0.02)  # 45 mph: 4.3 s
    assert yellow_s(72.4, -3) > yellow_s(72.4, 0) > yellow_s(72.4, 3)
    assert yellow_s(20, 0) == 3.0
    assert red_clearance_s(56.3, 24.4) == pytest.approx(0.95, abs=0.02)  # (80+20)/51.3 - 1
    assert red_clearance_s(80, 5) == 0.0
    assert pedestrian_clearance_s(16.0, 1.07) == pytest.approx(14.95, abs=0.01)
    assert webster_cycle_s([0.3, 0.3], 10) == pytest.approx(50.0)
    assert webster_greens_s([0.3, 0.1], 50, 10) == pytest.approx([30.0, 10.0])
    with pytest.raises(ValueError, match=r"0\.95"):
        webster_cycle_s([0.5, 0.45], 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("movement", 0, "yellow_s", 2.5), "movement.W.yellow_s: 2.5 s is shorter than 3.0 s (ITE"),
        (("movement", 0, "speed_kmh", 70), "movement.W.yellow_s: 3 s is shorter than 4.2 s"),
        (("movement", 4, "yellow_s", 9), "9 s is shorter than 11.8 s (13 m at 1.1 m/s)"),
        (("movement", 4, "min_green_s", 2), "walk of 2 s is shorter than 4 s"),
        (("movement", 2, "min_green_s", 3), "movement.N.min_green_s: 3 s is shorter than 5 s"),
        (("conflict", 0, "clearance_s", [0.5, 2.2]), "0.5 s from W to N is shorter than 1.2 s"),
        (("conflict", 0, "clearance_s", [1.2, 1.0]), "1 s from N to W is shorter than 2.1 s"),
        (("entry", 0, "green", ["W", "E", "N"]), "W and N conflict and are both green"),
        (("entry", 1, "green", ["S", "PW"]), "movement.N: is green in no entry"),
        (("plan", 0, "splits", {"A": 45, "B": 20}), "splits.B: 20 s is shorter than 23.2 s"),
        (("plan", 0, "splits", {"A": 45, "B": 30}), "sum to 75 s, not to 80 s"),
        (("plan", 0, "offset_s", 90), "90 s is not within the cycle of 80 s"),
        (("preempt", 0, "green", ["E", "N"]), "E and N conflict"),
        (("flood", 0, "open_stage", 2), "2 is not below close_stage 2"),
    ],
)
def test_an_unsafe_plan_is_refused_with_the_numbers(change: tuple[Any, ...], words: str) -> None:
    found = changed(*change)
    assert any(words in line for line in found), found


def test_rings_that_may_run_together_must_not_conflict() -> None:
    table = tomllib.loads((ROOT / "deploy/atcs/dual-ring.toml").read_text())
    for entry in table["entry"]:
        if entry["name"] == "P3":
            entry["barrier"] = 1
    found = [str(f) for f in refusals(from_table(table, Path("d.toml")))]
    assert any("may run beside" in line and "P3" in line for line in found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("movement", 0, "colour", "red"), 'movement["W"].colour: no such setting'),
        (("movement", 0, "speed_kmh", 500), "is outside 5..100"),
        (("entry", 0, "green", ["W", "X"]), 'no movement "X"; there are: W, E, N, S, PW, LW'),
        (("day", 0, "at", {"25:00": "free"}), '"25:00" is not a time'),
        (("day", 0, "at", {"06:00": "noon"}), 'no plan "noon"'),
        (("conflict", 0, "between", ["W", "W"]), "is between two movements"),
    ],
)
def test_a_malformed_plan_names_key_and_cure(change: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        changed(*change)
    assert words in str(error.value)


def test_advice_has_websters_numbers() -> None:
    text = [str(f) for f in check(sample("kumbasari"))]
    assert any("Webster: load 0.53" in line and "cycle 53 s" in line for line in text)


def test_the_card_has_what_the_plan_says() -> None:
    plan = sample("kumbasari")
    data = card(plan)
    n = len(plan.movement)
    w, north, walk = plan.index["W"], plan.index["N"], plan.index["PW"]
    matrix = data[5 + 2 * n :]
    assert data[5 + w] == 30 and data[5 + walk] == 0
    assert matrix[w * n + north] == 12 and matrix[north * n + w] == 22
    assert matrix[walk * n + w] == 120  # the flashing don't walk is clearance too
    assert matrix[w * n + plan.index["E"]] == 255
