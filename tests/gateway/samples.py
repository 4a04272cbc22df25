"""Readings and ledgers for the tests of the gateway."""

from collections.abc import Iterable
from pathlib import Path

from gateway.ledger.ledger import Ledger
from gateway.ledger.retention import Retention
from gateway.model import LIVE, Reading

START_MS = 1_789_000_000_000  # 2026-09-10, a stormy morning


def reading(
    sequence: int,
    level_mm: int | None = 100,
    *,
    device: str = "kumbasari",
    stream: str = "flood",
    at_s: float | None = None,
    origin: str = LIVE,
    quality: int = 2,
) -> Reading:
    """A reading ten seconds after the one before it."""
    time_ms = START_MS + round((10 * sequence if at_s is None else at_s) * 1000)
    return Reading(
        device=device,
        stream=stream,
        sequence=sequence,
        time_ms=time_ms,
        time_source="network",
        values={} if level_mm is None else {"level_mm": level_mm},
        received_ms=time_ms + 400,
        quality=quality,
        origin=origin,
    )


def readings(sequences: Iterable[int]) -> list[Reading]:
    """Readings with these sequences."""
    return [reading(sequence) for sequence in sequences]


def open_ledger(
    folder: Path, keep: Retention | None = None, sinks: tuple[str, ...] = ("city",)
) -> Ledger:
    """An open ledger in a folder; close it."""
    ledger = Ledger(folder, keep or Retention(reserve_mb=0), sinks)
    ledger.open()
    return ledger
