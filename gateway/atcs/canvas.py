"""A drawing of few kinds of shapes, written as SVG, or as PNG by a rasteriser of our own: `Canvas`.

Colours are #rgb or #rrggbb. Text in a PNG is a 5 by 7 font, ASCII only, doubled for sizes over 11;
what is not ASCII becomes `?`.
"""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

_FONT = bytes.fromhex(
    "0000000000" "00005f0000" "0007000700" "147f147f14" "242a7f2a12" "2313086462" "3649562050"
    "0008070300" "001c224100" "0041221c00" "2a1c7f1c2a" "08083e0808" "0080703000" "0808080808"
    "0000606000" "2010080402" "3e5149453e" "00427f4000" "7249494946" "2141494d33" "1814127f10"
    "2745454539" "3c4a494931" "4121110907" "3649494936" "464949291e" "0000140000" "0040340000"
    "0008142241" "1414141414" "0041221408" "0201590906" "3e415d594e" "7c1211127c" "7f49494936"
    "3e41414122" "7f4141413e" "7f49494941" "7f09090901" "3e41415173" "7f0808087f" "00417f4100"
    "2040413f01" "7f08142241" "7f40404040" "7f021c027f" "7f0408107f" "3e4141413e" "7f09090906"
    "3e4151215e" "7f09192946" "2649494932" "03017f0103" "3f4040403f" "1f2040201f" "3f4038403f"
    "6314081463" "0304780403" "6159494d43" "007f414141" "0204081020" "004141417f" "0402010204"
    "4040404040" "0003070800" "2054547840" "7f28444438" "3844444428" "384444287f" "3854545418"
    "00087e0902" "18a4a49c78" "7f08040478" "00447d4000" "2040403d00" "7f10284400" "00417f4000"
    "7c04780478" "7c08040478" "3844444438" "fc18242418" "18242418fc" "7c08040408" "4854545424"
    "04043f4424" "3c4040207c" "1c2040201c" "3c4030403c" "4428102844" "4c9090907c" "4464544c44"
    "0008364100" "0000770000" "0041360800" "0201020402"
)  # fmt: skip
_START, _MIDDLE, _END = "start", "middle", "end"
PIXELS_MAX = 40_000_000


@dataclass(slots=True)
class _Rect:
    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(slots=True)
class _Line:
    x1: float
    y1: float
    x2: float
    y2: float
    stroke: str


@dataclass(slots=True)
class _Text:
    x: float
    y: float
    text: str
    size: int
    anchor: str
    fill: str


@dataclass(slots=True)
class Canvas:
    """Shapes in the order in which they cover each other; (0, 0) is the upper left corner."""

    width: int
    height: int
    shapes: list[_Rect | _Line | _Text] = field(default_factory=list[_Rect | _Line | _Text])

    def rect(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A filled rectangle."""
        self.shapes.append(_Rect(x, y, width, height, fill))

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str) -> None:
        """A line, one pixel wide."""
        self.shapes.append(_Line(x1, y1, x2, y2, stroke))

    def text(
        self, x: float, y: float, text: str, size: int = 12, anchor: str = _START,
        fill: str = "#000",
    ) -> None:  # fmt: skip
        """Text on the base line `y`; `anchor` is start, middle or end."""
        self.shapes.append(_Text(x, y, text, size, anchor, fill))

    def save(self, target: Path) -> None:
        """Write PNG or SVG by the name's ending. Raises ValueError for any other."""
        if target.suffix == ".svg":
            target.write_text(self.svg(), encoding="utf-8")
        elif target.suffix == ".png":
            target.write_bytes(self.png())
        else:
            raise ValueError(f"{target}: the name must end with .svg or .png")

    def svg(self) -> str:
        """The drawing as SVG."""
        body: list[str] = []
        for s in self.shapes:
            if isinstance(s, _Rect):
                body.append(
                    f'<rect x="{s.x:.1f}" y="{s.y:.1f}" width="{s.width:.2f}" '
                    f'height="{s.height:.1f}" fill="{s.fill}"/>'
                )
            elif isinstance(s, _Line):
                body.append(
                    f'<line x1="{s.x1:.1f}" y1="{s.y1:.1f}" x2="{s.x2:.1f}" y2="{s.y2:.1f}" '
                    f'stroke="{s.stroke}"/>'
                )
            else:
                body.append(
                    f'<text x="{s.x:.1f}" y="{s.y:.1f}" font-size="{s.size}" '
                    f'text-anchor="{s.anchor}" fill="{s.fill}">{escape(s.text)}</text>'
                )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
            f"{''.join(body)}</svg>\n"
        )

    def png(self) -> bytes:
        """The drawing as PNG, true colour. Raises ValueError for one that is too big."""
        if self.width * self.height > PIXELS_MAX:
            raise ValueError(f"{self.width} by {self.height} pixels are too many for a PNG")
        pixels = bytearray(b"\xff" * (3 * self.width * self.height))
        for shape in self.shapes:
            if isinstance(shape, _Rect):
                self._fill(pixels, shape)
            elif isinstance(shape, _Line):
                self._draw(pixels, shape)
            else:
                self._write(pixels, shape)
        step = 3 * self.width
        rows = b"".join(b"\0" + pixels[y * step : (y + 1) * step] for y in range(self.height))
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + _chunk(b"IHDR", head)
            + _chunk(b"IDAT", zlib.compress(rows, 6))
            + _chunk(b"IEND", b"")
        )

    def _fill(self, pixels: bytearray, s: _Rect) -> None:
        left, right = max(0, round(s.x)), min(self.width, round(s.x + s.width))
        top, bottom = max(0, round(s.y)), min(self.height, round(s.y + s.height))
        if right == left and s.width > 0 and left < self.width:
            right = left + 1  # a green that is narrower than a pixel is still one
        if right <= left:
            return
        row = _rgb(s.fill) * (right - left)
        for y in range(top, max(top + 1, bottom) if top < self.height else top):
            at = 3 * (y * self.width + left)
            pixels[at : at + len(row)] = row

    def _draw(self, pixels: bytearray, s: _Line) -> None:
        steps = max(1, round(max(abs(s.x2 - s.x1), abs(s.y2 - s.y1))))
        colour = _rgb(s.stroke)
        for k in range(steps + 1):
            x = round(s.x1 + (s.x2 - s.x1) * k / steps)
            y = round(s.y1 + (s.y2 - s.y1) * k / steps)
            self._dot(pixels, x, y, colour)

    def _dot(self, pixels: bytearray, x: int, y: int, colour: bytes) -> None:
        if 0 <= x < self.width and 0 <= y < self.height:
            at = 3 * (y * self.width + x)
            pixels[at : at + 3] = colour

    def _write(self, pixels: bytearray, s: _Text) -> None:
        scale = 2 if s.size > 11 else 1
        advance = 6 * scale
        length = advance * len(s.text)
        x = round(s.x) - (length // 2 if s.anchor == _MIDDLE else length if s.anchor == _END else 0)
        top = round(s.y) - 7 * scale
        colour = _rgb(s.fill)
        for char in s.text:
            code = ord(char) if 32 <= ord(char) < 127 else ord("?")
            for column in range(5):
                bits = _FONT[5 * (code - 32) + column]
                for row in range(8):
                    if bits >> row & 1:
                        for dx in range(scale):
                            for dy in range(scale):
                                self._dot(
                                    pixels, x + column * scale + dx, top + row * scale + dy, colour
                                )
            x += advance


def _rgb(colour: str) -> bytes:
    text = colour.removeprefix("#")
    if len(text) == 3:
        text = "".join(2 * char for char in text)
    return bytes.fromhex(text)


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
