"""The served sensor answers independent Modbus masters over a pty and over TCP."""

import socket

import pytest
from click.testing import CliRunner
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from hil.cli import hil
from hil.serve import SensorServer


def test_rtu_on_a_pty_answers_pymodbus() -> None:
    with SensorServer("geolux-lx80", speed=1.0) as server:
        client = ModbusSerialClient(server.where, baudrate=9600, timeout=5)
        assert client.connect()
        try:
            level = client.read_holding_registers(0x20, count=1, device_id=1).registers[0]
            wrong = client.read_input_registers(0x20, count=1, device_id=1)
        finally:
            client.close()
        assert abs(level - server.level_mm()) < 30
        assert wrong.isError() and wrong.exception_code == 1


def test_tcp_answers_pymodbus_and_other_units_are_silent() -> None:
    with SensorServer("dfrobot-urm14", port=0, address=12) as server:
        port = int(server.where.rsplit(":", 1)[1])
        client = ModbusTcpClient("127.0.0.1", port=port, timeout=5)
        assert client.connect()
        try:
            assert client.read_holding_registers(0, count=1, device_id=12).registers == [2]
        finally:
            client.close()


def test_a_busy_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(hil, ["sensor", "--tcp", str(port)])
    assert done.exit_code == 1 and "in use" in done.output


@pytest.mark.parametrize("kind", ["geolux-lx80", "keller-s30"])
def test_stopping_is_quick_and_complete(kind: str) -> None:
    with SensorServer(kind) as server:
        assert server.where.startswith("/dev/")
