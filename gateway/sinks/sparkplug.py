"""Sparkplug B 3.0 edge node: `SparkplugSink`, so that a SCADA host shows live from stale.

Births with names and aliases, data by alias, NDEATH as the will with the same bdSeq, rebirth on
command, `is_historical` on what waited. Sparkplug data is QoS 0, so nobody confirms a reading: what
was written while the primary host was online (or, without one, while connected) counts as
delivered. The sink that loses nothing is [mqtt]; this one is for the wall of the control room.
"""

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiomqtt

from gateway.clock import now_ms
from gateway.config import name_check, setting
from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Stored
from gateway.model import LIVE
from gateway.service import end_tasks
from gateway.sinks.connection import connected
from gateway.sinks.formats import channel
from gateway.sinks.outbox import Outbox
from gateway.sinks.settings import MqttSettings
from gateway.sinks.sparkplug_payload import (
    BOOLEAN,
    DOUBLE,
    INT64,
    UINT64,
    Metric,
    decode_commands,
    encode,
)
from protocols.errors import RemoteError

log = logging.getLogger("tukad.sparkplug")

_STATE = "sparkplug"
_REBIRTH = "Node Control/Rebirth"
_BATCH = 200


@dataclass(frozen=True, kw_only=True)
class SparkplugSettings:
    """Section [sparkplug]: a Sparkplug B edge node beside [mqtt], on the same broker."""

    group: str = setting("Tukad", doc="Sparkplug group", check=name_check)
    node: str = setting("", doc="edge node; the site's name if empty")
    primary_host: str = setting("", doc="host application to wait for; empty: send at once")


class SparkplugSink:
    """One edge node; a `gateway.model.Sink`."""

    def __init__(
        self,
        settings: SparkplugSettings,
        mqtt: MqttSettings,
        site: str,
        ledger: Ledger,
        urls: tuple[str, ...],
    ) -> None:
        self._group = settings.group
        self._node = settings.node or site
        self._host = settings.primary_host
        self._mqtt = mqtt
        self._ledger = ledger
        self._urls = urls
        self.outbox = Outbox(ledger, self.name)
        state = cast("dict[str, Any]", ledger.call(lambda store: store.get_state(_STATE)) or {})
        self._bd_seq: int = state.get("bd_seq", 255)
        # device -> metric -> [alias, datatype]
        self._aliases: dict[str, dict[str, list[int]]] = state.get("aliases", {})
        self._latest: dict[int, Metric] = {}  # by alias
        self._seq = 0
        self._wants_birth = asyncio.Event()
        self._is_host_online = asyncio.Event()
        self._host_ms = 0
        self.births = 0
        self.connected_to = ""

    @property
    def name(self) -> str:
        """The key of the delivery state in the ledger."""
        return "sparkplug"

    def _topic(self, kind: str, device: str = "") -> str:
        topic = f"spBv1.0/{self._group}/{kind}/{self._node}"
        return f"{topic}/{device}" if device else topic

    async def run(self) -> None:
        """Connect, deliver, and connect again, until cancelled."""
        pause_s = 0.5
        while True:
            for url in self._urls:
                started = time.monotonic()
                try:
                    await self._session(url)
                except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                    log.info("sparkplug.link broker=%s error=%r", url, str(error))
                finally:
                    self.connected_to = ""
                if time.monotonic() - started > 10:
                    pause_s = 0.5
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, self._mqtt.reconnect_s_max)

    async def drain(self, timeout_s: float) -> bool:
        """Nothing is confirmed here, so there is nothing to wait for."""
        return self.outbox.is_empty

    def _death(self) -> bytes:
        metric = Metric(
            alias=None, name="bdSeq", time_ms=now_ms(), datatype=UINT64, value=self._bd_seq
        )
        return encode(now_ms(), [metric], None)

    async def _session(self, url: str) -> None:
        self._bd_seq = (self._bd_seq + 1) % 256
        await self._keep()  # durable before the broker has the will that names it
        will = aiomqtt.Will(self._topic("NDEATH"), self._death(), 1, False)
        identifier = f"tukad-{self._group}-{self._node}"
        async with connected(self._mqtt, url, identifier, will) as client:
            await client.subscribe(self._topic("NCMD"), 1)
            self._is_host_online.clear()
            if self._host:
                await client.subscribe(f"spBv1.0/STATE/{self._host}", 1)
            else:
                self._is_host_online.set()
            self.connected_to = url
            await self.outbox.reset()
            loop = asyncio.get_running_loop()
            broken: asyncio.Future[None] = loop.create_future()
            tasks = [asyncio.create_task(part) for part in (self._hear(client), self._say(client))]

            def ended(task: asyncio.Task[None]) -> None:
                error = None if task.cancelled() else task.exception()
                if error is not None and not broken.done():
                    broken.set_exception(error)

            for task in tasks:
                task.add_done_callback(ended)
            try:
                await broken
            except asyncio.CancelledError:
                # A wanted end: the will does not come then, so the death is said.
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.publish(self._topic("NDEATH"), self._death(), 1, timeout=1)
                raise
            finally:
                await end_tasks(tasks)

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = bytes(message.payload)
            if message.topic.matches("spBv1.0/STATE/+"):
                self._hear_host(payload)
                continue
            try:
                commands = decode_commands(payload)
            except RemoteError as error:
                log.warning("sparkplug.command error=%r", str(error))
                continue
            if commands.get(_REBIRTH):
                self._wants_birth.set()
                self.outbox.wake()

    def _hear_host(self, payload: bytes) -> None:
        """The primary host came or went; an older statement than the last one does not count."""
        try:
            state: Any = json.loads(payload)
            online, at_ms = bool(state["online"]), int(state["timestamp"])
        except (ValueError, KeyError, TypeError):
            return
        if at_ms < self._host_ms:
            return
        self._host_ms = at_ms
        if online:
            self._is_host_online.set()
        elif self._is_host_online.is_set():
            raise aiomqtt.MqttError("the primary host went offline")

    async def _say(self, client: aiomqtt.Client) -> None:
        await self._is_host_online.wait()
        await self._birth(client)
        while True:
            await self.outbox.wait()
            if self._wants_birth.is_set():
                await self._birth(client)
                continue
            is_history = False
            stored = self.outbox.take_live(_BATCH)
            if not stored:
                is_history = True
                stored = await self.outbox.take_history(_BATCH)
            if stored:
                await self._data(client, stored, is_history)

    async def _keep(self) -> None:
        state = {"bd_seq": self._bd_seq, "aliases": self._aliases}
        await self._ledger.write(lambda store: store.set_state(_STATE, state))

    async def _publish(
        self, client: aiomqtt.Client, kind: str, device: str, metrics: Sequence[Metric]
    ) -> None:
        data = encode(now_ms(), metrics, self._seq)
        self._seq = (self._seq + 1) % 256
        await client.publish(self._topic(kind, device), data, 0)

    async def _birth(self, client: aiomqtt.Client) -> None:
        """NBIRTH, then a DBIRTH for every device, with every metric ever sent."""
        self._wants_birth.clear()
        self._seq = 0
        self.births += 1
        now = now_ms()
        node = [
            Metric(alias=None, name="bdSeq", time_ms=now, datatype=UINT64, value=self._bd_seq),
            Metric(alias=None, name=_REBIRTH, time_ms=now, datatype=BOOLEAN, value=False),
        ]
        await self._publish(client, "NBIRTH", "", node)
        for device in self._aliases:
            await self._device_birth(client, device)

    async def _device_birth(self, client: aiomqtt.Client, device: str) -> None:
        metrics: list[Metric] = []
        for name, (alias, datatype) in self._aliases[device].items():
            last = self._latest.get(alias)
            metrics.append(
                Metric(
                    alias=alias,
                    name=name,
                    time_ms=last.time_ms if last else now_ms(),
                    datatype=datatype,
                    value=last.value if last else None,
                )
            )
        await self._publish(client, "DBIRTH", device, metrics)

    async def _data(self, client: aiomqtt.Client, stored: Sequence[Stored], late: bool) -> None:
        grown = self._learn(stored)
        if grown:
            await self._keep()
            for device in grown:
                await self._device_birth(client, device)
        for one in stored:
            is_historical = late or one.reading.origin != LIVE
            metrics = self._metrics(one, is_historical)
            await self._publish(client, "DDATA", one.reading.device, metrics)
            if not is_historical:
                self._latest |= {m.alias: m for m in metrics if m.alias is not None}
        self.outbox.done([one.id for one in stored])

    def _learn(self, stored: Sequence[Stored]) -> list[str]:
        """Give new metrics an alias, unique in the node; returns the devices to be born again."""
        grown: dict[str, None] = {}
        for one in stored:
            known = self._aliases.setdefault(one.reading.device, {})
            for name in one.reading.values:
                column = channel(name)
                full = f"{one.reading.stream}/{column.name}"
                if full not in known:
                    alias = sum(len(each) for each in self._aliases.values()) + 1
                    known[full] = [alias, DOUBLE if column.decimals else INT64]
                    grown[one.reading.device] = None
        return list(grown)

    def _metrics(self, one: Stored, is_historical: bool) -> list[Metric]:
        reading = one.reading
        metrics: list[Metric] = []
        for name, value in reading.values.items():
            column = channel(name)
            alias, datatype = self._aliases[reading.device][f"{reading.stream}/{column.name}"]
            metrics.append(
                Metric(
                    alias=alias,
                    time_ms=reading.time_ms,
                    datatype=datatype,
                    value=value / 10**column.decimals if datatype == DOUBLE else value,
                    is_historical=is_historical,
                )
            )
        return metrics
