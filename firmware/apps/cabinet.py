"""The conflict monitor as a program: pins in, relay out, every 10 ms, under a hardware watchdog.

Lamps are read back through opto-couplers and a chain of 74HC165 shift registers on SPI0: six bytes,
red, yellow and green of channels 15..0, high byte first. If this program stops, the watchdog resets
the chip, the relay output goes high-impedance, and its pull-down drops the cabinet to flash.
"""

import sys
import time

import machine
from micropython import const

from firmware.cabinet.cabinet import Cabinet
from firmware.cabinet.monitor import NAMES
from firmware.hardware import ticks_ms
from firmware.store.files import Files
from protocols.ticks import ticks_diff

STEP_MS = const(10)
_WATCHDOG_MS = const(200)
_PIN_SCK, _PIN_MISO, _PIN_LOAD = const(2), const(4), const(5)
_PIN_RELAY, _PIN_WATCHDOG, _PIN_RESET, _PIN_FLASH = const(6), const(7), const(8), const(9)
_PIN_LED, _PIN_CURRENT_LOAD = const(25), const(10)


class ShiftChain:
    """74HC165s on an SPI bus: pulse load, then clock the bytes in."""

    def __init__(self, spi: "machine.SPI", load: "machine.Pin") -> None:
        self._spi = spi
        self._load = load

    def read_into(self, buf: bytearray) -> None:
        """Latch all inputs and read `len(buf)` bytes, first register first."""
        self._load.value(0)
        self._load.value(1)
        self._spi.readinto(buf)


def run(root: str = "/") -> None:
    """Never returns; whatever goes wrong ends in a reset by the watchdog, and so in flash."""
    watchdog = machine.WDT(timeout=_WATCHDOG_MS)
    pin = machine.Pin
    spi = machine.SPI(0, baudrate=2_000_000, sck=pin(_PIN_SCK), miso=pin(_PIN_MISO))
    cabinet = Cabinet(
        ShiftChain(spi, pin(_PIN_LOAD, pin.OUT, value=1)),
        pin(_PIN_RELAY, pin.OUT, value=0),
        pin(_PIN_WATCHDOG, pin.IN),
        pin(_PIN_RESET, pin.IN, pin.PULL_UP),
        pin(_PIN_FLASH, pin.IN, pin.PULL_UP),
        Files(root),
        ticks_ms(),
    )
    led = pin(_PIN_LED, pin.OUT, value=0)
    shown = -1
    while True:
        now_ms = ticks_ms()
        cabinet.step(now_ms)
        watchdog.feed()
        fault = cabinet.monitor.fault
        if fault != shown:
            shown = fault
            led.value(1 if fault else 0)
            sys.stdout.write("monitor: " + NAMES[fault] + "\n")
        left = STEP_MS - ticks_diff(ticks_ms(), now_ms)
        if left > 0:
            time.sleep_ms(left)
