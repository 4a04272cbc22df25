"""Things that move: boats and vehicles along waypoints, and the tide they float on.

Public: `Track`, `Tide`, `BENOA_M2`. Positions are degrees on a sphere; short distances only.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.chips.gnss import M_PER_DEGREE, Fix


class Track:
    """Goes along `waypoints` (lat, lon) at `speed_mps`, waits `stop_s` at each, and back again.

    `now_s()` is simulation time, times `speed_up`.
    """

    def __init__(
        self,
        waypoints: Sequence[tuple[float, float]],
        now_s: Callable[[], float],
        *,
        speed_mps: float = 3.0,
        stop_s: float = 60.0,
    ) -> None:
        if len(waypoints) < 2:
            raise ValueError("a track needs at least two waypoints")
        self._now_s = now_s
        self._legs: list[tuple[float, float, tuple[float, float], tuple[float, float]]] = []
        self._speed_mps = speed_mps
        path = [*waypoints, *list(reversed(waypoints))[1:]]
        at = 0.0
        for a, b in itertools.pairwise(path):
            at += stop_s
            length = _distance_m(a, b)
            self._legs.append((at, at + length / speed_mps, a, b))
            at += length / speed_mps
        self._period_s = at

    def __call__(self) -> Fix:
        """Position, speed and course now."""
        return self.at(self._now_s())

    def at(self, time_s: float) -> Fix:
        """The same at a moment of the simulation."""
        t = time_s % self._period_s
        for start, end, a, b in self._legs:
            if t < start:
                return Fix(lat=a[0], lon=a[1])
            if t < end:
                x = (t - start) / (end - start)
                north, east = b[0] - a[0], (b[1] - a[1]) * math.cos(math.radians(a[0]))
                return Fix(
                    lat=a[0] + x * (b[0] - a[0]),
                    lon=a[1] + x * (b[1] - a[1]),
                    speed_mps=self._speed_mps,
                    course_deg=math.degrees(math.atan2(east, north)) % 360,
                )
        last = self._legs[-1][3]
        return Fix(lat=last[0], lon=last[1])


def _distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    north = (b[0] - a[0]) * M_PER_DEGREE
    east = (b[1] - a[1]) * M_PER_DEGREE * math.cos(math.radians((a[0] + b[0]) / 2))
    return math.hypot(north, east)


@dataclass(frozen=True, kw_only=True)
class Constituent:
    """One tidal harmonic: amplitude in mm, period in hours, phase in degrees at time zero."""

    amplitude_mm: float
    period_h: float
    phase_deg: float = 0.0


# Periods are astronomy; the amplitudes fit the 2.6 m of the full moon of 9 September 2025 and the
# 1.6 m before dawn that BPBD quotes for Benoa, and are not a harmonic analysis of a gauge.
BENOA_M2 = (
    Constituent(amplitude_mm=750, period_h=12.4206),  # M2
    Constituent(amplitude_mm=350, period_h=12.0),  # S2
    Constituent(amplitude_mm=150, period_h=12.6583),  # N2
    Constituent(amplitude_mm=260, period_h=23.9345),  # K1
    Constituent(amplitude_mm=150, period_h=25.8193),  # O1
)


class Tide:
    """Sum of harmonics about `mean_mm`; call with seconds."""

    def __init__(
        self, constituents: Sequence[Constituent] = BENOA_M2, mean_mm: float = 1_300
    ) -> None:
        self._constituents = list(constituents)
        self._mean_mm = mean_mm

    def __call__(self, time_s: float) -> float:
        """Level in mm at `time_s`."""
        hours = time_s / 3600
        return self._mean_mm + sum(
            c.amplitude_mm * math.cos(2 * math.pi * hours / c.period_h - math.radians(c.phase_deg))
            for c in self._constituents
        )
