"""A board: the pins, buses and converters between a processor and the simulated devices.

Public: `Board`, `SpiDevice`, `SerialDevice`, `Uart`, `Target`. The processor's side is driven by a
target of the harness (`hil`); devices call `Board.drive`, `Uart.from_device`, and get
`SerialDevice.receive`.
"""

from collections.abc import Callable
from typing import Protocol

from sim.kernel import Simulation

PINS = 30
RISING, FALLING = 8, 4  # as machine.Pin has them
PULL_UP = 1
_FIFO = 16  # a PL011 interrupts at half of its 32 bytes, or when the line falls idle


class SpiDevice(Protocol):
    """What sits on an SPI bus behind a chip select."""

    def select(self, level: int, /) -> None:
        """The chip select changed."""
        ...

    def transfer(self, data: bytes, /) -> bytes:
        """Exchange bytes."""
        ...


class SerialDevice(Protocol):
    """What hangs on a UART."""

    def receive(self, data: bytes, /) -> None:
        """The last stop bit of `data`, sent by the board in one go, has just passed."""
        ...


class Target(Protocol):
    """The processor: told of edges it asked for and of bytes that came."""

    def on_pin(self, pin: int, level: int, /) -> None:
        """An armed input had the edge it is armed for."""
        ...

    def on_uart(self, uart: int, /) -> None:
        """Bytes are in a receive buffer."""
        ...


class Uart:
    """One UART with its line; `device` is what is connected, None when nothing is."""

    def __init__(self, sim: Simulation, board: "Board", number: int) -> None:
        self.sim = sim
        self.board = board
        self.number = number
        self.device: SerialDevice | None = None
        self.baud = 0  # 0: closed
        self.frame_format = 0
        self.overruns = 0
        self.tx_bytes = 0
        self.rx_bytes = 0
        self.on_tx: Callable[[int, int], object] | None = None  # start and end of each burst
        self._rx = bytearray()
        self._rx_size = 256
        self._tx_free_us = 0
        self._line_free_us = 0

    def open(self, baud: int, frame_format: int, rx_size: int) -> None:
        """`frame_format`: bits | parity << 4 (0 none, 1 odd, 2 even) | stop bits << 6."""
        self.baud, self.frame_format, self._rx_size = baud, frame_format, max(rx_size, 32)
        self._rx.clear()

    def close(self) -> None:
        """The pins are released; what arrives is lost."""
        self.baud = 0
        self._rx.clear()

    def character_us(self) -> float:
        """Length of one character on the line, start and stop bits included."""
        bits = self.frame_format & 15
        parity = 1 if self.frame_format >> 4 & 3 else 0
        return (1 + bits + parity + (self.frame_format >> 6)) * 1e6 / self.baud

    def write(self, data: bytes) -> int:
        """Send; returns the us the caller blocks because the 256-byte buffer is full."""
        if not self.baud:
            return 0
        start = max(self.sim.now_us, self._tx_free_us)
        end = start + round(len(data) * self.character_us())
        self._tx_free_us = end
        self.tx_bytes += len(data)
        if self.on_tx:
            self.on_tx(start, end)
        if self.device:
            self.sim.at(end, self.device.receive, data)
        return max(0, end - self.sim.now_us - round(256 * self.character_us()))

    def pending_us(self) -> int:
        """Until the last stop bit leaves."""
        return max(0, self._tx_free_us - self.sim.now_us)

    def from_device(self, data: bytes, baud: int, frame_format: int) -> None:
        """A device sends, from now on, one character after the other."""
        if not self.baud:
            return
        if (baud, frame_format) != (self.baud, self.frame_format):
            # A wrong rate or parity gives framing errors; what gets through is noise.
            rng = self.sim.rng(f"uart/{self.board.name}/{self.number}")
            data = bytes(rng.randrange(256) for b in data if b & 1)
        character = (1 + (frame_format & 15) + (1 if frame_format >> 4 & 3 else 0)) + (
            frame_format >> 6
        )
        start = max(self.sim.now_us, self._line_free_us)
        for i in range(0, len(data), _FIFO):
            part = data[i : i + _FIFO]
            due = start + round((i + len(part)) * character * 1e6 / baud)
            self.sim.at(due, self._arrive, part)
            self._line_free_us = due

    def _arrive(self, data: bytes) -> None:
        if not self.baud:
            return
        room = self._rx_size - len(self._rx)
        if len(data) > room:
            self.overruns += len(data) - room
            data = data[:room]
        self._rx += data
        self.rx_bytes += len(data)
        if data and self.board.target:
            self.board.target.on_uart(self.number)

    def waiting(self) -> int:
        """Bytes in the receive buffer."""
        return len(self._rx)

    def read(self, count: int) -> bytes:
        """Take up to `count` bytes."""
        out = bytes(self._rx[:count])
        del self._rx[:count]
        return out


class Board:
    """Pins 0..29, two SPI buses, two UARTs, five converter channels, PWM outputs."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim = sim
        self.name = name
        self.target: Target | None = None
        self.on_input: Callable[[int], object] | None = None  # any input changed, armed or not
        self.uarts = [Uart(sim, self, 0), Uart(sim, self, 1)]
        self.adc: dict[int, Callable[[], float]] = {}  # channel -> volts at the pin
        self.outputs: dict[int, int] = {}
        self.pwm: dict[int, tuple[int, int]] = {}  # pin -> (Hz, duty 0..65535)
        self.spi_bytes = 0
        self.levels = 0  # bit n: what a read of pin n gives
        self._driven: dict[int, int] = {}
        self._pulls: dict[int, int] = {}
        self._modes: dict[int, int] = {}
        self._triggers: dict[int, int] = {}
        self._watchers: dict[int, list[Callable[[int], object]]] = {}
        self.idle: dict[int, int] = {}  # level of a pin that nobody drives: its pull on the board
        self._spi: list[tuple[int, int, SpiDevice]] = []
        self._spi_baud = {0: 1_000_000, 1: 1_000_000}

    # The devices' side.

    def attach_spi(self, bus: int, cs_pin: int, device: SpiDevice) -> None:
        """Put `device` on `bus` behind the chip select on `cs_pin`."""
        self._spi.append((bus, cs_pin, device))
        self.idle[cs_pin] = 1
        self.watch(cs_pin, device.select)

    def watch(self, pin: int, call: Callable[[int], object]) -> None:
        """Call `call(level)` when the processor changes an output."""
        self._watchers.setdefault(pin, []).append(call)

    def drive(self, pin: int, level: int) -> None:
        """A device drives an input of the processor."""
        before = self.level(pin)
        self._driven[pin] = level
        self._refresh(pin)
        trigger = self._triggers.get(pin, 0)
        armed = trigger & (RISING if level else FALLING)
        if level != before:
            if armed and self.target:
                self.target.on_pin(pin, level)
            if self.on_input:
                self.on_input(pin)

    @property
    def driven(self) -> dict[int, int]:
        """Pin -> level of every input that a device drives."""
        return dict(self._driven)

    # The processor's side.

    def level(self, pin: int) -> int:
        """What a read of `pin` gives: its own output, what drives it, or its pull."""
        if self._modes.get(pin) == 1:
            return self.outputs.get(pin, 0)
        driven = self._driven.get(pin)
        if driven is not None:
            return driven
        return 1 if self._pulls.get(pin, 0) == PULL_UP else 0

    def setup_pin(self, pin: int, mode: int, pull: int, trigger: int) -> None:
        """As machine.Pin.init and irq: `trigger` is a mask of RISING and FALLING."""
        self._modes[pin] = mode
        self._pulls[pin] = pull
        self._triggers[pin] = trigger
        self._refresh(pin)

    def _refresh(self, pin: int) -> None:
        if self.level(pin):
            self.levels |= 1 << pin
        else:
            self.levels &= ~(1 << pin)

    def write_pin(self, pin: int, level: int) -> None:
        """Set an output."""
        if self.outputs.get(pin) != level:
            self.outputs[pin] = level
            self._refresh(pin)
            for call in self._watchers.get(pin, ()):
                call(level)

    def setup_spi(self, bus: int, baud: int, mode: int) -> None:
        """Set the clock; every device here reads mode 0 only."""
        self._spi_baud[bus] = max(baud, 1_000)
        if mode:
            self.sim.fault(self.name, "spi.mode", mode=mode)

    def spi(self, bus: int, data: bytes) -> tuple[bytes, int]:
        """Exchange; returns what came back and the us it took."""
        chosen = [
            device
            for number, cs_pin, device in self._spi
            if number == bus and self.outputs.get(cs_pin, 1) == 0
        ]
        if len(chosen) > 1:
            self.sim.fault(self.name, "spi.two_selected")
        self.spi_bytes += len(data)
        answer = chosen[0].transfer(data) if len(chosen) == 1 else b"\xff" * len(data)
        return answer, 1 + round(8e6 * len(data) / self._spi_baud[bus])

    def read_adc(self, channel: int) -> int:
        """A reading as `read_u16` gives it: 12 bits of 3.3 V, spread to 16."""
        source = self.adc.get(channel)
        volts = source() if source else 0.0
        code = max(0, min(4095, round(volts / 3.3 * 4095)))
        return code << 4 | code >> 8

    def release(self) -> None:
        """The processor is in reset: outputs float to `idle`, UARTs close, nothing is armed."""
        for pin in sorted(self.outputs):
            self.write_pin(pin, self.idle.get(pin, 0))
        self.outputs.clear()
        self._modes.clear()
        self._triggers.clear()
        self._pulls.clear()
        self.pwm.clear()
        for pin in range(PINS):
            self._refresh(pin)
        for uart in self.uarts:
            uart.close()
