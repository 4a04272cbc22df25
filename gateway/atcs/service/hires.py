"""The high-resolution log on disk: one CSV a day, flushed each second, old days removed."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from gateway.atcs.events import Event
from gateway.atcs.report import HEADER, csv_rows

log = logging.getLogger("tukad.junction")


class HiresLog:
    """Writes events; a disk that takes nothing costs events (counted), never the junction."""

    def __init__(self, folder: Path, device: int, days: int) -> None:
        self._folder = folder
        self._device = device
        self._days = days
        self._file: IO[str] | None = None
        self._day = ""
        self.lost = 0

    def write(self, events: Sequence[Event], at_ms: int, local: datetime) -> None:
        """Append `events`; `local` is the local time at the controller's `at_ms`."""
        if not events:
            return
        start = local - timedelta(milliseconds=at_ms)
        try:
            self._turn(f"{local:%Y-%m-%d}")
            if self._file is not None:
                for row in csv_rows(events, self._device, start):
                    self._file.write(row + "\n")
        except OSError as error:
            self.lost += len(events)
            self.close()
            if self.lost == len(events):
                log.error("hires.lost error=%r", str(error))

    def flush(self) -> None:
        """Hand what was written to the system."""
        try:
            if self._file is not None:
                self._file.flush()
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file, self._day = self._file, None, ""
        if file is not None:
            try:
                file.close()
            except OSError:
                self.lost += 1

    def _turn(self, day: str) -> None:
        if day == self._day:
            return
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"hires-{day}.csv"
        is_new = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", encoding="ascii")
        self._day = day
        if is_new:
            self._file.write(HEADER + "\n")
        for old in sorted(self._folder.glob("hires-????-??-??.csv"))[: -self._days]:
            old.unlink()
