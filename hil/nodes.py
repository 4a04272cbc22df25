"""Whole nodes: a board with its chips and sensors, and the firmware that runs on it.

Public: `NodeSpec`, `Node`, `pins`, `settings_file`. Which pin is what comes from
`firmware/boards/`, read as data: the harness knows the firmware as a user does.
"""

import ast
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hil.emulator.node import EmulatorNode
from hil.unix_target import ROOT, UnixNode
from sim.board import Board
from sim.chips.gnss import Fix, GnssReceiver
from sim.chips.level_sensors import LevelSensor
from sim.chips.modbus import Rs485, RtuSlave
from sim.chips.rain_gauge import RainGauge
from sim.chips.siren_amp import SirenAmplifier
from sim.chips.sx126x import BoardFacts, Sx126x
from sim.kernel import Simulation
from sim.radio.medium import Medium

ADC_FIRST_PIN = 26


def pins(board: str = "unix-pico") -> dict[str, int]:
    """The values of a board: `VALUES` of its file in `firmware/boards`, without running it."""
    path = ROOT / "firmware/boards" / (board.replace("-", "_") + ".py")
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "VALUES":
            values: dict[str, int] = ast.literal_eval(statement.value)
            return values
    raise ValueError(f"{path}: no VALUES")


def settings_file(settings: dict[str, object]) -> bytes:
    """`settings.new` as a PC provisions it: one line of JSON, and the CRC-32 of that line."""
    line = json.dumps(settings, separators=(",", ":"), sort_keys=True).encode()
    return line + b"\n" + f"{binascii.crc32(line):08x}\n".encode()


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """What a node is and where; keys are drawn from the seed when they are not given.

    `role` is "flood", "tracker" or "siren". A flood node has a level sensor of `sensor` kind
    hanging `height_mm` above station zero. `settings` go to the firmware over the defaults here.
    """

    name: str
    role: str = "flood"
    x_m: float = 800.0
    y_m: float = 0.0
    gain_dbi: float = 2.0
    sensor: str = "geolux-lx80"
    height_mm: int = 7_000
    board: str = "unix-pico"
    settings: dict[str, object] = field(default_factory=dict[str, object])


class Node:
    """A node in a world: `firmware` runs it, `chip` is its radio, `sensor` its level sensor.

    With `uf2` an emulated RP2040 runs it, else a MicroPython process of this machine.
    """

    def __init__(
        self,
        sim: Simulation,
        medium: Medium,
        spec: NodeSpec,
        *,
        level_mm: Callable[[], float] | None = None,
        rain_mm_h: Callable[[], float] | None = None,
        where: Callable[[], Fix] | None = None,
        epoch_s: float = 1_757_433_600.0,
        log: Path | None = None,
        entry: tuple[str, str] = ("firmware.main", "run"),
        ticks_start_us: int = 0,
        uf2: Path | None = None,
    ) -> None:
        self.sim = sim
        self.spec = spec
        self.level_mm = level_mm
        self.where = where
        rng = sim.rng("keys/" + spec.name)
        self.dev_eui = bytes([0x70, 0xB3, 0xD5]) + rng.randbytes(5)
        self.join_eui = bytes.fromhex("70b3d57ed0000001")
        self.app_key = rng.randbytes(16)
        pin = pins(spec.board)
        self.pins = pin
        self.board = Board(sim, spec.name)
        facts = BoardFacts(
            tcxo_mv=pin["radio_tcxo_mv"], rf_switch_dio2=bool(pin["radio_dio2_switch"])
        )
        self.chip = Sx126x(
            sim, medium, spec.name, facts, x_m=spec.x_m, y_m=spec.y_m, gain_dbi=spec.gain_dbi
        )
        self._wire_radio()
        self.battery_v = 3.9
        full_v = pin["battery_full_mv"] / 1000
        self.board.adc[pin["battery_adc"] - ADC_FIRST_PIN] = lambda: self.battery_v * 3.3 / full_v
        self.board.drive(pin["float"], 1)
        self.board.drive(pin["sos"], 1)
        self.sensor: LevelSensor | None = None
        self.modbus: RtuSlave | None = None
        self.bus: Rs485 | None = None
        self.rain: RainGauge | None = None
        self.gnss: GnssReceiver | None = None
        self.siren: SirenAmplifier | None = None
        if spec.role == "siren":
            self.siren = SirenAmplifier(
                sim,
                self.board,
                siren=pin["siren"],
                test=pin["siren_test"],
                channel=pin["siren_adc"] - ADC_FIRST_PIN,
                full_ma=pin["siren_full_ma"],
            )
        settings: dict[str, object] = {
            "role": spec.role,
            "board": spec.board,
            "name": spec.name,
            "region": "AS923-2",
            "dev_eui": self.dev_eui.hex(),
            "join_eui": self.join_eui.hex(),
            "app_key": self.app_key.hex(),
        }
        if level_mm is not None:
            self._hang_sensor(level_mm, settings)
        if rain_mm_h is not None:
            self.rain = RainGauge(sim, self.board, pin["rain"], rain_mm_h)
        if where is not None:
            uart = self.board.uarts[pin["gnss_uart"]]
            self.gnss = GnssReceiver(sim, uart, where, epoch_s=epoch_s, baud=pin["gnss_baud"])
        settings |= spec.settings
        self.settings = settings
        files = {"settings.new": settings_file(settings)}
        self.firmware: UnixNode | EmulatorNode
        if uf2 is not None:
            self.firmware = EmulatorNode(sim, self.board, files=files, uf2=uf2, log=log)
            return
        self.firmware = UnixNode(
            sim,
            self.board,
            files=files,
            entry=entry,
            uid=self.dev_eui,
            log=log,
            ticks_start_us=ticks_start_us,
        )

    def _wire_radio(self) -> None:
        pin, board, chip = self.pins, self.board, self.chip
        board.attach_spi(pin["spi"], pin["radio_cs"], chip)
        board.watch(pin["radio_reset"], chip.reset)
        board.idle[pin["radio_reset"]] = 1
        chip.set_busy = lambda level: board.drive(pin["radio_busy"], level)
        chip.set_dio1 = lambda level: board.drive(pin["radio_dio1"], level)
        board.drive(pin["radio_busy"], chip.busy)
        board.drive(pin["radio_dio1"], chip.dio1)

    def _hang_sensor(self, level_mm: Callable[[], float], settings: dict[str, object]) -> None:
        spec, pin = self.spec, self.pins
        address = 1
        rng = self.sim.rng("sensor/" + spec.name)
        self.sensor = LevelSensor(spec.sensor, level_mm, spec.height_mm, rng, address=address)
        self.bus = Rs485(self.sim, self.board.uarts[pin["rs485_uart"]], pin["rs485_de"])
        self.modbus = RtuSlave(
            self.bus,
            self.sensor.slave,
            address=address,
            baud=self.sensor.baud,
            frame_format=self.sensor.frame_format,
        )
        settings |= {
            "sensor_profile": spec.sensor,
            "sensor_address": address,
            "sensor_baud": self.sensor.baud,
            "sensor_parity": "NOE"[self.sensor.frame_format >> 4 & 3],
            "sensor_height_mm": spec.height_mm,
        }

    def press_sos(self, seconds: float) -> None:
        """Hold the SOS button."""
        self.board.drive(self.pins["sos"], 0)
        self.sim.after(round(seconds * 1e6), self.board.drive, self.pins["sos"], 1)

    def wet_float(self, wet: bool) -> None:
        """Lift the float switch, or let it fall."""
        self.board.drive(self.pins["float"], 0 if wet else 1)

    def power_on(self) -> None:
        """Apply the battery."""
        self.firmware.power_on()

    def power_off(self) -> None:
        """Take the battery away: the radio loses its state too."""
        self.firmware.power_off()
        self.chip.power_cycle()

    def close(self) -> None:
        """End the firmware's process."""
        self.firmware.close()
