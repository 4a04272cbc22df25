"""Instruments on serial ports: a Modbus sensor, a GNSS receiver, a reset line.

Public: `SerialRtuEdge`, `GnssPort`, `ResetLine`. Their models are those of the simulation; a paced
loop serves them (`hil.pace`).
"""

import selectors
import time
from typing import Any

import serial

from hil.board.link import BoardError
from sim.board import Board, Uart
from sim.chips.modbus import Slave, crc16
from sim.kernel import Event, Simulation

_SILENCE_US = 8_000  # USB adapters hold bytes back for some ms


def _open(port: str, baud: int, parity: str = "N") -> Any:
    try:
        return serial.Serial(port, baud, parity=parity, timeout=0, exclusive=True)
    except (OSError, ValueError) as error:
        raise BoardError(f"{port}: {error}; see docs/bench-wiring.md") from None


class SerialRtuEdge:
    """An RTU slave on a USB-RS485 adapter. `silent` and `noise` may be set at any time."""

    def __init__(
        self, sim: Simulation, slave: Slave, address: int, port: str, baud: int, parity: str
    ) -> None:
        self.sim = sim
        self.slave = slave
        self.address = address
        self.silent = False
        self.noise = 0.0
        self.requests = 0
        self._line = _open(port, baud, parity)
        self._buffer = bytearray()
        self._gap: Event | None = None
        self._rng = sim.rng("bench/sensor")

    def open(self, selector: selectors.BaseSelector) -> None:
        """See `hil.pace.Edge`."""
        selector.register(self._line.fileno(), selectors.EVENT_READ, self._readable)

    def _readable(self) -> None:
        self._buffer += self._line.read(4096)
        self.sim.cancel(self._gap)
        self._gap = self.sim.after(_SILENCE_US, self._frame)

    def _frame(self) -> None:
        frame = bytes(self._buffer)
        self._buffer.clear()
        if len(frame) < 4 or crc16(frame[:-2]) != frame[-2:] or frame[0] != self.address:
            return
        self.requests += 1
        body = frame[:1] + self.slave.answer(frame[1:-2])
        whole = bytearray(body + crc16(body))
        if self._rng.random() < self.noise:
            whole[self._rng.randrange(len(whole))] ^= 1
        if not self.silent:
            self._line.write(whole)

    def close(self) -> None:
        """See `hil.pace.Edge`."""
        self._line.close()


class GnssPort(Uart):
    """A line for `sim.chips.gnss.GnssReceiver` that ends at a USB-UART adapter."""

    def __init__(self, sim: Simulation, board: Board, port: str, baud: int) -> None:
        super().__init__(sim, board, 1)
        self._line = _open(port, baud)
        self.open(baud, 0x48, 256)

    def from_device(self, data: bytes, baud: int, frame_format: int) -> None:
        """The adapter paces it."""
        self._line.write(data)

    def release(self) -> None:
        """Let go of the port."""
        self._line.close()


class ResetLine:
    """RTS of an adapter, through a diode to RUN: low resets the board."""

    def __init__(self, port: str) -> None:
        self._line = _open(port, 9600)
        self._line.rts = False

    def pull(self) -> None:
        """Reset for 50 ms."""
        self._line.rts = True
        time.sleep(0.05)
        self._line.rts = False

    def close(self) -> None:
        """Let go of the port."""
        self._line.close()
