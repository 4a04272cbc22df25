"""The signs act: every board shows the flood while there is one, else the market's prices."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.acts.part import Act, Context
from gateway.acts.signs.settings import BoardSettings, SignsSettings
from gateway.acts.signs.text import (
    MarketError,
    Price,
    flood_texts,
    market_texts,
    paginate,
    parse_market,
    registers,
)
from gateway.ledger.schema import LedgerFullError
from gateway.model import CLEARED, Alarm
from gateway.service import together

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

    Client = AsyncModbusTcpClient | AsyncModbusSerialClient

log = logging.getLogger("tukad.signs")

_STATE = "act/signs/stages"
_WRITE_MAX = 123  # registers in one request (Modbus application protocol 6.12)
_FEED_MAX = 1_000_000
_PAUSES_S = (2.0, 5.0, 15.0, 60.0)


class BoardError(OSError):
    """A board did not take its text."""


class Market:
    """The newest good prices, and what is wrong with the feed."""

    def __init__(self, where: str, age_s: float, folder: Path) -> None:
        self._where = where
        self._age_s = age_s
        self._folder = folder
        self._prices: list[Price] = []
        self._at_s = 0.0
        self.problem = ""

    def prices(self, now_s: float) -> Sequence[Price] | None:
        """What may be shown; None when it is too old, or there never was any."""
        is_fresh = -3600 < now_s - self._at_s <= self._age_s
        return self._prices if self._prices and is_fresh else None

    async def look(self) -> None:
        """Read the feed once; a bad one is refused and the last good one stays until it is old."""
        try:
            if self._where.startswith(("http://", "https://")):
                data, at_s = await self._fetch()
            else:
                data, at_s = await asyncio.to_thread(self._read)
            prices, own_s = parse_market(data, self._where)
        except (MarketError, OSError) as error:
            if str(error) != self.problem:
                log.warning("signs.market_refused error=%r", str(error))
            self.problem = str(error)
            return
        self.problem = ""
        self._prices, self._at_s = prices, at_s if own_s is None else own_s

    def _read(self) -> tuple[bytes, float]:
        path = self._folder / self._where
        if path.stat().st_size > _FEED_MAX:
            raise MarketError(f"{path}: larger than {_FEED_MAX} bytes")
        return path.read_bytes(), path.stat().st_mtime

    async def _fetch(self) -> tuple[bytes, float]:
        from email.utils import parsedate_to_datetime

        import httpx

        try:
            async with httpx.AsyncClient(timeout=10, follow_redirects=True) as client:
                answer = await client.get(self._where)
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise MarketError(f"{self._where}: {error}") from None
        at_s = time.time()
        with contextlib.suppress(ValueError, KeyError):
            at_s = parsedate_to_datetime(answer.headers["last-modified"]).timestamp()
        if len(answer.content) > _FEED_MAX:
            raise MarketError(f"{self._where}: larger than {_FEED_MAX} bytes")
        return answer.content, at_s


class Board:
    """One board on its line: `show` writes pages, and raises BoardError."""

    def __init__(self, settings: BoardSettings) -> None:
        self.settings = settings
        self.error = ""
        self.written = 0  # pages

    def _client(self) -> "Client":
        from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

        port = self.settings.port
        if port.startswith("tcp://"):
            host, _, number = port.removeprefix("tcp://").rpartition(":")
            return AsyncModbusTcpClient(host, port=int(number), timeout=1, retries=1)
        return AsyncModbusSerialClient(port, baudrate=self.settings.baud, timeout=1, retries=1)

    async def show(self, pages: Sequence[str]) -> None:
        """Write these pages, at most as many as the board keeps."""
        one = self.settings
        client = self._client()
        try:
            if not await client.connect():
                raise BoardError(f"{one.port}: nobody answers")
            for index, page in enumerate(pages):
                if one.page_address is not None:
                    await self._write(client, one.page_address, [index])
                values = registers(page, one.encoding)
                for start in range(0, len(values), _WRITE_MAX):
                    part = values[start : start + _WRITE_MAX]
                    await self._write(client, one.address + start, part)
                if one.commit_address is not None:
                    await self._write(client, one.commit_address, [one.commit_value])
                self.written += 1
            if one.count_address is not None:
                await self._write(client, one.count_address, [len(pages)])
        finally:
            client.close()

    async def _write(self, client: "Client", address: int, values: list[int]) -> None:
        from pymodbus.exceptions import ModbusException

        one = self.settings
        try:
            answer = await client.write_registers(address, values, device_id=one.unit)
        except ModbusException as error:
            raise BoardError(f"{one.port} unit {one.unit} register {address}: {error}") from error
        if answer.isError():
            raise BoardError(f"{one.port} unit {one.unit} register {address}: {answer}")


class SignsAct(Act):
    """All boards."""

    name = "signs"

    def __init__(self, settings: SignsSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._boards = [Board(one) for one in settings.board]
        self._market = Market(settings.market, settings.market_age_s, context.file.parent)
        self._changed = {board.settings.name: asyncio.Event() for board in self._boards}
        state: Any = context.ledger.call(lambda store: store.get_state(_STATE))
        self.stages: dict[str, int] = dict(state or {})

    async def handle(self, number: int, alarm: Alarm) -> None:
        """See `Act`."""
        if alarm.kind != "stage" or alarm.values.get("is_drill"):
            return
        if alarm.event == CLEARED:
            self.stages.pop(alarm.device, None)
        else:
            self.stages[alarm.device] = alarm.level
        self._wake()
        stages = dict(self.stages)
        with contextlib.suppress(LedgerFullError):
            await self._context.ledger.write(lambda store: store.set_state(_STATE, stages))

    def _wake(self) -> None:
        for event in self._changed.values():
            event.set()

    async def run(self) -> None:
        """See `Act`."""
        works = [self._keep(board) for board in self._boards]
        if self._settings.market:
            works.append(self._follow_market())
        await together(*works)

    async def _follow_market(self) -> None:
        while True:
            before = self._market.prices(time.time())
            await self._market.look()
            if self._market.prices(time.time()) != before:
                self._wake()
            await asyncio.sleep(self._settings.market_poll_s)

    def pages(self, board: BoardSettings) -> list[str]:
        """What a board is to show now."""
        texts = flood_texts(board, self.stages)
        if not texts and self._settings.market:
            texts = market_texts(board, self._market.prices(time.time()))
        return paginate(texts, board)

    async def _keep(self, board: Board) -> None:
        """One board: a change at once, pages in turn, everything again now and then."""
        shown: list[str] = []
        turn = failures = 0
        settings, changed = board.settings, self._changed[board.settings.name]
        while True:
            pages = self.pages(settings)
            wait_s = self._settings.refresh_s
            if pages != shown:
                turn = 0
            part = pages
            if len(pages) > settings.pages:  # more than the board keeps: we turn them
                start = turn * settings.pages % len(pages)
                part = pages[start : start + settings.pages]
                turn += 1
                wait_s = self._settings.page_s * len(part)
            changed.clear()
            try:
                await board.show(part)
                shown, board.error, failures = pages, "", 0
            except OSError as error:
                if not board.error:
                    log.warning("signs.silent board=%s error=%r", settings.name, str(error))
                board.error = str(error)
                wait_s = _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
                failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()

    def faults(self) -> Mapping[tuple[str, str], str]:
        """See `Act`."""
        found = {("signs.silent", b.settings.name): b.error for b in self._boards if b.error}
        if self._market.problem:
            found["signs.market", "market"] = self._market.problem
        return found

    def counters(self) -> Mapping[str, int]:
        """See `Act`."""
        return {"signs_pages": sum(board.written for board in self._boards)}
