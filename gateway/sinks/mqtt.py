"""The MQTT sink: `MqttSink`, at least once, alarms first.

QoS 1 with a sliding window; a reading is marked as delivered by its PUBACK and by nothing else.
Alarms are published at once beside the window. The window is bounded in bytes too, by what the
link acknowledged lately, so that an alarm never waits behind more than about a second of history.
A link on which a confirmation stays away is taken for dead (a black hole closes no connection):
it is cut, and everything unconfirmed is sent again over the next one.
"""

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import aiomqtt

from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Stored
from gateway.service import end_tasks
from gateway.sinks.budget import Bucket, Budget, connect_bytes, ping_bytes, publish_bytes
from gateway.sinks.connection import connected
from gateway.sinks.formats import (
    HISTORY,
    LIVE,
    BatchFormat,
    Format,
    Message,
    alarm_message,
)
from gateway.sinks.messages import Messages
from gateway.sinks.outbox import Outbox
from gateway.sinks.plain import JsonFormat, SenmlFormat
from gateway.sinks.settings import MqttSettings

log = logging.getLogger("tukad.mqtt")

_WINDOW_BYTES = (4096, 1_000_000)
_SLOW_RATE = 1000  # bytes a second: what the slowest link worth having carries
_STATE, _BUDGET = "catalogue", "mqtt/budget"
_LOOK_S = 1.0  # so often is looked whether the budget allows more
_OVERHEAD = 7  # bytes of a QoS 1 PUBLISH besides topic and payload


@dataclass(slots=True)
class Counters:
    """Counted since the start; names are metric labels."""

    connects: int = 0
    failures: int = 0
    dead_links: int = 0
    messages: int = 0
    readings: int = 0  # confirmed
    alarms: int = 0  # confirmed
    bytes_alarm: int = 0
    bytes_live: int = 0
    bytes_history: int = 0
    bytes_other: int = 0


class MqttSink:
    """Delivers the ledger's readings and alarms to one of the brokers; a `gateway.model.Sink`."""

    def __init__(
        self,
        settings: MqttSettings,
        site: str,
        ledger: Ledger,
        urls: tuple[str, ...],
        intervals_s: dict[str, int],
        health: Callable[[], dict[str, Any]],
        messages: Messages | None = None,
        utc_offset_h: float = 0.0,
    ) -> None:
        self._settings = settings
        self._site = site
        self._ledger = ledger
        self._urls = urls
        self._health = health
        self._messages = messages or Messages(site)
        self.outbox = Outbox(ledger, self.name)
        self.counters = Counters()
        self.connected_to = ""
        self.last_error = ""
        self.budget = Budget(
            settings.budget_mb_month * 1_000_000,
            utc_offset_h,
            time.time(),
            ledger.call(lambda store: store.get_state(_BUDGET)),
            lambda state: ledger.write_soon(lambda store: store.set_state(_BUDGET, state)),
        )
        self._bucket = Bucket(settings.rate_bytes_s, time.monotonic())
        self._published_s = 0.0
        self._is_tls = False
        self._window_bytes = float(_WINDOW_BYTES[0])
        self._bytes_per_reading = 40.0
        self._under_way = 0  # messages
        self._under_way_bytes = 0
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None]
        self._format = self._make_format(intervals_s)

    def _make_format(self, intervals_s: dict[str, int]) -> Format:
        settings = self._settings
        if settings.format == "json":
            return JsonFormat(self._site, intervals_s, settings.home_assistant)
        if settings.format == "senml":
            return SenmlFormat(self._site, settings.payload_max)
        state = self._ledger.call(lambda store: store.get_state(_STATE))
        return BatchFormat(self._site, state, intervals_s, settings.payload_max)

    @property
    def name(self) -> str:
        """The key of the delivery state in the ledger."""
        return "mqtt"

    async def run(self) -> None:
        """Connect, deliver, and connect again, until cancelled."""
        pause_s = 0.25
        while True:
            for url in self._urls:
                started = time.monotonic()
                try:
                    await self._session(url)
                except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                    self._note_error(url, str(error) or type(error).__name__)
                finally:
                    self.connected_to = ""
                if time.monotonic() - started > 10:
                    pause_s = 0.25
                    break  # it worked for a while: begin with the first broker again
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(pause_s * 2, self._settings.reconnect_s_max)

    async def probe(self) -> str:
        """Connect once; returns "" or what is wrong with the last broker of the list."""
        wrong = ""
        for url in self._urls:
            try:
                async with self._connected(url, "-probe"):
                    return ""
            except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                wrong = f"{url}: {error}"
        return wrong

    async def drain(self, timeout_s: float) -> bool:
        """Wait until readings in memory, alarms and messages are confirmed, at most timeout_s."""
        deadline = time.monotonic() + timeout_s
        while not self._is_drained and time.monotonic() < deadline and self.connected_to:  # noqa: ASYNC110  any of four things may end it
            await asyncio.sleep(0.02)
        return self._is_drained

    @property
    def _is_drained(self) -> bool:
        return self.outbox.is_empty and self._messages.is_empty

    def _note_error(self, url: str, error: str) -> None:
        self.counters.failures += 1
        if error != self.last_error:
            log.warning("mqtt.link broker=%s error=%r; readings are kept", url, error)
        self.last_error = error

    # One connection

    def _connected(
        self, url: str, suffix: str = ""
    ) -> contextlib.AbstractAsyncContextManager[aiomqtt.Client]:
        will = None if suffix else aiomqtt.Will(f"tukad/{self._site}/online", b"0", 1, True)
        identifier = (self._settings.client_id or f"tukad-{self._site}") + suffix
        settings = self._settings
        self._is_tls = url.startswith("mqtts:")
        keepalive_s = self.budget.keepalive_s(settings.keepalive_s, is_tls=self._is_tls)
        if keepalive_s != settings.keepalive_s:
            settings = replace(settings, keepalive_s=keepalive_s)
        return connected(settings, url, identifier, will)

    async def _session(self, url: str) -> None:
        async with self._connected(url) as client:
            await self.outbox.reset()
            self.budget.note(connect_bytes(is_tls=self._is_tls), time.time())
            self._under_way = self._under_way_bytes = 0
            self._window_bytes = float(_WINDOW_BYTES[0])  # this link may be another one
            self._room.set()
            await self._publish(client, Message(f"tukad/{self._site}/online", b"1", retain=True))
            for message in self._format.introduce():
                await self._publish(client, message)
            if isinstance(self._format, BatchFormat):
                await client.subscribe(f"tukad/{self._site}/acknowledged", 1)
            for topic in self._messages.topics:
                await client.subscribe(topic, 1)
            self._messages.connected()
            self.connected_to = url
            self.last_error = ""
            self.counters.connects += 1
            log.info("mqtt.connected broker=%s", url)
            self._broken = asyncio.get_running_loop().create_future()
            for work in (
                self._watch(client),
                self._send_alarms(client),
                self._send_readings(client),
                self._send_health(client),
                self._send_messages(client),
                self._count_pings(),
            ):
                self._start(work)
            try:
                await self._broken
            except asyncio.CancelledError:
                # Stopping: say goodbye properly, the will is for accidents.
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.publish(f"tukad/{self._site}/online", b"0", 1, True, timeout=1)
                self.budget.save()
                raise
            finally:
                self.connected_to = ""
                self._messages.disconnected()
                await end_tasks(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """A task of this connection; its failure is the connection's."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def _watch(self, client: aiomqtt.Client) -> None:
        """Ends with an error when the connection does."""
        async for message in client.messages:
            self._note(str(message.topic), len(bytes(message.payload)))
            if self._messages.deliver(str(message.topic), bytes(message.payload)):
                continue
            if isinstance(self._format, BatchFormat):
                again = self._format.answered(bytes(message.payload))
                if again:
                    log.info("mqtt.again readings=%d; the city lost a reference", len(again))
                    await self.outbox.send_again(again)

    async def _send_alarms(self, client: aiomqtt.Client) -> None:
        while True:
            number, alarm = await self.outbox.next_alarm()
            message = alarm_message(self._site, alarm)
            await self._publish(client, message)
            self.outbox.alarm_done(number)
            self.counters.alarms += 1
            self.counters.bytes_alarm += _size(message)

    async def _send_health(self, client: aiomqtt.Client) -> None:
        while True:
            payload = json.dumps(self._health(), separators=(",", ":")).encode()
            message = Message(f"tukad/{self._site}/health", payload, retain=True)
            await self._publish(client, message)
            size = self._wire_bytes(message.topic, len(payload))
            await asyncio.sleep(self.budget.health_s(self._settings.health_s, size))

    async def _count_pings(self) -> None:
        """Nobody tells us of them: the client sends one when it had nothing else to say."""
        size = ping_bytes(is_tls=self._is_tls)
        period_s = self.budget.keepalive_s(self._settings.keepalive_s, is_tls=self._is_tls)
        while True:
            await asyncio.sleep(period_s)
            if time.monotonic() - self._published_s >= period_s:
                self.budget.note(size, time.time())

    async def _send_messages(self, client: aiomqtt.Client) -> None:
        while True:
            waiting = await self._messages.next()
            topic, payload, retain = waiting
            await self._publish(client, Message(topic, payload, retain=retain))
            self._messages.done(waiting)

    async def _send_readings(self, client: aiomqtt.Client) -> None:
        settings = self._settings
        while True:
            await self.outbox.wait()
            await self._linger()
            if self._under_way and 0 < self.outbox.live < settings.batch_max:
                # What comes while a message is under way goes together with the next one.
                self._room.clear()
                await self._room.wait()
            while self._is_full():
                self._room.clear()
                await self._room.wait()
            limit = min(
                settings.batch_max, max(1, int(self._window_bytes / 4 / self._bytes_per_reading))
            )
            if settings.rate_bytes_s:
                limit = min(limit, max(1, int(settings.rate_bytes_s / self._bytes_per_reading)))
            klass, stored = await self._take(limit)
            if stored:
                await self._send(client, klass, stored)

    async def _linger(self) -> None:
        """Let live readings gather, longer as the month's budget runs short."""
        if self._settings.linger_ms:
            await asyncio.sleep(self._settings.linger_ms / 1000)
        begun = time.monotonic()
        while time.monotonic() - begun < self.budget.linger_s(time.time()):  # noqa: ASYNC110  the time grants it
            await asyncio.sleep(_LOOK_S)

    async def _take(self, limit: int) -> tuple[str, list[Stored]]:
        """The next readings that the budget allows."""
        now_s = time.time()
        stored: list[Stored] = []
        if self.budget.allows_live(now_s):
            if self.budget.is_thinned(now_s):
                stored = self._newest_only(self.outbox.take_live(self.outbox.live))
            else:
                stored = self.outbox.take_live(limit)
        if stored:
            return LIVE, stored
        if self.budget.allows_history(now_s):
            return HISTORY, await self.outbox.take_history(limit)
        await asyncio.sleep(_LOOK_S)
        return HISTORY, []

    def _newest_only(self, live: list[Stored]) -> list[Stored]:
        """The newest reading of each stream; the others go as history when there is room."""
        newest = {(one.reading.device, one.reading.stream): one for one in live}
        kept = {one.id for one in newest.values()}
        others = [one.id for one in live if one.id not in kept]
        if others:
            self.outbox.put_off(others)
            self.budget.thinned += len(others)
        return list(newest.values())

    async def _send(self, client: aiomqtt.Client, klass: str, stored: list[Stored]) -> None:
        news = self._format.learn(stored)
        # The state is the whole catalogue as text: made only when it has changed.
        if news and (state := self._format.state) is not None:
            # Durable before it is used: a version never comes back with another meaning.
            await self._ledger.write(lambda store: store.set_state(_STATE, state))
        for message in news:
            await self._may_go(message)
            await self._publish(client, message)
        if len(stored) > 50:  # off the loop, so that alarms and polls do not wait for it
            messages = await asyncio.to_thread(self._format.messages, klass, stored)
        else:
            messages = self._format.messages(klass, stored)
        size = sum(len(message.payload) for message in messages)
        self._bytes_per_reading += 0.2 * (size / len(stored) - self._bytes_per_reading)
        for message in messages:
            while self._is_full():
                self._room.clear()
                await self._room.wait()
            await self._may_go(message)
            self._under_way += 1
            self._under_way_bytes += len(message.payload)
            self._start(self._deliver(client, klass, message))

    async def _may_go(self, message: Message) -> None:
        """Until the limit of bytes a second allows a message."""
        size = self._wire_bytes(message.topic, len(message.payload))
        while wait_s := self._bucket.wait_s(size, time.monotonic()):  # noqa: ASYNC110  the time grants it
            await asyncio.sleep(wait_s)
        self._bucket.take(size, time.monotonic())

    def _wire_bytes(self, topic: str, payload: int) -> int:
        is_v5 = self._settings.version == "5"
        return publish_bytes(topic, payload, is_tls=self._is_tls, is_v5=is_v5)

    def _note(self, topic: str, payload: int) -> int:
        """A message goes over the wire; returns its bytes there."""
        size = self._wire_bytes(topic, payload)
        self.budget.note(size, time.time())
        self._published_s = time.monotonic()
        return size

    def _is_full(self) -> bool:
        return (
            self._under_way >= self._settings.window or self._under_way_bytes >= self._window_bytes
        )

    async def _deliver(self, client: aiomqtt.Client, klass: str, message: Message) -> None:
        started = time.monotonic()
        await self._publish(client, message)
        self._under_way -= 1
        self._under_way_bytes -= len(message.payload)
        self._adapt(time.monotonic() - started)
        self._room.set()
        self.outbox.done(message.ids)
        self.counters.readings += len(message.ids)
        if klass == LIVE:
            self.counters.bytes_live += _size(message)
        else:
            self.counters.bytes_history += _size(message)

    def _adapt(self, took_s: float) -> None:
        """Keep about a second's worth of bytes under way; begin small, as the link is unknown."""
        low, high = _WINDOW_BYTES
        factor = 0.7 if took_s > 1.5 else 1.25 if took_s < 0.5 else 1.0
        self._window_bytes = min(max(self._window_bytes * factor, low), high)

    async def _publish(self, client: aiomqtt.Client, message: Message) -> None:
        """Publish and wait for the PUBACK. Raises MqttError when it stays away."""
        waiting = self._under_way_bytes + len(message.payload)
        timeout_s = self._settings.ack_timeout_s + waiting / _SLOW_RATE / 4
        self.counters.messages += 1
        size = self._note(message.topic, len(message.payload))
        if not message.ids:  # readings have asked before
            self._bucket.take(size, time.monotonic())
        try:
            await client.publish(
                message.topic, message.payload, 1, message.retain, timeout=timeout_s
            )
        except aiomqtt.MqttError as error:
            if "timed out" in str(error):
                self.counters.dead_links += 1
                raise aiomqtt.MqttError(f"no confirmation within {timeout_s:.1f} s") from None
            raise
        if not message.ids:
            self.counters.bytes_other += _size(message)


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic) + _OVERHEAD
