"""The steps of a call for help reach the crew when they are true, and not before."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path

from gateway.acts.sos import Calls, SosAct
from gateway.clock import now_ms
from gateway.ledger.store import Stored
from gateway.model import CLEARED, RAISED, Alarm, Reading
from protocols.payload import command as cmd
from tests.gateway.acts.fixture import act_context, alarm
from tests.gateway.acts.siren.test_act import Radio, until

T0 = 1_789_000_000_000


def sos(event: str = RAISED, at_ms: int = T0, number: int = 300) -> Alarm:
    return alarm("jukung-7", "sos", at_ms, event=event, incident="jukung-7/sos/1", number=number)


def steps(calls: Calls, at_ms: int) -> list[int]:
    found: list[int] = []
    for call in calls.due(at_ms):
        call.command += 1
        found.append(call.sent_step)
    return found


def test_no_step_is_told_before_it_is_true() -> None:
    calls = Calls(again_s=120)
    calls.alarm(0, sos(), T0)  # the disk takes nothing: heard, and no more
    assert steps(calls, T0) == []
    calls = Calls(again_s=120)
    calls.alarm(5, sos(), T0)
    assert steps(calls, T0) == [cmd.SOS_STEP_STORED]
    calls.accepted(frozenset({5}))
    assert steps(calls, T0 + 1000) == []
    calls.accepted(frozenset({6}))
    assert steps(calls, T0 + 2000) == [cmd.SOS_STEP_ACCEPTED]
    assert calls.person("jukung-8", cmd.SOS_STEP_SEEN) == 0
    assert calls.person("jukung-7", cmd.SOS_STEP_SEEN) == 1
    assert steps(calls, T0 + 3000) == [cmd.SOS_STEP_SEEN]


def test_a_step_is_repeated_until_the_tracker_has_it_and_not_for_ever() -> None:
    calls = Calls(again_s=100)
    calls.alarm(5, sos(), T0)
    assert steps(calls, T0) and not steps(calls, T0 + 99_000)
    assert steps(calls, T0 + 100_000) == [cmd.SOS_STEP_STORED]
    calls.answered("jukung-7", 1)  # of another command
    assert steps(calls, T0 + 200_000)
    calls.answered("jukung-7", calls.calls[0].command)
    assert not steps(calls, T0 + 300_000)
    other = Calls(again_s=100)
    other.alarm(5, sos(), T0)
    assert sum(len(steps(other, T0 + 100_000 * i)) for i in range(50)) == 8


def test_a_cleared_call_is_closed_and_forgotten_once_the_crew_knows() -> None:
    calls = Calls(again_s=100)
    calls.alarm(5, sos(), T0)
    calls.alarm(6, sos(CLEARED), T0 + 1000)
    assert steps(calls, T0 + 1000) == [cmd.SOS_STEP_CLOSED]
    again = Calls(again_s=100)
    again.restore(calls.to_state())
    again.answered("jukung-7", again.calls[0].command)
    assert again.calls == []


def test_the_same_alarm_twice_and_one_of_yesterday_start_nothing() -> None:
    calls = Calls(again_s=100)
    calls.alarm(5, sos(), T0)
    calls.alarm(5, sos(), T0)
    assert len(calls.calls) == 1
    late = Calls(again_s=100)
    late.alarm(5, sos(), T0 + 25 * 3_600_000)
    late.alarm(7, alarm("kumbasari", "stage", T0), T0)
    assert late.calls == []


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[tuple[SosAct, Radio]]:
    radio = Radio()
    with act_context(folder, "[sos]\nlook_s = 0.1\nagain_s = 60\n", sinks=("mqtt",)) as context:
        context = dataclasses.replace(context, service=radio)
        assert context.settings.sos is not None
        act = SosAct(context.settings.sos, context)
        task = asyncio.create_task(act.run())
        try:
            yield act, radio
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_from_the_ledger_over_the_broker_to_a_person(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as (act, radio):
            ledger = act._context.ledger  # pyright: ignore[reportPrivateUsage]
            call = sos(at_ms=now_ms())
            number = await ledger.write(lambda store: store.add_alarm(call))
            await act.handle(number, call)
            await until(lambda: len(radio.sent) == 1)
            device, first = radio.sent[0]
            assert device == "jukung-7" and first.kind == cmd.CMD_SOS_STEP
            assert first.values == {"event_number": 300 & 255, "step": cmd.SOS_STEP_STORED}
            await ledger.write(lambda store: store.mark_alarm("mqtt", number))
            await until(lambda: len(radio.sent) == 2)
            assert radio.sent[1][1].values["step"] == cmd.SOS_STEP_ACCEPTED
            messages = act._context.messages  # pyright: ignore[reportPrivateUsage]
            for bad in (b"\xff", b"[]", b'{"by": "x"}', b"7"):
                assert messages.deliver("tukad/pasar-badung/sos/seen", bad)
            messages.deliver("tukad/pasar-badung/sos/seen", b'{"device": "jukung-7", "by": "SAR"}')
            await until(lambda: len(radio.sent) == 3)
            assert radio.sent[2][1].values["step"] == cmd.SOS_STEP_SEEN
            assert [one.number for _, one in radio.sent] == [1, 2, 3]
            answer = {"kind": cmd.CMD_SOS_STEP, "number": 3, "result": cmd.DONE, "value": 0}
            at_ms = now_ms()
            reading = Reading(
                device="jukung-7",
                stream="answer",
                sequence=1,
                time_ms=at_ms,
                time_source="network",
                values=answer,
                received_ms=at_ms,
            )
            act.on_readings([Stored(1, reading)])
            assert act.calls.calls[0].told == cmd.SOS_STEP_SEEN

    asyncio.run(go())
