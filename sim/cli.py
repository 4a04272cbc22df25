"""`tukad sim`: look at the simulated world without any firmware: river, tide, channel, receiver."""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table

from sim.kernel import Simulation
from sim.radio import phy
from sim.radio.medium import Path as RadioPath
from sim.world.river import STAGES_MM, golden_rain, golden_stage
from sim.world.sea import Tide

_CSV = click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, no chart.")
_STAGE_STYLE = ("blue", "yellow", "dark_orange", "red")


@click.group()
def sim() -> None:
    """The simulated world: river, tide and radio channel, on their own."""


def _write_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(head)
    writer.writerows(rows)


@sim.command()
@_CSV
@click.option("--from", "first", type=float, default=0.0, help="Hours after 18:00 WITA.")
@click.option("--to", "last", type=float, default=30.0, show_default=True)
@click.option("--step", type=click.IntRange(1), default=1800, show_default=True, help="Seconds.")
def river(as_csv: bool, first: float, last: float, step: int) -> None:
    """The storm of 9 and 10 September 2025 at Kumbasari: level and rain."""
    if last <= first:
        raise click.BadParameter("--to must be above --from")
    stage, rain = golden_stage(), golden_rain()
    times = [first * 3600 + i * step for i in range(int((last - first) * 3600 / step) + 1)]
    rows = [(int(t), round(stage(t)), round(rain(t), 1)) for t in times]
    if as_csv:
        _write_csv(("time_s", "level_mm", "rain_mm_h"), rows)
        return
    console = Console()
    width = max(20, console.width - 34)
    top = max(level for _, level, _ in rows)
    for t, level, rate in rows:
        clock = (18 * 3600 + t) % 86_400
        style = _STAGE_STYLE[sum(level >= limit for limit in STAGES_MM)]
        bar = "█" * max(1, round(width * level / max(top, 1)))
        console.print(
            f"{clock // 3600:02d}:{clock % 3600 // 60:02d} {level / 1000:6.2f} m {rate:5.1f} mm/h "
            f"[{style}]{bar}[/]",
            highlight=False,
        )


@sim.command()
@_CSV
@click.option("--hours", type=click.IntRange(1, 1000), default=48, show_default=True)
def tide(as_csv: bool, hours: int) -> None:
    """The tide at Benoa by its harmonics."""
    model = Tide()
    rows = [(3600 * h, round(model(3600.0 * h))) for h in range(hours + 1)]
    if as_csv:
        _write_csv(("time_s", "level_mm"), rows)
        return
    console = Console()
    top = max(level for _, level in rows)
    for t, level in rows:
        bar = "█" * max(0, round((console.width - 20) * level / top))
        console.print(f"{t // 3600:4d} h {level / 1000:6.2f} m [cyan]{bar}[/]", highlight=False)


@sim.command()
@_CSV
@click.option("--power", type=float, default=14.0, show_default=True, help="dBm.")
@click.option("--gain", type=float, default=5.0, show_default=True, help="Both antennas, dBi.")
@click.option("--exponent", type=float, default=2.9, show_default=True, help="2.0 over water.")
@click.option("--length", type=click.IntRange(1, 255), default=24, show_default=True, help="Bytes.")
def channel(as_csv: bool, power: float, gain: float, exponent: float, length: int) -> None:
    """How well a packet arrives at the gateway by distance and spreading factor."""
    path = RadioPath(exponent=exponent)
    rows: list[list[object]] = []
    for distance in (100, 200, 500, 1_000, 2_000, 3_000, 5_000, 8_000, 12_000, 20_000):
        rssi = power + gain - path.loss_db(distance, 921_400_000)
        snr = rssi - phy.noise_dbm(125_000, 3.0)
        chances = [
            phy.packet_success(
                snr - phy.SNR_LIMIT_DB[sf],
                phy.payload_symbols(
                    sf, length, 1, explicit=True, crc=True, ldro=phy.low_data_rate(sf, 125_000)
                ),
            )
            for sf in range(7, 13)
        ]
        rows.append([distance, round(rssi, 1), round(snr, 1), *[round(c, 3) for c in chances]])
    head = ["distance_m", "rssi_dbm", "snr_db", *[f"sf{sf}" for sf in range(7, 13)]]
    if as_csv:
        _write_csv(head, rows)
        return
    table = Table(box=None, pad_edge=False)
    for heading in head:
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [str(cell) for cell in row[:3]]
        for chance in row[3:]:
            assert isinstance(chance, float)
            colour = "green" if chance > 0.9 else "yellow" if chance > 0.1 else "red"
            cells.append(f"[{colour}]{100 * chance:.0f} %[/]")
        table.add_row(*cells)
    Console().print(table)
    times = ", ".join(
        f"SF{sf} {phy.airtime_us(sf, 125_000, length) / 1000:.0f}" for sf in range(7, 13)
    )
    click.echo(f"time on air of {length} bytes, ms: {times}")


@sim.command()
@click.option("--seconds", type=click.IntRange(1, 100_000), default=60, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A file instead of the terminal.")
def gnss(seconds: int, seed: int, out: Path | None) -> None:
    """NMEA sentences of a receiver that starts cold on a boat off Benoa."""
    from sim.board import Board
    from sim.chips.gnss import GnssReceiver
    from sim.world.sea import Track

    world = Simulation(seed)
    board = Board(world, "boat")
    uart = board.uarts[1]
    uart.open(9600, 0x48, 4096)
    track = Track(((-8.7445, 115.2115), (-8.7520, 115.2230)), lambda: world.now_us / 1e6)
    GnssReceiver(world, uart, track, epoch_s=1_757_412_000.0)
    text = bytearray()
    for second in range(1, seconds + 1):
        world.run_until(second * 1_000_000)
        text += uart.read(4096)
    if out:
        out.write_bytes(bytes(text))
    else:
        click.echo(text.decode(), nl=False)
