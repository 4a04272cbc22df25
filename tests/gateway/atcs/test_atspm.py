"""The measures of the package atspm on our log agree with what the lamps and detectors did."""

import json
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.atcs.chart import greens
from gateway.atcs.report import HEADER, csv_rows, detector_rows
from sim.junction.queue import Approach, Queues
from tests.gateway.atcs.rig import ROOT
from tests.gateway.atcs.test_adaptive_mode import RATES, run_of, with_advance

PEERS = ROOT / ".peers/bin/python"
SECONDS = 3600
START = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.skipif(not PEERS.exists(), reason="no .peers: sh deploy/setup.sh tests makes it")
def test_what_atspm_measures_is_what_happened(tmp_path: Path) -> None:
    plan = with_advance("free")
    run = run_of(plan)
    rows = [Approach(RATES.get(m.name, 0.01), 0.5 * max(1, m.lanes), 6.0) for m in plan.movement]
    queues = Queues(rows, 5)
    history: list[tuple[int, ...]] = []
    was = [False] * len(plan.detector)
    actuations: Counter[int] = Counter()
    on_green: Counter[int] = Counter()
    arrivals: Counter[int] = Counter()
    for _ in range(SECONDS * 10):
        stops, advances = queues.step(run.now_ms / 1000, run.output.lamps or (3,) * len(rows))
        on = {"stop": stops, "button": stops, "advance": advances}
        states = [on[d.kind][plan.index[d.movement]] for d in plan.detector]
        run.go(0.1, *(d.name for d, is_on in zip(plan.detector, states, strict=True) if is_on))
        history.append(run.output.lamps)
        for k, d in enumerate(plan.detector):
            if states[k] and not was[k] and d.kind != "button":
                actuations[k + 1] += 1
                if d.kind == "advance":
                    phase = plan.index[d.movement] + 1
                    arrivals[phase] += 1
                    on_green[phase] += run.output.lamps[phase - 1] == 1
        was = states
    log, detectors, out = tmp_path / "log.csv", tmp_path / "detectors.csv", tmp_path / "out.json"
    log.write_text("\n".join([HEADER, *csv_rows(run.log, 1, START)]) + "\n")
    detectors.write_text("\n".join(detector_rows(plan, 1)) + "\n")
    script = Path(__file__).with_name("measures.py")
    subprocess.run([PEERS, script, log, detectors, out], check=True, timeout=120)
    measures: dict[str, list[dict[str, Any]]] = json.loads(out.read_text())

    def total(name: str, key: str, value: str) -> Counter[int]:
        result: Counter[int] = Counter()
        for row in measures[name]:
            result[int(row[key])] += int(float(row[value]))
        return result

    assert total("actuations", "Detector", "Total") == actuations
    measured_arrivals = total("arrival_on_green", "Phase", "Total_Actuations")
    for phase, count in arrivals.items():
        # Before the first green there is no cycle to which an arrival could belong.
        assert count - 3 <= measured_arrivals[phase] <= count
    for phase, count in on_green.items():
        seen = sum(
            float(row["Percent_AOG"]) * int(row["Total_Actuations"])
            for row in measures["arrival_on_green"]
            if int(row["Phase"]) == phase
        )
        # An arrival in the very tick in which the green begins or ends may count either way.
        assert abs(seen - count) <= 0.02 * count + 3, phase

    vehicles = [i for i, m in enumerate(plan.movement) if m.kind != "pedestrian"]
    for i in vehicles:
        expected = [
            ((START + timedelta(seconds=0.1 * (k + 1))).strftime("%H:%M:%S"), length / 10)
            for k, length in greens(history, i)
        ]
        measured = [
            (row["StartTime"][11:19], float(row["Duration"]))
            for row in measures["timeline"]
            if row["EventClass"] == "Green" and row["EventValue"] == str(i + 1)
            and row["IsValid"] == "True"
        ]  # fmt: skip
        assert [start for start, _ in measured] == [start for start, _ in expected]
        for (_, a), (_, b) in zip(measured, expected, strict=True):
            assert a == pytest.approx(b, abs=0.15)
        services = sum(
            int(row["Services"]) for row in measures["splits"]
            if int(row["EventId"]) == 300 + i + 1
        )  # fmt: skip
        assert abs(services - len(expected)) <= 1
    kinds = {row["PerformanceMeasure"] for row in measures["terminations"]}
    assert kinds <= {"GapOut", "MaxOut", "ForceOff"} and "GapOut" in kinds
    ended = total("terminations", "Phase", "Total")
    assert abs(ended[1] - len(greens(history, 0))) <= 1
    yellow = {
        float(row["Duration"]) for row in measures["timeline"] if row["EventClass"] == "Yellow"
    }
    assert yellow and all(2.95 <= length <= 3.15 for length in yellow), yellow
    failures = [row for row in measures["split_failures"] if row["Phase"] == "1"]
    assert len(failures) == 4 and all(0 <= float(r["Green_Occupancy"]) <= 1 for r in failures)
    assert {row["EventClass"] for row in measures["timeline"]} >= {
        "Green", "Yellow", "Red", "Split", "Phase Call", "Ped Service",
    }  # fmt: skip
    assert len(measures["has_data"]) == 4, "every quarter of an hour is complete"
    waits = [float(row["MaxPhaseWait"]) for row in measures["phase_wait"]]
    assert waits and max(waits) <= 180
