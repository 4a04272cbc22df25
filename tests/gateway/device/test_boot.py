"""The loader in a real MicroPython: which application starts after crashes, hangs and damage."""

import os
import subprocess
from pathlib import Path

import pytest

from gateway.device.release import LOADER, compile_tree, load_key, new_key, pack, sign
from protocols.update.manifest import parse
from tests.micropython.interpreter import micropython

ROOT = Path(__file__).parents[3]
MACHINE = """
class WDT:
    def __init__(self, timeout=0):
        pass
    def feed(self):
        pass
def reset():
    raise SystemExit(7)
"""
CRASHES = b"def run(root):\n    print('runs', %d)\n    raise ValueError('bug')\n"
# A crash that the application's own main notes, or a watchdog: to the loader both are a reset.
RESETS = b"import machine\ndef run(root):\n    print('runs', %d)\n    machine.reset()\n"
CONFIRMS = (
    b"from firmware.update.slots import Slots\nfrom firmware.update.tree import Tree\n"
    b"def run(root):\n    print('runs', %d)\n    Slots(Tree(root)).confirm()\n"
    b"    raise SystemExit\n"
)
# What an application brings of ours besides its main.
OURS = ("firmware/store", "firmware/update", "protocols/errors", "protocols/update")


class Board:
    """A flash with the loader, and the key it trusts."""

    def __init__(self, folder: Path, compiled: dict[str, bytes]) -> None:
        self.flash = folder / "flash"
        self._chip = folder / "chip"
        self._compiled = compiled
        self.flash.mkdir()
        self._chip.mkdir()
        (self._chip / "machine.py").write_text(MACHINE)
        for name in LOADER:
            path = self.flash / "loader" / f"{name}.mpy"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(compiled[f"{name}.mpy"])
        (self.flash / "model").write_text("unix-pico\n")
        (self.flash / "release.pub").write_bytes(new_key(folder / "k.pem"))
        self._key = load_key(folder / "k.pem")

    def send(self, version: int, main: bytes) -> None:
        files = {name: data for name, data in self._compiled.items() if name.startswith(OURS)}
        files["firmware/__init__.py"] = b""
        files["protocols/__init__.py"] = b""
        files["firmware/main.py"] = main % version
        signed = sign(files, "unix-pico", version, self._key)
        package = pack(signed, parse(signed), files, None)
        (self.flash / "update.new").write_bytes(package)

    def start(self) -> str:
        """Power on; what was printed by the update and the applications."""
        code = (
            f"import sys; sys.path.insert(0, '{self.flash}/loader'); __import__("
            f"'firmware.update.boot', None, None, ('start',)).start('{self.flash}')"
        )
        done = subprocess.run(
            [*micropython(), "-X", "heapsize=640k", "-c", code],
            env={**os.environ, "MICROPYPATH": f"{self._chip}:.frozen"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = done.stdout.splitlines()
        return "; ".join(line for line in lines if line.startswith(("runs", "update")))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path, compile_tree(ROOT))


def test_a_good_release_starts_and_stays(board: Board) -> None:
    board.send(1, CONFIRMS)
    assert board.start() == "update: version 1 starts on trial; runs 1"
    board.send(2, CONFIRMS)
    assert board.start() == "update: version 2 starts on trial; runs 2"
    assert board.start() == "runs 2"
    board.send(1, CONFIRMS)
    assert board.start() == "update: refused, version: 1, needed 3; runs 2"


@pytest.mark.parametrize("bad", [CRASHES, RESETS, b"syntax error %d"])
def test_a_bad_release_is_left_after_three_starts(board: Board, bad: bytes) -> None:
    board.send(1, CONFIRMS)
    board.start()
    fresh = board.flash / "fresh"
    fresh.unlink()
    board.send(2, bad)
    assert board.start().startswith("update: version 2 starts on trial")
    fresh.unlink()  # as an application does
    for _ in range(2):
        assert board.start() in ("runs 2", "")
        assert not fresh.exists()
    assert board.start() == "runs 1"
    fresh.unlink()  # the crashes of release 2 are not those of release 1
    assert board.start() == "runs 1"
    assert not fresh.exists()


def test_a_confirmed_slot_that_is_damaged_later_gives_way_to_the_other(board: Board) -> None:
    board.send(1, CONFIRMS)
    board.start()
    board.send(2, CONFIRMS)
    board.start()
    (board.flash / "app.a/firmware/main.py").write_bytes(b"rot (")
    assert board.start() == "runs 1"


def test_nothing_installed_is_a_reset_and_no_more(board: Board) -> None:
    assert board.start() == ""
