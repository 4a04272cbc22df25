"""A scenario's world in virtual time: nodes, network, and everything that was seen.

Public: `World`, `Seen`, `river_of`, `gauge_of`, `WAYPOINTS`. The network server is the independent
one of `sim.network`; application payloads are read with `protocols.payload`, as the gateway reads
them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hil.gaps import GapAsker
from hil.nodes import Node, NodeSpec
from hil.scenario import NodeEntry, Scenario, node_names
from hil.sirens import SirenOrders
from protocols.errors import RemoteError
from protocols.payload import ports
from protocols.payload.backfill import decode_backfill
from protocols.payload.event import EVENT_SIREN, EVENT_SOS, EVENT_STAGE, decode_event
from protocols.payload.flood import decode_flood
from protocols.payload.track import decode_track
from sim.energy import PROCESSOR_MA, RADIO_MA, Battery, EnergyAccount
from sim.kernel import MINUTE, SECOND, Simulation, Trace
from sim.network import Delivered, Network
from sim.radio.concentrator import Concentrator
from sim.radio.medium import Medium
from sim.radio.medium import Path as RadioPath
from sim.world.river import Gauge, Series, from_csv, golden_rain, golden_stage
from sim.world.runoff import TUKAD_MATI, stage_from_rain
from sim.world.sea import Track

EPOCH_S = 1_757_412_000.0  # 2025-09-09 18:00 WITA (10:00 UTC)
WAYPOINTS = ((-8.7445, 115.2115), (-8.7520, 115.2230), (-8.7600, 115.2320), (-8.7550, 115.2400))


@dataclass
class Seen:
    """What the network got of one node, and what was true meanwhile."""

    readings: dict[int, tuple[int, int | None]] = field(
        default_factory=dict[int, tuple[int, int | None]]
    )  # sequence -> (unix s, level mm)
    fixes: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])
    alarms: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # us, stage
    sos_us: list[int] = field(default_factory=list[int])
    frames: int = 0
    undecoded: int = 0
    last_sequence: int | None = None
    last_time_s: int | None = None
    truth: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # us, mm
    crossings: dict[int, int] = field(default_factory=dict[int, int])  # stage -> first us
    pressed_us: list[int] = field(default_factory=list[int])
    airtime: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # us, length
    heard: int = 0


def river_of(scenario: Scenario) -> Callable[[float], float]:
    """The water of a scenario, mm over the series' seconds."""
    river = scenario.river
    if river == "golden":
        return golden_stage()
    if river == "runoff":
        return stage_from_rain(TUKAD_MATI, golden_rain(), 30 * 3600)
    if river == "calm":
        return Series([(0.0, 120.0), (3600.0, 120.0)])
    return from_csv(scenario.path.parent / river, "level_mm")


def _gauge(
    scenario: Scenario,
    series: Callable[[float], float],
    entry: NodeEntry | None,
    now_s: Callable[[], float],
) -> Gauge:
    return Gauge(
        series,
        now_s,
        speed=scenario.river_speed,
        start_s=scenario.river_from_h * 3600,
        lag_s=entry.lag_s if entry else 0.0,
        scale=entry.scale if entry else 1.0,
    )


def gauge_of(scenario: Scenario, entry: NodeEntry, now_s: Callable[[], float]) -> Gauge:
    """The water at a node of a scenario, over the caller's clock."""
    return _gauge(scenario, river_of(scenario), entry, now_s)


class World:
    """Build it from a scenario and a seed; `run()` plays it; `close()` ends every process."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        log_dir: Path | None = None,
        sink: Callable[[str], object] | None = None,
        uf2: Path | None = None,
    ) -> None:
        self.scenario = scenario
        self._uf2 = uf2
        self.sim = Simulation(seed, Trace(keep=200_000))
        self.sim.trace.sink = sink
        path = RadioPath(exponent=scenario.exponent, sigma_db=scenario.shadowing_db)
        self.medium = Medium(self.sim, path)
        self.gateway = Concentrator(self.sim, self.medium, gain_dbi=scenario.gateway_gain_dbi)
        self.network = Network(self.sim, self.gateway, epoch_s=EPOCH_S)
        self.network.on_uplink = self._delivered
        self.sirens = SirenOrders(
            self.sim, self.network, lambda: int(EPOCH_S + self.now_s()) - ports.EPOCH_UNIX_S
        )
        self.nodes: dict[str, Node] = {}
        self.entries: dict[str, NodeEntry] = {}
        self.seen: dict[str, Seen] = {}
        self.energy: dict[str, EnergyAccount] = {}
        self.gaps: dict[str, GapAsker] = {}
        self.batteries: dict[str, Battery] = {}
        self._charged_calls: dict[str, int] = {}
        self._stage = river_of(scenario)
        self._log_dir = log_dir
        if log_dir:
            log_dir.mkdir(parents=True, exist_ok=True)
        for entry in scenario.nodes:
            for i, name in enumerate(node_names(entry)):
                self._add(name, entry, i)
        self.sim.after(0, self._watch, 0)

    def now_s(self) -> float:
        """Simulation time in seconds."""
        return self.sim.now_us / 1e6

    def _gauge(self, series: Callable[[float], float], entry: NodeEntry | None) -> Gauge:
        return _gauge(self.scenario, series, entry, self.now_s)

    def _add(self, name: str, entry: NodeEntry, i: int) -> None:
        rng = self.sim.rng("place/" + name)
        angle, radius = rng.uniform(0, 2 * math.pi), entry.spread_m * math.sqrt(rng.random())
        settings = dict(entry.settings)
        if entry.role == "flood":
            settings.setdefault("stages_mm", list(self.scenario.stages_mm))
        spec = NodeSpec(
            name=name,
            role=entry.role,
            x_m=entry.x_m + radius * math.cos(angle),
            y_m=entry.y_m + radius * math.sin(angle),
            gain_dbi=entry.gain_dbi,
            sensor=entry.sensor,
            height_mm=entry.height_mm,
            settings=settings,
        )
        is_flood = entry.role == "flood"
        track = Track(WAYPOINTS, self.now_s, speed_mps=entry.speed_mps)
        # Ticks begin anywhere, one node in two shortly before they wrap.
        ticks = (1 << 30) * 1000 - rng.randrange(600) * SECOND if i % 2 else rng.getrandbits(40)
        node = Node(
            self.sim,
            self.medium,
            spec,
            level_mm=self._gauge(self._stage, entry) if is_flood else None,
            rain_mm_h=self._rain() if is_flood else None,
            where=track if entry.role == "tracker" else None,
            epoch_s=EPOCH_S,
            log=self._log_dir / f"{name}.log" if self._log_dir else None,
            ticks_start_us=ticks,
            uf2=self._uf2,
        )
        account = EnergyAccount(self.sim)
        account.set("radio", RADIO_MA["standby_rc"])
        account.set("processor", PROCESSOR_MA["sleep"])
        if entry.sensor_ma:
            account.set("sensor", entry.sensor_ma)
        if entry.battery_mah:
            self.batteries[name] = Battery(
                self.sim,
                account,
                capacity_mah=entry.battery_mah,
                solar_ma=entry.solar_ma,
                start=entry.charge,
            )
            self.sim.after(MINUTE, self._supply, name)
        node.chip.energy_state = lambda mode: account.set("radio", RADIO_MA[mode])
        self.network.add(name, node.dev_eui, node.app_key)
        if node.siren is not None:
            self.sirens.add(name)
        self.nodes[name], self.entries[name] = node, entry
        self.seen[name], self.energy[name] = Seen(), account
        self.gaps[name] = GapAsker(self.network, name)
        self.sim.after(round(entry.start_s * SECOND) + rng.randrange(2 * SECOND), node.power_on)

    def _supply(self, name: str) -> None:
        """Once a minute: the battery's charge, its voltage at the converter, and its end."""
        self.sim.after(MINUTE, self._supply, name)
        node, battery = self.nodes[name], self.batteries[name]
        self._count_calls(name)
        has_supply = battery.step()
        node.battery_v = battery.volts()
        if node.firmware.running and not has_supply:
            node.power_off()
            for consumer in ("radio", "processor", "sensor"):
                self.energy[name].set(consumer, 0.0)
        elif has_supply and not node.firmware.running:
            self.energy[name].set("radio", RADIO_MA["standby_rc"])
            self.energy[name].set("processor", PROCESSOR_MA["sleep"])
            self.energy[name].set("sensor", self.entries[name].sensor_ma)
            node.power_on()

    def _count_calls(self, name: str) -> None:
        # The firmware runs in no simulated time; a call stands for some 0.2 ms of it.
        calls = self.nodes[name].firmware.calls
        more = calls - self._charged_calls.get(name, 0)
        self._charged_calls[name] = calls
        self.energy[name].add("processor", PROCESSOR_MA["run"], 200 * more)

    def _rain(self) -> Callable[[], float]:
        if self.scenario.river in ("golden", "runoff"):
            return self._gauge(golden_rain(), None)
        return lambda: 0.0

    def select(self, name: str) -> list[Node]:
        """The nodes called `name`: one, or all of an entry with `count`, or "*" for all."""
        return [
            node
            for key, node in self.nodes.items()
            if name in (key, "*") or self.entries[key].name == name
        ]

    def _watch(self, n: int) -> None:
        """Every other second look for crossings; once a minute keep the truth."""
        self.sim.after(2 * SECOND, self._watch, n + 1)
        for name, node in self.nodes.items():
            if node.level_mm is None:
                continue
            level = node.level_mm()
            seen = self.seen[name]
            for stage, limit in enumerate(self.scenario.stages_mm, 1):
                if level >= limit and stage not in seen.crossings:
                    seen.crossings[stage] = self.sim.now_us
            if n % 30 == 0:
                seen.truth.append((self.sim.now_us, round(level)))

    def _delivered(self, up: Delivered) -> None:
        seen = self.seen[up.device]
        seen.frames += 1
        received_s = int(EPOCH_S + up.time_us / 1e6) - ports.EPOCH_UNIX_S
        try:
            if up.port == ports.PORT_FLOOD:
                self._flood(seen, up, received_s)
            elif up.port == ports.PORT_TRACK:
                self._track(seen, up, received_s)
            elif up.port == ports.PORT_BACKFILL:
                self._backfill(seen, up, received_s)
            elif up.port == ports.PORT_ANSWER:
                self.sirens.answered(up.device)
            elif up.port == ports.PORT_EVENT:
                event = decode_event(up.data, received_s)
                if event["kind"] == EVENT_STAGE:
                    seen.alarms.append((up.time_us, event["stage"] or 0))
                    self.sirens.stage(event["stage"] or 0)
                elif event["kind"] == EVENT_SIREN:
                    self.sirens.told(up.device, event["proof"] or 0)
                elif event["kind"] == EVENT_SOS:
                    seen.sos_us.append(up.time_us)
        except RemoteError as error:
            seen.undecoded += 1
            self.sim.fault(up.device, "payload", port=up.port, why=str(error), data=up.data)

        if seen.last_sequence is not None and self.entries[up.device].role == "flood":
            self.gaps[up.device].look(seen.readings, seen.last_sequence, up.time_us)

    def _backfill(self, seen: Seen, up: Delivered, received_s: int) -> None:
        answer = decode_backfill(up.data, received_s, seen.last_sequence or 0)
        for sample in answer.samples:
            when = sample.time_s + ports.EPOCH_UNIX_S
            seen.readings.setdefault(sample.sequence, (when, sample.level_mm))
        if answer.kind == "missing":
            first, count = answer.first_sequence, answer.count
            self.gaps[up.device].gone.update(range(first, first + count))

    def _flood(self, seen: Seen, up: Delivered, received_s: int) -> None:
        frame = decode_flood(up.data, received_s, seen.last_sequence, seen.last_time_s)
        for sample in frame.samples:
            when = sample.time_s + ports.EPOCH_UNIX_S if frame.is_clock_set else 0
            seen.readings.setdefault(sample.sequence, (when, sample.level_mm))
        newest = frame.samples[0] if frame.samples else None
        for sample in frame.samples:
            if newest is None or sample.sequence > newest.sequence:
                newest = sample
        if newest and (seen.last_sequence is None or newest.sequence > seen.last_sequence):
            seen.last_sequence, seen.last_time_s = newest.sequence, newest.time_s

    def _track(self, seen: Seen, up: Delivered, received_s: int) -> None:
        frame = decode_track(
            up.data, received_s, -874_450, 11_521_150, seen.last_sequence, seen.last_time_s
        )
        for fix in frame.fixes:
            moment = fix.time_s + ports.EPOCH_UNIX_S
            seen.fixes.append((moment, fix.lat_e5 / 1e5, fix.lon_e5 / 1e5))
        newest = max(frame.fixes, key=lambda f: f.sequence, default=None)
        if newest and (seen.last_sequence is None or newest.sequence > seen.last_sequence):
            seen.last_sequence, seen.last_time_s = newest.sequence, newest.time_s

    def run(
        self, on_progress: Callable[[float], object] | None = None, step_s: float | None = None
    ) -> None:
        """Play the scenario to its end; `on_progress` gets the simulated seconds every `step_s`."""
        end = round(self.scenario.duration_s * SECOND)
        step = round(step_s * SECOND) if step_s else max(end // 200, SECOND)
        while self.sim.now_us < end:
            self.sim.run_until(min(self.sim.now_us + step, end))
            if on_progress:
                on_progress(self.now_s())
        self._account()

    def _account(self) -> None:
        for when, who, what, fields in self.sim.trace.records:
            if what == "air.tx" and who in self.seen:
                length = fields["us"]
                assert isinstance(length, int)
                self.seen[who].airtime.append((when, length))
            elif what == "gateway.rx" and fields["ok"]:
                self.seen[str(fields["node"])].heard += 1
        for name in self.nodes:
            self._count_calls(name)

    def close(self) -> None:
        """End every child process."""
        for node in self.nodes.values():
            node.close()
