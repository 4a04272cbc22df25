"""NTCIP objects read and set by pysnmp's manager from another process, and by hostile packets."""

import asyncio
import json
import os
import random
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from pysnmp.proto import rfc1902

from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.ntcip.agent import open_agent
from gateway.atcs.ntcip.objects import ASC, BACKUP_S, Objects
from gateway.atcs.service.settings import SnmpSettings
from gateway.atcs.snapshot import Snapshot, take
from gateway.config import ConfigError
from tests.gateway.atcs.rig import sample
from tests.gateway.atcs.service import Process, junction, write
from tests.gateway.peers import free_port


class Central:
    """pysnmp's manager in a process of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> "Central":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", str(Path(__file__).with_name("manager.py")),
            str(self._port), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def ask(self, who: list[str], do: str, *oids: str, value: Any = None) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"who": who, "do": do, "oids": oids, "value": value}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(20):
            return json.loads(await self._process.stdout.readline())


READER, OLD = ["v2c", "public-reader"], ["v1", "public-reader"]
WRITER, STRANGER = ["v2c", "secret-writer"], ["v2c", "public"]
USER = ["v3", "central", "authpass-1", "privpass-1"]
WRONG, PLAIN = ["v3", "central", "authpass-2", "privpass-1"], ["v3", "central"]


async def look(process: Process, central: Central) -> None:
    """What SNMP says is what SPaT says."""
    assert await central.ask(READER, "get", "1.1.0") == [6]
    for _ in range(5):
        before = process.last("spat")["states"]
        oids = [f"1.4.1.{k}.1" for k in (2, 3, 4, 5, 6, 7)]
        reds, yellows, greens, dont, _, walks = await central.ask(READER, "get", *oids)
        if process.last("spat")["states"] == before:
            break
    assert [row["movementName"] for row in before] == ["W", "E", "N", "S", "PW", "LW"]
    for i, row in enumerate(before):
        bit = 1 << i
        state = row["eventState"]
        if row["movementName"] == "PW":
            shown = dont if state == "stop-And-Remain" else walks
        else:
            shown = greens if state == "protected-Movement-Allowed" else reds | yellows
        assert shown & bit, (row, reds, yellows, greens)


def test_a_central_reads_walks_and_sets(tmp_path: Path) -> None:
    for name, text in (("c", READER[1]), ("w", WRITER[1]), ("a", USER[2]), ("p", USER[3])):
        (tmp_path / name).write_text(text)
    port = free_port()
    config = write(
        tmp_path,
        junction=f'[junction.snmp]\nbind = "127.0.0.1:{port}"\ncommunity_file = "c"\n'
        'write_community_file = "w"\nuser = "central"\nauth_file = "a"\nprivacy_file = "p"\n',
    )

    async def scenario() -> None:
        async with junction(config) as process, Central(port) as central:
            ask = central.ask
            await process.until(lambda: process.last("spat").get("mode") == "plan")
            await look(process, central)
            table = await ask(READER, "walk", "1.2")
            assert table["1.2.1.8.1"] == 30 and table["1.2.1.4.1"] == 8
            assert table["1.2.1.23.1"] == "0206", "W may run beside E and LW"
            keys = [tuple(map(int, key.split("."))) for key in table]
            assert keys == sorted(keys) and len(keys) > 60
            group = await ask(READER, "walk", "3")
            assert {"3.5.0", "3.6.0", "3.7.0", "3.8.0", "3.9.0"} <= set(group)
            assert len(await ask(READER, "bulk", "1.4", value=30)) == 30
            assert await ask(OLD, "get", "4.10.0", "3.6.0") == [254, 2]
            assert await ask(OLD, "get", "9.9.9") == "noSuchName"
            assert "No Such" in (await ask(READER, "get", "9.9.9"))[0]
            assert await ask(USER, "get", "4.10.0") == [254]
            for who in (STRANGER, WRONG, PLAIN):
                assert isinstance(await ask(who, "get", "1.1.0"), str), who
            for who in (READER, USER, OLD):
                refused = await ask(who, "set", "4.14.0", value=255)
                assert refused in ("noAccess", "authorizationError", "noSuchName"), (who, refused)
            assert await ask(WRITER, "set", "4.10.0", value=1) == "notWritable"
            assert await ask(WRITER, "set", "4.14.0", value=99) == "wrongValue"
            assert await ask(WRITER, "set", "4.14.0", value="x") == "wrongType"
            assert await ask(WRITER, "set", "3.10.0", value=64) == "wrongValue"
            assert await ask(WRITER, "set", "3.10.0", value=2) == [2]
            assert await ask(WRITER, "set", "4.14.0", value=1) == [1]
            await process.until(lambda: process.last("spat").get("pattern") == "morning")
            assert await ask(READER, "get", "4.10.0", "4.14.0", "3.5.0") == [1, 1, 2]
            assert await ask(WRITER, "set", "4.14.0", value=0) == [0]
            await process.until(lambda: process.last("spat").get("pattern") == "free")
            hostile(port)
            assert await ask(READER, "get", "1.1.0") == [6]

    asyncio.run(scenario())


def hostile(port: int) -> None:
    """Noise, cut and damaged packets; the agent answers afterwards, that is all."""
    good = bytes.fromhex(
        "302a02010104067075626c6963a01d020412345678020100020100300f300d06092b0601040189360402010500"
    )
    dice = random.Random(3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        for k in range(200):
            data = bytearray(good)
            data[dice.randrange(len(data))] = dice.randrange(256)
            choices = (
                bytes(data),
                good[: k % len(good)],
                os.urandom(k),
                b"\x30\x84\xff\xff\xff\xff",
            )
            line.sendto(choices[k % 4], ("127.0.0.1", port))
        line.sendto(b"\x30\x80" * 15_000, ("127.0.0.1", port))


def view_of(name: str, seconds: int, *on: str, **inputs: Any) -> tuple[Objects, Snapshot]:
    plan = sample(name)
    controller = Controller(plan, 0)
    names = [d.name for d in plan.detector]
    given = Inputs(detectors=sum(1 << names.index(d) for d in on), **inputs)
    for k in range(1, seconds * 10):
        calm = Inputs(detectors=given.detectors)
        output = controller.step(k * 100, given if k > 120 or seconds < 20 else calm)
    return Objects(plan), take(controller, output, given)


def test_calls_next_phases_detectors_and_alarms_in_their_bits() -> None:
    objects, view = view_of("kumbasari", 14, "n-stop", "pw-button", panel="manual")

    def get(*oid: int) -> Any:
        return objects.get((*ASC, *oid), view)

    assert get(1, 4, 1, 8, 1) & 0b100 and get(1, 4, 1, 9, 1) == 0b10000
    assert get(1, 4, 1, 10, 1) == get(1, 4, 1, 4, 1) | get(1, 4, 1, 3, 1)
    assert get(2, 4, 1, 2, 1) == 0b1000 and get(3, 5, 0) == 5
    assert get(3, 9, 0) & 0x08
    objects, view = view_of("kumbasari", 320, "n-stop")
    assert objects.get((*ASC, 2, 2, 1, 13, 4), view) == 2, "stuck on"
    assert objects.get((*ASC, 2, 4, 1, 3, 1), view) == 0b1000
    objects, view = view_of("kumbasari", 60, panel="flash")
    assert objects.get((*ASC, 3, 6, 0), view) == 4 and objects.get((*ASC, 3, 8, 0), view) & 0x20
    objects, view = view_of("kumbasari", 60, preempts=1)
    assert objects.get((*ASC, 3, 9, 0), view) & 1
    objects, view = view_of("kumbasari", 60, fault="board rack: silent")
    assert objects.get((*ASC, 3, 6, 0), view) == 5 and objects.get((*ASC, 3, 9, 0), view) & 0x80
    assert objects.get((*ASC, 3, 6, 0), None) == 7


def test_every_object_can_be_read_before_the_first_tick_and_after() -> None:
    for name in ("kumbasari", "dual-ring"):
        objects, view = view_of(name, 40)
        oid: tuple[int, ...] | None = ()
        count = 0
        while (oid := objects.following(oid)) is not None:
            for state in (None, view):
                value = objects.get(oid, state)
                assert isinstance(value, bytes) or (value is not None and 0 <= value <= 65535)
            count += 1
        assert count > 150


def test_a_silent_central_controls_nothing_any_more() -> None:
    commanded: list[str] = []

    class Owner:
        tick = None

        def command(self, plan: str) -> bool:
            commanded.append(plan)
            return True

        def tell(self, news: Any) -> None:
            pass

    async def scenario() -> None:
        agent = await open_agent(
            SnmpSettings(bind="127.0.0.1:0"), Path(), sample("kumbasari"), Owner()
        )
        now = asyncio.get_running_loop().time()
        agent.instrument.write_variables(
            (rfc1902.ObjectName((*ASC, 4, 14, 0)), rfc1902.Integer32(255))
        )
        agent.instrument.look(now + BACKUP_S - 5)
        assert commanded == ["flash"]
        agent.instrument.look(now + BACKUP_S + 5)
        agent.instrument.look(now + 2 * BACKUP_S)
        assert commanded == ["flash", ""]
        agent.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SnmpSettings(bind="0.0.0.0:1161"), "is reached from other machines"),
        (SnmpSettings(user="x"), "auth_file is missing"),
    ],
)
def test_an_open_door_is_refused(settings: SnmpSettings, words: str, tmp_path: Path) -> None:
    class Owner:
        tick = None

        def command(self, plan: str) -> bool:
            return False

        def tell(self, news: Any) -> None:
            pass

    with pytest.raises(ConfigError) as caught:
        asyncio.run(open_agent(settings, tmp_path, sample("kumbasari"), Owner()))
    assert words in str(caught.value)
