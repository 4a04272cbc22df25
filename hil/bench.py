"""A river, nodes with real firmware, a boat, a concentrator and a wired sensor, paced to the clock.

    bench = Bench(gateway=("127.0.0.1", 1700), work_dir=Path("run"), flood_nodes=3, trackers=1)
    bench.devices           # names, EUIs and keys for the gateway's configuration, before start
    bench.modbus_port       # a Modbus TCP radar (Geolux LX-80 map, unit 1), bound on 127.0.0.1
    with bench:             # or bench.start() ... bench.stop()
        while not bench.storm_over:
            state = bench.state()   # a consistent snapshot, cheap, from any thread
            ...

`Bench.start()` starts one thread (`hil.pace.Pacer`) and one MicroPython process per node; `stop()`
ends them all, is safe to call twice and at exit, and leaves nothing running. When the thread dies
`state().error` says why. Logs of the nodes' consoles are in `work_dir/NAME.log`.

The river rises as on 10 September 2025, `storm_speed` times as fast, from `storm_from_h` hours
after 18:00 WITA of the 9th; the first node is at Kumbasari, others up- and downstream. Simulated
time runs as fast as the wall clock, so that timers of the radio are real.

Public: `Bench`, `Device`, `BenchState`, `NodeState`, `Crossing`, `RelayEdge`.
"""

import atexit
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hil.nodes import Node, NodeSpec
from hil.pace import Edge, ModbusTcpEdge, Pacer, UdpEdge
from sim.chips.level_sensors import LevelSensor
from sim.kernel import Simulation, Trace
from sim.radio.concentrator import EIGHT_CHANNELS, Concentrator
from sim.radio.forwarder import Forwarder
from sim.radio.medium import Medium
from sim.radio.medium import Path as RadioPath
from sim.world.river import STAGES_MM, Gauge, golden_rain, golden_stage
from sim.world.sea import Track

STAGE_NAMES = ("Normal", "Waspada", "Siaga", "Awas")
# Places on the Tukad Badung: name, lag of the flood wave in s, height of it.
_PLACES = (
    ("kumbasari", 0.0, 1.0),
    ("wangaya", -1_500.0, 0.85),
    ("suwung", 2_400.0, 0.7),
    ("gajah-mada", -300.0, 0.95),
    ("pemogan", 1_500.0, 0.8),
    ("ubung", -3_600.0, 0.6),
)
_FISHING = ((-8.7445, 115.2115), (-8.7520, 115.2230), (-8.7600, 115.2320), (-8.7550, 115.2400))
MODBUS_NAME = "radar-jembatan"
MODBUS_HEIGHT_MM = 7_000


@dataclass(frozen=True, kw_only=True)
class Device:
    """What the gateway must know of a node; identifiers as printed, hexadecimal."""

    name: str
    role: str  # "flood", "tracker" or "siren"
    dev_eui: str
    join_eui: str
    app_key: str


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The true water passed into a higher stage at a place, seen `wall_s` (time.time())."""

    device: str
    stage: int  # 1 waspada, 2 siaga, 3 awas
    level_mm: int
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class RelayEdge:
    """The relay of a siren closed (`is_on`) or opened, seen `wall_s` (time.time())."""

    device: str
    is_on: bool
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """One node now; `level_mm` is the truth under its sensor, None for a tracker."""

    name: str
    role: str
    running: bool
    boots: int
    sent_frames: int  # frames the node has sent, join requests included
    received_frames: int
    level_mm: int | None
    stage: int
    rain_tips: int
    lat: float | None
    lon: float | None
    crashes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BenchState:
    """Everything worth showing, of one instant."""

    simulated_s: float
    storm_h: float  # hours after 18:00 WITA, 9 September 2025
    nodes: tuple[NodeState, ...]
    modbus_level_mm: int
    modbus_stage: int
    modbus_requests: int
    frames_sent: int  # by all nodes
    frames_received: int  # by the concentrator, intact
    frames_lost: dict[str, int]  # by cause: snr, collision, burst, jam
    downlinks_sent: int
    forwarder_acknowledged: int  # PUSH_ACKs
    forwarder_connected: bool  # a PULL_ACK came
    downlink_errors: dict[str, int]
    crossings: tuple[Crossing, ...]
    relays: tuple[RelayEdge, ...]  # of all sirens
    faults: tuple[str, ...]  # wrong uses of the simulated hardware
    lag_ms: float  # the most the simulation was behind the wall clock
    error: str  # why the simulation ended, "" while it runs


@dataclass(kw_only=True)
class _Watch:
    name: str
    gauge: Gauge
    stage: int = 0


class Bench:
    """See the module. All parameters but `gateway` have defaults that suit a three-minute show."""

    def __init__(
        self,
        *,
        gateway: tuple[str, int],
        work_dir: Path,
        seed: int = 1,
        flood_nodes: int = 3,
        trackers: int = 1,
        sirens: int = 0,
        modbus: bool = True,
        storm_speed: float = 90.0,
        storm_from_h: float = 6.5,
        storm_to_h: float = 11.0,
        stages_mm: tuple[int, int, int] = STAGES_MM,
        gateway_eui: str = "0016c001f1500812",
        settings: dict[str, object] | None = None,
        tracker_settings: dict[str, object] | None = None,
        channels_hz: tuple[int, ...] = EIGHT_CHANNELS,
        factor: float = 1.0,
        trace: Path | None = None,
    ) -> None:
        if not 0 <= flood_nodes <= 20 or not 0 <= trackers <= 20:
            raise ValueError("flood_nodes and trackers are 0..20")
        self.sim = Simulation(seed, Trace(keep=20_000))
        self.stages_mm = stages_mm
        self.storm_to_h = storm_to_h
        self.modbus_name = MODBUS_NAME
        self.modbus_height_mm = MODBUS_HEIGHT_MM
        work_dir.mkdir(parents=True, exist_ok=True)
        self._trace_file = trace.open("w") if trace else None
        if self._trace_file:
            file = self._trace_file
            self.sim.trace.sink = lambda line: file.write(line + "\n")
        self.medium = Medium(self.sim, RadioPath(exponent=2.9, sigma_db=3.0))
        self.concentrator = Concentrator(self.sim, self.medium, channels_hz=channels_hz)
        self._udp = UdpEdge(*gateway)
        self.forwarder = Forwarder(
            self.sim, self.concentrator, bytes.fromhex(gateway_eui), self._udp.send
        )
        self._udp.deliver = self.forwarder.datagram
        self.storm_speed = storm_speed
        self._storm = (storm_speed, storm_from_h * 3600)
        self._stage = golden_stage()
        rain = Gauge(golden_rain(), self._now_s, speed=storm_speed, start_s=storm_from_h * 3600)
        self._watches: list[_Watch] = []
        self._crossings: list[Crossing] = []
        self.nodes: list[Node] = []
        epoch_s = time.time()
        common = settings or {}
        for i in range(flood_nodes):
            place, lag_s, scale = _PLACES[i % len(_PLACES)]
            name = f"flood-{place}" if i < len(_PLACES) else f"flood-{place}-{i}"
            gauge = self._gauge(lag_s, scale)
            self._watches.append(_Watch(name=name, gauge=gauge))
            spec = NodeSpec(
                name=name,
                x_m=600.0 + 350.0 * i,
                y_m=200.0 * (i % 3),
                settings={
                    "stages_mm": list(stages_mm),
                    "intervals_s": [60, 10, 10, 10],
                    "report_max_s": 60,
                    "status_s": 300,
                }
                | common,
            )
            self.nodes.append(
                Node(
                    self.sim,
                    self.medium,
                    spec,
                    level_mm=gauge,
                    rain_mm_h=rain,
                    epoch_s=epoch_s,
                    log=work_dir / f"{name}.log",
                )
            )
        for i in range(trackers):
            name = f"jukung-{i + 1}"
            track = Track(_FISHING, self._now_s, speed_mps=4.0 + i, stop_s=15.0)
            self.nodes.append(
                Node(
                    self.sim,
                    self.medium,
                    NodeSpec(
                        name=name,
                        role="tracker",
                        x_m=1_500.0 + 200 * i,
                        y_m=-900.0,
                        settings=tracker_settings or {},
                    ),
                    where=track,
                    epoch_s=epoch_s,
                    log=work_dir / f"{name}.log",
                )
            )
        self._relays: list[RelayEdge] = []
        for i in range(sirens):
            name = f"sirene-{i + 1}"
            node = Node(
                self.sim,
                self.medium,
                NodeSpec(
                    name=name,
                    role="siren",
                    x_m=900.0 + 150 * i,
                    y_m=400.0,
                    settings={"siren_silent_days": 0, "siren_audible_day": 0},
                ),
                epoch_s=epoch_s,
                log=work_dir / f"{name}.log",
            )
            node.board.watch(node.pins["siren"], self._relay_watcher(name))
            self.nodes.append(node)
        edges: list[Edge] = [self._udp]
        self._radar_gauge = self._gauge(-600.0, 0.9)
        self._radar = LevelSensor(
            "geolux-lx80", self._radar_gauge, MODBUS_HEIGHT_MM, self.sim.rng("sensor/modbus")
        )
        self._modbus = ModbusTcpEdge(self._radar.slave, unit=1) if modbus else None
        if self._modbus:
            edges.append(self._modbus)
            self._watches.append(_Watch(name=MODBUS_NAME, gauge=self._radar_gauge))
        self._pacer = Pacer(self.sim, edges, factor=factor)
        self._ended = threading.Lock()
        self._stopped = False

    def _now_s(self) -> float:
        return self.sim.now_us / 1e6

    def _gauge(self, lag_s: float, scale: float) -> Gauge:
        speed, start_s = self._storm
        return Gauge(
            self._stage, self._now_s, speed=speed, start_s=start_s, lag_s=lag_s, scale=scale
        )

    @property
    def modbus_port(self) -> int:
        """TCP port of the wired radar on 127.0.0.1; 0 without one."""
        return self._modbus.port if self._modbus else 0

    @property
    def devices(self) -> list[Device]:
        """What the gateway's configuration and key files need."""
        return [
            Device(
                name=node.spec.name,
                role=node.spec.role,
                dev_eui=node.dev_eui.hex(),
                join_eui=node.join_eui.hex(),
                app_key=node.app_key.hex(),
            )
            for node in self.nodes
        ]

    def write_devices(self, folder: Path) -> Path:
        """Write a key file for each node and `devices.toml`, its part of a gateway's file."""
        folder.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        for device in self.devices:
            keys = folder / f"{device.name}.keys"
            keys.touch(mode=0o600)
            keys.write_text(f"app_key = {device.app_key}\n")
            lines += [
                "[[device]]",
                f'name = "{device.name}"',
                f'dev_eui = "{device.dev_eui}"',
                f'join_eui = "{device.join_eui}"',
                f'keys = "{keys.resolve()}"',
                f'kind = "{device.role}"',
                "",
            ]
        path = folder / "devices.toml"
        path.write_text("\n".join(lines))
        return path

    @property
    def storm_h(self) -> float:
        """Where in the storm it is, hours after 18:00 WITA of 9 September 2025."""
        speed, start_s = self._storm
        return (start_s + speed * self._now_s()) / 3600

    @property
    def storm_over(self) -> bool:
        """Whether `storm_to_h` has come."""
        return self.storm_h >= self.storm_to_h

    def start(self) -> None:
        """Power everything, nodes a little apart as people would; returns at once."""
        atexit.register(self.stop)
        for i, node in enumerate(self.nodes):
            self.sim.after(200_000 + 900_000 * i, node.power_on)
        self.sim.after(0, self.forwarder.start)
        self.sim.after(0, self._watch)
        self._pacer.start()

    def stop(self) -> None:
        """End the thread and every child process; safe to call twice."""
        with self._ended:
            if self._stopped:
                return
            self._stopped = True
            atexit.unregister(self.stop)
            self._pacer.stop()
            for node in self.nodes:
                node.close()
            if self._trace_file:
                self._trace_file.close()

    def __enter__(self) -> "Bench":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _level_stage(self, level_mm: float) -> int:
        return sum(level_mm >= limit for limit in self.stages_mm)

    def _relay_watcher(self, device: str) -> Callable[[int], None]:
        def changed(level: int) -> None:
            edge = RelayEdge(device=device, is_on=bool(level), wall_s=time.time())
            self._relays.append(edge)

        return changed

    def _watch(self) -> None:
        self.sim.after(100_000, self._watch)
        for watch in self._watches:
            level = watch.gauge()
            stage = self._level_stage(level)
            while watch.stage < stage:
                watch.stage += 1
                self._crossings.append(
                    Crossing(
                        device=watch.name,
                        stage=watch.stage,
                        level_mm=round(level),
                        wall_s=time.time(),
                    )
                )

    def state(self) -> BenchState:
        """A consistent snapshot; takes the simulation's lock for well under a millisecond."""
        with self._pacer.lock:
            radar = self._radar_gauge()
            lost = dict(self.medium.lost)
            error = self._pacer.error
            return BenchState(
                simulated_s=self._now_s(),
                storm_h=self.storm_h,
                nodes=tuple(self._node_state(node) for node in self.nodes),
                modbus_level_mm=round(radar),
                modbus_stage=self._level_stage(radar),
                modbus_requests=self._radar.slave.requests,
                frames_sent=sum(node.chip.tx_count for node in self.nodes),
                frames_received=self.concentrator.received - self.concentrator.damaged,
                frames_lost=lost,
                downlinks_sent=self.concentrator.sent,
                forwarder_acknowledged=self.forwarder.up_acknowledged,
                forwarder_connected=self.forwarder.pull_acknowledged > 0,
                downlink_errors=dict(self.forwarder.errors),
                crossings=tuple(self._crossings),
                relays=tuple(self._relays),
                faults=tuple(f"{who}: {what}" for _, who, what in self.sim.faults),
                lag_ms=self._pacer.lag_ms,
                error=f"{type(error).__name__}: {error}" if error else "",
            )

    def _node_state(self, node: Node) -> NodeState:
        level = node.level_mm() if node.level_mm else None
        fix = node.where() if node.where else None
        return NodeState(
            name=node.spec.name,
            role=node.spec.role,
            running=node.firmware.running,
            boots=node.firmware.boots,
            sent_frames=node.chip.tx_count,
            received_frames=node.chip.rx_count,
            level_mm=None if level is None else round(level),
            stage=0 if level is None else self._level_stage(level),
            rain_tips=node.rain.tips if node.rain else 0,
            lat=fix.lat if fix else None,
            lon=fix.lon if fix else None,
            crashes=tuple(node.firmware.crashes),
        )
