"""`tukad gateway thresholds CONFIG`: which thresholds held when, set by whom and why."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.config import EXIT_CONFIG, ConfigError
from gateway.rules.thresholds import KEY, as_json
from gateway.settings import Settings, load

_NUMBERS = ("waspada_mm", "siaga_mm", "awas_mm", "hysteresis_mm", "hold_s")


def _history(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every version of every device in a ledger, the oldest first; {} when there is none yet."""
    if not path.exists():
        return {}
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = db.execute(
            "SELECT key, value FROM state WHERE key >= ? AND key < ? ORDER BY key",
            (KEY, KEY[:-1] + chr(ord(KEY[-1]) + 1)),
        )
        return {key.removeprefix(KEY): json.loads(value) for key, value in rows}
    finally:
        db.close()


def _pending(settings: Settings, history: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the file has and the ledger does not know yet."""
    rows: list[dict[str, Any]] = []
    for device, stages in settings.stages().items():
        wanted = as_json(stages)
        newest = history.get(device, [{}])[-1]
        if wanted != {name: newest.get(name) for name in wanted}:
            rows.append({"device": device, "number": None, "since_ms": None, **wanted})
    return rows


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--device", help="Only this device.")
@click.option("--json", "as_lines", is_flag=True, help="One JSON object a line.")
def thresholds(config: Path, device: str | None, as_lines: bool) -> None:
    """Show every version of the thresholds: which held when, set by whom and why.

    A version without a number is in the file but not in force: the agent was not restarted since.
    """
    try:
        settings = load(config).settings
    except ConfigError as error:
        click.echo(f"tukad: {error}", err=True)
        raise SystemExit(EXIT_CONFIG) from None
    path = settings.gateway.data_dir / "ledger.db"
    try:
        history = _history(path)
    except (sqlite3.Error, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from None
    rows: list[dict[str, Any]] = []
    for name, many in history.items():
        rows += [{**row, "device": name} for row in many]
    rows += _pending(settings, history)
    rows = [row for row in rows if device in (None, row["device"])]
    if device is not None and not rows:
        known = ", ".join(sorted({*history, *settings.stages()})) or "none"
        raise click.ClickException(f"--device {device}: has no thresholds; there are: {known}")
    if as_lines:
        for row in rows:
            click.echo(json.dumps(row))
        return
    zone = settings.gateway.zone
    table = Table("device", "no.", f"since ({zone})", box=None, header_style="bold")
    for name in _NUMBERS:
        table.add_column(name, justify="right")
    for name in ("version", "set by", "set on", "reason"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            row["device"],
            str(row["number"] or "-"),
            _date(row["since_ms"], settings.gateway.utc_offset_h),
            *(str(row[name]) for name in _NUMBERS),
            *(row[name] or "-" for name in ("version", "set_by", "set_on", "reason")),
        )
    console = Console()
    console.width = max(console.width, 160)  # whole words, also in a pipe
    console.print(table)


def _date(time_ms: int | None, offset_h: float) -> str:
    if time_ms is None:
        return "not in force"
    moment = datetime.fromtimestamp(time_ms / 1000, UTC) + timedelta(hours=offset_h)
    return f"{moment:%Y-%m-%d %H:%M}"
