"""What a sink has to send and in which order: `Outbox`.

Three classes. Alarms wait for nothing. Live readings go as they come. History is what the ledger
still holds for this sink: it is read from the newest backwards, so that after an outage the city
first learns how things are, then how they came about. A reading is held from the moment it is
taken until it is confirmed (`done`) or the connection ends (`reset`); then the ledger has it again.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Stored
from gateway.model import LIVE, Alarm

_LIVE_MAX = 5000  # live readings kept in memory; beyond it the ledger serves them as history
_NEWEST = 1 << 62


class Outbox:
    """Order and bookkeeping of one sink's deliveries; all on the event loop."""

    def __init__(self, ledger: Ledger, sink: str) -> None:
        self._ledger = ledger
        self._sink = sink
        self._live: deque[Stored] = deque()
        self._held: set[int] = set()  # in `_live` or under way
        self._below: int | None = _NEWEST  # where history goes on; None: nothing is left
        self._alarms: deque[tuple[int, Alarm]] = deque()
        self._has_alarms = asyncio.Event()
        self._has_readings = asyncio.Event()
        self.unstored_alarms = 0

    # From the agent

    def offer(self, stored: Iterable[Stored]) -> None:
        """Readings that just became durable."""
        for one in stored:
            if one.reading.origin == LIVE:
                self._live.append(one)
                self._held.add(one.id)
            else:
                self._below = _NEWEST
        if len(self._live) > _LIVE_MAX:
            self._held.difference_update(one.id for one in self._live)
            self._live.clear()
            self._below = _NEWEST
        self._has_readings.set()

    def offer_alarm(self, number: int, alarm: Alarm) -> None:
        """An alarm, durable under its number; 0 when the disk took it not."""
        self._alarms.append((number, alarm))
        self._has_alarms.set()

    # From the sink

    async def reset(self) -> None:
        """A new connection: whatever is not confirmed is to be sent again."""
        self._live.clear()
        self._held.clear()
        self._below = _NEWEST
        unstored = [(number, alarm) for number, alarm in self._alarms if number == 0]
        waiting = await self._ledger.read(lambda store: store.take_alarms(self._sink, 1000))
        newer = [one for one in self._alarms if one[0] > max((n for n, _ in waiting), default=0)]
        self._alarms = deque([*unstored, *waiting, *newer])
        if self._alarms:
            self._has_alarms.set()
        self._has_readings.set()

    async def next_alarm(self) -> tuple[int, Alarm]:
        """The next alarm; stays first until `alarm_done`."""
        while not self._alarms:
            self._has_alarms.clear()
            await self._has_alarms.wait()
        return self._alarms[0]

    def alarm_done(self, number: int) -> None:
        """The alarm that `next_alarm` gave is confirmed."""
        self._alarms.popleft()
        if number:
            self._ledger.write_soon(lambda store: store.mark_alarm(self._sink, number))

    async def wait(self) -> None:
        """Until there may be readings to send, or `wake`."""
        if not self._live and self._below is None:
            self._has_readings.clear()
            await self._has_readings.wait()

    def wake(self) -> None:
        """End a `wait`."""
        self._has_readings.set()

    @property
    def live(self) -> int:
        """How many live readings wait."""
        return len(self._live)

    def take_live(self, limit: int) -> list[Stored]:
        """Live readings, oldest first."""
        return [self._live.popleft() for _ in range(min(limit, len(self._live)))]

    async def take_history(self, limit: int) -> list[Stored]:
        """The newest readings in the ledger that are neither confirmed nor held."""
        if self._below is None:
            return []
        below = self._below
        rows = await self._ledger.read(lambda store: store.take(self._sink, below, limit))
        if self._below != below:
            return []  # something came in between: ask again
        self._below = rows[-1].id if rows else None
        taken = [row for row in rows if row.id not in self._held]
        self._held.update(row.id for row in taken)
        return taken

    def put_off(self, ids: Sequence[int]) -> None:
        """Live readings that were taken and are to go as history instead, some day."""
        self._held.difference_update(ids)
        self._below = _NEWEST

    def done(self, ids: Sequence[int]) -> None:
        """The other side confirmed these readings."""
        self._held.difference_update(ids)
        self._ledger.write_soon(lambda store: store.mark(self._sink, ids))

    async def send_again(self, ids: Sequence[int]) -> None:
        """The other side lost these although it confirmed them: they count as never sent."""
        await self._ledger.write(lambda store: store.unmark(self._sink, ids))
        self._below = _NEWEST
        self._has_readings.set()

    def again(self) -> None:
        """Readings in the ledger changed, and count as never sent: look at them from the newest."""
        self._below = _NEWEST
        self._has_readings.set()

    @property
    def is_empty(self) -> bool:
        """Nothing waits in memory and nothing is under way (history may still be in the ledger)."""
        return not self._held and not self._alarms
