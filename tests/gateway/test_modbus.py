"""Modbus: profiles as data, lines with noise on them, and units that do not answer."""

import asyncio
import os
import pty
import struct
import time
import tty
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.clock import WallClock
from gateway.config import ConfigError
from gateway.model import Reading
from gateway.sources.line import LineError, open_line
from gateway.sources.modbus import Bus, ModbusSource, Sensor, read_once
from gateway.sources.profile import decode_block, level_mm, load_profile, plan_reads, profile_names
from gateway.sources.scan import scan
from tests.gateway.peers import TUKAD, ModbusPeer

COUNTER = str(Path(__file__).with_name("counter.toml"))


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit, from the specification (Modbus over serial line 1.02, 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def reply(unit: int, registers: Sequence[int], function: int = 3) -> bytes:
    body = struct.pack(f">BBB{len(registers)}H", unit, function, 2 * len(registers), *registers)
    return body + crc(body)


# Profiles


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads_and_never_polls_what_reading_clears(name: str) -> None:
    profile = load_profile(name)
    assert profile.polled
    for block in plan_reads(profile, profile.polled):
        for value in profile.value:
            if value.reading_clears:
                assert not block.address <= value.address < block.address + block.count


def test_neighbours_share_a_request_and_far_ones_do_not() -> None:
    profile = load_profile("geolux_lx80")
    blocks = plan_reads(profile, profile.polled)
    assert [(block.address, block.count) for block in blocks] == [(1, 2), (0x1A, 2)]


def test_a_sensor_that_refuses_two_at_once_is_asked_one_by_one() -> None:
    profile = load_profile("lambrecht_rain_e")
    assert all(len(block.values) == 1 for block in plan_reads(profile, profile.polled))


def test_the_printed_address_of_lambrecht_is_the_one_on_the_wire() -> None:
    """Frame from the maker's manual: 03 04 79 19 00 01 F8 B3."""
    (block,) = plan_reads(load_profile("lambrecht_rain_e"), ("rain_total_dmm",))
    request = struct.pack(">BBHH", 3, 4, block.address, block.count)
    assert (request + crc(request)).hex(" ") == "03 04 79 19 00 01 f8 b3"


def test_vega_gives_the_same_value_in_four_word_orders() -> None:
    profile = load_profile("vega_c2x")
    a, b, c, d = struct.pack(">f", 1.5)
    orders = {"pv_milli": (c, d, a, b), "pv_abcd_milli": (a, b, c, d)}
    orders |= {"pv_dcba_milli": (d, c, b, a), "pv_badc_milli": (b, a, d, c)}
    for name, octets in orders.items():
        (block,) = plan_reads(profile, (name,))
        registers = list(struct.unpack(">HH", bytes(octets)))
        assert decode_block(profile, block, registers) == {name: 1500}


def test_a_makers_invalid_code_is_a_missing_value_and_never_a_number() -> None:
    profile = load_profile("dfrobot_urm14")
    (block,) = plan_reads(profile, ("distance_um", "board_temp_cdeg"))
    assert decode_block(profile, block, [0xFFFF, 0xFFFE]) == {"board_temp_cdeg": -20}


def test_levels_from_radar_bubbler_and_pressure() -> None:
    assert level_mm({"distance_mm": 1200}, 5000, 0) == 3800
    assert level_mm({"distance_mm": 0}, 5000, 0) is None  # no echo, not water at the sensor
    assert level_mm({"distance_um": 1_200_400}, 5000, 0) == 3800
    assert level_mm({"level_mm": 700}, None, 50) == 750
    depth = level_mm({"pressure_pa": 9_777, "water_temp_cdeg": 2500}, None, 0)
    assert depth == 1000  # 1 m of water at 25 degC
    assert level_mm({"snr_db": 30}, 5000, 0) is None


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean geolux_lx80"):
        load_profile("geolux_lx8")


# Lines


async def with_raw_peer(
    answers: list[bytes], use: Callable[[str], Awaitable[None]], piecewise: bool = False
) -> None:
    """A device server that gives these bytes to the requests, one after the other."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(300):
                if answers:
                    data = answers.pop(0)
                    for piece in (
                        [data[i : i + 1] for i in range(len(data))] if piecewise else [data]
                    ):
                        writer.write(piece)
                        await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await use(f"rtu+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


@pytest.mark.parametrize("piecewise", [False, True])
def test_one_noise_byte_before_a_reply_costs_nothing(piecewise: bool) -> None:
    """pymodbus 3.16 discards the good frame."""

    async def use(port: str) -> None:
        line = open_line(port)
        await line.open()
        assert await line.read(1, 3, 0, 2, 1.0) == [7, 8]
        line.close()

    asyncio.run(with_raw_peer([b"\x00" + reply(1, [7, 8])], use, piecewise))


def test_a_late_reply_in_the_same_read_does_not_hide_the_right_one() -> None:
    """pymodbus 3.16 loses the second of two replies that arrive in one read."""

    async def use(port: str) -> None:
        line = open_line(port)
        await line.open()
        with pytest.raises(LineError, match="timeout"):
            await line.read(1, 3, 0, 1, 0.05)
        assert await line.read(2, 3, 0, 2, 1.0) == [7, 8]
        line.close()

    asyncio.run(with_raw_peer([b"", reply(1, [5]) + reply(2, [7, 8])], use))


def test_exceptions_and_garbage_are_told_apart() -> None:
    async def use(port: str) -> None:
        line = open_line(port)
        await line.open()
        body = bytes([1, 0x83, 2])
        answers.append(body + crc(body))
        with pytest.raises(LineError, match="exception: 2"):
            await line.read(1, 3, 0, 1, 0.2)
        answers.append(b"\xff\xff\xff")
        with pytest.raises(LineError, match="noise"):
            await line.read(1, 3, 0, 1, 0.2)
        line.close()

    answers: list[bytes] = []
    asyncio.run(with_raw_peer(answers, use))


def test_a_serial_port_is_read_and_its_loss_is_an_os_error() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def answer() -> None:
            request = os.read(master, 300)
            assert request[-2:] == crc(request[:-2])
            os.write(master, reply(request[0], [42]))

        loop.add_reader(master, answer)
        line = open_line(os.ttyname(slave), 19200, "8N1")
        await line.open()
        assert await line.read(9, 3, 5, 1, 1.0) == [42]
        loop.remove_reader(master)
        os.close(master)  # the adapter is pulled out
        with pytest.raises(OSError):
            await line.read(9, 3, 5, 1, 1.0)
        line.close()

    asyncio.run(scenario())
    os.close(slave)


def test_against_pymodbus_as_the_server_with_both_framings() -> None:
    """A URM14 as pymodbus plays it: identity, values, level."""

    async def scenario() -> None:
        registers = [2, 0x3343, 12, 5, 1, 8765, 234, 0, 0]
        data = SimData(0, values=registers, datatype=DataType.REGISTERS)
        for framer, scheme in ((FramerType.SOCKET, "tcp"), (FramerType.RTU, "rtu+tcp")):
            server = ModbusTcpServer(
                SimDevice(12, simdata=data),
                framer=framer,
                address=("127.0.0.1", 0),
            )
            await server.listen()
            assert server.transport is not None
            port = server.transport.sockets[0].getsockname()[1]
            bus = Bus(name="b", port=f"{scheme}://127.0.0.1:{port}")
            sensor = Sensor(name="s", profile="dfrobot_urm14", height_mm=3000)
            values = await read_once(bus, sensor)
            assert values["distance_um"] == 876_500
            assert values["board_temp_cdeg"] == 2340
            assert values["level_mm"] == 3000 - 877
            found = [one async for one in scan(bus.port, [12], [(9600, "8N1")], 0.2)]
            assert [(one.unit, one.profiles) for one in found] == [(12, ("dfrobot_urm14",))]
            await server.shutdown()

    asyncio.run(scenario())


# The poller


def sensors(count: int, **more: object) -> tuple[Sensor, ...]:
    settings = {"profile": COUNTER, "interval_s": 0.05, "timeout_ms": 60, "retries": 0} | more
    return tuple(Sensor(name=f"unit-{n}", unit=n, **settings) for n in range(1, count + 1))  # type: ignore[arg-type]


def run_with_peer(
    answer: Callable[[int, int, int], list[int] | None] | None,
    units: tuple[Sensor, ...],
    enough: Callable[[list[Reading]], bool],
) -> tuple[list[Reading], ModbusPeer, ModbusSource]:
    peer = ModbusPeer(answer)
    got: list[Reading] = []

    async def run() -> ModbusSource:
        await peer.start()
        bus = Bus(name="bus", port=f"tcp://127.0.0.1:{peer.port}", sensor=units)
        source = ModbusSource(bus, WallClock(), lambda _device, _stream: 100)
        done = asyncio.Event()

        async def accept(readings: Sequence[Reading]) -> None:
            got.extend(readings)
            if enough(got):
                done.set()

        task = asyncio.create_task(source.run(accept))
        try:
            async with asyncio.timeout(20):
                await done.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await peer.stop()
        return source

    return got, peer, asyncio.run(run())


def test_readings_are_numbered_without_holes_from_where_the_ledger_stands() -> None:
    got, _, _ = run_with_peer(None, sensors(2), lambda got: len(got) >= 20)
    for name in ("unit-1", "unit-2"):
        numbers = [one.sequence for one in got if one.device == name]
        assert numbers == list(range(100, 100 + len(numbers)))


def test_a_failing_ledger_costs_no_reading_and_no_number_twice() -> None:
    """The part fails and is started again; what it had in memory keeps its numbers."""
    peer = ModbusPeer()
    got: list[Reading] = []
    calls = 0

    async def run() -> None:
        await peer.start()
        bus = Bus(name="bus", port=f"tcp://127.0.0.1:{peer.port}", sensor=sensors(1))
        source = ModbusSource(bus, WallClock(), lambda _device, _stream: len(got))
        done = asyncio.Event()

        async def accept(readings: Sequence[Reading]) -> None:
            nonlocal calls
            calls += 1
            if calls % 3 == 0:
                raise RuntimeError("database is locked")
            got.extend(readings)
            if len(got) > 30:
                done.set()

        async def keep() -> None:
            while not done.is_set():
                try:
                    await source.run(accept)
                except ExceptionGroup:
                    await asyncio.sleep(0.06)

        task = asyncio.create_task(keep())
        async with asyncio.timeout(20):
            await done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await peer.stop()

    asyncio.run(run())
    assert [one.sequence for one in got] == list(range(len(got)))
    counts = [one.values["answers"] for one in got]
    assert counts == sorted(set(counts))


def test_a_dead_unit_is_asked_ever_more_rarely_while_the_others_are_polled() -> None:
    def answer(unit: int, _address: int, _count: int) -> list[int] | None:
        return None if unit == 2 else [0, 1]

    got, peer, source = run_with_peer(answer, sensors(3), lambda got: len(got) >= 80)
    asked = [unit for unit, _, _ in peer.requests]
    assert asked.count(2) <= 6  # three tries, then a probe now and then
    assert {one.device for one in got} == {"unit-1", "unit-3"}
    assert source.units[1].fault.startswith("timeout")


def test_a_unit_that_comes_back_is_polled_again() -> None:
    silent = [True]

    def answer(unit: int, _address: int, _count: int) -> list[int] | None:
        if len(asked) > 40:
            silent[0] = False
        asked.append(unit)
        return None if unit == 2 and silent[0] else [0, 1]

    asked: list[int] = []
    _, _, source = run_with_peer(
        answer, sensors(2), lambda got: any(one.device == "unit-2" for one in got)
    )
    assert not source.units[1].is_dead


def test_a_sensor_that_just_got_its_power_back_is_not_believed_yet(tmp_path: Path) -> None:
    """While it warms up it says 0; the wire is not asked less for that."""
    slow = tmp_path / "slow.toml"
    slow.write_text(Path(COUNTER).read_text() + "\n", "utf-8")
    text = slow.read_text()
    slow.write_text(f"warm_up_s = 0.5\n{text}")
    began = [0.0]

    def answer(unit: int, _address: int, _count: int) -> list[int] | None:
        asked.append(unit)
        if unit == 2 and len(asked) < 40:
            return None
        if unit == 2 and not began[0]:
            began[0] = time.monotonic()
        return [0, 1] if unit == 1 or time.monotonic() - began[0] > 0.4 else [0, 0]

    asked: list[int] = []
    units = (*sensors(1), *sensors(2, profile=str(slow))[1:])
    got, _, source = run_with_peer(
        answer, units, lambda got: any(one.device == "unit-2" for one in got)
    )
    assert {one.values["answers"] for one in got} == {1}
    assert source.units[1].warming > 0 and not source.units[1].fault


class SerialUnits:
    """Units at the end of a pseudo-terminal; two with one address answer over each other."""

    def __init__(self, units: Sequence[int]) -> None:
        self._units = units
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def answer(self) -> None:
        request = os.read(self._master, 300)
        if len(request) != 8 or request[-2:] != crc(request[:-2]):
            return
        count = self._units.count(request[0])
        data = reply(request[0], [0x0102] * int.from_bytes(request[4:6], "big"))
        if count > 1:  # the wire is the AND of both, which do not start together
            other = bytes(8) + data
            data = bytes(a & b for a, b in zip(data + data[-1:], other, strict=False))
        if count:
            os.write(self._master, data)

    async def __aenter__(self) -> "SerialUnits":
        asyncio.get_running_loop().add_reader(self._master, self.answer)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)


def test_a_scan_finds_units_on_a_serial_bus_and_two_that_share_an_address() -> None:
    async def scenario() -> None:
        async with SerialUnits([3, 5, 5]) as bus:
            settings = [(9600, "8N1"), (19200, "8E1")]
            found = [one async for one in scan(bus.path, [3, 4, 5], settings, 0.05)]
            assert [(one.unit, one.is_collision) for one in found if one.baud == 9600] == [
                (3, False),
                (5, True),
            ]
            assert {(one.baud, one.frame) for one in found} == set(settings)

    asyncio.run(scenario())


def test_a_technician_reads_a_sensor_and_is_told_what_to_do_without_an_answer() -> None:
    async def scenario() -> None:
        server = ModbusTcpServer(
            SimDevice(12, simdata=SimData(0, values=[2, 0x3343, 12, 5, 1, 8765, 234, 0, 0],
                                          datatype=DataType.REGISTERS)),
            framer=FramerType.SOCKET,
            address=("127.0.0.1", 0),
        )  # fmt: skip
        await server.listen()
        assert server.transport is not None
        port = server.transport.sockets[0].getsockname()[1]

        async def run(*words: str) -> tuple[int, str]:
            process = await asyncio.create_subprocess_exec(
                TUKAD, "modbus", *words, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert process.returncode is not None
            return process.returncode, out.decode()

        url = f"tcp://127.0.0.1:{port}"
        code, out = await run("read", url, "dfrobot_urm14", "--height-mm", "3000")
        assert code == 0 and "distance_um = 876500" in out and "level_mm = 2123" in out
        code, out = await run("scan", url, "--units", "10-13")
        assert code == 0 and "dfrobot_urm14" in out
        code, out = await run("read", url, "dfrobot_urm14", "--unit", "99", "--timeout-ms", "100")
        assert code == 1 and "unit 99" in out and "Traceback" not in out
        await server.shutdown()

    asyncio.run(scenario())


def test_the_wrong_kind_of_sensor_gives_no_readings_and_says_so() -> None:
    units = (
        *sensors(1),
        Sensor(name="urm", profile="dfrobot_urm14", unit=7, interval_s=0.05, timeout_ms=200),
    )
    got, _, source = run_with_peer(
        lambda unit, address, count: [9] * count, units, lambda got: len(got) >= 10
    )
    assert {one.device for one in got} == {"unit-1"}
    assert "this is no dfrobot_urm14" in source.units[1].last_error
