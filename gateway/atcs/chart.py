"""Charts: a junction's lamps over time, the history of its splits, a corridor's time-space diagram.

Each returns a `gateway.atcs.canvas.Canvas`. A history has one tuple of aspects a tick.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.atcs.canvas import Canvas
from gateway.atcs.kernel import CHANGE, FLASH, GREEN

_COLOURS = {GREEN: "#2e9e4f", CHANGE: "#e0a800", FLASH: "#8a8a8a"}
_RED = "#c0392b"
_GRID, _BAND, _FAINT = "#ddd", "#1f6fb4", "#666"
WIDTH, ROW, LEFT, TOP, FOOT = 1000, 26, 150, 44, 30
_NAME_MAX = 11
History = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Stop:
    """One junction of a corridor: `movement` is the road's, `distance_m` from the first."""

    name: str
    distance_m: float
    movement: int
    history: History


def _canvas(height: int, title: str, seconds: float) -> Canvas:
    canvas = Canvas(LEFT + WIDTH + 40, height)
    canvas.text(LEFT, 22, title, 15)
    step = next((s for s in (10, 30, 60, 300, 900, 3600, 14400) if seconds / s <= 16), 86_400)
    for k in range(int(seconds // step) + 1):
        x = LEFT + WIDTH * k * step / seconds
        canvas.line(x, TOP - 6, x, height - FOOT + 8, _GRID)
        canvas.text(x, height - 8, f"{k * step} s", 12, "middle")
    return canvas


def _bar(canvas: Canvas, history: History, i: int, y: float, tick_s: float, seconds: float) -> None:
    """Aspect of movement `i` over time around `y`; red is thin, so that greens stand out."""
    begin = 0
    for k in range(1, len(history) + 1):
        if k < len(history) and history[k][i] == history[begin][i]:
            continue
        aspect = history[begin][i]
        thick = 16 if aspect in _COLOURS else 4
        x = LEFT + WIDTH * begin * tick_s / seconds
        width = WIDTH * (k - begin) * tick_s / seconds
        canvas.rect(x, y - thick / 2, width, thick, _COLOURS.get(aspect, _RED))
        begin = k


def lamps(names: Sequence[str], history: History, tick_s: float) -> Canvas:
    """Every movement's aspect over time."""
    seconds = max(1.0, len(history) * tick_s)
    canvas = _canvas(TOP + ROW * len(names) + FOOT, "Diagram lampu - signal timing", seconds)
    for i, name in enumerate(names):
        y = TOP + ROW * i + 10
        canvas.text(8, y + 5, name[:_NAME_MAX])
        _bar(canvas, history, i, y, tick_s, seconds)
    return canvas


def greens(history: History, movement: int) -> list[tuple[int, int]]:
    """(first tick, length in ticks) of every green that ended within `history`."""
    found: list[tuple[int, int]] = []
    run = 0
    for k, aspects in enumerate(history):
        if aspects[movement] == GREEN:
            run += 1
        elif run:
            found.append((k - run, run))
            run = 0
    return found


def splits(names: Sequence[str], history: History, tick_s: float) -> Canvas:
    """Length of every green of every movement, at the time when it began."""
    seconds = max(1.0, len(history) * tick_s)
    tall = 80
    rows = [greens(history, i) for i in range(len(names))]
    longest = max((length * tick_s for row in rows for _, length in row), default=1.0)
    canvas = _canvas(TOP + tall * len(names) + FOOT, "Riwayat hijau - split history", seconds)
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        base = TOP + tall * (i + 1) - 12
        lengths = [length * tick_s for _, length in row]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        canvas.text(8, base - 34, name[:_NAME_MAX])
        canvas.text(8, base - 16, f"mean {mean:.0f} s", 12, fill=_FAINT)
        canvas.text(8, base + 2, f"max {max(lengths, default=0):.0f} s", 12, fill=_FAINT)
        canvas.line(LEFT, base, LEFT + WIDTH, base, _GRID)
        for begin, length in row:
            bar = (tall - 24) * length * tick_s / longest
            x = LEFT + WIDTH * begin * tick_s / seconds
            width = max(2.0, WIDTH * length * tick_s / seconds - 1)
            canvas.rect(x, base - bar, width, bar, _COLOURS[GREEN])
            if width >= 26:
                canvas.text(x + width / 2, base - 3, f"{length * tick_s:.0f}", 12, "middle", "#fff")
    return canvas


def corridor(stops: Sequence[Stop], tick_s: float, speed_mps: float) -> Canvas:
    """Time-space diagram: the road's greens at each junction, and what rides through at speed.

    A line starts with the begin of each green of the first junction and goes on as far as it meets
    green; where it meets red it ends.
    """
    seconds = max(1.0, min(len(stop.history) for stop in stops) * tick_s)
    height = 160 + 110 * (len(stops) - 1)
    canvas = _canvas(TOP + height + FOOT, "Diagram ruang-waktu - time-space diagram", seconds)
    far = max(1.0, stops[-1].distance_m)

    def y_of(distance_m: float) -> float:
        return TOP + height - 30 - (height - 60) * distance_m / far

    for stop in stops:
        y = y_of(stop.distance_m)
        canvas.text(8, y - 3, stop.name[:_NAME_MAX])
        canvas.text(8, y + 15, f"{stop.distance_m:.0f} m", 12, fill=_FAINT)
        _bar(canvas, stop.history, stop.movement, y, tick_s, seconds)
    first = stops[0]
    for begin, length in greens(first.history, first.movement):
        for start in (begin, begin + length - 1):
            _ride(canvas, stops, start, tick_s, speed_mps, seconds, y_of)
    return canvas


def _ride(
    canvas: Canvas, stops: Sequence[Stop], start: int, tick_s: float, speed_mps: float,
    seconds: float, y_of: Callable[[float], float],
) -> None:  # fmt: skip
    at = start * tick_s
    here = stops[0]
    for stop in stops[1:]:
        then = at + (stop.distance_m - here.distance_m) / speed_mps
        tick = round(then / tick_s)
        if then > seconds or tick >= len(stop.history):
            return
        canvas.line(
            LEFT + WIDTH * at / seconds, y_of(here.distance_m),
            LEFT + WIDTH * then / seconds, y_of(stop.distance_m), _BAND,
        )  # fmt: skip
        if stop.history[tick][stop.movement] not in (GREEN, CHANGE):
            return
        at, here = then, stop
