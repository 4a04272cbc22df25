"""The board target against a real raw REPL: MicroPython's unix port behind a pty."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("mpremote", reason="mpremote is not installed")

from hil.board.bench import BenchFile, load_bench
from hil.board.instruments import SerialRtuEdge
from hil.board.link import LISTING, BoardError, BoardLink
from hil.board.target import BoardRun, play
from hil.cli import hil
from hil.pace import Pacer
from hil.run import Result
from hil.scenario import Scenario, load
from sim.chips.modbus import Slave, crc16
from sim.kernel import Simulation
from tests.hil.board.pty_board import PtyBoard

SCENARIO = """
[scenario]
title = "Three seconds"
duration = "3s"
[world]
river = "calm"
[[node]]
name = "kumbasari"
settings = { report_max_s = 60 }
[[node]]
name = "jukung"
role = "tracker"
[[event]]
at = "1s"
do = "gateway_down"
[[event]]
at = "1s"
do = "sensor_fault"
node = "kumbasari"
value = "stuck"
[[expect]]
what = "no_crashes"
[[expect]]
what = "boots"
node = "kumbasari"
least = 1
most = 1
[[expect]]
what = "joined"
node = "*"
within = "60s"
[[expect]]
what = "readings"
node = "kumbasari"
least = 2
[[expect]]
what = "position"
node = "jukung"
most_m = 30
least = 1
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PtyBoard]:
    folder = tmp_path / "flash"
    folder.mkdir()
    made = PtyBoard(folder)
    yield made
    made.close()


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "three.toml"
    path.write_text(SCENARIO)
    return load(path)


def test_files_go_over_once(board: PtyBoard) -> None:
    files = {"firmware/net/aes.mpy": bytes(range(256)), "a.txt": b"x" * 2000}
    with BoardLink(board.port) as link:
        assert link.install(files) == 2
        assert (board.folder / "firmware/net/aes.mpy").read_bytes() == bytes(range(256))
        assert link.install(files) == 0
        assert link.install(files | {"a.txt": b"y"}) == 1
        assert link.read("a.txt") == b"y"
        assert LISTING in link.names("tukad")
        link.remove("a.")
        assert link.names("a.") == []
    with BoardLink(board.port) as link:
        assert link.run("print(6 * 7)").strip() == "42"


def test_a_traceback_on_the_board_is_an_error_of_one_line_of_ours(board: PtyBoard) -> None:
    with BoardLink(board.port) as link, pytest.raises(BoardError, match="ZeroDivisionError"):
        link.run("1 / 0")


def test_a_program_that_goes_on_is_followed_and_interrupted(board: PtyBoard) -> None:
    with BoardLink(board.port) as link:
        link.start("import time\nn = 0\nwhile True:\n print('turn', n)\n n += 1\n time.sleep(0.05)")
        lines: list[str] = []
        for _ in range(100):
            lines += link.lines(0.1)
            if len(lines) > 4:
                break
        assert lines[:3] == ["turn 0", "turn 1", "turn 2"]
        link.stop()
        assert int(link.run("print(n)")) >= 3


def log_file(first: int, levels: list[int]) -> bytes:
    """A segment by the description in firmware/store/readings.py."""
    head = b"\x4c\x47" + struct.pack(">I", first)
    out = head + crc16(head)[::-1]
    for i, level in enumerate(levels):
        row = struct.pack(">IHhIBB", i, 1, level, 0, 1, 0)
        number = struct.pack(">I", first + i)
        out += row + crc16(row + b"\0\0" + number)[::-1]
    return out


def run(board: PtyBoard, scenario: Scenario, code: str, **bench: str) -> BoardRun:
    return play(
        scenario, BenchFile(port=board.port, **bench), start=code, files={"app.mpy": b"M\x06"}
    )


def test_what_a_bench_cannot_do_is_skipped_with_its_reason(
    board: PtyBoard, scenario: Scenario
) -> None:
    played = run(board, scenario, "import time\nprint('alive')\ntime.sleep(60)")
    assert played.lines == ["alive"]
    assert {v.what: v.held for v in played.verdicts} == {"no_crashes": True, "boots": True}
    skipped = "\n".join(played.skipped)
    for text in ("gateway_down", "sensor_fault", "no [sensor]", "joined", "network's side",
                 "expect position of jukung: another node's"):  # fmt: skip
        assert text in skipped
    assert len(played.skipped) == 5
    settings = (board.folder / "settings.new").read_text()
    assert '"name":"kumbasari"' in settings
    assert '"board":"pico-waveshare"' in settings


def test_a_crash_on_the_board_fails_the_scenario(board: PtyBoard, scenario: Scenario) -> None:
    played = run(board, scenario, "print('up')\nraise ValueError('broken')")
    verdict = next(v for v in played.verdicts if v.what == "no_crashes")
    assert not verdict.held
    assert "ValueError: broken" in verdict.found


def test_readings_are_judged_from_the_boards_own_log(
    board: PtyBoard, scenario: Scenario, tmp_path: Path
) -> None:
    import os
    import pty

    master, slave = pty.openpty()
    try:
        data = log_file(7, [120, 121, 122])
        broken = data[:-1] + bytes([data[-1] ^ 1])
        code = f"open('log.00', 'wb').write({broken!r})\nimport time\ntime.sleep(60)"
        (board.folder / "log.09").write_bytes(data)  # of a run before: it goes
        played = run(board, scenario, code, sensor_port=os.ttyname(slave))
    finally:
        os.close(master)
        os.close(slave)
    assert [(n, level) for n, _, _, level in played.rows] == [(7, 120), (8, 121)]
    assert next(v for v in played.verdicts if v.what == "readings").held
    assert not any("sensor_fault" in text for text in played.skipped)


def test_the_sensor_instrument_answers_a_serial_port(tmp_path: Path) -> None:
    import os
    import pty
    import select
    import tty

    master, slave = pty.openpty()
    tty.setraw(slave)
    sim = Simulation(1)
    edge = SerialRtuEdge(
        sim,
        Slave(lambda register: 1234 if register == 2 else None),
        1,
        os.ttyname(slave),
        9600,
        "N",
    )
    pacer = Pacer(sim, [edge])
    pacer.start()
    try:
        request = bytes([1, 3, 0, 2, 0, 1])
        os.write(master, request + crc16(request))
        assert select.select([master], [], [], 20)[0]
        answer = b""
        while len(answer) < 7 and select.select([master], [], [], 5)[0]:
            answer += os.read(master, 64)
    finally:
        pacer.stop()
        os.close(master)
        os.close(slave)
    body = bytes([1, 3, 2]) + (1234).to_bytes(2, "big")
    assert answer == body + crc16(body)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "board.port is missing"),
        ('[board]\nprot = "x"', "board.prot is unknown"),
        ("[board]\nport = 3", "board.port = 3"),
        ('[board]\nport = "x"\n[gps]\nport = "y"', "[gps] is unknown"),
        ("[board", "bench.toml"),
        ("board = 1", "board must be a table"),
    ],
)
def test_a_wrong_bench_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(text)
    with pytest.raises(BoardError) as raised:
        load_bench(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_bench_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text('[board]\nport = "/dev/a"\nnode = "x"\n[reset]\nport = "/dev/b"\n')
    assert load_bench(path) == BenchFile(port="/dev/a", node="x", reset_port="/dev/b")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 1, "--port"),
        (["--port", "/dev/tukad-none"], 1, "/dev/tukad-none"),
        (["--bench", "/nonexistent/bench.toml"], 78, "No such file"),
    ],
)
def test_the_command_says_what_to_do(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    result = CliRunner().invoke(
        hil, ["run", "smoke", "--target", "board", "--out", str(tmp_path), *arguments],
        terminal_width=400,
    )  # fmt: skip
    assert result.exit_code == code
    assert said in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_a_report_shows_what_was_skipped() -> None:
    from hil.report import html, junit

    result = Result(
        name="x", title="x", about="", target="board", seed=1, duration_s=1, wall_s=1, digest="",
        stages_mm=(1, 2, 3), verdicts=[], nodes=[], events=[], lost={}, faults=[],
        skipped=["expect joined: <no radio>"],
    )  # fmt: skip
    assert '<skipped message="&lt;no radio&gt;" />' in junit([result])
    assert "&lt;no radio&gt;" in html([result])
