"""A power cut at every write and erase of a real file system during an update: never a brick.

The loader runs in MicroPython on littlefs, over simulated NOR flash whose interrupted writes are
torn. `tests/firmware/device/update` does the same at every byte of every file's content.
"""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.device.release import compile_tree, load_key, new_key, pack, sign
from hil.unix_target import UnixNode
from protocols.update.manifest import parse
from sim.board import Board
from sim.kernel import SECOND, Simulation

# Every one takes minutes: TUKAD_EVERY_CUT=1 does them all.
STRIDE = 1 if os.environ.get("TUKAD_EVERY_CUT") else 23
ROOT = Path(__file__).parents[3]
# Says who it is, proves itself, and waits for the next loss of power.
MAIN = b"""
import sys, time, machine
def run(root):
    watchdog = machine.WDT(timeout=8000)
    from firmware.update.slots import Slots
    from firmware.update.tree import Tree
    print("runs", %d)
    Slots(Tree(root)).confirm()
    print("confirmed", %d)
    while True:
        watchdog.feed()
        time.sleep_ms(2000)
"""
OURS = ("firmware/store", "firmware/update/slots", "firmware/update/tree", "firmware/update/__init",
        "firmware/__init", "protocols/__init", "protocols/errors", "protocols/update/__init",
        "protocols/update/ed25519", "protocols/update/manifest", "protocols/update/selection",
        "protocols/update/sha512")  # fmt: skip


def package(key: Path, version: int, compiled: dict[str, bytes]) -> bytes:
    files = {name: data for name, data in compiled.items() if name.startswith(OURS)}
    files |= {"firmware/main.py": MAIN % (version, version)}
    signed = sign(files, "unix-pico", version, load_key(key))
    return pack(signed, parse(signed), files, None)


def pieces(content: bytes) -> list[tuple[str, bytes]]:
    return [
        (f"piece.{at // 4000:03}", content[at : at + 4000]) for at in range(0, len(content), 4000)
    ]


@pytest.mark.timeout(1500)
def test_every_write_may_be_the_last(tmp_path: Path) -> None:
    compiled = compile_tree(ROOT)
    key = tmp_path / "release.pem"
    public = new_key(key)
    first, second = package(key, 1, compiled), package(key, 2, compiled)
    confirmed = run(tmp_path / "first.log", pieces(first), {"release.pub": public,
                    "model": b"unix-pico\n"}, None, None)  # fmt: skip
    assert confirmed.said.split()[-2:] == ["confirmed", "1"]
    torn = 0
    for cut in range(0, 4000, STRIDE):
        life = run(tmp_path / f"{cut}.log", pieces(second), {}, confirmed.flash, cut)
        if not life.was_cut:  # the installation was over before
            assert life.said.split()[-2:] == ["confirmed", "2"]
            break
        torn += 1
        # It starts by itself, into one of the two, and what was confirmed is never left.
        runs = [line for line in life.said.splitlines() if line.startswith(("runs", "confirmed"))]
        assert runs and runs[-1] in ("confirmed 1", "confirmed 2"), (cut, life.said)
        if "confirmed 2" in runs:
            assert runs[-1] == "confirmed 2", (cut, life.said)
    else:
        raise AssertionError("an installation never ended")
    assert torn >= 10


class Life(NamedTuple):
    said: str
    flash: dict[int, bytearray]
    was_cut: bool


def run(
    log: Path,
    brought: list[tuple[str, bytes]],
    files: dict[str, bytes],
    flash: dict[int, bytearray] | None,
    cut: int | None,
) -> Life:
    """A board from power on for 25 s, which loses power at write or erase number `cut`."""
    sim = Simulation(cut or 0)
    node = UnixNode(
        sim,
        Board(sim, "node"),
        files=files | dict(brought),
        entry=("tests.firmware.host.cable", "start"),
        log=log,
    )
    if flash is not None:
        vars(node.flash)["_data"] = {number: bytearray(data) for number, data in flash.items()}
    node.flash.cut_after = cut
    try:
        node.power_on()
        sim.run_until(25 * SECOND)
        return Life(log.read_text(), vars(node.flash)["_data"], node.flash.cut_after is None)
    finally:
        node.close()
