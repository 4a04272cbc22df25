"""`tukad hil demo`: the storm, live on the terminal or as plain lines."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import rich_click as click
from rich.live import Live

from hil.demo import screen
from hil.demo.storm import Demo, DemoError, run_demo
from hil.demo.view import DemoView

_PLAIN_EVERY_S = 10.0


@click.command()
@click.option(
    "--seconds",
    type=click.IntRange(40, 3600),
    default=180,
    show_default=True,
    help="Play the storm in so many seconds.",
)
@click.option("--forever", is_flag=True, help="Keep on after the storm, until Ctrl-C.")
@click.option(
    "--broker",
    default="auto",
    show_default=True,
    help="embedded, mosquitto, or mqtt://HOST:PORT; auto takes Mosquitto where it is installed.",
)
@click.option(
    "--nodes", type=click.IntRange(1, 6), default=3, show_default=True, help="Flood nodes."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Repeats the same world.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="Keep logs, configuration and ledger in this folder.",
)
@click.option("--plain", is_flag=True, help="Lines instead of a live screen, as in a pipe.")
def demo(
    seconds: int, forever: bool, broker: str, nodes: int, seed: int, keep: Path | None, plain: bool
) -> None:
    """A storm on a river, from MicroPython firmware to the city's broker, with real parts."""
    folder = keep or Path(tempfile.mkdtemp(prefix="tukad-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty; name a new folder for --keep")
    try:
        _play(folder, seconds, forever, broker, nodes, seed, plain)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _play(
    folder: Path, seconds: int, forever: bool, broker: str, nodes: int, seed: int, plain: bool
) -> None:
    console = screen.console()
    try:
        play = Demo(
            folder=folder,
            duration_s=float(seconds),
            broker=broker,
            forever=forever,
            seed=seed,
            flood_nodes=nodes,
        )
        if plain or not console.is_terminal:
            complete = _play_plain(play)
        else:
            with Live(console=console, screen=True, auto_refresh=False) as live:

                def draw(view: DemoView) -> None:
                    live.update(screen.render(view, console.width, console.height), refresh=True)

                complete = asyncio.run(run_demo(play, draw))
    except DemoError as error:
        raise click.ClickException(str(error)) from None
    console.print(screen.summary(play.view, complete, play.notes))
    if complete and play.view.sent != play.view.delivered:
        raise SystemExit(1)


def _play_plain(play: Demo) -> bool:
    printed = {"line_s": -_PLAIN_EVERY_S, "alarms": 0}

    def draw(view: DemoView) -> None:
        for alarm in view.alarms[int(printed["alarms"]) :]:
            late = "" if alarm.latency_s is None else f" ({alarm.latency_s:.1f} s after)"
            click.echo(
                f"{alarm.at_s:4.0f} s  {alarm.stage.upper()} {alarm.device} {alarm.text}{late}"
            )
        printed["alarms"] = len(view.alarms)
        if view.elapsed_s - printed["line_s"] >= _PLAIN_EVERY_S:
            printed["line_s"] = view.elapsed_s
            click.echo(screen.plain_line(view))

    click.echo(f"{play.view.title}; broker: {play.view.broker}")
    return asyncio.run(run_demo(play, draw))
