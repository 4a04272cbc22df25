"""Section [signs]: the boards as data, and where the market's prices come from."""

from dataclasses import dataclass

from gateway.config import setting

ENCODINGS = ("packed", "packed-swapped", "word", "utf16")


@dataclass(frozen=True, kw_only=True)
class BoardSettings:
    """[[signs.board]]: one board with a block of holding registers that hold its text."""

    name: str = setting(doc="name in messages and faults")
    port: str = setting(doc='the line, "/dev/..." or "tcp://HOST:PORT"')
    baud: int = setting(9600, low=1200, high=115_200, doc="of a serial line, 8N1")
    unit: int = setting(1, low=1, high=247, doc="Modbus address")
    address: int = setting(0, low=0, high=65_535, doc="first register of the text")
    columns: int = setting(16, low=4, high=240, doc="characters in a row")
    rows: int = setting(1, low=1, high=16, doc="rows of a page")
    encoding: str = setting(
        "packed",
        choices=ENCODINGS,
        doc="packed: two letters in a register, the first high; packed-swapped: the first low;"
        " word: one letter in a register; utf16: one UTF-16 unit in a register",
    )
    pages: int = setting(1, low=1, high=32, doc="pages that the board keeps and turns itself")
    page_address: int | None = setting(
        None, low=0, high=65_535, doc="takes the number of a page, 0 first, before its text"
    )
    count_address: int | None = setting(
        None, low=0, high=65_535, doc="takes the number of pages in use, last"
    )
    commit_address: int | None = setting(
        None, low=0, high=65_535, doc="takes `commit_value` when a page's text is complete"
    )
    commit_value: int = setting(1, low=0, high=65_535, doc="shows the text")
    gauges: tuple[str, ...] = setting((), doc="whose stages it shows; empty: of every gauge")
    place: str = setting("", doc="the place in its flood text; the gauge's name if empty")
    languages: tuple[str, ...] = setting(("id", "en"), doc="of its texts, in order: id, en")

    def __post_init__(self) -> None:
        if self.pages > 1 and self.page_address is None:
            raise ValueError(f'signs.board "{self.name}": pages needs page_address')
        if not self.languages or set(self.languages) - {"id", "en"}:
            raise ValueError(f'signs.board "{self.name}".languages: expected "id", "en" or both')


@dataclass(frozen=True, kw_only=True)
class SignsSettings:
    """Section [signs]."""

    board: tuple[BoardSettings, ...] = setting(doc="the boards")
    market: str = setting("", doc="prices: a JSON or CSV file, or an http(s) URL; empty: none")
    market_poll_s: float = setting(60.0, low=5, high=86_400, unit="s", doc="how often to look")
    market_age_s: float = setting(
        86_400.0, low=60, high=2_592_000, unit="s", doc="prices older than this are not shown"
    )
    page_s: float = setting(
        6.0, low=1, high=600, unit="s", doc="the gateway turns pages that a board cannot keep"
    )
    refresh_s: float = setting(
        300.0, low=10, high=86_400, unit="s", doc="the text is written again: a board may restart"
    )

    def __post_init__(self) -> None:
        names = [one.name for one in self.board]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two [[signs.board]] tables have the name "{name}"')
