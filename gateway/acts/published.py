"""`PublishedAct`: an act that keeps documents fresh, as files and over HTTP.

GeoJSON and GTFS-Realtime are two of them: each says what its documents are (`documents`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.acts.http_files import Document, FileServer, keep_file
from gateway.acts.part import Act, Context
from gateway.acts.picture import Picture
from gateway.clock import now_ms
from gateway.ledger.store import Stored
from gateway.model import Alarm
from gateway.service import together

log = logging.getLogger("tukad.maps")

_RETRY_S = 5.0


class PublishedAct(Act):
    """Documents from a picture, made again every `every_s` seconds and when somebody calls."""

    def __init__(self, context: Context, bind: str, folder: str, every_s: float) -> None:
        self._bind = bind
        self._folder: Path | None = None
        if folder:
            self._folder = context.data_dir / folder
        self._every_s = every_s
        self._ledger = context.ledger
        self.picture = Picture(context.settings)
        self.server = FileServer(lambda path: self._documents.get(path.removeprefix("/")))
        self._documents: dict[str, Document] = {}
        self._news = asyncio.Event()
        self._has_recovered = asyncio.Event()
        self._bind_error = self._disk_error = ""
        self._made = 0

    def documents(self, now_ms: int) -> dict[str, Document]:
        """The documents by name."""
        raise NotImplementedError

    async def handle(self, number: int, alarm: Alarm) -> None:
        """Alarms show at once."""
        await self._has_recovered.wait()  # or an older alarm would have the last word
        self.picture.hear(alarm)
        self._news.set()

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """Readings show with the next documents."""
        self.picture.feed(one.reading for one in stored)

    async def run(self) -> None:
        """Keep documents and serve them, until cancelled."""
        await self.picture.recover(self._ledger)
        self._has_recovered.set()
        try:
            works = [self._refresh()]
            if self._bind:
                works.append(self._listen())
            await together(*works)
        finally:
            await self.server.stop()

    async def _listen(self) -> None:
        while True:
            try:
                await self.server.start(self._bind)
            except OSError as error:
                self._bind_error = error.strerror or str(error)
                await asyncio.sleep(_RETRY_S)
                continue
            self._bind_error = ""
            log.info("%s.listening port=%d", self.name, self.server.port)
            return

    async def _refresh(self) -> None:
        while True:
            self._news.clear()
            self._documents = self.documents(now_ms())
            self._made += 1
            if self._folder is not None:
                await asyncio.to_thread(self._keep, self._folder, dict(self._documents))
            try:
                async with asyncio.timeout(self._every_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _keep(self, folder: Path, documents: Mapping[str, Document]) -> None:
        try:
            for name, document in documents.items():
                keep_file(folder / name, document.body)
            self._disk_error = ""
        except OSError as error:
            self._disk_error = str(error)

    def faults(self) -> Mapping[tuple[str, str], str]:
        """A port that cannot be had, a disk that takes nothing."""
        found: dict[tuple[str, str], str] = {}
        if self._bind_error:
            found[f"{self.name}.bind", self._bind] = (
                f"{self._bind_error}; the map cannot be fetched over HTTP: free the port or change"
                f" {self.name}.bind"
            )
        if self._disk_error:
            found[f"{self.name}.disk", str(self._folder)] = (
                f"{self._disk_error}; the files are old, over HTTP they are fresh: free some space"
            )
        return found

    def counters(self) -> Mapping[str, int]:
        """Documents made, requests answered and refused."""
        return {
            "made": self._made,
            "requests": self.server.requests,
            "refused": self.server.refused,
        }
