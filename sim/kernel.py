"""Virtual time: one heap of events in whole microseconds, named random streams, a trace.

Public: `Simulation` (`now_us`, `at`, `after`, `cancel`, `run_until`, `next_us`, `rng`, `record`),
`Event`, `Trace`, `SECOND`, `MINUTE`, `HOUR`, `DAY` (microseconds).

The same seed gives the same trace, byte for byte: events at one time run in the order in which
they were added, every user of chance has a stream of its own named after it (so that adding a
user changes no other), and nothing here or above reads a clock. Pacing to the wall clock is the
harness's business (`hil/pace.py`).
"""

import hashlib
import heapq
import json
import random
from collections.abc import Callable
from typing import Any

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Event:
    """Something that will happen at `time_us`; falsy `alive` once it ran or was cancelled."""

    __slots__ = ("_args", "_call", "_order", "alive", "time_us")

    def __init__(self, time_us: int, order: int, call: Callable[..., object], args: Any) -> None:
        self.time_us = time_us
        self.alive = True
        self._order = order
        self._call = call
        self._args = args

    def __lt__(self, other: "Event") -> bool:
        if self.time_us != other.time_us:
            return self.time_us < other.time_us
        return self._order < other._order

    def run(self) -> None:
        """Run it once; a cancelled event does nothing."""
        if self.alive:
            self.alive = False
            self._call(*self._args)


class Trace:
    """What happened, as (time_us, who, what, fields), hashed as it grows.

    `keep` bounds what stays in memory (None: everything); the hash covers all. A `sink` gets each
    record as one JSON line.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.records: list[tuple[int, str, str, dict[str, object]]] = []
        self.count = 0
        self.sink: Callable[[str], object] | None = None
        self._keep = keep
        self._hash = hashlib.sha256()

    def add(self, time_us: int, who: str, what: str, fields: dict[str, object]) -> None:
        """Append one record; `bytes` values become hexadecimal."""
        line = json.dumps(
            [time_us, who, what, fields], separators=(",", ":"), sort_keys=True, default=_jsonable
        )
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.count += 1
        self.records.append((time_us, who, what, fields))
        if self._keep is not None and len(self.records) > 2 * self._keep:
            del self.records[: -self._keep]
        if self.sink:
            self.sink(line)

    def find(self, what: str, who: str | None = None) -> list[tuple[int, str, dict[str, object]]]:
        """The kept records named `what` (of `who`), as (time_us, who, fields)."""
        return [
            (t, name, fields)
            for t, name, kind, fields in self.records
            if kind == what and (who is None or name == who)
        ]

    def digest(self) -> str:
        """SHA-256 of all records so far, hexadecimal."""
        return self._hash.hexdigest()


def _jsonable(value: object) -> object:
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    raise TypeError(f"{type(value).__name__} does not belong in a trace")


class Simulation:
    """The one clock and the one heap of a simulated world.

    `seed` is any integer; `rng(name)` gives each user its own generator derived from both.
    """

    def __init__(self, seed: int = 1, trace: Trace | None = None) -> None:
        self.seed = seed
        self.now_us = 0
        self.trace = trace or Trace()
        self.faults: list[tuple[int, str, str]] = []
        self._heap: list[Event] = []
        self._order = 0
        self._streams: dict[str, random.Random] = {}

    def rng(self, name: str) -> random.Random:
        """The generator called `name`: the same object each time, seeded by (seed, name)."""
        stream = self._streams.get(name)
        if stream is None:
            digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            stream = self._streams[name] = random.Random(int.from_bytes(digest[:16], "big"))
        return stream

    def at(self, time_us: int, call: Callable[..., object], *args: Any) -> Event:
        """Call `call(*args)` at `time_us`; a time in the past means now, after what is queued."""
        self._order += 1
        event = Event(max(time_us, self.now_us), self._order, call, args)
        heapq.heappush(self._heap, event)
        return event

    def after(self, delay_us: int, call: Callable[..., object], *args: Any) -> Event:
        """Call `call(*args)` `delay_us` from now."""
        return self.at(self.now_us + delay_us, call, *args)

    def cancel(self, event: "Event | None") -> None:
        """Make `event` do nothing; None and past events are ignored."""
        if event is not None:
            event.alive = False

    def next_us(self) -> int | None:
        """When the next live event is due, or None."""
        heap = self._heap
        while heap and not heap[0].alive:
            heapq.heappop(heap)
        return heap[0].time_us if heap else None

    def advance(self, delay_us: int, limit_us: int) -> bool:
        """Move the clock by `delay_us` when nothing is due up to then and `limit_us` is not passed.

        A cheap path for a caller that is itself running: False means "use `after` instead".
        """
        target = self.now_us + delay_us
        if target > limit_us:
            return False
        due = self.next_us()
        if due is not None and due <= target:
            return False
        self.now_us = target
        return True

    def run_until(self, time_us: int) -> None:
        """Run every event up to and with `time_us`; then it is `time_us`."""
        self.limit_us = time_us
        heap = self._heap
        while heap and heap[0].time_us <= time_us:
            event = heapq.heappop(heap)
            if event.alive:
                self.now_us = max(self.now_us, event.time_us)
                event.run()
        self.now_us = max(self.now_us, time_us)

    limit_us = 0  # how far `run_until` may go; a running event may `advance` up to here

    def record(self, who: str, what: str, **fields: object) -> None:
        """Add to the trace at the present time."""
        self.trace.add(self.now_us, who, what, fields)

    def fault(self, who: str, what: str, **fields: object) -> None:
        """Record a wrong use of the simulated hardware; tests assert that `faults` is empty."""
        self.faults.append((self.now_us, who, what))
        self.trace.add(self.now_us, who, "fault." + what, fields)
