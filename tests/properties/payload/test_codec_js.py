"""The generated TS013 codec says what the Python decoder says, frame by frame, in node."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.errors import ProtocolError, RemoteError
from protocols.payload import backfill, command, event, ports, schema, status
from protocols.payload.flood import FloodEncoder, FloodRing, decode_flood
from protocols.payload.track import TrackEncoder, TrackRing, decode_track

ROOT = Path(__file__).parents[3]
CODEC = ROOT / "docs/codec/tukad-ts013.js"
BASE = 898 * 64 * 3600
HARNESS = """
const fs = require("fs");
const lines = fs.readFileSync(0, "utf8").split("\\n").filter((line) => line);
const out = lines.map((line) => {
  const input = JSON.parse(line);
  if (input.down) { return JSON.stringify(decodeDownlink(input)); }
  if (input.data) { return JSON.stringify(encodeDownlink(input)); }
  return JSON.stringify(decodeUplink(input));
});
fs.writeSync(1, out.join("\\n"));
"""

node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")


def run_node(inputs: list[dict[str, object]], tmp_path: Path) -> list[dict[str, object]]:
    script = tmp_path / "run.js"
    script.write_text(CODEC.read_text() + HARNESS)
    text = "\n".join(json.dumps(one) for one in inputs)
    found = tmp_path / "in.json"
    found.write_text(text)
    with found.open() as stdin:
        done = subprocess.run(
            ["node", str(script)], stdin=stdin, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.split("\n")]


def flood_frame(rng: random.Random) -> tuple[bytes, int]:
    ring = FloodRing(rng.choice((8, 64, 300)))
    time_s = BASE + rng.randrange(10000) * 10
    level, tips = rng.randrange(-1500, 16000), rng.randrange(5000)
    interval = rng.choice(schema.INTERVALS_S)
    time_s -= time_s % interval
    noise = rng.choice((0, 1, 3, 30, 500))
    step = rng.choice((1, 1, 3, 10))
    first = rng.randrange(100000)
    for i in range(rng.choice((1, 2, 5, 40, 250))):
        level += step * rng.randrange(-noise, noise + 1)
        tips += rng.random() < 0.1
        missing = rng.random() < 0.03
        ring.push(first + i, time_s, None if missing else level, tips)
        if rng.random() < 0.02:
            interval = rng.choice((*schema.INTERVALS_S, 70))
        time_s += interval
    encoder = FloodEncoder(ring)
    encoder.stage = rng.randrange(4)
    encoder.has_fault = rng.random() < 0.5
    encoder.is_clock_set = rng.random() < 0.9
    encoder.battery_mv = rng.randrange(2000, 5000)
    encoder.downlink_snr_db = rng.randrange(-40, 20)
    encoder.extra_every = 2
    limit = rng.choice((11, 19, 51, 115, 242))
    buf = bytearray(limit)
    for _ in range(rng.randrange(1, 5)):
        length = encoder.encode_into(buf, limit)
    return bytes(buf[:length]), time_s - interval + rng.randrange(30)


def track_frame(rng: random.Random) -> tuple[bytes, int]:
    ring = TrackRing(64)
    interval = rng.choice(schema.TRACK_INTERVALS_S)
    time_s = BASE + rng.randrange(1000) * interval * 64
    lat, lon = rng.randrange(-8000000, 8000000), rng.randrange(-18000000, 18000000)
    for i in range(rng.choice((1, 3, 60))):
        lat += rng.randrange(-90, 90)
        lon += rng.randrange(-90, 90)
        lon = (lon + 18000000) % 36000000 - 18000000
        sog = rng.choice((None, rng.randrange(500)))
        ring.push(i, time_s, lat, lon, sog, rng.randrange(360))
        time_s += interval
    encoder = TrackEncoder(ring)
    encoder.state = rng.randrange(8)
    encoder.is_drill = rng.random() < 0.2
    encoder.history_shift = rng.choice((2, 4))
    limit = rng.choice((11, 19, 51, 115))
    buf = bytearray(limit)
    for _ in range(rng.randrange(1, 3)):
        length = encoder.encode_into(buf, limit)
    return bytes(buf[:length]), time_s - interval + 3


def backfill_frame(rng: random.Random) -> tuple[bytes, int]:
    buf = bytearray(51)
    if rng.random() < 0.2:
        length = backfill.encode_missing_into(buf, rng.randrange(1 << 30), 1 + rng.randrange(9999))
        return bytes(buf[:length]), BASE
    limit = rng.choice((11, 19, 51))
    if rng.random() < 0.5:
        ring = FloodRing(64)
        for i in range(rng.randrange(1, 60)):
            ring.push(i, BASE + 60 * i, 500 + rng.randrange(5), i // 9)
        length = backfill.FloodBackfill(ring).encode_into(buf, limit)
    else:
        tracks = TrackRing(64)
        for i in range(rng.randrange(1, 60)):
            tracks.push(i, BASE + 30 * i, 100 * i, 5 * i, None, None)
        length = backfill.TrackBackfill(tracks).encode_into(buf, limit)
    return bytes(buf[:length]), BASE + 9999


def event_frame(rng: random.Random) -> tuple[bytes, int]:
    kind = rng.randrange(1, len(schema.EVENTS))
    values: dict[str, int | None] = {}
    for name, bits, low, step, rule in schema.EVENTS[kind][1]:
        values[name] = low + step * rng.randrange((1 << bits) - 1)
        if rule == schema.OPTIONAL and rng.random() < 0.2:
            values[name] = None
    buf = bytearray(11)
    time_s = BASE if rng.random() < 0.9 else None
    length = event.encode_event_into(buf, kind, rng.randrange(999), time_s, values)
    return bytes(buf[:length]), BASE + rng.randrange(8000)


def status_frame(rng: random.Random) -> tuple[bytes, int]:
    values = status.Status()
    for layout in schema.STATUS_PAGES:
        for name, bits, low, step, rule in layout:
            value = low + step * rng.randrange((1 << bits) - 1)
            setattr(values, name, None if rule == schema.OPTIONAL and rng.random() < 0.1 else value)
    buf = bytearray(51)
    length = status.StatusEncoder(values).encode_into(buf, rng.choice((11, 19, 51)))
    return bytes(buf[:length]), BASE


def answer_frame(rng: random.Random) -> tuple[bytes, int]:
    buf = bytearray(6)
    command.encode_answer_into(buf, rng.randrange(65536), rng.randrange(1, 15), 0, 7)
    return bytes(buf), BASE


MAKERS = {
    ports.PORT_FLOOD: flood_frame,
    ports.PORT_TRACK: track_frame,
    ports.PORT_STATUS: status_frame,
    ports.PORT_EVENT: event_frame,
    ports.PORT_BACKFILL: backfill_frame,
    ports.PORT_ANSWER: answer_frame,
}


def python_says(port: int, data: bytes, received_s: int) -> dict[str, object]:
    """The Python decoder's result in the shape that the JavaScript has."""
    if port == ports.PORT_FLOOD:
        frame = decode_flood(data, received_s)
        return {
            "stage": frame.stage,
            "has_fault": frame.has_fault,
            "is_clock_set": frame.is_clock_set,
            "interval_s": frame.interval_s,
            "extras": frame.extras,
            "readings": [
                [s.sequence % 256, s.time_s, s.level_mm, s.rain_tips] for s in frame.samples
            ],
        }
    if port == ports.PORT_TRACK:
        is_absolute = data[0] >> 2 & 1
        track = decode_track(data, received_s, 0, 0)
        fixes = track.fixes if is_absolute else track.fixes[:1]
        return {
            "state": track.state,
            "is_drill": track.is_drill,
            "readings": [
                [f.sequence % 128, f.time_s, f.sog_dkn, f.cog_deg, f.resolution_e5]
                + ([f.lat_e5, f.lon_e5] if is_absolute else [])
                for f in fixes
            ],
        }
    if port == ports.PORT_STATUS:
        return dict(status.decode_status(data))
    if port == ports.PORT_EVENT:
        return dict(event.decode_event(data, received_s))
    if port == ports.PORT_ANSWER:
        return dict(command.decode_answer(data))
    answer = backfill.decode_backfill(data, received_s, 65535, 0, 0)
    if answer.kind == "missing":
        return {"sequence": answer.first_sequence, "count": answer.count}
    if answer.kind == "flood":
        return {
            "readings": [
                [s.sequence, s.time_s, s.level_mm, s.rain_tips] for s in answer.samples[::-1]
            ]
        }
    return {"readings": [[f.sequence, f.time_s] for f in answer.fixes[::-1]]}


def same_shape(port: int, got: dict[str, object], want: dict[str, object]) -> dict[str, object]:
    """Of the JavaScript's result, what `python_says` has, in its shape."""
    picked = {name: got[name] for name in want}
    if "readings" in want:
        names = ["sequence_low", "time_s"]
        if port == ports.PORT_FLOOD or got.get("kind") == "flood":
            names += ["level_mm", "rain_tips"]
        elif port == ports.PORT_TRACK:
            names += ["sog_dkn", "cog_deg", "resolution_e5"]
            if got["is_absolute"]:
                names += ["lat_e5", "lon_e5"]
        readings = got["readings"]
        assert isinstance(readings, list)
        modulus = {1: 256, 2: 128}.get(port, 65536)
        picked["readings"] = [
            [r[n] % modulus if n == "sequence_low" else r[n] for n in names] for r in readings
        ]
        if got.get("kind") == "track":
            wanted = want["readings"]
            assert isinstance(wanted, list)
            picked["readings"] = picked["readings"][: len(wanted)]  # type: ignore[index]
            if len(readings) == 1:
                want["readings"] = wanted[:1]
    return picked


@node
def test_thousands_of_frames_read_alike(tmp_path: Path) -> None:
    rng = random.Random(20261124)
    frames: list[tuple[int, bytes, int]] = []
    for _ in range(500):
        for port, make in MAKERS.items():
            data, received_s = make(rng)
            frames.append((port, data, received_s))
            # And a changed one, which both refuse or read alike.
            at = rng.randrange(len(data) * 8)
            bad = bytearray(data)
            bad[at // 8] ^= 128 >> at % 8
            frames.append((port, bytes(bad[: rng.randrange(1, len(bad) + 1)]), received_s))
    inputs: list[dict[str, object]] = [
        {
            "fPort": port,
            "bytes": list(data),
            "recvTime": (received_s + ports.EPOCH_UNIX_S) * 1000,
        }
        for port, data, received_s in frames
    ]
    refused = 0
    for (port, data, received_s), result in zip(frames, run_node(inputs, tmp_path), strict=True):
        try:
            want = python_says(port, data, received_s)
        except RemoteError as error:
            refused += 1
            is_older = "before the beginning" in error.detail
            is_skipped = port in (ports.PORT_TRACK, ports.PORT_BACKFILL) and "errors" not in result
            assert is_older or is_skipped or "errors" in result, (port, data.hex(), str(error))
            if "errors" in result and not is_older:
                errors = result["errors"]
                assert isinstance(errors, list) and errors[0].split(":")[0] == error.code
            continue
        got = result.get("data")
        assert isinstance(got, dict), (port, data.hex(), result)
        assert same_shape(port, got, want) == want, (port, data.hex())
    assert 500 < refused < 4000


@node
def test_commands_both_ways(tmp_path: Path) -> None:
    rng = random.Random(7)
    inputs: list[dict[str, object]] = []
    wanted: list[tuple[str, bytes, dict[str, int]]] = []
    while len(wanted) < 300:
        kind = rng.randrange(1, len(schema.COMMANDS))
        name, layout = schema.COMMANDS[kind]
        values = {
            field: low + step * rng.randrange(1 << bits) for field, bits, low, step, _ in layout
        }
        try:
            data = command.encode_command(kind, len(wanted), values)
        except ProtocolError:
            continue
        wanted.append((name, data, values))
        inputs.append({"down": True, "fPort": 10, "bytes": list(data)})
        inputs.append({"data": {"command": name, "number": len(wanted) - 1, "values": values}})
    results = run_node(inputs, tmp_path)
    for i, (name, data, values) in enumerate(wanted):
        decoded = results[2 * i]["data"]
        assert isinstance(decoded, dict)
        assert decoded["command"] == name and decoded["number"] == i
        assert decoded["values"] == values
        assert results[2 * i + 1] == {"fPort": 10, "bytes": list(data)}


@node
def test_without_a_reception_time_ages_remain(tmp_path: Path) -> None:
    ring = FloodRing(8)
    for i in range(3):
        ring.push(i, BASE + 60 * i, 500, 0)
    buf = bytearray(11)
    length = FloodEncoder(ring).encode_into(buf, 11)
    inputs: list[dict[str, object]] = [{"fPort": 1, "bytes": list(buf[:length])}]
    data = run_node(inputs, tmp_path)[0]["data"]
    assert isinstance(data, dict)
    assert [r["age_s"] for r in data["readings"]] == [0, 60, 120]
    assert "time_s" not in data["readings"][0]


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/codec/generate.py"), "--check"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
