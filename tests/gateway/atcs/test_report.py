"""Log, SPaT, charts and the command line."""

import csv
import json
import struct
import xml.etree.ElementTree as ET
import zlib
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner

from firmware.cabinet.card import Card
from gateway.atcs.canvas import Canvas
from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.events import BEGIN_GREEN, BEGIN_YELLOW, Event
from gateway.atcs.report import TEXT, csv_rows, spat
from gateway.cli.atcs import atcs
from tests.gateway.atcs.rig import ROOT, sample

KUMBASARI = str(ROOT / "deploy/atcs/kumbasari.toml")


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(atcs, list(arguments))
    return result.exit_code, result.output


def test_log_lines_have_local_tenths_device_code_and_parameter() -> None:
    events = [Event(1500, BEGIN_GREEN, 2), Event(86_400_000, BEGIN_YELLOW, 2)]
    rows = list(csv_rows(events, 7, datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)))
    assert rows == ["2026-11-25 00:00:00.5,7,1,2", "2026-11-25 23:59:59.0,7,8,2"]


def test_spat_names_states_and_counts_down_only_what_is_certain() -> None:
    controller = Controller(sample("kumbasari"), 0)
    seen: set[str] = set()
    for k in range(1, 900):
        output = controller.step(100 * k, Inputs(detectors=63))
        message = json.loads(spat(controller, output))
        assert message["mode_id"] == TEXT[output.mode][0]
        for state in message["states"]:
            seen.add(state["eventState"])
            if "countdown_s" in state:
                assert state["minEndTime"] == state["maxEndTime"]
                assert 0 <= state["countdown_s"] <= 10
    assert seen == {
        "protected-Movement-Allowed", "protected-clearance", "stop-And-Remain",
        "caution-Conflicting-Traffic", "pedestrian-Clearance",
    }  # fmt: skip


def test_check_says_safe_or_unsafe_in_both_languages(tmp_path: Path) -> None:
    code, text = call("check", KUMBASARI)
    assert code == 0 and "safe to run (aman dijalankan)" in text
    bad = tmp_path / "bad.toml"
    bad.write_text(
        Path(KUMBASARI).read_text().replace("clearance_s = [1.2, 2.2]", "clearance_s = 0")
    )
    code, text = call("check", str(bad))
    assert code == 1 and "TIDAK AMAN" in text and "0 s from W to N is shorter than 1.2 s" in text
    assert call("sim", str(bad))[0] == 78
    assert call("check", str(tmp_path / "none.toml"))[0] == 78


def test_the_card_that_is_written_is_the_card_that_the_monitor_reads(tmp_path: Path) -> None:
    target = tmp_path / "card.bin"
    code, text = call("card", KUMBASARI, str(target))
    assert code == 0 and "channel 4 PW: conflicts W, E, LW" in text
    card = Card(target.read_bytes())
    assert card.channels == 6 and card.conflicts[0] == 0b011100


def test_sim_writes_a_log_and_plot_draws_both_charts(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    code, text = call("sim", KUMBASARI, "--seconds", "300", "--log", str(log))
    assert code == 0 and "hijau" in text
    with log.open() as file:
        rows = list(csv.DictReader(file))
    assert {"1", "8", "82"} <= {row["EventId"] for row in rows}
    detectors = tmp_path / "detectors.csv"
    assert call("sim", KUMBASARI, "--seconds", "9", "--detectors", str(detectors))[0] == 0
    assert "1,1,2,Advance" in detectors.read_text().splitlines()
    for kind in ("lamps", "splits"):
        target = tmp_path / f"{kind}.svg"
        assert call("plot", KUMBASARI, str(target), "--seconds", "200", "--kind", kind)[0] == 0
        root = ET.parse(target).getroot()
        assert len(root.findall(".//{http://www.w3.org/2000/svg}rect")) > 6


def decode(data: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of an unfiltered true-colour PNG, by its specification."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colour) == (8, 2) and list(chunks)[-1] == b"IEND"
    raw = zlib.decompress(chunks[b"IDAT"])
    step = 1 + 3 * width
    assert len(raw) == step * height and all(raw[y * step] == 0 for y in range(height))
    return width, height, [raw[y * step + 1 : (y + 1) * step] for y in range(height)]


def test_a_png_shows_the_same_shapes_as_the_svg(tmp_path: Path) -> None:
    target = tmp_path / "splits.png"
    assert call("plot", KUMBASARI, str(target), "--seconds", "300", "--kind", "splits")[0] == 0
    _, height, rows = decode(target.read_bytes())
    green = b"\x2e\x9e\x4f"
    assert sum(row.count(green) for row in rows) > 5000 and height > 400
    canvas = Canvas(60, 20)
    canvas.rect(40, 5, 10, 10, "#f00")
    canvas.line(0, 19, 59, 19, "#00f")
    canvas.text(2, 12, "T-1", 11)
    width, height, rows = decode(canvas.png())
    assert (width, height) == (60, 20)
    shown = ["".join("#" if row[3 * x : 3 * x + 3] == b"\0\0\0" else "." for x in range(22))
             for row in rows[5:12]]  # fmt: skip
    assert shown == [
        "..#####.........#.....",
        "..#.#.#........##.....",
        "....#...........#.....",
        "....#...#####...#.....",
        "....#...........#.....",
        "....#...........#.....",
        "....#..........###....",
    ]
    assert rows[7][3 * 40 : 3 * 50] == b"\xff\0\0" * 10 and rows[15][3 * 40 : 3 * 41] != b"\xff\0\0"
    assert rows[19] == b"\0\0\xff" * 60


def test_a_corridor_draws_every_junction_and_the_rides_through(tmp_path: Path) -> None:
    target = tmp_path / "road.svg"
    arguments = ("--pattern", "morning", "--seconds", "400")
    code, text = call("corridor", str(target), f"{KUMBASARI}@0", f"{KUMBASARI}@350", *arguments)
    assert code == 0, text
    root = ET.parse(target).getroot()
    names = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert names.count("kumbasari") == 2 and "350 m" in names
    rides = [
        line for line in root.iter("{http://www.w3.org/2000/svg}line")
        if line.get("stroke") == "#1f6fb4"
    ]  # fmt: skip
    assert len(rides) >= 4
    for line in rides:
        seconds = (float(line.get("x2", 0)) - float(line.get("x1", 0))) * 400 / 1000
        assert abs(seconds - 350 / (40 / 3.6)) < 0.5
    for bad, words in (
        ((f"{KUMBASARI}@0",), "two junctions or more"),
        ((f"{KUMBASARI}@0", f"{KUMBASARI}@0"), "is not after"),
        ((KUMBASARI, f"{KUMBASARI}@3"), "is not PLAN@METRES"),
    ):
        code, text = call("corridor", str(target), *bad)
        assert code == 1 and words in text
    code, text = call("plot", KUMBASARI, str(tmp_path / "x.gif"), "--seconds", "20")
    assert code == 1 and ".svg or .png" in text


def test_wires_are_printed_point_by_point(tmp_path: Path) -> None:
    cabinet = ROOT / "deploy/atcs/kumbasari-cabinet.toml"
    code, text = call("wires", KUMBASARI, str(cabinet))
    assert code == 0 and "output rack:2       W green" in text
    assert "input  rack:5       detector pw-button (inverted)" in text
    bad = tmp_path / "cabinet.toml"
    bad.write_text(cabinet.read_text().replace('"rack:2"', '"rack:900"'))
    code, text = call("wires", KUMBASARI, str(bad))
    assert code == 78 and "rack:900" in text
