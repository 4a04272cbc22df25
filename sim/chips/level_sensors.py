"""Water-level sensors on Modbus, by their makers' register maps.

Public: `LevelSensor` and the kinds in `KINDS`: "geolux-lx80" (radar), "dfrobot-urm14"
(ultrasonic), "keller-s30" (pressure). Maps from the manuals: Geolux LX-80 p. 16-29; DFRobot
SEN0358 wiki; KELLER series 30 (EnviroDIY KellerModbus).

A sensor measures with its own errors and can be made to fail: set `fault` to one of `FAULTS`.
"""

import random
import struct
from collections.abc import Callable

from sim.chips.modbus import Slave

FAULTS = ("", "stuck", "no_echo", "spider", "boat", "drift", "tilt")


class LevelSensor:
    """A sensor `height_mm` above station zero (a pressure probe: below it, negative).

    `level_mm` is a callable with the true water level above station zero, in millimetres.
    """

    def __init__(
        self,
        kind: str,
        level_mm: Callable[[], float],
        height_mm: int,
        rng: random.Random,
        *,
        address: int = 1,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"no sensor {kind}; there are: {', '.join(KINDS)}")
        self.kind = kind
        self.height_mm = height_mm
        self.fault = ""
        self.temperature_c = 28.0
        self.reads = 0
        self._level_mm = level_mm
        self._address = address
        self._rng = rng
        self._stuck_mm: float | None = None
        self._average_mm: float | None = None
        self._pair = b""
        self.slave = Slave(KINDS[kind][0].__get__(self), functions=(3,))

    @property
    def baud(self) -> int:
        """The maker's default rate."""
        return KINDS[self.kind][1]

    @property
    def frame_format(self) -> int:
        """The maker's default format, as `Uart.open` has it."""
        return KINDS[self.kind][2]

    def distance_mm(self) -> float | None:
        """What the beam measures now; None without an echo."""
        sigma = {"geolux-lx80": 2.0, "dfrobot-urm14": 6.0}.get(self.kind, 1.0)
        true = self.height_mm - self._level_mm()
        measured = true + self._rng.gauss(0.0, sigma)
        if self.fault != "stuck":
            self._stuck_mm = measured
        if self.fault == "stuck" and self._stuck_mm is not None:
            return self._stuck_mm
        if self.fault == "no_echo":
            return None
        if self.fault == "spider" and self._rng.random() < 0.4:
            return self._rng.uniform(120, 300)
        if self.fault == "boat" and self._rng.random() < 0.7:
            return max(200.0, measured - 900)
        if self.fault == "drift":
            return measured + 150
        if self.fault == "tilt":
            return measured / 0.9397  # 20 degrees off the plumb line
        return measured

    def _geolux(self, address: int) -> int | None:
        if address == 0x0001:
            self.reads += 1
            distance = self.distance_mm()
            if distance is not None:
                before = self._average_mm
                self._average_mm = distance if before is None else before + (distance - before) / 8
            return 0 if distance is None else _u16(distance)
        simple = {
            0x0002: self._average_mm or 0.0,
            0x0003: 0,
            0x0004: self._address,
            0x0005: 0,
            0x0006: 4,
            0x0018: 0x0203,
            0x0019: 4096,
            0x001A: self.temperature_c,
            0x001B: 0 if self.fault == "no_echo" else 42,
            0x001C: 1,
            0x0022: self.height_mm,
        }
        if address in simple:
            return _u16(simple[address])
        if address in (0x0020, 0x0021):
            distance = self.distance_mm() if address == 0x0020 else self._average_mm
            return 0 if distance is None else _u16(self.height_mm - distance)
        return 0 if address < 0x34 else None

    def _urm14(self, address: int) -> int | None:
        if address == 5:
            self.reads += 1
            distance = self.distance_mm()
            in_range = distance is not None and 100 <= distance <= 1500
            return _u16(10 * distance) if in_range and distance is not None else 0xFFFF
        simple = {0: 0x0002, 1: 0x0010, 2: self._address, 3: 5, 4: 1, 8: 4}
        if address in simple:
            return simple[address]
        if address in (6, 7):
            return _u16(10 * self.temperature_c)
        return None

    def _keller(self, address: int) -> int | None:
        if address in (0x0100, 0x0102, 0x0002, 0x0006):
            value = self._pressure_bar() if address in (0x0100, 0x0002) else self.temperature_c
            self._pair = struct.pack(">f", value)
            return int.from_bytes(self._pair[:2], "big")
        if address in (0x0101, 0x0103, 0x0003, 0x0007):
            return int.from_bytes(self._pair[2:], "big")
        return {0x0202: 0x0001, 0x0203: 0xE240, 0x020D: self._address}.get(address)

    def _pressure_bar(self) -> float:
        self.reads += 1
        distance = self.distance_mm()
        if distance is None:
            return float("nan")
        depth_m = -distance / 1000  # the probe hangs below station zero: the water is above it
        t = self.temperature_c
        # Density of pure water, Jones and Harris (1992).
        rho = 999.84847 + 6.337563e-2 * t - 8.523829e-3 * t**2 + 6.943248e-5 * t**3
        rho -= 3.821216e-7 * t**4
        return max(depth_m, 0.0) * rho * 9.80665 / 1e5


def _u16(value: float) -> int:
    return round(value) & 0xFFFF if value < 0 else min(round(value), 0xFFFF)


_Reader = Callable[[LevelSensor, int], "int | None"]
# kind -> (register map, baud, frame format)
KINDS: dict[str, tuple[_Reader, int, int]] = {
    "geolux-lx80": (LevelSensor._geolux, 9600, 0x68),  # pyright: ignore[reportPrivateUsage]
    "dfrobot-urm14": (LevelSensor._urm14, 19200, 0x48),  # pyright: ignore[reportPrivateUsage]
    "keller-s30": (LevelSensor._keller, 9600, 0x48),  # pyright: ignore[reportPrivateUsage]
}
