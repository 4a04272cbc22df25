"""The whole agent, killed while the GIS comes and goes."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.gateway.acts.sensorthings.peer import PEER, Server
from tests.gateway.peers import AgentProcess, ModbusPeer, free_port

PROFILE = Path(__file__).parents[2] / "counter.toml"

pytestmark = pytest.mark.skipif(
    not PEER.exists(), reason="no .peers: run `sh deploy/setup.sh tests`"
)


def write_config(folder: Path, root: str, modbus_port: int) -> Path:
    path = folder / "gateway.toml"
    path.write_text(
        f'[gateway]\nsite = "test"\ndata_dir = "{folder}/data"\nstatus_bind = ""\n'
        "latitude_deg = -8.65\nlongitude_deg = 115.21\ndrain_s = 0\n"
        f'[broker]\nbind = "127.0.0.1:{free_port()}"\n'
        f'[[modbus]]\nname = "bus"\nport = "tcp://127.0.0.1:{modbus_port}"\n'
        f'[[modbus.sensor]]\nname = "unit-1"\nprofile = "{PROFILE}"\nunit = 1\n'
        "interval_s = 0.05\n"
        f'[sensorthings]\nurl = "{root}"\nlinger_s = 0.2\nretry_s_max = 0.2\n'
    )
    return path


async def until_results(server: Server, wanted: float) -> Counter[float]:
    """Until the server has this one and no hole longer than a kill explains."""
    async with asyncio.timeout(50):
        while True:
            results = await server.results()
            if results and max(results) >= wanted and len(results) >= wanted - 4:
                return results
            await asyncio.sleep(0.1)


def test_each_polled_value_arrives_once_although_agent_and_server_are_killed(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        peer, server = ModbusPeer(), Server(tmp_path)
        await peer.start()
        agent = AgentProcess(write_config(tmp_path, server.root, peer.port))
        try:
            await agent.start()
            await peer.until_answers(1, 12)  # nobody takes them
            await server.start()
            await until_results(server, 12)
            await agent.end(signal.SIGKILL)
            await agent.start()
            await peer.until_answers(1, 12)
            await server.stop()  # killed
            await peer.until_answers(1, 12)
            await agent.end(signal.SIGKILL)
            await server.start()
            await agent.start()
            await peer.until_answers(1, 12)
            last = peer.answers[1] - 2
            results = await until_results(server, last)
            assert set(results.values()) == {1}
            # What was on its way from the sensor at a kill, or is now, is not ours yet.
            missing = set(range(1, last)) - {int(one) for one in results}
            assert len(missing) <= 4, missing
        finally:
            if agent.is_running:
                await agent.end()
            await server.stop()
            await peer.stop()

    asyncio.run(run())
