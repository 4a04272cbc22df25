"""Golden batches: the format does not change within a version, and other decoders can check.

`python -m tests.gateway.codec.test_golden` writes golden.json anew: only with a new version of
the format.
"""

import json
import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.codec import Batch, Catalogue, Channel, Device, Record, decode, learned
from gateway.codec.batch import encode_batch

GOLDEN = Path(__file__).with_name("golden.json")
SCRIPT = Path(__file__).parents[3] / "docs" / "codec" / "tukad-batch.js"
START_MS = 1_790_000_100_000


def _catalogue() -> Catalogue:
    gauge = (
        Channel("stage_m", "m", 3),
        Channel("flow_ls", "l/s", 0, "value"),
        Channel("rain_um", "mm", 3),
        Channel("snr_db", "dB", 2),
    )
    boat = (
        Channel("lat", "deg", 5),
        Channel("lon", "deg", 5),
        Channel("sog_kn", "kn", 1),
        Channel("cog_deg", "deg"),
    )
    bus = (Channel("cog_deg", "deg", 1), Channel("lat", "deg", 6), Channel("lon", "deg", 6))
    return Catalogue(
        5,
        (
            Device("a", "flood", gauge, 300),
            Device("b", "flood", gauge, 300),
            Device("boat", "track", boat, 30),
            Device("bus", "track", bus, 20),
        ),
        1_790_000_000,
        "golden",
    )


def _gauge(index: int, count: int, chance: random.Random) -> list[Record]:
    rows: list[Record] = []
    time_ms, sequence, level = START_MS + index * 7000, 500, 100
    for i in range(count):
        level += chance.choice((0, 0, 0, 1, -1, 3 if i % 40 > 30 else 0))
        lost = chance.choice((1, 1, 1, 1, 1, 1, 1, 2, 5))
        time_ms += lost * 300_000 + (1000 if chance.random() < 0.1 else 0)
        sequence += lost
        values: tuple[int | None, ...] = (
            round(level * 3.048),
            level * level // 7,
            200 * (chance.random() < 0.1),
            None if chance.random() < 0.1 else 25 * chance.randrange(-20, 40),
        )
        quality = 3 if chance.random() < 0.05 else 1
        rows.append(Record(index, sequence, time_ms, values, quality, "network"))
    return rows


def _track(index: int, count: int, chance: random.Random) -> list[Record]:
    rows: list[Record] = []
    time_ms, lat, lon, course = START_MS + 123, -8_650_000.0, 115_210_000.0, 350.0
    for i in range(count):
        gap = chance.choice((20, 30, 30, 30, 31, 47))
        time_ms += gap * 1000 + (chance.randrange(1000) if index == 3 else 0)
        course = (course + chance.uniform(-8, 12)) % 360
        speed = chance.choice((3.24, 5.4, 5.94))
        lat += math.cos(math.radians(course)) * speed * gap * 1e6 / 216_000
        lon += math.sin(math.radians(course)) * speed * gap * 1e6 / 216_000
        if index == 2:
            values: tuple[int | None, ...] = (
                round(lat / 10), round(lon / 10), round(speed * 10), round(course) % 360,
            )  # fmt: skip
        else:
            values = (round(course * 10) % 3600, round(lat), None if i == 5 else round(lon))
        rows.append(Record(index, i if index == 2 else None, time_ms, values))
    return rows


def _cases() -> list[tuple[Catalogue, list[tuple[list[Record], int | None, int]]]]:
    """Catalogues, each with batches: records, index of the reference, profile."""
    chance = random.Random(20261124)
    bare = _catalogue()
    rows = [
        *_gauge(0, 90, chance),
        *_gauge(1, 40, chance),
        *_track(2, 120, chance),
        *_track(3, 40, chance),
    ]
    knows = learned(bare, rows, version=6)
    per = [[row for row in rows if row.device == index] for index in range(4)]
    # JavaScript's numbers limit how odd it may be.
    odd = Record(0, 2**45, 2**44, (7, -(2**40), None, 33), 9, "unknown")
    # More pairs of stage and flow than a column remembers, and then some of them again.
    steep = [
        Record(1, i, START_MS + i * 300_000, (i * 37 % 400, i * 37 % 400 * 3, 0, None))
        for i in range(700)
    ]
    batches: list[tuple[list[Record], int | None, int]] = [
        (rows, None, 1),
        (per[0][:1], None, 1),
        (per[2][:60] + per[0][:30], None, 1),
        (per[2][60:] + per[0][30:60] + per[3][:10], 2, 1),
        (per[0][60:] + per[3][10:], 3, 1),
        ([*per[0][:20], odd], 4, 1),
        (steep, None, 1),
        (rows, None, 0),
        ([odd], None, 0),
        (per[3], None, 0),
    ]
    return [(bare, batches), (knows, batches)]


def _record_json(record: Record) -> list[Any]:
    return [
        record.device,
        record.sequence,
        record.time_ms,
        list(record.values),
        record.quality,
        record.time_source,
    ]


def _record_of(row: list[Any]) -> Record:
    device, sequence, time_ms, values, quality, source = row
    return Record(device, sequence, time_ms, tuple(values), quality, source)


def _encoded() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for catalogue, batches in _cases():
        made: list[Batch] = []
        for number, (records, origin, profile) in enumerate(batches):
            reference = None if origin is None else made[origin]
            made.append(
                encode_batch(
                    catalogue, records, batch_number=number, reference=reference, profile=profile
                )
            )
        out.append(
            {
                "catalogue": catalogue.to_json().decode(),
                "batches": [
                    {
                        "hex": batch.data.hex(),
                        "number": batch.number,
                        "reference": origin,
                        "records": [_record_json(record) for record in batch.records],
                    }
                    for batch, (_, origin, _) in zip(made, batches, strict=True)
                ],
            }
        )
    return out


def test_the_encoder_still_makes_the_golden_batches() -> None:
    for case in json.loads(GOLDEN.read_text()):
        catalogue = Catalogue.from_json(case["catalogue"].encode())
        made: list[Batch] = []
        for batch in case["batches"]:
            origin = batch["reference"]
            made.append(
                encode_batch(
                    catalogue,
                    [_record_of(row) for row in batch["records"]],
                    batch_number=batch["number"],
                    reference=None if origin is None else made[origin],
                    profile=0 if batch["hex"].startswith("f0") else 1,
                )
            )
            assert made[-1].data.hex() == batch["hex"]


def test_the_decoder_reads_the_golden_batches() -> None:
    for case in json.loads(GOLDEN.read_text()):
        catalogue = Catalogue.from_json(case["catalogue"].encode())
        got: list[Batch] = []
        for batch in case["batches"]:
            got.append(decode(bytes.fromhex(batch["hex"]), (catalogue,), got))
            assert got[-1].number == batch["number"]
            assert [_record_json(record) for record in got[-1].records] == batch["records"]


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on PATH")
def test_the_javascript_decoder_reads_the_golden_batches() -> None:
    """docs/codec/tukad-batch.js was written from docs/batch-format.md, not from our code."""
    done = subprocess.run(
        ["node", str(SCRIPT), "--check", str(GOLDEN)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "20 batches as expected\n"


if __name__ == "__main__":
    text = json.dumps(_encoded(), separators=(",", ":"))
    GOLDEN.write_text(text.replace('{"hex"', '\n{"hex"') + "\n")
