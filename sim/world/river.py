"""Rivers: the golden storm of 10 September 2025, a replay of a CSV, and curves between points.

Public: `Series` (points to a smooth curve), `golden_stage`, `golden_rain`, `from_csv`, `Gauge`.

Levels are millimetres above station zero, the normal water level at Kumbasari market. Times are
seconds from the start of the series.
"""

import bisect
import csv
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

STAGES_MM = (500, 1160, 2660)  # waspada, siaga, awas at Kumbasari (kumparan; Antara has 300 first)


class Series:
    """A curve through (time_s, value) points, monotone between them (Fritsch and Carlson, 1980).

    So it never rises above a peak that was given, nor falls below a trough. Constant outside.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        if len(points) < 2 or any(a[0] >= b[0] for a, b in itertools.pairwise(points)):
            raise ValueError("a series needs at least two points, in rising time")
        self.points = list(points)
        self._t = [p[0] for p in points]
        self._v = [p[1] for p in points]
        self._slopes = self._tangents()

    def _tangents(self) -> list[float]:
        t, v = self._t, self._v
        chords = [(v[i + 1] - v[i]) / (t[i + 1] - t[i]) for i in range(len(t) - 1)]
        slopes = [chords[0]]
        for i in range(1, len(chords)):
            a, b = chords[i - 1], chords[i]
            slopes.append(0.0 if a * b <= 0 else 2 * a * b / (a + b))
        return [*slopes, chords[-1]]

    def __call__(self, time_s: float) -> float:
        """The value at `time_s`."""
        t, v = self._t, self._v
        if time_s <= t[0]:
            return v[0]
        if time_s >= t[-1]:
            return v[-1]
        i = bisect.bisect_right(t, time_s) - 1
        width = t[i + 1] - t[i]
        x = (time_s - t[i]) / width
        h00, h10 = (1 + 2 * x) * (1 - x) ** 2, x * (1 - x) ** 2
        h01, h11 = x * x * (3 - 2 * x), x * x * (x - 1)
        start, end = width * self._slopes[i], width * self._slopes[i + 1]
        return h00 * v[i] + h10 * start + h01 * v[i + 1] + h11 * end

    @property
    def length_s(self) -> float:
        """Time of the last point."""
        return self._t[-1]


# Hours after 18:00 WITA on 9 September 2025 -> level at Kumbasari in mm. Published: the three
# siren levels, "water already high" at 02:00, "comes suddenly" at 03:00, the peak at 05:00 (3 m
# above the levee), "falling" at 07:00. The rest is drawn so that nothing rises faster than the
# 1.6 to 3.2 m/h that were derived; a gauge record was never published.
_GOLDEN = (
    (0.0, 60), (3.0, 120), (5.0, 260), (6.0, 380), (7.0, 640), (8.0, 1_250), (8.5, 1_700),
    (9.0, 2_450), (9.5, 3_150), (10.0, 3_700), (11.0, 4_300), (12.0, 3_950), (13.0, 3_100),
    (15.0, 1_900), (18.0, 1_050), (22.0, 520), (30.0, 200),
)  # fmt: skip
# The same hours -> rain in mm/h: 250 mm in a day, inside the published 200 to 385.
_RAIN = (
    (0.0, 0), (1.0, 2), (3.0, 6), (5.0, 12), (6.0, 25), (7.0, 45), (8.0, 60), (9.0, 48),
    (10.0, 26), (11.0, 14), (13.0, 5), (15.0, 1), (16.0, 0), (30.0, 0),
)  # fmt: skip


def golden_stage() -> Series:
    """The level at Kumbasari over 30 hours from 18:00 WITA on 9 September 2025."""
    return Series([(3600 * h, mm) for h, mm in _GOLDEN])


def golden_rain() -> Series:
    """The rain over the same 30 hours, mm/h."""
    return Series([(3600 * h, rate) for h, rate in _RAIN])


def from_csv(path: Path, column: str, *, time_column: str = "time_s", scale: float = 1.0) -> Series:
    """A series from a CSV with a header; rows without a number are left out. Raises ValueError."""
    points: list[tuple[float, float]] = []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        for name in (time_column, column):
            if name not in names:
                raise ValueError(f"{path}: no column {name}; there are: {', '.join(names)}")
        for row in reader:
            try:
                point = float(row[time_column]), scale * float(row[column])
            except ValueError:
                continue
            if not points or point[0] > points[-1][0]:
                points.append(point)
    return Series(points)


class Gauge:
    """A place on the river: the level there, in the time of the simulation.

    `now_s()` is simulation time; the series runs `speed` times as fast from `start_s` on, arrives
    `lag_s` (of the series' time) later and `scale` times as high.
    """

    def __init__(
        self,
        series: Callable[[float], float],
        now_s: Callable[[], float],
        *,
        speed: float = 1.0,
        start_s: float = 0.0,
        lag_s: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self._series = series
        self._now_s = now_s
        self._speed = speed
        self._start_s = start_s
        self._lag_s = lag_s
        self._scale = scale

    def at(self, time_s: float) -> float:
        """The level at a moment of the simulation."""
        return self._scale * self._series(self._start_s + self._speed * time_s - self._lag_s)

    def __call__(self) -> float:
        """The level now."""
        return self.at(self._now_s())
