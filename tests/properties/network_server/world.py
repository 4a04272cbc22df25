"""Both ends on one air, in virtual time: real `Device`s, a lossy channel, the real server.

Everything is decided by the `Faults` and one seed. After every event the laws are checked:

- a frame counter, DevNonce or JoinNonce is never used twice, by either side;
- what the agent gets was sent, and is got once (again only after a crash, and said so);
- a device is told "acknowledged" only for what the agent has;
- a power cut at any write loses none of this.
"""

import base64
import heapq
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.keys import AesBlock
from gateway.lorawan.radio import Instant
from gateway.lorawan.server import Output
from gateway.lorawan.sessions import Undelivered
from protocols.lorawan import frames
from protocols.lorawan.airtime import airtime_us, symbol_us
from protocols.lorawan.crypto import BlockKey
from protocols.lorawan.device import (
    EV_ACK,
    EV_DOWNLINK,
    EV_NO_ACK,
    OP_NONE,
    OP_RX,
    OP_SLEEP,
    OP_TX,
    Device,
    Keys,
    Settings,
)
from protocols.lorawan.regions import region
from tests.gateway.lorawan.ends import JOIN_EUI, EndDevice, Site

_TICKS = 1 << 30


class PowerCutError(Exception):
    """The device lost its power inside a write."""


@dataclass
class Faults:
    """What is wrong with the world at the moment; all off by default."""

    up_loss: float = 0.0  # per gateway
    down_loss: float = 0.0
    datagram_loss: float = 0.0
    duplicate: float = 0.0  # of datagrams
    delay_ms: int = 0  # of datagrams, at most; more than the others' makes reordering
    refuse: float = 0.0  # of PULL_RESP, by TX_ACK
    early_late_ms: int = 0  # the device's windows, either way
    cut_on_save: float = 0.0  # of the device's writes, half before and half after they are done
    deliver_ms: int = 5  # how long the agent takes, at most
    deliver_fails: float = 0.0  # how often it fails and is asked again a second later


class DeviceStore:
    """The device's flash: one record, whole or not at all."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.record: bytes | None = None

    def load(self) -> bytes | None:
        return self.record

    def save(self, buf: bytearray) -> None:
        chance = self._world.random.random()
        limit = self._world.faults.cut_on_save
        if chance < limit / 2:
            raise PowerCutError
        self.record = bytes(buf)
        if chance < limit:
            raise PowerCutError


class Node:
    """One device with its radio."""

    def __init__(self, world: "World", index: int, device_class: str = "A") -> None:
        self.world = world
        self.end = EndDevice(index, device_class=device_class)
        self.store = DeviceStore(world)
        self.keys = Keys(bytes.fromhex(self.end.dev_eui), bytes.fromhex(JOIN_EUI), self.end.key)
        self.settings = Settings()
        self.settings.class_c = device_class == "C"
        self.settings.confirmed_trials = 4
        # Close to the wrap of the ticks, so that it happens in every run.
        self.tick_offset = _TICKS - 60_000 - world.now_ms + world.random.randrange(50_000)
        self.life = 0
        self.events: list[int] = []
        self.downlinks: list[bytes] = []
        self.pending: bytes | None = None  # the confirmed payload on its way
        self.acked: set[bytes] = set()
        self.sequence = itertools.count()
        self.boot()

    def boot(self) -> None:
        """Power on; also after a power cut."""
        self.life += 1
        self.pending = None
        self.listening: tuple[int, int, int, int] | None = None  # freq, sf, bw, until (-1: always)
        self.open_ms = 0
        self.receiving = 0
        self.device = Device(
            region(self.world.config.region),
            AesBlock,
            self.store,
            lambda: self.world.random.getrandbits(30),
            self.keys,
            self.settings,
        )
        self.woken_ms = -1
        self.call(lambda _now: None)

    def ticks(self) -> int:
        return (self.world.now_ms + self.tick_offset) % _TICKS

    def call(self, function: Callable[[int], Any]) -> Any:
        """Do something to the device, then let it run; a power cut inside boots it again."""
        try:
            result = function(self.ticks())
            self._run()
        except PowerCutError:
            self.world.counts["device_cut"] += 1
            self.world.later(1000, self.life, self, self.boot)
            self.life += 1  # nothing that was planned for this life happens
            self.listening = None
            return None
        return result

    def _run(self) -> None:
        device = self.device
        while True:
            op = device.step(self.ticks())
            if op == OP_NONE:
                break
            if op == OP_TX:
                self._transmit()
            elif op == OP_RX:
                self._listen()
            elif op == OP_SLEEP:
                self.listening = None
        while (event := device.next_event()) is not None:
            self.events.append(event.kind)
            if event.kind == EV_DOWNLINK:
                self.downlinks.append(bytes(device.data[: event.length]))
            elif event.kind == EV_ACK:
                self.world.acked(self)
            elif event.kind == EV_NO_ACK:
                self.pending = None
        if device.has_deadline:
            wait = (device.deadline_ms - self.ticks() + _TICKS // 2) % _TICKS - _TICKS // 2
            due = self.world.now_ms + max(wait, 0)
            if due != self.woken_ms:
                self.woken_ms = due
                self.world.later(max(wait, 0), self.life, self, self._wake)

    def _wake(self) -> None:
        self.woken_ms = -1
        self.call(lambda _now: None)

    def _transmit(self) -> None:
        radio = self.device.radio
        self.listening = None
        phy = bytes(radio.tx_buf[: radio.tx_len])
        air_ms = -(-airtime_us(radio.sf, radio.bw_hz, len(phy)) // 1000)
        self.world.uplink(self, phy, radio.freq_hz, radio.sf, radio.bw_hz, air_ms)
        self.world.later(air_ms, self.life, self, self._sent)

    def _sent(self) -> None:
        slip = self.world.faults.early_late_ms
        error = self.world.random.randint(-slip, slip) if slip else 0
        self.call(lambda now: self.device.tx_done((now + error) % _TICKS))

    def _listen(self) -> None:
        radio = self.device.radio
        self.open_ms = self.world.now_ms
        if radio.is_continuous:
            self.listening = (radio.freq_hz, radio.sf, radio.bw_hz, -1)
            self.world.catch(self)
            return
        window_us = radio.symbol_timeout * symbol_us(radio.sf, radio.bw_hz)
        until = self.world.now_ms + -(-window_us // 1000)
        self.listening = (radio.freq_hz, radio.sf, radio.bw_hz, until)
        mine = self.listening
        self.world.later(until - self.world.now_ms, self.life, self, lambda: self._silent(mine))
        self.world.catch(self)

    def _silent(self, window: tuple[int, int, int, int]) -> None:
        if self.listening == window and not self.receiving:
            self.listening = None
            self.call(lambda _now: self.device.rx_timeout(self.ticks()))

    def hears(self, freq_hz: int, sf: int, bw_hz: int) -> bool:
        """Whether a preamble that starts now is caught."""
        if self.listening is None or self.listening[:3] != (freq_hz, sf, bw_hz):
            return False
        return not self.receiving

    def begin(self, phy: bytes, air_ms: int) -> None:
        """A downlink's preamble was caught."""
        self.receiving += 1
        self.world.later(air_ms, self.life, self, lambda: self._received(phy))
        life = self.life
        self.world.at(air_ms, lambda: self._end(life))

    def _end(self, life: int) -> None:
        if self.receiving and life == self.life:
            self.receiving = 0

    def _received(self, phy: bytes) -> None:
        self.receiving = 0
        is_continuous = self.listening is not None and self.listening[3] < 0
        if not is_continuous:
            self.listening = None
        if self.world.random.random() < self.world.faults.down_loss:
            if not is_continuous:
                self.call(lambda _now: self.device.rx_timeout(self.ticks()))
            return

        def deliver(now: int) -> None:
            self.device.rx_buf[: len(phy)] = phy
            self.device.rx_done(len(phy), -90, 20, now)

        self.call(deliver)

    def send(self, confirmed: bool) -> bool:
        """Ask the device for an uplink with a payload that never was before."""
        payload = f"{self.end.dev_eui[-2:]}{next(self.sequence):x}".encode()[:11]

        def go(now: int) -> bool:
            return self.device.send(1, payload, len(payload), confirmed, now)

        # Before the call: a power cut inside it may leave a frame on the air.
        self.world.sent_payloads.add((self.end.dev_eui, payload))
        if self.call(go):
            self.world.queued += 1
            self.pending = payload if confirmed else None
            return True
        return False


@dataclass(order=True)
class _Due:
    at_ms: int
    number: int
    call: Callable[[], None] = field(compare=False)


class World(Site):
    """The network with its devices and their air."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        nodes: int = 2,
        gateways: tuple[str, ...] = ("a840411b7c3d4150", "a840411b7c3d4151"),
        config: LorawanConfig | None = None,
    ) -> None:
        self.faults = Faults()
        self.nodes: list[Node] = []
        self._due: list[_Due] = []
        self._numbers = itertools.count()
        self.queued = 0  # payloads that a device took
        self.sent_payloads: set[tuple[str, bytes]] = set()
        self.delivered_payloads: set[tuple[str, bytes]] = set()
        self.accepted: set[tuple[str, int, int]] = set()
        self.up_frames: dict[tuple[bytes, bytes], bytes] = {}
        self.down_frames: dict[tuple[int, int, bytes], bytes] = {}
        self.accepts: dict[tuple[str, int], bytes] = {}
        # (last moment to catch it, end, frequency, SF, bandwidth, frame)
        self.preambles: list[tuple[int, int, int, int, int, bytes]] = []
        self.planned: dict[str, list[tuple[int, int]]] = {}
        self.captured: list[tuple[bytes, int, int, int]] = []
        self.counts: dict[str, int] = dict.fromkeys(
            ("device_cut", "server_cut", "refused", "replayed"), 0
        )
        self.mono_epoch = 0
        super().__init__(folder, config or LorawanConfig(device_status_h=1), gateways)
        self.random.seed(seed)
        self.keep_alive()
        for index in range(1, nodes + 1):
            self.add_node(index)

    def add_node(self, index: int, device_class: str = "A") -> Node:
        node = Node(self, index, device_class)
        self.add(node.end)
        self.nodes.append(node)
        return node

    def keep_alive(self) -> None:
        """The forwarders' PULL_DATA."""
        for gateway in self.gateways:
            self.pull(gateway)
        self.at(10_000, self.keep_alive)

    # -- time

    @property
    def now_ms(self) -> int:
        return self.now.mono_ms

    def at(self, delay_ms: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, _Due(self.now_ms + delay_ms, next(self._numbers), call))

    def later(self, delay_ms: int, life: int, node: Node, call: Callable[[], None]) -> None:
        """As `at`, unless the node lost its power meanwhile."""

        def still() -> None:
            if node.life == life:
                call()

        self.at(delay_ms, still)

    def advance(self, ms: int) -> None:
        """Let time pass, every event at its time."""
        end = self.now_ms + ms
        while True:
            due = self._due[0].at_ms if self._due else end + 1
            nearest = min(due, max(self.deadline_ms, self.now_ms))
            if nearest > end:
                break
            self._set(max(nearest, self.now_ms))
            if due <= nearest:
                heapq.heappop(self._due).call()
            else:
                before = (self.deadline_ms, self.now_ms)
                self.take(self.server.step(self.now))
                assert (self.deadline_ms, self.now_ms) > before or self.deadline_ms > self.now_ms
        self._set(end)

    # -- up

    def uplink(
        self, node: Node, phy: bytes, freq_hz: int, sf: int, bw_hz: int, air_ms: int
    ) -> None:
        """A device transmits; what it says must be new, or the last frame once more."""
        if phy[0] >> 5 == frames.JOIN_REQUEST:
            key = (node.end.dev_eui.encode(), phy[17:19])
        else:
            f_cnt = node.device.f_cnt_up - 1  # 32 bits, of which the frame has 16
            assert f_cnt & 0xFFFF == int.from_bytes(phy[6:8], "little")
            key = (node.device._session.nwk_s_key, f_cnt.to_bytes(4, "big"))
        known = self.up_frames.setdefault(key, phy)
        assert known == phy, "a device used a counter or a nonce twice"
        self.captured.append((phy, freq_hz, sf, bw_hz))
        self.at(air_ms, lambda: self.on_air(phy, freq_hz, sf, bw_hz))

    def on_air(self, phy: bytes, freq_hz: int, sf: int, bw_hz: int) -> None:
        """A transmission ended: the gateways that heard it tell."""
        for gateway in self.gateways:
            if self.random.random() < self.faults.up_loss:
                continue
            rxpk = self.rxpk(
                phy,
                f"SF{sf}BW{bw_hz // 1000}",
                freq_hz / 1e6,
                self.random.uniform(-5, 9),
                self.random.randint(-120, -60),
            )
            body = json.dumps({"rxpk": [rxpk]}).encode()
            self._datagram(self._head(0, gateway) + body, gateway)

    def _datagram(self, datagram: bytes, gateway: str) -> None:
        """Through the lossy network between gateway and server."""
        copies = 1 + (self.random.random() < self.faults.duplicate)
        for _ in range(copies):
            if self.random.random() < self.faults.datagram_loss:
                continue
            delay = self.random.randint(0, self.faults.delay_ms)
            self.at(delay, lambda: self._feed(datagram, gateway))

    def replay(self, index: int) -> None:
        """An attacker sends an old frame again."""
        if self.captured:
            self.counts["replayed"] += 1
            self.on_air(*self.captured[index % len(self.captured)])

    # -- down

    def take(self, out: Output) -> None:
        self.deadline_ms = out.deadline_ms
        for datagram, address in out.datagrams:
            if datagram[3] == 3:
                self._pull_resp(datagram, address[0])
        self.reports += out.reports
        for waiting in out.deliveries:
            self._deliver(waiting)

    def _pull_resp(self, datagram: bytes, gateway: str) -> None:
        txpk = json.loads(datagram[4:])["txpk"]
        phy = base64.b64decode(txpk["data"])
        self._check_down(phy)
        if self.random.random() < self.faults.datagram_loss:
            return
        head = self._head(5, gateway, datagram[1:3])
        wait_us = 0 if txpk.get("imme") else (txpk["tmst"] - self.tmst) % (1 << 32)
        if wait_us > 1 << 31:
            self._datagram(head + b'{"txpk_ack":{"error":"TOO_LATE"}}', gateway)
            return
        sf, bw = (int(part) for part in txpk["datr"][2:].split("BW"))
        start = self.now_ms + wait_us // 1000
        end = start + -(-airtime_us(sf, bw * 1000, len(phy), crc=False) // 1000)
        planned = self.planned.setdefault(gateway, [])
        is_busy = any(start < until and since < end for since, until in planned)
        if is_busy or self.random.random() < self.faults.refuse:
            self.counts["refused"] += 1
            self._datagram(head + b'{"txpk_ack":{"error":"COLLISION_PACKET"}}', gateway)
            return
        planned.append((start, end))
        self._datagram(head, gateway)
        freq_hz = round(txpk["freq"] * 1e6)
        self.at(wait_us // 1000, lambda: self._down(phy, freq_hz, sf, bw * 1000))

    def _down(self, phy: bytes, freq_hz: int, sf: int, bw_hz: int) -> None:
        """A downlink's preamble starts."""
        air_ms = -(-airtime_us(sf, bw_hz, len(phy), crc=False) // 1000)
        # A receiver that starts two symbols late still finds six of the preamble's eight.
        late_ms = self.now_ms + 2 * symbol_us(sf, bw_hz) // 1000
        self.preambles = [one for one in self.preambles if one[0] >= self.now_ms]
        self.preambles.append((late_ms, self.now_ms + air_ms, freq_hz, sf, bw_hz, phy))
        for node in self.nodes:
            self.catch(node)

    def catch(self, node: Node) -> None:
        """Let a node find a preamble that is on the air."""
        for late_ms, end_ms, freq_hz, sf, bw_hz, phy in self.preambles:
            if self.now_ms <= late_ms and node.hears(freq_hz, sf, bw_hz):
                node.begin(phy, end_ms - self.now_ms)
                return

    def _check_down(self, phy: bytes) -> None:
        """No frame counter and no JoinNonce is used twice."""
        if phy[0] >> 5 == frames.JOIN_ACCEPT:
            for node in self.nodes:
                buf = bytearray(phy)
                try:
                    accept = frames.open_join_accept(
                        buf, len(buf), BlockKey(AesBlock, node.end.key)
                    )
                except Exception:
                    continue
                known = self.accepts.setdefault((node.end.dev_eui, accept.join_nonce), phy)
                assert known == phy, "a JoinNonce was used twice"
                answered = sum(dev_eui == node.end.dev_eui for dev_eui, _ in self.accepts)
                own = node.end.dev_eui.encode()
                asked = sum(who == own for who, _ in self.up_frames)
                assert answered <= asked, "a join request was accepted twice"
            return
        for session in self.store.sessions():
            if session.dev_addr != int.from_bytes(phy[1:5], "little"):
                continue
            frame = frames.DataFrame()
            frame.parse(phy, len(phy))
            f_cnt = frames.f_cnt_after(frame.f_cnt_16, max(session.f_cnt_down - 1, -1))
            key = (session.dev_addr, f_cnt, bytes(session.nwk_s_key))
            known = self.down_frames.setdefault(key, phy)
            assert known == phy, "a downlink counter was used twice"
            assert session.f_cnt_down > f_cnt, "the counter is not durable"

    # -- the agent

    def _deliver(self, waiting: Undelivered) -> None:
        uplink = waiting.uplink
        key = (uplink.dev_eui, uplink.session, uplink.f_cnt)
        if uplink.again:
            assert key in self.accepted, "a frame nobody accepted came again"
        else:
            assert key not in self.accepted, "a frame was accepted twice"
        self.accepted.add(key)
        self.deliveries.append(waiting)
        assert (uplink.dev_eui, uplink.payload) in self.sent_payloads, "nobody sent this"
        self._try_deliver(waiting, self.cuts)

    def _try_deliver(self, waiting: Undelivered, cuts: int) -> None:
        delay = self.random.randint(0, self.faults.deliver_ms)

        def done() -> None:
            if self.cuts != cuts:
                return
            if self.random.random() < self.faults.deliver_fails:
                self.at(1000, lambda: self._try_deliver(waiting, cuts))
                return
            uplink = waiting.uplink
            self.delivered_payloads.add((uplink.dev_eui, uplink.payload))
            self.deliver(waiting)

        self.at(delay, done)

    def acked(self, node: Node) -> None:
        """The device was told that its confirmed uplink arrived."""
        if node.pending is not None:
            key = (node.end.dev_eui, node.pending)
            assert key in self.delivered_payloads, "acknowledged, and the agent has it not"
            node.acked.add(node.pending)
            node.pending = None

    def wind(self, node: Node, f_cnt: int) -> None:
        """As after years: both ends of a fresh session count from about `f_cnt`, durably."""
        session = node.device._session
        assert session.has_session
        session.f_cnt_up = session.f_cnt_up_reserved = f_cnt
        session.f_cnt_down = f_cnt - 3
        node.device._mac.save()
        (own,) = [one for one in self.store.sessions() if one.nwk_s_key == session.nwk_s_key]
        with self.store.transaction():
            self.store.save_session(replace(own, f_cnt_up=f_cnt - 1, f_cnt_down=f_cnt - 2))
        self.cut_server()

    def cut_server(self) -> None:
        """Power off and on at the gateway."""
        self.counts["server_cut"] += 1
        self.cut()

    # -- the end: faults stop and everything must work again

    def recover(self, hours: float = 3.0) -> None:
        """Without faults every device gets a fresh confirmed uplink through within `hours`."""
        self.faults = Faults()
        deadline = self.now_ms + int(hours * 3_600_000)
        waiting = list(self.nodes)
        wanted: dict[int, bytes] = {}
        while waiting:
            assert self.now_ms < deadline, (
                f"no recovery: {[node.events[-8:] for node in waiting]} {self.counters()}"
            )
            for node in list(waiting):
                payload = wanted.get(id(node))
                if payload is not None and payload in node.acked:
                    waiting.remove(node)
                elif node.send(True) and node.pending is not None:
                    wanted[id(node)] = node.pending
            self.advance(20_000)


__all__ = ["Faults", "Instant", "Node", "World"]
