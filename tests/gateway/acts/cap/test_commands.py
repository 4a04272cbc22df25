"""The commands an operator types, and the whole agent with its alarms killed in between."""

import asyncio
import dataclasses
import json
import re
import signal
import sqlite3
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.acts.cap.settings import Area, CapSettings, GaugeSettings, ReceiverSettings
from gateway.acts.cap.signing import read_pin
from gateway.acts.cap_command import COMMANDS
from gateway.agent import problems
from gateway.config import Place, build
from gateway.model import RAISED
from gateway.settings import load
from tests.gateway.acts.cap.world import (
    Receiver,
    World,
    alarm,
    check,
    receiver_section,
    serving,
    text,
    until,
)
from tests.gateway.peers import ModbusPeer, free_port, running

ROOT = Path(__file__).parents[4]
PROFILE = Path(__file__).parents[2] / "counter.toml"


def run(name: str, *words: object) -> Result:
    command = next(one for one in COMMANDS if one.name == name)
    return CliRunner().invoke(command, [str(word) for word in words])


def test_a_key_is_made_once_and_its_pin_verifies_what_it_signed(tmp_path: Path) -> None:
    made = run("cap-key", tmp_path / "my.key", "--name", "BPBD Denpasar")
    assert made.exit_code == 0, made.output
    pin = re.search(r"pin +([0-9A-F:]{95})\n", made.output)
    assert pin is not None
    assert read_pin(pin[1]) == read_pin(str(tmp_path / "my.crt"))
    again = run("cap-key", tmp_path / "my.key")
    assert again.exit_code == 1
    assert "is there already" in again.output
    nowhere = run("cap-key", tmp_path / "no" / "my.key")
    assert nowhere.exit_code == 1
    assert "cannot be written" in nowhere.output
    assert "Traceback" not in again.output + nowhere.output


def test_verify_says_good_or_why_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    asyncio.run(world.act.handle(1, alarm(RAISED, 3)))
    (path,) = world.files
    world.crash()
    good = run("cap-verify", path, "--cert", tmp_path / "cap.crt")
    assert good.exit_code == 0, good.output
    assert f"identifier   {text(path.read_bytes(), 'identifier')}" in good.output
    other = run("cap-verify", path, "--cert", "00" * 32)
    forged = tmp_path / "forged.xml"
    forged.write_bytes(path.read_bytes().replace(b"Awas", b"Aman"))
    tampered = run("cap-verify", forged, "--cert", tmp_path / "cap.crt")
    missing = run("cap-verify", tmp_path / "none.xml", "--cert", tmp_path / "cap.crt")
    for result, words in (
        (other, "another key"),
        (tampered, "does not fit"),
        (missing, "No such file"),
    ):
        assert result.exit_code == 1
        assert words in result.output
        assert ": good" not in result.output


def test_an_operator_sees_what_waits_and_acknowledges_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver, "ack_min = 60"))
            config = tmp_path / "gateway.toml"
            config.write_text(world.text())
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.counters()["posted"] == 1)
                await until(lambda: "needs ack" in run("cap-list", config).output)
                listed = run("cap-list", config)
                short = listed.output.split()[0]
                assert act.messages[0].identifier.endswith(short)
                rows = run("cap-list", config, "--json").output.splitlines()
                assert json.loads(rows[0])["receiver"] == "112"
                for words in (("zzz", "--receiver", "112"), (short, "--receiver", "nobody")):
                    wrong = run("cap-ack", config, *words, "--by", "x")
                    assert wrong.exit_code == 1
                    assert "cap-list" in wrong.output
                done = run("cap-ack", config, short, "--receiver", "112", "--by", "Ibu Sari")
                assert done.exit_code == 0, done.output
                await until(lambda: act.outbox.deliveries[0].by == "Ibu Sari")
                await until(lambda: "nothing waits" in run("cap-list", config).output)
                assert "Ibu Sari" in run("cap-list", config, "--all").output

    asyncio.run(scenario())


def test_rubbish_among_the_acknowledgements_is_cleared_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running() as act:
            folder = tmp_path / "data" / "cap" / "ack"
            await act.handle(1, alarm(RAISED, 3))
            for number, content in enumerate((b"", b"[1]", b"\xff", b"{}", b"[" * 9000)):
                (folder / f"{number}.json").write_bytes(content)
            await until(lambda: not list(folder.iterdir()))
            await act.handle(2, alarm(RAISED, 3, device="other"))
            assert len(act.messages) == 2

    asyncio.run(scenario())


def test_the_documented_sections_are_accepted() -> None:
    """The example file's section as it stands there, and the first one of the page."""
    example = (ROOT / "deploy" / "gateway.example.toml").read_text()
    section = example.partition("\n# [cap]\n")[2].split("\n\n")[0]
    lines = ["[cap]", *(line.removeprefix("# ") for line in section.splitlines())]
    cap = build(CapSettings, tomllib.loads("\n".join(lines))["cap"], Place(Path("example")))
    assert [one.name for one in cap.receiver] == ["112", "damapancana"]
    for cls in (CapSettings, Area, GaugeSettings, ReceiverSettings):
        for field in dataclasses.fields(cls):
            assert any(line.startswith(field.name) for line in lines) or field.name in (
                "area",
                "gauge",
                "receiver",
            ), field.name
    page = (ROOT / "docs" / "alerts.md").read_text()
    block = page.partition("    [cap]\n")[2].partition("\n\n`deploy/")[0]
    text = "\n".join(line.removeprefix("    ") for line in ["[cap]", *block.splitlines()])
    cap = build(CapSettings, tomllib.loads(text)["cap"], Place(Path("page")))
    assert cap.receiver[0].next == cap.receiver[1].name


def test_the_agent_killed_and_started_again_has_one_alert(tmp_path: Path) -> None:
    """From a register on the bus to a signed file, and no second one after kill -9."""
    run("cap-key", tmp_path / "cap.key")

    async def scenario() -> None:
        peer, receiver = ModbusPeer(lambda _u, _a, count: [0] * (count - 1) + [9]), Receiver()
        await peer.start()
        async with serving(receiver):
            config = tmp_path / "gateway.toml"
            config.write_text(
                f'[gateway]\nsite = "test"\ndata_dir = "{tmp_path}/data"\nstatus_bind = ""\n'
                "drain_s = 0.0\n"
                f'[[modbus]]\nname = "bus"\nport = "tcp://127.0.0.1:{peer.port}"\n'
                f'[[modbus.sensor]]\nname = "kumbasari"\nprofile = "{PROFILE}"\nunit = 1\n'
                "interval_s = 0.1\n"
                '[modbus.sensor.stages]\nvalue = "answers"\n'
                "waspada_mm = 1\nsiaga_mm = 2\nawas_mm = 3\n"
                f'[broker]\nbind = "127.0.0.1:{free_port()}"\n'
                '[cap]\nsender = "a@b"\nbind = "127.0.0.1:0"\n' + receiver_section("112", receiver)
            )
            folder = tmp_path / "data" / "cap"
            async with running(config) as agent, asyncio.timeout(30):
                await until(lambda: receiver.taken and len(list(folder.glob("2*.xml"))) == 1)
                await agent.end(signal.SIGKILL)
            with sqlite3.connect(tmp_path / "data" / "ledger.db") as db:
                db.execute("UPDATE state SET value = '0' WHERE key = 'act/cap/seen'")
            db.close()
            async with running(config) as agent, asyncio.timeout(30):
                await peer.until_answers(1, 20)
                await agent.end(signal.SIGTERM)
        await peer.stop()
        with sqlite3.connect(tmp_path / "data" / "ledger.db") as db:
            seen = db.execute("SELECT value FROM state WHERE key = 'act/cap/seen'").fetchone()
        db.close()
        assert int(seen[0]) > 0  # the alarm was handled again
        (path,) = folder.glob("2*.xml")
        check(path.read_bytes(), read_pin(str(tmp_path / "cap.crt")))
        assert receiver.types() == ["Alert"]

    asyncio.run(scenario())


def test_an_operator_ends_an_incident_whose_gauge_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver))
            config = tmp_path / "gateway.toml"
            config.write_text(world.text())
            words = ("--by", "Wayan", "--reason", "pos hanyut")
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.counters()["posted"] == 1)
                (incident,) = {one.incident for one in act.messages}
                for wrong, problem in (
                    (("no-such", *words), "no such incident lasts"),
                    ((incident, *words, "--device", "x"), "is not in"),
                    ((incident, "--by", "Wayan", "--reason", "x" * 200), "--reason"),
                ):
                    refused = await asyncio.to_thread(run, "cap-end", config, *wrong)
                    assert refused.exit_code == 1
                    assert problem in refused.output and len(refused.output.splitlines()) == 1
                ended = await asyncio.to_thread(run, "cap-end", config, incident, *words)
                assert ended.exit_code == 0, ended.output
                await until(lambda: act.counters()["posted"] == 2)
                assert receiver.types() == ["Alert", "Cancel"]
                assert "pos hanyut" in act.messages[0].xml
                assert "Wayan" in act.messages[0].description_id
                assert act.counters()["now_incidents"] == 0
                role, end = act.commands()["end"]
                assert role == "operator"
                for request in ({}, {"incident": 7, "by": "a", "reason": "b"}):
                    with pytest.raises(ValueError, match="incident"):
                        await end(request)  # pyright: ignore[reportGeneralTypeIssues]
                await until(lambda: len(world.files) == 2)

    asyncio.run(scenario())


def test_check_names_a_key_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'[gateway]\nsite = "x"\ndata_dir = "{tmp_path}/data"\nstatus_bind = ""\n'
        f'[broker]\nbind = "127.0.0.1:{free_port()}"\n[cap]\nsender = "a@b"\nbind = ""\n'
    )
    found = problems(load(config), tmp_path / "data")
    assert len(found) == 1
    assert f"{tmp_path}/cap.key" in found[0] and "tukad gateway cap-key" in found[0]
    run("cap-key", tmp_path / "cap.key")
    assert problems(load(config), tmp_path / "data") == []
