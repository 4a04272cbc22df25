"""A harness that is killed leaves no MicroPython process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import time
from hil.unix_target import UnixNode
from sim.board import Board
from sim.kernel import SECOND, Simulation
sim = Simulation(1)
node = UnixNode(sim, Board(sim, "n"), entry=("tests.hil.device.checks", "writes"))
node.power_on()
sim.run_until(SECOND)
print(node._process.pid, flush=True)
time.sleep(60)
"""


def test_children_end_when_the_harness_is_killed() -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert harness.stdout
    child = int(harness.stdout.readline())
    os.kill(child, 0)
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stdout.close()
    deadline = time.monotonic() + 20
    gone = False
    while not gone and time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
            gone = status == "Z"
        except FileNotFoundError:
            gone = True
    assert gone
