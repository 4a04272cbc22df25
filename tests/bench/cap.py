"""From an alarm to a signed CAP file: time and bytes, beside what one fsync costs here.

The whole path: the act's decision, the XML, the signature, one commit of the ledger, the file and
the feed with their fsyncs. The goal is ten seconds from the water to the file.
"""

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gateway.acts.cap.act import CapAct
from gateway.acts.cap.signing import make_key, warm_up
from gateway.acts.part import Context
from gateway.clock import WallClock, now_ms
from gateway.config import Place, build
from gateway.ledger.ledger import Ledger
from gateway.ledger.retention import Retention
from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm
from gateway.settings import Settings
from gateway.sinks.messages import Messages

_COURSE = ((RAISED, 1), (ESCALATED, 2), (ESCALATED, 3), (LOWERED, 1), (CLEARED, 0))
_NAMES = ("Normal", "Waspada", "Siaga", "Awas")


def _alarm(number: int, event: str, level: int) -> Alarm:
    device = "kumbasari"
    return Alarm(
        incident=f"{device}/stage/{number // len(_COURSE)}",
        device=device,
        kind="stage",
        event=event,
        level=level,
        name=_NAMES[level],
        time_ms=now_ms(),
        decided_ms=now_ms(),
        sequence=number,
        values={"level_mm": 2710, "rate_mm_h": 1900, "next_stage_min": 24},
        text_id="AWAS di kumbasari: muka air 2,71 m pukul 05:02 WITA, naik dari Siaga.",
        text_en="AWAS at kumbasari: water level 2.71 m at 05:02 WITA, up from Siaga.",
    )


def _fsync_ms(folder: Path, count: int) -> list[float]:
    """What it costs here to make 4 kB durable."""
    found: list[float] = []
    for number in range(count):
        start = time.perf_counter()
        handle = os.open(folder / f"probe-{number}", os.O_WRONLY | os.O_CREAT)
        os.write(handle, b"x" * 4096)
        os.fsync(handle)
        os.close(handle)
        found.append(1000 * (time.perf_counter() - start))
    return found


async def _measure(act: CapAct, folder: Path, count: int) -> list[float]:
    found: list[float] = []
    for number in range(count):
        event, level = _COURSE[number % len(_COURSE)]
        one = _alarm(number, event, level)
        start = time.perf_counter()
        await act.handle(number + 1, one)
        found.append(1000 * (time.perf_counter() - start))
        assert (folder / f"{act.messages[0].stem}.xml").stat().st_size > 0
    return found


def _row(what: str, times_ms: list[float]) -> None:
    ordered = sorted(times_ms)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    print(f"{what:<34}{statistics.median(ordered):>9.1f}{p99:>9.1f}{ordered[-1]:>9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="cap")
    parser.add_argument("--count", type=int, default=200, help="alarms")
    logging.getLogger("tukad.cap").setLevel(logging.CRITICAL)
    count = max(10, parser.parse_args().count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_key(folder / "cap.key", "bench")
        area = {"description": "Tepi Tukad Badung", "circle": "-8.656,115.211 0.8"}
        gauge = {"name": "kumbasari", "place": "Pasar Kumbasari", "river": "Tukad Badung"}
        table = {
            "gateway": {"site": "kumbasari", "data_dir": name},
            "cap": {"sender": "pusdalops@bpbd.example", "area": area, "gauge": [gauge]},
        }
        settings = build(Settings, table, Place(folder / "gateway.toml"))
        assert settings.cap is not None
        ledger = Ledger(folder, replace(Retention(), reserve_mb=0), ("mqtt",))
        ledger.open()
        context = Context(
            settings=settings,
            file=folder / "gateway.toml",
            ledger=ledger,
            clock=WallClock(),
            messages=Messages("kumbasari"),
            service=None,
            faults=lambda: [],
            raise_alarms=lambda _alarms: None,
        )
        start = time.perf_counter()
        warm_up()
        warm_ms = 1000 * (time.perf_counter() - start)
        act = CapAct(context, settings.cap)
        times_ms = asyncio.run(_measure(act, folder / "cap", count))
        ledger.close()
        probe_ms = _fsync_ms(folder, 200)
        sizes = sorted(len(one.xml.encode()) for one in act.messages)
        print(f"{count} alarms, one by one; milliseconds{'median':>12}{'p99':>9}{'max':>9}")
        _row("alarm to signed file and feed", times_ms)
        _row("one fsync of 4 kB", probe_ms)
        ratio = statistics.median(times_ms) / statistics.median(probe_ms)
        print(f"= {ratio:.0f} fsyncs; libraries are loaded once at the start: {warm_ms:.0f} ms")
        middle = sizes[len(sizes) // 2]
        print(f"bytes of a message: {sizes[0]} to {sizes[-1]}, median {middle}")
        print(f"slowest is {10_000 / max(times_ms):.0f} times faster than the goal of 10 s")


if __name__ == "__main__":
    main()
