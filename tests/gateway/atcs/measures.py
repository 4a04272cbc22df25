"""Runs in the environment of the peers: the package atspm over one of our logs, as JSON."""

import json
import sys
from pathlib import Path

import duckdb
from atspm import SignalDataProcessor


def main(log: str, config: str) -> None:
    raw = duckdb.sql(
        f"SELECT TimeStamp::TIMESTAMP AS TimeStamp, DeviceId::INT AS DeviceId, EventId::INT AS"
        f" EventId, Parameter::INT AS Parameter FROM read_csv('{log}')"
    ).df()
    detectors = duckdb.sql(f"SELECT * FROM read_csv('{config}')").df()
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
        raw_data=raw, detector_config=detectors, bin_size=15, verbose=0,
        aggregations=[{"name": n, "params": parameters.get(n, {})} for n in names],
    ) as processor:  # fmt: skip
        processor.load()
        processor.aggregate()
        result = {
            name: json.loads(
                processor.conn.query(f"SELECT * FROM {name}").df().to_json(
                    orient="records", date_format="iso"
                )
            )
            for name in names
        }  # fmt: skip
    Path(sys.argv[3]).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
