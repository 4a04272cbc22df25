"""Modbus slaves as makers build them: register maps, RTU on RS-485, faults. Independent of ours.

Public: `Slave` (answers a PDU from registers), `RtuSlave` (on a serial line), `Rs485` (the
transceiver with its driver-enable pin), `tcp_answer` (MBAP), `crc16`.
Nothing here imports `protocols.modbus`, so that the two check each other.
"""

import random
from collections.abc import Callable

from sim.board import Uart
from sim.kernel import Event, Simulation

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS (reflected 0x8005, start 0xFFFF), low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc.to_bytes(2, "little")


class Slave:
    """Registers behind functions 3, 4 and 6.

    `read(address)` gives a 16-bit value or None where there is no register; `functions` are the
    read functions this device knows. A write calls `write(address, value)`, True when accepted.
    """

    def __init__(
        self,
        read: Callable[[int], int | None],
        *,
        functions: tuple[int, ...] = (3,),
        write: Callable[[int, int], bool] | None = None,
    ) -> None:
        self._read = read
        self._functions = functions
        self._write = write
        self.requests = 0

    def answer(self, pdu: bytes) -> bytes:
        """The answering PDU."""
        self.requests += 1
        function = pdu[0]
        if function in self._functions:
            if len(pdu) != 5:
                return bytes([function | 0x80, ILLEGAL_VALUE])
            first = int.from_bytes(pdu[1:3], "big")
            count = int.from_bytes(pdu[3:5], "big")
            if not 1 <= count <= 125:
                return bytes([function | 0x80, ILLEGAL_VALUE])
            values = [self._read(first + i) for i in range(count)]
            if any(value is None for value in values):
                return bytes([function | 0x80, ILLEGAL_ADDRESS])
            body = b"".join(((value or 0) & 0xFFFF).to_bytes(2, "big") for value in values)
            return bytes([function, len(body)]) + body
        if function == 6 and self._write and len(pdu) == 5:
            address, value = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
            if self._write(address, value):
                return pdu
            return bytes([function | 0x80, ILLEGAL_ADDRESS])
        return bytes([function | 0x80, ILLEGAL_FUNCTION])


def tcp_answer(slave: Slave, buffer: bytearray, unit: int | None = None) -> bytes:
    """Take whole MBAP requests off `buffer`; returns the answers. Other units are not answered.

    Raises ValueError when the stream cannot be Modbus TCP, so that the caller hangs up.
    """
    out = bytearray()
    while len(buffer) >= 7:
        length = int.from_bytes(buffer[4:6], "big")
        if bytes(buffer[2:4]) != b"\0\0" or not 2 <= length <= 254:
            raise ValueError("not Modbus TCP")
        if len(buffer) < 6 + length:
            break
        frame = bytes(buffer[: 6 + length])
        del buffer[: 6 + length]
        if unit is None or frame[6] in (unit, 0xFF):
            pdu = slave.answer(frame[7:])
            out += frame[:4] + (len(pdu) + 1).to_bytes(2, "big") + frame[6:7] + pdu
    return bytes(out)


class Rs485:
    """The transceiver between a UART and the two wires: it sends only while DE is high.

    A DE that falls before the last stop bit cuts the request; one that is still high when a slave
    answers drowns the answer. Both are faults of the driver and recorded as such.
    """

    def __init__(self, sim: Simulation, uart: Uart, de_pin: int) -> None:
        self.sim = sim
        self.uart = uart
        self.slaves: list[RtuSlave] = []
        self.connected = True
        self._de = 0
        self._fell_us = -1
        self._start_us = 0
        uart.device = self
        uart.on_tx = self._sending
        uart.board.watch(de_pin, self._enable)

    def _enable(self, level: int) -> None:
        self._de = level
        if not level:
            self._fell_us = self.sim.now_us

    def _sending(self, start_us: int, end_us: int) -> None:
        self._start_us = start_us
        if not self._de:
            self.sim.fault(self.uart.board.name, "rs485.de_low", until=end_us)

    def receive(self, data: bytes) -> None:
        """See `SerialDevice`: the burst is over."""
        if self._fell_us >= self._start_us and self._fell_us < self.sim.now_us - 1:
            self.sim.fault(self.uart.board.name, "rs485.de_early", us=self.sim.now_us)
            return
        if not self._de and self._fell_us < self._start_us:
            return
        if self.connected:
            for slave in self.slaves:
                slave.hear(data, self.uart.baud, self.uart.frame_format)

    def answer(self, data: bytes, baud: int, frame_format: int) -> None:
        """A slave drives the wires."""
        if not self.connected:
            return
        if self._de:
            self.sim.fault(self.uart.board.name, "rs485.de_late")
            return
        self.uart.from_device(data, baud, frame_format)


class RtuSlave:
    """A slave on RS-485: an address, a line format, a response delay, and what can go wrong.

    `frame_format` as in `Uart.open` (8N1 is 0x48, 8E1 is 0x68). Faults that may be set any time:
    `silent`, `noise` (chance that an answer is damaged).
    """

    def __init__(
        self,
        line: Rs485,
        slave: Slave,
        *,
        address: int = 1,
        baud: int = 9600,
        frame_format: int = 0x48,
        delay_us: int = 8_000,
    ) -> None:
        self.address = address
        self.baud = baud
        self.frame_format = frame_format
        self.delay_us = delay_us
        self.silent = False
        self.noise = 0.0
        self.slave = slave
        self.bad_crc = 0
        self._line = line
        self._sim = line.sim
        self._rng: random.Random = line.sim.rng(f"modbus/{line.uart.board.name}/{address}")
        self._buffer = bytearray()
        self._gap: Event | None = None
        line.slaves.append(self)

    def hear(self, data: bytes, baud: int, frame_format: int) -> None:
        """Bytes on the wires; a frame is over after 3.5 characters of silence."""
        if (baud, frame_format) != (self.baud, self.frame_format):
            data = bytes(self._rng.randrange(256) for _ in data)
        self._buffer += data
        self._sim.cancel(self._gap)
        # A frame is over after 3.5 characters; then it is thought over for `delay_us`.
        quiet_us = round(3.5 * 11e6 / self.baud) if self.baud <= 19200 else 1750
        self._gap = self._sim.after(quiet_us + self.delay_us, self._frame)

    def _frame(self) -> None:
        frame = bytes(self._buffer)
        self._buffer.clear()
        if len(frame) < 4 or crc16(frame[:-2]) != frame[-2:]:
            self.bad_crc += 1
            return
        if self.silent or frame[0] not in (self.address, 0):
            return
        answer = self.slave.answer(frame[1:-2])
        if frame[0] == 0:
            return
        body = frame[:1] + answer
        whole = bytearray(body + crc16(body))
        if self._rng.random() < self.noise:
            whole[self._rng.randrange(len(whole))] ^= 1 << self._rng.randrange(8)
        self._line.answer(bytes(whole), self.baud, self.frame_format)
