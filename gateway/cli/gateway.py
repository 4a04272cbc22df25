"""`tukad gateway`: run the agent, check its configuration, look at it, audit its ledger."""

import asyncio
import importlib
import json
import logging
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.config import EXIT_CONFIG, ConfigError
from gateway.ledger.audit import audit, new_logs
from gateway.settings import Loaded, describe, load
from gateway.status import ask_health

CONFIG = click.argument("config", type=click.Path(path_type=Path))


def fail(message: str, code: int = 1) -> NoReturn:
    """One plain line, whole, so that it can be searched for; then the end."""
    click.echo(f"tukad: {message}", err=True)
    raise SystemExit(code)


def _load(config: Path) -> Loaded:
    try:
        return load(config)
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)


# Commands of other modules, imported only when they are used: name -> "module:attribute".
MORE = {
    "assets": "gateway.acts.assets:assets",
    "auditlog": "gateway.cli.remote:auditlog",
    "cap-ack": "gateway.acts.cap_command:cap_ack",
    "cap-key": "gateway.acts.cap_command:cap_key",
    "cap-list": "gateway.acts.cap_command:cap_list",
    "cap-verify": "gateway.acts.cap_command:cap_verify",
    "confirm": "gateway.cli.remote:confirm",
    "floatplan": "gateway.acts.floatplans_command:floatplan",
    "forecast": "gateway.rules.command:forecast",
    "key": "gateway.cli.remote:key",
    "send": "gateway.cli.remote:send",
    "thresholds": "gateway.rules.command:thresholds",
}


class _Group(click.RichGroup):
    """The commands of this module and of `MORE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *MORE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MORE:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = MORE[cmd_name].partition(":")
        return getattr(importlib.import_module(module), attribute)


@click.group(cls=_Group)
def gateway() -> None:
    """The agent on the Pi: sources, ledger, alarms, MQTT."""


@gateway.command()
@CONFIG
@click.option("-v", "--verbose", is_flag=True, help="Log what each part does.")
def run(config: Path, verbose: bool) -> None:
    """Run the agent until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    # The agent and all its libraries: other commands start without them.
    from gateway.agent import StartError
    from gateway.process import Process

    loaded = _load(config)
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s"
        if sys.stderr.isatty()
        else "%(levelname)s %(name)s %(message)s",
    )
    for noisy in ("asyncio", "pymodbus", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING if verbose else logging.CRITICAL)
    try:
        asyncio.run(Process(loaded).run())
    except StartError as error:
        fail(str(error))
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)


@gateway.command()
@CONFIG
@click.option("-q", "--quiet", is_flag=True, help="Only say what is wrong.")
def check(config: Path, quiet: bool) -> None:
    """Check a configuration and show every setting in force, with its origin."""
    loaded = _load(config)
    if not quiet:
        for key, value, origin in describe(loaded):
            line = f"{key} = {value}"
            click.echo(click.style(f"{line}  (default)", dim=True) if origin == "default" else line)
    from gateway.agent import problems
    from gateway.remote.trials import in_force

    afar = in_force(loaded.settings.gateway.data_dir, config)
    if afar is not None and not quiet:
        click.echo(f"in force instead: version {afar[0]}, from an operator (docs/remote.md)")
    found = problems(loaded, loaded.settings.gateway.data_dir)
    for line in found:
        click.echo(f"would not start now: {line}", err=True)
    if found:
        raise SystemExit(1)
    if not quiet:
        click.echo(f"{config}: good")


@gateway.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="The health record as JSON.")
def status(config: Path, as_json: bool) -> None:
    """Show the health of the agent that runs with this configuration."""
    folder = _load(config).settings.gateway.data_dir
    try:
        health = asyncio.run(ask_health(folder / "status.sock"))
    except (OSError, TimeoutError, json.JSONDecodeError):
        fail(f"no agent answers on {folder}; start it: tukad gateway run {config}")
    if as_json:
        click.echo(json.dumps(health))
        return
    _show_health(health)


@gateway.command("audit")
@CONFIG
@click.option("--device", help="Only this device.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def audit_ledger(config: Path, device: str | None, as_json: bool) -> None:
    """Prove completeness: by device and day what came, what is missing, what is lost."""
    path = _load(config).settings.gateway.data_dir / "ledger.db"
    try:
        lines = [one for one in audit(path) if device in (None, one.device)]
        logs = [one for one in new_logs(path) if device in (None, one.device)]
    except FileNotFoundError:
        fail(f"{path}: there is no ledger yet")
    except sqlite3.Error as error:
        fail(f"{path}: {error}")
    if as_json:
        for one in lines:
            row = {name: getattr(one, name) for name in one.__slots__}
            row |= {"day": one.day.isoformat(), "completeness": round(one.completeness, 6)}
            click.echo(json.dumps(row))
        return
    heads = ("live", "history", "asked", "missing", "lost", "dropped", "unsent", "complete")
    table = Table("device", "stream", "day", box=None, header_style="bold")
    for head in heads:
        table.add_column(head, justify="right")
    for one in lines:
        share = f"{one.completeness:.2%}"
        numbers = (one.live, one.history, one.backfill, one.missing, one.lost, one.dropped)
        table.add_row(
            one.device,
            one.stream,
            one.day.isoformat(),
            *(str(number) if number else "-" for number in (*numbers, one.waiting)),
            f"[green]{share}[/]" if one.completeness == 1 else f"[yellow]{share}[/]",
        )
    console = Console()
    console.width = max(console.width, 120)  # whole numbers, also in a pipe
    console.print(table)
    for log in logs:
        since = datetime.fromtimestamp(log.since_ms / 1000, UTC).isoformat(timespec="seconds")
        console.print(
            f"{log.device}/{log.stream}: new log since {since} (log {log.number});"
            f" the one before ended with number {log.last_before}"
        )


def _show_health(health: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"[bold]{health['site']}[/bold]  tukad {health['version']}, up {health['uptime_s']} s"
    )
    table = Table("part", "state", "restarts", "", box=None, header_style="bold")
    for part in health["parts"]:
        style = "green" if part["state"] == "running" else "red"
        table.add_row(
            part["name"], f"[{style}]{part['state']}[/]", str(part["restarts"]), part["detail"]
        )
    console.print(table)
    for fault in health["faults"]:
        console.print(f"[red]{fault['code']}[/] {fault['subject']}: {fault['detail']}")
    if not health["faults"]:
        console.print("[green]no faults[/]")
    counters = Table("counter", "value", box=None, header_style="bold")
    for name, value in health["counters"].items():
        if value:
            counters.add_row(name.removeprefix("now_"), f"{value:,}")
    console.print(counters)
