"""From rain to stage: losses, unit hydrograph, rating, and the tide that holds the water back.

Public: `Catchment`, `TUKAD_MATI`, `stage_from_rain`, `peak`. Methods are the standard ones: SCS
curve number for losses and SCS dimensionless unit hydrograph (National Engineering Handbook 630,
chapters 10 and 16), a power-law rating for the stage.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.world.river import Series

# Time over time to peak -> flow over peak flow (NEH 630, table 16-1).
_UNIT = (
    (0.0, 0.0), (0.2, 0.1), (0.4, 0.31), (0.6, 0.66), (0.8, 0.93), (1.0, 1.0), (1.2, 0.93),
    (1.4, 0.78), (1.6, 0.56), (1.8, 0.39), (2.0, 0.28), (2.4, 0.147), (2.8, 0.077), (3.2, 0.04),
    (3.6, 0.021), (4.0, 0.011), (5.0, 0.0),
)  # fmt: skip
_STEP_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Catchment:
    """A river above a gauge.

    `area_km2` and `lag_h` (centre of rain to the peak) shape the flood; `curve_number` 30..98 the
    losses; the stage is (flow / rating_a) ** (1 / rating_b) metres above station zero.
    """

    area_km2: float
    lag_h: float
    curve_number: float
    base_m3s: float = 1.0
    rating_a: float = 14.0
    rating_b: float = 1.7

    def excess_mm(self, total_mm: float) -> float:
        """Runoff of `total_mm` of rain so far, SCS: (P - 0.2 S)^2 / (P + 0.8 S)."""
        storage = 25_400 / self.curve_number - 254
        if total_mm <= 0.2 * storage:
            return 0.0
        return (total_mm - 0.2 * storage) ** 2 / (total_mm + 0.8 * storage)

    def unit_m3s(self) -> list[float]:
        """Flow of 1 mm of runoff in one step, every `_STEP_S`; its volume is 1 mm on the area."""
        to_peak_s = _STEP_S / 2 + 3600 * self.lag_h
        shape = Series([(t * to_peak_s, q) for t, q in _UNIT])
        flows = [shape((i + 0.5) * _STEP_S) for i in range(math.ceil(5 * to_peak_s / _STEP_S))]
        volume_m3 = 1_000 * self.area_km2
        scale = volume_m3 / (sum(flows) * _STEP_S)
        return [scale * q for q in flows]

    def flow_m3s(self, rain_mm_h: Callable[[float], float], length_s: float) -> list[float]:
        """Flow at the gauge every `_STEP_S` for `length_s` from the beginning of the rain."""
        steps = math.ceil(length_s / _STEP_S)
        unit = self.unit_m3s()
        flows = [self.base_m3s] * (steps + 1)
        total = before = 0.0
        for i in range(steps):
            total += rain_mm_h((i + 0.5) * _STEP_S) * _STEP_S / 3600
            runoff = self.excess_mm(total)
            for j, q in enumerate(unit[: steps - i]):
                flows[i + j + 1] += (runoff - before) * q
            before = runoff
        return flows

    def stage_m(self, flow_m3s: float) -> float:
        """Stage of a steady flow by the rating."""
        return (max(flow_m3s, 0.0) / self.rating_a) ** (1 / self.rating_b)


# 38.4 km2 and 18.5 km; flood of 25 years 150 to 243 m3/s depending on the method. The lag is that
# of a steep urban stream of this length, the rating is ours.
TUKAD_MATI = Catchment(area_km2=38.4, lag_h=2.5, curve_number=85)


def stage_from_rain(
    catchment: Catchment,
    rain_mm_h: Callable[[float], float],
    length_s: float,
    *,
    tide_mm: Callable[[float], float] | None = None,
    mouth_mm: float = 0.0,
) -> Series:
    """The level in mm above station zero over `length_s`.

    With a tide, station zero is `mouth_mm` above the tide's own zero and the water never stands
    below the sea: a gauge near the mouth, where the rating alone is wrong.
    """
    points: list[tuple[float, float]] = []
    for i, flow in enumerate(catchment.flow_m3s(rain_mm_h, length_s)):
        time_s = i * _STEP_S
        level = 1_000 * catchment.stage_m(flow)
        if tide_mm is not None:
            level = _stacked(level, tide_mm(time_s) - mouth_mm)
        points.append((time_s, level))
    return Series(points)


def _stacked(river_mm: float, sea_mm: float) -> float:
    """A smooth maximum: backwater begins a little before the sea is the higher one."""
    width = 150.0
    high, low = max(river_mm, sea_mm), min(river_mm, sea_mm)
    return high + width * math.log1p(math.exp((low - high) / width))


def peak(series: Series) -> tuple[float, float]:
    """When (s) and how high the highest of its points is."""
    best: Sequence[float] = max(series.points, key=lambda p: p[1])
    return best[0], best[1]
