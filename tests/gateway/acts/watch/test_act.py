"""The act of [watch]: nothing is lost or told twice, whatever the power does."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.acts.assets import COLUMNS, AssetsAct, AssetsSettings, as_csv, assets, read_register
from gateway.acts.floatplans_command import floatplan
from gateway.config import ConfigError
from gateway.model import Fault
from tests.gateway.acts.watch.world import SENSORS, Gateway
from tests.gateway.samples import START_MS


def play(gateway: Gateway, story: Callable[[Gateway], Awaitable[None]]) -> None:
    async def life() -> None:
        try:
            async with asyncio.timeout(60):
                await gateway.start()
                await story(gateway)
        finally:
            gateway.ledger.close()

    asyncio.run(life())


def silent(sensor: str) -> Fault:
    return Fault(code="modbus.silent", subject=sensor, detail="timeout", since_ms=START_MS)


def test_a_cut_cable_is_an_alarm_with_what_to_bring_and_ends(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        assert await gateway.pass_time(20) == []
        gateway.fault_list = [silent("radar-2")]
        found = await gateway.pass_time(5, quiet=["radar-2"])
        assert found == ["radar-2/sensor_cable_cut/raised"]
        (one,) = gateway.raised
        assert "Bawa: kabel sensor" in one.text_id and "Bring: sensor cable" in one.text_en
        gateway.fault_list = []
        assert await gateway.pass_time(40) == ["radar-2/sensor_cable_cut/cleared"]
        assert gateway.raised[1].incident == one.incident and gateway.raised[1].level == 0

    play(Gateway(tmp_path), story)


def test_killed_between_the_state_and_the_alarm(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        await gateway.pass_time(10)
        gateway.fault_list = [silent("radar-2")]
        gateway.loses_alarms = True
        await gateway.pass_time(3, quiet=["radar-2"])
        assert gateway.raised == []
        gateway.loses_alarms = False
        await gateway.restart()
        assert [one.kind for one in gateway.raised] == ["sensor_cable_cut"]
        await gateway.restart()
        assert await gateway.pass_time(10, quiet=["radar-2"]) == []
        assert len(gateway.raised) == 1

    play(Gateway(tmp_path), story)


def test_readings_that_came_while_the_act_was_down_are_not_missed(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        await gateway.pass_time(10)
        for _ in range(12):  # the act is down; the ledger goes on
            gateway.ms += 60_000
            await gateway.hear(["radar-1", "radar-3"])
        await gateway.restart()
        memories = gateway.act.diagnosis.memories
        assert len(memories["radar-1"].levels) == 22 and len(memories["radar-2"].levels) == 10

    play(Gateway(tmp_path), story)


def test_a_power_cut_is_told_after_it_and_an_upgrade_is_none(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        await gateway.pass_time(5)
        await gateway.restart()
        assert await gateway.pass_time(5) == []
        gateway.ms += 45 * 60_000
        gateway.boot = "boot-2"
        await gateway.restart()
        assert await gateway.pass_time(5) == ["badung/gateway_power/raised"]
        assert "45 min" in gateway.raised[-1].name or "44 min" in gateway.raised[-1].name

    play(Gateway(tmp_path), story)


def test_the_first_start_on_an_old_ledger_tells_nothing_of_the_past(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        for _ in range(100):
            gateway.ms += 60_000
            await gateway.hear(SENSORS)
        gateway.ms += 24 * 3_600_000
        await gateway.restart()
        assert await gateway.pass_time(10) == []

    play(Gateway(tmp_path), story)


# Float plans

WATCH = {"vessel": [{"device": "jukung-1", "contact": "Made 0813"}]}


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def test_a_float_plan_by_message_survives_a_restart_and_becomes_overdue(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        plan = {"vessel": "jukung-1", "return": iso(START_MS + 30 * 60_000), "grace_min": 10}
        say = json.dumps({"add": plan}).encode()
        assert gateway.messages.deliver("tukad/badung/command/floatplan", say)
        answer = json.loads(gateway.sent()["answer/floatplan"])
        assert answer["result"] == "added"
        await gateway.pass_time(2)
        await gateway.restart()
        assert await gateway.pass_time(36) == []
        assert await gateway.pass_time(5) == ["jukung-1/overdue/raised"]
        assert "Made 0813" in gateway.raised[-1].text_id
        close = json.dumps({"close": answer["id"]}).encode()
        gateway.messages.deliver("tukad/badung/command/floatplan", close)
        assert await gateway.pass_time(1) == ["jukung-1/overdue/cleared"]

    play(Gateway(tmp_path, WATCH), story)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (b"{", "Expecting"),
        (b"[]", "expected"),
        (b'{"add": 3}', "a plan is an object"),
        (b'{"add": {"vessel": "jukung-1"}}', "return is missing"),
        (b'{"add": {"vessel": "x", "return": "2026-09-20T10:00+08:00"}}', 'no vessel "x"'),
        (b'{"add": {"vessel": "jukung-1", "return": "2026-09-20T10:00"}}', "no time with a zone"),
        (b'{"add": {"vessel": "jukung-1", "return": "2020-09-20T10:00Z"}}', "not after"),
        (b'{"add": {"vessel": "jukung-1", "retrun": "2026"}}', "no such field: retrun"),
    ],
)
def test_a_bad_plan_is_refused_with_its_reason(tmp_path: Path, command: bytes, words: str) -> None:
    async def story(gateway: Gateway) -> None:
        gateway.messages.deliver("tukad/badung/command/floatplan", command)
        answer = json.loads(gateway.sent()["answer/floatplan"])
        assert answer["result"] == "refused" and words in answer["error"]
        assert gateway.act.counters()["plans_refused"] == 1

    play(Gateway(tmp_path, WATCH), story)


def config(folder: Path) -> Path:
    file = folder / "gateway.toml"
    file.write_text(
        f"""
[gateway]
site = "badung"
data_dir = "{folder}"
[[modbus]]
name = "bus"
port = "tcp://127.0.0.1:1"
[[modbus.sensor]]
name = "jukung-1"
profile = "geolux_lx80"
latitude_deg = -8.7
longitude_deg = 115.2
[watch]
vessel = [{{ device = "jukung-1" }}]
[assets]
owner = "PUPR"
register = "assets.csv"
"""
    )
    (folder / "assets.csv").write_text(
        "device,serial,place,calibrated\njukung-1,LX-77,=Jembatan Kumbasari,2026-01-15\n"
    )
    return file


def test_the_command_writes_what_the_agent_reads(tmp_path: Path) -> None:
    file, run = str(config(tmp_path)), CliRunner().invoke
    soon = iso(4_000_000_000_000)
    for name in ("p1", "p2"):
        words = ["add", file, "--vessel", "jukung-1", "--return", soon, "--id", name]
        done = run(floatplan, words)
        assert done.exit_code == 0, done.output
    refused = run(floatplan, ["add", file, "--vessel", "nobody", "--return", soon])
    assert refused.exit_code == 1 and "jukung-1" in refused.output
    late = run(floatplan, ["add", file, "--vessel", "jukung-1", "--return", "2020-01-01T00:00Z"])
    assert late.exit_code == 1 and "not after" in late.output
    listed = json.loads(run(floatplan, ["list", file, "--json"]).output)
    assert [one["id"] for one in listed] == ["p1", "p2"]

    async def story(gateway: Gateway) -> None:
        await gateway.pass_time(1)
        assert set(gateway.act.vessels.plans) == {"file/p1", "file/p2"}
        assert run(floatplan, ["close", file, "p1"]).exit_code == 0
        assert run(floatplan, ["close", file, "p1"]).exit_code == 1
        await gateway.pass_time(1)
        assert set(gateway.act.vessels.plans) == {"file/p2"}
        (tmp_path / "floatplans.json").write_text("{")
        await gateway.pass_time(1)
        assert set(gateway.act.vessels.plans) == {"file/p2"}  # a broken file takes nobody off
        assert ("watch.float_plans", "float plans") in gateway.act.faults()

    play(Gateway(tmp_path, WATCH), story)


def test_plans_as_csv(tmp_path: Path) -> None:
    (tmp_path / "plans.csv").write_text(
        f"vessel,return,contact\njukung-1,{iso(START_MS + 9_000_000)},Ketut\n"
    )

    async def story(gateway: Gateway) -> None:
        await gateway.pass_time(1)
        (plan,) = gateway.act.vessels.plans.values()
        assert plan.contact == "Ketut" and plan.grace_min == 60

    play(Gateway(tmp_path, WATCH | {"float_plans": "plans.csv"}), story)


def test_a_vessel_without_a_device_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no") as caught:
        Gateway(tmp_path, {"vessel": [{"device": "nobody"}]})
    assert "jukung-1" in str(caught.value)


# Fleet


def test_an_arrival_is_a_message_and_a_call(tmp_path: Path) -> None:
    watch = {
        "vehicle": [{"device": "amb-1", "vehicle_class": "ambulance", "authorised": True}],
        "junction": [
            {
                "name": "j1",
                "latitude_deg": -8.65,
                "longitude_deg": 115.22,
                "approach": [{"name": "north", "heading_deg": 180, "preempt": "p1"}],
            }
        ],
    }

    async def story(gateway: Gateway) -> None:
        from gateway.model import Reading

        heard: list[Mapping[str, object]] = []
        came = asyncio.Event()

        def listen(one: Mapping[str, object]) -> None:
            heard.append(one)
            came.set()

        gateway.act.listeners.append(listen)
        values = {"lat_e5": -864_600, "lon_e5": 11_522_000, "speed_dkn": 270, "course_deg": 180}
        fix = Reading(
            device="amb-1",
            stream="track",
            sequence=1,
            time_ms=gateway.ms,
            time_source="gnss",
            values=values,
            received_ms=gateway.ms,
        )
        gateway.act.on_readings(await gateway.ledger.add([fix]))
        task = asyncio.create_task(gateway.act.run())
        await came.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        message = json.loads(gateway.sent()["fleet/arrival"])
        assert message == heard[-1] and message["junction"] == "j1"
        assert message["authorised"] and abs(message["eta_s"] - 32) < 2
        assert (message["class"], message["approach"]) == ("ambulance", "north")

    play(Gateway(tmp_path, watch), story)


# Assets


def test_the_register_as_csv_and_as_messages(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        act = AssetsAct(AssetsSettings(owner="PUPR"), gateway.context(), lambda: gateway.ms)
        await act.look()
        assert json.loads(gateway.sent()["assets/radar-2"])["state"] == "never heard"
        await gateway.pass_time(5)
        await act.look()
        told = act.published
        await act.look()
        assert act.published == told  # only on change
        gateway.fault_list = [silent("radar-2")]
        await gateway.pass_time(5, quiet=["radar-2"])
        await act.look()
        row = json.loads(gateway.sent()["assets/radar-2"])
        assert (row["state"], row["faults"], row["owner"]) == ("faulty", "sensor_cable_cut", "PUPR")

    play(Gateway(tmp_path), story)


def test_the_command_prints_the_register(tmp_path: Path) -> None:
    done = CliRunner().invoke(assets, [str(config(tmp_path))])
    assert done.exit_code == 0, done.output
    table = list(csv.DictReader(io.StringIO(done.output)))
    assert tuple(table[0]) == COLUMNS
    (boat,) = [row for row in table if row["device"] == "jukung-1"]
    assert boat["serial"] == "LX-77" and boat["calibrated"] == "2026-01-15"
    assert boat["place"] == "'=Jembatan Kumbasari"  # no formula for the spreadsheet
    assert boat["latitude"] == "-8.70000" and boat["model"] == "geolux_lx80"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("serial\n1\n", "no column device"),
        ("device,colour\na,red\n", "no such column: colour"),
        ("device\na\na\n", "line 3: a is there twice"),
        ("device,calibrated\na,15/01/2026\n", "line 2: calibrated"),
    ],
)
def test_a_bad_register_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "assets.csv"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_register(file)
    assert words in str(caught.value)


def test_csv_survives_a_reader(tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, 'a "b",\nc')
    (back,) = csv.DictReader(io.StringIO(as_csv([row]), newline=""))
    assert back["note"] == 'a "b",\nc'
