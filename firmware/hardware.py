"""The drivers of a board, made from its data: the one module that touches `machine`."""

import time

import machine

from firmware.boards import Board
from firmware.drivers.battery import Voltmeter
from firmware.drivers.contact import Contact
from firmware.drivers.profiles import Profile
from firmware.drivers.rain import RainGauge
from firmware.drivers.rs485 import LevelSensor
from firmware.drivers.signals import Blinker
from firmware.drivers.sx126x import Sx126x
from firmware.drivers.wired import WiredServer
from firmware.store.record import Record
from firmware.store.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.node import Node
    from firmware.store.files import Files
    from protocols.modbus.server import Provider

ticks_ms: "Callable[[], int]" = time.ticks_ms  # pyright: ignore[reportAssignmentType]
_PARITY = {"N": None, "E": 0, "O": 1}
_AXP2101 = 0x34
_AXP2101_LDO_ON = 0x90


def power_up(board: Board) -> None:
    """Switch on the rails of a board with a power chip; nothing to do on others."""
    if board.has("pmu_i2c"):
        bus = machine.I2C(
            board.get("pmu_i2c"),
            sda=machine.Pin(board.get("pmu_sda")),
            scl=machine.Pin(board.get("pmu_scl")),
        )
        before = bus.readfrom_mem(_AXP2101, _AXP2101_LDO_ON, 1)[0]
        bus.writeto_mem(_AXP2101, _AXP2101_LDO_ON, bytes([before | board.get("pmu_rails")]))
        time.sleep_ms(20)


def _output(board: Board, key: str, value: int = 0) -> "machine.Pin | None":
    if not board.has(key):
        return None
    return machine.Pin(board.get(key), machine.Pin.OUT, value=value)


def contact(board: Board, key: str) -> "Contact | None":
    """A switch to ground: the float switch or the button."""
    if not board.has(key):
        return None
    pin = machine.Pin(board.get(key), machine.Pin.IN, machine.Pin.PULL_UP)
    return Contact(pin, ticks_ms())


def radio(board: Board) -> Sx126x:
    """The SX1262 of the board; `start` it."""
    spi = machine.SPI(
        board.get("spi"),
        baudrate=board.get("spi_hz"),
        polarity=0,
        phase=0,
        sck=machine.Pin(board.get("spi_sck")),
        mosi=machine.Pin(board.get("spi_mosi")),
        miso=machine.Pin(board.get("spi_miso")),
    )
    return Sx126x(
        spi,
        machine.Pin(board.get("radio_cs"), machine.Pin.OUT, value=1),
        machine.Pin(board.get("radio_reset"), machine.Pin.OUT, value=1),
        machine.Pin(board.get("radio_busy"), machine.Pin.IN),
        machine.Pin(board.get("radio_dio1"), machine.Pin.IN),
        ticks_ms,
        time.sleep_ms,
        board.get("radio_tcxo_mv"),
        board.get("radio_tcxo_us"),
        board.get("radio_dio2_switch") == 1,
        board.get("radio_dcdc") == 1,
        board.get("radio_power_max_dbm"),
    )


class SensorLine:
    """The RS-485 line and what is needed to put a sensor on it."""

    def __init__(self, board: Board, settings: Settings) -> None:
        self._baud = settings.integer("sensor_baud")
        self._parity = _PARITY[settings.text("sensor_parity")]
        self._warm_ms = settings.integer("sensor_warm_ms")
        self._gap_ms = settings.integer("burst_gap_ms")
        self._uart = machine.UART(
            board.get("rs485_uart"),
            baudrate=self._baud,
            bits=8,
            parity=self._parity,
            stop=1,
            tx=machine.Pin(board.get("rs485_tx")),
            rx=machine.Pin(board.get("rs485_rx")),
            timeout=0,
        )
        self._de = _output(board, "rs485_de")
        self._power = _output(board, "rs485_power")

    def sensor(self, profile: Profile, unit: int) -> LevelSensor:
        """A Modbus sensor on this line."""
        return LevelSensor(
            self._uart,
            self._de,
            self._power,
            profile,
            unit,
            self._baud,
            self._parity,
            self._warm_ms,
            self._gap_ms,
        )


def sensor_line(board: Board, settings: Settings) -> SensorLine:
    """The line of the level sensors."""
    return SensorLine(board, settings)


def gnss_uart(board: Board) -> machine.UART:
    """The receiver's line."""
    return machine.UART(
        board.get("gnss_uart"),
        baudrate=board.get("gnss_baud"),
        tx=machine.Pin(board.get("gnss_tx")),
        rx=machine.Pin(board.get("gnss_rx")),
        timeout=0,
        rxbuf=1024,
    )


def wired(board: Board, settings: Settings, provider: "Provider") -> WiredServer:
    """The Modbus server towards a wired gateway, on the UART that a tracker's receiver has."""
    baud = settings.integer("wired_baud")
    uart = machine.UART(
        board.get("gnss_uart"),
        baudrate=baud,
        bits=8,
        parity=_PARITY[settings.text("wired_parity")],
        stop=1,
        tx=machine.Pin(board.get("gnss_tx")),
        rx=machine.Pin(board.get("gnss_rx")),
        timeout=0,
    )
    unit = settings.integer("wired_address")
    return WiredServer(uart, _output(board, "wired_de"), unit, baud, provider)


def rain(board: Board) -> "RainGauge | None":
    """The tipping bucket."""
    if not board.has("rain"):
        return None
    pin = machine.Pin(board.get("rain"), machine.Pin.IN, machine.Pin.PULL_UP)
    return RainGauge(pin, ticks_ms)


def battery(board: Board) -> "Voltmeter | None":
    """The battery's voltage."""
    if not board.has("battery_adc"):
        return None
    return Voltmeter(
        machine.ADC(machine.Pin(board.get("battery_adc"))),
        board.get("battery_full_mv"),
        _output(board, "battery_enable"),
        board.get("battery_enable_on"),
    )


def solar(board: Board) -> "Voltmeter | None":
    """The panel's or the mains' voltage."""
    if not board.has("solar_adc"):
        return None
    return Voltmeter(machine.ADC(machine.Pin(board.get("solar_adc"))), board.get("solar_full_mv"))


def fit_body(board: Board, node: "Node", files: "Files") -> None:
    """Give `node` what the case has: accelerometer, hygrometer, lid switch; often nothing."""
    if not (board.has("i2c") or board.has("lid")):
        return  # and no memory is spent on it
    chips = __import__("firmware.drivers.i2c", None, None, ("Accelerometer",))
    module = __import__("firmware.body", None, None, ("Body",))
    accelerometer = hygrometer = None
    if board.has("i2c"):
        sda, scl = machine.Pin(board.get("i2c_sda")), machine.Pin(board.get("i2c_scl"))
        bus = machine.I2C(board.get("i2c"), sda=sda, scl=scl)
        if board.has("accel"):
            accelerometer = chips.Accelerometer(bus, board.get("accel"), time.sleep_ms)
        if board.has("humidity"):
            hygrometer = chips.Hygrometer(bus, time.sleep_ms)
    record = Record(files, "mount")
    lid = contact(board, "lid")
    node.body = module.Body(node, record, accelerometer, hygrometer, lid, ticks_ms())


def blinker(board: Board) -> Blinker:
    """LED and buzzer."""
    led_on = board.get("led_on")
    return Blinker(
        _output(board, "led", 1 - led_on if led_on >= 0 else 0),
        led_on if led_on >= 0 else 1,
        _output(board, "buzzer"),
    )


def siren(board: Board) -> "machine.Pin | None":
    """The siren's relay."""
    return _output(board, "siren")


def siren_test(board: Board) -> "machine.Pin | None":
    """The line that starts the amplifier's silent test."""
    return _output(board, "siren_test")


def siren_current(board: Board) -> "Voltmeter | None":
    """The amplifier's current, as milliamperes where the others have millivolts."""
    if not board.has("siren_adc"):
        return None
    return Voltmeter(machine.ADC(machine.Pin(board.get("siren_adc"))), board.get("siren_full_ma"))
