"""Frames of version 0 recorded on the day it was fixed: they decode alike for ever.

A change that fails here changes the layout: it needs a new version, not a new vector.
`python -m tests.properties.payload.test_vectors` appends frames for new payloads.
"""

import json
import random
from pathlib import Path

from protocols.errors import RemoteError
from tests.properties.payload.test_codec_js import MAKERS, python_says

PATH = Path(__file__).with_name("vectors_v0.jsonl")


def test_recorded_frames_decode_alike() -> None:
    lines = PATH.read_text().splitlines()
    assert len(lines) >= 60
    for line in lines:
        vector = json.loads(line)
        got = python_says(vector["port"], bytes.fromhex(vector["hex"]), vector["received_s"])
        assert json.loads(json.dumps(got)) == vector["says"], vector["hex"]
    assert {json.loads(line)["port"] for line in lines} == set(MAKERS)


def record(count: int) -> None:
    rng = random.Random(2026)
    with PATH.open("a") as file:
        for _ in range(count):
            for port, make in MAKERS.items():
                data, received_s = make(rng)
                if len(data) > 60:
                    continue
                try:
                    says = python_says(port, data, received_s)
                except RemoteError:
                    continue  # a random event off the globe
                vector = {"port": port, "hex": data.hex(), "received_s": received_s, "says": says}
                file.write(json.dumps(vector) + "\n")


if __name__ == "__main__":
    record(16)
