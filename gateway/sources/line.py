"""One Modbus line as the poller sees it: `open_line`, `Line`, `LineError`.

A port is written as a device path (RTU on a serial adapter; take the name under
/dev/serial/by-id, which survives re-plugging), as `tcp://host:port` (Modbus TCP, by pymodbus)
or as `rtu+tcp://host:port` (RTU bytes through a serial device server).

RTU does not use pymodbus: its client loses the second of two replies that arrive in one read, and
one noise byte before a reply discards the reply (3.16.1). `protocols.modbus.client` does neither.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Protocol

import serial
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from protocols.modbus.client import RtuClient

# Longer than the 3.5 characters of the standard: USB adapters hand over in pieces of up to 16 ms.
# It only decides when a broken reply is given up; a good one is seen with its last byte.
_IDLE_S_MIN = 0.02
_RECOVER_S = 0.05


class LineError(Exception):
    """A unit did not give its registers; `code` is timeout, noise, exception or strange."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Line(Protocol):
    """A bus with one request at a time."""

    async def open(self) -> None:
        """Connect. Raises OSError."""
        ...

    async def read(
        self, unit: int, function: int, address: int, count: int, timeout_s: float
    ) -> list[int]:
        """Registers of one unit. Raises LineError, or OSError when the line itself is gone."""
        ...

    def close(self) -> None:
        """Let go of the port; repeats are harmless."""
        ...


def open_line(port: str, baud: int = 9600, frame: str = "8N1") -> Line:
    """The line for a port as written in the configuration; it is not opened yet."""
    scheme, _, rest = port.partition("://")
    if rest and scheme in ("tcp", "rtu+tcp"):
        host, _, number = rest.rpartition(":")
        host = host.strip("[]")
        if scheme == "tcp":
            return TcpLine(host, int(number))
        return RtuLine(_SocketPipe(host, int(number)), character_s=0.001)
    bits = 1 + int(frame[0]) + (frame[1] != "N") + int(frame[2])
    return RtuLine(_SerialPipe(port, baud, frame), character_s=bits / baud)


class TcpLine:
    """Modbus TCP."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._client: AsyncModbusTcpClient | None = None

    async def open(self) -> None:
        """Connect. Raises OSError."""
        self.close()
        # Our own time-outs and back-off decide, so pymodbus shall not retry or reconnect.
        client = AsyncModbusTcpClient(
            self._host, port=self._port, timeout=5, retries=0, reconnect_delay=0
        )
        if not await client.connect():
            client.close()
            raise ConnectionError(f"no answer from {self._host}:{self._port}")
        self._client = client

    async def read(
        self, unit: int, function: int, address: int, count: int, timeout_s: float
    ) -> list[int]:
        """Registers of one unit. Raises LineError, or OSError when the connection is gone."""
        client = self._client
        if client is None or not client.connected:
            raise ConnectionError(f"{self._host}:{self._port} is not connected")
        call = client.read_holding_registers if function == 3 else client.read_input_registers
        try:
            async with asyncio.timeout(timeout_s):
                reply = await call(address, count=count, device_id=unit)
        except TimeoutError:
            raise LineError("timeout") from None
        except ModbusException as error:
            if not client.connected:
                raise ConnectionError(str(error)) from None
            raise LineError("strange", str(error)) from None
        if reply.isError():
            raise LineError("exception", str(getattr(reply, "exception_code", reply)))
        if len(reply.registers) < count:
            raise LineError("strange", f"{len(reply.registers)} of {count} registers")
        return list(reply.registers[:count])

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


class _Pipe(Protocol):
    name: str

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class _SerialPipe:
    """Bytes through a serial port, read by the event loop."""

    def __init__(self, path: str, baud: int, frame: str) -> None:
        self.name = path
        self._baud = baud
        self._frame = frame
        self._port: serial.Serial | None = None

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self.close()
        frame = self._frame
        port = serial.Serial(
            self.name,
            self._baud,
            bytesize=int(frame[0]),
            parity=frame[1],
            stopbits=int(frame[2]),
            timeout=0,
            exclusive=True,
        )
        number = port.fileno()

        def readable() -> None:
            try:
                data = os.read(number, 512)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                on_data(data)
            else:
                self.close()
                on_end()

        asyncio.get_running_loop().add_reader(number, readable)
        self._port = port

    def write(self, data: bytes) -> None:
        if self._port is None:
            raise ConnectionError(f"{self.name} is not open")
        os.write(self._port.fileno(), data)

    def close(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()


class _SocketPipe(asyncio.Protocol):
    """Bytes through a TCP connection."""

    def __init__(self, host: str, port: int) -> None:
        self.name = f"{host}:{port}"
        self._address = host, port
        self._transport: asyncio.Transport | None = None
        self._on_data: Callable[[bytes], None]
        self._on_end: Callable[[], None]

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self.close()
        self._on_data = on_data
        self._on_end = on_end
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            self._transport, _ = await loop.create_connection(lambda: self, *self._address)

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._on_end()

    def write(self, data: bytes) -> None:
        if self._transport is None:
            raise ConnectionError(f"{self.name} is not connected")
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.close()


class RtuLine:
    """Modbus RTU over a pipe of bytes: the shell around `protocols.modbus.client.RtuClient`."""

    def __init__(self, pipe: _Pipe, character_s: float) -> None:
        self._pipe = pipe
        self.client = RtuClient()
        self._gap_s = max(3.5 * character_s, 0.00175)
        self._character_s = character_s
        self._idle_s = max(2 * self._gap_s, _IDLE_S_MIN)
        self._waiter: asyncio.Future[bool] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._heard = 0.0  # loop time of the last byte, either way

    async def open(self) -> None:
        """Open the port. Raises OSError."""
        await self._pipe.open(self._on_data, self._on_end)

    async def read(
        self, unit: int, function: int, address: int, count: int, timeout_s: float
    ) -> list[int]:
        """Registers of one unit. Raises LineError, or OSError when the port is gone."""
        loop = asyncio.get_running_loop()
        wait = self._heard + self._gap_s - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        client = self.client
        noise = client.noise_bytes
        length = client.read_into(unit, function, address, count)
        waiter = self._waiter = loop.create_future()
        self._pipe.write(bytes(client.tx[:length]))
        # The time-out is the unit's; the wire's own time comes on top.
        wire_s = (length + 5 + 2 * count) * self._character_s
        self._heard = loop.time() + length * self._character_s
        try:
            async with asyncio.timeout(timeout_s + wire_s):
                is_answered = await waiter
        except TimeoutError:
            client.timed_out()
            # What is still on the wire must not be taken for the next answer.
            self._heard = max(self._heard, loop.time()) + _RECOVER_S
            is_noise = client.noise_bytes > noise
            raise LineError("noise" if is_noise else "timeout") from None
        finally:
            self._waiter = None
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
        if not is_answered:
            raise ConnectionError(f"{self._pipe.name} went away")
        if client.exception:
            raise LineError("exception", str(client.exception))
        if client.count != count:
            raise LineError("strange", f"{client.count} of {count} registers")
        return [client.register(index) for index in range(count)]

    def close(self) -> None:
        """Let go of the port."""
        self._pipe.close()

    def _on_data(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        if self.client.feed(data):
            self._answer(True)
            return
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(self._idle_s, self._on_idle)

    def _on_idle(self) -> None:
        if self.client.line_idle():
            self._answer(True)

    def _on_end(self) -> None:
        self._answer(False)

    def _answer(self, is_answered: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(is_answered)
