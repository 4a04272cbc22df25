"""A NOR flash chip: erase to ones, program to zeros, wear, and what a power cut leaves.

Public: `NorFlash`, `PowerCutError`. Times after Winbond's W25Q16JV data sheet (typical values):
45 ms to erase a sector, 0.4 ms to program a page.
"""

import random
from collections.abc import Callable

SECTOR = 4096
PAGE = 256
ERASE_US = 45_000
PROGRAM_US = 400


class PowerCutError(Exception):
    """The supply went away in the middle of a write: the node must be taken off now."""


class NorFlash:
    """`sectors` sectors of 4,096 bytes; `rng` decides what a torn write leaves behind."""

    def __init__(self, sectors: int, rng: random.Random) -> None:
        self.sectors = sectors
        self.erases = 0
        self.programs = 0
        self.wear: dict[int, int] = {}
        self.cut_after: int | None = None  # writes and erases still to succeed before a cut
        self.on_fault: Callable[[str], object] = _ignore
        self._rng = rng
        self._data: dict[int, bytearray] = {}

    def read(self, address: int, length: int) -> bytes:
        """Bytes as they are; outside the chip all ones."""
        out = bytearray()
        while len(out) < length:
            sector, offset = divmod(address + len(out), SECTOR)
            part = min(SECTOR - offset, length - len(out))
            data = self._data.get(sector)
            out += data[offset : offset + part] if data else b"\xff" * part
        return bytes(out)

    def erase(self, sector: int) -> int:
        """Set a sector to ones; returns the time it takes in us. Raises `PowerCutError`."""
        self._check(sector)
        torn = self._countdown()
        data = self._data.setdefault(sector, bytearray(b"\xff" * SECTOR))
        if torn:
            # A broken erase leaves an arbitrary mix of old bits and ones.
            for i in range(0, SECTOR, 16):
                if self._rng.random() < 0.5:
                    data[i : i + 16] = b"\xff" * 16
            raise PowerCutError
        data[:] = b"\xff" * SECTOR
        self.erases += 1
        self.wear[sector] = self.wear.get(sector, 0) + 1
        return ERASE_US

    def program(self, address: int, data: bytes) -> int:
        """Clear bits; returns the time it takes in us. Raises `PowerCutError` half way."""
        torn = self._countdown()
        done = self._rng.randrange(len(data)) if torn else len(data)
        for i in range(done):
            sector, offset = divmod(address + i, SECTOR)
            self._check(sector)
            cells = self._data.setdefault(sector, bytearray(b"\xff" * SECTOR))
            if data[i] & ~cells[offset]:
                self.on_fault("program_without_erase")
            cells[offset] &= data[i]
        if torn:
            raise PowerCutError
        self.programs += 1
        return PROGRAM_US * (1 + (address % PAGE + len(data) - 1) // PAGE)

    def _countdown(self) -> bool:
        if self.cut_after is None:
            return False
        if self.cut_after > 0:
            self.cut_after -= 1
            return False
        self.cut_after = None
        return True

    def _check(self, sector: int) -> None:
        if not 0 <= sector < self.sectors:
            raise ValueError(f"sector {sector} of {self.sectors}")


def _ignore(_: str) -> None:
    pass
