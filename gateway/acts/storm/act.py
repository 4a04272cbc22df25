"""`StormAct`: puts the site into storm mode, tells nodes and sirens, and ends it by itself.

The nodes get the end with the command, so they calm down without any radio; a gateway that was
down meanwhile takes the mode up where its state in the ledger says.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.acts.part import Act, Context
from gateway.acts.storm.causes import RainCause, RiseCause
from gateway.acts.storm.feed import NowcastFeed
from gateway.acts.storm.mode import Change, StormMode
from gateway.acts.storm.nowcast import SEVERITIES, Nowcast
from gateway.acts.storm.settings import StormSettings
from gateway.clock import now_ms
from gateway.config import ConfigError
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Store, Stored
from gateway.model import CLEARED, ESCALATED, RAISED, Alarm
from gateway.rules.stages import Site
from gateway.service import together
from protocols.errors import LocalError, RemoteError
from protocols.payload.command import CMD_STORM, CMD_TEST, NUMBER_MAX, encode_command
from protocols.payload.ports import EPOCH_UNIX_S, PORT_COMMAND

log = logging.getLogger("tukad.storm")

_STATE = "act/storm/mode"
_ROUND_S = 15.0
_LATE_MS = 900_000  # an alarm or a reading that is older begins nothing
_FAILS = 3  # polls in a row before the feed is a fault


class StormAct(Act):
    """Storm mode of one site."""

    name = "storm"

    def __init__(self, settings: StormSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        gateway = context.settings.gateway
        self._site = Site(utc_offset_h=gateway.utc_offset_h, zone=gateway.zone)
        self._place: tuple[float, float] | None = None
        if gateway.latitude_deg is not None and gateway.longitude_deg is not None:
            self._place = gateway.latitude_deg, gateway.longitude_deg
        self.feed: NowcastFeed | None = None
        if settings.feed:
            if self._place is None:
                raise ConfigError(
                    f"{context.file}: storm.feed needs gateway.latitude_deg and longitude_deg: a"
                    " warning counts when the site is in its area"
                )
            folder = context.file.parent
            self.feed = NowcastFeed(settings.feed, settings.feed_hosts, folder)
        self._nodes = _named(context, settings.devices, "flood", "storm.devices")
        self._sirens = _named(context, settings.sirens, "siren", "storm.sirens")
        self._value_of = {d: s.value for d, s in context.settings.stages().items()}
        self.mode = StormMode(context.site, settings.hold_s * 1000, settings.longest_s * 1000)
        self._rain: dict[str, RainCause] = {}
        self._rise: dict[str, RiseCause] = {}
        self._tested_ms = 0
        self._news = asyncio.Event()
        self._fails = 0
        self._trouble = ""
        self._counts = {"storms": 0, "commands": 0, "warnings": 0}

    # What begins it

    async def handle(self, number: int, alarm: Alarm) -> None:
        """A stage that begins is a cause."""
        is_rise = alarm.kind == "stage" and alarm.event in (RAISED, ESCALATED)
        if is_rise and now_ms() - alarm.decided_ms < _LATE_MS:
            self.mode.want("stage", f"{alarm.device} {alarm.name}", now_ms())
            self._news.set()

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """Rain and rise of the site's own gauges."""
        at_ms = now_ms()
        wanted = self._settings
        for one in stored:
            reading = one.reading
            if abs(at_ms - reading.time_ms) > _LATE_MS:
                continue
            device = reading.device
            if "rain_tips" in reading.values or "rain_total_um" in reading.values:
                rain = self._rain.setdefault(device, RainCause(wanted.tip_um))
                rain.feed(reading)
                detail = rain.exceeds(reading.time_ms, wanted.rain_mm_10min, wanted.rain_mm_1h)
                if detail:
                    self._want("rain", f"{device} {detail}", at_ms)
            level = reading.values.get(self._value_of.get(device, "level_mm"))
            if level is not None:
                rise = self._rise.setdefault(device, RiseCause())
                rise.feed(reading.time_ms, level)
                rate = rise.exceeds(reading.time_ms, wanted.rise_mm_h)
                if rate is not None:
                    self._want("rise", f"{device} {rate.mm_h} mm/h", at_ms)

    def _want(self, cause: str, detail: str, at_ms: int) -> None:
        self.mode.want(cause, detail, at_ms)
        if not self.mode.is_on:
            self._news.set()

    def take_alerts(self, alerts: Sequence[Nowcast], at_ms: int) -> None:
        """What the feed says now; alerts that were cancelled or replaced are left out."""
        gone = {ref for alert in alerts for ref in alert.references}
        gone |= {a.identifier for a in alerts if a.message_type == "Cancel"}
        least = SEVERITIES.index(self._settings.least_severity)
        for alert in alerts:
            is_meant = (
                alert.is_actual
                and alert.message_type != "Cancel"
                and alert.identifier not in gone
                and SEVERITIES.index(alert.severity) >= least
                and alert.begin_ms - self._settings.hold_s * 1000 <= at_ms < alert.expires_ms
            )
            if is_meant and self._place is not None and alert.covers(*self._place):
                self._counts["warnings"] += 1
                self._want("nowcast", alert.headline or alert.event, at_ms)
                self.mode.want("nowcast", alert.headline, at_ms, alert.expires_ms)

    # Its work

    async def run(self) -> None:
        """Until cancelled."""
        state = await self._context.ledger.read(lambda store: store.get_state(_STATE))
        if state is not None:
            self.mode.restore(state["mode"])
            self._tested_ms = state["tested_ms"]
        works = [self._watch()]
        if self.feed is not None:
            works.append(self._poll(self.feed))
        await together(*works)

    async def _watch(self) -> None:
        self._publish()
        while True:
            change = self.mode.step(now_ms())
            if change is not None:
                await self._act(change)
            self._news.clear()
            try:
                async with asyncio.timeout(_ROUND_S):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _poll(self, feed: NowcastFeed) -> None:
        while True:
            try:
                self.take_alerts(await feed.poll(), now_ms())
                self._fails, self._trouble = 0, ""
            except (OSError, RemoteError) as error:
                self._fails += 1
                self._trouble = str(error)[:200]
                log.warning("storm.feed_failed times=%d error=%r", self._fails, self._trouble)
            await asyncio.sleep(self._settings.poll_s)

    async def _act(self, change: Change) -> None:
        at_ms = now_ms()
        log.warning(
            "storm.%s until_ms=%d cause=%s detail=%r",
            change.what,
            change.until_ms,
            change.cause,
            change.detail,
        )
        if change.what == "begin":
            self._counts["storms"] += 1
        is_test = change.what == "begin" and self._settings.silent_test
        if is_test and at_ms - self._tested_ms >= self._settings.test_pause_s * 1000:
            self._tested_ms = at_ms
        else:
            is_test = False
        # The state first: after a crash nodes may be told again, which harms nobody.
        state = {"mode": self.mode.to_state(), "tested_ms": self._tested_ms}
        try:
            await self._context.ledger.write(lambda store: store.set_state(_STATE, state))
        except LedgerFullError as error:
            log.warning("storm.not_kept error=%r", str(error))
        if change.what != "extend":
            self._context.raise_alarms([self._alarm(change, at_ms)])
        self._publish()
        until_s = 0 if change.what == "end" else change.until_ms // 1000 - EPOCH_UNIX_S
        for node in self._nodes:
            if change.what != "end":  # nodes know the end; one command less in a busy hour
                lasts_s = (change.until_ms - at_ms) / 1000
                await self._send(node, CMD_STORM, {"until_time_s": until_s}, lasts_s)
        for siren in self._sirens if is_test else ():
            await self._send(siren, CMD_TEST, {"is_audible": 0}, 3600)

    async def _send(self, device: str, kind: int, values: dict[str, int], lasts_s: float) -> None:
        service = self._context.service
        if service is None:
            return
        try:
            number = await self._context.ledger.write(lambda store: _next_number(store, device))
            data = encode_command(kind, number, values)
            await service.queue_downlink(device, PORT_COMMAND, data, expiry_s=max(60, lasts_s))
        except (LocalError, KeyError, LedgerFullError) as error:
            log.warning("storm.not_sent device=%s error=%r", device, str(error))
            return
        self._counts["commands"] += 1

    # What it says

    def _alarm(self, change: Change, at_ms: int) -> Alarm:
        is_on = change.what != "end"
        words = {
            "rain": ("hujan", "rain"),
            "rise": ("muka air naik", "rise"),
            "stage": ("status", "stage"),
            "nowcast": ("peringatan dini", "nowcast"),
        }.get(change.cause, (change.cause, change.cause))
        credit = ("", "")
        if change.cause == "nowcast":
            credit = f" Sumber: {self._settings.credit}.", f" Source: {self._settings.credit}."
        end = self._site.clock(change.until_ms)
        if is_on:
            text_id = f"Siaga badai sampai {end}: {words[0]}, {change.detail}.{credit[0]}"
            text_en = f"Storm mode until {end}: {words[1]}, {change.detail}.{credit[1]}"
        else:
            text_id, text_en = "Siaga badai berakhir.", "Storm mode has ended."
        return Alarm(
            incident=change.incident,
            device=self._context.site,
            kind="storm",
            event=RAISED if is_on else CLEARED,
            level=1 if is_on else 0,
            name="storm" if is_on else "calm",
            time_ms=at_ms,
            decided_ms=at_ms,
            sequence=0,
            values={"until_ms": change.until_ms},
            text_id=text_id,
            text_en=text_en,
        )

    def _publish(self) -> None:
        mode = self.mode
        row: dict[str, Any] = {"is_on": mode.is_on, "until_ms": mode.until_ms if mode.is_on else 0}
        row |= {"cause": mode.cause, "detail": mode.detail}
        self._context.messages.publish("storm", json.dumps(row).encode(), retain=True)

    def faults(self) -> Mapping[tuple[str, str], str]:
        """A feed that does not answer."""
        if self._fails < _FAILS:
            return {}
        detail = f"{self._trouble}; check storm.feed and the internet. Rain and rise still count"
        return {("storm.feed", self._settings.feed): detail}

    def counters(self) -> Mapping[str, int]:
        """Counted since the start."""
        counts = {**self._counts, "now_on": int(self.mode.is_on)}
        if self.feed is not None:
            counts["requests"] = self.feed.requests
            counts["refused"] = sum(self.feed.refused.values())
        return counts


def _named(context: Context, names: Sequence[str], kind: str, key: str) -> list[str]:
    """The named devices, or all of a kind. Raises ConfigError for one that is not there."""
    known = {device.name: device.kind for device in context.settings.device}
    for name in names:
        if name not in known:
            raise ConfigError(
                f'{context.file}: {key}: there is no [[device]] named "{name}";'
                f" there are: {', '.join(known) or 'none'}"
            )
    return list(names) or [name for name, one in known.items() if one == kind]


def _next_number(store: Store, device: str) -> int:
    """The device's next command number, durably; shared with every part that sends commands."""
    key = f"command/{device}"
    number: int = ((store.get_state(key) or 0) + 1) % (NUMBER_MAX + 1)
    store.set_state(key, number)
    return number
