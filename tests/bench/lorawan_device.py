"""The end device: heap, bytes allocated and time of an uplink under MicroPython; a million mutants.

`python -m tests.bench lorawan_device` does all of it (some minutes). Alone,
`python -m tests.bench.lorawan_device --fuzz 50000` chooses the number of mutated frames.
"""

import argparse
import os
import subprocess
import time
from pathlib import Path

from tests.micropython.interpreter import micropython
from tests.properties.lorawan.fuzz import fuzz

ROOT = Path(__file__).parents[2]
MUTANTS = 1000000
STEP = 50000
ROWS = (
    ("region_bytes", "heap: AS923-2's tables and their code", "B"),
    ("code_bytes", "heap: the device's code, compiled from source into RAM", "B"),
    ("device_bytes", "heap: one Device, all buffers included", "B"),
    ("record_bytes", "flash: the record a store keeps", "B"),
    ("allocated_to_send", "allocated from `step` to OP_TX, per uplink", "B"),
    (
        "allocated_in_windows",
        "allocated from `tx_done` to the end of the windows, 200 uplinks",
        "B",
    ),
    ("allocated_by_downlink", "allocated by `rx_done` of an acknowledgement", "B"),
    ("allocated_to_finish", "allocated after the windows, per uplink", "B"),
    ("us_to_send", "time from `step` to OP_TX (this machine)", "us"),
    ("us_by_downlink", "time of `rx_done` (this machine)", "us"),
)


def heap() -> dict[str, int]:
    """What tests/protocols/lorawan/heap.py prints under MicroPython."""
    done = subprocess.run(
        [*micropython(), "-X", "heapsize=2m", str(ROOT / "tests/protocols/lorawan/heap.py")],
        env={**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return {name: int(value) for name, value in map(str.split, done.stdout.splitlines())}


def main(mutants: int = MUTANTS) -> None:
    figures = heap()
    print("MicroPython, 64-bit: a 32-bit chip needs about half of what is no bytecode")
    for name, text, unit in ROWS:
        print(f"{figures[name]:8} {unit:2} {text}")
    start = time.perf_counter()
    rejected = done = 0
    while done < mutants:
        part = min(STEP, mutants - done)
        rejected += fuzz(part, seed=1000 + done)
        done += part
    seconds = time.perf_counter() - start
    print(
        f"{mutants} mutated frames in {seconds:.0f} s: {rejected} rejected, "
        f"{mutants - rejected} no mutants or without a window to hear them, "
        "no exception, no session changed"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fuzz", type=int, default=MUTANTS, help="mutated frames to try")
    main(parser.parse_args().fuzz)
