"""A PL011 UART for the emulated RP2040, in place of `rp2040py`'s, which never clears TXINTR.

Public: `Pl011`. FIFOs of 32, interrupts at their levels and at receive timeout, BUSY, and bytes
that take their time on the line. Source: RP2040 datasheet 4.2, ARM DDI 0183G chapter 3. No DMA,
no break, no modem lines: MicroPython's `machine.UART` uses none of them.
"""

from collections import deque

from rp2040py.peripherals.peripheral import BasePeripheral
from rp2040py.rp2040 import RP2040

from sim.board import Uart

DR, FR, IBRD, FBRD, LCR_H, CR, IFLS = 0x00, 0x18, 0x24, 0x28, 0x2C, 0x30, 0x34
IMSC, RIS, MIS, ICR, DMACR, RSR = 0x38, 0x3C, 0x40, 0x44, 0x48, 0x04
TXFE, RXFF, TXFF, RXFE, BUSY = 1 << 7, 1 << 6, 1 << 5, 1 << 4, 1 << 3
RX_INT, TX_INT, TIMEOUT_INT, OVERRUN_INT = 1 << 4, 1 << 5, 1 << 6, 1 << 10
FIFO_SIZE = 32

_LEVELS = (4, 8, 16, 24, 28)
_FEN, _UARTEN, _TXE, _RXE = 1 << 4, 1 << 0, 1 << 8, 1 << 9
_TIMEOUT_BITS = 32
_USUAL_BAUDS = (1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400)
_ID = {0xFE0: 0x11, 0xFE4: 0x10, 0xFE8: 0x34, 0xFF0: 0x0D, 0xFF4: 0xF0, 0xFF8: 0x05, 0xFFC: 0xB1}


class Pl011(BasePeripheral):
    """UART `number` of `mcu`, on the line of `uart`; `sync()` brings the simulation up to date."""

    def __init__(self, mcu: RP2040, number: int, irq: int, uart: Uart) -> None:
        super().__init__(mcu, f"UART{number}")
        self.mcu = mcu
        self.uart = uart
        self._irq = irq
        self._tx: deque[int] = deque()
        self._rx: deque[int] = deque()
        self._shifting = -1
        self._shift_alarm = mcu.clock.create_alarm(self._shifted)
        self._timeout_alarm = mcu.clock.create_alarm(self._timed_out)
        self._registers: dict[int, int] = {}
        self._raised = 0
        self._divisors = (0, 0)
        self.reset()

    def sync(self) -> None:
        """Called before the line is touched; the chip replaces it."""

    def settle(self) -> None:
        """Called after the line was touched; the chip replaces it."""

    def reset(self) -> None:
        """Registers as after power-on; what is on the wires stays."""
        self._registers = {
            IBRD: 0, FBRD: 0, LCR_H: 0, CR: _TXE | _RXE, IFLS: 0x12, IMSC: 0, DMACR: 0, RSR: 0,
        }  # fmt: skip
        self._raised = 0
        self._divisors = (0, 0)
        self._tx.clear()
        self._rx.clear()
        self._shifting = -1
        self._shift_alarm.cancel()
        self._timeout_alarm.cancel()
        self._interrupt()

    @property
    def baud(self) -> float:
        """Bits a second by the divisors in force; 0 when they are not set."""
        divisor = self._divisors[0] + self._divisors[1] / 64
        return self.mcu.clk_peri / (16 * divisor) if divisor else 0.0

    @property
    def frame_format(self) -> int:
        """As `sim.board.Uart.open` has it."""
        line = self._registers[LCR_H]
        parity = 0 if not line & 2 else 2 if line & 4 else 1
        return (5 + (line >> 5 & 3)) | parity << 4 | (2 if line & 8 else 1) << 6

    def _character_ns(self) -> float:
        code = self.frame_format
        bits = 1 + (code & 15) + (1 if code >> 4 & 3 else 0) + (code >> 6)
        return bits * 1e9 / self.baud

    def _depth(self) -> int:
        return FIFO_SIZE if self._registers[LCR_H] & _FEN else 1

    def _level(self, shift: int) -> int:
        if self._depth() == 1:
            return 1 if shift else 0
        return _LEVELS[min(self._registers[IFLS] >> shift & 7, 4)]

    def _interrupt(self) -> None:
        self.mcu.set_interrupt(self._irq, bool(self._raised & self._registers[IMSC]))

    # The line.

    def hear(self, data: bytes) -> None:
        """Characters have arrived; what finds no room is lost and raises the overrun."""
        if not self._registers[CR] & _UARTEN or not self._registers[CR] & _RXE:
            return
        for byte in data:
            if len(self._rx) >= self._depth():
                self._raised |= OVERRUN_INT
                break
            self._rx.append(byte)
        if len(self._rx) >= self._level(3):
            self._raised |= RX_INT
        self._watch_silence()
        self._interrupt()

    def _watch_silence(self) -> None:
        if self._rx and self.baud:
            self._timeout_alarm.schedule(_TIMEOUT_BITS * 1e9 / self.baud)
        else:
            self._timeout_alarm.cancel()

    def _timed_out(self) -> None:
        if self._rx:
            self._raised |= TIMEOUT_INT
            self._interrupt()

    def _send_next(self) -> None:
        if self._shifting >= 0 or not self._tx or not self.baud:
            return
        if not self._registers[CR] & _UARTEN or not self._registers[CR] & _TXE:
            return
        level = self._level(0)
        before = len(self._tx)
        self._shifting = self._tx.popleft()
        if before > level >= len(self._tx) or not self._tx:
            self._raised |= TX_INT
            self._interrupt()
        length_ns = self._character_ns()
        self._shift_alarm.schedule(length_ns)
        self.sync()
        now_us = self.uart.sim.now_us
        self.uart.tx_bytes += 1
        if self.uart.on_tx:
            self.uart.on_tx(now_us, now_us + round(length_ns / 1000))
        self.settle()

    def _shifted(self) -> None:
        byte, self._shifting = self._shifting, -1
        self.sync()
        if self.uart.device:
            self.uart.device.receive(bytes([byte]))
        self._send_next()
        self.settle()

    def _open(self) -> None:
        self.sync()
        if self._registers[CR] & _UARTEN and self.baud:
            close = [usual for usual in _USUAL_BAUDS if abs(usual - self.baud) < 0.015 * usual]
            self.uart.open(close[0] if close else round(self.baud), self.frame_format, 256)
        else:
            self.uart.close()

    # The registers.

    def read_uint32(self, offset: int) -> int:
        """See `Peripheral`."""
        if offset == DR:
            value = self._rx.popleft() if self._rx else 0
            if len(self._rx) < self._level(3):
                self._raised &= ~RX_INT
            if not self._rx:
                self._raised &= ~TIMEOUT_INT
            self._watch_silence()
            self._interrupt()
            return value
        if offset == FR:
            flags = TXFE if not self._tx else 0
            flags |= RXFE if not self._rx else 0
            flags |= TXFF if len(self._tx) >= self._depth() else 0
            flags |= RXFF if len(self._rx) >= self._depth() else 0
            return flags | (BUSY if self._tx or self._shifting >= 0 else 0)
        if offset == RIS:
            return self._raised
        if offset == MIS:
            return self._raised & self._registers[IMSC]
        if offset in self._registers:
            return self._registers[offset]
        return _ID.get(offset, 0)

    def write_uint32(self, offset: int, value: int) -> None:
        """See `Peripheral`."""
        if offset == DR:
            if len(self._tx) < self._depth():
                self._tx.append(value & 0xFF)
                if len(self._tx) > self._level(0):
                    self._raised &= ~TX_INT
                    self._interrupt()
                self._send_next()
        elif offset == ICR:
            # A bus write to the SET or CLR alias reads first; what was written counts here.
            self._raised &= ~self.raw_write_value
            self._interrupt()
        elif offset in self._registers:
            before = self._registers[offset]
            self._registers[offset] = value
            if offset == LCR_H:  # the divisors take effect with this write
                divisors = (self._registers[IBRD], self._registers[FBRD])
                changed = divisors != self._divisors or (before ^ value) & ~_FEN
                self._divisors = divisors
                if changed and self._registers[CR] & _UARTEN:
                    self._open()
            elif offset == CR:
                if (before ^ value) & _UARTEN:
                    self._open()
                self._send_next()
            elif offset == IMSC:
                self._interrupt()
