"""A relay board over Modbus TCP or RTU: all coils in one write, all inputs in one read."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from gateway.atcs.cabinet.wiring import Board


class ModbusBoard:
    """One board: `exchange` outputs for inputs. Errors are OSError."""

    def __init__(self, board: Board, outputs: Sequence[int], inputs: Sequence[int]) -> None:
        self._board = board
        self._outputs = list(outputs)
        self._inputs = list(inputs)
        self._client: Any = None

    async def open(self) -> None:
        """Connect. Raises OSError."""
        self.close()
        board = self._board
        common: Any = {"timeout": board.timeout_ms / 1000.0, "retries": 0, "reconnect_delay": 0}
        if board.port.startswith("tcp://"):
            host, _, port = board.port.removeprefix("tcp://").rpartition(":")
            client: Any = AsyncModbusTcpClient(host.strip("[]"), port=int(port), **common)
        else:
            client = AsyncModbusSerialClient(board.port, baudrate=board.baud, **common)
        if not await client.connect():
            client.close()
            raise ConnectionError(f"no answer from {board.port}")
        self._client = client

    async def exchange(self, outputs: Mapping[int, bool]) -> dict[int, bool]:
        """Drive the outputs, read the inputs. Raises OSError."""
        client, board = self._client, self._board
        if client is None or not client.connected:
            raise ConnectionError(f"{board.port} is not connected")
        try:
            async with asyncio.timeout(2.5 * board.timeout_ms / 1000.0):
                if self._outputs:
                    first, last = self._outputs[0], self._outputs[-1]
                    # Coils in between that nobody uses are switched off.
                    states = [bool(outputs.get(k)) for k in range(first, last + 1)]
                    reply = await client.write_coils(
                        board.coil_base + first, states, device_id=board.unit
                    )
                    if reply.isError():
                        raise OSError(f"{board.port}: coils refused: {reply}")
                if not self._inputs:
                    return {}
                first, last = self._inputs[0], self._inputs[-1]
                reply = await client.read_discrete_inputs(
                    board.input_base + first, count=last - first + 1, device_id=board.unit
                )
        except TimeoutError:
            raise OSError(f"{board.port}: no answer") from None
        except ModbusException as error:
            raise OSError(f"{board.port}: {error}") from None
        if reply.isError() or len(reply.bits) < last - first + 1:
            raise OSError(f"{board.port}: inputs refused: {reply}")
        return {number: bool(reply.bits[number - first]) for number in self._inputs}

    def close(self) -> None:
        """Let go of the board."""
        if self._client is not None:
            self._client.close()
            self._client = None
