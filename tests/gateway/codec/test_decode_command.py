"""`tukad decode` as a person uses it: files, a live broker, and errors of one line."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import aiomqtt
from click.testing import CliRunner

from gateway.broker import LocalBroker
from gateway.cli.decode import decode
from gateway.codec import encode
from gateway.sinks.settings import EMBEDDED, BrokerSettings
from tests.gateway.codec.examples import CATALOGUE, flood, track


def files(folder: Path) -> list[str]:
    (folder / "catalogue.json").write_bytes(CATALOGUE.to_json())
    (folder / "1.batch").write_bytes(encode(CATALOGUE, flood(0, 2), batch_number=1))
    (folder / "2.batch").write_bytes(encode(CATALOGUE, track(1), batch_number=2))
    return [str(folder)]


def test_files_as_ndjson(tmp_path: Path) -> None:
    result = CliRunner().invoke(decode, files(tmp_path))
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0] == {
        "kind": "reading",
        "site": "badung",
        "class": "live",
        "device": "kumbasari-1",
        "stream": "flood",
        "sequence": 100,
        "time": "2026-09-21T14:15:00.000Z",
        "time_ms": 1_790_000_100_000,
        "time_source": "gnss",
        "quality": 1,
        "values": {"level_mm": 800, "rain_um": 0.2, "battery_mv": 3.612},
    }
    assert len(lines) == 3


def test_files_as_csv_and_influx(tmp_path: Path) -> None:
    arguments = files(tmp_path)
    result = CliRunner().invoke(decode, [*arguments, "--format", "csv"])
    lines = result.stdout.splitlines()
    assert lines[0].startswith("site,class,device,stream,sequence,time")
    assert (
        lines[1]
        == "badung,live,kumbasari-1,flood,100,2026-09-21T14:15:00.000Z,gnss,1,level_mm,800,mm"
    )
    result = CliRunner().invoke(decode, [*arguments, "--format", "influx", "--site", "a b"])
    assert result.stdout.splitlines()[0] == (
        "flood,site=a\\ b,device=kumbasari-1 level_mm=800.0,rain_um=0.2,battery_mv=3.612,"
        "quality=1i,sequence=100i 1790000100000000000"
    )


def test_damage_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    arguments = files(tmp_path)
    damaged = bytearray((tmp_path / "1.batch").read_bytes())
    damaged[3] ^= 1
    (tmp_path / "1.batch").write_bytes(damaged)
    result = CliRunner().invoke(decode, arguments)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert "1.batch: checksum: damaged" in result.stderr


def test_errors_are_one_line() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = CliRunner().invoke(decode, ["--mqtt", f"mqtt://127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert f"cannot reach broker 127.0.0.1:{port}" in result.stderr
    result = CliRunner().invoke(decode, ["--mqtt", "http://x"])
    assert result.exit_code == 1 and "not a broker" in result.stderr
    result = CliRunner().invoke(decode, [])
    assert result.exit_code == 2


async def _live(folder: Path) -> list[dict[str, object]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = LocalBroker(EMBEDDED, BrokerSettings(bind=f"127.0.0.1:{port}"), folder)
    await broker.start()
    try:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.publish("tukad/badung/catalogue", CATALOGUE.to_json(), qos=1, retain=True)
            command = [sys.executable, "-c", "from gateway.cli.decode import decode; decode()"]
            process = await asyncio.create_subprocess_exec(
                *command, "--mqtt", f"mqtt://127.0.0.1:{port}", "--site", "badung", "--count", "7",
                "--acknowledge", stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            await client.subscribe("tukad/badung/acknowledged", qos=1)
            alarm = json.dumps({"device": "kumbasari-1", "kind": "stage", "level": 3})
            got: list[dict[str, object]] = []
            while not got:  # until it is there
                await client.publish("tukad/badung/alarm/kumbasari-1", alarm, qos=1)
                try:
                    line = await asyncio.wait_for(process.stdout.readline(), 0.5)
                except TimeoutError:
                    continue
                got.append(json.loads(line))
            data = encode(CATALOGUE, flood(0, 5), batch_number=1)
            for _ in range(2):
                await client.publish("tukad/badung/batch/live", data, qos=1)
            acknowledged = json.loads((await anext(aiter(client.messages))).payload)
            assert acknowledged == {"batch": 1, "check": int.from_bytes(data[-4:], "big")}
            data = encode(CATALOGUE, flood(0, 4, 3), batch_number=2)
            await client.publish("tukad/badung/batch/live", data, qos=1)
            rest, _ = await process.communicate()
            assert process.returncode == 0
            return got + [json.loads(line) for line in rest.splitlines()]
    finally:
        await broker.stop()


def test_a_live_broker(tmp_path: Path) -> None:
    """Retained catalogue, an alarm passed through, duplicates dropped, stop after --count."""
    lines = asyncio.run(_live(tmp_path))
    alarms = [line for line in lines if line["kind"] == "alarm"]
    readings = [line for line in lines if line["kind"] == "reading"]
    assert alarms[0]["alarm_kind"] == "stage" and alarms[0]["site"] == "badung"
    assert [line["sequence"] for line in readings] == list(range(100, 107))
