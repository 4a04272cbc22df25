"""The LoRaWAN network server, sans-IO: `NetworkServer`.

Datagrams and websocket messages in, with the time; out come datagrams, messages, deliveries for
the agent, reports on downlinks, and when `step` is due. Every call commits what it
changed before anything it returns may leave: device sessions are durable before an answer.

    out = server.feed_udp([(datagram, address), ...], now)
    out = server.feed_station(eui, text, now)
    out = server.delivered(inbox_id, now)      # the agent has the uplink
    out = server.step(now)                     # not later than the last out.deadline_ms
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.dedup import Collector, Heard
from gateway.lorawan.downlinks import Downlinks
from gateway.lorawan.joins import Joins
from gateway.lorawan.model import DownlinkReport, GatewayStatus, LorawanStatus
from gateway.lorawan.queues import Queues
from gateway.lorawan.radio import Instant, Outcome, RadioFrame
from gateway.lorawan.registry import Device
from gateway.lorawan.sessions import SessionStore, Undelivered
from gateway.lorawan.state import State
from gateway.lorawan.station import StationFrontEnd, StationOutput
from gateway.lorawan.transmit import Transmitter
from gateway.lorawan.udp import Address, FrontEndOutput, UdpFrontEnd
from gateway.lorawan.uplinks import Uplinks
from protocols.errors import LocalError, RemoteError
from protocols.lorawan import frames

TICK_MS = 1000  # expiry, class C and changes by the command line are looked at this often
_COUNTERS_MS = 60_000
_CLOCK_STEP_MS = 60_000  # the wall clock was set, not merely disciplined
_DATA_MAX = 242


@dataclass(slots=True)
class Output:
    """What a call returned; what it tells of is durable."""

    datagrams: list[tuple[bytes, Address]] = field(default_factory=list[tuple[bytes, Address]])
    messages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    deliveries: list[Undelivered] = field(default_factory=list[Undelivered])
    reports: list[DownlinkReport] = field(default_factory=list[DownlinkReport])
    deadline_ms: int = 0  # monotonic: when `step` is due


class NetworkServer:
    """One region, any number of gateways and devices, one thread at a time."""

    def __init__(
        self,
        config: LorawanConfig,
        store: SessionStore,
        entropy: Callable[[int], bytes],
        now: Instant,
    ) -> None:
        """`entropy(n)` returns n random bytes. Takes over what the store holds."""
        self._config = config
        self._store = store
        self._state = State(config, store, entropy)
        queues = self._queues = Queues(self._state)
        self._transmitter = Transmitter(self._state, queues)
        self._downlinks = Downlinks(self._state, queues, self._transmitter)
        self._joins = Joins(self._state, self._downlinks)
        self._uplinks = Uplinks(self._state, self._downlinks, queues)
        self._collector = Collector(config.dedup_ms)
        token = int.from_bytes(entropy(2), "big")
        self._udp = UdpFrontEnd(config.gateways, config.antenna_gain_dbi, token)
        self._station = StationFrontEnd(config, self._state.plan)
        self._tick_ms = now.mono_ms
        self._tended_ms = now.mono_ms  # when class C devices were last looked at
        self._seen = now  # when the wall clock was last compared
        self._counters_ms = now.mono_ms
        self._saved_counters: dict[str, int] = store.counters()
        store.changed()
        self._load()

    def _load(self) -> None:
        self._state.registry.load(
            self._store.devices(), self._store.sessions(), self._store.queue()
        )

    # -- in

    def start(self, now: Instant) -> Output:
        """Once, before anything else: uplinks that the agent had not confirmed come again."""
        out = Output()
        for waiting in self._store.inbox():
            uplink = replace(waiting.uplink, again=True)
            device = self._state.registry.get(uplink.dev_eui)
            if device is not None:
                device.undelivered = (uplink.session, uplink.f_cnt, waiting.id)
                self._state.undelivered[waiting.id] = device
            out.deliveries.append(Undelivered(waiting.id, uplink))
        self._end(out, now)
        return out

    def feed_udp(self, datagrams: Iterable[tuple[bytes, Address]], now: Instant) -> Output:
        """Datagrams of packet forwarders, as many as have arrived: one commit for all."""
        out = Output()
        for datagram, address in datagrams:
            self._front(self._udp.feed(datagram, address, now), out, now)
        return self._end(out, now)

    def connect_station(self, eui: str, now: Instant) -> bool:
        """A station's websocket opened; False if it is to be closed."""
        return self._station.connect(eui, now)

    def disconnect_station(self, eui: str) -> None:
        """A station's websocket closed."""
        self._station.disconnect(eui)

    def feed_station(self, eui: str, message: str | bytes, now: Instant) -> Output:
        """One websocket message of a station."""
        out = Output()
        self._front(self._station.feed(eui, message, now), out, now)
        return self._end(out, now)

    def delivered(self, inbox: int, now: Instant) -> Output:
        """The agent has an uplink durably: what waits for it may leave."""
        self._set_online(now)
        device = self._state.undelivered.pop(inbox, None)
        if device is not None and device.undelivered is not None and device.undelivered[2] == inbox:
            device.undelivered = None
        self._state.confirmed.append(inbox)
        self._guard(lambda: self._downlinks.delivered(inbox, now))
        return self._end(Output(), now)

    def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        confirmed: bool,
        expiry_s: float,
        now: Instant,
    ) -> tuple[int, Output]:
        """Queue a downlink; see `service.NetworkServerService.queue_downlink` for the errors."""
        found = self._state.registry.find(device)
        if found is None:
            raise KeyError(device)
        if not 1 <= f_port <= 223:
            raise LocalError("range", f"f_port {f_port} is outside 1..223")
        if len(data) > _DATA_MAX:
            raise LocalError("range", f"{len(data)} bytes, at most {_DATA_MAX}")
        if len(found.queue) >= self._config.queue_limit:
            raise LocalError("queue_full", f"{len(found.queue)} downlinks wait for {device}")
        self._guard(lambda: self._follow_clock(now))
        try:
            item = self._store.put_downlink(
                found.record.dev_eui, f_port, data, confirmed, now.unix_ms + int(expiry_s * 1000)
            )
        except sqlite3.Error as error:
            self._state.failed(error)
            raise LocalError("store", "the queue could not be written") from error
        self._state.set_queue(found, [*found.queue, item])
        self._set_online(now)
        self._guard(lambda: self._downlinks.tend(found, now))
        out = self._end(Output(), now)
        if all(one.id != item.id for one in found.queue) and not out.reports:
            raise LocalError("store", "the queue could not be written")
        return item.id, out

    def step(self, now: Instant) -> Output:
        """Everything that is due."""
        out = Output()
        self._front(self._udp.step(now), out, now)
        self._front(self._station.step(now), out, now)
        self._set_online(now)
        for heard in self._collector.due(now):
            self._heard(heard, now)
        self._guard(lambda: self._downlinks.step(now))
        for device in self._class_c(self._tended_ms):
            if device.free_ms <= now.mono_ms:
                self._guard(lambda device=device: self._downlinks.tend(device, now))
        self._tended_ms = now.mono_ms
        if now.mono_ms >= self._tick_ms:
            self._tick_ms = now.mono_ms + TICK_MS
            self._guard(lambda: self._tick(now))
        return self._end(out, now)

    def _class_c(self, after_ms: int) -> list[Device]:
        """Class C devices with downlinks that may leave at a moment later than `after_ms`."""
        return [
            one
            for one in self._state.registry
            if one.queue and one.record.device_class == "C" and one.free_ms > after_ms
        ]

    def _deadline_ms(self) -> int:
        times = (
            min((one.free_ms for one in self._class_c(self._tended_ms)), default=None),
            self._collector.deadline_ms(),
            self._downlinks.deadline_ms(),
            self._udp.deadline_ms(),
            self._station.deadline_ms(),
            self._tick_ms,
        )
        return min(time for time in times if time is not None)

    # -- within

    def _set_online(self, now: Instant) -> None:
        self._state.online = frozenset(
            [eui for eui in self._udp.gateways if self._udp.is_online(eui, now)]
            + [eui for eui in self._station.gateways if self._station.is_online(eui)]
        )

    def _guard(self, call: Callable[[], None]) -> None:
        """Run a part; if the store fails, the batch is undone and nothing of it leaves."""
        try:
            call()
        except sqlite3.Error as error:
            self._state.failed(error)
        except BaseException:
            self._state.abort()  # a bug: it ends this run, but must not leave half a batch
            raise

    def _front(self, got: FrontEndOutput | StationOutput, out: Output, now: Instant) -> None:
        if isinstance(got, FrontEndOutput):
            out.datagrams += got.datagrams
        else:
            out.messages += got.messages
        if got.frames or got.outcomes:
            self._set_online(now)
        for outcome in got.outcomes:
            self._outcome(outcome, now)
        for frame in got.frames:
            self._radio(frame, now)

    def _outcome(self, outcome: Outcome, now: Instant) -> None:
        self._guard(lambda: self._transmitter.outcome(outcome, now))

    def _radio(self, frame: RadioFrame, now: Instant) -> None:
        self._state.counters["frames_heard"] += 1
        heard = self._collector.add(frame, now, self._state.online)
        if heard is not None:
            self._heard(heard, now)

    def _heard(self, heard: Heard, now: Instant) -> None:
        """One transmission with all its copies."""
        counters, phy = self._state.counters, heard.phy
        try:
            kind = frames.frame_type(phy, len(phy))
        except RemoteError as error:
            counters[f"up_{error.code}"] += 1
            return
        if kind == frames.JOIN_REQUEST:
            self._guard(lambda: self._joins.take(heard, now))
        elif kind in (frames.UNCONFIRMED_UP, frames.CONFIRMED_UP):
            self._guard(lambda: self._uplinks.take(heard, now))
        else:
            counters["foreign_type"] += 1

    def _tick(self, now: Instant) -> None:
        if not self._store.is_dirty and self._store.changed():
            self._load()
        self._follow_clock(now)
        for device in self._state.registry:
            if device.queue:
                self._downlinks.tend(device, now)
        if now.mono_ms >= self._counters_ms:
            self._counters_ms = now.mono_ms + _COUNTERS_MS
            self._save_counters()

    def _follow_clock(self, now: Instant) -> None:
        """A Pi has no clock of its own: it starts in the past until the network tells the time."""
        step_ms = now.unix_ms - self._seen.unix_ms - (now.mono_ms - self._seen.mono_ms)
        self._seen = now
        if abs(step_ms) >= _CLOCK_STEP_MS:
            for device in self._state.registry:
                self._queues.follow_clock(device, step_ms)

    def _save_counters(self) -> None:
        counters = dict(self.counters())
        if counters != self._saved_counters or self._state.confirmed:
            self._store.save_counters(counters)
            self._saved_counters = counters

    def _end(self, out: Output, now: Instant) -> Output:
        """Commit, then start the transmissions that the commit allows."""
        got = self._state.flush()
        out.deliveries += got.deliveries
        out.reports += got.reports
        if not got.transmissions:
            out.deadline_ms = self._deadline_ms()
            return out
        for transmission in got.transmissions:
            if transmission.gateway in self._udp.gateways:
                self._front(self._udp.transmit(transmission, now), out, now)
            else:
                self._front(self._station.transmit(transmission, now), out, now)
        return self._end(out, now)  # an outcome known at once may have changed something

    # -- status

    def counters(self) -> Counter[str]:
        """All counters of all parts."""
        state = self._state
        total = Counter(state.counters)
        total.update(self._udp.counters)
        total.update(self._station.counters)
        total["copies_late"] = self._collector.late
        total["copies_dropped"] = self._collector.dropped
        return total

    def status(self, now: Instant) -> LorawanStatus:
        """Health, for the agent."""
        used = self._state.budget.used_percent
        gateways: list[GatewayStatus] = []
        for udp in self._udp.gateways.values():
            gateways.append(
                GatewayStatus(
                    udp.eui,
                    "udp",
                    self._udp.is_online(udp.eui, now),
                    udp.seen.unix_ms,
                    udp.frames_up,
                    udp.frames_down,
                    udp.tx_errors,
                    used(udp.eui, now.mono_ms),
                )
            )
        for station in self._station.gateways.values():
            gateways.append(
                GatewayStatus(
                    station.eui,
                    "station",
                    self._station.is_online(station.eui),
                    station.seen.unix_ms,
                    station.frames_up,
                    station.frames_down,
                    station.tx_errors,
                    used(station.eui, now.mono_ms),
                )
            )
        return LorawanStatus(
            server="embedded",
            is_up=any(one.is_online for one in gateways),
            gateways=tuple(gateways),
            counters=dict(self.counters()),
            devices=len(self._state.registry),
            undelivered=len(self._state.undelivered),
        )

    def close(self) -> None:
        """Write what may be lost at a crash but need not be now: counters, delivered marks."""
        self._guard(self._save_counters)
        self._state.flush()
