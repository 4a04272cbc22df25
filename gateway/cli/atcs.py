"""`tukad atcs`: check a plan, try it, draw it, write the monitor's card, run a junction dry."""

import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from gateway.atcs import chart
from gateway.atcs.calendar import Wall
from gateway.atcs.card import card as make_card
from gateway.atcs.checks import REFUSED, check, refusals
from gateway.atcs.controller import TICK_MS, Controller, Inputs, Output
from gateway.atcs.plan import Plan, load
from gateway.atcs.report import HEADER, csv_rows
from gateway.atcs.report import spat as spat_of
from gateway.config import EXIT_CONFIG, ConfigError

PLAN = click.argument("plan", type=click.Path(path_type=Path))
SECONDS = click.option("--seconds", default=600, show_default=True, help="How long to simulate.")
SEED = click.option("--seed", default=1, show_default=True, help="Of the random arrivals.")
FLOW = click.option("--vph", default=300.0, show_default=True, help="Vehicles/h a movement, unless "
                    "the plan has its flow_vph.")  # fmt: skip


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
    plan: Plan, seconds: int, seed: int, vph: float
) -> Iterator[tuple[Controller, Output]]:
    """A controller under seeded arrivals that queue and leave one every two seconds of green."""
    rng = random.Random(seed)
    controller = Controller(plan, 0)
    queue = [0.0] * len(plan.movement)
    lamps = (3,) * len(plan.movement)
    inputs = Inputs()
    sensors = [flood.sensor for flood in plan.flood]
    for k in range(1, seconds * 1000 // TICK_MS + 1):
        for i, movement in enumerate(plan.movement):
            flow = movement.flow_vph or (vph if movement.kind != "pedestrian" else vph / 10)
            queue[i] += rng.random() < flow / 3600 * TICK_MS / 1000
            if lamps[i] == 1:
                queue[i] = max(0.0, queue[i] - 0.05 * max(1, movement.lanes))
        inputs.detectors = sum(
            1 << i
            for i, detector in enumerate(plan.detector)
            if queue[plan.index[detector.movement]] > 0
        )
        if k % 600 == 1:
            for sensor in sensors:
                controller.report_stage(sensor, 0)
        output = controller.step(k * TICK_MS, inputs)
        lamps = output.lamps
        yield controller, output


@atcs.command()
@PLAN
@SECONDS
@SEED
@FLOW
@click.option("--log", type=click.Path(path_type=Path), help="Write the high-resolution log here.")
def sim(plan: Path, seconds: int, seed: int, vph: float, log: Path | None) -> None:
    """Run PLAN against random arrivals in virtual time and say what happened."""
    built = _safe(plan)
    greens = [0] * len(built.movement)
    rows: list[str] = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for _, output in _simulate(built, seconds, seed, vph):
        rows += csv_rows(output.events, 1, start)
        for i, lamp in enumerate(output.lamps):
            greens[i] += lamp == 1
    for movement, ticks in zip(built.movement, greens, strict=True):
        share = 100.0 * ticks * TICK_MS / 1000 / seconds
        click.echo(f"{movement.name:12} green {share:5.1f} % of the time (hijau)")
    if log is not None:
        log.write_text("\n".join([HEADER, *rows]) + "\n")
        click.echo(f"{log}: {len(rows)} events")


@atcs.command()
@PLAN
@click.argument("target", type=click.Path(path_type=Path))
@SECONDS
@SEED
@FLOW
@click.option("--kind", type=click.Choice(["lamps", "splits"]), default="lamps", show_default=True)
def plot(plan: Path, target: Path, seconds: int, seed: int, vph: float, kind: str) -> None:
    """Draw a simulated run of PLAN as SVG: its lamps over time, or the lengths of its greens."""
    built = _safe(plan)
    history = [output.lamps for _, output in _simulate(built, seconds, seed, vph)]
    names = [movement.name for movement in built.movement]
    draw = chart.lamps if kind == "lamps" else chart.splits
    target.write_text(draw(names, history, TICK_MS / 1000))
    click.echo(str(target))


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
