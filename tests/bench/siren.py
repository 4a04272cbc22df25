"""Bench of the chain that the city pays for: water crosses Awas, and the siren's relay closes.

Real firmware in MicroPython for every flood node and siren, their SX1262 at SPI level, one channel
and one concentrator in simulated radio, and the real agent (`tukad gateway run`) with its network
server, rules and siren act, on the wall clock. The broker is dead all the time. Flood nodes are in
alarm mode (Siaga); each pair of a node and a siren crosses Awas again and again, at its own times.

The true moment is that of the water; the end is the edge on the siren's relay pin. Options:
--pairs 6 --seconds 300 --loss 0.0 (chance that the link of a node is bad, in bursts of seconds).
"""

import argparse
import contextlib
import itertools
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from hil.nodes import Node, NodeSpec
from hil.pace import Pacer, UdpEdge
from sim.kernel import SECOND, Simulation, Trace
from sim.radio.concentrator import EIGHT_CHANNELS, Concentrator
from sim.radio.forwarder import Forwarder
from sim.radio.medium import BurstLoss, Medium
from sim.radio.medium import Path as RadioPath

AWAS_MM = 2660
GOAL_S = 3.0
_SETTLE_S = 150.0  # joins, clocks, status frames, data rates, Siaga
_RATE_MM_S = 1.5  # 5.4 m/h: what these rivers do, and a rise that the rules believe at once
_LOW_MM, _HIGH_MM = 2620.0, 2690.0
LATE_S = 30.0  # a siren that did not sound within this counts as silent


@dataclass
class Pair:
    """A gauge and its siren; `crossings` are simulated microseconds of the truth."""

    name: str
    dice: random.Random
    ends_us: int
    plan: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    crossings: list[int] = field(default_factory=list[int])
    relay: list[int] = field(default_factory=list[int])
    low_mm: float = _LOW_MM
    high_mm: float = _HIGH_MM
    fall_mm_s: float = _RATE_MM_S

    def make(self) -> None:
        """The water: Siaga, just below Awas; steadily through it; back; and again."""
        at_s = _SETTLE_S + self.dice.uniform(0, 60)
        self.plan.append((0.0, self.low_mm))
        climb_s = (self.high_mm - self.low_mm) / _RATE_MM_S
        fall_s = (self.high_mm - self.low_mm) / self.fall_mm_s
        while (at_s + climb_s) * SECOND < self.ends_us:
            self.plan += [(at_s, self.low_mm), (at_s + climb_s, self.high_mm)]
            crossing_s = at_s + (AWAS_MM - self.low_mm) / _RATE_MM_S
            self.crossings.append(round(crossing_s * SECOND))
            at_s += climb_s + 5
            self.plan += [(at_s, self.high_mm), (at_s + fall_s, self.low_mm)]
            at_s += fall_s + self.dice.uniform(5, 25)
        self.plan.append((1e9, self.low_mm))

    def level_mm(self, now_s: float) -> float:
        for (at, level), (then, following) in zip(self.plan, self.plan[1:], strict=False):
            if at <= now_s < then:
                return level + (following - level) * (now_s - at) / (then - at)
        return self.low_mm


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_config(folder: Path, nodes: list[Node], pairs: list[Pair], port: int) -> Path:
    dead = free_port(socket.SOCK_STREAM)
    extra = [hz for hz in EIGHT_CHANNELS if hz not in (921_400_000, 921_600_000)][:5]
    lines = [
        '[gateway]\nsite = "bench"\ndata_dir = "data"\nstatus_bind = ""\ndrain_s = 0',
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{dead}"',
        f'[lorawan]\nbind = "127.0.0.1:{port}"\nregion = "AS923-2"',
        # An hour's worth of alarms every few minutes is no use of the air that a law would see.
        f"duty_percent = 50\nextra_channels_hz = {extra}",
        "[siren]\nmax_soundings = 100",
    ]
    for pair in pairs:
        lines.append(f'[[siren.unit]]\nname = "{pair.name}"\ndevice = "siren-{pair.name}"')
        lines.append(
            f'[[siren.rule]]\ngauges = ["flood-{pair.name}"]\nlevel = 3\n'
            f'sirens = ["{pair.name}"]\npattern = 5\nduration_s = 5'
        )
    for node in nodes:
        name, role = node.spec.name, node.spec.role
        keys = folder / f"{name}.keys"
        keys.touch(mode=0o600)
        keys.write_text(f"app_key = {node.app_key.hex()}\n")
        lines.append(
            f'[[device]]\nname = "{name}"\ndev_eui = "{node.dev_eui.hex()}"\n'
            f'join_eui = "{node.join_eui.hex()}"\nkeys = "{keys.name}"\nkind = "{role}"'
        )
        if role == "siren":
            lines.append('device_class = "C"')
        else:
            lines.append(
                f"interval_s = 10\nstages = {{ waspada_mm = 500, siaga_mm = 1160, "
                f"awas_mm = {AWAS_MM}, hysteresis_mm = 20, hold_s = 0 }}"
            )
    path = folder / "gateway.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Run:
    """One bench run."""

    def __init__(self, folder: Path, count: int, seconds: float, loss: float, seed: int) -> None:
        self.folder, self.seconds = folder, seconds
        self.sim = Simulation(seed, Trace(keep=2_000_000))
        self._trace = (folder / "trace.jsonl").open("w")
        self.sim.trace.sink = lambda line: self._trace.write(line + "\n")
        self.medium = Medium(self.sim, RadioPath(exponent=2.9, sigma_db=3.0))
        self.concentrator = Concentrator(self.sim, self.medium)
        port = free_port(socket.SOCK_DGRAM)
        udp = UdpEdge("127.0.0.1", port)
        self.forwarder = Forwarder(
            self.sim, self.concentrator, bytes.fromhex("0016c001f1500812"), udp.send
        )
        udp.deliver = self.forwarder.datagram
        self.pairs: list[Pair] = []
        self.nodes: list[Node] = []
        epoch_s = time.time()
        for i in range(count):
            pair = Pair(f"p{i}", random.Random(seed * 1000 + i), round(seconds * SECOND))
            pair.make()
            self.pairs.append(pair)
            for role in ("flood", "siren"):
                settings: dict[str, object] = {"status_s": 21_600}
                if role == "flood":
                    settings |= {
                        "stages_mm": [500, 1160, AWAS_MM],
                        "intervals_s": [60, 10, 10, 10],
                        "hold_s": 0,
                        "hysteresis_mm": 20,
                    }
                else:
                    settings |= {"siren_silent_days": 0, "siren_audible_day": 0}
                node = Node(
                    self.sim,
                    self.medium,
                    NodeSpec(
                        name=f"{role}-{pair.name}",
                        role=role,
                        x_m=500.0 + 150 * i,
                        y_m=300.0 * (i % 3) + (120 if role == "siren" else 0),
                        settings=settings,
                    ),
                    level_mm=(lambda pair=pair: pair.level_mm(self.sim.now_us / 1e6))
                    if role == "flood"
                    else None,
                    epoch_s=epoch_s,
                    log=folder / f"{role}-{pair.name}.log",
                )
                self.nodes.append(node)
                if role == "siren":
                    node.board.watch(node.pins["siren"], self._watcher(pair))
                elif loss:
                    link = frozenset((node.spec.name, self.concentrator.name))
                    self.medium.bursts[link] = BurstLoss(good_s=6 * (1 - loss) / loss, bad_s=6.0)
        self.config = write_config(folder, self.nodes, self.pairs, port)
        self.pacer = Pacer(self.sim, [udp])

    def _watcher(self, pair: Pair):
        def changed(level: int) -> None:
            if level:
                pair.relay.append(self.sim.now_us)

        return changed

    def play(self) -> None:
        tukad = str(Path(sys.executable).with_name("tukad"))
        with (self.folder / "gateway.log").open("wb") as log:
            agent = subprocess.Popen(
                [tukad, "gateway", "run", str(self.config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            time.sleep(3.0)
            for i, node in enumerate(self.nodes):
                self.sim.after(200_000 + 700_000 * i, node.power_on)
            self.sim.after(0, self.forwarder.start)
            self.pacer.start()
            end = time.monotonic() + self.seconds * 1.5 + 60
            while self.sim.now_us < self.seconds * SECOND and time.monotonic() < end:
                time.sleep(1.0)
                if self.pacer.error is not None:
                    raise self.pacer.error
                if agent.poll() is not None:
                    words = (self.folder / "gateway.log").read_text().splitlines()[-3:]
                    raise SystemExit("the agent ended: " + " | ".join(words))
        finally:
            self.pacer.stop()
            self._trace.close()
            for node in self.nodes:
                node.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGTERM)
            agent.wait(20)

    def report(self) -> None:
        heard: dict[str, list[int]] = {}
        begun: dict[str, list[int]] = {}
        down: list[int] = []
        for when, who, what, fields in self.sim.trace.records:
            if what == "gateway.rx" and fields["ok"]:
                heard.setdefault(str(fields["node"]), []).append(when)
            elif what == "air.tx" and who.startswith("flood-"):
                begun.setdefault(who, []).append(when)
            elif what == "forwarder.down" and fields["error"] == "NONE":
                down.append(when)
        chain: list[list[float]] = []
        first: list[list[float]] = []
        silent = 0
        for pair in self.pairs:
            node = f"flood-{pair.name}"
            for crossing in pair.crossings:
                if crossing + LATE_S * SECOND > self.sim.now_us:
                    continue
                on = next((t for t in pair.relay if t > crossing - 2 * SECOND), None)
                if on is None or on > crossing + LATE_S * SECOND:
                    silent += 1
                    continue
                order = max((t for t in down if t < on), default=crossing)
                arrived = max((t for t in heard.get(node, ()) if t < order), default=crossing)
                tries = [t for t in begun.get(node, ()) if crossing - 2e6 < t < arrived]
                sent = max(tries, default=crossing)
                parts = [crossing, sent, arrived, order, on]
                row = [(b - a) / 1e6 for a, b in itertools.pairwise(parts)]
                chain.append([*row, (on - crossing) / 1e6])
                if len(tries) == 1:
                    first.append(chain[-1])
        if not chain:
            raise SystemExit(f"no siren sounded in {silent} crossings; see {self.folder}")
        print(
            f"{len(chain) + silent} crossings, {silent} without a sound; simulation slipped "
            f"{self.pacer.slipped_ms / 1000:.1f} s of {self.seconds:.0f} (busy machine)"
        )
        names = (
            "sampling and decision",
            "airtime of the event",
            "network server, rules, act",
            "class C airtime to relay",
            "crossing to relay",
        )
        print(f"{'s':30s}{'p50':>8s}{'p90':>8s}{'p99':>8s}{'max':>8s}")
        for index, name in enumerate(names):
            column = sorted(row[index] for row in chain)
            cells = [column[min(len(column) - 1, int(len(column) * q))] for q in (0.5, 0.9, 0.99)]
            print(f"{name:30s}" + "".join(f"{cell:8.2f}" for cell in (*cells, column[-1])))
        total = [row[-1] for row in chain]
        within = sum(value <= GOAL_S for value in total)
        print(
            f"within {GOAL_S:.0f} s: {100 * within / (len(chain) + silent):.1f} %; mean "
            f"{statistics.fmean(total):.2f} s; {len(chain) - len(first)} needed a second copy"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        run = Run(path, options.pairs, options.seconds, options.loss, options.seed)
        run.play()
        run.report()
