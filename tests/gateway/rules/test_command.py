"""The history of thresholds: kept by the engine at its start, shown by the command."""

import json
from pathlib import Path

from click.testing import CliRunner

from gateway.ledger.schema import connect
from gateway.ledger.store import Store
from gateway.rules.command import thresholds
from gateway.rules.settings import Stages
from gateway.rules.thresholds import Thresholds, versions
from tests.gateway.acts.fixture import BASE

BEFORE = Stages(waspada_mm=500, siaga_mm=1160, awas_mm=2660, set_by="BPBD", reason="first")
AFTER = Stages(waspada_mm=300, siaga_mm=1160, awas_mm=2660, set_by="PUPR", reason="market asked")


def test_each_change_is_a_version_that_is_kept_and_published(tmp_path: Path) -> None:
    said: list[tuple[str, dict[str, object]]] = []
    db = connect(tmp_path / "ledger.db")
    store = Store(db)

    def start(stages: Stages, at_ms: int) -> list[str]:
        rule = Thresholds({"kumbasari": stages}, lambda t, p: said.append((t, json.loads(p))))
        return rule.keep(store, at_ms)

    assert start(BEFORE, 1) == ["kumbasari"]
    assert start(BEFORE, 2) == []
    assert start(AFTER, 3) == ["kumbasari"]
    assert start(BEFORE, 4) == ["kumbasari"]
    found = versions(store, "kumbasari")
    assert [(v["number"], v["since_ms"], v["waspada_mm"], v["set_by"]) for v in found] == [
        (1, 1, 500, "BPBD"),
        (2, 3, 300, "PUPR"),
        (3, 4, 500, "BPBD"),
    ]
    assert [topic for topic, _ in said] == ["thresholds/kumbasari"] * 4
    assert said[-1][1]["number"] == 3
    db.close()


def test_the_command_shows_what_held_and_what_is_not_yet_in_force(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(BASE.format(data=tmp_path))
    run = CliRunner().invoke(thresholds, [str(file), "--json"])
    assert run.exit_code == 0, run.output
    (row,) = map(json.loads, run.output.splitlines())
    assert row["number"] is None and row["waspada_mm"] == 300

    db = connect(tmp_path / "ledger.db")
    with db:
        Thresholds({"kumbasari": BEFORE}).keep(Store(db), 1_789_000_000_000)
    db.close()
    run = CliRunner().invoke(thresholds, [str(file)])
    assert run.exit_code == 0, run.output
    assert "BPBD" in run.output and "first" in run.output and "not in force" in run.output
    assert "2026-09-10" in run.output
    run = CliRunner().invoke(thresholds, [str(file), "--device", "kumbsari"])
    assert run.exit_code == 1 and "there are: kumbasari" in run.output
