"""From the end of an uplink to the end of its windows nothing allocates; the interrupt neither."""

import gc
import sys

from firmware.drivers.rain import RainGauge
from firmware.drivers.sx126x import (
    RADIO_NONE,
    RADIO_RX_TIMEOUT,
    RADIO_STUCK,
    RADIO_TX_DONE,
    Sx126x,
)
from firmware.drivers.sx126x_bus import RadioError
from tests.firmware.device.fakes import PinFake

if sys.implementation.name == "micropython":
    from micropython import heap_lock, heap_unlock
else:

    def heap_lock():
        gc.disable()

    def heap_unlock():
        gc.enable()


class ChipFake:
    """Answers every command with mode standby and, to GetIrqStatus, with `irq`."""

    def __init__(self):
        self.irq = 0
        self.opcodes = bytearray(400)
        self.count = 0

    def write(self, data):
        self._note(data[0])

    def write_readinto(self, out, into):
        opcode = out[0]
        self._note(opcode)
        for i in range(1, len(into)):
            into[i] = 0
        into[0] = 0x22
        into[1] = 0x22
        if opcode == 0x12:
            into[2] = self.irq >> 8
            into[3] = self.irq & 0xFF

    def _note(self, opcode):
        self.opcodes[self.count] = opcode
        self.count += 1


class BusyFake:
    """Busy for `reads` readings, then not."""

    def __init__(self, reads=0):
        self.reads = reads

    def value(self, level=None):
        if self.reads:
            self.reads -= 1
            return 1
        return 0


class QuietPin(PinFake):
    """Keeps no record of its writes, which would allocate."""

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level
        return None


def radio(busy=None, clock=None):
    chip = ChipFake()
    now = clock or [0]

    def ticks():
        now[0] += 1
        return now[0]

    dio1 = PinFake()
    driver = Sx126x(
        chip, QuietPin(1), QuietPin(1), busy or BusyFake(), dio1, ticks, lambda ms: None, 1800
    )
    driver.start(920_000_000, 923_000_000)
    return driver, chip, dio1


def test_a_receive_window_allocates_nothing():
    driver, chip, dio1 = radio()
    driver.standby()
    chip.irq = 0x0200
    chip.count = 0
    gc.collect()
    heap_lock()
    try:
        driver.receive(921_400_000, 10, 125_000, 8, 1000)
        early = driver.poll(1001)
        wait = driver.wait_ms(1001)
        dio1.handler(dio1)
        late = driver.poll(1090)
        driver.receive(921_400_000, 10, 125_000, 200, 2000, True)
        listening = driver.poll(9_000_000)
        driver.standby()
    finally:
        heap_unlock()
    assert (early, late, listening) == (RADIO_NONE, RADIO_RX_TIMEOUT, RADIO_NONE)
    assert wait > 0
    assert bytes(chip.opcodes[:2]) == b"\x80\x8b"


def test_the_interrupt_stamps_and_allocates_nothing():
    driver, chip, dio1 = radio()
    driver.transmit(b"hello", 5, 921_400_000, 7, 125_000, 14, 0)
    chip.irq = 0x0001
    gc.collect()
    heap_lock()
    try:
        dio1.handler(dio1)
        stamped = driver.irq_ms
        result = driver.poll(60)
    finally:
        heap_unlock()
    assert result == RADIO_TX_DONE and stamped > 0
    assert driver.poll(61) == RADIO_NONE


def test_rain_counts_with_the_heap_locked():
    now = [1000]
    pin = PinFake(1)
    gauge = RainGauge(pin, lambda: now[0])
    heap_lock()
    try:
        for i in range(10):
            now[0] = 1000 + 500 * i
            pin.fire()
    finally:
        heap_unlock()
    assert gauge.take() == 10


def test_a_radio_that_never_answers_is_given_up():
    driver, _chip, _dio1 = radio()
    driver.transmit(b"hello", 5, 921_400_000, 7, 125_000, 14, 0, airtime_ms_max=60)
    assert driver.poll(500) == RADIO_NONE
    assert driver.poll(600) == RADIO_STUCK
    assert driver.stuck == 1


def test_busy_for_ever_is_an_error():
    busy = BusyFake()
    driver, _chip, _dio1 = radio(busy)
    busy.reads = 1_000_000
    try:
        driver.standby()
        assert False
    except RadioError as error:
        assert error.code == "busy"


def test_too_long_or_empty_is_refused():
    driver, _chip, _dio1 = radio()
    for length in (0, 256):
        try:
            driver.transmit(bytes(256), length, 921_400_000, 7, 125_000, 14, 0)
            assert False
        except RadioError as error:
            assert error.code == "length"
