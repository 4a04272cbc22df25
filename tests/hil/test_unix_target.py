"""The shim and the target: firmware sees a board, time is the simulator's, power may go."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from hil.unix_target import UnixNode
from sim.board import Board
from sim.chips.sx126x import Sx126x
from sim.kernel import SECOND, Simulation
from sim.radio.medium import Medium


def play(
    tmp_path: Path,
    function: str,
    seconds: float,
    prepare: Callable[[Simulation, Board], object] | None = None,
    *,
    seed: int = 1,
    module: str = "tests.hil.device.checks",
    ticks_start_us: int = 0,
) -> tuple[list[str], Simulation, UnixNode]:
    """Run a function of the test firmware; returns its lines of output."""
    sim = Simulation(seed)
    board = Board(sim, "node")
    log = tmp_path / f"{function}-{seed}.log"
    log.unlink(missing_ok=True)
    node = UnixNode(
        sim, board, entry=(module, function), uid=b"\1\2\3\4\5\6\7\x08", log=log,
        ticks_start_us=ticks_start_us,
    )  # fmt: skip
    if prepare:
        prepare(sim, board)
    try:
        node.power_on()
        sim.run_until(round(seconds * SECOND))
    finally:
        node.close()
    return log.read_text().splitlines(), sim, node


def test_time_passes_by_sleeping_and_looking_only(tmp_path: Path) -> None:
    wrap = (1 << 30) * 1000
    lines, sim, _ = play(tmp_path, "clock", 5, ticks_start_us=wrap - SECOND)
    assert lines == [
        "work True",
        "slept 1500",
        "spun 100",
        "wrapped True 1",
        "year 2021 8",
        lines[5],
    ]
    when, expected = lines[5].split()[1:]
    assert int(when) == int(expected) == 1_757_480_400
    assert sim.faults == []


def test_pins_pull_wake_and_keep_their_handlers(tmp_path: Path) -> None:
    lamp: list[tuple[int, int]] = []

    def prepare(sim: Simulation, board: Board) -> None:
        board.watch(25, lambda level: lamp.append((sim.now_us // SECOND, level)))
        sim.at(2 * SECOND, board.drive, 14, 0)
        sim.at(2 * SECOND + 500_000, board.drive, 14, 1)
        sim.at(3 * SECOND, board.drive, 14, 0)

    lines, _, _ = play(tmp_path, "pins", 10, prepare)
    word, slept, level = lines[1].rsplit(" ", 2)
    assert lines[0] == "pulled 1" and word == "woken" and level == "0"
    assert 1_700 <= int(slept) <= 1_940, "from the start until the button at 2 s"
    assert lines[2] == "slept on 3000 2", "a handler runs in sleep_ms, which goes on"
    assert lines[3] == "timer 10"
    assert lamp == [(0, 0), (2, 1), (5, 0)] or lamp == [(2, 1), (5, 0)]


def test_uart_takes_the_time_of_its_bits(tmp_path: Path) -> None:
    def prepare(sim: Simulation, board: Board) -> None:
        sim.at(1_100_000, board.uarts[0].from_device, b"hello", 9600, 0x48)

    lines, _, _ = play(tmp_path, "serial", 5, prepare)
    assert lines == [
        "flushed 10",
        "polled 1 True",
        "read b'hello'",
        "nothing None 0",
        "timeout None 300",
    ]


def test_chance_and_identity_come_from_the_scenario(tmp_path: Path) -> None:
    one, _, _ = play(tmp_path, "chance", 1, seed=4)
    again, _, _ = play(tmp_path, "chance", 1, seed=4)
    other, _, _ = play(tmp_path, "chance", 1, seed=5)
    assert one == again != other
    assert one[0].endswith("b'\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08'")


def test_converter_and_empty_bus(tmp_path: Path) -> None:
    def prepare(_: Simulation, board: Board) -> None:
        board.adc[0] = lambda: 1.65

    lines, _, _ = play(tmp_path, "converter", 1, prepare)
    assert lines == ["adc 32776 0", "i2c 19"]


def test_files_survive_every_kind_of_reset(tmp_path: Path) -> None:
    lines, sim, node = play(tmp_path, "boots", 20)
    starts = [line for line in lines if line.startswith("boot")]
    assert starts[:5] == ["boot 1 1", "boot 2 3", "boot 3 3", "boot 4 3", "boot 5 3"]
    assert lines[lines.index("boot 5 3") + 1] == "fed"
    assert len(starts) > 5, "a program that returns is ended by its own watchdog"
    assert node.crashes == ["ValueError('crash',)"]
    assert len(sim.trace.find("node.watchdog")) >= 2
    slept = [t for t, _, _ in sim.trace.find("node.deepsleep")]
    boots = [t for t, _, _ in sim.trace.find("node.boot")]
    assert boots[2] - slept[0] == 2 * SECOND + 60_000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_power_cut_inside_a_write_loses_no_record_before_it(tmp_path: Path, seed: int) -> None:
    """LittleFS on the torn flash: what was written before the cut is there, in order."""
    sim = Simulation(seed)
    board = Board(sim, "node")
    log = tmp_path / "log"
    node = UnixNode(sim, board, entry=("tests.hil.device.checks", "writes"), log=log)
    try:
        node.power_on()
        for cut in range(4):
            sim.run_until(sim.now_us + 3 * SECOND)
            node.flash.cut_after = cut
        sim.run_until(sim.now_us + 3 * SECOND)
    finally:
        node.close()
    found = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert len(found) == 5 and node.boots == 5 and node.crashes == []
    assert all(later > earlier for earlier, later in itertools.pairwise(found))
    assert node.flash.wear, "sectors were erased"


def test_same_seed_same_trace_with_a_radio(tmp_path: Path) -> None:
    def once(seed: int) -> str:
        sim = Simulation(seed)
        medium = Medium(sim)
        board = Board(sim, "node")
        chip = Sx126x(sim, medium, "node")
        board.attach_spi(1, 3, chip)
        board.watch(15, chip.reset)
        chip.set_busy = lambda level: board.drive(2, level)
        chip.set_dio1 = lambda level: board.drive(20, level)
        board.drive(2, chip.busy)
        node = UnixNode(sim, board, entry=("tests.hil.device.blink", "run"))
        try:
            node.power_on()
            sim.run_until(5 * SECOND)
        finally:
            node.close()
        assert sim.faults == [] and chip.tx_count == 3 and node.crashes == []
        return sim.trace.digest()

    assert once(1) == once(1) != once(2)


def test_power_off_ends_the_child_and_close_is_safe_twice(tmp_path: Path) -> None:
    sim = Simulation(1)
    node = UnixNode(sim, Board(sim, "node"), entry=("tests.hil.device.checks", "writes"))
    node.power_on()
    sim.run_until(SECOND)
    assert node.running
    node.power_off()
    assert not node.running
    sim.run_until(2 * SECOND)
    node.close()
    node.close()


def test_a_clock_that_drifts_wakes_early_or_late_by_as_much(tmp_path: Path) -> None:
    def slept_us(ppm: float) -> int:
        sim = Simulation(1)
        board = Board(sim, "node")
        node = UnixNode(sim, board, entry=("tests.hil.device.checks", "sleep_long"), log=None)
        ends: list[int] = []
        board.watch(5, lambda _: ends.append(sim.now_us))
        try:
            node.power_on()
            node.set_drift(ppm)
            sim.run_until(1100 * SECOND)
        finally:
            node.close()
        assert sim.faults == []
        assert len(ends) == 2
        return ends[1] - ends[0]

    true_us = slept_us(0)
    assert abs(true_us - 1000 * SECOND) < 3_000  # falling asleep and waking take their time
    assert abs(slept_us(100) - (true_us - 100_000)) < 200  # 100 ppm of 1,000 s: 0.1 s too early
    assert abs(slept_us(-100) - (true_us + 100_000)) < 200
