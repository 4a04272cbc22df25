"""`tukad sim`: every command answers, and its CSV is one."""

import csv
import io

import pytest
from click.testing import CliRunner

from sim.cli import sim


@pytest.mark.parametrize(
    ("command", "columns"),
    [("river", 3), ("tide", 2), ("channel", 9)],
)
def test_csv_has_a_head_and_numbers(command: str, columns: int) -> None:
    done = CliRunner().invoke(sim, [command, "--csv"])
    assert done.exit_code == 0, done.output
    head, *rows = list(csv.reader(io.StringIO(done.output)))
    assert len(head) == columns and len(rows) >= 10
    assert all(len([float(cell) for cell in row]) == columns for row in rows)


@pytest.mark.parametrize("command", ["river", "tide", "channel"])
def test_charts_are_drawn(command: str) -> None:
    done = CliRunner().invoke(sim, [command])
    assert done.exit_code == 0 and len(done.output.splitlines()) > 8


def test_river_peaks_at_five_in_the_morning() -> None:
    done = CliRunner().invoke(sim, ["river", "--csv", "--step", "3600"])
    rows = list(csv.DictReader(io.StringIO(done.output)))
    peak = max(rows, key=lambda row: int(row["level_mm"]))
    assert int(peak["time_s"]) == 11 * 3600


def test_gnss_prints_sentences_with_good_checksums() -> None:
    done = CliRunner().invoke(sim, ["gnss", "--seconds", "50"])
    lines = done.output.splitlines()
    assert len(lines) >= 4 * 45
    for line in lines:
        body, _, check = line[1:].partition("*")
        total = 0
        for byte in body.encode():
            total ^= byte
        assert f"{total:02X}" == check


def test_a_range_that_is_none_is_refused() -> None:
    done = CliRunner().invoke(sim, ["river", "--from", "5", "--to", "4"])
    assert done.exit_code == 2 and "Traceback" not in done.output
