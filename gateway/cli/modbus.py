"""`tukad modbus`: for the technician at the bus. Read a sensor, look for units, list profiles."""

import asyncio
import logging
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.cli.gateway import fail
from gateway.config import ConfigError
from gateway.sources.line import LineError
from gateway.sources.modbus import Bus, Sensor, port_check, read_once
from gateway.sources.profile import FRAMES, load_profile, profile_names
from gateway.sources.scan import SETTINGS, scan


def _port(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    problem = port_check(value)
    if problem:
        raise click.BadParameter(f'"{value}" {problem}')
    return value


def _units(_ctx: click.Context, _param: click.Parameter, value: str) -> list[int]:
    """ "1-20,246" as numbers."""
    units: list[int] = []
    try:
        for part in value.split(","):
            low, _, high = part.partition("-")
            units.extend(range(int(low), int(high or low) + 1))
    except ValueError:
        raise click.BadParameter(f'"{value}" is not like 1-20,246') from None
    if not units or min(units) < 0 or max(units) > 255:
        raise click.BadParameter(f'"{value}" is outside 0..255')
    return units


PORT = click.argument("port", callback=_port)


@click.group()
def modbus() -> None:
    """Wired sensors: read one, look for them on a bus, list the profiles."""
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


@modbus.command()
@PORT
@click.argument("profile")
@click.option("--unit", type=click.IntRange(0, 255), help="Address; else the profile's.")
@click.option("--baud", type=click.IntRange(300, 1_000_000), help="Speed; else the profile's.")
@click.option("--frame", type=click.Choice(FRAMES), help="Frame; else the profile's.")
@click.option("--timeout-ms", default=500, show_default=True, help="Wait so long for an answer.")
@click.option("--height-mm", type=int, help="Sensor above the gauge's zero: shows the level.")
@click.option("--all", "every", is_flag=True, help="Every register of the profile.")
def read(
    port: str,
    profile: str,
    unit: int | None,
    baud: int | None,
    frame: str | None,
    timeout_ms: int,
    height_mm: int | None,
    every: bool,
) -> None:
    """Read one sensor on PORT with a PROFILE and show its values."""
    try:
        known = load_profile(profile, Path())
    except ConfigError as error:
        fail(str(error))
    safe = tuple(value.name for value in known.value if not value.reading_clears)
    bus = Bus(name="cli", port=port, baud=baud or known.baud, frame=frame or known.frame)
    sensor = Sensor(
        name="cli",
        profile=profile,
        unit=known.unit if unit is None else unit,
        timeout_ms=timeout_ms,
        height_mm=height_mm,
        values=safe if every else (),
    )
    try:
        values = asyncio.run(read_once(bus, sensor))
    except LineError as error:
        cure = {
            "timeout": "check power, A/B wires, address, speed and frame; try: tukad modbus scan",
            "noise": "bytes came, but no frame: wrong speed or frame, or two units on one address",
        }.get(error.code, "it answered, but not as the profile says")
        fail(f"{port}: unit {sensor.unit}: {error}; {cure}")
    except OSError as error:
        fail(f"{port}: {error}")
    for value in known.value:
        if value.name in values:
            click.echo(f"{value.name} = {values.pop(value.name)}")
        elif value.name in (sensor.values or known.polled):
            click.echo(f"{value.name} = -  (the sensor says: no measurement)")
    for name, number in values.items():
        click.echo(f"{name} = {number}")


@modbus.command("scan")
@PORT
@click.option(
    "--units", default="1-20,32,192,246,247", show_default=True, callback=_units, help="Addresses."
)
@click.option("--timeout-ms", default=120, show_default=True, help="Wait so long for each.")
@click.option("--baud", type=click.IntRange(300, 1_000_000), help="Only this speed.")
@click.option("--frame", type=click.Choice(FRAMES), help="Only this frame.")
def scan_bus(
    port: str, units: list[int], timeout_ms: int, baud: int | None, frame: str | None
) -> None:
    """Look for units on PORT, with the usual speeds and frames."""
    settings = [
        one for one in SETTINGS if one[0] == (baud or one[0]) and one[1] == (frame or one[1])
    ] or [(baud or 9600, frame or "8N1")]
    console = Console()
    table = Table("unit", "baud", "frame", "looks like", "", box=None, header_style="bold")

    async def collect() -> int:
        count = 0
        async for one in scan(port, units, settings, timeout_ms / 1000):
            count += 1
            style = "red" if one.is_collision else ""
            table.add_row(
                str(one.unit),
                "" if "tcp://" in port else str(one.baud),
                "" if "tcp://" in port else one.frame,
                ", ".join(one.profiles) or "unknown",
                one.detail,
                style=style,
            )
        return count

    try:
        with console.status(f"asking {len(units)} addresses on {port}"):
            count = asyncio.run(collect())
    except OSError as error:
        fail(f"{port}: {error}")
    if not count:
        fail(f"{port}: nobody answers; check power, A/B wires and --units")
    console.print(table)


@modbus.command()
def profiles() -> None:
    """List the sensor profiles that come with the program."""
    table = Table("profile", "what", "factory", "map", box=None, header_style="bold")
    for name in profile_names():
        one = load_profile(name)
        factory = f"{one.baud} {one.frame} unit {one.unit}"
        table.add_row(name, one.what, factory, one.status)
    Console().print(table)
