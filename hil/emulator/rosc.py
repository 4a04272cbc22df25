"""The ring oscillator of an RP2040 as the source of `os.urandom`: seeded, so that runs repeat.

Public: `Rosc`. `rp2040py` has none, so that every node would draw the same bits. Source: RP2040
datasheet 2.17.
"""

import random

from rp2040py.peripherals.peripheral import BasePeripheral
from rp2040py.rp2040 import RP2040

RANDOMBIT, STATUS = 0x1C, 0x18
_STABLE = 1 << 31


class Rosc(BasePeripheral):
    """Answers RANDOMBIT from `rng`; always stable and running."""

    def __init__(self, mcu: RP2040, rng: random.Random) -> None:
        super().__init__(mcu, "ROSC")
        self._rng = rng
        self._registers: dict[int, int] = {}

    def read_uint32(self, offset: int) -> int:
        """See `Peripheral`."""
        if offset == RANDOMBIT:
            return self._rng.getrandbits(1)
        if offset == STATUS:
            return _STABLE | 1 << 12
        return self._registers.get(offset, 0)

    def write_uint32(self, offset: int, value: int) -> None:
        """See `Peripheral`."""
        self._registers[offset] = value
