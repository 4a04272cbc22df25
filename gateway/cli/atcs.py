"""`tukad atcs`: check a plan, try it, draw it, write the monitor's card, run a junction dry."""

import logging
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import rich_click as click

from gateway.atcs import chart
from gateway.atcs.cabinet.wiring import load as load_wiring
from gateway.atcs.calendar import Wall
from gateway.atcs.canvas import Canvas
from gateway.atcs.card import card as make_card
from gateway.atcs.checks import REFUSED, check, refusals
from gateway.atcs.controller import TICK_MS, Controller, Inputs, Output
from gateway.atcs.plan import Plan, load
from gateway.atcs.report import HEADER, csv_rows, detector_rows
from gateway.atcs.report import spat as spat_of
from gateway.config import EXIT_CONFIG, ConfigError

PLAN = click.argument("plan", type=click.Path(path_type=Path))
SECONDS = click.option("--seconds", default=600, show_default=True, help="How long to simulate.")
PATTERN = click.option("--pattern", default="", help="Run this plan of the file, whatever the day.")
SEED = click.option("--seed", default=1, show_default=True, help="Of the random arrivals.")
FLOW = click.option("--vph", default=300.0, show_default=True, help="Vehicles/h a movement, unless "
                    "the plan has its flow_vph.")  # fmt: skip

_START_MS = 12 * 3_600_000
"""Simulations start at noon of a Monday."""


def _load(path: Path) -> Plan:
    try:
        return load(path)
    except ConfigError as error:
        click.echo(f"tukad: {error}", err=True)
        raise SystemExit(EXIT_CONFIG) from None


def _safe(path: Path) -> Plan:
    plan = _load(path)
    wrong = refusals(plan)
    if wrong:
        for finding in wrong:
            click.echo(str(finding), err=True)
        click.echo(f"tukad: {path}: unsafe; ditolak ({len(wrong)} refused)", err=True)
        raise SystemExit(EXIT_CONFIG)
    return plan


@click.group()
def atcs() -> None:
    """The junction: signal plans, controller, conflict monitor's card."""


@atcs.command(name="check")
@PLAN
def check_command(plan: Path) -> None:
    """Refuse an unsafe plan and name the numbers; advise on the rest."""
    findings = check(_load(plan))
    for finding in findings:
        click.echo(str(finding))
    refused = sum(finding.level == REFUSED for finding in findings)
    if refused:
        click.echo(f"{plan}: UNSAFE, {refused} refused (TIDAK AMAN, {refused} ditolak)")
        raise SystemExit(1)
    click.echo(f"{plan}: safe to run (aman dijalankan)")


@atcs.command()
@PLAN
@click.argument("target", type=click.Path(path_type=Path))
def card(plan: Path, target: Path) -> None:
    """Write the conflict monitor's program card for PLAN to TARGET."""
    built = _safe(plan)
    try:
        data = make_card(built)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    target.write_bytes(data)
    click.echo(
        f"{target}: {len(data)} bytes, {len(built.movement)} channels, CRC {data[-4:].hex()}"
    )
    for i, movement in enumerate(built.movement):
        foes = [
            other.name for j, other in enumerate(built.movement) if built.clearance_ms[i][j] >= 0
        ]
        click.echo(f"  channel {i} {movement.name}: conflicts {', '.join(foes) or 'none'}")


def _simulate(
    plan: Plan, seconds: int, seed: int, vph: float, pattern: str = ""
) -> Iterator[tuple[Controller, Output]]:
    """A controller under seeded arrivals that queue and leave one every two seconds of green."""
    rng = random.Random(seed)
    controller = Controller(plan, 0)
    controller.central = pattern
    queue = [0.0] * len(plan.movement)
    coming: list[deque[int]] = [deque() for _ in plan.movement]
    lamps = (3,) * len(plan.movement)
    inputs = Inputs()
    sensors = [flood.sensor for flood in plan.flood]
    setback = {d.movement: d.setback_m for d in plan.detector if d.kind == "advance"}
    for k in range(1, seconds * 1000 // TICK_MS + 1):
        passing = 0
        for i, movement in enumerate(plan.movement):
            flow = movement.flow_vph or (vph if movement.kind != "pedestrian" else vph / 10)
            if rng.random() < flow / 3600 * TICK_MS / 1000:
                passing |= 1 << i
                ride_s = setback.get(movement.name, 0.0) / (movement.speed_kmh / 3.6)
                coming[i].append(k + round(ride_s * 1000 / TICK_MS))
            while coming[i] and coming[i][0] <= k:
                coming[i].popleft()
                queue[i] += 1
            if lamps[i] == 1:
                queue[i] = max(0.0, queue[i] - 0.05 * max(1, movement.lanes))
        inputs.detectors = sum(
            1 << i
            for i, detector in enumerate(plan.detector)
            if (
                passing >> plan.index[detector.movement] & 1
                if detector.kind == "advance"
                else queue[plan.index[detector.movement]] > 0
            )
        )
        inputs.counts = {
            i: round(queue[plan.index[detector.movement]])
            for i, detector in enumerate(plan.detector)
            if detector.kind == "camera"
        }
        if k % 600 == 1:
            for sensor in sensors:
                controller.report_stage(sensor, 0)
        inputs.wall = Wall("2026-01-05", 0, _START_MS + k * TICK_MS)
        output = controller.step(k * TICK_MS, inputs)
        lamps = output.lamps
        yield controller, output


@atcs.command()
@PLAN
@SECONDS
@SEED
@FLOW
@PATTERN
@click.option("--log", type=click.Path(path_type=Path), help="Write the high-resolution log here.")
@click.option("--detectors", type=click.Path(path_type=Path), help="Write the detectors' phases.")
def sim(
    plan: Path, seconds: int, seed: int, vph: float, pattern: str, log: Path | None,
    detectors: Path | None,
) -> None:  # fmt: skip
    """Run PLAN against random arrivals in virtual time and say what happened."""
    built = _safe(plan)
    _known(built, plan, pattern)
    greens = [0] * len(built.movement)
    waits = [0.0]
    rows: list[str] = []
    start = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(milliseconds=_START_MS)
    for controller, output in _simulate(built, seconds, seed, vph, pattern):
        rows += csv_rows(output.events, 1, start)
        waits.append(controller.waits.longest_ms(controller.now_ms) / 1000)
        for i, lamp in enumerate(output.lamps):
            greens[i] += lamp == 1
    for movement, ticks in zip(built.movement, greens, strict=True):
        share = 100.0 * ticks * TICK_MS / 1000 / seconds
        click.echo(f"{movement.name:12} green {share:5.1f} % of the time (hijau)")
    bound = built.junction.red_max_s
    click.echo(f"longest wait {max(waits):.0f} s, bound {bound:g} s (tunggu terlama)")
    if log is not None:
        log.write_text("\n".join([HEADER, *rows]) + "\n")
        click.echo(f"{log}: {len(rows)} events")
    if detectors is not None:
        detectors.write_text("\n".join(detector_rows(built, 1)) + "\n")
        click.echo(f"{detectors}: phases and kinds of the detectors")


@atcs.command()
@PLAN
@click.argument("target", type=click.Path(path_type=Path))
@SECONDS
@SEED
@FLOW
@PATTERN
@click.option("--kind", type=click.Choice(["lamps", "splits"]), default="lamps", show_default=True)
def plot(
    plan: Path, target: Path, seconds: int, seed: int, vph: float, pattern: str, kind: str
) -> None:
    """Draw a simulated run of PLAN as SVG or PNG: its lamps over time, or its greens' lengths."""
    built = _safe(plan)
    _known(built, plan, pattern)
    history = [output.lamps for _, output in _simulate(built, seconds, seed, vph, pattern)]
    names = [movement.name for movement in built.movement]
    draw = chart.lamps if kind == "lamps" else chart.splits
    _save(draw(names, history, TICK_MS / 1000), target)


@atcs.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("stops", nargs=-1, required=True, metavar="PLAN@METRES...")
@SECONDS
@SEED
@FLOW
@PATTERN
@click.option("--movement", default="", help="The road's movement; else the coordinated one.")
@click.option("--speed", default=40.0, show_default=True, help="Speed of the wave in km/h.")
def corridor(
    target: Path, stops: tuple[str, ...], seconds: int, seed: int, vph: float, pattern: str,
    movement: str, speed: float,
) -> None:  # fmt: skip
    """Draw the time-space diagram of a road: PLAN@METRES for each junction, the first at 0."""
    if len(stops) < 2:
        raise click.ClickException("a corridor has two junctions or more: PLAN@0 PLAN@350")
    if speed <= 0:
        raise click.ClickException(f"--speed {speed:g} km/h: must be over 0")
    rows: list[chart.Stop] = []
    for text in stops:
        name, _, metres = text.rpartition("@")
        try:
            distance = float(metres)
        except ValueError:
            raise click.ClickException(f"{text}: is not PLAN@METRES") from None
        if rows and distance <= rows[-1].distance_m:
            raise click.ClickException(f"{text}: {metres} m is not after the junction before it")
        built = _safe(Path(name))
        _known(built, Path(name), pattern)
        wanted = movement or _road(built, pattern)
        if wanted not in built.index:
            names = ", ".join(built.index)
            raise click.ClickException(f"{name}: no movement {wanted}; there are: {names}")
        history = [o.lamps for _, o in _simulate(built, seconds, seed + len(rows), vph, pattern)]
        junction = built.junction
        rows.append(chart.Stop(junction.id, distance, built.index[wanted], history))
    _save(chart.corridor(rows, TICK_MS / 1000, speed / 3.6), target)


def _road(plan: Plan, pattern: str) -> str:
    """The first movement of the pattern's coordinated entry, or of the first entry."""
    timing = plan.timing(pattern)
    name = timing.coordinated if timing is not None else ""
    entry = next((entry for entry in plan.entry if entry.name == name), plan.entry[0])
    return entry.green[0]


def _known(plan: Plan, path: Path, pattern: str) -> None:
    names = [timing.name for timing in plan.plan]
    if pattern not in ("", *names):
        raise click.ClickException(f"{path}: no plan {pattern}; there are: {', '.join(names)}")


def _save(canvas: Canvas, target: Path) -> None:
    try:
        canvas.save(target)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(str(target))


@atcs.command()
@PLAN
@click.argument("cabinet", type=click.Path(path_type=Path))
def wires(plan: Path, cabinet: Path) -> None:
    """Check the wires of CABINET against PLAN and print them, point by point."""
    built = _safe(plan)
    try:
        wiring = load_wiring(cabinet, built)
    except ConfigError as error:
        click.echo(f"tukad: {error}", err=True)
        raise SystemExit(EXIT_CONFIG) from None
    for board in wiring.board:
        click.echo(f"board {board.name}: {board.kind} {board.port} unit {board.unit}")
    for lamp in wiring.lamp:
        for colour in ("red", "yellow", "green"):
            point = str(getattr(lamp, colour))
            if point:
                click.echo(f"  output {point:12} {lamp.movement} {colour}")
    for what, point in (("watchdog", wiring.cabinet.watchdog), ("flash", wiring.cabinet.flash)):
        if point:
            click.echo(f"  output {point:12} {what}")
    for row in wiring.input:
        kinds = ("detector", "preempt", "panel", "lamp_fault")
        meaning = next(f"{kind} {getattr(row, kind)}" for kind in kinds if getattr(row, kind))
        click.echo(f"  input  {row.point:12} {meaning}{' (inverted)' if row.inverted else ''}")


@atcs.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("name")
def serve(config: Path, name: str) -> None:
    """Run the junction NAME of the gateway's CONFIG with its cabinet, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    for noisy in ("asyncio", "pymodbus"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    from gateway.atcs.service.process import run_junction

    try:
        code = run_junction(config, name)
    except ConfigError as error:
        click.echo(f"tukad: {error}", err=True)
        raise SystemExit(EXIT_CONFIG) from None
    raise SystemExit(code)


@atcs.command()
@PLAN
@click.option("--spat/--no-spat", default=True, help="Print a SPaT line whenever a lamp changes.")
def run(plan: Path, spat: bool) -> None:
    """Run PLAN in real time without outputs, calls on every detector; Ctrl-C ends it."""
    built = _safe(plan)
    begin = time.monotonic()
    controller = Controller(built, 0)
    shown: tuple[int, ...] = ()
    inputs = Inputs(detectors=(1 << len(built.detector)) - 1)
    try:
        while True:
            now_ms = round((time.monotonic() - begin) * 1000)
            local = datetime.now().astimezone()
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
            inputs.wall = Wall(
                f"{local:%Y-%m-%d}",
                local.weekday(),
                round((local - midnight).total_seconds() * 1000),
            )
            output = controller.step(now_ms, inputs)
            if spat and output.lamps != shown:
                click.echo(spat_of(controller, output))
                sys.stdout.flush()
            shown = output.lamps
            time.sleep(max(0.0, begin + output.deadline_ms / 1000 - time.monotonic()))
    except KeyboardInterrupt:
        click.echo("ended (selesai)", err=True)
