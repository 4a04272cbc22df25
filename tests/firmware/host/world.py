"""A node with the real firmware in MicroPython, a network's end and the water: `flood_world`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.nodes import Node, NodeSpec
from protocols.payload import ports
from protocols.payload.backfill import decode_backfill
from protocols.payload.command import decode_answer, encode_command
from protocols.payload.event import decode_event
from protocols.payload.flood import FloodFrame, FloodSample, decode_flood
from protocols.payload.status import decode_status
from protocols.payload.track import TrackFix, TrackFrame, decode_track
from sim.chips.gnss import Fix
from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator
from sim.radio.medium import Medium
from tests.firmware.host.network import Arrived, NetworkDouble

NEAR = (-875_000, 11_522_000)  # the gateway, where modulo positions are resolved
# Ticks begin five minutes before their wrap, so every run of some length crosses it.
EPOCH_S = 217_000_000  # seconds since 2020 at the start of a run: November 2026
TICKS_START_US = ((1 << 30) - 300_000) * 1000


class World:
    """`run(seconds)`, and what the network's end has heard, decoded."""

    def __init__(
        self,
        tmp: Path,
        *,
        role: str = "flood",
        level_mm: Callable[[float], float] | None = None,
        rain_mm_h: Callable[[float], float] | None = None,
        where: Callable[[], Fix] | None = None,
        settings: dict[str, object] | None = None,
        seed: int = 1,
        entry: tuple[str, str] = ("firmware.main", "run"),
        files: dict[str, bytes] | None = None,
        board: str = "unix-pico",
    ) -> None:
        self.sim = Simulation(seed)
        self.medium = Medium(self.sim)
        self.concentrator = Concentrator(self.sim, self.medium)
        common: dict[str, object] = {"intervals_s": [60, 60, 60, 10], "report_max_s": 60}
        spec = NodeSpec(name="node", role=role, board=board, settings=common | (settings or {}))
        self.node = Node(
            self.sim,
            self.medium,
            spec,
            level_mm=None if level_mm is None else lambda: level_mm(self.now_s),
            rain_mm_h=None if rain_mm_h is None else lambda: rain_mm_h(self.now_s),
            where=where,
            epoch_s=float(EPOCH_S + ports.EPOCH_UNIX_S),
            log=tmp / "node.log",
            ticks_start_us=TICKS_START_US,
            entry=entry,
        )
        self.put(files or {})
        self.log = tmp / "node.log"
        self.network = NetworkDouble(self.sim, self.concentrator, self.node.app_key, EPOCH_S)
        self.network.on_frame = self._decode
        self.samples: dict[int, FloodSample] = {}
        self.flood: list[FloodFrame] = []
        self.events: list[dict[str, int | None]] = []
        self.event_times: list[float] = []
        self.status: dict[str, object] = {}
        self.fixes: dict[int, TrackFix] = {}
        self.track: list[TrackFrame] = []
        self.track_times: list[float] = []
        self.answers: list[dict[str, int]] = []
        self._number = 0
        self._last: tuple[int, int] | None = None

    @property
    def now_s(self) -> float:
        return self.sim.now_us / SECOND

    def run(self, seconds: float) -> None:
        self.sim.run_until(self.sim.now_us + round(seconds * SECOND))
        assert not self.sim.faults, self.sim.faults[:5]

    def put(self, files: dict[str, bytes]) -> None:
        """Put files on the flash at the next start, as a cable does."""
        pending: list[tuple[str, bytes]] = vars(self.node.firmware)["_pending_files"]
        pending += sorted(files.items())

    def command(self, kind: int, values: dict[str, int]) -> int:
        """Queue a command for the next receive window; its number."""
        self._number += 1
        self.network.commands.append(encode_command(kind, self._number, values))
        return self._number

    def power_cycle(self, off_s: float = 2.0) -> None:
        self.node.power_off()
        self.run(off_s)
        self.node.power_on()

    def _decode(self, frame: Arrived) -> None:
        now_s = self.network.now_s
        if frame.port == ports.PORT_FLOOD:
            last, last_s = self._last or (0, None)
            decoded = decode_flood(frame.data, now_s, last, last_s)
            self.flood.append(decoded)
            newest = decoded.samples[0]
            self._last = newest.sequence, newest.time_s
            for sample in decoded.samples:
                self.samples.setdefault(sample.sequence, sample)
        elif frame.port == ports.PORT_TRACK:
            last, last_s = self._last or (0, None)
            track = decode_track(frame.data, now_s, *NEAR, last, last_s)
            self.track.append(track)
            self.track_times.append(frame.at_s)
            self._last = track.fixes[0].sequence, track.fixes[0].time_s
            for fix in track.fixes:
                self.fixes.setdefault(fix.sequence, fix)
        elif frame.port == ports.PORT_BACKFILL:
            newest_known = self._last[0] if self._last else 0
            answer = decode_backfill(frame.data, now_s, newest_known, *NEAR)
            for sample in answer.samples:
                self.samples.setdefault(sample.sequence, sample)
            for fix in answer.fixes:
                self.fixes.setdefault(fix.sequence, fix)
        elif frame.port == ports.PORT_EVENT:
            self.events.append(decode_event(frame.data, now_s))
            self.event_times.append(frame.at_s)
        elif frame.port == ports.PORT_STATUS:
            self.status |= decode_status(frame.data)
        elif frame.port == ports.PORT_ANSWER:
            self.answers.append(decode_answer(frame.data))


@contextmanager
def running(world: World) -> Iterator[World]:
    """Switch the node on; end its process whatever happens."""
    world.node.power_on()
    try:
        yield world
    finally:
        world.node.close()
