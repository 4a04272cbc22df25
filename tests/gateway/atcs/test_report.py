"""Log, SPaT, charts and the command line."""

import csv
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner

from firmware.cabinet.card import Card
from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.events import BEGIN_GREEN, BEGIN_YELLOW, Event
from gateway.atcs.report import TEXT, csv_rows, spat
from gateway.cli.atcs import atcs
from tests.gateway.atcs.rig import ROOT, sample

KUMBASARI = str(ROOT / "deploy/atcs/kumbasari.toml")


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(atcs, list(arguments))
    return result.exit_code, result.output


def test_log_lines_have_local_tenths_device_code_and_parameter() -> None:
    events = [Event(1500, BEGIN_GREEN, 2), Event(86_400_000, BEGIN_YELLOW, 2)]
    rows = list(csv_rows(events, 7, datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)))
    assert rows == ["2026-11-25 00:00:00.5,7,1,2", "2026-11-25 23:59:59.0,7,8,2"]


def test_spat_names_states_and_counts_down_only_what_is_certain() -> None:
    controller = Controller(sample("kumbasari"), 0)
    seen: set[str] = set()
    for k in range(1, 900):
        output = controller.step(100 * k, Inputs(detectors=63))
        message = json.loads(spat(controller, output))
        assert message["mode_id"] == TEXT[output.mode][0]
        for state in message["states"]:
            seen.add(state["eventState"])
            if "countdown_s" in state:
                assert state["minEndTime"] == state["maxEndTime"]
                assert 0 <= state["countdown_s"] <= 3
    assert seen == {
        "protected-Movement-Allowed", "protected-clearance", "stop-And-Remain",
        "caution-Conflicting-Traffic", "pedestrian-Clearance",
    }  # fmt: skip


def test_check_says_safe_or_unsafe_in_both_languages(tmp_path: Path) -> None:
    code, text = call("check", KUMBASARI)
    assert code == 0 and "safe to run (aman dijalankan)" in text
    bad = tmp_path / "bad.toml"
    bad.write_text(
        Path(KUMBASARI).read_text().replace("clearance_s = [1.2, 2.2]", "clearance_s = 0")
    )
    code, text = call("check", str(bad))
    assert code == 1 and "TIDAK AMAN" in text and "0 s from W to N is shorter than 1.2 s" in text
    assert call("sim", str(bad))[0] == 78
    assert call("check", str(tmp_path / "none.toml"))[0] == 78


def test_the_card_that_is_written_is_the_card_that_the_monitor_reads(tmp_path: Path) -> None:
    target = tmp_path / "card.bin"
    code, text = call("card", KUMBASARI, str(target))
    assert code == 0 and "channel 4 PW: conflicts W, E, LW" in text
    card = Card(target.read_bytes())
    assert card.channels == 6 and card.conflicts[0] == 0b011100


def test_sim_writes_a_log_and_plot_draws_both_charts(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    code, text = call("sim", KUMBASARI, "--seconds", "300", "--log", str(log))
    assert code == 0 and "hijau" in text
    with log.open() as file:
        rows = list(csv.DictReader(file))
    assert {"1", "8", "82"} <= {row["EventId"] for row in rows}
    for kind in ("lamps", "splits"):
        target = tmp_path / f"{kind}.svg"
        assert call("plot", KUMBASARI, str(target), "--seconds", "200", "--kind", kind)[0] == 0
        root = ET.parse(target).getroot()
        assert len(root.findall(".//{http://www.w3.org/2000/svg}rect")) > 6
