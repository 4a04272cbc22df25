"""Supervision, systemd's protocol, the status server."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import pytest

from gateway.model import Fault, Health, PartHealth
from gateway.service import Supervisor, end_tasks, notify, together, watchdog
from gateway.status import StatusServer, ask_health, health_json, metrics_text

HEALTH = Health(
    site="kumbasari",
    time_ms=1,
    version="0.1.0",
    uptime_s=61,
    parts=[PartHealth(name="mqtt", state="running", restarts=2)],
    faults=[Fault(code="ledger.disk", subject='a "disk"', detail="full", since_ms=1)],
    counters={"mqtt_readings": 5, "now_readings_waiting": 3},
)


def test_a_part_that_fails_is_started_again_and_the_others_go_on() -> None:
    runs = {"good": 0, "bad": 0}
    again = asyncio.Event()

    async def good() -> None:
        runs["good"] += 1
        await asyncio.Event().wait()

    async def bad() -> None:
        runs["bad"] += 1
        if runs["bad"] == 2:
            again.set()
        raise OSError("the cable is out")

    async def scenario() -> Supervisor:
        supervisor = Supervisor()
        supervisor.start({"good": good, "bad": bad})
        async with asyncio.timeout(10):
            await again.wait()
        await asyncio.sleep(0)
        health = {part.name: part for part in supervisor.health}
        assert health["bad"].restarts >= 1 and health["bad"].state == "waiting"
        assert "the cable is out" in health["bad"].detail
        await supervisor.stop()
        return supervisor

    supervisor = asyncio.run(scenario())
    assert runs["good"] == 1
    assert {part.state for part in supervisor.health} == {"stopped"}


def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await end_tasks([task])
        assert task.done()

    asyncio.run(scenario())


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The other end of sd_notify(3)."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield receiver


def test_systemd_hears_of_us(systemd: socket.socket) -> None:
    notify("READY=1")
    assert systemd.recv(100) == b"READY=1"


def test_the_watchdog_is_petted_while_the_ledger_lives_and_not_longer(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    lives = [True, True, False, False, False]
    over = asyncio.Event()

    async def is_alive() -> bool:
        alive = lives.pop(0)
        if not lives:
            over.set()
        return alive

    async def scenario() -> None:
        task = asyncio.create_task(watchdog(is_alive, lambda: "fine"))
        await over.wait()
        await end_tasks([task])

    asyncio.run(scenario())
    assert systemd.recv(100) == b"WATCHDOG=1\nSTATUS=fine"
    assert systemd.recv(100) == b"WATCHDOG=1\nSTATUS=fine"
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


async def ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_health_and_metrics_over_http(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = StatusServer(lambda: HEALTH, "127.0.0.1:0", tmp_path / "status.sock")
        await server.start()
        health = await ask(server.port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(health.partition(b"\r\n\r\n")[2]) == health_json(HEALTH)
        metrics = await ask(server.port, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert metrics.endswith(b"# EOF\n") and b"openmetrics" in metrics
        assert b"404" in await ask(server.port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")
        assert b"404" in await ask(server.port, b"nonsense\r\n\r\n")
        assert await ask(server.port, b"x" * 9000 + b"\r\n\r\n") == b""
        assert (await ask_health(tmp_path / "status.sock"))["site"] == "kumbasari"
        await server.stop()
        with pytest.raises(OSError):
            await ask_health(tmp_path / "status.sock")

    asyncio.run(scenario())


def test_metrics_are_openmetrics_text() -> None:
    lines = metrics_text(HEALTH).splitlines()
    assert 'tukad_part_restarts_total{part="mqtt"} 2' in lines
    assert "tukad_mqtt_readings_total 5" in lines
    assert "tukad_readings_waiting 3" in lines
    assert 'tukad_fault{code="ledger.disk",subject="a \\"disk\\""} 1' in lines
    assert lines[-1] == "# EOF"


def test_a_cancellation_that_a_part_swallowed_is_repeated_until_it_ends() -> None:
    """`wait_for` of Python 3.11 swallows one that comes while its future is done."""
    ended: list[str] = []

    async def deaf(name: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def scenario() -> None:
        task = asyncio.create_task(together(together(deaf("inner")), deaf("outer")))
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await end_tasks([task])
        assert sorted(ended) == ["inner", "outer"]

    asyncio.run(scenario())


def test_the_error_of_one_part_ends_the_others_and_is_told() -> None:
    async def broken() -> None:
        raise OSError("no such port")

    async def patient() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        with pytest.raises(OSError, match="no such port"):
            await together(patient(), broken())

    asyncio.run(scenario())
