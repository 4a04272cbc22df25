"""Charts as SVG, drawn here: a junction's lamps over time, and the history of its splits."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from gateway.atcs.kernel import CHANGE, FLASH, GREEN

_COLOURS = {GREEN: "#2e9e4f", CHANGE: "#e0a800", FLASH: "#8a8a8a"}
_RED = "#c0392b"
WIDTH, ROW, LEFT, TOP = 1000, 26, 90, 40


def _page(height: int, title: str, body: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>{"".join(body)}</svg>\n'
    )


def _axis(seconds: float, height: int) -> list[str]:
    step = next(s for s in (10, 30, 60, 300, 900, 3600, 14400) if seconds / s <= 16)
    rows: list[str] = []
    for k in range(int(seconds // step) + 1):
        x = LEFT + WIDTH * k * step / seconds
        rows.append(
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - 20}" stroke="#ddd"/>'
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{k * step} s</text>'
        )
    return rows


def lamps(names: Sequence[str], history: Sequence[tuple[int, ...]], tick_s: float) -> str:
    """Every movement's aspect over time; `history` has one tuple of aspects a tick."""
    seconds = max(1.0, len(history) * tick_s)
    height = TOP + ROW * len(names) + 30
    body = _axis(seconds, height)
    for i, name in enumerate(names):
        y = TOP + ROW * i
        body.append(f'<text x="8" y="{y + 15}">{escape(name)}</text>')
        begin = 0
        for k in range(1, len(history) + 1):
            if k < len(history) and history[k][i] == history[begin][i]:
                continue
            aspect = history[begin][i]
            x, width = (
                LEFT + WIDTH * begin * tick_s / seconds,
                WIDTH * (k - begin) * tick_s / seconds,
            )
            thick = 18 if aspect in (GREEN, CHANGE, FLASH) else 4
            body.append(
                f'<rect x="{x:.1f}" y="{y + 10 - thick / 2:.1f}" width="{width:.2f}" '
                f'height="{thick}" fill="{_COLOURS.get(aspect, _RED)}"/>'
            )
            begin = k
    return _page(height, "Diagram waktu - time-space diagram", body)


def splits(names: Sequence[str], history: Sequence[tuple[int, ...]], tick_s: float) -> str:
    """Length of every green of every movement, as bars in the order they came."""
    greens: list[list[float]] = []
    for i in range(len(names)):
        row: list[float] = []
        run = 0
        for aspects in history:
            if aspects[i] == GREEN:
                run += 1
            elif run:
                row.append(run * tick_s)
                run = 0
        greens.append(row)
    longest = max((length for row in greens for length in row), default=1.0)
    most = max((len(row) for row in greens), default=1) or 1
    tall = 70
    height = TOP + tall * len(names) + 20
    body: list[str] = []
    for i, (name, row) in enumerate(zip(names, greens, strict=True)):
        base = TOP + tall * (i + 1) - 10
        mean = sum(row) / len(row) if row else 0.0
        body.append(
            f'<text x="8" y="{base - 20}">{escape(name)}</text>'
            f'<text x="8" y="{base - 4}" fill="#666">{mean:.0f} s</text>'
        )
        for k, length in enumerate(row):
            bar = (tall - 20) * length / longest
            x, width = LEFT + WIDTH * k / most, max(1.0, 0.8 * WIDTH / most)
            body.append(
                f'<rect x="{x:.1f}" y="{base - bar:.1f}" width="{width:.1f}" height="{bar:.1f}" '
                f'fill="{_COLOURS[GREEN]}"/>'
            )
    return _page(height, "Riwayat waktu hijau - split history (s)", body)
