"""The paced bench: real sockets at its edge, state from another thread, nothing left behind."""

import json
import socket
import tomllib
from pathlib import Path

from click.testing import CliRunner
from pymodbus.client import ModbusTcpClient

from hil.bench import Bench
from hil.cli import hil


def test_bench_forwards_a_join_and_answers_modbus_and_ends_clean(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        bench = Bench(
            gateway=server.getsockname(), work_dir=tmp_path, flood_nodes=1, trackers=0, factor=4.0
        )
        assert bench.devices[0].name == "flood-kumbasari" and len(bench.devices[0].app_key) == 32
        with bench:
            kinds: list[int] = []
            while True:
                data, sender = server.recvfrom(65_536)
                kinds.append(data[3])
                if data[3] == 2:
                    server.sendto(data[:3] + b"\x04", sender)
                elif data[3] == 0 and b"rxpk" in data:
                    break
            packet = json.loads(data[12:])["rxpk"][0]
            assert packet["size"] == 23 and packet["datr"].startswith("SF")
            client = ModbusTcpClient("127.0.0.1", port=bench.modbus_port, timeout=5)
            assert client.connect()
            try:
                answer = client.read_holding_registers(1, count=1, device_id=1)
                distance_mm = answer.registers[0]
            finally:
                client.close()
            state = bench.state()
            assert kinds[0] == 2 and state.forwarder_connected and state.error == ""
            assert abs(bench.modbus_height_mm - distance_mm - state.modbus_level_mm) < 200
            assert state.frames_sent >= 1 and state.faults == ()
        assert bench.state().nodes[0].running is False
        bench.stop()


def test_bench_command_says_what_is_wrong_and_what_to_configure(tmp_path: Path) -> None:
    wrong = CliRunner().invoke(hil, ["bench", "--gateway", "1700", "--out", str(tmp_path)])
    assert wrong.exit_code == 1 and "expected HOST:PORT" in wrong.output
    bench = Bench(gateway=("127.0.0.1", 9), work_dir=tmp_path, flood_nodes=2, trackers=1)
    try:
        tree = tomllib.loads(bench.write_devices(tmp_path).read_text())
    finally:
        bench.stop()
    assert [d["name"] for d in tree["device"]] == [d.name for d in bench.devices]
    for device in tree["device"]:
        keys = Path(device["keys"])
        assert keys.stat().st_mode & 0o077 == 0, "keys are for their owner only"
        assert keys.read_text().startswith("app_key = ")
