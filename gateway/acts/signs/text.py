"""What a board shows, as text, as pages and as registers; no I/O.

Boards have few letters: text goes out in plain ASCII unless the board takes UTF-16, so accents are
taken off rather than shown as rubbish. A word never breaks over two rows unless it is longer than
one.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gateway.acts.signs.settings import BoardSettings

FLOOD: Mapping[str, Sequence[str]] = {
    "id": (
        "",
        "WASPADA BANJIR {place}. Jauhi sungai.",
        "SIAGA BANJIR {place}. Siap mengungsi. Jangan ke sungai.",
        "AWAS BANJIR {place}! Naik ke tempat tinggi SEKARANG. Jangan lewati jembatan.",
    ),
    "en": (
        "",
        "FLOOD WATCH {place}. Keep away from the river.",
        "FLOOD WARNING {place}. Be ready to leave. Keep off the river.",
        "FLOOD DANGER {place}! Go to high ground NOW. Do not cross the bridge.",
    ),
}
NO_PRICES = {"id": "Harga: belum ada data baru", "en": "Prices: no new data"}
_ITEMS_MAX = 200


class MarketError(ValueError):
    """The feed is not what was expected; one line that says what."""


@dataclass(frozen=True, slots=True)
class Price:
    """One line of the market's board."""

    item: str
    price: str
    unit: str = ""

    @property
    def text(self) -> str:
        """As shown."""
        return f"{self.item} {self.price}" + (f"/{self.unit}" if self.unit else "")


def parse_market(data: bytes, name: str) -> tuple[list[Price], float | None]:
    """Prices, and the Unix time that the feed gives of itself, if any.

    JSON: a list of {"item", "price", "unit"}, or {"time": seconds, "prices": [...]}; CSV: a header
    with item, price and, if wanted, unit. Raises MarketError.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MarketError(f"{name}: not UTF-8: {error.reason}") from None
    at_s: float | None = None
    rows: list[Any]
    if text.lstrip()[:1] in ("[", "{"):
        try:
            tree: Any = json.loads(text)
        except ValueError as error:
            raise MarketError(f"{name}: not JSON: {error}") from None
        if isinstance(tree, dict):
            table = cast("dict[str, Any]", tree)
            stamp = table.get("time")
            if isinstance(stamp, int | float) and not isinstance(stamp, bool):
                at_s = float(stamp)
            tree = table.get("prices")
        if not isinstance(tree, list):
            raise MarketError(f'{name}: expected a list, or an object with "prices"')
        rows = cast("list[Any]", tree)
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
    prices = [_price(row, name, index) for index, row in enumerate(rows[:_ITEMS_MAX], 1)]
    if not prices:
        raise MarketError(f"{name}: there are no prices")
    return prices, at_s


def _price(row: Any, name: str, index: int) -> Price:
    if not isinstance(row, dict):
        raise MarketError(f"{name}: price {index} is not an object")
    fields = cast("dict[str, Any]", row)
    item, price = fields.get("item"), fields.get("price")
    if not isinstance(item, str) or not item.strip():
        raise MarketError(f"{name}: price {index} has no item")
    if isinstance(price, bool) or not isinstance(price, str | int | float) or price == "":
        raise MarketError(f"{name}: price {index} ({item[:20]}) has no price")
    if isinstance(price, int):
        price = f"{price:,}".replace(",", ".")  # as Indonesia writes thousands
    return Price(_clean(item), _clean(str(price)), _clean(str(fields.get("unit") or "")))


def _clean(text: str) -> str:
    """One line without control characters, which a board might obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:80]


def flood_texts(board: BoardSettings, stages: Mapping[str, int]) -> list[str]:
    """The texts of the worst stage among the board's gauges; none when all is normal."""
    mine = {g: s for g, s in stages.items() if s > 0 and (not board.gauges or g in board.gauges)}
    if not mine:
        return []
    gauge = max(mine, key=lambda one: mine[one])
    place = _clean(board.place or gauge)
    return [FLOOD[language][mine[gauge]].format(place=place) for language in board.languages]


def market_texts(board: BoardSettings, prices: Sequence[Price] | None) -> list[str]:
    """The prices; or that there are none which are new enough."""
    if prices is None:
        return [NO_PRICES[language] for language in board.languages]
    return [price.text for price in prices]


def _wrap(text: str, columns: int) -> list[str]:
    rows: list[str] = []
    row = ""
    for word in text.split():
        while len(word) > columns:
            if row:
                rows.append(row)
                row = ""
            rows.append(word[:columns])
            word = word[columns:]
        if row and len(row) + 1 + len(word) > columns:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}" if row else word
    return [*rows, row] if row else rows


def paginate(texts: Sequence[str], board: BoardSettings) -> list[str]:
    """Pages of exactly rows times columns letters; short texts share a page.

    An empty board is one page of spaces.
    """
    pages: list[list[str]] = []
    for text in texts:
        rows = _wrap(_fit(text, board), board.columns)
        fits = pages and len(pages[-1]) + len(rows) <= board.rows
        if fits:
            pages[-1] += rows
        else:
            pages += [rows[i : i + board.rows] for i in range(0, len(rows), board.rows)]
    pages = pages or [[]]
    return ["".join(row.ljust(board.columns) for row in _full(page, board)) for page in pages]


def _full(rows: Sequence[str], board: BoardSettings) -> list[str]:
    return [*rows, *[""] * (board.rows - len(rows))]


def _fit(text: str, board: BoardSettings) -> str:
    """In the letters that the board has."""
    if board.encoding == "utf16":
        return "".join(c if ord(c) < 0x10000 else "?" for c in text)
    bare = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in bare if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode()


def registers(page: str, encoding: str) -> list[int]:
    """A page's registers."""
    if encoding in ("word", "utf16"):
        return [ord(letter) for letter in page]
    data = page.encode("ascii")
    if len(data) % 2:
        data += b" "
    order = "big" if encoding == "packed" else "little"
    return [int.from_bytes(data[i : i + 2], order) for i in range(0, len(data), 2)]
