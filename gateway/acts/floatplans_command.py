"""`tukad gateway floatplan`: add, list and close float plans in the file that [watch] reads."""

import json
import time
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.acts.floatplans import FloatPlanFile, PlanError, as_item, parse_plan
from gateway.acts.watch_settings import WatchSettings
from gateway.config import ConfigError
from gateway.settings import load

CONFIG = click.argument("config", type=click.Path(path_type=Path))


def _file(config: Path) -> tuple[FloatPlanFile, set[str]]:
    try:
        settings = load(config).settings
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    watch = settings.watch or WatchSettings()
    name = watch.float_plans or "floatplans.json"
    path = settings.gateway.data_dir / name
    return FloatPlanFile(path), {one.device for one in watch.vessel}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.group()
def floatplan() -> None:
    """Float plans: which vessel is back when; a late one raises an alarm."""


@floatplan.command()
@CONFIG
@click.option("--vessel", required=True, help="Name of its tracker.")
@click.option("--return", "back", required=True, help="When it is back: 2026-09-10T18:00+08:00.")
@click.option("--depart", help="When it leaves; now if absent.")
@click.option("--grace-min", type=click.IntRange(0, 1440), default=60, show_default=True)
@click.option("--contact", default="", help="Whom to call when it is late.")
@click.option("--id", "plan_id", default="", help="Name of the plan; the same replaces it.")
def add(
    config: Path,
    vessel: str,
    back: str,
    depart: str | None,
    grace_min: int,
    contact: str,
    plan_id: str,
) -> None:
    """Register a plan; the running agent takes it up within seconds."""
    file, vessels = _file(config)
    if vessel not in vessels:
        raise click.ClickException(
            f'there is no [[watch.vessel]] with device = "{vessel}"; there are:'
            f" {', '.join(sorted(vessels)) or 'none'}"
        )
    item = {
        "vessel": vessel,
        "return": back,
        "depart": depart,
        "grace_min": grace_min,
        "contact": contact,
        "id": plan_id,
    }
    now = _now_ms()
    try:
        plan = parse_plan(item, now)
        if plan.return_ms <= max(plan.depart_ms, now):
            raise PlanError("the return is not after the departure and now")
        kept = [one for one in file.read(now) if one.id != plan.id]
        file.write([*kept, plan])
    except (PlanError, OSError) as error:
        raise click.ClickException(f"{file.path}: {error}") from None
    click.echo(f"{plan.id}: {vessel} is back by {as_item(plan)['return']}")


@floatplan.command("list")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_plans(config: Path, as_json: bool) -> None:
    """Show the plans of the file."""
    file, _ = _file(config)
    try:
        plans = file.read(_now_ms())
    except (PlanError, OSError) as error:
        raise click.ClickException(f"{file.path}: {error}") from None
    items = [as_item(one) for one in plans]
    if as_json:
        click.echo(json.dumps(items))
        return
    table = Table("id", "vessel", "depart", "return", "grace", "contact", box=None)
    for one in items:
        table.add_row(
            one["id"], one["vessel"], one["depart"], one["return"],
            f"{one['grace_min']} min", one["contact"],
        )  # fmt: skip
    Console().print(table)


@floatplan.command()
@CONFIG
@click.argument("plan_id")
def close(config: Path, plan_id: str) -> None:
    """The vessel is back: end its plan and its alarm."""
    file, _ = _file(config)
    try:
        plans = file.read(_now_ms())
        kept = [one for one in plans if one.id != plan_id]
        if len(kept) == len(plans):
            raise click.ClickException(
                f"{file.path}: there is no plan {plan_id}; list them: tukad gateway floatplan list"
            )
        file.write(kept)
    except (PlanError, OSError) as error:
        raise click.ClickException(f"{file.path}: {error}") from None
    click.echo(f"{plan_id}: closed")
