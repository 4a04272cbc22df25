"""Modbus RTU against pymodbus, in memory and over a loopback socket, and on noisy lines."""

import asyncio
import struct

from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerRTU, FramerType
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.modbus.client import RtuClient
from protocols.modbus.crc import crc16
from protocols.modbus.server import Provider, RtuServer
from protocols.modbus.values import decode_value

UNITS = st.integers(1, 247)
ADDRESSES = st.integers(0, 65000)
WORDS = st.lists(st.integers(0, 65535), min_size=1, max_size=123)
CHUNKS = st.lists(st.integers(1, 40), max_size=12)
REQUESTS = FramerRTU(DecodePDU(True))  # decodes requests: the server's side
RESPONSES = FramerRTU(DecodePDU(False))


class Store(Provider):
    """Registers of the server under test, all there, all writable."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}

    def read(self, function: int, address: int) -> int:
        return self.values.get(address, (address * 7 + function) & 0xFFFF)

    def write(self, address: int, value: int, is_check: bool) -> int:
        if not is_check:
            self.values[address] = value
        return 0


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    out: list[bytes] = []
    for size in sizes:
        out.append(data[:size])
        data = data[size:]
    return [*out, data]


@given(UNITS, st.sampled_from((3, 4)), ADDRESSES, st.integers(1, 125))
def test_read_requests_are_those_of_pymodbus(
    unit: int, function: int, address: int, count: int
) -> None:
    client = RtuClient()
    length = client.read_into(unit, function, address, count)
    kind = ReadHoldingRegistersRequest if function == 3 else ReadInputRegistersRequest
    want = REQUESTS.buildFrame(kind(dev_id=unit, address=address, count=count))
    assert bytes(client.tx[:length]) == want


@given(UNITS, ADDRESSES, WORDS)
def test_write_requests_are_those_of_pymodbus(unit: int, address: int, words: list[int]) -> None:
    client = RtuClient()
    length = client.write_into(unit, address, words)
    kind = WriteSingleRegisterRequest if len(words) == 1 else WriteMultipleRegistersRequest
    request = kind(dev_id=unit, address=address, registers=words, count=len(words))
    assert bytes(client.tx[:length]) == REQUESTS.buildFrame(request)


@given(UNITS, st.sampled_from((3, 4)), WORDS, CHUNKS, st.binary(max_size=30))
def test_reply_is_found_whole_or_in_pieces_behind_any_noise(
    unit: int, function: int, words: list[int], sizes: list[int], noise: bytes
) -> None:
    """A good frame is never lost; each byte before it is counted as noise or as a stray frame."""
    client = RtuClient()
    client.read_into(unit, function, 0, len(words))
    kind = ReadHoldingRegistersResponse if function == 3 else ReadInputRegistersResponse
    frame = RESPONSES.buildFrame(kind(dev_id=unit, registers=words))
    answered = False
    for piece in pieces(noise + frame, sizes):
        answered = client.feed(piece) or answered
    answered = client.line_idle() or answered
    assert answered
    assert [client.register(i) for i in range(client.count)] == words
    assert client.noise_bytes == len(noise) or client.strays


@given(UNITS, WORDS, CHUNKS, CHUNKS)
def test_chunks_do_not_matter(unit: int, words: list[int], a: list[int], b: list[int]) -> None:
    """Late reply, noise, exception, answer: the counters are the same however they arrive."""
    frame = RESPONSES.buildFrame(ReadHoldingRegistersResponse(dev_id=unit, registers=words))
    other = RESPONSES.buildFrame(ExceptionResponse(0x84, 2, device_id=unit))
    data = other + b"\x00\x37" + frame + b"\x01"
    seen: list[tuple[object, ...]] = []
    for sizes in (a, b):
        client = RtuClient()
        client.read_into(unit, 3, 0, len(words))
        for piece in pieces(data, sizes):
            client.feed(piece)
        client.line_idle()
        seen.append(
            (client.replies, client.strays, client.noise_bytes, client.count, client.is_waiting)
        )
    assert seen[0] == seen[1]
    assert seen[0][0] == 1


@given(UNITS, st.integers(1, 255))
def test_exceptions_of_pymodbus(unit: int, code: int) -> None:
    client = RtuClient()
    client.read_into(unit, 3, 0, 1)
    assert client.feed(RESPONSES.buildFrame(ExceptionResponse(3, code, device_id=unit)))
    assert client.exception == code


@given(UNITS, st.sampled_from((3, 4)), ADDRESSES, st.integers(1, 125))
def test_pymodbus_understands_our_answers(
    unit: int, function: int, address: int, count: int
) -> None:
    store = Store()
    server = RtuServer(unit, store)
    kind = ReadHoldingRegistersRequest if function == 3 else ReadInputRegistersRequest
    server.feed(REQUESTS.buildFrame(kind(dev_id=unit, address=address, count=count)))
    answer = bytes(server.tx[: server.line_idle()])
    used, response = RESPONSES.handleFrame(answer, unit, 0)
    assert used == len(answer) and response is not None
    assert response.registers == [store.read(function, address + i) for i in range(count)]


@given(UNITS, ADDRESSES, WORDS)
def test_pymodbus_writes_to_us(unit: int, address: int, words: list[int]) -> None:
    store = Store()
    server = RtuServer(unit, store)
    kind = WriteSingleRegisterRequest if len(words) == 1 else WriteMultipleRegistersRequest
    server.feed(
        REQUESTS.buildFrame(kind(dev_id=unit, address=address, registers=words, count=len(words)))
    )
    answer = bytes(server.tx[: server.line_idle()])
    _, response = RESPONSES.handleFrame(answer, unit, 0)
    assert isinstance(response, WriteSingleRegisterResponse | WriteMultipleRegistersResponse)
    assert [store.values[address + i] for i in range(len(words))] == words


@given(st.binary(max_size=300), CHUNKS)
def test_any_bytes_leave_both_ends_sound(data: bytes, sizes: list[int]) -> None:
    """No exception; every byte is part of a frame or counted; the next frame is understood."""
    store = Store()
    server = RtuServer(17, store)
    client = RtuClient()
    client.read_into(17, 3, 1, 2)
    for piece in pieces(data, sizes):
        server.feed(piece)
        client.feed(piece)
    server.line_idle()
    client.line_idle()
    server.feed(REQUESTS.buildFrame(ReadHoldingRegistersRequest(dev_id=17, address=1, count=2)))
    length = server.line_idle()
    assert length == 9
    client.read_into(17, 3, 1, 2)
    assert client.feed(server.tx, length)
    assert client.register(0) == 10


@given(st.binary(max_size=64))
def test_crc_against_the_definition(data: bytes) -> None:
    """Bit by bit, as in Modbus over serial line V1.02, 6.2.2."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    assert crc16(data, 0, len(data)) == value


@given(st.floats(-1e6, 1e6, width=32), st.sampled_from(("ABCD", "CDAB", "BADC", "DCBA")))
def test_floats_in_every_word_order(value: float, order: str) -> None:
    data = struct.pack(">f", value)
    places = {
        "ABCD": (0, 1, 2, 3),
        "CDAB": (2, 3, 0, 1),
        "BADC": (1, 0, 3, 2),
        "DCBA": (3, 2, 1, 0),
    }
    wire = bytes(data[i] for i in places[order])
    words = list(struct.unpack(">HH", wire))
    got = decode_value(words, "f32", order, 100)
    assert got is not None and abs(got - value * 100) <= 0.5 + abs(value) * 1e-4


@given(st.integers(-(1 << 29), (1 << 29) - 1), st.integers(1, 1000), st.integers(1, 1000))
def test_scaling_rounds_half_away_from_zero(raw: int, numerator: int, denominator: int) -> None:
    words = [(raw >> 16) & 0xFFFF, raw & 0xFFFF]
    got = decode_value(words, "s32", "ABCD", numerator, denominator)
    twice = 2 * abs(raw) * numerator
    want = (twice + denominator) // (2 * denominator)
    want = -want if raw < 0 else want
    assert got == (want if abs(want) < 1 << 30 else None)


def test_our_client_reads_from_a_pymodbus_server_over_a_socket() -> None:
    async def ask() -> list[int]:
        data = SimData(0x7919, values=[1, 2, 65535], datatype=DataType.REGISTERS)
        server = ModbusTcpServer(
            SimDevice(id=3, simdata=data), framer=FramerType.RTU, address=("127.0.0.1", 0)
        )
        await server.listen()
        assert server.transport is not None
        port = server.transport.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = RtuClient()
        length = client.read_into(3, 4, 0x7919, 3)
        writer.write(bytes(client.tx[:length]))
        while not client.feed(await asyncio.wait_for(reader.read(100), 10)):
            pass
        writer.close()
        await writer.wait_closed()
        await server.shutdown()
        return [client.register(i) for i in range(client.count)]

    assert asyncio.run(ask()) == [1, 2, 65535]


def test_a_pymodbus_client_reads_from_our_server_over_a_socket() -> None:
    store = Store()
    server = RtuServer(9, store)
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(300):
            server.feed(data)
            if length := server.line_idle():
                writer.write(bytes(server.tx[:length]))
        writer.close()
        await writer.wait_closed()
        done.set()

    async def ask() -> None:
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        client = AsyncModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU)
        assert await client.connect()
        response = await client.read_input_registers(100, count=3, device_id=9)
        assert response.registers == [store.read(4, 100 + i) for i in range(3)]
        await client.write_registers(5, [7, 8], device_id=9)
        assert store.values == {5: 7, 6: 8}
        client.close()
        await done.wait()
        listener.close()
        await listener.wait_closed()

    asyncio.run(ask())
