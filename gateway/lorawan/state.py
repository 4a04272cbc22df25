"""What the parts of the network server share while it runs: `State`, `Answer`, `CoreOutput`.

Everything that a batch of frames changes in memory is noted with how to undo it, and what should
leave is held back until the store has committed: `State.flush`. If the store fails, memory goes
back to what the disk says and nothing leaves.
"""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.dedup import Heard
from gateway.lorawan.duty import AirtimeBudget
from gateway.lorawan.model import DownlinkReport
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import Instant, RadioFrame, Transmission, Window
from gateway.lorawan.records import Queued, Session
from gateway.lorawan.registry import Device, Registry
from gateway.lorawan.sessions import SessionStore, Undelivered

log = logging.getLogger("tukad.lorawan")


@dataclass(slots=True)
class Answer:
    """A class A answer that is not decided yet."""

    id: int
    device: Device
    session: int  # number
    heard: Heard
    ranked: list[RadioFrame]  # best gateway first
    f_cnt: int
    is_confirmed: bool
    wants_answer: bool  # ADRACKReq: any downlink will do
    commands: list[bytes]  # MAC answers to send
    inbox: int | None  # the uplink that must be delivered first
    rx1_delay_ms: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame to be sent: its windows and the gateways that may send it, best first."""

    device: Device
    phy: bytes
    windows: list[Window]
    ranked: list[RadioFrame]
    first_ms: int  # when the uplink came; for class C now
    what: str  # accept, answer, class_c, retry: for the log and the counters
    is_urgent: bool = True
    f_cnt: int = -1
    item: Queued | None = None


@dataclass(slots=True)
class InFlight:
    """A transmission whose outcome is not known yet."""

    transmission: Transmission
    outgoing: Outgoing  # with the gateways not tried yet
    spent_hz: int
    spent_us: int


@dataclass(slots=True)
class CoreOutput:
    """What leaves after a commit."""

    transmissions: list[Transmission] = field(default_factory=list[Transmission])
    deliveries: list[Undelivered] = field(default_factory=list[Undelivered])
    reports: list[DownlinkReport] = field(default_factory=list[DownlinkReport])


class State:
    """Shared by the join, uplink and downlink parts; no behaviour but the batch."""

    def __init__(
        self, config: LorawanConfig, store: SessionStore, entropy: Callable[[int], bytes]
    ) -> None:
        self.config = config
        self.store = store
        self.entropy = entropy
        self.plan = RadioPlan(config)
        self.budget = AirtimeBudget(tuple(self.plan.region.duty), config.duty_percent)
        self.registry = Registry()
        self.counters: Counter[str] = Counter()
        self.online: frozenset[str] = frozenset()  # set by the server before each call
        self.answers: dict[int, Answer] = {}
        self.waiting: dict[int, list[int]] = {}  # inbox id -> answers that wait for its delivery
        self.flights: dict[int, InFlight] = {}
        self.undelivered: dict[int, Device] = {}  # inbox ids that the agent has not confirmed
        self.confirmed: list[int] = []  # delivered inbox ids, deleted with the next commit
        self.out = CoreOutput()
        self._undo: list[Callable[[], None]] = []
        self._number = 0

    def number(self) -> int:
        """A number for an answer or a transmission."""
        self._number += 1
        return self._number

    def on_undo(self, call: Callable[[], None]) -> None:
        """Call this if the batch fails."""
        self._undo.append(call)

    def set_sessions(self, device: Device, current: Session | None, newest: Session | None) -> None:
        """Change a device's sessions in memory; the caller has written them to the store."""
        before = (device.current, device.newest)
        self._undo.append(lambda: self.registry.set_sessions(device, *before))
        self.registry.set_sessions(device, current, newest)

    def save_session(self, device: Device, session: Session) -> None:
        """Write a changed session and let it take effect."""
        self.store.save_session(session)
        if device.current is not None and device.current.number == session.number:
            before = device.current
            self._undo.append(lambda: setattr(device, "current", before))
            device.current = session
        else:
            self.set_sessions(device, device.current, session)

    def forget_delivery(self, inbox: int) -> None:
        """An uplink does not count as accepted after all."""
        self.undelivered.pop(inbox, None)

    def set_queue(self, device: Device, queue: list[Queued]) -> None:
        """Change a device's queue in memory; the caller has written it to the store."""
        before = device.queue
        self._undo.append(lambda: setattr(device, "queue", before))
        device.queue = queue

    def flush(self) -> CoreOutput:
        """Commit, then hand out what may leave now; nothing if the store failed."""
        try:
            if self.store.is_dirty and self.confirmed:
                self.store.take_inbox(self.confirmed)
            if self.store.is_dirty:
                self.store.commit()
                self.confirmed.clear()
        except sqlite3.Error as error:
            self.failed(error)
        self._undo.clear()
        out, self.out = self.out, CoreOutput()
        return out

    def failed(self, error: sqlite3.Error) -> None:
        """Undo the batch: the store could not keep it."""
        if not self.counters["store_failed"]:
            log.error("lorawan.store_failed error=%s frames are not answered until it works", error)
        self.counters["store_failed"] += 1
        self.abort()

    def abort(self) -> None:
        """Forget the batch, on disk and in memory; nothing of it leaves."""
        try:
            self.store.rollback()
        except sqlite3.Error:
            self.counters["store_rollback_failed"] += 1
        for call in reversed(self._undo):
            call()
        self._undo.clear()
        self.out = CoreOutput()


def due_ms(answer: Answer, window: int, lead_ms: int) -> int:
    """The last moment (mono) to send an answer for RX1 (`window` 0) or RX2 (1)."""
    return answer.heard.first.mono_ms + answer.rx1_delay_ms + window * 1000 - lead_ms


def usable(windows: list[Window], first_ms: int, now: Instant, lead_ms: int) -> list[Window]:
    """The windows that a transmission sent now still reaches."""
    return [one for one in windows if now.mono_ms <= first_ms + one.delay_s * 1000 - lead_ms]
