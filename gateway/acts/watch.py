"""The act of section [watch]: `WatchAct` hosts the rules of devices, vessels and fleet.

Readings are taken from the ledger by their number, so none is missed or seen twice over a restart.
The state of the rules, that number and the alarms they just made are stored together; alarms stay
in that state until they are found in the ledger, and are raised again after a crash in between.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from gateway.acts.floatplans import FloatPlanFile, PlanError, as_item, parse_plan
from gateway.acts.part import Act, CommandHandler, Context
from gateway.acts.watch_settings import WatchSettings
from gateway.clock import now_ms, tick_ms
from gateway.config import ConfigError
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Store, Stored
from gateway.model import CLEARED, ESCALATED, RAISED, Alarm
from gateway.rules.devices.causes import CAUSES
from gateway.rules.devices.diagnosis import Change, Diagnosis, Equipment
from gateway.rules.fleet import FleetRules, as_message
from gateway.rules.stages import Site
from gateway.rules.vessels import Limits, Notice, Plan, VesselRules, load_zones
from gateway.service import together

log = logging.getLogger("tukad.watch")

KEY = "act/watch/state"
_CHUNK = 500
_CHECK_S = 15.0
_FLEET_S = 2.0  # a request lapses after 10 s
_ALIVE_MS = 60_000
_SAVE_MS = 300_000  # state without news
_OLD_MS = 3_600_000  # readings older than this at the very first start say nothing of now
_HELD_MAX = 1000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STEP_MS = 30_000


def boot_id() -> str:
    """What tells this start of the computer from others, or ""."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class WatchAct(Act):
    """Feeds the rules and raises what they find."""

    name = "watch"

    def __init__(
        self,
        settings: WatchSettings,
        context: Context,
        clock: Callable[[], int] = now_ms,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._settings = settings
        self._context = context
        self._ledger = context.ledger
        self._now = clock
        self._boot = boot
        gateway = context.settings.gateway
        self._site = Site(utc_offset_h=gateway.utc_offset_h, zone=gateway.zone)
        names = set(context.settings.intervals_s())
        for what, devices in (
            ("vessel", [one.device for one in settings.vessel]),
            ("vehicle", [one.device for one in settings.vehicle]),
        ):
            for device in devices:
                if device not in names:
                    raise ConfigError(
                        f'{context.file}: watch.{what}: there is no [[device]] "{device}"; there'
                        f" are: {', '.join(sorted(names)) or 'none'}"
                    )
        zones = load_zones(context.file.parent / settings.zones) if settings.zones else []
        self.diagnosis = Diagnosis(
            equipment(context), context.site, clock(), gateway.utc_offset_h
        )  # fmt: skip
        limits = Limits(
            under_way_min=settings.under_way_min,
            anchored_min=settings.anchored_min,
            moored_min=settings.moored_min,
            drag_m=settings.drag_m,
        )
        self.vessels = VesselRules((one.device for one in settings.vessel), zones, limits)
        self._contacts = {one.device: one.contact for one in settings.vessel}
        self.fleet = FleetRules(settings.vehicle, settings.junction)
        # Of arrivals of authorised vehicles, beside the message: each gets the same names.
        self.listeners: list[Callable[[Mapping[str, Any]], object]] = []
        self._plans = FloatPlanFile(context.data_dir / (settings.float_plans or "floatplans.json"))
        self._plan_error = ""
        self._seen = -1
        self._held: deque[Stored] = deque(maxlen=_HELD_MAX)  # while the disk takes nothing
        self._pending: list[Alarm] = []
        self._news = asyncio.Event()
        self._alive_ms = self._saved_ms = 0
        self._is_changed = False
        self._offset_ms = clock() - tick_ms()
        self.counts = {"opened": 0, "closed": 0, "notices": 0, "arrivals": 0, "plans_refused": 0}
        context.messages.subscribe("command/floatplan", self._on_message)

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """Only wake: what is durable is read from the ledger, in order."""
        self._held.extend(one for one in stored if one.id == 0)
        self._news.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._recover()
        works = [self._watch()]
        if self._settings.vehicle and self._settings.junction:
            works.append(self._drive())
        await together(*works)

    async def _recover(self) -> None:
        state: dict[str, Any] | None = await self._ledger.read(lambda s: s.get_state(KEY))
        now = self._now()
        self._pending = []
        if state is not None:
            self._seen = state["seen"]
            self.diagnosis.restore(state["diagnosis"])
            self.vessels.restore(state["vessels"], now)
            self.fleet.restore(state["fleet"])
            pending = [Alarm(**one) for one in state["pending"]]
            known = await self._ledger.read(_known)
            self._pending = [one for one in pending if (one.incident, one.decided_ms) not in known]
            if self._pending:
                self._context.raise_alarms(self._pending)
            if state["boot"] and self._boot() and state["boot"] != self._boot():
                self.diagnosis.power_was_off(state["alive_ms"], now)
        await self._catch_up()

    async def _catch_up(self) -> bool:
        """Feed what the ledger has and the rules have not seen; True if there was any."""
        fed = False
        is_first = self._seen < 0
        while rows := await self._ledger.read(
            lambda store: store.since(None, None, self._seen, _CHUNK)
        ):
            for row in rows:
                self._seen = row.id
                if not is_first or self._now() - row.reading.received_ms < _OLD_MS:
                    self._feed(row)
            fed = True
        self._seen = max(self._seen, 0)
        while self._held:
            self._feed(self._held.popleft())
            fed = True
        return fed

    def _feed(self, row: Stored) -> None:
        if self._settings.faults:
            self.diagnosis.feed(row.reading)
        self.vessels.feed(row.reading)
        self.fleet.feed(row.reading)

    async def _watch(self) -> None:
        while True:
            await self._catch_up()
            await self.look()
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_S):
                    await self._news.wait()
            # A flood of frames shares one look.
            await asyncio.sleep(2.0)

    async def look(self) -> None:
        """One round: decide, keep, raise."""
        now = self._now()
        offset = now - tick_ms()
        if abs(offset - self._offset_ms) > _STEP_MS:
            self.diagnosis.moved_clock(offset - self._offset_ms)
        self._offset_ms = offset
        self._read_plan_file(now)
        alarms: list[Alarm] = []
        if self._settings.faults:
            faults = [(one.code, one.subject, one.detail) for one in self._context.faults()]
            self.diagnosis.agent_faults(faults, now)
            alarms += [self._fault_alarm(one, now) for one in self.diagnosis.check(now)]
        plans = dict(self.vessels.plans)
        alarms += [self._vessel_alarm(one, now) for one in self.vessels.check(now)]
        if plans != self.vessels.plans:
            self._publish_plans()
        if alarms or self._is_changed or now - self._saved_ms > _SAVE_MS:
            await self._keep(alarms, now)
        elif now - self._alive_ms > _ALIVE_MS:
            await self._keep([], now)

    async def _keep(self, alarms: Sequence[Alarm], now: int) -> None:
        """State and alarms in one transaction; then the alarms go their way."""
        waiting = [*self._pending, *alarms]
        state = {
            "seen": self._seen,
            "diagnosis": self.diagnosis.to_state(),
            "vessels": self.vessels.to_state(),
            "fleet": self.fleet.to_state(),
            "boot": self._boot(),
            "alive_ms": now,
        }

        def write(store: Store) -> list[Alarm]:
            known = _known(store) if waiting else set[tuple[str, int]]()
            left = [one for one in waiting if (one.incident, one.decided_ms) not in known]
            store.set_state(KEY, state | {"pending": [_plain(one) for one in left]})
            return left

        try:
            self._pending = await self._ledger.write(write)
        except LedgerFullError:
            self._pending = []  # a full disk silences nobody; nothing can be kept
        else:
            self._alive_ms = self._saved_ms = now
            self._is_changed = False
        if alarms:
            self._context.raise_alarms(alarms)

    # Alarms

    def _fault_alarm(self, change: Change, now: int) -> Alarm:
        cause = CAUSES[change.cause]
        self.counts["opened" if change.is_open else "closed"] += 1
        at = self._site.clock(now)
        if change.is_open:
            text_id = f"{change.device}: {cause.what_id} ({at}). Bawa: {cause.bring_id}."
            text_en = f"{change.device}: {cause.what_en} ({at}). Bring: {cause.bring_en}."
        else:
            text_id = f"{change.device}: selesai: {cause.what_id} ({at})."
            text_en = f"{change.device}: over: {cause.what_en} ({at})."
        log.info(
            "watch.%s device=%s cause=%s evidence=%r",
            "opened" if change.is_open else "closed",
            change.device,
            change.cause,
            change.evidence,
        )
        return Alarm(
            incident=f"{change.device}/{change.cause}/{change.since_ms}",
            device=change.device,
            kind=change.cause,
            event=RAISED if change.is_open else CLEARED,
            level=cause.level if change.is_open else 0,
            name=change.evidence or cause.what_en,
            time_ms=now,
            decided_ms=now,
            sequence=0,
            values={},
            text_id=text_id,
            text_en=text_en,
        )

    def _vessel_alarm(self, notice: Notice, now: int) -> Alarm:
        self.counts["notices"] += 1
        words_id, words_en = notice.words_id, notice.words_en
        if notice.level == 0:
            words_id, words_en = f"selesai: {words_id}", f"over: {words_en}"
            event = CLEARED
        else:
            event = RAISED if notice.is_new else ESCALATED
        values: dict[str, int] = {}
        place = ""
        if notice.lat_e5 is not None and notice.lon_e5 is not None:
            values = {"lat_e5": notice.lat_e5, "lon_e5": notice.lon_e5}
            place = f" ({notice.lat_e5 / 1e5:.5f}, {notice.lon_e5 / 1e5:.5f})"
        at = self._site.clock(now)
        key = f"/{notice.key}" if notice.key else ""
        return Alarm(
            incident=f"{notice.vessel}/{notice.kind}{key}/{notice.since_ms}",
            device=notice.vessel,
            kind=notice.kind,
            event=event,
            level=notice.level,
            name=words_en,
            time_ms=now,
            decided_ms=now,
            sequence=0,
            values=values,
            text_id=f"{notice.vessel}: {words_id}, pukul {at}{place}.",
            text_en=f"{notice.vessel}: {words_en}, at {at}{place}.",
        )

    # Float plans

    def _on_message(self, topic: str, payload: bytes) -> None:
        """command/floatplan: {"add": plan} or {"close": id}; the answer is on answer/floatplan."""
        answer: dict[str, Any]
        try:
            data: object = json.loads(payload)
            command = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
            if list(command) == ["add"]:
                answer = self._add_plan(command["add"])
            elif list(command) == ["close"]:
                answer = self._close_plan({"id": command["close"]})
            else:
                raise PlanError('expected {"add": plan} or {"close": id}')
        except (PlanError, ValueError) as error:
            self.counts["plans_refused"] += 1
            log.warning("floatplan.refused error=%r", str(error))
            answer = {"result": "refused", "error": str(error)}
        self._context.messages.publish("answer/floatplan", json.dumps(answer).encode())

    def _add_plan(self, item: object) -> dict[str, Any]:
        plan = self._with_contact(parse_plan(item, self._now()))
        problem = self.vessels.add(plan)
        if problem:
            raise PlanError(problem)
        self._plans_changed()
        return {"id": plan.id, "result": "added"}

    def _close_plan(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        plan_id = str(arguments.get("id", ""))
        closed = self.vessels.close(plan_id)
        self._plans_changed()
        return {"id": plan_id, "result": "closed" if closed else "unknown"}

    def _plans_changed(self) -> None:
        self._is_changed = True
        self._publish_plans()
        self._news.set()

    def commands(self) -> Mapping[str, tuple[str, CommandHandler]]:
        """watch.floatplan_add (a plan) and watch.floatplan_close (id), signed."""
        return {
            "floatplan_add": ("operator", self._add_plan),
            "floatplan_close": ("operator", self._close_plan),
        }

    def _with_contact(self, plan: Plan) -> Plan:
        return plan if plan.contact else replace(plan, contact=self._contacts.get(plan.vessel, ""))

    def _read_plan_file(self, now: int) -> None:
        try:
            plans = self._plans.changed(now)
        except (PlanError, OSError) as error:
            self._plan_error = f"{self._plans.path}: {error}"
            self.counts["plans_refused"] += 1
            log.warning("floatplan.file error=%r", self._plan_error)
            return
        if plans is None:
            return
        self._plan_error = ""
        wanted = {one.id for one in plans}
        for plan_id in [i for i in self.vessels.plans if i.startswith("file/")]:
            if plan_id.removeprefix("file/") not in wanted:
                self.vessels.close(plan_id)
        for plan in plans:
            problem = self.vessels.add(self._with_contact(replace(plan, id=f"file/{plan.id}")))
            if problem:
                self._plan_error = f"{self._plans.path}: {plan.id}: {problem}"
                self.counts["plans_refused"] += 1
        self._is_changed = True
        self._publish_plans()

    def _publish_plans(self) -> None:
        items = [as_item(one) for one in self.vessels.plans.values()]
        self._context.messages.publish("floatplans", json.dumps(items).encode(), retain=True)

    # Fleet

    async def _drive(self) -> None:
        while True:
            for arrival in self.fleet.check(self._now()):
                self.counts["arrivals"] += 1
                message = as_message(arrival)
                body = json.dumps(message).encode()
                self._context.messages.publish("fleet/arrival", body)
                for listener in self.listeners if arrival.is_authorised else ():
                    listener(message)
            await asyncio.sleep(_FLEET_S)

    # Health

    def faults(self) -> Mapping[tuple[str, str], str]:
        """A float-plan file that cannot be used."""
        if not self._plan_error:
            return {}
        return {("watch.float_plans", "float plans"): f"{self._plan_error}; mend the file"}

    def counters(self) -> Mapping[str, int]:
        """What was found."""
        return self.counts | {
            "now_open": len(self.diagnosis.open),
            "now_plans": len(self.vessels.plans),
        }


def equipment(context: Context) -> list[Equipment]:
    """Every device and sensor of the configuration, as the diagnosis wants them."""
    settings = context.settings
    found = [Equipment(one.name, "lora", one.interval_s) for one in settings.device]
    for bus in settings.modbus:
        found += [
            Equipment(one.name, "modbus", max(1, round(one.interval_s)), bus.name)
            for one in bus.sensor
        ]
    watch = settings.watch or WatchSettings()
    mobile = {one.device for one in (*watch.vessel, *watch.vehicle)}
    return [replace(one, mobile=one.name in mobile) for one in found]


def _known(store: Store) -> set[tuple[str, int]]:
    return {(one.incident, one.decided_ms) for one in store.alarms(300)}


def _plain(alarm: Alarm) -> dict[str, Any]:
    return asdict(alarm) | {"values": dict(alarm.values)}


__all__ = ["KEY", "WatchAct", "boot_id", "equipment"]
