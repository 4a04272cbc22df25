"""A short forecast of the level at one place: `fit`, `Model`, `Forecaster`; with bands.

For each horizon one linear model of the change of the level: of its own rise over the past
15, 30 and 60 minutes, of level and rise at each gauge upstream, of the rain of the past 15, 60 and
180 minutes at each rain gauge, and of what the tide will do. It is fitted by ridge regression on
times at which something moves; while nothing does, the forecast is the present level. Each weight
is a number in the site's file that a person can read.

The band holds 80 %: the tenth and ninetieth percentile of the errors on events that were left out
of the fit (five blocks of time in turn), in proportion to what is predicted. The same errors give
the skill over persistence, 1 - MAE / MAE of "the level stays"; a horizon whose skill is below
`SKILL_MIN` on events left out is not used at all.
"""

import bisect
import csv
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.config import ConfigError
from gateway.rules.outlook import Expected

HORIZONS_MIN = (15, 30, 45, 60, 90)
SKILL_MIN = 0.05
_LAGS_MIN = (15, 30, 60)
_RAIN_MIN = (15, 60, 180)
_KEPT_MIN = 200
ACTIVE_MM = 30
_ACTIVE_RAIN_MM = 2.0  # within an hour: something happens too
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # penalties tried, in proportion to each input's own size
_FOLDS = 5
_ROWS_MIN = 60  # active times, below which nothing is fitted
_FLOOR_MM = 20  # of the band's scale
_GAP_MS = 1_800_000

Points = Sequence[tuple[int, float]]  # time_ms, value; in rising time


@dataclass(frozen=True, slots=True)
class Horizon:
    """The model for one horizon."""

    minutes: int
    weights: tuple[float, ...]
    low: float  # tenth and ninetieth percentile of error / scale
    high: float
    calm_mm: int  # half width of the band while nothing moves
    skill: float  # over persistence, on times left out of the fit
    rows: int


@dataclass(frozen=True, slots=True)
class Model:
    """What `fit` found; the site's file."""

    target: str
    upstream: tuple[str, ...]
    rain: tuple[str, ...]
    tide: str
    active_mm: int  # the level or one upstream moved so far within an hour: something happens
    base_mm: tuple[float, ...]  # usual level of target and upstream
    names: tuple[str, ...]  # of the weights
    horizons: tuple[Horizon, ...]

    def tide_points(self, folder: Path) -> Points:
        """The tide table that the model was fitted with. Raises ConfigError."""
        return read_tide(folder / self.tide) if self.tide else ()

    def save(self, path: Path) -> None:
        """Write the site's file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load_model(path: Path) -> Model:
    """The site's file. Raises ConfigError."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        horizons = tuple(
            Horizon(
                minutes=one["minutes"],
                weights=tuple(one["weights"]),
                low=one["low"],
                high=one["high"],
                calm_mm=one["calm_mm"],
                skill=one["skill"],
                rows=one["rows"],
            )
            for one in raw["horizons"]
        )
        model = Model(
            target=raw["target"],
            upstream=tuple(raw["upstream"]),
            rain=tuple(raw["rain"]),
            tide=raw["tide"],
            active_mm=raw["active_mm"],
            base_mm=tuple(raw["base_mm"]),
            names=tuple(raw["names"]),
            horizons=horizons,
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; `tukad gateway forecast` makes one"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is no forecast model: {error!r}") from None
    if any(len(one.weights) != len(model.names) for one in model.horizons):
        raise ConfigError(f"{path}: is no forecast model: weights and names differ in number")
    return model


def read_tide(path: Path) -> list[tuple[int, float]]:
    """A tide table: CSV with `time` (ISO 8601 with zone) and `level_mm`. Raises ConfigError.

    Between its lines the newest before counts, so give it every ten minutes or so.
    """
    points: list[tuple[int, float]] = []
    try:
        with path.open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                moment = datetime.fromisoformat(row["time"])
                if moment.tzinfo is None:
                    raise ConfigError(f"{path}: line {number}: the time has no zone, as in +08:00")
                points.append((round(moment.timestamp() * 1000), float(row["level_mm"])))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: is no tide table (time, level_mm): {error!r}") from None
    return sorted(points)


class History:
    """One series to look things up in: levels as they are, rain as a sum since the beginning."""

    def __init__(self, points: Points = ()) -> None:
        self.times: deque[int] | list[int] = [p[0] for p in points]
        self.values: deque[float] | list[float] = [p[1] for p in points]

    def add(self, time_ms: int, value: float) -> None:
        """Append a point; one that is not newer is ignored. Old ones are forgotten."""
        if self.times and time_ms <= self.times[-1]:
            return
        if not isinstance(self.times, deque):
            self.times, self.values = deque(self.times), deque(self.values)
        self.times.append(time_ms)
        self.values.append(value)
        while time_ms - self.times[0] > _KEPT_MIN * 60_000:
            self.times.popleft()
            self.values.popleft()  # pyright: ignore[reportAttributeAccessIssue]

    def at(self, time_ms: int) -> float | None:
        """The value then, by the newest reading before; None without one in half an hour."""
        index = bisect.bisect_right(self.times, time_ms) - 1  # pyright: ignore[reportArgumentType]
        if index < 0 or time_ms - self.times[index] > _GAP_MS:
            return None
        return self.values[index]


@dataclass(slots=True)
class Series:
    """All that a forecast looks at: levels in mm, rain as a running total in mm, tide in mm."""

    target: History
    upstream: list[History]
    rain: list[History]
    tide: History | None = None


def feature_names(upstream: Sequence[str], rain: Sequence[str], has_tide: bool) -> list[str]:
    """What each weight belongs to."""
    names = ["constant", "own level above usual"]
    names += [f"own rise in {lag} min" for lag in _LAGS_MIN]
    for name in upstream:
        names.append(f"{name} above usual")
        names += [f"{name} rise in {lag} min" for lag in _LAGS_MIN]
    for name in rain:
        names += [f"{name} rain in {window} min" for window in _RAIN_MIN]
    return names + (["tide to come"] if has_tide else [])


def features(
    series: Series, base_mm: Sequence[float], time_ms: int, minutes: int
) -> list[float] | None:
    """The inputs at a time; None when one is missing. Levels in mm, rain in mm."""
    row = [1.0]
    for index, history in enumerate((series.target, *series.upstream)):
        level = history.at(time_ms)
        if level is None:
            return None
        row.append(level - base_mm[index])
        for lag in _LAGS_MIN:
            before = history.at(time_ms - lag * 60_000)
            if before is None:
                return None
            row.append(level - before)
    for history in series.rain:
        total = history.at(time_ms)
        if total is None:
            return None
        for window in _RAIN_MIN:
            before = history.at(time_ms - window * 60_000)
            if before is None:
                return None
            row.append(total - before)
    if series.tide is not None:
        now, then = series.tide.at(time_ms), series.tide.at(time_ms + minutes * 60_000)
        if now is None or then is None:
            return None
        row.append(then - now)
    return row


def is_active(row: Sequence[float], levels: int, gauges: int, active_mm: int = ACTIVE_MM) -> bool:
    """Whether something moves: a level within the hour, or rain."""
    width = 1 + len(_LAGS_MIN)
    if any(abs(row[width * (index + 1)]) >= active_mm for index in range(levels)):
        return True
    start = 1 + width * levels
    rains = (row[start + len(_RAIN_MIN) * gauge + 1] for gauge in range(gauges))
    return any(rain >= _ACTIVE_RAIN_MM for rain in rains)


def fit(
    target: str,
    series: Series,
    upstream: Sequence[str] = (),
    rain: Sequence[str] = (),
    tide: str = "",
    until_ms: int | None = None,
    active_mm: int = ACTIVE_MM,
) -> Model:
    """Fit every horizon on what lies before `until_ms`. Raises ValueError with too little of it."""
    base = tuple(_middle(history) for history in (series.target, *series.upstream))
    names = feature_names(upstream, rain, series.tide is not None)
    horizons: list[Horizon] = []
    for minutes in HORIZONS_MIN:
        rows: list[list[float]] = []
        changes: list[float] = []
        calm: list[float] = []
        for time_ms, level in zip(series.target.times, series.target.values, strict=True):
            ahead_ms = time_ms + minutes * 60_000
            if until_ms is not None and ahead_ms > until_ms:
                break
            later = series.target.at(ahead_ms)
            row = None if later is None else features(series, base, time_ms, minutes)
            if later is None or row is None:
                continue
            if is_active(row, 1 + len(upstream), len(rain), active_mm):
                rows.append(row)
                changes.append(later - level)
            else:
                calm.append(abs(later - level))
        if len(rows) < _ROWS_MIN:
            raise ValueError(
                f"{len(rows)} times at which something moved are too few to fit {minutes} minutes"
                f" ahead; at least {_ROWS_MIN}"
            )
        horizons.append(_horizon(minutes, rows, changes, calm))
    return Model(
        target=target,
        upstream=tuple(upstream),
        rain=tuple(rain),
        tide=tide,
        active_mm=active_mm,
        base_mm=base,
        names=tuple(names),
        horizons=tuple(horizons),
    )


def _middle(history: History) -> float:
    ordered = sorted(history.values)
    return ordered[len(ordered) // 2] if ordered else 0.0


def _horizon(
    minutes: int, rows: list[list[float]], changes: list[float], calm: list[float]
) -> Horizon:
    """Fit with the penalty that does best on the times that were left out."""
    found = min((_left_out(rows, changes, penalty), penalty) for penalty in _RIDGES)
    (mine, errors), penalty = found
    stay = sum(map(abs, changes))
    calm.sort()
    return Horizon(
        minutes=minutes,
        weights=tuple(ridge(rows, changes, penalty)),
        low=errors[len(errors) // 10],
        high=errors[len(errors) * 9 // 10],
        calm_mm=round(calm[len(calm) * 9 // 10]) if calm else _FLOOR_MM,
        skill=round(1 - mine / stay, 3) if stay else 0.0,
        rows=len(rows),
    )


def _left_out(
    rows: list[list[float]], changes: list[float], penalty: float
) -> tuple[float, list[float]]:
    """Sum of absolute errors, and errors over scale in rising order, block by block left out."""
    count = len(rows)
    total = 0.0
    errors: list[float] = []
    for fold in range(_FOLDS):
        first, last = count * fold // _FOLDS, count * (fold + 1) // _FOLDS
        weights = ridge(rows[:first] + rows[last:], changes[:first] + changes[last:], penalty)
        for row, change in zip(rows[first:last], changes[first:last], strict=True):
            predicted = dot(weights, row)
            total += abs(change - predicted)
            errors.append((change - predicted) / scale(predicted))
    return total, sorted(errors)


def scale(predicted_mm: float) -> float:
    """What errors are in proportion to."""
    return _FLOOR_MM + abs(predicted_mm)


def dot(weights: Sequence[float], row: Sequence[float]) -> float:
    """The weighted sum."""
    return sum(w * x for w, x in zip(weights, row, strict=True))


def ridge(rows: Sequence[Sequence[float]], changes: Sequence[float], penalty: float) -> list[float]:
    """Least squares with a penalty on each weight in its own unit (Gauss elimination)."""
    width = len(rows[0])
    table = [[0.0] * (width + 1) for _ in range(width)]
    for row, change in zip(rows, changes, strict=True):
        for i, x in enumerate(row):
            if x:
                line = table[i]
                for j in range(i, width):
                    line[j] += x * row[j]
                line[width] += x * change
    for i in range(width):
        for j in range(i):
            table[i][j] = table[j][i]
    for i in range(width):
        table[i][i] += penalty * table[i][i] + 1e-9
    for i in range(width):
        best = max(range(i, width), key=lambda k: abs(table[k][i]))
        table[i], table[best] = table[best], table[i]
        head = table[i][i]
        for k in range(i + 1, width):
            factor = table[k][i] / head
            if factor:
                for j in range(i, width + 1):
                    table[k][j] -= factor * table[i][j]
    weights = [0.0] * width
    for i in reversed(range(width)):
        known = sum(table[i][j] * weights[j] for j in range(i + 1, width))
        weights[i] = (table[i][width] - known) / table[i][i]
    return weights


def expect(model: Model, series: Series, time_ms: int) -> tuple[Expected, ...]:
    """The forecast at a time, of the horizons with skill; () when an input is missing."""
    level = series.target.at(time_ms)
    if level is None:
        return ()
    found: list[Expected] = []
    for one in model.horizons:
        row = features(series, model.base_mm, time_ms, one.minutes)
        if one.skill < SKILL_MIN or row is None:
            continue
        if is_active(row, 1 + len(model.upstream), len(model.rain), model.active_mm):
            change = dot(one.weights, row)
            size = scale(change)
            low, high = change + one.low * size, change + one.high * size
        else:
            change, low, high = 0.0, -float(one.calm_mm), float(one.calm_mm)
        found.append(
            Expected(
                one.minutes,
                round(level + change),
                math.floor(level + min(low, change)),
                math.ceil(level + max(high, change)),
            )
        )
    return tuple(found)


class RainTotal:
    """Rain in mm since the first reading, from `rain_tips` modulo 1024 or `rain_total_um`."""

    def __init__(self, tip_um: int) -> None:
        self._tip_um = tip_um
        self._last: tuple[int, int] | None = None  # time_ms, the gauge's total
        self._mm = 0.0

    def feed(self, time_ms: int, values: Mapping[str, int]) -> float | None:
        """The total after a newer reading; None for one without rain or that is not newer."""
        tips = values.get("rain_tips")
        total = tips if tips is not None else values.get("rain_total_um")
        if total is None or (self._last is not None and time_ms <= self._last[0]):
            return None
        if self._last is not None:
            grown = total - self._last[1]
            um = grown % 1024 * self._tip_um if tips is not None else max(0, grown)
            self._mm += um / 1000
        self._last = (time_ms, total)
        return self._mm


class Forecaster:
    """A model fed by the readings as they come. `tide` maps Unix milliseconds to mm, if used."""

    def __init__(self, model: Model, tide: Points = (), tip_um: int = 200) -> None:
        self.model = model
        self._tip_um = tip_um
        histories = {name: History() for name in (model.target, *model.upstream)}
        rains = {name: History() for name in model.rain}
        self._levels, self._rains = histories, rains
        self._totals: dict[str, RainTotal] = {}
        self._series = Series(
            histories[model.target],
            [histories[name] for name in model.upstream],
            [rains[name] for name in model.rain],
            History(tide) if model.tide else None,
        )

    @property
    def devices(self) -> Sequence[str]:
        """Whose readings it looks at."""
        return (*self._levels, *(name for name in self._rains if name not in self._levels))

    def feed_level(self, device: str, time_ms: int, level_mm: int) -> None:
        """A level of the target or a gauge upstream; others change nothing."""
        history = self._levels.get(device)
        if history is not None:
            history.add(time_ms, level_mm)

    def feed_rain(self, device: str, values: Mapping[str, int], time_ms: int) -> None:
        """A gauge's running total; what is none changes nothing."""
        if device not in self._rains:
            return
        mm = self._totals.setdefault(device, RainTotal(self._tip_um)).feed(time_ms, values)
        if mm is not None:
            self._rains[device].add(time_ms, mm)

    def expect(self, time_ms: int) -> tuple[Expected, ...]:
        """The forecast now."""
        return expect(self.model, self._series, time_ms)
