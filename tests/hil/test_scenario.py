"""Scenario files: closed and checked; the same seed plays the same; reports for both readers."""

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from hil.cli import hil
from hil.expectations import duty_percent
from hil.report import html, junit, load_results, save
from hil.run import run
from hil.scenario import FOLDER, ScenarioError, available, load, seconds
from sim.kernel import HOUR, SECOND

GOOD = """
[scenario]
title = "t"
duration = "10s"
[[node]]
name = "a"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "s.toml"
    path.write_text(text)
    return path


def test_every_scenario_of_the_project_loads_and_demands_something() -> None:
    paths = available()
    assert len(paths) >= 12
    for path in paths:
        scenario = load(path)
        assert scenario.expects and scenario.about and scenario.title, path
    assert load(Path("smoke")).path == FOLDER / "smoke.toml", "a bare name is enough"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", "not TOML"),
        ("[scenario]\nduration = '1h'\n", "title is missing (a text)"),
        (GOOD + "colour = 1", "node 1: no such key colour; there are: name, role"),
        (GOOD.replace("10s", "10 parsecs"), "'10 parsecs': expected a duration such as"),
        (GOOD + "x_m = true", "node 1.x_m: True: expected a number"),
        (GOOD + "x_m = 1e9", "x_m: 1000000000.0 is outside -100000..100000"),
        (GOOD + "sensor = 'lidar'", "'lidar' is none of geolux-lx80"),
        (GOOD + "[[event]]\nat = '1s'\ndo = 'sos'\nnode = 'b'", "'b' is none of a"),
        (GOOD + "[[event]]\nat = '1s'\ndo = 'flood'", "'flood' is none of power_cut"),
        (
            GOOD + "[[event]]\nat = '1s'\ndo = 'sensor_fault'\nnode = 'a'\nvalue = 'x'",
            "event 1.value: 'x' is none of",
        ),
        (GOOD + "[[expect]]\nwhat = 'readings'\nnode = 'a'", "readings needs one of least"),
        (GOOD + "[world]\nstages_mm = [3, 2, 1]", "expected three rising integers"),
        ("[scenario]\ntitle='t'\nduration='1s'", "at least one [[node]]"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    message = str(caught.value)
    assert words in message and str(path) in message and "\n" not in message


def test_a_missing_scenario_names_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match=r"no such scenario; there are: .*golden-storm"):
        load(Path("no-such"))


def test_durations() -> None:
    assert [seconds(t) for t in ("90s", "15m", "2h30m", "1d", "250ms", 7)] == [
        90, 900, 9_000, 86_400, 0.25, 7,
    ]  # fmt: skip
    for wrong in ("", "5", "h", "1h x", True):
        with pytest.raises(ValueError):
            seconds(wrong)


def test_duty_is_of_the_worst_hour() -> None:
    burst = [(i * SECOND, SECOND // 10) for i in range(36)]
    later = [(5 * HOUR + when, length) for when, length in burst]
    assert duty_percent(burst + later) == pytest.approx(0.1)
    assert duty_percent([]) == 0


def test_smoke_holds_and_the_same_seed_plays_the_same(tmp_path: Path) -> None:
    """Real firmware of both roles from power-on to decoded readings, twice."""
    scenario = load(Path("smoke"))
    one = run(scenario, seed=11, log_dir=tmp_path / "logs")
    assert one.held, [v for v in one.verdicts if not v.held]
    short = dataclasses.replace(scenario, duration_s=40.0)
    assert run(short, seed=11).digest == run(short, seed=11).digest
    save(one, tmp_path)
    (kept,) = load_results(tmp_path)
    assert kept == one or kept.digest == one.digest
    suite = ET.fromstring(junit([kept]))[0]
    assert suite.get("failures") == "0" and len(suite) == len(one.verdicts)
    page = html([kept])
    assert "held" in page and "<svg" in page and one.again in page
    assert "http" not in page and "src=" not in page, "one page, nothing from elsewhere"


def test_a_failed_expectation_is_told_with_its_seed(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "[[expect]]\nwhat = 'readings'\nnode = 'a'\nleast = 1000\n")
    done = CliRunner().invoke(hil, ["run", str(path), "--seed", "3", "--out", str(tmp_path / "r")])
    assert done.exit_code == 1
    assert "tukad hil run s --target unix --seed 3" in done.output
    told = CliRunner().invoke(hil, ["report", str(tmp_path / "r")])
    assert told.exit_code == 0, told.output
    suite = ET.fromstring((tmp_path / "r/junit.xml").read_text())[0]
    assert suite.get("failures") == "1" and "--seed 3" in (suite[0][0].text or "")


def test_a_wrong_file_is_one_line_and_exit_code_78(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "colour = 1")
    done = CliRunner().invoke(hil, ["run", str(path)])
    assert done.exit_code == 78 and "no such key colour" in done.output
    assert "Traceback" not in done.output


def test_report_without_results_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(hil, ["report", str(tmp_path)])
    assert done.exit_code == 1 and "tukad hil run" in done.output
    (tmp_path / "x.json").write_text("{}")
    done = CliRunner().invoke(hil, ["report", str(tmp_path)])
    words = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 1 and "not a result of" in words
