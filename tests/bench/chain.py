"""Bench of the warning chain in virtual time: water crosses Awas, the siren's relay closes.

Real firmware in MicroPython for flood nodes and sirens, and the gateway's real parts without their
sockets: Semtech datagrams, `NetworkServer`, `LorawanSource`, `Rules`, `SirenDesk`. The same seed
gives the same figures on any machine, however busy; what the gateway's processor and disk need is
a constant, measured with the real agent (`siren` bench) and printed. No broker takes part.

Every cell of the table is one crossing at one siren. Options: --crossings 200 --seed 1 --dr 2
--server-ms 150 --only NAME (quiet, bursts, two-gateways, dense).
"""

import argparse
import itertools
import random
import sqlite3
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.acts.siren.desk import Do, SirenDesk, Sound
from gateway.acts.siren.settings import RuleSettings, SirenSettings, UnitSettings
from gateway.clock import WallClock
from gateway.ledger.ledger import Ledger
from gateway.ledger.schema import connect
from gateway.ledger.store import Store, Stored
from gateway.lorawan.config import DeviceEntry, LorawanConfig
from gateway.lorawan.enrol import synchronise
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import Instant
from gateway.lorawan.server import NetworkServer, Output
from gateway.lorawan.service import NetworkServerService
from gateway.lorawan.sessions import SessionStore, Undelivered
from gateway.model import Reading
from gateway.rules.catalogue import stage_rules
from gateway.rules.engine import Rules
from gateway.rules.events import EventRule
from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.silence import SilenceRule
from gateway.rules.stages import Site
from gateway.sources.lorawan import LorawanSource
from hil.nodes import Node, NodeSpec
from protocols.payload.command import CMD_SIREN, DONE, REPEATED, encode_command
from protocols.payload.event import EVENT_SIREN, PROOF_CURRENT, PROOF_FAILED
from protocols.payload.ports import EPOCH_UNIX_S, PORT_COMMAND
from sim.chips.sx126x_facts import PUBLIC_SYNC_WORD
from sim.kernel import SECOND, Event, Simulation, Trace
from sim.radio.concentrator import EIGHT_CHANNELS, Concentrator, Downlink
from sim.radio.forwarder import Forwarder
from sim.radio.medium import BurstLoss, Medium, Radio, Reception, Transmission
from sim.radio.medium import Path as RadioPath
from tests.bench.siren import AWAS_MM, GOAL_S, LATE_S, Pair

SERVER_MS = 150
_EPOCH_MS = 1_780_000_000_000  # 28 May 2026: any moment at which a clock counts as set
_CYCLE_S = 57  # mean, of one crossing of a pair
_T = TypeVar("_T")

STEPS = (
    "sampling and decision",
    "lost copies of the event",
    "airtime of the event",
    "server and waiting for the air",
    "lost orders to the siren",
    "class C airtime to relay",
    "crossing to relay",
)


def at_once(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("_T", end.value)
    work.close()
    raise AssertionError("it had to wait for something")


class _Ledger:
    """The ledger without its threads."""

    def __init__(self, folder: Path) -> None:
        self.db: sqlite3.Connection = connect(folder / "ledger.db")
        self.store = Store(self.db)

    async def read(self, run: Any) -> Any:
        return run(self.store)

    async def write(self, run: Any) -> Any:
        return run(self.store)


class _Clock(WallClock):
    """A wall clock that never jumps."""

    def time_source(self) -> str:
        return "ntp"


class Gateway:
    """The agent's parts on the simulation's clock; `server_us` passes before it sees a datagram."""

    def __init__(
        self,
        sim: Simulation,
        folder: Path,
        config: LorawanConfig,
        stages: dict[str, Stages],
        sirens: SirenSettings,
        server_us: int,
    ) -> None:
        self._sim, self._server_us = sim, server_us
        self.forwarders: dict[tuple[str, int], Forwarder] = {}
        self._sessions = SessionStore(folder / "lorawan.db")
        synchronise(self._sessions, RadioPlan(config), config.devices, self._now().unix_ms)
        entropy = sim.rng("entropy").randbytes
        self.server = NetworkServer(config, self._sessions, entropy, self._now())
        self._ledger = _Ledger(folder)
        self._source = LorawanSource(
            cast("NetworkServerService", None), cast("Ledger", self._ledger), _Clock()
        )
        at_once(self._begin())
        site, alarm = Site(), AlarmSettings()
        self._rules = Rules(
            stage_rules(stages, alarm, site),
            EventRule(alarm, site, frozenset(stages)),
            SilenceRule({}, alarm.silent_after, site, 0),
        )
        self.desk = SirenDesk(sirens)
        self._devices = {one.name: one.device for one in sirens.unit}
        self._units = {one.device: one.name for one in sirens.unit}
        self._number = 0
        self._timer: Event | None = None
        self._desk_timer: Event | None = None
        self._emit(self.server.start(self._now()))

    async def _begin(self) -> None:
        self._source._accept = self._accept  # pyright: ignore[reportPrivateUsage]

    def _now(self) -> Instant:
        ms = self._sim.now_us // 1000
        return Instant(ms, _EPOCH_MS + ms)

    def connect(self, concentrator: Concentrator, i: int) -> Forwarder:
        """A packet forwarder beside a concentrator; the i-th."""
        address = ("127.0.0.1", 1 + i)
        eui = bytes.fromhex("0016c001f150") + i.to_bytes(2, "big")
        forwarder = Forwarder(
            self._sim,
            concentrator,
            eui,
            lambda data: self._sim.after(self._server_us, self._feed, data, address),
        )
        self.forwarders[address] = forwarder
        return forwarder

    def _feed(self, data: bytes, address: tuple[str, int]) -> None:
        self._emit(self.server.feed_udp([(data, address)], self._now()))

    def _step(self) -> None:
        self._emit(self.server.step(self._now()))

    def _emit(self, out: Output) -> None:
        for datagram, address in out.datagrams:
            self._sim.after(0, self.forwarders[address].datagram, datagram)
        self._sim.cancel(self._timer)
        due_us = max(out.deadline_ms * 1000, self._sim.now_us + 1000)
        self._timer = self._sim.at(due_us, self._step)
        for waiting in out.deliveries:
            self._deliver(waiting)

    def _deliver(self, waiting: Undelivered) -> None:
        at_once(self._source._on_uplink(waiting.uplink))  # pyright: ignore[reportPrivateUsage]
        self._emit(self.server.delivered(waiting.id, self._now()))

    async def _accept(self, readings: Sequence[Reading]) -> None:
        stored = self._ledger.store.add(readings)
        at_ms = self._now().unix_ms
        doing: list[Do] = []
        for one in stored:
            doing += self._heard(one, at_ms)
        for alarm in self._rules.decide(stored, at_ms):
            doing += self.desk.alarm(alarm, at_ms)
        self._do(doing)

    def _heard(self, one: Stored, at_ms: int) -> list[Do]:
        """What `SirenAct.on_readings` makes of a siren's words."""
        values = one.reading.values
        siren = self._units.get(one.reading.device)
        if siren is None:
            return []
        if one.reading.stream == "event" and values.get("kind") == EVENT_SIREN:
            proof = values.get("proof", 0)
            if proof in (PROOF_CURRENT, PROOF_FAILED):
                number = values.get("command_number", 0)
                return self.desk.proof(siren, number, proof == PROOF_CURRENT, at_ms)
        elif one.reading.stream == "answer" and values.get("kind") == CMD_SIREN:
            is_refused = values.get("result") not in (DONE, REPEATED)
            return self.desk.heard(siren, values.get("number", 0), is_refused, at_ms)
        return []

    def _do(self, doing: Sequence[Do]) -> None:
        for one in doing:
            if isinstance(one, Sound):
                self._sound(one)
        self._sim.cancel(self._desk_timer)
        due_ms = self.desk.due_ms()
        if due_ms is not None:
            due_us = (due_ms - _EPOCH_MS) * 1000
            self._desk_timer = self._sim.at(due_us, self._step_desk)

    def _step_desk(self) -> None:
        self._do(self.desk.step(self._now().unix_ms))

    def _sound(self, one: Sound) -> None:
        order, now = one.order, self._now()
        if one.is_new:
            self._number += 1
            self.desk.sent(order, self._number)
        values = {
            "pattern": order.pattern,
            "duration_s": order.duration_s,
            "expires_time_s": now.unix_ms // 1000 + 600 - EPOCH_UNIX_S,
        }
        data = encode_command(CMD_SIREN, order.number, values)
        device = self._devices[order.siren]
        _, out = self.server.queue_downlink(device, PORT_COMMAND, data, False, 20.0, now)
        self._emit(out)

    def close(self) -> None:
        self.server.close()
        self._sessions.close()
        self._ledger.db.close()


class Stranger(Radio):
    """A node of ordinary traffic: a frame a minute, one in ten of them answered in RX1."""

    def __init__(self, sim: Simulation, gateway: Concentrator, medium: Medium, i: int) -> None:
        self._dice = sim.rng(f"stranger/{i}")
        where = self._dice.uniform(300, 2500), self._dice.uniform(-1500, 1500)
        super().__init__(f"stranger-{i}", x_m=where[0], y_m=where[1])
        self._sim, self._gateway, self._medium = sim, gateway, medium
        self._sf = self._dice.choice((7, 7, 7, 8, 9, 10))
        medium.join(self)
        sim.after(round(self._dice.uniform(0, 60) * SECOND), self._send)

    def listening_since(self, tx: Transmission) -> int | None:
        return None

    def on_preamble(self, reception: Reception) -> None:
        raise AssertionError("it does not listen")

    def on_end(self, reception: Reception) -> None:
        raise AssertionError("it does not listen")

    def _send(self) -> None:
        tx = Transmission(
            sender=self.name,
            freq_hz=self._dice.choice(EIGHT_CHANNELS),
            sf=self._sf,
            bw_hz=125_000,
            cr=1,
            preamble=8,
            explicit=True,
            crc=True,
            iq_inverted=False,
            sync_word=PUBLIC_SYNC_WORD,
            power_dbm=16,
            payload=b"\x40" + self._dice.randbytes(30),
            start_us=self._sim.now_us,
            ldro=False,
        )
        self._medium.transmit(self, tx)
        if self._dice.random() < 0.1:
            self._sim.at(tx.end_us, self._answer, tx)
        self._sim.after(round(self._dice.uniform(50, 70) * SECOND), self._send)

    def _answer(self, tx: Transmission) -> None:
        self._gateway.send(
            Downlink(
                tmst=(self._gateway.tmst() + SECOND) & 0xFFFFFFFF,
                freq_hz=tx.freq_hz,
                sf=self._sf,
                bw_hz=125_000,
                cr=1,
                power_dbm=16,
                payload=b"\x60" + self._dice.randbytes(12),
            )
        )


@dataclass(frozen=True, kw_only=True)
class Case:
    """One world: so many gauges with so many sirens each."""

    name: str
    text: str
    pairs: int = 1
    sirens: int = 2
    loss: float = 0.0
    strangers: int = 20
    gateways: int = 1


CASES = (
    Case(name="quiet", text="one gauge, two sirens, 20 other nodes"),
    Case(name="bursts", text="the same; 10 % of the time no link, in bursts of 6 s", loss=0.1),
    Case(
        name="two-gateways",
        text="bursts on every link, and a second gateway 1 km away",
        loss=0.1,
        gateways=2,
    ),
    Case(name="dense", text="ten gauges with a siren each, 20 other nodes", pairs=10, sirens=1),
)


class Run:
    """One world, for so many seconds."""

    def __init__(
        self, case: Case, seconds: float, seed: int, dr: int, server_ms: int, folder: Path
    ) -> None:
        self.case, self.seconds = case, seconds
        self.sim = Simulation(seed, Trace(keep=2_000_000))
        self.medium = Medium(self.sim, RadioPath(exponent=2.9, sigma_db=3.0))
        self.concentrators = [
            Concentrator(self.sim, self.medium, name=f"gateway-{i}", y_m=1000.0 * i)
            for i in range(case.gateways)
        ]
        self.pairs: list[Pair] = []
        self.nodes: list[Node] = []
        self.relays: dict[str, list[int]] = {}  # by siren
        self._entries: list[DeviceEntry] = []
        self._folder = folder
        units: list[UnitSettings] = []
        rules: list[RuleSettings] = []
        for i in range(case.pairs):
            dice = random.Random(seed * 1000 + i)
            pair = Pair(f"p{i}", dice, round(seconds * SECOND), low_mm=2630, high_mm=2670)
            pair.fall_mm_s = 4.0
            pair.make()
            self.pairs.append(pair)
            self._gauge(pair, i)
            names = [f"{pair.name}s{j}" for j in range(case.sirens)]
            for j, name in enumerate(names):
                self._siren(name, i, j)
                units.append(UnitSettings(name=name, device=f"siren-{name}"))
            rules.append(
                RuleSettings(
                    gauges=(f"flood-{pair.name}",),
                    level=3,
                    sirens=tuple(names),
                    pattern=5,
                    duration_s=5,
                )
            )
        for i in range(case.strangers):
            Stranger(self.sim, self.concentrators[0], self.medium, i)
        extra = [hz for hz in EIGHT_CHANNELS if hz not in (921_400_000, 921_600_000)][:5]
        stage = Stages(waspada_mm=500, siaga_mm=1160, awas_mm=AWAS_MM, hysteresis_mm=20, hold_s=0)
        self.gateway = Gateway(
            self.sim,
            folder,
            LorawanConfig(
                rx2_dr=dr,
                # A crossing every two minutes is no use of the air that a law would see.
                duty_percent=50,
                extra_channels_hz=tuple(extra),
                devices=tuple(self._entries),
            ),
            {f"flood-{one.name}": stage for one in self.pairs},
            SirenSettings(unit=tuple(units), rule=tuple(rules), max_soundings=100),
            server_ms * 1000,
        )

    def _gauge(self, pair: Pair, i: int) -> None:
        settings: dict[str, object] = {
            "status_s": 21_600,
            "stages_mm": [500, 1160, AWAS_MM],
            "intervals_s": [60, 10, 10, 10],
            "hold_s": 0,
            "hysteresis_mm": 20,
        }
        spec = NodeSpec(
            name=f"flood-{pair.name}", x_m=500.0 + 150 * i, y_m=300.0 * (i % 3), settings=settings
        )
        node = Node(
            self.sim,
            self.medium,
            spec,
            level_mm=lambda: pair.level_mm(self.sim.now_us / 1e6),
            epoch_s=_EPOCH_MS / 1000,
        )
        self._add(node, "A")

    def _siren(self, name: str, i: int, j: int) -> None:
        spec = NodeSpec(
            name=f"siren-{name}",
            role="siren",
            x_m=500.0 + 150 * i,
            y_m=300.0 * (i % 3) + 120 + 200 * j,
            settings={"status_s": 21_600, "siren_silent_days": 0, "siren_audible_day": 0},
        )
        node = Node(self.sim, self.medium, spec, epoch_s=_EPOCH_MS / 1000)
        edges = self.relays[name] = []
        node.board.watch(
            node.pins["siren"], lambda level: edges.append(self.sim.now_us) if level else None
        )
        self._add(node, "C")

    def _add(self, node: Node, device_class: str) -> None:
        self.nodes.append(node)
        name = node.spec.name
        keys = self._folder / f"{name}.keys"
        keys.touch(mode=0o600)
        keys.write_text(f"app_key = {node.app_key.hex()}\n")
        self._entries.append(
            DeviceEntry(
                name=name,
                dev_eui=node.dev_eui.hex(),
                join_eui=node.join_eui.hex(),
                keys=keys,
                kind=node.spec.role,
                device_class=device_class,
            )
        )
        if self.case.loss:
            good_s = 6 * (1 - self.case.loss) / self.case.loss
            for one in self.concentrators:
                link = frozenset((name, one.name))
                self.medium.bursts[link] = BurstLoss(good_s=good_s, bad_s=6.0)

    def play(self) -> None:
        """The whole time."""
        try:
            for i, node in enumerate(self.nodes):
                self.sim.after(200_000 + 700_000 * i, node.power_on)
            for i, one in enumerate(self.concentrators):
                self.sim.after(0, self.gateway.connect(one, i).start)
            self.sim.run_until(round(self.seconds * SECOND))
        finally:
            for node in self.nodes:
                node.close()
            self.gateway.close()

    def rows(self) -> tuple[list[list[float]], int]:
        """Seconds of each step and in all for each crossing at each siren, and silent ones."""
        heard: dict[str, list[int]] = {}
        begun: dict[str, list[int]] = {}
        down: dict[bytes, list[int]] = {}
        address: dict[str, list[bytes]] = {}
        for when, who, what, fields in self.sim.trace.records:
            if what == "gateway.rx" and fields["ok"]:
                heard.setdefault(str(fields["node"]), []).append(when)
            elif what == "air.tx" and who.startswith(("flood-", "siren-")):
                begun.setdefault(who, []).append(when)
                address.setdefault(who, []).append(cast("bytes", fields["data"])[1:5])
            elif what == "forwarder.down" and fields["error"] == "NONE":
                to = cast("bytes", fields["data"])[1:5]
                down.setdefault(to, []).append(when)
        rows: list[list[float]] = []
        silent = 0
        for pair in self.pairs:
            node = f"flood-{pair.name}"
            for siren in [one for one in self.relays if one.startswith(pair.name + "s")]:
                orders = sorted(
                    when for one in set(address[f"siren-{siren}"]) for when in down.get(one, ())
                )
                for crossing in pair.crossings:
                    if crossing + LATE_S * SECOND > self.sim.now_us:
                        continue
                    after = crossing - 2 * SECOND
                    on = next((t for t in self.relays[siren] if t > after), None)
                    if on is None or on > crossing + LATE_S * SECOND:
                        silent += 1
                        continue
                    last_order = max((t for t in orders if t < on), default=crossing)
                    order = min((t for t in orders if after < t), default=crossing)
                    arrived = max((t for t in heard.get(node, ()) if t < order), default=crossing)
                    tries = [t for t in begun.get(node, ()) if after < t < arrived]
                    first, last = min(tries, default=crossing), max(tries, default=crossing)
                    parts = [crossing, first, last, arrived, order, last_order, on]
                    row = [(b - a) / 1e6 for a, b in itertools.pairwise(parts)]
                    rows.append([*row, (on - crossing) / 1e6])
        return rows, silent


def play(
    case: Case, crossings: int, seed: int, dr: int, server_ms: int
) -> tuple[list[list[float]], int]:
    """Worlds of this case until there are so many crossings: the rows, and the silent ones."""
    rows: list[list[float]] = []
    silent = 0
    while len(rows) + silent < crossings * case.sirens:
        left = crossings - (len(rows) + silent) // case.sirens
        each = min(90, -(-left // case.pairs) + 1)  # an incident sounds a siren 100 times at most
        # In memory where there is such a folder: the sessions' fsyncs would only cost time.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            run = Run(case, 210 + _CYCLE_S * each, seed, dr, server_ms, Path(folder))
            run.play()
        found, missed = run.rows()
        rows += found
        silent += missed
        seed += 1000
    return rows, silent


def table(rows: list[list[float]], silent: int) -> str:
    """The chain's table, and the share within the goal."""
    lines = [f"{'s':32s}{'p50':>8s}{'p90':>8s}{'p99':>8s}{'max':>8s}"]
    for index, name in enumerate(STEPS):
        column = sorted(row[index] for row in rows)
        cells = [column[min(len(column) - 1, int(len(column) * q))] for q in (0.5, 0.9, 0.99)]
        lines.append(f"{name:32s}" + "".join(f"{one:8.2f}" for one in (*cells, column[-1])))
    within = sum(row[-1] <= GOAL_S for row in rows)
    lines.append(
        f"within {GOAL_S:.0f} s: {100 * within / (len(rows) + silent):.1f} % of "
        f"{len(rows) + silent}; {silent} without a sound in {LATE_S:.0f} s"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--crossings", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dr", type=int, nargs="*", default=[2, 5], help="of class C (RX2)")
    parser.add_argument("--server-ms", type=int, default=SERVER_MS)
    parser.add_argument("--only", choices=[one.name for one in CASES], default=None)
    options = parser.parse_args()
    print(f"server and disk: {options.server_ms} ms, constant; seed {options.seed}")
    for case in CASES:
        if options.only not in (None, case.name):
            continue
        for dr in options.dr:
            rows, silent = play(case, options.crossings, options.seed, dr, options.server_ms)
            print(f"\n{case.name}: {case.text}; class C at DR{dr} (SF{12 - dr})")
            print(table(rows, silent), flush=True)


if __name__ == "__main__":
    main()
