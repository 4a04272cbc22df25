"""Real receivers' logs: our fixes against gpsd's own decoding of the same bytes.

The logs are in the shared data (TUKAD_SHARED_DATA, else ../shared/data), not in the repository.
"""

import json
import os
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from protocols.gnss.nmea import NmeaParser

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("TUKAD_SHARED_DATA", str(ROOT / "../shared/data")))
LOGS = sorted((DATA / "nmea_gpsd").glob("*.log"))

if not LOGS:
    pytest.skip(
        f"no receiver logs in {DATA}/nmea_gpsd: set TUKAD_SHARED_DATA", allow_module_level=True
    )


def ours(data: bytes, chunk: int = 4096) -> tuple[list[tuple[object, ...]], NmeaParser]:
    """Every epoch: (day_ms, is_valid, lat, lon, sog, time_s)."""
    parser = NmeaParser()
    fixes: list[tuple[object, ...]] = []

    def take() -> None:
        fix = parser.fix
        fixes.append((fix.day_ms, fix.is_valid, fix.lat_e5, fix.lon_e5, fix.sog_dkn, fix.time_s))

    for begin in range(0, len(data), chunk):
        part = data[begin : begin + chunk]
        position = 0
        while position < len(part):
            position = parser.feed(part, position, len(part))
            if parser.has_fix:
                take()
    if parser.line_idle():
        take()
    return fixes, parser


def gpsds(path: Path) -> tuple[dict[int, list[dict[str, object]]], list[dict[str, object]]]:
    """gpsd's reports with a position: by millisecond of the day, and those without a time."""
    reports: dict[int, list[dict[str, object]]] = {}
    untimed: list[dict[str, object]] = []
    for line in path.read_bytes().split(b"\n"):
        if not line.startswith(b'{"class":"TPV"'):
            continue
        report = json.loads(line)
        if "lat" not in report or report["mode"] < 2:
            continue
        if "time" not in report:
            untimed.append(report)
            continue
        when = datetime.fromisoformat(report["time"])
        ms = (when.hour * 3600 + when.minute * 60 + when.second) * 1000
        reports.setdefault(ms + when.microsecond // 1000, []).append(report)
    return reports, untimed


# Valid epochs of ours that gpsd does not report: the last of a log or of a part of it, where gpsd
# still waits for the end of the cycle; in humminbird-M37 epochs of a single GLL or GGA.
ONLY_OURS = {
    "bt451": 2,
    "ch-4701": 1,
    "gps-360": 1,
    "humminbird-M37": 2,
    "neo-m8n": 1,
    "pharos-360": 1,
    "ublox-lea-5h": 1,
    "venus634lp": 1,
}


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.stem)
def test_fixes_are_those_of_gpsd(path: Path) -> None:
    """Every timed fix of gpsd's is ours too, at the same place, speed and (but for weeks) date."""
    fixes, parser = ours(path.read_bytes())
    reports, untimed = gpsds(path.with_name(path.name + ".chk"))
    seen: set[int] = set()
    unexplained = 0
    for day_ms, is_valid, lat, lon, sog, time_s in fixes:
        if not is_valid:
            continue
        assert isinstance(day_ms, int) and isinstance(lat, int) and isinstance(lon, int)
        near = [
            report
            for report in reports.get(day_ms, untimed)
            if abs(float(str(report["lat"])) * 1e5 - lat) <= 1.01
            and abs(float(str(report["lon"])) * 1e5 - lon) <= 1.01
        ]
        if day_ms not in reports:
            # Explained when gpsd has the position, but had no time for it.
            unexplained += not near
            continue
        assert near, (path.name, day_ms, lat, lon, reports[day_ms][0])
        seen.add(day_ms)
        if isinstance(time_s, int):
            # Dates agree but for turns of the week counter, which gpsd resolves by its own age.
            when = date.fromisoformat(str(near[0]["time"])[:10])
            days = (when - date(2020, 1, 1)).days - time_s // 86400
            # Where two recordings are joined in bt451, gpsd takes the earlier hour for a midnight.
            is_joint = path.stem == "bt451" and day_ms == 52386000 and days % 7168 == 1
            assert days % 7168 == 0 or is_joint, (path.name, str(near[0]["time"]), time_s)
        # For humminbird-M37's epochs of one sentence gpsd works the speed out from positions.
        is_said = isinstance(sog, int) and path.stem != "humminbird-M37"
        if is_said and any("speed" in report for report in near):
            speeds = [float(str(r["speed"])) / 0.0514444 for r in near if "speed" in r]
            assert min(abs(speed - int(str(sog))) for speed in speeds) <= 0.6
    assert seen == set(reports), "gpsd has a fix that we have not"
    assert unexplained == ONLY_OURS.get(path.stem, 0)
    assert parser.bad_checksums == 0


def test_chunks_do_not_matter() -> None:
    """Whole, in 7 bytes and byte by byte give the same fixes and counters."""
    for path in LOGS[:12]:
        data = path.read_bytes()
        whole, parser = ours(data)
        for chunk in (1, 7):
            again, other = ours(data, chunk)
            assert again == whole
            assert (other.sentences, other.bad_checksums, other.bad_sentences) == (
                parser.sentences,
                parser.bad_checksums,
                parser.bad_sentences,
            )


def good_sentences(data: bytes) -> int:
    """Sentences with a good checksum, counted the simple way."""
    count = 0
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        body, star, sum_text = line[1:].partition(b"*")
        if line[:1] in (b"$", b"!") and star:
            total = 0
            for byte in body:
                total ^= byte
            count += sum_text[:2].upper() == b"%02X" % total
    return count


@pytest.mark.parametrize("name", ["nais400-merrimac.log", "plaka.log"])
def test_yacht_logs_with_many_talkers(name: str) -> None:
    """Instruments, AIS and GNSS on one wire: every good sentence is counted, fixes are near."""
    path = DATA / "nmea_signalk" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    data = path.read_bytes()[:400000].rpartition(b"\n")[0] + b"\n"
    fixes, parser = ours(data)
    assert parser.sentences == good_sentences(data)
    valid = [fix for fix in fixes if fix[1]]
    for before, after in pairwise(valid):
        assert isinstance(before[2], int) and isinstance(after[2], int)
        assert abs(before[2] - after[2]) < 2000
