"""Bytes per reading of the batch codec on real series, beside what others send, and its speed.

A reading is one row: all channels of a device at one time, with time and quality. A batch is
so many consecutive rows of a data set, its devices mixed as they came. What the catalogue knows
was learned from the first rows of each device. Series are read from the folder in
TUKAD_SHARED_DATA (else ../shared/data): one folder each with data.csv and meta.json.
"""

import itertools
import json
import math
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import cbor2
import zstandard

from gateway.codec import Batch, Catalogue, Channel, Device, Record, decode, encode_batch, learned

FOLDER = Path(os.environ.get("TUKAD_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
SIZES = (1, 10, 100, 1000)
BATCHES = {1: 300, 10: 200, 100: 50, 1000: 10}  # at most, spread over the series
GATES = {"flood": (11.5, 2.7, 1.0, 0.72, 1.1), "track": (15.2, 5.1, 3.0, 2.55, None)}
QUALITY = {"0": 1, "1": 3, "9": 9}  # of the files, as QARTOD flags


@dataclass(frozen=True)
class Series:
    """One data set, ready to be coded."""

    name: str
    kind: str  # flood or track
    catalogue: Catalogue
    records: list[Record]


def names() -> list[str]:
    """The data sets of the folder that are series."""
    found = sorted(path.parent.name for path in FOLDER.glob("*/data.csv"))
    return [name for name in found if (FOLDER / name / "meta.json").exists()]


def read(name: str, *, whole_seconds: bool = True) -> Series:
    """A data set with a catalogue learned from its first rows."""
    meta = json.loads((FOLDER / name / "meta.json").read_text())
    channels = [Channel(c["name"], c["unit"], c["dec"]) for c in meta["channels"]]
    rows: list[tuple[int, str, list[int | None], int]] = []
    with (FOLDER / name / "data.csv").open() as file:
        head = next(file).rstrip("\n").split(",")
        columns = [head.index(channel.name) for channel in channels]
        for line in file:
            cells = line.rstrip("\n").split(",")
            time_ms = int(cells[0])
            if whole_seconds:
                time_ms -= time_ms % 1000
            values = [
                None if cells[i] == "" else int(Decimal(cells[i]).scaleb(channel.decimals))
                for i, channel in zip(columns, channels, strict=True)
            ]
            rows.append((time_ms, cells[1], values, QUALITY.get(cells[-1], 2)))
    # A device has the channels that it ever reports.
    has: dict[str, list[bool]] = {}
    for _, device, values, _ in rows:
        seen = has.setdefault(device, [False] * len(channels))
        for i, value in enumerate(values):
            seen[i] = seen[i] or value is not None
    index = {device: i for i, device in enumerate(sorted(has))}
    devices = tuple(
        Device(d, "", tuple(c for c, s in zip(channels, has[d], strict=True) if s)) for d in index
    )
    records = [
        Record(
            index[device],
            None,
            time_ms,
            tuple(v for v, s in zip(values, has[device], strict=True) if s),
            quality,
        )
        for time_ms, device, values, quality in rows
    ]
    catalogue = learned(Catalogue(1, devices), records, version=2)
    return Series(name, meta["kind"], catalogue, records)


def everything() -> Iterator[Series]:
    """All series by whole seconds; those stamped in milliseconds also as they are (`@ms`)."""
    for name in names():
        series = read(name)
        yield series
        if _has_ms(name):
            yield replace(read(name, whole_seconds=False), name=name + "@ms")


def _has_ms(name: str) -> bool:
    with (FOLDER / name / "data.csv").open() as file:
        next(file)
        return any(line[: line.index(",")][-3:] != "000" for line in file)


def numbered(series: Series) -> Series:
    """The same with a sequence number per device that counts its rows."""
    count = [0] * len(series.catalogue.devices)
    records: list[Record] = []
    for record in series.records:
        records.append(replace(record, sequence=count[record.device]))
        count[record.device] += 1
    catalogue = learned(series.catalogue, records, version=2)
    return Series(series.name + "+seq", series.kind, catalogue, records)


def unlearned(series: Series) -> Series:
    """The same with a catalogue that knows names, units and intervals, and nothing else."""
    devices = tuple(
        Device(
            d.id,
            d.stream,
            tuple(Channel(c.name, c.unit, c.decimals, c.kind) for c in d.channels),
            d.interval_s,
        )
        for d in series.catalogue.devices
    )
    return Series(series.name + "+bare", series.kind, Catalogue(1, devices), series.records)


def batches(records: Sequence[Record], size: int, most: int) -> list[Sequence[Record]]:
    """Up to `most` batches of `size` consecutive rows, spread over the series."""
    count = len(records) // size
    if count == 0:
        return [records]
    step = max(1, count // most)
    return [records[i * size : (i + 1) * size] for i in range(0, count, step)][:most]


def per_reading(
    series: Series, size: int, coded: Callable[[Series, Sequence[Record]], int], most: int = 0
) -> float:
    """Bytes per reading in batches of `size`."""
    some = batches(series.records, size, most or BATCHES[size])
    return sum(coded(series, batch) for batch in some) / sum(len(batch) for batch in some)


def ours(series: Series, records: Sequence[Record]) -> int:
    """Bytes of a self-contained batch; fails unless it comes back as it was."""
    batch = encode_batch(series.catalogue, records, batch_number=1)
    assert decode(batch.data, (series.catalogue,)).records == batch.records
    return len(batch.data)


def acknowledged(series: Series, size: int = 10, most: int = 230, first: int = 30) -> float:
    """Bytes per reading where each batch builds on the one before it, after `first` of them."""
    reference: Batch | None = None
    total = rows = 0
    count = len(series.records) // size
    start = count // 3
    for i in range(start, min(count, start + most)):
        records = series.records[i * size : (i + 1) * size]
        batch = encode_batch(series.catalogue, records, batch_number=i, reference=reference)
        if reference is not None:
            back = decode(batch.data, (series.catalogue,), (reference,))
            assert back.records == batch.records
        reference = batch
        if i >= start + first:
            total += len(batch.data)
            rows += size
    return total / rows if rows else math.nan


# --- What others send ---------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(data)


def _number(value: int, channel: Channel) -> float | int:
    return value if not channel.decimals else float(Decimal(value).scaleb(-channel.decimals))


def _cells(series: Series, record: Record) -> Iterator[tuple[Channel, float | int]]:
    channels = series.catalogue.devices[record.device].channels
    for channel, value in zip(channels, record.values, strict=True):
        if value is not None:
            yield channel, _number(value, channel)


def json_rows(series: Series, records: Sequence[Record]) -> bytes:
    """The JSON of ThingsBoard's gateway API, the shape most agents send."""
    body: dict[str, list[object]] = {}
    for record in records:
        values: dict[str, object] = {c.name: v for c, v in _cells(series, record)}
        if record.quality != 1:
            values["q"] = record.quality
        row = {"ts": record.time_ms, "values": values}
        body.setdefault(series.catalogue.devices[record.device].id, []).append(row)
    return json.dumps(body, separators=(",", ":")).encode()


def senml_cbor(series: Series, records: Sequence[Record]) -> bytes:
    """RFC 8428 in CBOR: base name and base time per row."""
    pack: list[dict[int, object]] = []
    for record in records:
        base: dict[int, object] = {
            -2: series.catalogue.devices[record.device].id + "/",
            -3: record.time_ms / 1000 if record.time_ms % 1000 else record.time_ms // 1000,
        }
        for channel, value in _cells(series, record):
            pack.append({**base, 0: channel.name, 1: channel.unit, 2: value})
            base = {}
    return cbor2.dumps(pack)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def sparkplug_like(series: Series, records: Sequence[Record]) -> bytes:
    """A Sparkplug B DDATA per device: aliases, a time and a double for every metric."""
    out = bytearray()
    for record in records:
        stamp = _varint(record.time_ms)
        for alias, (_, value) in enumerate(_cells(series, record)):
            metric = b"\x10" + _varint(record.device * 16 + alias) + b"\x18" + stamp + b"\x20\x0a"
            metric += b"\x69" + struct.pack("<d", value)
            out += b"\x12" + _varint(len(metric)) + metric
    return bytes(b"\x08" + _varint(records[-1].time_ms) + bytes(out) + b"\x18\x01")


def gorilla(series: Series, records: Sequence[Record]) -> int:
    """Bytes of Gorilla (VLDB 2015): delta of delta stamps, XOR of doubles, per column."""
    groups: dict[int, list[Record]] = {}
    for record in records:
        groups.setdefault(record.device, []).append(record)
    bits = 0
    for device, rows in groups.items():
        bits += 8 + 16 + 64
        bits += _gorilla_times([row.time_ms // 1000 for row in rows])
        for i, channel in enumerate(series.catalogue.devices[device].channels):
            column = [row.values[i] for row in rows]
            bits += sum(a != b for a, b in itertools.pairwise(column) if None in (a, b))
            bits += _gorilla_values([_number(v, channel) for v in column if v is not None])
    return (bits + 7) // 8


def _gorilla_times(times: Sequence[int]) -> int:
    bits = 14 if len(times) > 1 else 0
    deltas = [b - a for a, b in itertools.pairwise(times)]
    for before, delta in itertools.pairwise(deltas):
        d = delta - before
        bits += 1 if d == 0 else 9 if -63 <= d <= 64 else 12 if -255 <= d <= 256 else 16
        bits += 20 if not -2047 <= d <= 2048 else 0
    return bits


def _gorilla_values(values: Sequence[float]) -> int:
    words = [struct.unpack(">Q", struct.pack(">d", value))[0] for value in values]
    bits = 64 if words else 0
    lead = trail = -1
    for before, word in itertools.pairwise(words):
        x = before ^ word
        if x == 0:
            bits += 1
            continue
        leading = min(64 - x.bit_length(), 31)
        trailing = (x & -x).bit_length() - 1
        if lead >= 0 and leading >= lead and trailing >= trail:
            bits += 2 + 64 - lead - trail
        else:
            lead, trail = leading, trailing
            bits += 2 + 5 + 6 + 64 - lead - trail
    return bits


PEERS: dict[str, Callable[[Series, Sequence[Record]], int]] = {
    "JSON": lambda s, r: len(json_rows(s, r)),
    "JSON + zstd 19": lambda s, r: len(zstd(json_rows(s, r))),
    "SenML-CBOR": lambda s, r: len(senml_cbor(s, r)),
    "SenML-CBOR + zstd 19": lambda s, r: len(zstd(senml_cbor(s, r))),
    "Sparkplug B (like)": lambda s, r: len(sparkplug_like(s, r)),
    "Gorilla": gorilla,
}


# --- The tables ---------------------------------------------------------------------------------


def mean(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def speed(series: Series, size: int) -> tuple[float, float]:
    """Microseconds per reading to encode and to decode, the better of two runs."""
    some = batches(series.records, size, max(2, 2000 // size))
    rows = sum(len(batch) for batch in some)
    best = [math.inf, math.inf]
    for _ in range(2):
        start = time.process_time()
        done = [encode_batch(series.catalogue, batch, batch_number=1).data for batch in some]
        middle = time.process_time()
        for data in done:
            decode(data, (series.catalogue,))
        best[0] = min(best[0], (middle - start) / rows * 1e6)
        best[1] = min(best[1], (time.process_time() - middle) / rows * 1e6)
    return best[0], best[1]


def figures(series: Series) -> list[float]:
    """Bytes per reading: self-contained by size, then at 10 on an acknowledged batch."""
    return [per_reading(series, size, ours) for size in SIZES] + [acknowledged(series)]


def main() -> None:
    """Print bytes per reading, the gates, the peers and the speed."""
    if not names():
        print(f"no series in {FOLDER}: set TUKAD_SHARED_DATA")
        return
    print(
        "(the trained prior has seen the series of ../shared/data; figures for series that it has"
    )
    print(" not seen: python -m tests.bench.codec_train --check)")
    print(f"bytes per reading{'':18}" + "".join(f"{size:>9}" for size in SIZES) + "   10 ack")
    kept: list[Series] = []
    rows: dict[str, list[float]] = {}
    for series in everything():
        rows[series.name] = figures(series)
        _line(series.name, rows[series.name])
        kept.append(series)
    for kind, gate in GATES.items():
        some = [series for series in kept if series.kind == kind]
        if not some:
            continue
        seconds = [rows[series.name] for series in some if "@" not in series.name]
        _line(f"geometric mean, {kind}", [mean(column) for column in zip(*seconds, strict=True)])
        _line("gate (on other series)", gate)
        exact = {series.name.split("@")[0]: rows[series.name] for series in some}  # @ms comes last
        if any("@" in series.name for series in some):
            means = [mean(column) for column in zip(*exact.values(), strict=True)]
            _line("mean with stamps in ms", means)
        with_numbers = [figures(numbered(s)) for s in some if "@" not in s.name]
        means = [mean(column) for column in zip(*with_numbers, strict=True)]
        _line("mean with sequence numbers", means)
    peers(kept)
    print("CPU us per reading, encode / decode " + "".join(f"{size:>16}" for size in SIZES))
    for series in kept:
        pairs = [speed(series, size) for size in SIZES]
        cells = (f"{encoding:8.1f} /{decoding:6.1f}" for encoding, decoding in pairs)
        print(f"  {series.name:34}" + "".join(cells), flush=True)


def _line(name: str, row: Sequence[float | None]) -> None:
    cells = (f"{value:9.3f}" if value else f"{'-':>9}" for value in row)
    print(f"  {name:32} " + "".join(cells), flush=True)


def peers(kept: Sequence[Series]) -> None:
    """What others need, and how many times ours that is."""
    for kind in GATES:
        some = [series for series in kept if series.kind == kind and "@" not in series.name]
        if not some:
            continue
        print(f"{kind}: bytes per reading, geometric mean, and times ours")
        few = {1: 60, 10: 40, 100: 15, 1000: 4}
        base = [mean([per_reading(s, n, ours, few[n]) for s in some]) for n in SIZES]
        print(f"  {'this codec':24}" + "".join(f"{value:9.2f}{'':8}" for value in base))
        for name, coded in PEERS.items():
            row = [mean([per_reading(s, n, coded, few[n]) for s in some]) for n in SIZES]
            cells = (f"{v:9.2f} ({v / b:4.1f}x)" for v, b in zip(row, base, strict=True))
            print(f"  {name:24}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
