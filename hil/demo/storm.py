"""Runs the demo: nodes, concentrator, gateway, broker and the city's decoder, and keeps count.

`run_demo` starts the parts as their users would: the gateway as `tukad gateway run CONFIG`, the
city's side as `tukad decode --mqtt URL`, the nodes as MicroPython processes of `hil.bench.Bench`.
What it counts comes from the ends alone: what the devices' own flash logs hold, and what the city
decoded.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.bench import MODBUS_NAME, Bench, BenchState
from hil.demo.children import Child, ChildFailedError
from hil.demo.view import STAGES, AlarmView, DemoView, DeviceView
from hil.demo.warning import SIREN_LEVEL, AlertFolder, config_lines, make_key
from hil.unix_target import ROOT, micropython
from sim.radio.medium import BurstLoss
from sim.world.river import STAGES_MM

SITE = "denpasar-demo"
STORM_FROM_H, STORM_TO_H = 6.5, 11.0  # hours after 18:00 WITA of 9 September: 00:30 to 05:00
_MODBUS_INTERVAL_S = 2
_PROOF_CURRENT = 1  # docs/payload.md, event siren
_KINDS = {  # what each role is on the screen
    "flood": ("flood", "radar on RS-485, LoRaWAN"),
    "tracker": ("vessel", "GNSS, LoRaWAN"),
    "siren": ("siren", "horn with proof, LoRaWAN class C"),
}
_DRAIN_S = 150.0  # after the storm, at most, for what is still missing
_MOSQUITTO = "/usr/sbin/mosquitto"


class DemoError(Exception):
    """The demo cannot run; the text is one line for a person."""


@dataclass
class Feed:
    """What the city has decoded."""

    readings: dict[tuple[str, str], dict[int, dict[str, Any]]] = field(
        default_factory=dict[tuple[str, str], dict[int, dict[str, Any]]]
    )
    newest: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    alarms: list[tuple[float, dict[str, Any]]] = field(
        default_factory=list[tuple[float, dict[str, Any]]]
    )
    health: dict[str, Any] = field(default_factory=dict[str, Any])
    trouble: str = ""

    def take(self, line: str) -> None:
        """One line of `tukad decode`."""
        try:
            item: dict[str, Any] = json.loads(line)
        except ValueError:
            self.trouble = f"a line of the decoder is not JSON: {line[:60]}"
            return
        kind = item.get("kind")
        if kind == "alarm":
            self.alarms.append((time.time(), item))
        elif kind == "reading":
            key = (str(item["device"]), str(item["stream"]))
            self.readings.setdefault(key, {})[int(item["sequence"])] = item
            last = self.newest.get(key[0])
            if key[1] != "status" and (last is None or item["time_ms"] >= last["time_ms"]):
                self.newest[key[0]] = item
        elif kind == "health":
            self.health = item

    def sequences(self, device: str, streams: tuple[str, ...]) -> set[int]:
        """The numbers of the readings of a device that have arrived."""
        found: set[int] = set()
        for stream in streams:
            found |= self.readings.get((device, stream), {}).keys()
        return found


def free_port(kind: socket.SocketKind) -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def choose_broker(wanted: str) -> str:
    """The broker's setting for the gateway: "auto" takes Mosquitto where it is installed."""
    if wanted == "auto":
        return "mosquitto" if Path(_MOSQUITTO).exists() else "embedded"
    if wanted == "mosquitto" and not Path(_MOSQUITTO).exists():
        raise DemoError(
            f"{_MOSQUITTO} is not installed (sudo apt install mosquitto); or use --broker embedded"
        )
    return wanted


def write_config(
    folder: Path, bench: Bench, broker: str, mqtt_port: int, udp_port: int, modbus_port: int
) -> Path:
    """The gateway's configuration and the devices' key files, as an operator would write them."""
    waspada, siaga, awas = STAGES_MM
    steep = min(100_000, round(100 * bench.storm_speed))  # as fast as the storm is played
    stages = (
        f"{{ waspada_mm = {waspada}, siaga_mm = {siaga}, awas_mm = {awas},"
        f' hysteresis_mm = 100, hold_s = 60, steep_mm_min = {steep}, version = "demo" }}'
    )
    lines = [
        "[gateway]",
        f'site = "{SITE}"',
        'data_dir = "data"',
        'status_bind = ""',
        "latitude_deg = -8.72",
        "longitude_deg = 115.2",
        "[mqtt]",
        f"url = {json.dumps(broker)}",
        "required_at_start = true",
        "health_s = 2.0",
        "[broker]",
        f'bind = "127.0.0.1:{mqtt_port}"',
        "[backfill]",
        "wait_s = 5",
        "[alarm]",
        "silent_after = 12",
        # Played so much faster, water does what no river does: faults found in it would be none.
        "[watch]",
        "faults = false",
        "[lorawan]",
        f'bind = "127.0.0.1:{udp_port}"',
        'region = "AS923-2"',
    ]
    for device in bench.devices:
        keys = folder / f"{device.name}.keys"
        keys.touch(mode=0o600)
        keys.write_text(f"app_key = {device.app_key}\n")
        lines += [
            "[[device]]",
            f'name = "{device.name}"',
            f'dev_eui = "{device.dev_eui}"',
            f'join_eui = "{device.join_eui}"',
            f'keys = "{keys.name}"',
            f'kind = "{device.role}"',
            "interval_s = 20",
        ]
        if device.role == "flood":
            lines.append(f"stages = {stages}")
        elif device.role == "siren":
            lines.append('device_class = "C"')
    if modbus_port:
        lines += [
            "[[modbus]]",
            'name = "bridge"',
            f'port = "tcp://127.0.0.1:{modbus_port}"',
            "[[modbus.sensor]]",
            f'name = "{MODBUS_NAME}"',
            'profile = "geolux_lx80"',
            "unit = 1",
            f"interval_s = {_MODBUS_INTERVAL_S}",
            f"height_mm = {bench.modbus_height_mm}",
            f"stages = {stages}",
        ]
    flood = [device.name for device in bench.devices if device.role == "flood"]
    (siren,) = [device.name for device in bench.devices if device.role == "siren"]
    names = [*flood, MODBUS_NAME] if modbus_port else flood
    lines += config_lines(siren, flood[0], names)
    path = folder / "gateway.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(kw_only=True)
class Demo:
    """One run; `view` is always fit to be drawn."""

    folder: Path
    duration_s: float
    broker: str
    forever: bool = False
    seed: int = 1
    flood_nodes: int = 3

    def __post_init__(self) -> None:
        speed = (STORM_TO_H - STORM_FROM_H) * 3600 / self.duration_s
        self.view = DemoView(
            title=f"the storm of 10 September 2025 on the Tukad Badung, {speed:.0f} times faster",
            duration_s=self.duration_s,
            storm_factor=speed,
            storm_start="00:30",
            thresholds_mm=STAGES_MM,
        )
        self.feed = Feed()
        self.notes: list[str] = []
        self._stop = asyncio.Event()
        self._seen_alarms = 0
        self._mqtt_port = free_port(socket.SOCK_STREAM)
        self._udp_port = free_port(socket.SOCK_DGRAM)
        self._bench = Bench(
            gateway=("127.0.0.1", self._udp_port),
            work_dir=self.folder,
            seed=self.seed,
            flood_nodes=self.flood_nodes,
            sirens=1,
            storm_speed=speed,
            storm_from_h=STORM_FROM_H,
            storm_to_h=STORM_TO_H,
            settings={
                "intervals_s": [10, 10, 10, 10],
                "report_max_s": 60,
                "jump_mm": 3000,  # at this speed every step would be one
            },
            tracker_settings={"error_m": 25, "heartbeat_s": 60, "fix_s": 5},
            trace=self.folder / "trace.jsonl",
        )
        for node in self._bench.nodes:
            # Street sensors lose frames in bursts; later frames fill the holes.
            link = frozenset((node.spec.name, self._bench.concentrator.name))
            self._bench.medium.bursts[link] = BurstLoss(good_s=50.0, bad_s=6.0)
        setting = choose_broker(self.broker)
        is_ours = setting in ("embedded", "mosquitto")
        self._url = f"mqtt://127.0.0.1:{self._mqtt_port}" if is_ours else setting
        self.view.broker = {"embedded": "rumqttd"}.get(setting, setting)
        self._config = write_config(
            self.folder,
            self._bench,
            setting,
            self._mqtt_port,
            self._udp_port,
            self._bench.modbus_port,
        )
        for device in self._bench.devices:
            kind, what = _KINDS[device.role]
            self.view.devices[device.name] = DeviceView(device.name, kind, what)
        self.view.devices[MODBUS_NAME] = DeviceView(
            MODBUS_NAME, "modbus", f"Modbus TCP, every {_MODBUS_INTERVAL_S} s"
        )
        self.view.gauge = self._bench.devices[0].name
        log = self.folder / "gateway.log"
        tukad = str(Path(sys.executable).with_name("tukad"))
        try:
            make_key(tukad, self.folder)
        except (OSError, subprocess.SubprocessError) as error:
            raise DemoError(f"the key for CAP alerts cannot be made: {error}") from None
        pin = self.folder / "cap.crt"
        self._alerts = AlertFolder(tukad, self.folder / "data" / "cap", pin)
        self._seen_alerts = self._seen_relays = 0
        self._gateway = Child("the gateway", [tukad, "gateway", "run", str(self._config)], log)
        self._city = Child(
            "the city's decoder",
            [tukad, "decode", "--mqtt", self._url, "--site", SITE],
            self.folder / "city.log",
        )

    def stop(self) -> None:
        """End the run early, in order."""
        self._stop.set()

    async def run(self, draw: Callable[[DemoView], None]) -> bool:
        """Play the storm; True when it came to its end (rather than being stopped).

        Raises DemoError when a part cannot start or ends by itself.
        """
        watcher = asyncio.create_task(self._alerts.watch())
        try:
            return await self._run(draw)
        except ChildFailedError as error:
            raise DemoError(str(error)) from None
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            self.view.phase = "ending"
            draw(self.view)
            self._bench.stop()
            await self._gateway.stop(10.0)
            await asyncio.sleep(0.3)  # what the broker has handed over is still on its way
            await self._city.stop(5.0)
            self._count_at_the_ends()

    async def _run(self, draw: Callable[[DemoView], None]) -> bool:
        await self._gateway.start(lambda _line: None)
        await self._until_listening()
        await self._city.start(self.feed.take)
        self._bench.start()
        self.view.phase = "nodes start and join"
        cut_s: float | None = None
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.5)
            self._gateway.check()
            self._city.check()
            state = self._bench.state()
            if state.error:
                raise DemoError(f"the simulation ended: {state.error}")
            self.view.elapsed_s = state.simulated_s
            self._update(state)
            draw(self.view)
            if self._bench.storm_over and not self.forever:
                if cut_s is None:
                    cut_s = self.view.elapsed_s
                    self._cut_ms = time.time() * 1000
                    self.view.phase = "storm over, last frames"
                if self._all_arrived() or self.view.elapsed_s > cut_s + _DRAIN_S:
                    return True
        return False

    async def _until_listening(self) -> None:
        """Wait for the gateway, whose last part to start is the network server."""
        for _ in range(200):
            self._gateway.check()
            if self._is_listening():
                return
            await asyncio.sleep(0.05)
        raise DemoError(f"the gateway did not come up; see {self.folder}/gateway.log")

    def _is_listening(self) -> bool:
        """Whether somebody has the LoRaWAN port: a packet forwarder's first word would be lost."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", self._udp_port))
            except OSError:
                return True
        return False

    # What is shown.

    def _update(self, state: BenchState) -> None:
        view = self.view
        for node in state.nodes:
            device = view.devices[node.name]
            device.frames = node.sent_frames
            if node.level_mm is not None and node.name == view.gauge:
                view.truth_mm.append((view.elapsed_s, node.level_mm))
            if node.crashes and f"{node.name}: {node.crashes[-1]}" not in self.notes:
                self.notes.append(f"{node.name}: {node.crashes[-1]}")
        for name, device in view.devices.items():
            self._update_device(name, device)
        view.frames_heard = state.frames_received
        counters = self.feed.health.get("counters", {})
        view.batches = int(counters.get("mqtt_messages", 0))
        view.batch_bytes = sum(
            int(counters.get(f"mqtt_bytes_{klass}", 0)) for klass in ("live", "history")
        )
        if view.phase.startswith("nodes") and any(d.delivered for d in view.devices.values()):
            view.phase = "storm"
        for at, alarm in self.feed.alarms[self._seen_alarms :]:
            self._show_alarm(at, alarm, state)
        self._seen_alarms = len(self.feed.alarms)
        self._update_warnings(state)

    def _update_warnings(self, state: BenchState) -> None:
        """The alerts on disk, and what the siren does and proves."""
        view = self.view
        began_s = time.time() - view.elapsed_s
        files = self._alerts.files
        view.alerts, view.alerts_good = len(files), sum(one.is_good for one in files)
        for index, one in enumerate(files[self._seen_alerts :], self._seen_alerts):
            before = files[index - 1].stages if index else {}
            late: list[float] = []
            for crossing in state.crossings:
                stages = before.get(crossing.device, 0), one.stages.get(crossing.device, 0)
                if stages[0] < crossing.stage <= stages[1]:
                    late.append(max(0.0, one.written_s - crossing.wall_s))
            verdict = "verified" if one.is_good else "NOT GOOD"
            text = f"{one.msg_type} signed, {verdict}: {one.headline}"
            at_s = max(0.0, one.written_s - began_s)
            view.alarms.append(
                AlarmView(at_s, one.path.name, "cap", text, min(late, default=None), "cap")
            )
        self._seen_alerts = len(files)
        for number, edge in enumerate(state.relays[self._seen_relays :], self._seen_relays):
            if not edge.is_on or (number and edge.wall_s - state.relays[number - 1].wall_s < 15):
                continue  # a pause between two tones
            latency: float | None = None
            for crossing in state.crossings:
                if crossing.device == view.gauge and crossing.stage == SIREN_LEVEL:
                    latency = edge.wall_s - crossing.wall_s
            what = f"sounds for {STAGES[SIREN_LEVEL].upper()} at {view.gauge}"
            view.alarms.append(
                AlarmView(edge.wall_s - began_s, edge.device, "siren", what, latency, "siren")
            )
        self._seen_relays = len(state.relays)
        for name, device in view.devices.items():
            if device.kind == "siren":
                is_on = bool(state.relays) and time.time() - state.relays[-1].wall_s < 5
                device.stage = "SOUNDS" if is_on else "silent"
                self._update_proof(name, device)

    def _update_proof(self, name: str, device: DeviceView) -> None:
        """What the siren said of its own sound, as the city decoded it."""
        for item in self.feed.readings.get((name, "event"), {}).values():
            values = item["values"]
            if values.get("proof") == _PROOF_CURRENT:
                amperes = int(values.get("current_ma", 0)) / 1000
                self.view.proof = f"its amplifier drew {amperes:.1f} A in the tones"
                device.latest = f"proved, {amperes:.1f} A"

    def _update_device(self, name: str, device: DeviceView) -> None:
        sequences = self.feed.sequences(name, ("flood", "track", "geolux_lx80"))
        device.delivered = len(sequences)
        # A node's log is empty at the start, so that it counts from 0; the wired sensor's numbers
        # are the gateway's own and begin anywhere.
        first = min(sequences, default=0) if name == MODBUS_NAME else 0
        device.sent = max(sequences) - first + 1 if sequences else 0
        newest = self.feed.newest.get(name)
        if newest is None:
            return
        values = newest["values"]
        if "level_mm" in values:
            level = int(values["level_mm"])
            device.latest = f"{level / 1000:.3f} m"
            if name == self.view.gauge:
                began_s = time.time() - self.view.elapsed_s
                self.view.seen_mm = [
                    (item["time_ms"] / 1000 - began_s, int(item["values"]["level_mm"]))
                    for item in self.feed.readings[name, newest["stream"]].values()
                    if "level_mm" in item["values"]
                ]
        elif "lat_deg" in values:
            speed = values.get("speed_kn")
            knots = "" if speed is None else f"  {speed:.1f} kn"
            device.latest = f"{values['lat_deg']:.5f}, {values['lon_deg']:.5f}{knots}"

    def _show_alarm(self, at: float, alarm: dict[str, Any], state: BenchState) -> None:
        device, level = str(alarm["device"]), int(alarm["level"])
        is_stage = alarm.get("alarm_kind", "stage") == "stage"
        if device in self.view.devices and is_stage:
            self.view.devices[device].stage = STAGES[level]
        latency: float | None = None
        if is_stage and alarm["event"] in ("raised", "escalated"):
            for crossing in state.crossings:
                if crossing.device == device and crossing.stage == level:
                    latency = max(0.0, at - crossing.wall_s)
        began = time.time() - self.view.elapsed_s
        level_mm = alarm.get("values", {}).get("level_mm")
        text = str(alarm["event"])
        if isinstance(level_mm, int):
            text += f" at {level_mm / 1000:.2f} m"
        if not is_stage:
            text = str(alarm.get("text_en", ""))
        self.view.alarms.append(AlarmView(at - began, device, STAGES[level], text, latency))

    # What is counted.

    def _all_arrived(self) -> bool:
        """Whether the city has every device's readings without gap, gauges' past the cut."""
        for name, device in self.view.devices.items():
            newest = self.feed.newest.get(name)
            if device.kind == "siren":
                continue  # it speaks when it has sounded
            if newest is None or device.sent != device.delivered:
                return False
            # A boat is silent while the shore's reckoning of it is right.
            if device.kind != "vessel" and newest["time_ms"] < self._cut_ms:
                return False
        return True

    def _count_at_the_ends(self) -> None:
        """Compare the devices' own logs with what the city decoded, up to the cut."""
        cut_ms = getattr(self, "_cut_ms", time.time() * 1000)
        for node in self._bench.nodes:
            name = node.spec.name
            device = self.view.devices[name]
            if device.kind == "siren":
                continue  # events, no log of readings
            log = self._read_log(
                name, node.firmware.flash.read(0, node.firmware.flash.sectors * 4096)
            )
            made = {
                sequence
                for sequence, time_s, is_uptime in log
                if is_uptime or (time_s + 1_577_836_800) * 1000 <= cut_ms
            }
            seen = self.feed.sequences(name, ("flood", "track"))
            device.sent, device.delivered = len(made), len(made & seen)
            if made - seen:
                numbers = ", ".join(str(number) for number in sorted(made - seen)[:5])
                self.notes.append(f"{name}: not delivered in time: {numbers}")
        self.view.radio_bytes = self._radio_bytes()

    def _radio_bytes(self) -> int:
        """Bytes of all data frames on the air, LoRaWAN's own 13 and more included."""
        total = 0
        with (self.folder / "trace.jsonl").open() as trace:
            for line in trace:
                if '"air.tx"' in line:
                    _, who, _, what = json.loads(line)
                    frame = bytes.fromhex(what["data"])
                    if who != "gateway" and frame[0] >> 5 in (2, 4):
                        total += len(frame)
        return total

    def _read_log(self, name: str, image: bytes) -> list[tuple[int, int, int]]:
        path = self.folder / f"{name}.flash"
        path.write_bytes(image)
        done = subprocess.run(
            [
                micropython(),
                "-X",
                "heapsize=8m",
                str(ROOT / "hil/shim/read_log.py"),
                path,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            self.notes.append(f"{name}: the reading log could not be read back from its flash")
            return []
        rows = (line.split() for line in done.stdout.splitlines())
        return [(int(a), int(b), int(c)) for a, b, c in rows]


async def run_demo(demo: Demo, draw: Callable[[DemoView], None]) -> bool:
    """`Demo.run` with Ctrl-C and SIGTERM as a wish to stop in order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, demo.stop)
    return await demo.run(draw)


def has_mosquitto() -> bool:
    """Whether Mosquitto is installed."""
    return Path(_MOSQUITTO).exists() or shutil.which("mosquitto") is not None
