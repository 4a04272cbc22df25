"""What people read on the boards: a real Modbus server keeps the registers, we read its face."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.acts.signs.act import SignsAct
from gateway.acts.signs.settings import BoardSettings
from gateway.acts.signs.text import MarketError, flood_texts, paginate, parse_market, registers
from gateway.config import ConfigError
from gateway.model import CLEARED, ESCALATED
from gateway.service import end_tasks
from tests.gateway.acts.fixture import act_context, alarm
from tests.gateway.acts.siren.test_act import until

PAGE, COUNT, COMMIT, TEXT = 10, 11, 12, 100


class Panel:
    """A board's face: a page counts when it was committed; `read` is what passes by."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.memory: dict[int, int] = {}
        self.pages: dict[int, str] = {}
        self.largest = 0

    async def access(
        self,
        function_code: int,
        _start: int,
        address: int,
        _count: int,
        _registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> None:
        """As the library calls it, before each answer."""
        if function_code != 16 or not values:
            return
        self.largest = max(self.largest, len(values))
        for offset, value in enumerate(values):
            self.memory[address + offset] = int(value)
        if address == COMMIT:
            letters = self.rows * self.columns
            words = [self.memory.get(TEXT + i, 0x2020) for i in range(letters // 2)]
            data = b"".join(bytes([word >> 8, word & 255]) for word in words)
            self.pages[self.memory.get(PAGE, 0)] = data.decode("ascii")

    @property
    def read(self) -> str:
        """Everything a reader sees, with single spaces."""
        used = self.memory.get(COUNT, 1)
        return " ".join(" ".join(self.pages.get(i, "") for i in range(used)).split())


@contextlib.asynccontextmanager
async def panel(rows: int, columns: int) -> AsyncGenerator[tuple[int, Panel]]:
    face = Panel(rows, columns)
    words = SimData(0, values=[0] * 1200, datatype=DataType.REGISTERS)
    server = ModbusTcpServer(
        SimDevice(1, simdata=words, action=face.access), address=("127.0.0.1", 0)
    )
    await server.listen()
    try:
        assert isinstance(server.transport, asyncio.Server)
        yield server.transport.sockets[0].getsockname()[1], face
    finally:
        await server.shutdown()


BOARD = """
[signs]
market = "harga.json"
market_poll_s = 5
market_age_s = 600
refresh_s = 10
[[signs.board]]
name = "pasar"
port = "tcp://127.0.0.1:{port}"
address = 100
columns = {columns}
rows = {rows}
pages = 8
page_address = 10
count_address = 11
commit_address = 12
place = "Pasar Badung"
"""


@contextlib.asynccontextmanager
async def running(folder: Path, rows: int, columns: int) -> AsyncGenerator[tuple[SignsAct, Panel]]:
    async with panel(rows, columns) as (port, face):
        sections = BOARD.format(port=port, rows=rows, columns=columns)
        with act_context(folder, sections) as context:
            assert context.settings.signs is not None
            act = SignsAct(context.settings.signs, context)
            task = asyncio.create_task(act.run())
            try:
                yield act, face
            finally:
                await end_tasks([task])  # as the agent does: one cancellation may be swallowed


def test_the_market_then_the_flood_in_two_languages_then_the_market_again(tmp_path: Path) -> None:
    prices = [{"item": "Cabai", "price": 45000, "unit": "kg"}, {"item": "Jepun é", "price": "5"}]
    (tmp_path / "harga.json").write_text(json.dumps(prices))

    async def go() -> None:
        async with running(tmp_path, 2, 16) as (act, face):
            await until(lambda: face.read == "Cabai 45.000/kg Jepun e 5")
            await act.handle(1, alarm("kumbasari", "stage", 0, level=1))
            await until(lambda: "Jauhi sungai." in face.read)
            await act.handle(2, alarm("kumbasari", "stage", 0, event=ESCALATED, level=3))
            await until(lambda: "high ground NOW" in face.read)
            assert face.read == (
                "AWAS BANJIR Pasar Badung! Naik ke tempat tinggi SEKARANG. Jangan lewati jembatan. "
                "FLOOD DANGER Pasar Badung! Go to high ground NOW. Do not cross the bridge."
            )
            await act.handle(3, alarm("kumbasari", "stage", 0, event=CLEARED))
            await until(lambda: face.read == "Cabai 45.000/kg Jepun e 5")

    asyncio.run(go())


def test_the_flood_is_still_shown_after_a_restart_and_a_drill_never_is(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, 2, 16) as (act, face):
            await act.handle(1, alarm("kumbasari", "stage", 0, level=2, is_drill=1))
            assert act.stages == {}
            await act.handle(2, alarm("kumbasari", "stage", 0, level=2))
            await until(lambda: "SIAGA BANJIR" in face.read)
        async with running(tmp_path, 2, 16) as (_, face):
            await until(lambda: "SIAGA BANJIR" in face.read)

    asyncio.run(go())


def test_old_prices_are_not_shown_and_a_broken_feed_is_a_fault(tmp_path: Path) -> None:
    feed = tmp_path / "harga.json"
    feed.write_text('[{"item": "Cabai", "price": 1}]')
    os.utime(feed, (1_700_000_000, 1_700_000_000))

    async def go() -> None:
        async with running(tmp_path, 2, 16) as (act, face):
            await until(lambda: "no new data" in face.read)
            feed.write_text("[1, 2]")
            await until(lambda: ("signs.market", "market") in act.faults())

    asyncio.run(go())


def test_a_long_page_goes_in_blocks_that_the_protocol_allows(tmp_path: Path) -> None:
    (tmp_path / "harga.json").write_text('[{"item": "x", "price": 1}]')

    async def go() -> None:
        async with running(tmp_path, 8, 64) as (_, face):
            await until(lambda: face.read == "x 1")
            assert face.largest == 123

    asyncio.run(go())


def test_a_board_that_does_not_answer_is_a_fault_and_others_go_on(tmp_path: Path) -> None:
    async def go() -> None:
        async with panel(1, 16) as (port, face):
            dead = "[signs]\n"
            for name, at in (("mati", 1), ("hidup", port)):
                dead += f'[[signs.board]]\nname = "{name}"\nport = "tcp://127.0.0.1:{at}"\n'
                dead += "address = 100\ncommit_address = 12\n"
            with act_context(tmp_path, dead) as context:
                assert context.settings.signs is not None
                act = SignsAct(context.settings.signs, context)
                await act.handle(1, alarm("kumbasari", "stage", 0, level=1))
                task = asyncio.create_task(act.run())
                await until(lambda: "WASPADA BANJIR" in face.read)
                await until(lambda: ("signs.silent", "mati") in act.faults())
                await end_tasks([task])  # as the agent does: one cancellation may be swallowed

    asyncio.run(go())


def board(**settings: object) -> BoardSettings:
    return BoardSettings(name="b", port="/dev/null", **settings)  # type: ignore[arg-type]


def test_encodings_by_hand() -> None:
    assert registers("AB C", "packed") == [0x4142, 0x2043]
    assert registers("AB C", "packed-swapped") == [0x4241, 0x4320]
    assert registers("AB", "word") == [0x41, 0x42]
    assert registers("é", "utf16") == [0xE9]
    assert registers("ABC", "packed") == [0x4142, 0x4320]


def test_words_stay_whole_and_long_ones_are_cut() -> None:
    assert paginate(["one two three"], board(columns=8)) == ["one two ", "three   "]
    assert paginate(["abcdefghij k"], board(columns=4)) == ["abcd", "efgh", "ij k"]
    assert paginate([], board(columns=4, rows=2)) == ["        "]
    assert paginate(["a", "b"], board(columns=4, rows=2)) == ["a   b   "]


def test_a_board_shows_the_worst_of_its_own_gauges() -> None:
    stages = {"hulu": 3, "pasar": 1}
    assert "AWAS" in flood_texts(board(), stages)[0]
    assert "WASPADA" in flood_texts(board(gauges=("pasar",), languages=("id",)), stages)[0]
    assert flood_texts(board(gauges=("hilir",)), stages) == []


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"[", "not JSON"),
        (b'{"a": 1}', "expected a list"),
        (b"[]", "no prices"),
        (b'[{"item": "", "price": 1}]', "price 1 has no item"),
        (b'[{"item": "x", "price": true}]', "has no price"),
        (b"barang;harga\nx;1\n", "has no item"),
    ],
)
def test_a_wrong_feed_is_refused_with_a_reason(feed: bytes, words: str) -> None:
    with pytest.raises(MarketError, match=words):
        parse_market(feed, "feed")


def test_csv_and_control_letters() -> None:
    prices, at_s = parse_market(b"item,price,unit\nTempe\x1b[31m,5000,buah\n", "feed")
    assert [one.text for one in prices] == ["Tempe [31m 5000/buah"] and at_s is None
    assert parse_market(b'{"time": 5, "prices": [{"item": "x", "price": 1.5}]}', "f")[1] == 5.0


def test_a_wrong_board_is_refused_by_name(tmp_path: Path) -> None:
    text = '[signs]\n[[signs.board]]\nname = "a"\nport = "tcp://x:1"\npages = 3\n'
    with pytest.raises(ConfigError, match="pages needs page_address"):
        contextlib.ExitStack().enter_context(act_context(tmp_path, text))
