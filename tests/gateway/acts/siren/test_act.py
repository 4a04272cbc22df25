"""The siren act with a ledger, a radio's stand-in, and a real Modbus relay."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.acts.part import Context
from gateway.acts.siren.act import OrderError, SirenAct
from gateway.clock import now_ms
from gateway.config import ConfigError
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Stored
from gateway.lorawan.model import LorawanStatus
from gateway.model import RAISED, Alarm, Reading
from protocols.payload import command as cmd
from protocols.payload.event import EVENT_SIREN, PROOF_CURRENT, PROOF_FAILED
from tests.gateway.acts.fixture import act_context, alarm

SECTIONS = """
[[device]]
name = "sirene-1"
dev_eui = "70b3d57ed0062001"
device_class = "C"
kind = "siren"

[siren]
proof_s = 20
{siren}
[[siren.unit]]
name = "pasar"
device = "sirene-1"
{units}
[[siren.rule]]
gauges = ["kumbasari"]
level = 3
sirens = {sirens}
"""


class Radio:
    """A network server of which only the queue is looked at."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, cmd.Command]] = []
        self.news = asyncio.Event()

    async def run(self, on_uplink: object, on_downlink: object = None) -> None:
        """Nothing comes up."""

    async def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        *,
        confirmed: bool = False,
        expiry_s: float = 86_400.0,
    ) -> int:
        assert f_port == 10 and expiry_s <= 60
        self.sent.append((device, cmd.decode_command(data)))
        self.news.set()
        return len(self.sent)

    async def status(self) -> LorawanStatus:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close."""


@contextlib.asynccontextmanager
async def running(
    folder: Path, *, siren: str = "", units: str = "", sirens: str = '["pasar"]'
) -> AsyncGenerator[tuple[SirenAct, Radio, list[Alarm]]]:
    radio, alarms = Radio(), list[Alarm]()
    sections = SECTIONS.format(siren=siren, units=units, sirens=sirens)
    with act_context(folder, sections) as context:
        context = dataclasses.replace(context, service=radio, raise_alarms=alarms.extend)
        act = make(context)
        task = asyncio.create_task(act.run())
        try:
            yield act, radio, alarms
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def make(context: Context) -> SirenAct:
    assert context.settings.siren is not None
    return SirenAct(context.settings.siren, context)


def awas(incident: str = "i1") -> Alarm:
    return alarm("kumbasari", "stage", now_ms() - 800, event=RAISED, incident=incident)


def reading(stream: str, **values: int) -> Stored:
    at_ms = now_ms()
    return Stored(
        1,
        Reading(
            device="sirene-1",
            stream=stream,
            sequence=1,
            time_ms=at_ms,
            time_source="network",
            values=values,
            received_ms=at_ms,
        ),
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def test_an_alarm_becomes_a_command_with_expiry_and_a_number_that_rises_over_restarts(
    tmp_path: Path,
) -> None:
    async def life(expected: int, incident: str) -> None:
        async with running(tmp_path) as (act, radio, _):
            await act.handle(1, awas(incident))
            device, command = radio.sent[0]
            assert (device, command.kind, command.number) == ("sirene-1", cmd.CMD_SIREN, expected)
            assert command.values["pattern"] == 3 and command.values["duration_s"] == 120
            ahead_s = command.values["expires_time_s"] + 1_577_836_800 - now_ms() / 1000
            assert 500 < ahead_s <= 600
            event = {"kind": EVENT_SIREN, "command_number": expected, "proof": PROOF_CURRENT}
            act.on_readings([reading("event", **event)])
            assert not act.desk.orders and act.counters()["siren_proved"] == 1

    asyncio.run(life(1, "i1"))
    asyncio.run(life(2, "i2"))


def test_proof_of_silence_is_retried_with_a_new_number_and_then_told(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as (act, radio, alarms):
            await act.handle(1, awas())
            for number in (1, 2):
                await until(lambda number=number: len(radio.sent) == number)
                assert radio.sent[-1][1].number == number
                event = {"kind": EVENT_SIREN, "command_number": number, "proof": PROOF_FAILED}
                act.on_readings([reading("event", **event)])
            await until(lambda: bool(alarms))
            assert (alarms[0].kind, alarms[0].level) == ("siren-silent", 3)
            assert ("siren.silent", "pasar") in act.faults()

    asyncio.run(go())


def test_a_refused_command_is_retried(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as (act, radio, _):
            await act.handle(1, awas())
            answer = {"kind": cmd.CMD_SIREN, "number": 1, "result": cmd.EXPIRED, "value": 0}
            act.on_readings([reading("answer", **answer)])
            await until(lambda: len(radio.sent) == 2)

    asyncio.run(go())


def test_a_person_orders_silences_and_tests_within_limits(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as (act, radio, _):
            await act.order("pasar", 5, 30, by="ops")
            await act.silence("pasar", by="ops")
            await act.test("pasar", is_audible=False)
            kinds = [command.kind for _, command in radio.sent]
            assert kinds == [cmd.CMD_SIREN, cmd.CMD_SILENCE, cmd.CMD_TEST]
            assert [command.number for _, command in radio.sent] == [1, 2, 3]
            with pytest.raises(OrderError, match="no siren 'gereja'; there are: pasar"):
                await act.order("gereja", 5, 30, by="ops")
            with pytest.raises(OrderError, match=r"outside 0\.\.7"):
                await act.order("pasar", 9, 30, by="ops")

    asyncio.run(go())


def test_no_audible_test_at_night(tmp_path: Path) -> None:
    async def go() -> None:
        hours = "quiet_from_h = 0\nquiet_to_h = 23"
        async with running(tmp_path, siren=hours) as (act, radio, _):
            # WITA is whole hours from UTC, so 23:00 to 24:00 is the one hour that is not quiet.
            if (now_ms() // 3_600_000 + 8) % 24 != 23:
                with pytest.raises(OrderError, match="quiet hours"):
                    await act.test("pasar", is_audible=True)
                assert not radio.sent
            await act.handle(1, awas())
            assert radio.sent, "an alarm keeps no quiet hours"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("device_class", "x_class"), "no such setting"),
        (('device = "sirene-1"', 'device = "kumbasari"'), 'with device_class = "C"'),
        (('gauges = ["kumbasari"]', 'gauges = ["mati"]'), "no device or sensor 'mati'"),
        (('sirens = ["pasar"]', 'sirens = ["pasir"]'), 'no [[siren.unit]] "pasir"'),
        (("level = 3", "level = 4"), "level"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    sections = SECTIONS.format(siren="", units="", sirens='["pasar"]').replace(*change)
    with pytest.raises(ConfigError) as refused, act_context(tmp_path, sections) as context:
        make(context)
    assert words in str(refused.value)


class RelayModule:
    """A relay module by pymodbus: coil 0 switches, input register 0 is the amplifier's current."""

    def __init__(self) -> None:
        self.log: list[bool] = []
        self.is_alive = True

    async def access(
        self,
        function_code: int,
        start_address: int,
        _address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> None:
        """As the library calls it, before each answer."""
        if values:
            self.log.append(bool(values[0]))
        elif function_code == 4:
            sounds = self.is_alive and bool(self.log) and self.log[-1]
            registers[-start_address] = 4100 if sounds else 0


@contextlib.asynccontextmanager
async def relay_module() -> AsyncGenerator[tuple[int, RelayModule]]:
    module = RelayModule()
    bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
    words = SimData(0, values=[0] * 4, datatype=DataType.REGISTERS)
    device = SimDevice(1, simdata=([bits], [bits], [words], [words]), action=module.access)
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.listen()
    try:
        assert isinstance(server.transport, asyncio.Server)
        yield server.transport.sockets[0].getsockname()[1], module
    finally:
        await server.shutdown()


def test_a_wired_siren_sounds_by_its_relay_is_proved_and_ends_off(tmp_path: Path) -> None:
    async def go() -> None:
        async with relay_module() as (port, module):
            units = f'[[siren.unit]]\nname = "jembatan"\nport = "tcp://127.0.0.1:{port}"\n'
            units += 'feedback = "register"\nfeedback_least = 500\n'
            async with running(tmp_path, units=units, sirens='["jembatan"]') as (act, _, alarms):
                await act.order("jembatan", 5, 1, by="ops")
                await until(lambda: act.counters()["siren_proved"] == 1)
                await until(lambda: module.log == [True, False])  # it ends by itself
                module.is_alive = False
                await act.handle(1, awas())
                await until(lambda: bool(alarms))
                assert "Send a person" in alarms[0].text_en
            assert not module.log[-1], "off, though it was ended in a tone"

    asyncio.run(go())


def test_a_full_disk_keeps_no_siren_silent(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as (act, radio, _):
            await act.handle(1, awas("i1"))
            act._context.ledger.write = refuse  # type: ignore[method-assign] # pyright: ignore
            await act.handle(0, awas("i2"))
            assert [command.number for _, command in radio.sent] == [1, 2]

    async def refuse(*_: object) -> None:
        raise LedgerFullError("no space")

    asyncio.run(go())
