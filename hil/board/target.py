"""Plays one node of a scenario on a real board, in real time, with the instruments that are wired.

Public: `play`. What needs an instrument that is not there, or a network's side that no bench has,
is skipped with its reason: a scenario never passes by silence. Readings are judged from the log in
the board's own flash, which is read afterwards.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hil.board.bench import BenchFile
from hil.board.instruments import GnssPort, ResetLine, SerialRtuEdge
from hil.board.link import BoardError, BoardLink
from hil.expectations import Verdict
from hil.mpy import compiled
from hil.nodes import settings_file
from hil.pace import Edge, Pacer
from hil.scenario import EventEntry, ExpectEntry, NodeEntry, Scenario
from hil.unix_target import ROOT
from hil.world import EPOCH_S, WAYPOINTS, gauge_of
from sim.board import Board
from sim.chips.gnss import GnssReceiver
from sim.chips.level_sensors import LevelSensor
from sim.chips.modbus import crc16
from sim.kernel import SECOND, Simulation, Trace
from sim.world.sea import Track

_START = "from firmware.main import run\nrun()"
_ADDRESS = 1
_GNSS_BAUD = 9600
_ROW = 16
_SENSOR_EVENTS = ("sensor_fault", "sensor_silent", "sensor_noise")
_GNSS_EVENTS = ("gnss_outage", "gnss_jump")
NO_BENCH = "no instrument does this on a bench; it is played on unix and emulator"
NO_NETWORK = "seen from the network's side, which a bench does not have; see docs/bench-wiring.md"


@dataclass
class BoardRun:
    """What came of it."""

    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    skipped: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    boots: int = 1
    rows: list[tuple[int, int, bool, int]] = field(default_factory=list[tuple[int, int, bool, int]])
    wall_s: float = 0.0
    installed: int = 0


class _Bench:
    """The instruments of one run, on a simulation that is paced to the wall clock."""

    def __init__(self, scenario: Scenario, entry: NodeEntry, bench: BenchFile, seed: int) -> None:
        self.sim = Simulation(seed, Trace(keep=1000))
        self.gauge = gauge_of(scenario, entry, lambda: self.sim.now_us / 1e6)
        self.edges: list[Edge] = []
        self.sensor: LevelSensor | None = None
        self.line: SerialRtuEdge | None = None
        self.gnss: GnssReceiver | None = None
        self._gnss_port: GnssPort | None = None
        self.reset: ResetLine | None = None
        self.parity, self.baud = "N", 9600
        if entry.role == "flood":
            rng = self.sim.rng("sensor/" + entry.name)
            sensor = LevelSensor(entry.sensor, self.gauge, entry.height_mm, rng, address=_ADDRESS)
            self.parity, self.baud = "NOE"[sensor.frame_format >> 4 & 3], sensor.baud
            if bench.sensor_port:
                self.sensor = sensor
                self.line = SerialRtuEdge(
                    self.sim, sensor.slave, _ADDRESS, bench.sensor_port, self.baud, self.parity
                )
                self.edges.append(self.line)
        if bench.gnss_port:
            board = Board(self.sim, entry.name)
            self._gnss_port = GnssPort(self.sim, board, bench.gnss_port, _GNSS_BAUD)
            track = Track(WAYPOINTS, lambda: self.sim.now_us / 1e6, speed_mps=entry.speed_mps)
            self.gnss = GnssReceiver(
                self.sim, self._gnss_port, track, epoch_s=EPOCH_S, baud=_GNSS_BAUD
            )
        if bench.reset_port:
            self.reset = ResetLine(bench.reset_port)

    def close(self) -> None:
        if self._gnss_port:
            self._gnss_port.release()
        if self.reset:
            self.reset.close()

    def why_not(self, event: EventEntry) -> str:
        """Why an event cannot be played; "" when it can."""
        if event.do in _SENSOR_EVENTS:
            return "" if self.sensor else "no [sensor] in bench.toml"
        if event.do in _GNSS_EVENTS:
            return "" if self.gnss else "no [gnss] in bench.toml"
        if event.do == "reset":
            return "" if self.reset else "no [reset] in bench.toml"
        return NO_BENCH

    def begin(self, event: EventEntry) -> None:
        """Play it; undone after its time."""
        value = event.value
        if event.do == "reset" and self.reset:
            self.reset.pull()
        elif event.do == "sensor_fault" and self.sensor:
            self._set(self.sensor, "fault", str(value), "", event)
        elif event.do == "sensor_silent" and self.line:
            self._set(self.line, "silent", True, False, event)
        elif event.do == "sensor_noise" and self.line:
            self._set(self.line, "noise", float(str(value)), 0.0, event)
        elif event.do == "gnss_outage" and self.gnss:
            self._set(self.gnss, "outage", True, False, event)
        elif event.do == "gnss_jump" and self.gnss:
            self._set(self.gnss, "jump_m", float(str(value)), 0.0, event)

    def _set(
        self, what: object, name: str, value: object, after: object, event: EventEntry
    ) -> None:
        setattr(what, name, value)
        if event.for_s:
            self.sim.after(round(event.for_s * SECOND), setattr, what, name, after)


def _settings(scenario: Scenario, entry: NodeEntry, bench: BenchFile, rig: _Bench) -> bytes:
    rng = rig.sim.rng("keys/" + entry.name)
    settings: dict[str, object] = {
        "role": entry.role,
        "board": bench.file,
        "name": entry.name,
        "region": "AS923-2",
        "dev_eui": (bytes([0x70, 0xB3, 0xD5]) + rng.randbytes(5)).hex(),
        "join_eui": "70b3d57ed0000001",
        "app_key": rng.randbytes(16).hex(),
    }
    if entry.role == "flood":
        settings |= {
            "sensor_profile": entry.sensor,
            "sensor_address": _ADDRESS,
            "sensor_baud": rig.baud,
            "sensor_parity": rig.parity,
            "sensor_height_mm": entry.height_mm,
            "stages_mm": list(scenario.stages_mm),
        }
    return settings_file(settings | dict(entry.settings))


def play(
    scenario: Scenario,
    bench: BenchFile,
    *,
    seed: int = 1,
    on_progress: Callable[[float], object] | None = None,
    start: str = _START,
    files: dict[str, bytes] | None = None,
) -> BoardRun:
    """Install, start, follow to the end, judge. Raises BoardError.

    `start` is the code that runs on the board, `files` replaces the device code.
    """
    entry = _entry(scenario, bench)
    out = BoardRun()
    begun = time.monotonic()
    rig = _Bench(scenario, entry, bench, seed)
    try:
        with BoardLink(bench.port) as link:
            out.installed = link.install(_device_code() if files is None else files)
            link.remove("log.")  # of the run before
            link.install({"settings.new": _settings(scenario, entry, bench, rig)})
            pacer = Pacer(rig.sim, rig.edges)
            for event in scenario.events:
                _plan(event, entry, rig, out)
            link.start(start)
            pacer.start()
            try:
                _follow(scenario, link, pacer, out, on_progress)
            finally:
                pacer.stop()
            link.stop()
            out.rows = _log(link)
    finally:
        rig.close()
    _judge(scenario, entry, rig, out)
    out.wall_s = time.monotonic() - begun
    return out


def _entry(scenario: Scenario, bench: BenchFile) -> NodeEntry:
    names = [node.name for node in scenario.nodes]
    if not bench.node:
        return scenario.nodes[0]
    if bench.node not in names:
        raise BoardError(
            f"board.node = {bench.node!r} is not in {scenario.name}; it has: {', '.join(names)}"
        )
    return scenario.nodes[names.index(bench.node)]


def _device_code() -> dict[str, bytes]:
    tree = compiled(ROOT)
    if tree is None:
        raise BoardError("no mpy-cross: run `make setup`")
    return {
        path.relative_to(tree).as_posix(): path.read_bytes() for path in sorted(tree.rglob("*.mpy"))
    }


def _plan(event: EventEntry, entry: NodeEntry, rig: _Bench, out: BoardRun) -> None:
    if event.node not in ("", "*", entry.name):
        out.skipped.append(f"event {event.do} of {event.node}: the board plays {entry.name}")
        return
    reason = rig.why_not(event)
    if reason:
        out.skipped.append(f"event {event.do} at {event.at_s:.0f} s: {reason}")
        return
    for i in range(event.times):
        rig.sim.at(round((event.at_s + i * event.every_s) * SECOND), rig.begin, event)


def _follow(
    scenario: Scenario,
    link: BoardLink,
    pacer: Pacer,
    out: BoardRun,
    on_progress: Callable[[float], object] | None,
) -> None:
    end = time.monotonic() + scenario.duration_s
    while (left := end - time.monotonic()) > 0:
        for line in link.lines(min(0.25, left)):
            out.lines.append(line)
            out.boots += line.startswith("MPY: soft reboot") or line.startswith("MicroPython v")
        if on_progress:
            on_progress(scenario.duration_s - max(0.0, end - time.monotonic()))


def _log(link: BoardLink) -> list[tuple[int, int, bool, int]]:
    """(sequence, time s, whether that is uptime, level mm) of each whole row on the board."""
    rows: list[tuple[int, int, bool, int]] = []
    for name in link.names("log."):
        data = link.read(name)
        if len(data) < 8 or data[:2] != b"\x4c\x47":
            continue
        first = int.from_bytes(data[2:6], "big")
        for at in range(8, len(data) - _ROW + 1, _ROW):
            row, number = data[at : at + _ROW], first + (at - 8) // _ROW
            checked = crc16(row[:14] + b"\0\0" + number.to_bytes(4, "big"))
            if int.from_bytes(checked, "little") == int.from_bytes(row[14:], "big"):
                time_s, _, level = struct.unpack_from(">IHh", row)
                rows.append((number, time_s, bool(row[12] & 1), level))
    return sorted(rows)


def _judge(scenario: Scenario, entry: NodeEntry, rig: _Bench, out: BoardRun) -> None:
    for expect in scenario.expects:
        if expect.node not in ("", "*", entry.name):
            out.skipped.append(f"expect {expect.what} of {expect.node}: another node's")
            continue
        verdict = _verdict(expect, entry, rig, out)
        if isinstance(verdict, str):
            out.skipped.append(f"expect {expect.what}: {verdict}")
        else:
            out.verdicts.append(verdict)


def _verdict(expect: ExpectEntry, entry: NodeEntry, rig: _Bench, out: BoardRun) -> Verdict | str:
    def held(is_held: bool, found: str) -> Verdict:
        return Verdict(what=expect.what, node=entry.name, held=is_held, found=found)

    keys = expect.values
    if expect.what == "no_crashes":
        traces = [line for line in out.lines if line.startswith("Traceback")]
        last = out.lines[-1] if traces and out.lines else "none"
        return held(not traces, f"{len(traces)} tracebacks; {last}" if traces else "none")
    if expect.what == "boots":
        least, most = int(str(keys.get("least", 0))), int(str(keys.get("most", 1 << 30)))
        return held(least <= out.boots <= most, str(out.boots))
    if expect.what == "readings":
        if not rig.sensor:
            return "no [sensor] in bench.toml"
        return held(len(out.rows) >= int(str(keys["least"])), f"{len(out.rows)} in the flash")
    if expect.what == "level_error":
        if not rig.sensor:
            return "no [sensor] in bench.toml"
        return _level_error(expect, rig, out, held)
    return NO_NETWORK


def _level_error(
    expect: ExpectEntry, rig: _Bench, out: BoardRun, held: Callable[[bool, str], Verdict]
) -> Verdict | str:
    rows = [(time_s, level) for _, time_s, uptime, level in out.rows if uptime and level != -0x8000]
    if not rows:
        return "no reading with a time in the board's log"
    errors = [abs(level - rig.gauge.at(time_s)) for time_s, level in rows]
    worst = max(errors)
    return held(worst <= float(str(expect.values["most_mm"])), f"{worst:.0f} mm over {len(rows)}")
