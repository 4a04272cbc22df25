"""A GNSS receiver that talks NMEA 0183, with the errors of one. Independent of `protocols.gnss`.

Public: `GnssReceiver`, `Fix`, `sentence`. One burst a second (GGA, GSA, RMC, VTG); no position
until it has found one (about 30 s cold, 3 s after a short outage); position errors wander with a
time constant of 100 s. Faults: `outage` (no fix), `jump_m` (a spoof-like offset to the north).
"""

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass

from sim.board import Uart
from sim.kernel import SECOND, Simulation

M_PER_DEGREE = 111_194.9  # on a sphere of 6,371 km


@dataclass(frozen=True, kw_only=True)
class Fix:
    """Where something truly is and how it moves."""

    lat: float
    lon: float
    speed_mps: float = 0.0
    course_deg: float = 0.0
    altitude_m: float = 2.0


def sentence(body: str) -> str:
    """Frame a body: `$`, body, `*`, XOR of the body's bytes, CR LF."""
    check = 0
    for character in body.encode():
        check ^= character
    return f"${body}*{check:02X}\r\n"


class GnssReceiver:
    """A receiver on `uart`; `where()` gives the truth, `epoch_s` is UTC at simulation time zero."""

    def __init__(
        self,
        sim: Simulation,
        uart: Uart,
        where: Callable[[], Fix],
        *,
        epoch_s: float,
        baud: int = 9600,
        cold_s: float = 30.0,
        sigma_m: float = 2.5,
    ) -> None:
        self.sim = sim
        self.uart = uart
        self.powered = True
        self.outage = False
        self.jump_m = 0.0
        self.sigma_m = sigma_m
        self._where = where
        self._epoch_s = epoch_s
        self._baud = baud
        self._rng = sim.rng("gnss/" + uart.board.name)
        self._ttff_us = round(cold_s * (0.7 + 0.6 * self._rng.random()) * SECOND)
        self._error = [self._rng.gauss(0, sigma_m), self._rng.gauss(0, sigma_m)]
        self._found_us = sim.now_us + self._ttff_us
        uart.device = self
        # Receivers output a little after the second they report.
        sim.after(SECOND + 120_000, self._tick)

    def receive(self, data: bytes) -> None:
        """Configuration sentences are ignored, as a receiver does with those it does not know."""

    def power(self, level: int) -> None:
        """Supply on or off; on begins a warm start."""
        if level and not self.powered:
            self._found_us = self.sim.now_us + 5 * SECOND
        self.powered = bool(level)

    def _tick(self) -> None:
        self.sim.after(SECOND, self._tick)
        if not self.powered:
            return
        if self.outage:
            self._found_us = self.sim.now_us + 3 * SECOND
        keep = math.exp(-1 / 100)
        spread = self.sigma_m * math.sqrt(1 - keep * keep)
        self._error = [keep * e + self._rng.gauss(0, spread) for e in self._error]
        if self.uart.baud:
            burst = self.burst(self.sim.now_us >= self._found_us)
            self.uart.from_device(burst.encode(), self._baud, 0x48)

    def burst(self, fixed: bool) -> str:
        """The sentences of this second."""
        stamp = datetime.datetime.fromtimestamp(
            int(self._epoch_s + self.sim.now_us / 1e6), datetime.UTC
        )
        clock, date = f"{stamp:%H%M%S}.00", f"{stamp:%d%m%y}"
        if not fixed:
            return (
                sentence(f"GNGGA,{clock},,,,,0,02,99.9,,,,,,")
                + sentence("GNGSA,A,1,,,,,,,,,,,,,99.9,99.9,99.9")
                + sentence(f"GNRMC,{clock},V,,,,,,,{date},,,N")
                + sentence("GNVTG,,,,,,,,,N")
            )
        fix = self._where()
        lat = fix.lat + (self._error[0] + self.jump_m) / M_PER_DEGREE
        lon = fix.lon + self._error[1] / (M_PER_DEGREE * math.cos(math.radians(fix.lat)))
        place = f"{_angle(lat, 2)},{'N' if lat >= 0 else 'S'}"
        place += f",{_angle(lon, 3)},{'E' if lon >= 0 else 'W'}"
        knots = fix.speed_mps * 3600 / 1852
        # Below half a knot receivers report a wandering course, or none: none here.
        course = f"{fix.course_deg % 360:.2f}" if knots >= 0.5 else ""
        hdop = 0.8 + 0.4 * abs(self._error[0]) / max(self.sigma_m, 0.1)
        return (
            sentence(f"GNGGA,{clock},{place},1,11,{hdop:.2f},{fix.altitude_m:.1f},M,36.0,M,,")
            + sentence(f"GNGSA,A,3,02,05,06,09,12,19,25,29,,,,,1.60,{hdop:.2f},1.35")
            + sentence(f"GNRMC,{clock},A,{place},{knots:.3f},{course},{date},,,A")
            + sentence(f"GNVTG,{course},T,,M,{knots:.3f},N,{knots * 1.852:.3f},K,A")
        )


def _angle(degrees: float, width: int) -> str:
    whole, minutes = divmod(round(abs(degrees) * 60 * 100_000), 60 * 100_000)
    return f"{whole:0{width}d}{minutes / 100_000:08.5f}"
