"""`tukad gateway thresholds` and `tukad gateway forecast`: what held when, and fit the forecast."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.config import EXIT_CONFIG, ConfigError
from gateway.rules.forecast import (
    ACTIVE_MM,
    SKILL_MIN,
    History,
    RainTotal,
    Series,
    fit,
    read_tide,
)
from gateway.rules.thresholds import KEY, as_json
from gateway.rules.vote import Vote
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


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("target")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--upstream", multiple=True, help="A gauge upstream; give it as often as needed.")
@click.option("--rain", multiple=True, help="A device with a rain gauge.")
@click.option("--tide", type=click.Path(path_type=Path), help="Tide table: CSV of time, level_mm.")
@click.option("--active-mm", default=ACTIVE_MM, show_default=True, help="What counts as moving.")
def forecast(
    config: Path,
    target: str,
    out: Path,
    upstream: tuple[str, ...],
    rain: tuple[str, ...],
    tide: Path | None,
    active_mm: int,
) -> None:
    """Fit the forecast of TARGET on the ledger's readings and write the model to OUT.

    It shows what each horizon is worth on times left out of the fit; a horizon without skill is
    not used. Put the file into the configuration: [alarm] forecast = "OUT".
    """
    try:
        settings = load(config).settings
        points = read_tide(tide) if tide is not None else []
    except ConfigError as error:
        click.echo(f"tukad: {error}", err=True)
        raise SystemExit(EXIT_CONFIG) from None
    path = settings.gateway.data_dir / "ledger.db"
    if not path.exists():
        raise click.ClickException(f"{path}: there is no ledger yet")
    tip_um = settings.alarm.tip_um
    try:
        series = Series(
            History(_levels(path, target)),
            [History(_levels(path, name)) for name in upstream],
            [History(_rain(path, name, tip_um)) for name in rain],
            History(points) if points else None,
        )
        tide_name = "" if tide is None else str(tide.resolve())
        model = fit(target, series, upstream, rain, tide_name, active_mm=active_mm)
        model.save(out)
    except (sqlite3.Error, OSError, ValueError) as error:
        raise click.ClickException(f"{target}: {error}") from None
    table = Table("minutes", "skill", "times", "band", "", box=None, header_style="bold")
    for one in model.horizons:
        used = "" if one.skill >= SKILL_MIN else "not used: no better than the present level"
        band = f"{one.low:+.2f} .. {one.high:+.2f} of {{20 mm + change}}"
        table.add_row(str(one.minutes), f"{one.skill:+.2f}", str(one.rows), band, used)
    Console().print(table)


def _rows(path: Path, device: str) -> Iterator[tuple[int, dict[str, int]]]:
    """Times and values of a device's readings, in rising time."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = db.execute(
            "SELECT time_ms, body FROM reading JOIN stream ON stream.id = reading.stream"
            " WHERE device = ? ORDER BY time_ms",
            (device,),
        )
        for time_ms, body in found:
            yield time_ms, json.loads(body)
    finally:
        db.close()


def _levels(path: Path, device: str) -> list[tuple[int, float]]:
    """Levels as the alarms believe them. Raises ValueError when there are none."""
    vote = Vote(base_mm=1 << 30)
    points: list[tuple[int, float]] = []
    for time_ms, values in _rows(path, device):
        level = values.get("level_mm")
        believed = None if level is None else vote.feed(time_ms, level)
        if believed is not None:
            points.append((time_ms, believed))
    if not points:
        raise ValueError(f"the ledger has no level_mm of {device}")
    return points


def _rain(path: Path, device: str, tip_um: int) -> list[tuple[int, float]]:
    total = RainTotal(tip_um)
    points: list[tuple[int, float]] = []
    for time_ms, values in _rows(path, device):
        mm = total.feed(time_ms, values)
        if mm is not None:
            points.append((time_ms, mm))
    if not points:
        raise ValueError(f"the ledger has no rain of {device}")
    return points
