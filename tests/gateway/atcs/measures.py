"""Runs in the environment of the peers: the package atspm over one of our logs, as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
from atspm import SignalDataProcessor


class Rows:
    """A whole result, as releases of duckdb before 2 kept it."""

    def __init__(self, cursor: Any) -> None:
        self.description = cursor.description
        self._rows = cursor.fetchall() if self.description else []

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None


class Connection:
    """duckdb 2 wants every result read to its end; atspm 2.6 was written for duckdb 1."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def execute(self, text: str, parameters: Any = None) -> Rows:
        return Rows(self._real.execute(text, parameters or []))

    query = sql = execute

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def main(log: str, config: str) -> None:
    folder = Path(log).parent
    raw, detectors = str(folder / "raw.parquet"), str(folder / "detectors.parquet")
    duckdb.sql(
        f"COPY (SELECT TimeStamp::TIMESTAMP AS TimeStamp, DeviceId::INT AS DeviceId, EventId::INT"
        f" AS EventId, Parameter::INT AS Parameter FROM read_csv('{log}')) TO '{raw}'"
    )
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{config}')) TO '{detectors}'")
    names = [
        "has_data", "actuations", "arrival_on_green", "split_failures", "splits", "terminations",
        "timeline", "phase_wait", "ped", "coordination", "yellow_red", "ped_delay",
    ]  # fmt: skip
    parameters = {
        "has_data": {"no_data_min": 5, "min_data_points": 3},
        "arrival_on_green": {"latency_offset_seconds": 0},
        "split_failures": {
            "red_time": 5, "red_occupancy_threshold": 0.80, "green_occupancy_threshold": 0.80,
            "by_approach": True, "by_cycle": False,
        },
        "timeline": {"min_duration": 0.0, "cushion_time": 1},
        "yellow_red": {"latency_offset_seconds": 0, "min_red_offset": -8},
        "phase_wait": {
            "preempt_recovery_seconds": 120, "assumed_cycle_length": 140, "skip_multiplier": 1.5,
        },
    }  # fmt: skip
    with SignalDataProcessor(
        raw_data=raw, detector_config=detectors, bin_size=15, verbose=0, controller_type="maxtime",
        aggregations=[{"name": n, "params": parameters.get(n, {})} for n in names],
    ) as processor:  # fmt: skip
        processor.conn = Connection(processor.conn)
        processor.load()
        processor.aggregate()
        result: dict[str, list[dict[str, str]]] = {}
        for name in names:
            table = processor.conn.execute(f"SELECT * FROM {name}").fetchall()
            columns = [row[0] for row in processor.conn.execute(f"DESCRIBE {name}").fetchall()]
            result[name] = [dict(zip(columns, map(str, row), strict=True)) for row in table]
    Path(sys.argv[3]).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
