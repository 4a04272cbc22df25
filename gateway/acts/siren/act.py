"""The siren act: orders of `SirenDesk` out by class C or relay, what the sirens say back in.

    await act.order("pasar", pattern=3, duration_s=60, by="bpbd-ops")   # a person
    await act.silence("pasar", by="bpbd-ops")
    await act.test("pasar", is_audible=False)

Orders do not wait for the internet, nor for a disk that is full. Their numbers rise for ever and
are on disk before an order leaves, so that no order can be played back.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from gateway.acts.part import Act, Context
from gateway.acts.siren.desk import Do, Order, SirenDesk, Sound
from gateway.acts.siren.numbers import CommandNumbers
from gateway.acts.siren.relay import Relay, RelayError
from gateway.acts.siren.settings import SirenSettings, UnitSettings
from gateway.clock import now_ms
from gateway.config import ConfigError
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Stored
from gateway.model import Alarm
from protocols.errors import LocalError
from protocols.payload.command import (
    CMD_SILENCE,
    CMD_SIREN,
    CMD_TEST,
    DONE,
    REPEATED,
    encode_command,
)
from protocols.payload.event import (
    EVENT_SIREN,
    PROOF_BOTH,
    PROOF_CURRENT,
    PROOF_FAILED,
    PROOF_MICROPHONE,
    PROOF_NONE,
)
from protocols.payload.ports import EPOCH_UNIX_S, PORT_COMMAND

log = logging.getLogger("tukad.siren")

_STATE = "act/siren/desk"
_PROVED = (PROOF_CURRENT, PROOF_MICROPHONE, PROOF_BOTH)
_IDLE_S = 3600.0


class OrderError(ValueError):
    """An order that a person gave cannot be done; one line for that person."""


class SirenAct(Act):
    """All sirens of this gateway."""

    name = "siren"

    def __init__(self, settings: SirenSettings, context: Context) -> None:
        """Raises ConfigError when a siren is no device of this gateway."""
        self._settings = settings
        self._context = context
        self.desk = SirenDesk(settings)
        self._units = {one.name: one for one in settings.unit}
        self._relays = {one.name: Relay(one) for one in settings.unit if one.port}
        self._by_device = {one.device: one.name for one in settings.unit if one.device}
        self._numbers = CommandNumbers(context.ledger)
        self._wired_number = now_ms()  # above those of orders before a restart
        self._news = asyncio.Event()
        self._wired: set[asyncio.Task[None]] = set()
        classes = {one.name: one.device_class for one in context.settings.device}
        for device, unit in self._by_device.items():
            if classes.get(device) != "C":
                raise ConfigError(
                    f'{context.file}: siren.unit "{unit}".device = {device!r}: there is no '
                    f'[[device]] of that name with device_class = "C"'
                )
        known = {*classes, *context.settings.intervals_s()}
        for rule in settings.rule:
            for gauge in rule.gauges:
                if gauge not in known:
                    raise ConfigError(
                        f"{context.file}: siren.rule.gauges: there is no device or sensor {gauge!r}"
                    )
        state = context.ledger.call(lambda store: store.get_state(_STATE))
        if state is not None:
            self.desk.restore(state)

    # --- in -------------------------------------------------------------------------------------

    async def handle(self, number: int, alarm: Alarm) -> None:
        """See `Act`."""
        doing = self.desk.alarm(alarm, now_ms())
        if doing or alarm.kind == "stage":
            await self._do(doing)

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """See `Act`: events and answers of siren nodes."""
        doing: list[Do] = []
        for one in stored:
            reading, values = one.reading, one.reading.values
            siren = self._by_device.get(reading.device)
            if siren is None:
                continue
            if reading.stream == "event" and values.get("kind") == EVENT_SIREN:
                proof = values.get("proof", PROOF_NONE)
                is_proved = proof in _PROVED or (
                    proof == PROOF_NONE and not self._units[siren].proof
                )
                self._publish(siren, "proved" if is_proved else "silent", values)
                if is_proved or proof == PROOF_FAILED:
                    number = values.get("command_number", 0)
                    doing += self.desk.proof(siren, number, is_proved, now_ms())
            elif reading.stream == "answer" and values.get("kind") == CMD_SIREN:
                is_refused = values.get("result") not in (DONE, REPEATED)
                doing += self.desk.heard(siren, values.get("number", 0), is_refused, now_ms())
        if doing:
            self._later(doing)
        self._news.set()

    def _later(self, doing: Sequence[Do]) -> None:
        task = asyncio.create_task(self._do(doing))
        self._wired.add(task)
        task.add_done_callback(self._wired.discard)

    async def run(self) -> None:
        """See `Act`: what is overdue, and what a restart left open."""
        try:
            while True:
                await self._do(self.desk.step(now_ms()))
                due_ms = self.desk.due_ms()
                wait_s = _IDLE_S if due_ms is None else max(0.2, (due_ms - now_ms()) / 1000)
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._news.wait()
        finally:
            for relay in self._relays.values():
                await relay.silence()

    # --- a person -------------------------------------------------------------------------------

    def _unit(self, siren: str) -> UnitSettings:
        if siren not in self._units:
            raise OrderError(f"no siren {siren!r}; there are: {', '.join(sorted(self._units))}")
        return self._units[siren]

    async def order(self, siren: str, pattern: int, duration_s: int, by: str) -> None:
        """Sound a siren because a person says so. Raises OrderError."""
        self._unit(siren)
        if not 0 <= pattern <= 7 or not 1 <= duration_s <= 900:
            raise OrderError(f"pattern {pattern} is outside 0..7, or {duration_s} s outside 1..900")
        log.warning("siren.order siren=%s pattern=%d by=%r", siren, pattern, by)
        await self._do(self.desk.order(siren, pattern, duration_s, now_ms()))

    async def silence(self, siren: str, by: str) -> None:
        """End a sounding, and demand no more proof of it. Raises OrderError."""
        unit = self._unit(siren)
        log.warning("siren.silence siren=%s by=%r", siren, by)
        self.desk.silence(siren)
        await self._save()
        if unit.port:
            await self._relays[siren].silence()
            return
        await self._command(unit, CMD_SILENCE, {"expires_time_s": self._expires_s()})

    async def test(self, siren: str, is_audible: bool) -> None:
        """The node's own test; its event says how it went. Raises OrderError."""
        unit = self._unit(siren)
        if not unit.device:
            raise OrderError(f"siren {siren!r} is a relay: it has no test of its own")
        if is_audible and self._is_quiet_hour(now_ms()):
            hours = f"{self._settings.quiet_from_h}:00 to {self._settings.quiet_to_h}:00"
            raise OrderError(f"no audible test in the quiet hours, {hours}")
        await self._command(unit, CMD_TEST, {"is_audible": int(is_audible)})

    def _is_quiet_hour(self, at_ms: int) -> bool:
        offset = timedelta(hours=self._context.settings.gateway.utc_offset_h)
        hour = (datetime.fromtimestamp(at_ms / 1000, UTC) + offset).hour
        start, end = self._settings.quiet_from_h, self._settings.quiet_to_h
        return start <= hour < end if start <= end else hour >= start or hour < end

    # --- out ------------------------------------------------------------------------------------

    async def _do(self, doing: Sequence[Do]) -> None:
        """Sound first, tell then: people near the water come before people at a desk."""
        sounds = [one for one in doing if isinstance(one, Sound)]
        alarms = [one.alarm for one in doing if not isinstance(one, Sound)]
        for one in sounds:
            await self._sound(one.order, one.is_new)
        if alarms:
            self._context.raise_alarms(alarms)
        await self._save()
        if sounds:
            self._news.set()

    async def _sound(self, order: Order, is_new: bool) -> None:
        unit = self._units[order.siren]
        if unit.port:
            self._wired_number += 1
            self.desk.sent(order, self._wired_number)
            order.is_heard = True
            task = asyncio.create_task(self._sound_wired(order, order.number))
            self._wired.add(task)
            task.add_done_callback(self._wired.discard)
            return
        values = {
            "pattern": order.pattern,
            "duration_s": order.duration_s,
            "expires_time_s": self._expires_s(),
        }
        number = await self._command(unit, CMD_SIREN, values, 0 if is_new else order.number)
        if number and is_new:
            self.desk.sent(order, number)
        log.warning(
            "siren.ordered siren=%s pattern=%d seconds=%d number=%d gauge=%s",
            order.siren,
            order.pattern,
            order.duration_s,
            number,
            order.gauge,
        )
        self._publish(order.siren, "ordered", {"number": number, "pattern": order.pattern})

    async def _sound_wired(self, order: Order, number: int) -> None:
        try:
            proof = await self._relays[order.siren].sound(order.pattern, order.duration_s)
        except RelayError as error:
            log.error("siren.relay siren=%s error=%r", order.siren, str(error))
            proof = False
        is_proved = proof is True or (proof is None and not self._units[order.siren].proof)
        self._publish(order.siren, "proved" if is_proved else "silent", {"number": number})
        await self._do(self.desk.proof(order.siren, number, is_proved, now_ms()))

    def _expires_s(self) -> int:
        """For the node's clock, which may be off by a little; our queue drops it much sooner."""
        return (now_ms() + round(self._settings.max_age_s * 1000)) // 1000 - EPOCH_UNIX_S

    async def _command(
        self, unit: UnitSettings, kind: int, values: dict[str, int], number: int = 0
    ) -> int:
        """Queue a command; its number, or 0 when it could not be queued."""
        service = self._context.service
        if service is None:
            return 0
        number = number or await self._numbers.next(unit.device)
        data = encode_command(kind, number, values)
        try:
            await service.queue_downlink(
                unit.device, PORT_COMMAND, data, expiry_s=self._settings.proof_s
            )
        except (LocalError, KeyError, OSError) as error:
            log.error("siren.not_queued siren=%s error=%r", unit.name, str(error))
            return 0
        return number

    async def _save(self) -> None:
        state = self.desk.to_state()
        with contextlib.suppress(LedgerFullError):
            await self._context.ledger.write(lambda store: store.set_state(_STATE, state))

    def _publish(self, siren: str, state: str, values: Mapping[str, int]) -> None:
        body = {"siren": siren, "state": state, "time_ms": now_ms(), **values}
        self._context.messages.publish(f"siren/{siren}", json.dumps(body).encode(), retain=True)

    # --- health ---------------------------------------------------------------------------------

    def faults(self) -> Mapping[tuple[str, str], str]:
        """See `Act`."""
        detail = "gave no proof of sound; go there with a meter, docs/siren.md says what to look at"
        return {("siren.silent", siren): detail for siren in self.desk.silent}

    def counters(self) -> Mapping[str, int]:
        """See `Act`."""
        found = {f"siren_{key}": value for key, value in self.desk.counters.items()}
        return found | {"now_siren_open": len(self.desk.orders)}
