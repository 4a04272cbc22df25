# ruff: noqa: SIM117  what starts one after another is nested
"""Commands and configurations from afar, to the real process over real brokers."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.auditlog import entries, verify
from gateway.remote.envelope import Command, seal
from gateway.remote.keys import public_text
from tests.gateway.peers import TUKAD, AgentProcess, Broker, City, ModbusPeer, free_port, running
from tests.gateway.test_agent_process import BROKERS, missed_polls, write_config

WAYAN = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MADE = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def add_remote(config: Path, confirm_s: float = 60) -> Path:
    text = f"[remote]\nconfirm_s = {confirm_s}\n"
    for name, role, key in (("wayan", "admin", WAYAN), ("made", "viewer", MADE)):
        text += (
            f'[[remote.operator]]\nname = "{name}"\nrole = "{role}"\nkey = "{public_text(key)}"\n'
        )
    config.write_text(config.read_text() + text)
    return config


class Operator:
    """An operator's client, on plain aiomqtt."""

    def __init__(self, client: aiomqtt.Client, name: str, key: Ed25519PrivateKey) -> None:
        self._client = client
        self._key = key
        self.name = name
        self._number = time.time_ns() // 1_000_000
        self.config: dict[str, Any] = {}

    @property
    def number(self) -> int:
        """Of the last command."""
        return self._number

    def message(self, name: str, reason: str = "a test", **args: object) -> bytes:
        self._number += 1
        now = time.time_ns() // 1_000_000
        command = Command(
            site="test",
            operator=self.name,
            number=self._number,
            issued_ms=now,
            expires_ms=now + 60_000,
            command=name,
            args=args,
            reason=reason,
        )
        return seal(command, self._key)

    async def post(self, message: bytes) -> None:
        await self._client.publish("tukad/test/command", message, 1)

    async def answer(self, *codes: str, number: int | None = None) -> dict[str, Any]:
        """The next answer, with one of these codes, to this command."""
        async with asyncio.timeout(20):
            async for message in self._client.messages:
                assert isinstance(message.payload, bytes)
                body = json.loads(message.payload)
                if str(message.topic).endswith("/config"):
                    self.config = body
                elif number not in (None, body.get("number")):
                    continue  # to what `ready` asked
                elif not codes or body["code"] in codes:
                    return body
        raise AssertionError("the link ended")

    async def ask(self, name: str, *codes: str, **args: Any) -> dict[str, Any]:
        await self.post(self.message(name, **args))
        return await self.answer(*codes, number=self._number)

    async def until_version(self, version: int) -> dict[str, Any]:
        """Until the gateway says that this version, and no trial, is in force."""
        async with asyncio.timeout(20):
            async for message in self._client.messages:
                if str(message.topic).endswith("/config"):
                    assert isinstance(message.payload, bytes)
                    self.config = json.loads(message.payload)
                    if self.config["version"] == version and self.config["trial"] is None:
                        return self.config
        raise AssertionError("the link ended")


@contextlib.asynccontextmanager
async def operator(
    port: int, name: str = "wayan", key: Ed25519PrivateKey = WAYAN
) -> AsyncGenerator[Operator]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(f"tukad/test/answer/{name}", 1)
        await client.subscribe("tukad/test/answer/unknown", 1)
        await client.subscribe("tukad/test/config", 1)
        yield Operator(client, name, key)


class Site:
    """A broker, a Modbus device and a configuration."""

    def __init__(self, folder: Path, confirm_s: float, kind: str = "embedded") -> None:
        self.broker = Broker(kind, folder)
        self.peer = ModbusPeer()
        self.folder = folder
        self.confirm_s = confirm_s
        self.config = Path()

    async def __aenter__(self) -> "Site":
        await self.peer.start()
        await self.broker.start()
        url = f'url = "mqtt://127.0.0.1:{self.broker.port}"'
        self.config = add_remote(
            write_config(self.folder, url, self.peer.port, units=2), self.confirm_s
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.broker.stop()
        await self.peer.stop()

    @property
    def audit(self) -> list[str]:
        return [entry["event"] for entry in entries(self.folder / "data" / "audit")]


async def value_of(one: Operator, key: str) -> str:
    answer = await one.ask("config.get", under=key)
    assert answer["ok"], answer
    return answer["result"][key]["value"]


async def ready(one: Operator) -> None:
    """The agent listens. A command that comes before is not kept, so it is asked again."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await one.ask("status")
                    return


@pytest.mark.parametrize("kind", BROKERS)
def test_a_change_is_tried_confirmed_and_survives_a_power_cut(tmp_path: Path, kind: str) -> None:
    async def scenario() -> City:
        async with (
            Site(tmp_path, 60, kind) as site,
            operator(site.broker.port) as wayan,
            City(site.broker.port).listening() as city,
        ):
            async with running(site.config) as agent:
                await ready(wayan)
                await city.until(lambda: len(city.rows) > 10)
                before = site.config.read_bytes()
                trial = await wayan.ask("config.set", "trial", key="mqtt.health_s", value=7.0)
                assert trial["ok"] and trial["result"]["version"] == 1
                wrong = await wayan.ask("config.confirm", version=2)
                assert (wrong["ok"], wrong["code"]) == (False, "state")
                assert (await wayan.ask("config.confirm", version=1))["ok"]
                assert site.config.read_bytes() == before, "the technician's file was written"
                await agent.end(signal.SIGKILL)
            async with running(site.config):
                await ready(wayan)
                assert await value_of(wayan, "mqtt.health_s") == "7.0"
                seen = len(city.rows)
                await city.until(lambda: len(city.rows) > seen + 10)
            return city

    city = asyncio.run(scenario())
    assert not any(city.holes().values()) and city.conflicts == 0
    assert verify(tmp_path / "data" / "audit").last > 3
    log = list(entries(tmp_path / "data" / "audit"))
    who = [(e["event"], e["who"], e["why"]) for e in log if e["event"].startswith("config.")]
    assert ("config.trial", "wayan", "a test") in who


def test_a_change_that_nobody_confirms_is_taken_back_and_told(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        async with Site(tmp_path, 2) as site:
            async with operator(site.broker.port) as wayan, running(site.config):
                await ready(wayan)
                await wayan.ask("config.set", "trial", key="mqtt.health_s", value=7.0)
                told = await wayan.answer("reverted")
                assert told["ok"] is False and "not confirmed within 2 s" in told["text"]
                assert await value_of(wayan, "mqtt.health_s") == "60.0"
                late = await wayan.ask("config.confirm", version=1)
                assert not late["ok"] and "not confirmed within" in late["text"]
            return site.audit

    assert "config.reverted" in asyncio.run(scenario())


def test_a_configuration_that_cannot_start_is_taken_back_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, 60) as site:
            async with operator(site.broker.port) as wayan, running(site.config) as agent:
                await ready(wayan)
                taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
                port = taken.sockets[0].getsockname()[1]
                told = await wayan.ask(
                    "config.set",
                    "reverted",
                    key="gateway.status_bind",
                    value=f"127.0.0.1:{port}",
                )
                taken.close()
                await taken.wait_closed()
                assert f"127.0.0.1:{port}" in told["text"]
                assert await value_of(wayan, "gateway.status_bind") == ""
                assert await agent.end() == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("pause_ms", [0, 2, 8, 30, 200])
def test_killed_anywhere_in_the_switch_the_old_configuration_is_in_force(
    tmp_path: Path, pause_ms: int
) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, 60) as site:
            async with operator(site.broker.port) as wayan:
                async with running(site.config) as agent:
                    await ready(wayan)
                    log = tmp_path / "data" / "remote" / "config-1.toml"
                    await wayan.post(wayan.message("config.set", key="mqtt.health_s", value=7.0))
                    async with asyncio.timeout(10):
                        while not log.exists():  # noqa: ASYNC110  the switch has begun
                            await asyncio.sleep(0)
                    await asyncio.sleep(pause_ms / 1000)
                    await agent.end(signal.SIGKILL)
                async with running(site.config):
                    await ready(wayan)
                    assert await value_of(wayan, "mqtt.health_s") == "60.0"
                    again = await wayan.ask("config.set", "trial", key="mqtt.health_s", value=8.0)
                    assert again["result"]["version"] in (1, 2)
            assert verify(tmp_path / "data" / "audit").last > 0

    asyncio.run(scenario())


def test_replays_forgeries_and_too_small_roles_are_refused_with_reasons(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, 60) as site:
            async with (
                operator(site.broker.port) as wayan,
                operator(site.broker.port, "made", MADE) as made,
            ):
                async with running(site.config) as agent:
                    await ready(wayan)
                    recorded = wayan.message("log.level", level="debug", for_min=1)
                    level = wayan.number
                    await wayan.post(recorded)
                    first = await wayan.answer("done", number=level)
                    await wayan.post(recorded)  # the broker may deliver twice
                    assert await wayan.answer("done", number=level) == first
                    await wayan.post(b'{"tukad_command":1,"body":"{}","signature":"AAAA"}')
                    assert (await wayan.answer("form", "signature"))["code"] == "form"
                    forger = Operator(made._client, "wayan", MADE)  # pyright: ignore[reportPrivateUsage]
                    await forger.post(forger.message("status"))
                    assert "no operator" in (await wayan.answer("signature"))["text"]
                    low = await made.ask("config.set", "role", key="mqtt.health_s", value=1.0)
                    assert "needs the role admin" in low["text"]
                    assert (await made.ask("status", "done"))["result"]["site"] == "test"
                    for args in (
                        {"key": "gateway.site", "value": "other"},
                        {"key": "gateway.data_dir", "value": "/tmp/x"},
                        {"key": "broker.mosquitto", "value": "/bin/sh"},
                        {"key": "mqtt.windoww", "value": 3},
                        {"key": 'remote.operator["wayan"].role', "value": "viewer"},
                    ):
                        refused = await wayan.ask("config.set", **args)
                        assert (refused["ok"], refused["code"]) == (False, "args"), refused
                        assert refused["text"]
                    await agent.end(signal.SIGKILL)
                async with running(site.config):
                    await ready(wayan)
                    assert (await wayan.ask("status", "done"))["ok"]
                    await wayan.post(recorded)
                    assert not (await wayan.answer(number=level))["ok"]

    asyncio.run(scenario())


def test_the_technicians_file_overrules_what_came_from_afar(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, 60) as site:
            async with operator(site.broker.port) as wayan, running(site.config) as agent:
                await ready(wayan)
                await wayan.ask("config.set", "trial", key="mqtt.health_s", value=7.0)
                assert (await wayan.ask("config.confirm", version=1))["ok"]
                text = site.config.read_text()
                site.config.write_text(text.replace("[mqtt]", "[mqtt]\nhealth_s = 9.0"))
                agent.send(signal.SIGHUP)
                await wayan.until_version(0)
                assert await value_of(wayan, "mqtt.health_s") == "9.0"

    asyncio.run(scenario())


def test_thresholds_change_with_who_and_why_and_a_part_restarts_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, 60) as site:
            stages = "{ waspada_mm = 80000, siaga_mm = 90000, awas_mm = 99000 }"
            text = site.config.read_text()
            site.config.write_text(text.replace("unit = 1\n", f"unit = 1\nstages = {stages}\n"))
            async with operator(site.broker.port) as wayan, running(site.config):
                await ready(wayan)
                trial = await wayan.ask(
                    "thresholds.set", "trial", "args", device="unit-1", waspada_mm=70000
                )
                assert trial["ok"], trial
                version = trial["result"]["version"]
                assert (await wayan.ask("config.confirm", version=version))["ok"]
                history = await wayan.ask("thresholds.get", device="unit-1")
                newest = history["result"]["versions"][-1]
                assert (newest["waspada_mm"], newest["siaga_mm"]) == (70000, 90000)
                assert (newest["set_by"], newest["reason"]) == ("wayan", "a test")
                assert (await wayan.ask("part.restart", part="modbus.bus"))["ok"]
                status = await wayan.ask("status")
                parts = {part["name"]: part["restarts"] for part in status["result"]["parts"]}
                assert parts["modbus.bus"] == 1 and parts["mqtt"] == 0
                unknown = await wayan.ask("part.restart", part="nothing")
                assert "modbus.bus" in unknown["text"]
            changed = [
                entry
                for entry in entries(tmp_path / "data" / "audit")
                if entry["event"] == "thresholds.changed" and entry["who"] == "wayan"
            ]
            assert len(changed) == 1 and changed[0]["why"] == "a test"

    asyncio.run(scenario())


def test_a_reload_on_a_full_disk_loses_no_reading(tmp_path: Path) -> None:
    """What was polled while the disk took nothing goes on to the agent with the new file."""

    async def scenario() -> City:
        async with Site(tmp_path, 60) as site:
            async with City(site.broker.port).listening() as city, running(site.config) as agent:
                await city.until(lambda: len(city.rows) > 20)
                agent.limit_files(1)
                await site.peer.until_answers(1, 20)
                text = site.config.read_text()
                site.config.write_text(text.replace("[mqtt]", "[mqtt]\nhealth_s = 1.0"))
                agent.send(signal.SIGHUP)
                await site.peer.until_answers(1, 20)
                before = city.health
                agent.limit_files(-1)
                await city.until(lambda: city.health is not before)  # the next agent's first word
                seen = site.peer.answers[1]
                await city.until(lambda: city.latest("unit-1") > seen)
                await city.until(lambda: missed_polls(city, 1) <= 1)
                assert await agent.end() == 0
                assert b"config.waits" in agent.log and b"config.reload" in agent.log
                assert b"Traceback" not in agent.log
                return city

    city = asyncio.run(scenario())
    assert city.conflicts == 0
    assert not any(city.holes().values())
    assert missed_polls(city, 1) <= 1, "more than the answer in flight at the reload"


def test_the_operators_commands_work_as_documented(tmp_path: Path) -> None:
    def tukad(*words: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [TUKAD, "gateway", *words], capture_output=True, text=True, timeout=40
        )

    made = tukad("key", tmp_path / "ketut.key", "--role", "admin")
    assert made.returncode == 0 and oct((tmp_path / "ketut.key").stat().st_mode)[-3:] == "600"
    assert tukad("key", tmp_path / "ketut.key").returncode == 1

    async def scenario() -> None:
        peer, port = ModbusPeer(), free_port()
        await peer.start()
        config = write_config(tmp_path, 'url = "embedded"', peer.port, units=1)
        config.write_text(
            config.read_text() + f'[broker]\nbind = "127.0.0.1:{port}"\n' + made.stdout
        )
        key = ("--key", tmp_path / "ketut.key")
        try:
            async with running(config) as agent:
                await _listening(agent, port)
                done = await asyncio.to_thread(
                    tukad, "send", config, "config.set", "key=mqtt.health_s", "value=7.0", *key
                )
                assert done.returncode == 0 and done.stdout.startswith("trial"), done
                done = await asyncio.to_thread(tukad, "confirm", config, *key)
                assert done.returncode == 0, done
                url = f"mqtt://127.0.0.1:{port}"
                who = ("--site", "test", "--operator", "ketut", "--json")
                done = await asyncio.to_thread(tukad, "send", url, "nothing", *who, *key)
                assert done.returncode == 1 and json.loads(done.stdout)["code"] == "command"
                done = await asyncio.to_thread(tukad, "auditlog", config, "--verify")
                assert done.returncode == 0 and done.stdout.startswith("good: ")
                assert await agent.end() == 0
        finally:
            await peer.stop()
        log = tmp_path / "data" / "audit" / "log"
        log.write_bytes(log.read_bytes().replace(b"ketut", b"wayan", 1))
        done = await asyncio.to_thread(tukad, "auditlog", config, "--verify")
        assert done.returncode == 1 and "was changed" in done.stderr
        assert "Traceback" not in done.stderr

    asyncio.run(scenario())


async def _listening(agent: AgentProcess, port: int) -> None:
    async with asyncio.timeout(20):
        while agent.is_running:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with aiomqtt.Client("127.0.0.1", port) as client:
                    await client.subscribe("tukad/test/config", 1)
                    async for _ in client.messages:
                        return
            await asyncio.sleep(0.1)
    raise AssertionError(os.fsdecode(agent.log))
