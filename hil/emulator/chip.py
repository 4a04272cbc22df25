"""An emulated RP2040 (`rp2040py`) with its pins, buses and converter on a simulated board.

Public: `Chip`, `EmulatorError`, `ensure_available`. Three defects of the emulator are mended from
outside: a USB host that interrupts an idle device every 10 us (`_QuietCdc` does not answer
until there is data), a UART that never ends its interrupt (`Pl011`), and a peripheral clock of
125 MHz where MicroPython runs it at 48 MHz. `rp2040py` is pinned by the lock: its `_execute_batch`
is private.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sim.board import PINS, Board
from sim.kernel import Simulation

if TYPE_CHECKING:
    from rp2040py.usb.cdc import USBCDC

CLK_PERI_HZ = 48_000_000
FLASH_BYTES = 2 * 1024 * 1024  # of a Pico
_APB_UARTS = (0x40034, 0x40038)
_APB_ROSC = 0x40060
_RANDOMBIT = 0x1C


class EmulatorError(Exception):
    """The emulator cannot be used; the text says what to do."""


def ensure_available() -> None:
    """Raises EmulatorError when the emulator is not installed."""
    try:
        import rp2040py  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        raise EmulatorError(
            "no emulator: rp2040py is not installed; run `make setup`, or install the extra"
            " `emulator` of this project"
        ) from None


def _quiet_cdc(usb: object) -> "USBCDC":
    """The host's end of the USB console, which keeps silent (NAK) when it has nothing to say."""
    from rp2040py.peripherals.usb import RPUSBController
    from rp2040py.usb.cdc import USBCDC

    assert isinstance(usb, RPUSBController)
    cdc = USBCDC(usb)
    answer = usb.on_endpoint_read
    assert answer

    def on_read(endpoint: int, size: int) -> None:
        if endpoint == 0:
            answer(endpoint, size)

    usb.on_endpoint_read = on_read
    return cdc


class Chip:
    """One RP2040 from power-on to power-off, its clock beginning at the simulation's present.

    `run(until_us)` lets it compute; while it does, it moves `sim.now_us` whenever it touches the
    board, and stops early when that brought an event closer. `console` gets what it prints on USB.
    """

    def __init__(
        self,
        sim: Simulation,
        board: Board,
        flash: bytes | bytearray,
        *,
        console: Callable[[bytes], None] | None = None,
        on_reset: Callable[[bool], object] | None = None,
    ) -> None:
        ensure_available()
        from rp2040py.device.bootrom import BOOTROM_B1
        from rp2040py.gpio_pin import GPIOPinState
        from rp2040py.irq import IRQ
        from rp2040py.memory_map import FLASH_START_ADDRESS
        from rp2040py.rp2040 import RP2040
        from rp2040py.simulator import Simulator
        from rp2040py.utils.logging import ConsoleLogger, LogLevel

        from hil.emulator.pl011 import Pl011
        from hil.emulator.rosc import Rosc

        self.sim = sim
        self.board = board
        self.overshoot_us = 0
        self._zero_us = sim.now_us
        self._high, self._low = GPIOPinState.HIGH, GPIOPinState.LOW
        self._runs = False
        self._until_us = 0
        self._on_reset = on_reset
        self.mcu = mcu = RP2040()
        self._simulator = Simulator(rp2040=mcu)
        mcu.logger = ConsoleLogger(LogLevel.ERROR, False)
        mcu.load_bootrom(BOOTROM_B1)
        mcu.flash[: len(flash)] = flash
        mcu.clk_peri = CLK_PERI_HZ
        self._stop_alarm = mcu.clock.create_alarm(self._stop)
        self.uarts: list[Pl011] = []
        for number, irq in enumerate((IRQ.UART0, IRQ.UART1)):
            uart = Pl011(mcu, number, irq, board.uarts[number])
            uart.sync, uart.settle = self.sync, self.settle
            mcu.uart[number] = uart  # pyright: ignore[reportArgumentType, reportCallIssue]
            mcu.peripherals[_APB_UARTS[number]] = uart
            self.uarts.append(uart)
        mcu.peripherals[_APB_ROSC] = Rosc(mcu, sim.rng("rosc/" + board.name))
        self._wire_spi()
        self._read_adc = mcu.adc.on_adc_read
        mcu.adc.on_adc_read = self._adc
        for pin in range(PINS):
            mcu.gpio[pin].add_listener(self._listener(pin))
        for pin, level in board.driven.items():
            mcu.gpio[pin].set_input_value(bool(level))
        mcu.watchdog.on_watchdog_trigger = self._watchdog
        self.cdc = _quiet_cdc(mcu.usb_ctrl)
        if console:
            self.cdc.on_serial_data = lambda data: console(bytes(data))
        mcu.core.pc = FLASH_START_ADDRESS

    # Time.

    def now_us(self) -> int:
        """The chip's own time on the simulation's scale."""
        return self._zero_us + int(self.mcu.clock.nanos // 1000)

    def sync(self) -> None:
        """Bring the simulation's clock up to the chip's, before the chip touches the board."""
        now_us = self.now_us()
        if now_us > self.sim.now_us:
            self.sim.now_us = now_us

    def settle(self) -> None:
        """After a touch: something may be due sooner than the chip was told."""
        if self._runs:
            due_us = self.sim.next_us()
            if due_us is not None and due_us < self._until_us:
                self._until_us = max(due_us, self.now_us())
                self._arm_stop()

    def _arm_stop(self) -> None:
        due_ns = (self._until_us - self._zero_us) * 1000 - self.mcu.clock.nanos
        self._stop_alarm.schedule(max(0.0, due_ns))

    def _stop(self) -> None:
        self._simulator.stopped = True

    def run(self, until_us: int) -> None:
        """Compute up to `until_us` of the simulation's time, or to the next event before it."""
        simulator = self._simulator
        self._until_us = until_us
        self._runs = True
        simulator.stopped = False
        self._arm_stop()
        try:
            while not simulator.stopped:
                simulator._execute_batch()  # pyright: ignore[reportPrivateUsage]
        finally:
            self._runs = False
            self._stop_alarm.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether the processor waits for an interrupt."""
        return bool(self.mcu.core.waiting)

    def wake_us(self) -> int | None:
        """When an idle chip has something to do by itself; None: never."""
        clock = self.mcu.clock
        if not self.is_idle:
            return self.now_us()
        if not clock.has_scheduled_alarm:  # pyright: ignore[reportAttributeAccessIssue]
            return None
        return self.now_us() + int(clock.nanos_to_next_alarm // 1000)

    def catch_up(self) -> None:
        """An idle chip's clock moves to the simulation's present; nothing of its own is due."""
        behind_ns = (self.sim.now_us - self._zero_us) * 1000 - self.mcu.clock.nanos
        if behind_ns > 0 and self.is_idle:
            self.mcu.clock.tick(behind_ns)

    # What the board sees.

    def _listener(self, pin: int) -> Callable[[object, object], None]:
        def changed(state: object, _: object) -> None:
            self.sync()
            if state in (self._high, self._low):
                self.board.write_pin(pin, 1 if state == self._high else 0)
            elif pin in self.board.outputs:
                self.board.write_pin(pin, self.board.idle.get(pin, 0))
            self.settle()

        return changed

    def _wire_spi(self) -> None:
        for bus, spi in enumerate(self.mcu.spi):
            pending: list[int] = []
            done = self.mcu.clock.create_alarm(
                lambda spi=spi, pending=pending: spi.complete_transmit(pending.pop())
            )

            def transmit(
                value: int, bus: int = bus, spi: object = spi, pending: list[int] = pending,
                done: object = done,
            ) -> None:  # fmt: skip
                self.sync()
                self._check_mode(bus)
                answer, _ = self.board.spi(bus, bytes([value & 0xFF]))
                pending.append(answer[0])
                hz = self.mcu.spi[bus].clock_frequency or 1_000_000
                done.schedule(8e9 / hz)  # pyright: ignore[reportAttributeAccessIssue]
                self.settle()

            spi.on_transmit = transmit

    def _check_mode(self, bus: int) -> None:
        if self.mcu.spi[bus].spi_mode:
            self.sim.fault(self.board.name, "spi.mode", mode=self.mcu.spi[bus].spi_mode)

    def _adc(self, channel: int) -> None:
        self.sync()
        self.mcu.adc.channel_values[channel] = self.board.read_adc(channel) >> 4
        self._read_adc(channel)

    # What the board does.

    def set_input(self, pin: int, level: int) -> None:
        """An input changed."""
        self.mcu.gpio[pin].set_input_value(bool(level))

    def hear(self, uart: int) -> None:
        """Characters are on the line of `uart`."""
        line = self.board.uarts[uart]
        self.uarts[uart].hear(line.read(line.waiting()))

    def reset(self) -> None:
        """The reset line: everything but RAM and flash starts anew."""
        self.mcu.enter_reset()
        self.mcu.leave_reset()

    def _watchdog(self) -> None:
        bitten = bool(self.mcu.watchdog.read_uint32(8) & 1)
        self.sync()
        self.mcu.enter_reset(from_watchdog=True)
        self.mcu.leave_reset()
        if self._on_reset:
            self._on_reset(bitten)


def flash_of(uf2: Path) -> bytearray:
    """The flash of a Pico with the firmware of a UF2 file; raises EmulatorError."""
    ensure_available()
    from rp2040py.device.load_flash import decode_block

    try:
        content = uf2.read_bytes()
    except OSError as error:
        raise EmulatorError(f"{uf2}: {error.strerror}; expected a UF2 file") from None
    flash = bytearray(b"\xff" * FLASH_BYTES)
    if not content or len(content) % 512:
        raise EmulatorError(f"{uf2}: {len(content)} bytes; a UF2 file is a multiple of 512")
    for at in range(0, len(content), 512):
        try:
            block = decode_block(content[at : at + 512])
        except ValueError:
            raise EmulatorError(f"{uf2}: block {at // 512} is not UF2") from None
        offset = block.flash_address - 0x1000_0000
        if not 0 <= offset <= FLASH_BYTES - len(block.payload):
            raise EmulatorError(
                f"{uf2}: address {block.flash_address:#x} is not in a Pico's flash; take the file"
                " for RPI_PICO (RP2040, 2 MB)"
            )
        flash[offset : offset + len(block.payload)] = block.payload
    return flash
