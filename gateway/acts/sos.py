"""The steps of a call for help, told to the crew: `SosAct`, section [sos].

A crew that called sees on its LED how far the call has come: heard by a gateway (the radio's own
acknowledgement says so), stored on the gateway's disk, accepted by the control room's broker, seen
by a person, closed. Each step is sent when it is true, never before, and again while the tracker
does not say that it has it. Seen and closed come as MQTT messages from the control room:

    tukad/SITE/sos/seen     {"device": "jukung-7", "by": "SAR Denpasar"}
    tukad/SITE/sos/closed   {"device": "jukung-7", "by": "SAR Denpasar"}
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.acts.part import Act, Context
from gateway.acts.siren.numbers import CommandNumbers
from gateway.clock import now_ms
from gateway.config import setting
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Stored
from gateway.model import CLEARED, RAISED, Alarm
from protocols.errors import LocalError
from protocols.payload.command import (
    CMD_SOS_STEP,
    DONE,
    SOS_STEP_ACCEPTED,
    SOS_STEP_CLOSED,
    SOS_STEP_HEARD,
    SOS_STEP_SEEN,
    SOS_STEP_STORED,
    encode_command,
)
from protocols.payload.ports import PORT_COMMAND

log = logging.getLogger("tukad.sos")

KINDS = ("sos", "mob")
_STATE = "act/sos/calls"
_CALLS_MAX = 100
_AGE_MS = 24 * 3_600_000
_TIMES = 8  # that one step is sent
_SINK = "mqtt"
_ALARMS = 10_000


@dataclass(frozen=True, kw_only=True)
class SosSettings:
    """Section [sos]."""

    again_s: float = setting(
        120.0, low=10, high=3600, unit="s", doc="a tracker does not confirm a step: send it again"
    )
    look_s: float = setting(
        2.0, low=0.1, high=60, unit="s", doc="how often to ask whether the broker has the alarm"
    )


@dataclass(slots=True)
class Call:
    """One call for help."""

    device: str
    event_number: int
    incident: str
    alarm: int  # its number in the ledger, 0 while the disk took nothing
    since_ms: int
    step: int = SOS_STEP_HEARD  # reached
    told: int = SOS_STEP_HEARD  # confirmed by the tracker; the radio's acknowledgement is the first
    command: int = 0  # number of the last command
    sent_step: int = 0
    sent_ms: int = 0
    times: int = 0


class Calls:
    """What is known of every call, without I/O."""

    def __init__(self, again_s: float) -> None:
        self._again_ms = again_s * 1000
        self.calls: list[Call] = []

    def to_state(self) -> list[dict[str, Any]]:
        """What must survive a restart, as JSON."""
        return [asdict(call) for call in self.calls]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `to_state` left off."""
        self.calls = [Call(**one) for one in state]

    def alarm(self, number: int, alarm: Alarm, at_ms: int) -> None:
        """A call was raised or cleared."""
        if alarm.kind not in KINDS:
            return
        known = next((one for one in self.calls if one.incident == alarm.incident), None)
        if alarm.event == CLEARED:
            if known is not None:
                known.step = SOS_STEP_CLOSED
            return
        if alarm.event != RAISED or known is not None or at_ms - alarm.time_ms > _AGE_MS:
            return
        event_number = alarm.values.get("number", 0) & 0xFF
        call = Call(alarm.device, event_number, alarm.incident, number, at_ms)
        if number:
            call.step = SOS_STEP_STORED
        self.calls = [*self.calls[-_CALLS_MAX + 1 :], call]

    def accepted(self, waiting: frozenset[int]) -> None:
        """These alarms are not confirmed by the broker yet; all others are."""
        for call in self.calls:
            if call.step == SOS_STEP_STORED and call.alarm not in waiting:
                call.step = SOS_STEP_ACCEPTED

    @property
    def wants_acceptance(self) -> bool:
        """Whether a call waits for the broker."""
        return any(call.step == SOS_STEP_STORED for call in self.calls)

    def person(self, device: str, step: int) -> int:
        """A person saw or closed the calls of a device; how many there were."""
        found = [one for one in self.calls if one.device == device and one.step < SOS_STEP_CLOSED]
        for call in found:
            call.step = max(call.step, step)
        return len(found)

    def answered(self, device: str, command: int) -> None:
        """The tracker did a command."""
        for call in self.calls:
            if call.device == device and call.command == command and call.command:
                call.told = max(call.told, call.sent_step)
        self.calls = [one for one in self.calls if one.told < SOS_STEP_CLOSED]

    def due(self, at_ms: int) -> list[Call]:
        """Calls whose highest step is to be sent now; noted as sent."""
        self.calls = [one for one in self.calls if at_ms - one.since_ms < _AGE_MS]
        found: list[Call] = []
        for call in self.calls:
            if call.step <= call.told:
                continue
            is_new = call.step != call.sent_step
            if is_new:
                call.times = 0
            elif call.times >= _TIMES or at_ms - call.sent_ms < self._again_ms:
                continue
            call.sent_step, call.sent_ms = call.step, at_ms
            call.times += 1
            found.append(call)
        return found


class SosAct(Act):
    """Tells the crew."""

    name = "sos"

    def __init__(self, settings: SosSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._numbers = CommandNumbers(context.ledger)
        self._news = asyncio.Event()
        self._steps_sent = 0
        self.calls = Calls(settings.again_s)
        state = context.ledger.call(lambda store: store.get_state(_STATE))
        if state is not None:
            self.calls.restore(state)
        context.messages.subscribe("sos/seen", lambda _, data: self._person(data, SOS_STEP_SEEN))
        context.messages.subscribe(
            "sos/closed", lambda _, data: self._person(data, SOS_STEP_CLOSED)
        )

    async def handle(self, number: int, alarm: Alarm) -> None:
        """See `Act`."""
        self.calls.alarm(number, alarm, now_ms())
        self._news.set()

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """See `Act`: what a tracker confirms."""
        for one in stored:
            values = one.reading.values
            if (
                one.reading.stream == "answer"
                and values.get("kind") == CMD_SOS_STEP
                and values.get("result") == DONE
            ):
                self.calls.answered(one.reading.device, values.get("number", 0))
                self._news.set()

    def _person(self, data: bytes, step: int) -> None:
        try:
            body: Any = json.loads(data)
            device, by = str(body["device"]), str(body.get("by", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            log.warning("sos.message_refused bytes=%d expected={device: NAME}", len(data))
            return
        count = self.calls.person(device, step)
        log.warning("sos.person device=%s step=%d calls=%d by=%r", device, step, count, by[:80])
        self._news.set()

    async def run(self) -> None:
        """See `Act`."""
        while True:
            if self.calls.wants_acceptance:
                waiting = await self._context.ledger.read(
                    lambda store: frozenset(n for n, _ in store.take_alarms(_SINK, _ALARMS))
                )
                self.calls.accepted(waiting)
            for call in self.calls.due(now_ms()):
                await self._send(call)
            state = self.calls.to_state()
            with contextlib.suppress(LedgerFullError):
                await self._context.ledger.write(lambda store, s=state: store.set_state(_STATE, s))
            wait_s = self._settings.look_s if self.calls.calls else 3600.0
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()

    async def _send(self, call: Call) -> None:
        service = self._context.service
        if service is None:
            return
        call.command = await self._numbers.next(call.device)
        values = {"event_number": call.event_number, "step": call.sent_step}
        data = encode_command(CMD_SOS_STEP, call.command, values)
        try:
            await service.queue_downlink(
                call.device, PORT_COMMAND, data, expiry_s=self._settings.again_s
            )
            self._steps_sent += 1
        except (LocalError, KeyError, OSError) as error:
            log.error("sos.not_queued device=%s error=%r", call.device, str(error))

    def counters(self) -> Mapping[str, int]:
        """See `Act`."""
        return {"sos_steps": self._steps_sent, "now_sos_calls": len(self.calls.calls)}
