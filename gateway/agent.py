"""The agent: sources, ledger, rules and sinks put together and kept running; `Agent`.

`accept` is the path of every reading: on disk, then to the rules and the sinks; what it returned
for is never lost. `run` starts the parts in the order of need and ends them in the reverse one:
first nothing new comes in, then what waits goes out, then the ledger is closed.
"""

import asyncio
import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.acts.catalogue import open_acts
from gateway.acts.part import Act, Context
from gateway.acts.runner import ActRunner
from gateway.broker import BrokerError, LocalBroker, port_is_free
from gateway.clock import WallClock, boot_id, now_ms, tick_ms
from gateway.config import ConfigError
from gateway.handover import Handover
from gateway.health import Monitor
from gateway.ledger.ledger import Ledger
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Store, Stored
from gateway.ledger.times import TimeKeeper
from gateway.lorawan.config import SettingError
from gateway.lorawan.service import NetworkServerService, open_service
from gateway.model import Alarm, Health, PartHealth, Reading
from gateway.remote.commands import offer_all
from gateway.remote.desk import Desk
from gateway.rules.catalogue import forecaster, pair_rules, stage_rules
from gateway.rules.engine import Rules
from gateway.rules.events import EventRule
from gateway.rules.quality import QualityTests
from gateway.rules.silence import SilenceRule
from gateway.rules.stages import Site
from gateway.rules.thresholds import Thresholds
from gateway.service import Supervisor, notify, watchdog
from gateway.settings import Loaded, Settings
from gateway.sinks.messages import Messages
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.outbox import Outbox
from gateway.sinks.settings import EMBEDDED, MOSQUITTO
from gateway.sinks.sparkplug import SparkplugSink
from gateway.sources.backfill import Backfill
from gateway.sources.lorawan import LorawanSource
from gateway.sources.modbus import ModbusSource
from gateway.status import StatusServer, health_json

log = logging.getLogger("tukad.agent")

# A ledger that starts empty numbers its own streams from the clock on, in tenths of a second since
# 2020: numbers already used with a ledger that was lost must not come again.
_EPOCH_MS = 1_577_836_800_000


class StartError(Exception):
    """The agent cannot start here; one line for a person."""


def sinks_of(settings: Settings) -> list[str]:
    """The sinks whose delivery the ledger keeps."""
    sinks = ["mqtt", "sparkplug"] if settings.sparkplug else ["mqtt"]
    return [*sinks, "sensorthings"] if settings.sensorthings else sinks


class KeptModbus(ModbusSource):
    """A bus whose readings that are not stored yet can be handed on."""

    @property
    def unstored(self) -> list[Reading]:
        """Polled, and not on disk."""
        return list(self._held)


class Agent:
    """One agent on one data directory; `ready` is called when it runs."""

    def __init__(self, loaded: Loaded, over: Handover, ready: Callable[[], None]) -> None:
        self.loaded = loaded
        self._over = over
        self._ready = ready
        self._file = loaded.file
        self.settings = loaded.settings
        gateway = self.settings.gateway
        self._folder = gateway.data_dir
        self._clock = WallClock()
        self.ledger = Ledger(self._folder, self.settings.ledger, sinks_of(self.settings))
        self._supervisor = Supervisor()
        self._broker: LocalBroker | None = None
        self._status = StatusServer(self.health, gateway.status_bind, self._folder / "status.sock")
        site = Site(utc_offset_h=gateway.utc_offset_h, zone=gateway.zone)
        settings = self.settings
        stages = settings.stages()
        self.rules = Rules(
            stage_rules(stages, settings.alarm, site, self._file),
            EventRule(settings.alarm, site, frozenset(stages)),
            SilenceRule(settings.intervals_s(), settings.alarm.silent_after, site, tick_ms()),
            pair_rules(stages, self._file),
            Thresholds(stages, self._publish_thresholds),
            forecaster(settings.alarm, stages, self._file),
        )
        self._times = TimeKeeper(boot_id())
        self._quality = QualityTests(settings.quality())
        self.messages = Messages(gateway.site)
        self._acts: list[ActRunner] = []
        self._raising: set[asyncio.Task[None]] = set()
        self.mqtt: MqttSink | None = None
        self.sparkplug: SparkplugSink | None = None
        self._modbus: list[KeptModbus] = []
        self.lorawan: LorawanSource | None = None
        self.backfill: Backfill | None = None
        self.desk: Desk | None = None
        self.audit = over.audit
        self._recovered_ms = 0
        self.monitor = Monitor(self, gateway.site, self._clock)

    # The path of a reading

    async def accept(self, readings: Sequence[Reading]) -> None:
        """Make readings durable, then let rules and sinks have them. Raises LedgerFullError."""
        readings = self._quality.flag(readings)
        try:
            stored = await self.ledger.add(readings)
        except LedgerFullError:
            # Sirens do not depend on a disk.
            for alarm in self.rules.decide_unstored(readings, now_ms()):
                self._announce(0, alarm)
            raise
        if not stored:
            return
        for outbox in self._outboxes():
            outbox.offer(stored)
        for runner in self._acts:
            runner.act.on_readings(stored)
        await self._decide(stored)

    async def _decide(self, stored: Sequence[Stored]) -> None:
        alarms = self.rules.decide(stored, now_ms())
        if alarms or self.rules.is_unsaved:
            await self._keep_and_announce(alarms)

    async def _keep_and_announce(self, alarms: Sequence[Alarm]) -> None:
        """An alarm is on disk, with the state of its rule, before it is published."""

        def keep(store: Store) -> list[int]:
            self.rules.save(store)
            return [store.add_alarm(alarm) for alarm in alarms]

        try:
            numbers = await self.ledger.write(keep)
            self.rules.saved()
        except LedgerFullError:
            numbers = [0] * len(alarms)
        for number, alarm in zip(numbers, alarms, strict=True):
            self._announce(number, alarm)

    def _announce(self, number: int, alarm: Alarm) -> None:
        log.warning(
            "alarm.%s device=%s kind=%s level=%d name=%r text=%r",
            alarm.event,
            alarm.device,
            alarm.kind,
            alarm.level,
            alarm.name,
            alarm.text_en,
        )
        if self.mqtt is not None:
            self.mqtt.outbox.offer_alarm(number, alarm)
        for runner in self._acts:
            runner.offer(number, alarm)

    def _raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Alarms that an act found; they take the path of all others."""
        task = asyncio.create_task(self._keep_and_announce(alarms))
        self._raising.add(task)
        task.add_done_callback(self._raising.discard)

    def _outboxes(self) -> list[Outbox]:
        return [sink.outbox for sink in (self.mqtt, self.sparkplug) if sink is not None]

    # Start and end

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises StartError or ConfigError when it cannot start."""
        try:
            self._open_ledger()
            try:
                await self._start()
            except LedgerFullError as error:
                raise StartError(f"{error}; free some space") from None
            self._ready()
            notify(f"READY=1\nSTATUS={self.monitor.summary()}")
            log.info(
                "agent.ready site=%s start_ms=%d",
                self.settings.gateway.site,
                self.monitor.uptime_s * 1000,
            )
            await stop.wait()
            notify("STOPPING=1")
            log.info("agent.stopping")
        finally:
            await self._end()

    def _open_ledger(self) -> None:
        settings = self.settings
        try:
            self.ledger = self._over.open_ledger(self._folder, settings.ledger, sinks_of(settings))
        except (OSError, sqlite3.Error) as error:
            path = self._folder / "ledger.db"
            raise StartError(f"{path}: cannot be opened: {error}") from None

    async def _start(self) -> None:
        settings = self.settings
        await self._start_status()
        urls = await self._start_broker()
        self.mqtt = MqttSink(
            settings.mqtt,
            settings.gateway.site,
            self.ledger,
            urls,
            settings.intervals_s(),
            lambda: health_json(self.health()),
            self.messages,
            settings.gateway.utc_offset_h,
        )
        if settings.mqtt.required_at_start:
            problem = await self.mqtt.probe()
            if problem:
                raise StartError(f"mqtt.url: no broker answers: {problem}")
        self.ledger.call(
            lambda store: self._times.restore(store, self._clock.offset_ns // 1_000_000, now_ms())
        )
        self._make_sources()
        self._open_acts()
        self._open_desk()
        at_ms = self._recovered_ms = now_ms()
        missed = self.ledger.call(lambda store: self.rules.recover(store, at_ms))
        self.rules.saved()
        for number, alarm in missed:
            self._announce(number, alarm)
        self._supervisor.start({"mqtt": self.mqtt.run})
        if settings.sparkplug is not None:
            site = settings.gateway.site
            self.sparkplug = SparkplugSink(
                settings.sparkplug, settings.mqtt, site, self.ledger, urls
            )
            self._supervisor.start({"sparkplug": self.sparkplug.run})
        for runner in self._acts:
            self._supervisor.start({runner.act.name: runner.run})
        if self._broker is not None:
            self._supervisor.start({"broker": self._broker.run})
        if self._over.held:
            self._supervisor.start({"handover": self._hand_over})
        if self.desk is not None:
            self._supervisor.start({"remote": self.desk.run})
        for source in self._sources():
            self._supervisor.start({source.name: lambda source=source: source.run(self.accept)})
        if self.backfill is not None:
            self._supervisor.start({"backfill": self.backfill.run})
        self._supervisor.start(
            {
                "watchdog": lambda: watchdog(self._is_alive, self.monitor.summary),
                "housekeeping": self._keep,
            }
        )

    def _make_sources(self) -> None:
        folder = self._file.parent
        for bus in self.settings.modbus:
            source = KeptModbus(bus, self._clock, self._next_sequence, folder)
            self._modbus.append(source)
        if self.settings.lorawan is not None:
            bind = self.settings.lorawan.bind
            embedded = self.settings.lorawan.server == "embedded"
            if embedded and bind and not bind.endswith(":0") and not port_is_free(bind, udp=True):
                raise StartError(f"lorawan.bind = {bind}: the port is in use")
            try:
                service = open_service(self.settings.lorawan, self._folder)
            except SettingError as error:
                raise ConfigError(f"{self._file}: {error}") from None
            self.lorawan = LorawanSource(
                service, self.ledger, self._clock, self.settings.gateway.site_e5()
            )
            wanted = {d.name: d.interval_s for d in self.settings.device if d.backfill}
            self.backfill = Backfill(self.settings.backfill, self.ledger, service, wanted)

    def _open_acts(self) -> None:
        context = Context(
            settings=self.settings,
            file=self._file,
            ledger=self.ledger,
            clock=self._clock,
            messages=self.messages,
            service=self.service,
            faults=self.monitor.faults,
            raise_alarms=self._raise_alarms,
        )
        self._acts = [ActRunner(act, self.ledger) for act in open_acts(context)]
        for runner in self._acts:
            self.ledger.call(runner.begin)

    def _open_desk(self) -> None:
        """Where operators' commands come in; before the sink connects."""
        if self.settings.remote is None:
            return
        gateway = self.settings.gateway
        self.desk = Desk(
            self.settings.remote,
            gateway.site,
            self._folder,
            self.messages,
            self._clock,
            self._over,
        )
        offer_all(self.desk, self, self._over.changes)

    def _publish_thresholds(self, topic: str, payload: bytes) -> None:
        self.messages.publish(topic, payload, retain=True)
        row = json.loads(payload)
        if row["since_ms"] == self._recovered_ms:
            what = row | {"device": topic.partition("/")[2]}
            self._over.note("thresholds.changed", row["set_by"], row["reason"], **what)

    async def _hand_over(self) -> None:
        """Readings that the agent before this one could not store."""
        await self._over.hand_over(self.accept)
        await asyncio.Event().wait()

    def _sources(self) -> list[KeptModbus | LorawanSource]:
        return [*self._modbus, *([self.lorawan] if self.lorawan else [])]

    def _next_sequence(self, device: str, stream: str) -> int:
        last = self.ledger.call(lambda store: store.last_sequence(device, stream))
        first = max(0, (now_ms() - _EPOCH_MS) // 100) if last is None else last + 1
        return max(first, self._over.next_sequence(device, stream))

    async def _start_status(self) -> None:
        try:
            await self._status.start()
        except OSError as error:
            bind = self.settings.gateway.status_bind
            raise StartError(f"gateway.status_bind = {bind}: {error.strerror}") from None

    async def _start_broker(self) -> tuple[str, ...]:
        urls = self.settings.mqtt.url
        if urls[0] not in (EMBEDDED, MOSQUITTO):
            await self._over.close_broker()
            return urls
        try:
            self._broker = await self._over.open_broker(urls[0], self.settings.broker, self._folder)
        except BrokerError as error:
            raise StartError(str(error)) from None
        return (self._broker.url,)

    async def _end(self) -> None:
        sources = [source.name for source in self._sources()]
        running = [part.name for part in self._supervisor.health]
        await self._supervisor.stop(*(name for name in sources if name in running))
        if self.desk is not None:
            await self.desk.settle()
        if self.mqtt is not None and "mqtt" in running:
            await self.mqtt.drain(self.settings.gateway.drain_s)
        await self._supervisor.stop()
        await self._status.stop()
        if self.lorawan is not None:
            self.lorawan.service.close()
        for source in self._modbus:
            self._over.leave(source.unstored)

    # Health

    @property
    def service(self) -> NetworkServerService | None:
        """The network server, if there is one."""
        return self.lorawan.service if self.lorawan else None

    @property
    def failing(self) -> frozenset[str]:
        """Parts that do not run."""
        return frozenset(part.name for part in self.parts if part.state == "waiting")

    async def restart(self, part: str) -> None:
        """Start a part anew, the others go on. Raises KeyError."""
        self._over.note("part.restarted", what=part)
        await self._supervisor.restart(part)

    @property
    def acts(self) -> Sequence[Act]:
        """What acts on alarms here."""
        return [runner.act for runner in self._acts]

    async def _is_alive(self) -> bool:
        """Whether the ledger's writer still answers."""
        try:
            async with asyncio.timeout(10):
                await self.ledger.write(lambda store: store.sink_bits)
        except TimeoutError:
            return False
        except OSError:
            return True  # a broken disk is a fault, not a reason to be restarted for ever
        return True

    async def _keep(self) -> None:
        """Look after clock and counters every few seconds."""
        while True:
            self.monitor.waiting = await self.ledger.read(lambda store: store.waiting())
            await self._mind_the_clock()
            alarms = self.rules.check_silence(now_ms())
            if alarms:
                await self._keep_and_announce(alarms)
            await asyncio.sleep(5)

    async def _mind_the_clock(self) -> None:
        """Correct what was stored before the clock was right, and send it again."""
        source = self._clock.time_source()
        jumps = list(self._clock.jumps)
        self._clock.jumps.clear()
        for jump in jumps:
            log.warning("clock.step by_ms=%d", jump.step_ms)
        offset_ms = self._clock.offset_ns // 1_000_000
        try:
            corrected = await self.ledger.write(
                lambda store: self._times.look(store, source, jumps, offset_ms)
            )
        except LedgerFullError:
            self._times.failed()
            return
        if corrected:
            for outbox in self._outboxes():
                outbox.again()

    @property
    def modbus(self) -> Sequence[ModbusSource]:
        """The wired buses."""
        return self._modbus

    @property
    def parts(self) -> Sequence[PartHealth]:
        """The supervised parts."""
        return self._supervisor.health

    def health(self) -> Health:
        """The state of the whole agent."""
        return self.monitor.health()


def problems(loaded: Loaded, folder: Path) -> list[str]:
    """What would keep the agent from starting here now, without touching the network."""
    settings = loaded.settings
    found: list[str] = []
    if settings.mqtt.url[0] in (EMBEDDED, MOSQUITTO) and not port_is_free(settings.broker.bind):
        found.append(f"broker.bind = {settings.broker.bind}: the port is in use")
    bind = settings.gateway.status_bind
    if bind and not port_is_free(bind):
        found.append(f"gateway.status_bind = {bind}: the port is in use")
    lorawan_bind = settings.lorawan.bind if settings.lorawan is not None else ""
    if lorawan_bind and not port_is_free(lorawan_bind, udp=True):
        found.append(f"lorawan.bind = {lorawan_bind}: the port is in use")
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        found.append(f"gateway.data_dir = {folder}: cannot be written by this user")
    found += _act_problems(loaded)
    for bus in settings.modbus:
        if bus.port.startswith("/") and not Path(bus.port).exists():
            found.append(
                f'modbus["{bus.name}"].port = {bus.port}: there is no such device;'
                " to see the adapters: ls /dev/serial/by-id"
            )
    return found


def _act_problems(loaded: Loaded) -> list[str]:
    """What the acts say to this configuration: made as at a start, on a ledger of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = replace(
            loaded.settings, gateway=replace(loaded.settings.gateway, data_dir=folder)
        )
        ledger = Ledger(folder, settings.ledger, sinks_of(settings))
        try:
            ledger.open()
            context = Context(
                settings=settings,
                file=loaded.file,
                ledger=ledger,
                clock=WallClock(),
                messages=Messages(settings.gateway.site),
                service=None,
                faults=tuple,
                raise_alarms=lambda _: None,
            )
            open_acts(context)
        except (ConfigError, OSError, sqlite3.Error) as error:
            return [str(error)]
        finally:
            ledger.close()
    return []


__all__ = ["Agent", "ConfigError", "StartError", "problems"]
