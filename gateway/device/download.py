"""Fetch what a device remembers: `download` writes readings and reasons into a folder."""

import csv
from collections.abc import Callable
from pathlib import Path

from gateway.device.flash import active_slot
from gateway.device.link import DeviceError, Link

_ROWS = 100
_COLUMNS = ("sequence", "time_s", "is_uptime", "boot", "a", "b", "c", "flags")
_FILES = ("crash.txt", "crash.events", "update.txt")
_READ = """
def _rows(first, end):
    for n in range(first, end):
        r = _log.read(n)
        _f()
        if r:
            print(r.sequence, r.time_s, r.flags & 1, r.boot, r.a, r.b, r.c, r.flags)
"""


def download(link: Link, folder: Path, say: Callable[[str], None] = lambda _: None) -> int:
    """Write `log.csv`, and crash.txt, crash.events, update.txt if any; how many readings.

    `time_s` counts from 2020-01-01 UTC, or from the start of boot `boot` when `is_uptime` is 1;
    a is the level in mm (-32768: none), b the rain in tips, c the spread of the burst.
    """
    link.use_application(active_slot(link))
    try:
        link.run(
            "from firmware.store.files import Files\nfrom firmware.store.readings import ReadingLog"
        )
    except DeviceError as error:
        raise DeviceError(f"no application on the board ({error})") from None
    link.run(f"_log = ReadingLog(Files({link.root!r}))\n" + _READ, 60)
    first, end = link.ask("(_log.first_sequence, _log.next_sequence)", 60)
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for at in range(first, end, _ROWS):
            lines = link.run(f"_rows({at}, {min(at + _ROWS, end)})", 60).split("\n")
            rows = [line.split() for line in lines if line.strip()]
            writer.writerows(rows)
            count += len(rows)
            say(f"{count} / {end - first}")
    for name in _FILES:
        content = link.get(name)
        if content is not None:
            (folder / name).write_bytes(content)
    return count
