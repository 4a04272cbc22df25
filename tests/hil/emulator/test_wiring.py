"""An emulated RP2040's pins, SPI, UART and converter reach the simulated devices, and back.

The code on the chip is hand-assembled: no firmware is needed.
"""

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("rp2040py", reason="the extra `emulator` is not installed")

from hil.emulator.node import EmulatorNode
from sim.board import Board
from sim.chips.sx126x import Sx126x
from sim.kernel import Simulation
from sim.radio.medium import Medium
from tests.hil.emulator.thumb import RESULTS, Program, uf2

RESETS_CLR = 0x4000_F000
SIO_OUT, SIO_OE, SIO_IN = 0xD000_0010, 0xD000_0020, 0xD000_0004
IO_BANK0, PADS_BANK0 = 0x4001_4000, 0x4001_C000
SPI1, UART0, ADC = 0x4004_0000, 0x4003_4000, 0x4004_C000
TIMER_LOW = 0x4005_4028
ENABLE = 1
CS, BUSY, DIO1, RESET = 3, 2, 20, 15


def start(
    program: Program, prepare: Callable[[Simulation, Board], object], milliseconds: int
) -> tuple[Simulation, Board, EmulatorNode]:
    """Run a program on a chip of a board that `prepare` furnishes."""
    sim = Simulation(1)
    board = Board(sim, "node")
    prepare(sim, board)
    node = EmulatorNode(sim, board, flash=bytearray(program.image()))
    node.power_on()
    sim.run_until(milliseconds * 1000)
    return sim, board, node


def results(node: EmulatorNode, count: int) -> tuple[int, ...]:
    assert node.chip
    at = RESULTS - 0x2000_0000
    return struct.unpack(f"<{count}I", bytes(node.chip.mcu.sram[at : at + 4 * count]))


def gpio(program: Program, pin: int, function: int) -> Program:
    """Input on, pull-down, and the function."""
    return program.poke(PADS_BANK0 + 4 + 4 * pin, 0x56).poke(IO_BANK0 + 8 * pin + 4, function)


def spi_frame(program: Program, data: list[int]) -> Program:
    """CS low, one byte after the other, CS high; each answer is a result."""
    program.poke(SIO_OUT + 8, 1 << CS)
    for byte in data:
        program.poke(SPI1 + 8, byte).wait(SPI1 + 0x0C, 4, 4).peek(SPI1 + 8)
    return program.poke(SIO_OUT + 4, 1 << CS)


def spi_setup() -> Program:
    program = Program().poke(RESETS_CLR, 0xFFFFFFFF)
    for pin in (CS, RESET, BUSY, DIO1):
        gpio(program, pin, 5)
    program.poke(SIO_OUT + 4, 1 << CS | 1 << RESET).poke(SIO_OE + 4, 1 << CS | 1 << RESET)
    # 48 MHz / 6 = 8 MHz, 8 bits, mode 0, on.
    return program.poke(SPI1 + 0x10, 6).poke(SPI1, 7).poke(SPI1 + 4, 2)


def radio(sim: Simulation, board: Board) -> Sx126x:
    chip = Sx126x(sim, Medium(sim), "node")
    board.attach_spi(1, CS, chip)
    board.watch(RESET, chip.reset)
    board.idle[RESET] = 1
    chip.set_busy = lambda level: board.drive(BUSY, level)
    chip.set_dio1 = lambda level: board.drive(DIO1, level)
    board.drive(BUSY, chip.busy)
    board.drive(DIO1, chip.dio1)
    return chip


def test_spi_bytes_reach_the_radio_and_its_answers_come_back() -> None:
    program = spi_setup().wait(SIO_IN, 1 << BUSY, 0)
    spi_frame(program, [0x0E, 0x00, 0xCA, 0xFE])  # WriteBuffer at 0
    program.wait(SIO_IN, 1 << BUSY, 0)
    spi_frame(program, [0x1E, 0x00, 0x00, 0x00, 0x00])  # ReadBuffer at 0
    sim, _, node = start(program, radio, 20)
    answer = results(node, 9)
    assert answer[7:9] == (0xCA, 0xFE)
    assert answer[4] >> 4 & 7 == 2  # the status: standby on the RC oscillator
    assert sim.faults == []
    node.close()


def test_a_command_while_busy_is_caught() -> None:
    program = spi_setup().wait(SIO_IN, 1 << BUSY, 0)
    spi_frame(program, [0x89, 0x7F])  # Calibrate takes 3.5 ms
    spi_frame(program, [0xC0, 0x00])
    sim, _, node = start(program, radio, 20)
    # The chip's board has a TCXO, which nobody has switched on.
    assert [what for _, _, what in sim.faults] == ["sx126x.tcxo", "sx126x.busy"]
    node.close()


def test_busy_falls_when_the_model_says_so() -> None:
    program = spi_setup().wait(SIO_IN, 1 << BUSY, 0)
    program.poke(SIO_OUT + 8, 1 << RESET).delay(5_000).peek(TIMER_LOW)
    program.poke(SIO_OUT + 4, 1 << RESET)
    program.wait(SIO_IN, 1 << BUSY, 1 << BUSY).wait(SIO_IN, 1 << BUSY, 0).peek(TIMER_LOW)
    edges: list[tuple[int, int]] = []

    def furnish(sim: Simulation, board: Board) -> None:
        radio(sim, board)
        board.watch(RESET, lambda level: edges.append((sim.now_us, level)))

    sim, _, node = start(program, furnish, 40)
    fell, rose = (when for when, level in edges[-2:])
    assert edges[-2][1] == 0
    assert edges[-1][1] == 1
    assert 100 <= rose - fell <= 140  # 5,000 loops of 3 cycles at 125 MHz
    before, after = results(node, 2)
    assert 3_000 < after - before < 4_000  # the chip needs 3.5 ms
    assert sim.faults == []
    node.close()


def test_dio1_wakes_a_sleeping_chip_at_the_right_moment() -> None:
    # The rising edge of GPIO 20 interrupts the processor.
    program = Program().poke(RESETS_CLR, 0xFFFFFFFF)
    gpio(program, DIO1, 5)
    program.poke(IO_BANK0 + 0x100 + 4 * (DIO1 // 8), 8 << 4 * (DIO1 % 8))
    program.sleep(13).peek(TIMER_LOW)

    def furnish(sim: Simulation, board: Board) -> None:
        board.drive(DIO1, 0)
        sim.at(300 * 1000, board.drive, DIO1, 1)

    _, _, node = start(program, furnish, 299)
    assert node.chip
    assert node.chip.is_idle
    node.sim.run_until(300 * 1000 + 500)
    (woken_us,) = results(node, 1)
    assert 300_000 <= woken_us <= 300_010
    assert node.busy_s < 0.001  # it slept until then
    node.close()


class Line:
    """A serial device that keeps what it hears, with the time."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.heard: list[tuple[int, bytes]] = []

    def receive(self, data: bytes) -> None:
        self.heard.append((self.sim.now_us, data))


def uart_setup() -> Program:
    program = Program().poke(RESETS_CLR, 0xFFFFFFFF)
    gpio(program, 0, 2)
    gpio(program, 1, 2)
    # 9,600 baud from 48 MHz: 312.5; 8N1 with FIFOs; on.
    program.poke(UART0 + 0x24, 312).poke(UART0 + 0x28, 32).poke(UART0 + 0x2C, 0x70)
    return program.poke(UART0 + 0x30, 0x301)


def test_uart_sends_at_its_pace_and_tells_when_the_line_is_free() -> None:
    program = uart_setup().peek(TIMER_LOW)
    for byte in b"abcd":
        program.poke(UART0, byte)
    program.wait(UART0 + 0x18, 8, 0).peek(TIMER_LOW)  # BUSY
    lines: list[Line] = []

    def furnish(sim: Simulation, board: Board) -> None:
        lines.append(Line(sim))
        board.uarts[0].device = lines[0]

    _, board, node = start(program, furnish, 50)
    heard = lines[0].heard
    assert b"".join(data for _, data in heard) == b"abcd"
    gaps = [b - a for (a, _), (b, _) in pairwise(heard)]
    assert all(abs(gap - 10e6 / 9600) <= 2 for gap in gaps)
    before, after = results(node, 2)
    assert abs(after - before - 40e6 / 9600) <= 5
    assert (board.uarts[0].baud, board.uarts[0].frame_format) == (9600, 0x48)
    node.close()


def test_uart_hears_and_interrupts_when_the_line_falls_silent() -> None:
    program = uart_setup().poke(UART0 + 0x38, 0x50)  # receive and receive timeout
    program.sleep(20).peek(TIMER_LOW).peek(UART0 + 0x3C)
    for _ in range(5):
        program.peek(UART0)
    program.peek(UART0 + 0x3C)

    def furnish(sim: Simulation, board: Board) -> None:
        sim.at(20_000, board.uarts[0].from_device, b"level", 9600, 0x48)

    _, _, node = start(program, furnish, 60)
    woken_us, raised, *data, after = results(node, 8)
    assert bytes(data) == b"level"
    assert raised & 0x40
    assert not after & 0x50  # reading the last one takes the interrupt back
    # Five characters, and 32 bits of silence.
    assert abs(woken_us - 20_000 - (50 + 32) * 1e6 / 9600) < 20
    node.close()


def test_a_wrong_rate_brings_noise_not_data() -> None:
    program = uart_setup().wait(UART0 + 0x18, 0x10, 0).peek(UART0)

    def furnish(sim: Simulation, board: Board) -> None:
        sim.at(20_000, board.uarts[0].from_device, b"UUUUUU", 19_200, 0x48)

    _, _, node = start(program, furnish, 40)
    assert results(node, 1) != (ord("U"),)
    node.close()


@pytest.mark.parametrize(("volts", "code"), [(0.0, 0), (1.65, 2048), (3.3, 4095), (9.0, 4095)])
def test_the_converter_reads_the_boards_voltage(volts: float, code: int) -> None:
    program = Program().poke(RESETS_CLR, 0xFFFFFFFF).poke(ADC, 0x1001)  # channel 1
    program.wait(ADC, 0x100, 0x100).poke(ADC, 0x1005).wait(ADC, 0x100, 0x100).peek(ADC + 4)

    def furnish(_: Simulation, board: Board) -> None:
        board.adc[1] = lambda: volts

    _, _, node = start(program, furnish, 5)
    assert abs(results(node, 1)[0] - code) <= 1
    node.close()


def test_outputs_reach_the_board_and_float_after_power_off() -> None:
    program = gpio(Program().poke(RESETS_CLR, 0xFFFFFFFF), 7, 5)
    program.poke(SIO_OE + 4, 1 << 7).poke(SIO_OUT + 4, 1 << 7)
    levels: list[int] = []
    _, _, node = start(program, lambda _, board: board.watch(7, levels.append), 5)
    assert levels == [0, 1] or levels == [1]
    node.power_off()
    assert levels[-1] == 0


def test_a_watchdog_that_is_not_fed_restarts_the_chip() -> None:
    program = Program().poke(RESETS_CLR, 0xFFFFFFFF)
    program.poke(0x4001_0000 + 8, 0x1FFFC)  # PSM: all but the oscillators
    program.poke(0x4005_8000 + 4, 2 * 50_000).poke(0x4005_8000, 1 << 30)
    sim, _, node = start(program, lambda *_: None, 130)
    assert node.boots == 3
    assert len(sim.trace.find("node.watchdog")) == 2
    node.close()


def test_two_chips_on_one_clock_give_the_same_trace_twice() -> None:
    def play() -> str:
        sim = Simulation(7)
        nodes: list[EmulatorNode] = []
        for name in ("a", "b"):
            board = Board(sim, name)
            board.watch(7, lambda level, name=name: sim.record(name, "pin", level=level))
            program = gpio(Program().poke(RESETS_CLR, 0xFFFFFFFF), 7, 5).poke(SIO_OE, 1 << 7)
            for _ in range(4):
                program.poke(SIO_OUT + 0xC, 1 << 7).delay(20_000 if name == "a" else 33_000)
            node = EmulatorNode(sim, board, flash=bytearray(program.image()))
            node.power_on()
            nodes.append(node)
        sim.run_until(6_000)
        for node in nodes:
            node.close()
        edges = sim.trace.find("pin", "b")
        assert [b[0] - a[0] for a, b in pairwise(edges)][1:] == pytest.approx(
            [33_000 * 3 / 125] * (len(edges) - 2), abs=40
        )
        return sim.trace.digest()

    assert play() == play()


def test_random_bits_differ_between_nodes_and_repeat_with_the_seed() -> None:
    def bits(name: str) -> tuple[int, ...]:
        program = Program()
        for _ in range(24):
            program.peek(0x4006_001C)
        sim = Simulation(3)
        node = EmulatorNode(sim, Board(sim, name), flash=bytearray(program.image()))
        node.power_on()
        sim.run_until(1_000)
        drawn = results(node, 24)
        node.close()
        return drawn

    assert bits("a") == bits("a") != bits("b")
    assert set(bits("a")) == {0, 1}


def test_a_uf2_is_put_where_its_blocks_say(tmp_path: Path) -> None:
    from hil.emulator.chip import flash_of

    path = tmp_path / "fw.uf2"
    path.write_bytes(uf2(b"abc" * 100, 0x1000_1000))
    flash = flash_of(path)
    assert flash[0x1000 : 0x1000 + 300] == b"abc" * 100
    assert flash[:0x1000] == b"\xff" * 0x1000
