"""A Modbus TCP relay board by the letter of the specification: functions 2 and 15, nothing else."""

import asyncio
import struct
from collections.abc import Callable


class RelayBoard:
    """16 coils, 16 inputs. `log` has every state of the coils that was written."""

    def __init__(self) -> None:
        self.coils = [False] * 64
        self.inputs = [False] * 64
        self.log: list[tuple[bool, ...]] = []
        self.units: set[int] = set()
        self.silent = False
        self.refuse = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def until(self, test: Callable[[], bool], seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not test():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                body = await reader.readexactly(length - 1)
                self.units.add(unit)
                if self.silent:
                    continue
                answer = self._answer(body)
                writer.write(struct.pack(">HHHB", transaction, 0, len(answer) + 1, unit) + answer)
                self._changed.set()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, body: bytes) -> bytes:
        function, address, count = struct.unpack_from(">BHH", body)
        if self.refuse:
            return bytes((function | 0x80, 2))
        if function == 15:
            data = body[6:]
            for k in range(count):
                self.coils[address + k] = bool(data[k // 8] >> k % 8 & 1)
            self.log.append(tuple(self.coils))
            return struct.pack(">BHH", 15, address, count)
        if function == 2:
            data = bytearray((count + 7) // 8)
            for k in range(count):
                data[k // 8] |= self.inputs[address + k] << k % 8
            return bytes((2, len(data))) + bytes(data)
        return bytes((function | 0x80, 1))
