"""A siren on a Modbus relay: `Relay` switches it by its pattern and reads what proves it.

The relay falls off by itself only if the module is told so: set its communication watchdog, for
a gateway that dies in a tone cannot switch it off (docs/siren.md).
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from gateway.acts.siren.settings import UnitSettings

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

log = logging.getLogger("tukad.siren")

# Milliseconds on and off, as the nodes have them (`firmware.apps.siren`).
PATTERNS_MS = (
    (1000, 1000),
    (1000, 3000),
    (3000, 1500),
    (10_000, 500),
    (500, 500),
    (250, 250),
    (5000, 5000),
    (60_000, 0),
)
_PROOF_S = 0.6  # after a tone began


class RelayError(OSError):
    """The relay did not do it."""


class Relay:
    """One wired siren; a new sounding or `silence` ends the one under way."""

    def __init__(self, settings: UnitSettings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    async def sound(self, pattern: int, duration_s: int) -> bool | None:
        """Begin; returns once the first tone is judged: proved, not proved, None: no feedback.

        Raises RelayError when the relay cannot be switched.
        """
        await self.silence()
        first: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(pattern, duration_s, first))
        return await first

    async def silence(self) -> None:
        """Off, now."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(
        self, pattern: int, duration_s: int, first: "asyncio.Future[bool | None]"
    ) -> None:
        client = self._client()
        try:
            if not await client.connect():
                raise RelayError(f"{self._settings.port}: nobody answers")
            try:
                await self._tones(client, pattern, duration_s, first)
            finally:
                await asyncio.shield(self._off(client))
        except OSError as error:
            if not first.done():
                first.set_exception(RelayError(str(error)))
            log.error("siren.relay unit=%s error=%r", self._settings.name, str(error))
        finally:
            if not first.done():
                first.set_result(False)
            client.close()

    async def _tones(
        self,
        client: "AsyncModbusTcpClient | AsyncModbusSerialClient",
        pattern: int,
        duration_s: int,
        first: "asyncio.Future[bool | None]",
    ) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + duration_s
        on_ms, off_ms = PATTERNS_MS[pattern]
        was_idle = not await self._feels(client)
        while loop.time() < end_s:
            turn_s = min(loop.time() + on_ms / 1000, end_s)
            await self._switch(client, True)
            if not first.done():
                await asyncio.sleep(min(_PROOF_S, on_ms / 2000))
                feels = await self._feels(client)
                # What was there before is a relay that sticks, and proves nothing.
                first.set_result(None if feels is None else feels and was_idle)
            await asyncio.sleep(turn_s - loop.time())
            if off_ms:
                await self._switch(client, False)
                await asyncio.sleep(min(off_ms / 1000, max(0.0, end_s - loop.time())))

    def _client(self) -> "AsyncModbusTcpClient | AsyncModbusSerialClient":
        from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

        port = self._settings.port
        if port.startswith("tcp://"):
            host, _, number = port.removeprefix("tcp://").rpartition(":")
            return AsyncModbusTcpClient(host, port=int(number), timeout=1, retries=2)
        return AsyncModbusSerialClient(port, baudrate=self._settings.baud, timeout=1, retries=2)

    async def _switch(
        self, client: "AsyncModbusTcpClient | AsyncModbusSerialClient", is_on: bool
    ) -> None:
        from pymodbus.exceptions import ModbusException

        one = self._settings
        try:
            answer = await client.write_coil(one.coil, is_on, device_id=one.unit)
        except ModbusException as error:
            raise RelayError(f"{one.port} unit {one.unit} coil {one.coil}: {error}") from error
        if answer.isError():
            raise RelayError(f"{one.port} unit {one.unit} coil {one.coil}: {answer}")

    async def _off(self, client: "AsyncModbusTcpClient | AsyncModbusSerialClient") -> None:
        for _ in range(3):
            with contextlib.suppress(RelayError):
                await self._switch(client, False)
                return
        log.error("siren.relay_stuck unit=%s coil=%d", self._settings.name, self._settings.coil)

    async def _feels(self, client: "AsyncModbusTcpClient | AsyncModbusSerialClient") -> bool | None:
        from pymodbus.exceptions import ModbusException

        one = self._settings
        try:
            if one.feedback == "input":
                read = await client.read_discrete_inputs(
                    one.feedback_address, count=1, device_id=one.unit
                )
                return not read.isError() and bool(read.bits[0])
            if one.feedback == "register":
                read = await client.read_input_registers(
                    one.feedback_address, count=1, device_id=one.unit
                )
                return not read.isError() and read.registers[0] >= one.feedback_least
        except ModbusException as error:
            raise RelayError(f"{one.port} unit {one.unit}: {error}") from error
        return None
