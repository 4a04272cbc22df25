"""Runs one act: `ActRunner` feeds it alarms in order and keeps in the ledger how far it came."""

import asyncio
import contextlib
import logging

from gateway.acts.part import Act
from gateway.ledger.ledger import Ledger
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Store
from gateway.model import Alarm
from gateway.service import together

log = logging.getLogger("tukad.acts")

_CHUNK = 200


class ActRunner:
    """Alarms for one act, durable and in order."""

    def __init__(self, act: Act, ledger: Ledger) -> None:
        self.act = act
        self._ledger = ledger
        self._key = f"act/{act.name}/seen"
        self._seen = -1  # number of the last alarm handled; -1 until it is known
        self._unstored: list[Alarm] = []
        self._news = asyncio.Event()
        self._news.set()

    def begin(self, store: Store) -> None:
        """An act that is new on this ledger begins with the alarms to come."""
        seen: int | None = store.get_state(self._key)
        if seen is None:
            seen = store.last_alarm()
            store.set_state(self._key, seen)
        self._seen = seen

    def offer(self, number: int, alarm: Alarm) -> None:
        """An alarm was made public; the ledger has it, unless its number is 0."""
        if number == 0:
            self._unstored.append(alarm)
        self._news.set()

    async def run(self) -> None:
        """The act's own work and its alarms, until cancelled or one of them fails."""
        await together(self._feed(), self._work())

    async def _work(self) -> None:
        await self.act.run()
        await asyncio.Event().wait()  # an act may have no work of its own

    async def _feed(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unstored:
                await self._handle(0, self._unstored[0])
                self._unstored.pop(0)
            while rows := await self._ledger.read(
                lambda store: store.alarms_since(self._seen, _CHUNK)
            ):
                for number, alarm in rows:
                    await self._handle(number, alarm)
                    self._seen = number
                    with contextlib.suppress(LedgerFullError):
                        await self._ledger.write(
                            lambda store, number=number: store.set_state(self._key, number)
                        )

    async def _handle(self, number: int, alarm: Alarm) -> None:
        pause_s = 0.5
        while True:
            try:
                return await self.act.handle(number, alarm)
            except OSError as error:
                log.warning("act.retry act=%s alarm=%d error=%r", self.act.name, number, str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 60)
