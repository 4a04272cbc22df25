"""Real firmware and the gateway's real network server, over the simulated air, in virtual time.

Three of ours meet here that share `protocols.lorawan`; that both ends also agree with an
independent reading is shown by the scenarios, whose network is `sim.network`.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.lorawan.config import DeviceEntry, LorawanConfig
from gateway.lorawan.enrol import synchronise
from gateway.lorawan.model import Uplink
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import Instant
from gateway.lorawan.server import NetworkServer, Output
from gateway.lorawan.sessions import SessionStore
from hil.nodes import Node, NodeSpec
from protocols.payload import ports
from protocols.payload.command import CMD_STATUS, encode_command
from protocols.payload.flood import decode_flood
from protocols.payload.status import decode_status
from sim.chips.gnss import Fix
from sim.kernel import MILLISECOND, MINUTE, SECOND, Event, Simulation
from sim.radio.concentrator import Concentrator
from sim.radio.forwarder import Forwarder
from sim.radio.medium import BurstLoss, Medium
from sim.radio.medium import Path as AirPath
from sim.radio.station import Station
from sim.world.river import Gauge, golden_stage

EUI = bytes.fromhex("0016c001f1500812")
ADDRESS = ("127.0.0.1", 40_000)
EPOCH_S = 1_757_430_000.0
_ONE_WAY_US = 3 * MILLISECOND  # forwarder and server are two programs on one machine


class Chain:
    """Nodes, air, concentrator, forwarder, and the network server as its shell drives it."""

    def __init__(self, folder: Path, *specs: NodeSpec, seed: int = 1) -> None:
        self.sim = Simulation(seed)
        self.medium = Medium(self.sim, AirPath(exponent=2.7))
        self.concentrator = Concentrator(self.sim, self.medium)
        self.forwarder = Forwarder(self.sim, self.concentrator, EUI, self._to_server)
        self.station: Station | None = None
        gauge = Gauge(golden_stage(), lambda: self.sim.now_us / 1e6, start_s=8 * 3600)
        self.gauge = gauge
        self.nodes = [
            Node(
                self.sim,
                self.medium,
                spec,
                level_mm=gauge if spec.role == "flood" else None,
                where=None if spec.role == "flood" else lambda: Fix(lat=-8.7445, lon=115.2115),
                epoch_s=EPOCH_S,
            )
            for spec in specs
        ]
        self.config = LorawanConfig(
            devices=tuple(self._entry(folder, node) for node in self.nodes),
            extra_channels_hz=(921_800_000, 922_000_000, 922_200_000, 922_400_000, 922_600_000),
        )
        self.path = folder / "sessions.db"
        self.uplinks: list[Uplink] = []
        self.up = True
        self._step: Event | None = None
        self.server = self._make_server()
        for i, node in enumerate(self.nodes):
            self.sim.at(i * SECOND, node.power_on)
        self.sim.at(0, lambda: None if self.station else self.forwarder.start())

    def _entry(self, folder: Path, node: Node) -> DeviceEntry:
        keys = folder / f"{node.spec.name}.keys"
        keys.write_text(f"app_key = {node.app_key.hex()}\n")
        keys.chmod(0o600)
        return DeviceEntry(
            name=node.spec.name,
            dev_eui=node.dev_eui.hex(),
            join_eui=node.join_eui.hex(),
            keys=keys,
            kind=node.spec.role,
        )

    def _make_server(self) -> NetworkServer:
        self.store = SessionStore(self.path)
        now = self.now()
        synchronise(self.store, RadioPlan(self.config), self.config.devices, now.unix_ms)
        server = NetworkServer(self.config, self.store, random.Random(5).randbytes, self.now())
        self.sim.after(0, lambda: self._act(server.start(self.now())))
        return server

    def now(self) -> Instant:
        return Instant(
            mono_ms=self.sim.now_us // 1000,
            unix_ms=round(EPOCH_S * 1000) + self.sim.now_us // 1000,
        )

    def _to_server(self, datagram: bytes) -> None:
        self.sim.after(_ONE_WAY_US, self._feed, datagram)

    def _feed(self, datagram: bytes) -> None:
        if self.up:
            self._act(self.server.feed_udp([(datagram, ADDRESS)], self.now()))

    def _act(self, out: Output) -> None:
        for datagram, _ in out.datagrams:
            self.sim.after(_ONE_WAY_US, self.forwarder.datagram, datagram)
        for eui, text in out.messages:
            assert self.station and eui == EUI.hex()
            self.sim.after(_ONE_WAY_US, self.station.message, text)
        for waiting in out.deliveries:
            self.uplinks.append(waiting.uplink)
            self._act(self.server.delivered(waiting.id, self.now()))
        self.sim.cancel(self._step)
        self._step = self.sim.at(1000 * out.deadline_ms, self._due)

    def _due(self) -> None:
        if self.up:
            self._act(self.server.step(self.now()))

    def use_station(self) -> "Station":
        """Speak Basics Station from the beginning, in place of the packet forwarder."""
        self.station = station = Station(self.sim, self.concentrator, self._from_station)

        def connect() -> None:
            assert self.server.connect_station(EUI.hex(), self.now())
            station.connected()

        self.sim.after(0, connect)
        return station

    def _from_station(self, text: str) -> None:
        self.sim.after(_ONE_WAY_US, self._feed_station, text)

    def _feed_station(self, text: str) -> None:
        self._act(self.server.feed_station(EUI.hex(), text, self.now()))

    def kill(self) -> None:
        """The agent dies without a word."""
        self.up = False
        self.sim.cancel(self._step)
        self.store.close()

    def restart(self) -> None:
        """It comes back on the same database."""
        self.up = True
        self.server = self._make_server()

    def queue(self, name: str, port: int, data: bytes) -> None:
        eui = next(node.dev_eui.hex() for node in self.nodes if node.spec.name == name)
        _, out = self.server.queue_downlink(eui, port, data, True, 3600, self.now())
        self._act(out)

    def run(self, us: int) -> None:
        self.sim.run_until(self.sim.now_us + us)

    def of(self, name: str, port: int) -> list[Uplink]:
        return [u for u in self.uplinks if u.device == name and u.f_port == port]

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        if self.up:
            self.server.close()
            self.store.close()


FAST = {"intervals_s": [60, 10, 10, 10], "report_max_s": 60}


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    made = Chain(tmp_path, NodeSpec(name="kumbasari", settings=dict(FAST)))
    yield made
    made.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Chain]:
    made = Chain(
        tmp_path,
        NodeSpec(name="kumbasari", settings=dict(FAST)),
        NodeSpec(name="jukung", role="tracker", y_m=700.0),
    )
    yield made
    made.close()


def levels(chain: Chain, name: str) -> dict[int, tuple[int, int | None]]:
    found: dict[int, tuple[int, int | None]] = {}
    for up in chain.of(name, ports.PORT_FLOOD):
        frame = decode_flood(up.payload, up.received_ms // 1000 - ports.EPOCH_UNIX_S)
        for sample in frame.samples:
            found[sample.sequence] = (sample.time_s + ports.EPOCH_UNIX_S, sample.level_mm)
    return found


def test_nodes_join_and_their_readings_are_true(fleet: Chain) -> None:
    """From cold boards to decoded centimetres in three minutes, through every real part."""
    chain = fleet
    chain.run(3 * MINUTE)
    assert chain.sim.faults == [] and all(not n.firmware.crashes for n in chain.nodes)
    found = levels(chain, "kumbasari")
    assert len(found) >= 5 and sorted(found) == list(range(min(found), max(found) + 1))
    for when, level in found.values():
        assert level is not None
        assert abs(level - chain.gauge.at(when - EPOCH_S)) <= 60
    assert chain.forwarder.errors == {}, "no downlink came too late for its window"
    assert {u.device for u in chain.uplinks} == {"kumbasari", "jukung"}
    counters = [(u.device, u.session, u.f_cnt) for u in chain.uplinks]
    assert len(counters) == len(set(counters)), "each frame is handed over once"


def test_a_command_reaches_the_node_and_is_answered(chain: Chain) -> None:
    chain.run(MINUTE)
    before = len(chain.of("kumbasari", ports.PORT_STATUS))
    chain.queue("kumbasari", ports.PORT_COMMAND, encode_command(CMD_STATUS, 1, {"pages": 1}))
    chain.run(2 * MINUTE)
    answers = chain.of("kumbasari", ports.PORT_ANSWER)
    pages = chain.of("kumbasari", ports.PORT_STATUS)
    assert answers or len(pages) > before
    for up in pages:
        assert decode_status(up.payload)


def test_sessions_outlive_a_death_of_the_agent(chain: Chain) -> None:
    """Killed without a word and started anew: nobody joins again, no counter is taken twice."""
    chain.run(MINUTE)
    joins = {u.device: u.session for u in chain.uplinks}
    seen = len(chain.uplinks)
    chain.kill()
    chain.run(MINUTE)
    assert len(chain.uplinks) == seen
    chain.restart()
    chain.run(2 * MINUTE)
    later = chain.uplinks[seen:]
    assert later and all(u.session == joins[u.device] for u in later)
    counters = [(u.device, u.f_cnt) for u in chain.uplinks]
    assert len(counters) == len(set(counters))


def test_a_node_without_power_comes_back_into_its_readings(chain: Chain) -> None:
    chain.run(90 * SECOND)
    node = chain.nodes[0]
    node.power_off()
    chain.run(MINUTE)
    before = levels(chain, "kumbasari")
    node.power_on()
    chain.run(2 * MINUTE)
    after = levels(chain, "kumbasari")
    assert max(after) > max(before), "numbers go on where they were"
    assert all(after[n] == before[n] for n in before), "no number is used twice"


def test_bursts_of_loss_never_give_a_reading_twice_or_wrong(tmp_path: Path) -> None:
    chain = Chain(tmp_path, NodeSpec(name="kumbasari", settings=dict(FAST)), seed=3)
    link = frozenset(("kumbasari", "gateway"))
    chain.medium.bursts[link] = BurstLoss(good_s=20, bad_s=20)
    try:
        chain.run(5 * MINUTE)
        for when, level in levels(chain, "kumbasari").values():
            assert level is not None
            assert abs(level - chain.gauge.at(when - EPOCH_S)) <= 60
        assert chain.medium.lost["burst"] > 0 and chain.sim.faults == []
    finally:
        chain.close()


def test_the_same_chain_over_basics_station(tmp_path: Path) -> None:
    """A join, acknowledged commands and readings through the LNS protocol."""
    chain = Chain(tmp_path, NodeSpec(name="kumbasari", settings=dict(FAST)))
    station = chain.use_station()
    try:
        chain.run(90 * SECOND)
        chain.queue("kumbasari", ports.PORT_COMMAND, encode_command(CMD_STATUS, 1, {"pages": 1}))
        chain.run(90 * SECOND)
        assert station.malformed == 0 and station.dropped == {}
        assert len(station.channels_hz) == 7 and station.region
        assert station.sent >= 2, "the join accept, and the command"
        for when, level in levels(chain, "kumbasari").values():
            assert level is not None
            assert abs(level - chain.gauge.at(when - EPOCH_S)) <= 60
        assert len(levels(chain, "kumbasari")) >= 3 and chain.sim.faults == []
    finally:
        chain.close()
