"""Runs a scenario on a target and keeps what a report needs.

Public: `run`, `Result`, `TARGETS`: "unix", MicroPython processes in virtual time; "emulator", a
MicroPython UF2 on emulated RP2040s, in virtual time too; "board", a board on USB in real time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hil.actions import schedule
from hil.board.bench import BenchFile
from hil.board.link import BoardError
from hil.board.target import play
from hil.emulator.node import usable_uf2
from hil.expectations import Verdict, check, duty_percent
from hil.scenario import Scenario
from hil.world import EPOCH_S, World

TARGETS = ("unix", "emulator", "board")


@dataclass(kw_only=True)
class NodeReport:
    """One node's part of a result; series are (seconds, value)."""

    name: str
    role: str
    boots: int
    sent: int
    heard: int
    readings: int
    missing: int
    duty_percent: float
    airtime_s: float
    energy_mah: dict[str, float]
    average_ma: float
    calls: int
    truth: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    reported: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    frames: list[float] = field(default_factory=list[float])
    alarms: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])


@dataclass(kw_only=True)
class Result:
    """One run of one scenario."""

    name: str
    title: str
    about: str
    target: str
    seed: int
    duration_s: float
    wall_s: float
    digest: str
    stages_mm: tuple[int, int, int]
    verdicts: list[Verdict]
    nodes: list[NodeReport]
    events: list[tuple[float, str]]
    lost: dict[str, int]
    faults: list[str]
    skipped: list[str] = field(default_factory=list[str])  # with reasons; on a board only

    @property
    def held(self) -> bool:
        """Whether every expectation held."""
        return all(verdict.held for verdict in self.verdicts)

    @property
    def again(self) -> str:
        """The command that repeats it."""
        return f"tukad hil run {self.name} --target {self.target} --seed {self.seed}"


def run(
    scenario: Scenario,
    *,
    target: str = "unix",
    seed: int = 1,
    log_dir: Path | None = None,
    sink: Callable[[str], object] | None = None,
    on_progress: Callable[[float], object] | None = None,
    realtime: bool = False,
    uf2: Path | None = None,
    bench: BenchFile | None = None,
) -> Result:
    """Play a scenario; every process it started has ended when this returns or raises.

    `realtime` holds it back to the wall clock, to watch it or to attach something to a node.
    `uf2` is the MicroPython of the emulator (else TUKAD_UF2); raises EmulatorError without one.
    `bench` names the board and its instruments; raises BoardError without one on "board".
    """
    if target not in TARGETS:
        raise ValueError(f"no target {target}; there are: {', '.join(TARGETS)}")
    if target == "board":
        return _on_board(scenario, bench, seed, log_dir, on_progress)
    if target == "emulator":
        uf2 = usable_uf2(scenario, uf2)
    start = time.monotonic()
    world = World(
        scenario, seed, log_dir=log_dir, sink=sink, uf2=uf2 if target == "emulator" else None
    )
    try:
        for event in scenario.events:
            schedule(world, event)
        world.run(_paced(on_progress) if realtime else on_progress, 0.05 if realtime else None)
        verdicts = check(world)
        nodes = [_report(world, name) for name in world.nodes]
    finally:
        world.close()
    return Result(
        name=scenario.name,
        title=scenario.title,
        about=scenario.about,
        target=target,
        seed=seed,
        duration_s=scenario.duration_s,
        wall_s=time.monotonic() - start,
        digest=world.sim.trace.digest(),
        stages_mm=scenario.stages_mm,
        verdicts=verdicts,
        nodes=nodes,
        events=[
            (t / 1e6, f"{who}: {fields['do']}") for t, who, fields in world.sim.trace.find("event")
        ],
        lost=dict(world.medium.lost),
        faults=[f"{t / 1e6:.3f} s {who}: {what}" for t, who, what in world.sim.faults[:50]],
    )


def _on_board(
    scenario: Scenario,
    bench: BenchFile | None,
    seed: int,
    log_dir: Path | None,
    on_progress: Callable[[float], object] | None,
) -> Result:
    if bench is None:
        raise BoardError(
            "no board: give --port /dev/ttyACM0, or --bench bench.toml with the instruments"
            " that are wired (docs/bench-wiring.md)"
        )
    played = play(scenario, bench, seed=seed, on_progress=on_progress)
    if log_dir:
        log_dir.mkdir(parents=True, exist_ok=True)
        (log_dir / "board.log").write_text("".join(line + "\n" for line in played.lines))
    return Result(
        name=scenario.name,
        title=scenario.title,
        about=scenario.about,
        target="board",
        seed=seed,
        duration_s=scenario.duration_s,
        wall_s=played.wall_s,
        digest="",  # a real board is never the same twice
        stages_mm=scenario.stages_mm,
        verdicts=played.verdicts,
        nodes=[],
        events=[],
        lost={},
        faults=[],
        skipped=played.skipped,
    )


def _paced(on_progress: Callable[[float], object] | None) -> Callable[[float], object]:
    start_s = time.monotonic()

    def wait(simulated_s: float) -> None:
        if on_progress:
            on_progress(simulated_s)
        time.sleep(max(0.0, start_s + simulated_s - time.monotonic()))

    return wait


def _report(world: World, name: str) -> NodeReport:
    node, seen, energy = world.nodes[name], world.seen[name], world.energy[name]
    numbers = sorted(seen.readings)
    span = numbers[-1] - numbers[0] + 1 if numbers else 0
    return NodeReport(
        name=name,
        role=node.spec.role,
        boots=node.firmware.boots,
        sent=node.chip.tx_count,
        heard=seen.heard,
        readings=len(numbers),
        missing=span - len(numbers),
        duty_percent=duty_percent(seen.airtime),
        airtime_s=sum(length for _, length in seen.airtime) / 1e6,
        energy_mah=energy.mah(),
        average_ma=energy.average_ma(),
        calls=node.firmware.calls,
        truth=[(t / 1e6, float(mm)) for t, mm in seen.truth],
        reported=sorted(
            (when - EPOCH_S, float(level))
            for when, level in seen.readings.values()
            if level is not None and when > 0
        ),
        frames=[t / 1e6 for t, _ in seen.airtime],
        alarms=[(t / 1e6, stage) for t, stage in seen.alarms],
    )
