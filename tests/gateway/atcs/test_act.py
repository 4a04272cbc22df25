"""The junction beside an agent: what it publishes and takes, and that it outlives all of it."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from gateway.acts.junction import JunctionAct, open_junctions
from gateway.atcs.service.letters import seal
from gateway.clock import now_ms
from gateway.ledger.store import Stored
from gateway.model import Alarm
from tests.gateway.acts.fixture import act_context, flood
from tests.gateway.atcs.relayboard import RelayBoard
from tests.gateway.atcs.rig import ROOT
from tests.gateway.atcs.service import NAME, pids_of, write
from tests.gateway.peers import Broker, running

KEY = "a key for the ambulances of the city"
TOPIC = f"tukad/test/junction/{NAME}"


class Room:
    """The control room: the newest message of every topic of the junction."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}
        self.count = 0
        self.changed = asyncio.Event()
        self.client: aiomqtt.Client

    @contextlib.asynccontextmanager
    async def open(self, port: int) -> AsyncGenerator["Room"]:
        async with aiomqtt.Client("127.0.0.1", port, timeout=5) as self.client:
            await self.client.subscribe("tukad/test/#")
            task = asyncio.create_task(self._listen())
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        async for message in self.client.messages:
            topic = str(message.topic).removeprefix("tukad/test/")
            if topic.startswith(("junction/", "alarm/")):
                assert isinstance(message.payload, bytes)
                self.last[topic] = json.loads(message.payload)
                self.count += 1
                self.changed.set()

    def get(self, what: str) -> dict[str, Any]:
        return self.last.get(f"junction/{NAME}/{what}", {})

    async def until(self, test: Callable[[], Any], seconds: float = 25) -> None:
        async with asyncio.timeout(seconds):
            while not test():
                self.changed.clear()
                await self.changed.wait()


def test_the_junction_outlives_reload_broker_and_its_own_death(tmp_path: Path) -> None:
    (tmp_path / "ambulance.key").write_text(KEY)

    async def scenario() -> None:
        relay, broker = RelayBoard(), Broker("embedded", tmp_path)
        await relay.start()
        await broker.start()
        config = write(
            tmp_path, relay.port, mqtt=f'url = "mqtt://127.0.0.1:{broker.port}"',
            junction='priority_key_file = "ambulance.key"', flood=True,
        )  # fmt: skip
        async with running(config) as agent:
            async with Room().open(broker.port) as room:
                await room.until(lambda: room.get("spat").get("mode") == "plan")
                await room.until(lambda: room.get("status").get("state"))
                assert room.get("status")["state"]["stages"] == {"kumbasari-1": None}

                async def ask(payload: bytes) -> None:
                    await room.client.publish(f"{TOPIC}/priority", payload)

                body = {"vehicle": "ambulance-01", "approach": "ambulance-east", "eta_s": 12}
                await ask(json.dumps(body).encode())
                good = seal(KEY.encode(), "dispatch", now_ms(), body)
                await ask(good.replace(b'"eta_s":12', b'"eta_s":1'))
                await room.until(
                    lambda: "forged" in "\n".join(room.get("status").get("requests", []))
                )
                assert room.get("spat")["mode"] == "plan"
                await ask(good)
                await room.until(lambda: room.get("spat").get("mode") == "preempt")
                await ask(good)
                await room.until(
                    lambda: "repeated" in "\n".join(room.get("status").get("requests", []))
                )

                (pid,) = pids_of(config)
                ticks = len(relay.log)
                agent.send(signal.SIGHUP)
                await relay.until(lambda: len(relay.log) > ticks + 30)
                assert pids_of(config) == [pid], "the same process after the agent's reload"
                plan = tmp_path / "plan.toml"
                good_plan = plan.read_text()
                plan.write_text(good_plan.replace("clearance_s = [1.2, 2.2]", "clearance_s = 0"))
                ticks = len(relay.log)
                agent.send(signal.SIGHUP)
                await relay.until(lambda: len(relay.log) > ticks + 30)
                assert agent.is_running and pids_of(config) == [pid], "an unsafe file stops nothing"
                plan.write_text(good_plan)
                faults = [k for k, coils in enumerate(relay.log) if coils[19]]
                assert not faults, "never asked for flash"
                count = room.count
                await room.until(lambda: room.count > count + 3)

            await broker.stop()
            ticks = len(relay.log)
            await relay.until(lambda: len(relay.log) > ticks + 20)
            assert pids_of(config) == [pid]
            await broker.start()
            async with Room().open(broker.port) as room:
                await room.until(lambda: room.get("spat").get("mode"))
                os.kill(pid, signal.SIGKILL)
                await relay.until(lambda: pids_of(config) not in ([], [pid]))
                ticks = len(relay.log)
                await room.until(
                    lambda: room.get("spat").get("mode") == "plan" and len(relay.log) > ticks + 30
                )
        assert pids_of(config) == [], "ends with its agent"
        assert relay.coils[19] and not any(relay.coils[:16])
        await broker.stop()
        await relay.stop()

    asyncio.run(scenario())


SECTION = f"""
[[junction]]
name = "{NAME}"
plan = "plan.toml"
run = "service"
"""


def test_flood_stages_reach_the_junction_with_their_age_also_after_a_restart(
    tmp_path: Path,
) -> None:
    plan = (ROOT / "deploy/atcs/kumbasari.toml").read_text()
    (tmp_path / "plan.toml").write_text(plan.replace('"kumbasari-1"', '"kumbasari"'))
    said: list[dict[str, Any]] = []
    changed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            said.append(json.loads(line))
            changed.set()
        writer.close()

    async def until(test: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not test():
                changed.clear()
                await changed.wait()

    async def scenario() -> None:
        with act_context(tmp_path, SECTION) as context:
            now = now_ms()
            high = stage_alarm("kumbasari", 2, now - 60_000)
            context.ledger.call(lambda store: store.add_alarm(high))
            await context.ledger.add([flood("kumbasari", 1, now - 30_000, 1500)])
            (act,) = open_junctions(context)
            assert isinstance(act, JunctionAct)
            path = tmp_path / "atcs" / f"{NAME}.sock"
            path.parent.mkdir()
            server = await asyncio.start_unix_server(serve, str(path))
            task = asyncio.create_task(act.run())
            await until(lambda: bool(said))
            assert said[0]["do"] == "stage" and said[0]["stage"] == 2
            assert 29 <= said[0]["age_s"] <= 40, "the age of the reading, not of the alarm"
            act.on_readings([Stored(2, flood("kumbasari", 2, now_ms(), 1600))])
            await until(lambda: said[-1]["age_s"] < 5)
            assert said[-1]["stage"] == 2
            act.on_readings([Stored(3, flood("bus-3", 1, now_ms(), 1))])
            act.on_readings([Stored(4, flood("kumbasari", 1, now - 900_000, 1))])
            await until(lambda: len(said) >= 3)
            assert said[-1]["age_s"] < 6, "an old reading that comes late makes nothing older"
            await act.handle(9, stage_alarm("kumbasari", 0, now_ms(), "cleared"))
            await until(lambda: said[-1]["stage"] == 0)
            news = {
                "junction": NAME, "approach": "ambulance-east", "eta_s": 30.0,
                "vehicle": "ambulance-01", "class": "ambulance", "authorised": True,
            }  # fmt: skip
            assert act.arrival(news)
            await until(lambda: said[-1]["do"] == "priority")
            assert said[-1]["vehicle"] == "ambulance-01" and said[-1]["eta_s"] == 30
            assert act.arrival({**news, "approach": "east", "preempt": "ambulance-east"})
            await until(lambda: said[-1]["do"] == "priority" and act.requests == 2)
            assert said[-1]["approach"] == "ambulance-east"
            assert not act.arrival({**news, "junction": "elsewhere"})
            assert not act.arrival({**news, "authorised": "yes"})
            assert not act.arrival({**news, "eta_s": -4})
            assert not act.arrival({**news, "vehicle": None})
            assert act.refused == 3 and act.requests == 2
            role, command = act.commands()["plan"]
            assert role == "operator"
            with pytest.raises(ValueError, match="plan is one of free, flash, morning"):
                command({"plan": "chaos"})
            command({"plan": "morning"})
            await until(lambda: said[-1] == {"do": "plan", "plan": "morning"})
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            server.close()
            assert set(act.faults()) == {("junction.unreachable", NAME)}

    asyncio.run(scenario())


def stage_alarm(device: str, level: int, time_ms: int, event: str = "raised") -> Alarm:
    return Alarm(
        incident=f"{device}/stage/1", device=device, kind="stage", event=event, level=level,
        name="x", time_ms=time_ms, decided_ms=time_ms, sequence=1, values={}, text_id="x",
        text_en="x",
    )  # fmt: skip
