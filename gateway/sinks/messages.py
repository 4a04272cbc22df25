"""Small MQTT messages of other parts: `Messages`, on the connection that the MQTT sink keeps.

Topics are given below tukad/SITE/. What is published waits for the connection in a bounded queue,
QoS 1; of retained messages only the newest of a topic is kept and it is sent on every connection.
What must survive a restart belongs in the ledger, not here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

log = logging.getLogger("tukad.mqtt")

_WAITING_MAX = 1000

Handler = Callable[[str, bytes], None]  # topic below tukad/SITE/, payload


class Messages:
    """A queue out and a table of subscriptions in; all on the event loop."""

    def __init__(self, site: str) -> None:
        self.prefix = f"tukad/{site}/"
        self._waiting: deque[tuple[str, bytes, bool]] = deque()
        self._retained: dict[str, bytes] = {}
        self._has_waiting = asyncio.Event()
        self._handlers: dict[str, Handler] = {}
        self.is_connected = False
        self.dropped = 0  # for want of room

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send soon. The oldest unretained message gives way when the queue is full."""
        if retain:
            self._retained[topic] = payload
        self._waiting.append((topic, payload, retain))
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1
        self._has_waiting.set()

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler` for messages on a topic; it ends with "/#" to mean all below it.

        Call it before the sink connects. A handler that raises is logged, and nothing stops.
        """
        self._handlers[topic] = handler

    # For the sink

    @property
    def is_empty(self) -> bool:
        """Nothing waits."""
        return not self._waiting

    @property
    def topics(self) -> list[str]:
        """What to subscribe to, in full."""
        return [self.prefix + topic for topic in self._handlers]

    def connected(self) -> None:
        """A new connection: retained messages are sent again."""
        self.is_connected = True
        fresh = [one for one in self._waiting if not one[2]]
        self._waiting = deque([(t, p, True) for t, p in self._retained.items()] + fresh)
        if self._waiting:
            self._has_waiting.set()

    def disconnected(self) -> None:
        """The connection ended."""
        self.is_connected = False

    async def next(self) -> tuple[str, bytes, bool]:
        """The next message as (full topic, payload, retain); stays first until `done`."""
        while not self._waiting:
            self._has_waiting.clear()
            await self._has_waiting.wait()
        topic, payload, retain = self._waiting[0]
        return self.prefix + topic, payload, retain

    def done(self, sent: tuple[str, bytes, bool]) -> None:
        """What `next` gave is confirmed."""
        topic, payload, retain = sent
        if self._waiting and self._waiting[0] == (topic.removeprefix(self.prefix), payload, retain):
            self._waiting.popleft()

    def deliver(self, topic: str, payload: bytes) -> bool:
        """Hand a message to its handler; False if nobody subscribed to it."""
        short = topic.removeprefix(self.prefix)
        handler = self._handlers.get(short)
        if handler is None:
            for wanted, one in self._handlers.items():
                if wanted.endswith("/#") and short.startswith(wanted[:-1]):
                    handler = one
        if handler is None:
            return False
        try:
            handler(short, payload)
        except Exception:
            log.exception("message.failed topic=%s bytes=%d", topic, len(payload))
        return True
