"""The wires: what a cabinet file means, relay boards over Modbus, GPIO lines, failed lamps."""

import asyncio
import os
import struct
from pathlib import Path

import pytest

from gateway.atcs.cabinet import gpio
from gateway.atcs.cabinet.lamps import LampFaults
from gateway.atcs.cabinet.modbus import ModbusBoard
from gateway.atcs.cabinet.points import Points
from gateway.atcs.cabinet.wiring import Board, load
from gateway.atcs.controller import Inputs
from gateway.atcs.kernel import CHANGE, FLASH, GREEN, RED
from gateway.config import ConfigError
from tests.gateway.atcs.relayboard import RelayBoard
from tests.gateway.atcs.rig import ROOT, sample

SAMPLE = ROOT / "deploy/atcs/kumbasari-cabinet.toml"


def points() -> Points:
    plan = sample("kumbasari")
    return Points(load(SAMPLE, plan), plan)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('red = "rack:0"', 'red = "rack:x"', "is not BOARD:NUMBER"),
        ('red = "rack:0"', 'red = "shelf:0"', "no board of that name; there are: rack"),
        ('red = "rack:0"', 'red = "rack:1"', 'the output "rack:1" is used twice'),
        ('movement = "W"', 'movement = "Q"', 'lamp.movement = "Q": the plan has none'),
        ('detector = "w-stop"', 'detector = "w-stap"', "input.detector"),
        ('detector = "w-stop"', "", "has 0 meanings"),
        ("lost_ms = 300", "lost_ms = 30", "200..2000"),
        ('yellow = "rack:1"', "", "lamp.W.yellow is missing"),
    ],
)
def test_a_wrong_cabinet_file_is_refused_by_name(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    text = SAMPLE.read_text()
    assert old in text
    file = tmp_path / "cabinet.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(file, sample("kumbasari"))
    assert words in str(caught.value)


def test_every_aspect_lights_one_lamp_and_walks_blink_red() -> None:
    wires = points()
    plan = wires.plan
    lamp = {row.movement: row for row in wires.wiring.lamp}

    def lit(aspect: int, now_ms: int) -> dict[str, str]:
        states = wires.outputs((aspect,) * len(plan.movement), now_ms, True)
        result: dict[str, str] = {}
        for name, row in lamp.items():
            result[name] = "".join(
                colour[0]
                for colour in ("red", "yellow", "green")
                if (point := str(getattr(row, colour)))
                and states[point.split(":")[0]][int(point.split(":")[1])]
            )
        return result

    assert lit(RED, 0) == {"W": "r", "E": "r", "N": "r", "S": "r", "PW": "r", "LW": ""}
    assert set(lit(GREEN, 0).values()) == {"g"}
    assert lit(CHANGE, 0)["W"] == "y" and lit(CHANGE, 0)["PW"] == "r"
    assert lit(CHANGE, 500)["W"] == "y" and lit(CHANGE, 500)["PW"] == ""
    assert lit(FLASH, 0) == {"W": "y", "E": "y", "N": "y", "S": "y", "PW": "", "LW": "y"}
    assert set(lit(FLASH, 500).values()) == {""}


def test_the_watchdog_turns_over_only_while_the_boards_answer() -> None:
    wires = points()
    board, number = wires.wiring.cabinet.watchdog.split(":")
    red = (RED,) * 6

    def level(alive: bool) -> bool:
        return wires.outputs(red, 0, alive)[board][int(number)]

    assert [level(True) for _ in range(4)] == [True, False, True, False]
    assert {level(False) for _ in range(4)} == {False}


def test_inputs_have_their_meaning_and_an_open_contact_may_mean_on() -> None:
    wires = points()
    inputs = Inputs()
    row = {i.detector or i.preempt or i.panel or i.lamp_fault: i for i in wires.wiring.input}

    def read(*on: str) -> set[tuple[int, str]]:
        levels = {i.point: i.inverted for i in wires.wiring.input}
        for name in on:
            levels[row[name].point] = not row[name].inverted
        states: dict[str, dict[int, bool]] = {}
        for point, level in levels.items():
            board, number = point.split(":")
            states.setdefault(board, {})[int(number)] = level
        return wires.inputs(states, inputs)

    read("w-stop", "pw-button")
    names = [d.name for d in wires.plan.detector]
    assert inputs.detectors == 1 << names.index("w-stop") | 1 << names.index("pw-button")
    assert inputs.panel == "auto" and not inputs.reset and inputs.preempts == 0
    read("manual", "advance", "ambulance-east")
    assert inputs.panel == "manual" and inputs.advance and inputs.preempts == 1
    read("manual", "flash")
    assert inputs.panel == "flash" and not inputs.advance
    assert read("W") == {(0, "")}
    wires.inputs({}, inputs)
    assert inputs.detectors == 0, "a board that said nothing yet calls nobody"


def test_a_lamp_without_current_fails_after_a_while_and_mends_itself() -> None:
    faults = LampFaults(2)
    said: list[tuple[int, list[tuple[int, str]], list[tuple[int, str]]]] = []
    for now_ms in range(0, 8000, 100):
        shown = GREEN if now_ms < 3000 else RED
        silent = {(0, "")} if now_ms < 5500 else set()
        failed, mended = faults.step(now_ms, silent, (shown, RED))
        if failed or mended:
            said.append((now_ms, failed, mended))
    assert said[0][1] == [(0, "green")] and 1500 <= said[0][0] <= 1700
    assert said[1][1] == [(0, "red")] and 4500 <= said[1][0] <= 4800
    assert said[2][2] == [(0, "red")] and faults.failed == {(0, "green")}


def test_a_blinking_current_is_no_failure() -> None:
    faults = LampFaults(1)
    for now_ms in range(0, 20_000, 100):
        silent = {(0, "")} if now_ms % 1000 < 500 else set()
        assert faults.step(now_ms, silent, (RED,)) == ([], [])


def test_a_relay_board_is_driven_and_read_in_two_requests() -> None:
    async def scenario() -> None:
        relay = RelayBoard()
        await relay.start()
        relay.inputs[20 + 3] = relay.inputs[20 + 6] = True
        board = Board(
            name="rack", port=f"tcp://127.0.0.1:{relay.port}", unit=7, coil_base=10, input_base=20
        )
        line = ModbusBoard(board, [0, 2, 5], [1, 3, 6])
        await line.open()
        relay.coils[11] = True
        assert await line.exchange({0: True, 2: False, 5: True}) == {1: False, 3: True, 6: True}
        assert [k for k, on in enumerate(relay.coils) if on] == [10, 15]
        assert relay.units == {7} and len(relay.log) == 1
        relay.refuse = True
        with pytest.raises(OSError, match="refused"):
            await line.exchange({})
        relay.refuse, relay.silent = False, True
        with pytest.raises(OSError):
            await line.exchange({})
        line.close()
        with pytest.raises(OSError, match="not connected"):
            await line.exchange({})
        await relay.stop()
        with pytest.raises(OSError):
            await line.open()

    asyncio.run(scenario())


class Chip:
    """The kernel's side of GPIO uAPI v2, fields by the offsets of linux/gpio.h."""

    def __init__(self) -> None:
        self.levels = [0] * 32
        self.lines: dict[int, tuple[list[int], int]] = {}
        self.consumer = b""

    def ioctl(self, fd: int, code: int, buffer: bytearray) -> int:
        kind, number, size = code >> 8 & 0xFF, code & 0xFF, code >> 16 & 0x3FFF
        assert kind == 0xB4 and size == len(buffer)
        if number == 0x07:
            count = struct.unpack_from("<I", buffer, 560)[0]
            offsets = list(struct.unpack_from(f"<{count}I", buffer, 0))
            self.consumer = bytes(buffer[256:288]).rstrip(b"\0")
            flags, attrs = struct.unpack_from("<QI", buffer, 288)
            handle = os.open(os.devnull, os.O_RDONLY)
            self.lines[handle] = offsets, flags
            if flags & 8:
                assert attrs == 1
                kind, _, values, mask = struct.unpack_from("<IIQQ", buffer, 320)
                assert kind == 2 and mask == (1 << count) - 1
                for k, offset in enumerate(offsets):
                    self.levels[offset] = values >> k & 1
            struct.pack_into("<i", buffer, 588, handle)
        elif number == 0x0E:
            offsets, _ = self.lines[fd]
            bits = sum(self.levels[offset] << k for k, offset in enumerate(offsets))
            struct.pack_into("<Q", buffer, 0, bits)
        else:
            assert number == 0x0F
            offsets, flags = self.lines[fd]
            assert flags & 8, "only outputs are set"
            bits, mask = struct.unpack_from("<QQ", buffer)
            for k, offset in enumerate(offsets):
                if mask >> k & 1:
                    self.levels[offset] = bits >> k & 1
        return 0


def test_gpio_lines_are_asked_for_driven_and_read(tmp_path: Path) -> None:
    chip = Chip()
    chip.levels[17] = chip.levels[4] = 1
    device = tmp_path / "gpiochip0"
    device.write_bytes(b"")

    async def scenario() -> None:
        board = gpio.GpioBoard(str(device), [4, 5, 27], [17, 18], ioctl=chip.ioctl)
        with pytest.raises(OSError):
            await board.exchange({})
        await board.open()
        assert chip.levels[4] == 0, "all off before the first tick"
        assert sorted(flags for _, flags in chip.lines.values()) == [8, 4 | 256]
        assert chip.consumer == b"tukad"
        assert await board.exchange({4: True, 27: True}) == {17: True, 18: False}
        assert [k for k, on in enumerate(chip.levels) if on] == [4, 17, 27]
        chip.levels[17], chip.levels[18] = 0, 1
        assert await board.exchange({5: True}) == {17: False, 18: True}
        assert chip.levels[4] == 0 and chip.levels[5] == 1
        board.close()

    asyncio.run(scenario())
    assert gpio.REQUEST_SIZE == 592
    with pytest.raises(OSError):
        asyncio.run(gpio.GpioBoard(str(tmp_path / "none"), [1], []).open())


def test_gpio_on_this_machines_kernel(tmp_path: Path) -> None:
    """Against a real chip of gpio-sim, where there is one."""
    chips = sorted(Path("/sys/kernel/config/gpio-sim").glob("*/bank*/chip_name"))
    if not chips:
        pytest.skip("no gpio-sim chip is configured; modprobe gpio-sim makes one")
    device = f"/dev/{chips[0].read_text().strip()}"

    async def scenario() -> None:
        board = gpio.GpioBoard(device, [0], [1])
        await board.open()
        assert set(await board.exchange({0: True})) == {1}
        board.close()

    asyncio.run(scenario())
