"""The agent as a process, with everything going wrong around it: nothing stored is ever lost."""

import asyncio
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from gateway.ledger.audit import audit
from tests.gateway.peers import (
    MOSQUITTO,
    TUKAD,
    Broker,
    City,
    Link,
    ModbusPeer,
    free_port,
    running,
)

PROFILE = Path(__file__).with_name("counter.toml")
BROKERS = [
    "embedded",
    pytest.param(
        "mosquitto",
        marks=[
            pytest.mark.mosquitto,
            pytest.mark.skipif(not MOSQUITTO.exists(), reason="Mosquitto is not installed"),
        ],
    ),
]


def write_config(
    folder: Path, mqtt: str, modbus_port: int, *, units: int = 4, interval_s: float = 0.05
) -> Path:
    """A configuration with one bus of counting sensors."""
    sensors = "".join(
        f'[[modbus.sensor]]\nname = "unit-{unit}"\nprofile = "{PROFILE}"\nunit = {unit}\n'
        f"interval_s = {interval_s}\n"
        for unit in range(1, units + 1)
    )
    path = folder / "gateway.toml"
    path.write_text(
        f'[gateway]\nsite = "test"\ndata_dir = "{folder}/data"\nstatus_bind = ""\n'
        f"[mqtt]\n{mqtt}\nack_timeout_s = 2.0\nkeepalive_s = 2\nreconnect_s_max = 0.5\n"
        f'[[modbus]]\nname = "bus"\nport = "tcp://127.0.0.1:{modbus_port}"\n{sensors}'
    )
    return path


def missed_polls(city: City, unit: int) -> int:
    """Answers the sensor gave that never reached the city, up to the last one that did."""
    got = {
        values["answers"]
        for (name, _, _), (_, values) in city.rows.items()
        if name == f"unit-{unit}"
    }
    return max(got) - min(got) + 1 - len(got) if got else 0


@pytest.mark.parametrize("kind", BROKERS)
def test_killed_again_and_again_under_load_it_loses_and_repeats_nothing(
    tmp_path: Path, kind: str
) -> None:
    """Of what was polled at most the answer in flight at each kill is missing; of what was stored
    nothing is, and no sequence number ever comes back with other content."""
    kills = 10 if kind == "embedded" else 4

    async def scenario() -> City:
        peer, broker = ModbusPeer(), Broker(kind, tmp_path)
        await peer.start()
        await broker.start()
        config = write_config(tmp_path, f'url = "mqtt://127.0.0.1:{broker.port}"', peer.port)
        dice = random.Random(7)
        try:
            async with City(broker.port).listening() as city:
                for _ in range(kills):
                    async with running(config) as agent:
                        before = len(city.rows)
                        await city.until(lambda before=before: len(city.rows) > before)
                        await asyncio.sleep(dice.uniform(0, 0.2))
                        assert await agent.end(signal.SIGKILL) == -signal.SIGKILL
                async with running(config):
                    before = len(city.rows)
                    await city.until(lambda: len(city.rows) > before + 50)
                return city
        finally:
            await broker.stop()
            await peer.stop()

    city = asyncio.run(scenario())
    assert not any(city.holes().values()), city.holes()
    assert city.conflicts == 0
    assert all(missed_polls(city, unit) <= 2 * kills for unit in range(1, 5))


@pytest.mark.parametrize("kind", BROKERS)
def test_while_the_broker_is_away_readings_wait_and_the_newest_come_first(
    tmp_path: Path, kind: str
) -> None:
    async def scenario() -> City:
        peer, broker = ModbusPeer(), Broker(kind, tmp_path)
        await peer.start()
        await broker.start()
        link = Link(broker.port)
        await link.start()
        config = write_config(tmp_path, f'url = "mqtt://127.0.0.1:{link.port}"', peer.port)
        try:
            async with City(broker.port).listening() as city, running(config):
                await city.until(lambda: len(city.rows) > 20)
                link.mode = "refuse"
                await broker.stop(signal.SIGKILL)
                await peer.until_answers(1, 40)
                at_return = peer.answers[1]
                await broker.start()
                # The embedded broker forgets who subscribed: the city must be back first.
                await city.until(lambda: city.subscriptions == 2)
                link.mode = "pass"
                await city.until(
                    lambda: city.latest("unit-1") > at_return and missed_polls(city, 1) == 0
                )
                assert "history" in city.batches
                return city
        finally:
            await link.stop()
            await broker.stop()
            await peer.stop()

    city = asyncio.run(scenario())
    assert city.conflicts == 0


def test_a_link_that_swallows_everything_is_noticed_and_nothing_is_lost(tmp_path: Path) -> None:
    async def scenario() -> City:
        peer, broker = ModbusPeer(), Broker("embedded", tmp_path)
        await peer.start()
        await broker.start()
        link = Link(broker.port)
        await link.start()
        config = write_config(tmp_path, f'url = "mqtt://127.0.0.1:{link.port}"', peer.port)
        try:
            async with City(broker.port).listening() as city, running(config) as agent:
                await city.until(lambda: len(city.rows) > 20)
                link.mode = "swallow"
                await peer.until_answers(1, 60)
                assert link.swallowed > 0
                link.mode = "pass"
                seen = peer.answers[1]
                await city.until(
                    lambda: (
                        max(v["answers"] for _, v in city.rows.values()) > seen
                        and not any(city.holes().values())
                    )
                )
                assert await agent.end() == 0
                assert b"no confirmation within" in agent.log
                return city
        finally:
            await link.stop()
            await broker.stop()
            await peer.stop()

    city = asyncio.run(scenario())
    assert not any(city.holes().values())
    assert city.conflicts == 0


def test_on_a_full_disk_alarms_go_out_and_readings_wait_for_room(tmp_path: Path) -> None:
    async def scenario() -> City:
        peer, broker = ModbusPeer(), Broker("embedded", tmp_path)
        await peer.start()
        await broker.start()
        config = write_config(tmp_path, f'url = "mqtt://127.0.0.1:{broker.port}"', peer.port)
        stages = '{waspada_mm=80,siaga_mm=90000,awas_mm=99000,value="answers"}'
        text = config.read_text().replace("unit = 1\n", f"unit = 1\nstages = {stages}\n")
        config.write_text(text)
        try:
            async with City(broker.port).listening() as city, running(config) as agent:
                await city.until(lambda: len(city.rows) > 20)
                agent.limit_files(1)
                await city.until(lambda: bool(city.alarms))  # raised at count 80, with no disk
                await peer.until_answers(1, 10)
                stored = city.latest("unit-1")
                assert stored < 80, "the disk was not full"
                agent.limit_files(-1)
                seen = peer.answers[1]
                await city.until(
                    lambda: city.latest("unit-1") > seen and missed_polls(city, 1) == 0
                )
                return city
        finally:
            await broker.stop()
            await peer.stop()

    city = asyncio.run(scenario())
    assert [(a["event"], a["name"]) for a in city.alarms] == [("raised", "Waspada")]
    assert not any(city.holes().values())
    assert city.conflicts == 0


def test_the_embedded_broker_serves_and_ends_with_the_agent(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        peer, port = ModbusPeer(), free_port()
        await peer.start()
        config = write_config(tmp_path, 'url = "embedded"\nformat = "json"', peer.port)
        config.write_text(config.read_text() + f'[broker]\nbind = "127.0.0.1:{port}"\n')
        try:
            async with running(config) as agent, City(port).listening() as city:
                await city.until(lambda: len(city.rows) > 20 and bool(city.health))
                assert {part["state"] for part in city.health["parts"]} == {"running"}
                assert await agent.end() == 0
                with pytest.raises(OSError):
                    await asyncio.open_connection("127.0.0.1", port)
                return agent.log
        finally:
            await peer.stop()

    assert b"Traceback" not in asyncio.run(scenario())


def test_an_embedded_broker_that_dies_is_started_again_and_nothing_stored_is_lost(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        peer, port = ModbusPeer(), free_port()
        await peer.start()
        config = write_config(tmp_path, 'url = "embedded"', peer.port)
        config.write_text(config.read_text() + f'[broker]\nbind = "127.0.0.1:{port}"\n')
        try:
            async with running(config) as agent, City(port).listening() as city:
                await city.until(lambda: len(city.rows) > 20)
                for child in agent.children():
                    os.kill(child, signal.SIGKILL)
                seen = peer.answers[1]
                await city.until(lambda: city.latest("unit-1") > seen + 10)
                assert await agent.end() == 0
            lines = audit(tmp_path / "data" / "ledger.db")
            # What the dead broker had confirmed and not passed on died with it (docs/gateway.md);
            # what it had not confirmed may still wait. The ledger has every reading.
            assert all(line.completeness == 1 for line in lines), lines
        finally:
            await peer.stop()

    asyncio.run(scenario())


def test_a_reload_takes_a_good_file_refuses_a_wrong_one_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> tuple[City, bytes]:
        peer, broker = ModbusPeer(), Broker("embedded", tmp_path)
        await peer.start()
        await broker.start()
        url = f'url = "mqtt://127.0.0.1:{broker.port}"'
        config = write_config(tmp_path, url, peer.port, units=1)
        text = config.read_text()
        try:
            async with City(broker.port).listening() as city, running(config) as agent:
                await city.until(lambda: len(city.rows) > 10)
                config.write_text(text + "[lorawam]\n")  # wrong: goes on as before
                agent.send(signal.SIGHUP)
                before = len(city.rows)
                await city.until(lambda: len(city.rows) > before + 10)
                taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
                port = taken.sockets[0].getsockname()[1]
                busy = text.replace('status_bind = ""', f'status_bind = "127.0.0.1:{port}"')
                config.write_text(busy)  # right, but cannot start: back to the one before
                agent.send(signal.SIGHUP)
                before = len(city.rows)
                await city.until(lambda: len(city.rows) > before + 20)
                taken.close()
                await taken.wait_closed()
                write_config(tmp_path, url, peer.port, units=2)
                agent.send(signal.SIGHUP)
                await city.until(lambda: city.latest("unit-2") >= 0)
                assert await agent.end() == 0
                return city, agent.log
        finally:
            await broker.stop()
            await peer.stop()

    city, text = asyncio.run(scenario())
    assert b"config.refused" in text and b"did you mean lorawan?" in text
    assert b"config.reverted" in text
    assert b"Traceback" not in text
    assert not any(city.holes().values())
    assert missed_polls(city, 1) <= 4  # an answer in flight at each end of a source


def run_once(config: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [TUKAD, "gateway", "run", config], capture_output=True, text=True, timeout=20
    )


def test_a_port_in_use_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    config = write_config(tmp_path, 'url = "embedded"', 1)

    async def scenario() -> None:
        taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        port = taken.sockets[0].getsockname()[1]
        config.write_text(config.read_text() + f'[broker]\nbind = "127.0.0.1:{port}"\n')
        done = await asyncio.to_thread(run_once, config)
        taken.close()
        await taken.wait_closed()
        assert done.returncode == 1
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and f"broker.bind = 127.0.0.1:{port}: the port is in use" in lines[0]

    asyncio.run(scenario())


def test_a_missing_broker_is_one_line_when_it_is_demanded_at_the_start(tmp_path: Path) -> None:
    url = f'url = "mqtt://127.0.0.1:{free_port()}"\nrequired_at_start = true'
    done = run_once(write_config(tmp_path, url, 1))
    assert done.returncode == 1
    assert "no broker answers" in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_configuration_ends_with_78(tmp_path: Path) -> None:
    config = write_config(tmp_path, 'url = "http://x"', 1)
    done = run_once(config)
    assert done.returncode == 78
    assert "mqtt.url" in done.stderr and '"http://x"' in done.stderr


def test_two_agents_on_one_ledger_are_refused(tmp_path: Path) -> None:
    async def scenario() -> "subprocess.CompletedProcess[str]":
        peer = ModbusPeer()
        await peer.start()
        url = f'url = "mqtt://127.0.0.1:{free_port()}"'
        config = write_config(tmp_path, url, peer.port)
        try:
            async with running(config):
                await peer.until_answers(1, 1)
                return await asyncio.to_thread(run_once, config)
        finally:
            await peer.stop()

    done = asyncio.run(scenario())
    assert done.returncode == 1 and "another agent is running" in done.stderr
