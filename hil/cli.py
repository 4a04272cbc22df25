"""`tukad hil`: run scenarios on simulated hardware, list them, report on them, serve its parts."""

import sys
import time
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hil.bench import Bench
from hil.board.bench import BenchFile, load_bench
from hil.board.link import BoardError
from hil.demo.command import demo
from hil.emulator.chip import EmulatorError
from hil.report import html, junit, load_results, save
from hil.run import TARGETS, Result, run
from hil.scenario import ACTIONS, EXPECTATIONS, Scenario, ScenarioError, available, load
from hil.serve import SensorServer
from sim.chips.level_sensors import FAULTS, KINDS

_RESULTS = Path("hil-results")


class ScenarioFailure(click.ClickException):
    """A scenario file that a person must mend."""

    exit_code = 78


@click.group()
def hil() -> None:
    """Hardware in the loop: real firmware against simulated hardware, in virtual or real time."""


hil.add_command(demo)


def _load(name: str) -> Scenario:
    try:
        return load(Path(name))
    except ScenarioError as error:
        raise ScenarioFailure(str(error)) from None


@hil.command("list")
def list_() -> None:
    """The scenarios that come with the project."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "simulated", "nodes", "what it is"):
        table.add_column(heading)
    for path in available():
        scenario = _load(str(path))
        nodes = sum(node.count for node in scenario.nodes)
        hours = f"{scenario.duration_s / 3600:.1f} h"
        table.add_row(scenario.name, hours, str(nodes), scenario.title)
    Console().print(table)


@hil.command()
def words() -> None:
    """What a scenario may do (event.do) and demand (expect.what)."""
    table = Table(box=None, pad_edge=False)
    for heading in ("event.do", "of", "value"):
        table.add_column(heading)
    for name, (needs_node, value) in ACTIONS.items():
        table.add_row(name, "a node" if needs_node else "the world", value[1] if value else "")
    Console().print(table)
    table = Table(box=None, pad_edge=False)
    for heading in ("expect.what", "keys"):
        table.add_column(heading)
    for name, (_, keys) in EXPECTATIONS.items():
        table.add_row(name, "; ".join(f"{key}: {text}" for key, (_, text) in keys.items()))
    Console().print(table)


@hil.command("run")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("--target", type=click.Choice(TARGETS), default="unix", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Chance, reproducible.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Run so many seeds from --seed.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=_RESULTS,
    show_default=True,
    help="Folder for results; consoles of the nodes go there too.",
)
@click.option("--trace", is_flag=True, help="Keep every traced event as JSON lines.")
@click.option("--realtime", is_flag=True, help="Hold it back to the wall clock.")
@click.option(
    "--uf2",
    type=click.Path(dir_okay=False, path_type=Path),
    help="MicroPython for RPI_PICO, for --target emulator. [default: $TUKAD_UF2]",
)
@click.option("--port", help="Serial port of the board, for --target board without instruments.")
@click.option(
    "--bench",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What is wired, for --target board (docs/bench-wiring.md).",
)
def run_(
    scenarios: tuple[str, ...],
    target: str,
    seed: int,
    seeds: int,
    out: Path,
    trace: bool,
    realtime: bool,
    uf2: Path | None,
    port: str | None,
    bench: Path | None,
) -> None:
    """Run scenarios (files, or names of `tukad hil list`; "all" for every one) and judge them."""
    names = [str(path) for path in available()] if scenarios == ("all",) else list(scenarios)
    loaded = [_load(name) for name in names]
    wired = _wired(port, bench)
    failed = 0
    console = Console()
    for scenario in loaded:
        for number in range(seed, seed + seeds):
            result = _play(console, scenario, target, number, out, trace, realtime, uf2, wired)
            save(result, out)
            _show(console, result)
            failed += not result.held
    if failed:
        sys.exit(1)


def _wired(port: str | None, bench: Path | None) -> BenchFile | None:
    try:
        if bench:
            return load_bench(bench)
    except BoardError as error:
        raise ScenarioFailure(str(error)) from None
    return BenchFile(port=port) if port else None


def _play(
    console: Console,
    scenario: Scenario,
    target: str,
    seed: int,
    out: Path,
    trace: bool,
    realtime: bool,
    uf2: Path | None,
    bench: BenchFile | None,
) -> Result:
    out.mkdir(parents=True, exist_ok=True)
    bar = Progress(
        TextColumn(f"{scenario.name}, seed {seed}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    logs = out / f"{scenario.name}-{target}-{seed}.logs"
    file = (out / f"{scenario.name}-{target}-{seed}.jsonl").open("w") if trace else None
    try:
        with bar:
            task = bar.add_task("", total=scenario.duration_s)
            return run(
                scenario,
                target=target,
                seed=seed,
                log_dir=logs,
                sink=(lambda line: file.write(line + "\n")) if file else None,
                on_progress=lambda s: bar.update(task, completed=s),
                realtime=realtime,
                uf2=uf2,
                bench=bench,
            )
    except (FileNotFoundError, EmulatorError, BoardError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        if file:
            file.close()


def _show(console: Console, result: Result) -> None:
    mark = "[green]held[/]" if result.held else "[red]failed[/]"
    speed = result.duration_s / max(result.wall_s, 1e-9)
    console.print(
        f"{result.title}: {mark}  [dim]{result.duration_s / 3600:.1f} h in {result.wall_s:.1f} s, "
        f"{speed:,.0f} x real time[/]"
    )
    for v in result.verdicts:
        sign = "[green]+[/]" if v.held else "[red]-[/]"
        console.print(f"  {sign} {v.what:<13} {v.node:<18} {v.found}", highlight=False)
    for skipped in result.skipped:
        console.print(f"  [yellow]o[/] skipped: {skipped}", highlight=False)
    if not result.held:
        console.print(f"  repeat: {result.again}", highlight=False)


@hil.command()
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=_RESULTS,
)
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="[default: FOLDER/index.html]"
)
@click.option("--junit", "xml", type=click.Path(path_type=Path), help="[default: FOLDER/junit.xml]")
def report(folder: Path, page: Path | None, xml: Path | None) -> None:
    """Write one HTML page for people and JUnit XML for machines from results in FOLDER."""
    try:
        results = load_results(folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if not results:
        raise click.ClickException(f"{folder} has no results: run `tukad hil run SCENARIO` first.")
    page = page or folder / "index.html"
    xml = xml or folder / "junit.xml"
    page.write_text(html(results))
    xml.write_text(junit(results))
    click.echo(f"{len(results)} results: {page} and {xml}")


@hil.command()
@click.option("--kind", type=click.Choice(tuple(KINDS)), default="geolux-lx80", show_default=True)
@click.option("--tcp", type=click.IntRange(0, 65_535), help="Serve Modbus TCP here (0: any port).")
@click.option("--address", type=click.IntRange(1, 247), default=1, show_default=True)
@click.option("--speed", type=float, default=60.0, show_default=True, help="Of the storm.")
@click.option("--fault", type=click.Choice(FAULTS), default="", help="What is wrong with it.")
def sensor(kind: str, tcp: int | None, address: int, speed: float, fault: str) -> None:
    """Serve a level sensor over the storm to a real gateway: RTU on a pty, or Modbus TCP."""
    try:
        server = SensorServer(kind, port=tcp, address=address, speed=speed, fault=fault)
    except OSError as error:
        raise click.ClickException(f"port {tcp}: {error.strerror}") from None
    with server:
        line = "" if server.where.startswith("tcp") else ", 8N1 at any rate"
        click.echo(f"{kind}, address {address}, at {server.where}{line}; Ctrl-C ends it")
        try:
            while True:
                time.sleep(5)
                reads = server.sensor.reads
                click.echo(f"water {server.level_mm() / 1000:.2f} m, read {reads} times")
        except KeyboardInterrupt:
            click.echo("ended")


@hil.command()
@click.option(
    "--gateway", default="127.0.0.1:1700", show_default=True, help="Semtech UDP, HOST:PORT."
)
@click.option("--nodes", type=click.IntRange(0, 20), default=3, show_default=True)
@click.option("--trackers", type=click.IntRange(0, 20), default=1, show_default=True)
@click.option("--speed", type=float, default=90.0, show_default=True, help="Of the storm.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("hil-bench"),
    show_default=True,
    help="Folder for devices.toml, key files and consoles.",
)
def bench(gateway: str, nodes: int, trackers: int, speed: float, seed: int, out: Path) -> None:
    """Run nodes in a storm against a real gateway or network server, until Ctrl-C.

    devices.toml in the folder is what goes into the gateway's configuration.
    """
    host, colon, port = gateway.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise click.ClickException(f"--gateway {gateway}: expected HOST:PORT")
    made = Bench(
        gateway=(host, int(port)),
        work_dir=out,
        seed=seed,
        flood_nodes=nodes,
        trackers=trackers,
        storm_speed=speed,
    )
    listing = made.write_devices(out)
    click.echo(f"{listing} has the devices; a Modbus TCP radar is at port {made.modbus_port}")
    try:
        with made:
            _watch_bench(made)
    except KeyboardInterrupt:
        click.echo("ended")


def _watch_bench(made: Bench) -> None:
    while True:
        time.sleep(5)
        state = made.state()
        if state.error:
            raise click.ClickException(state.error)
        link = "acknowledged" if state.forwarder_connected else "NO ANSWER from the server"
        click.echo(
            f"storm {state.storm_h:5.2f} h  frames {state.frames_sent} sent "
            f"{state.frames_received} heard  downlinks {state.downlinks_sent}  {link}"
            + "".join(f"  {fault}" for fault in sorted(set(state.faults)))
        )
