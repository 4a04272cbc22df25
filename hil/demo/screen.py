"""Draws a `DemoView` with rich: live on a terminal, or as a few plain lines where there is none."""

from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hil.demo.view import STAGES, DemoView

COLOURS = {
    "normal": "green",
    "waspada": "yellow",
    "siaga": "dark_orange",
    "awas": "bold red",
    "cap": "magenta",
    "siren": "bold magenta",
    "SOUNDS": "bold red",
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_CHART_ROWS = 9


def stage_of(level_mm: int, thresholds_mm: tuple[int, int, int]) -> str:
    """The stage whose threshold `level_mm` has reached."""
    return STAGES[sum(level_mm >= threshold for threshold in thresholds_mm)]


def chart(view: DemoView, width: int) -> Text:
    """The true stage as bars, what the city knows as dots, the three thresholds as lines."""
    columns = max(20, width - 12)
    top = max(view.thresholds_mm[2] * 1.25, *(mm for _, mm in view.truth_mm), 1)
    cells: list[int | None] = [None] * columns
    known: list[int | None] = [None] * columns
    for series, into in ((view.truth_mm, cells), (view.seen_mm, known)):
        for at_s, mm in series:
            column = int(at_s / max(view.duration_s, 1) * columns)
            if 0 <= column < columns:
                into[column] = mm
    marks = {
        min(_CHART_ROWS - 1, int(mm / top * _CHART_ROWS)): name
        for name, mm in zip(STAGES[1:], view.thresholds_mm, strict=True)
    }
    text = Text(no_wrap=True)
    for row in reversed(range(_CHART_ROWS)):
        label = marks.get(row, "")
        text.append(f"{label:>8} ", COLOURS.get(label, "dim"))
        for mm, city in zip(cells, known, strict=True):
            fill = 0.0 if mm is None else max(0.0, min(1.0, mm / top * _CHART_ROWS - row))
            if city is not None and int(city / top * _CHART_ROWS) == row:
                text.append("●", "bold white")
            elif fill > 0 and mm is not None:
                colour = COLOURS[stage_of(mm, view.thresholds_mm)]
                text.append(_BLOCKS[max(1, int(fill * 8))], colour)
            else:
                text.append("┈" if label else " ", "dim")
        text.append("\n")
    text.append(" " * 9 + "▇ true stage  ", "dim")
    text.append("● ", "bold white")
    text.append("as decoded in the city", "dim")
    return text


def devices(view: DemoView) -> Table:
    """One row a device: what it measures, its link, what of it reached the city."""
    table = Table(expand=True, box=None, padding=(0, 1), header_style="dim")
    for header, justify in (
        ("device", "left"),
        ("stage", "left"),
        ("newest at the city", "left"),
        ("link", "left"),
        ("frames", "right"),
        ("readings made/delivered", "right"),
    ):
        table.add_column(header, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for device in view.devices.values():
        readings = "" if device.kind == "siren" else f"{device.sent}/{device.delivered}"
        frames = "wired" if device.kind == "modbus" else str(device.frames)
        stage = "" if device.kind == "vessel" else device.stage
        table.add_row(
            Text(device.name, "bold"),
            Text(stage, COLOURS.get(device.stage, "")),
            device.latest or Text("waiting", "dim"),
            Text(device.link or device.what, "dim"),
            frames,
            readings,
        )
    return table


def path(view: DemoView) -> Text:
    """The data path with what has passed each part."""
    steps = (
        ("MicroPython nodes", f"{view.frames} frames"),
        ("radio channel", f"{view.frames_heard} heard"),
        ("Semtech UDP", ""),
        ("gateway: ledger", f"{view.sent} readings"),
        (f"broker: {view.broker or '…'}", f"{view.batches} batches, {view.batch_bytes} B"),
        ("city", f"{view.delivered} decoded"),
        ("CAP files", f"{view.alerts}, {view.alerts_good} verified"),
        ("siren", f"proof: {view.proof or 'not yet'}"),
    )
    text = Text()
    for index, (name, figure) in enumerate(steps):
        text.append("  " if index == 0 else "  ↓ " if index < 6 else "  → ", "dim")
        text.append(name, "bold")
        text.append(f"  {figure}\n", "cyan")
    return text


def alarms(view: DemoView, rows: int = 6) -> Text:
    """The newest alarms, as the city received them."""
    text = Text(no_wrap=True)
    if not view.alarms:
        text.append("none yet", "dim")
    for alarm in view.alarms[-rows:]:
        late = "" if alarm.latency_s is None else f"  {alarm.latency_s:.1f} s after the crossing"
        text.append(f"{alarm.at_s:5.0f} s  ", "dim")
        text.append(f"{alarm.stage.upper():8}", COLOURS.get(alarm.stage, "bold"))
        text.append(f" {alarm.device}  {alarm.text}")
        text.append(late + "\n", "cyan")
    return text


def render(view: DemoView, width: int = 110, height: int = 40) -> RenderableType:
    """The whole screen."""
    devices_size = len(view.devices) + 3
    alarm_rows = max(3, height - 2 - (_CHART_ROWS + 3) - devices_size - 2)
    head = Table.grid(expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right")
    head.add_row(
        Text.assemble(("TUKAD  ", "bold cyan"), (view.title, "bold")),
        Text(f"{view.storm_clock()} WITA in the storm · {view.phase}"),
    )
    bar = ProgressBar(total=view.duration_s, completed=min(view.elapsed_s, view.duration_s))
    layout = Layout()
    layout.split_column(
        Layout(Group(head, bar), size=2),
        Layout(name="middle", size=_CHART_ROWS + 3),
        Layout(Panel(devices(view), title="devices", border_style="dim"), size=devices_size),
        Layout(Panel(alarms(view, alarm_rows), title="alarms at the city", border_style="dim")),
    )
    chart_width = max(50, width - 46)
    layout["middle"].split_row(
        Layout(
            Panel(chart(view, chart_width - 4), title=f"stage at {view.gauge}", border_style="dim")
        ),
        Layout(Panel(path(view), title="data path", border_style="dim"), size=46),
    )
    return layout


def plain_line(view: DemoView) -> str:
    """One line for logs and pipes."""
    stages = ", ".join(f"{d.name} {d.latest or 'waiting'}" for d in view.devices.values())
    return (
        f"{view.elapsed_s:4.0f} s  storm {view.storm_clock()}  "
        f"frames {view.frames} sent {view.frames_heard} heard  "
        f"readings {view.sent} made {view.delivered} delivered  |  {stages}"
    )


def _latencies(view: DemoView, kind: str) -> list[float]:
    return [one.latency_s for one in view.alarms if one.kind == kind and one.latency_s is not None]


def summary(view: DemoView, clean: bool, notes: list[str]) -> RenderableType:
    """The closing table: sent, delivered, lost, bytes per reading, alarm latency."""
    lost = view.sent - view.delivered
    radio = sum(d.delivered for d in view.devices.values() if d.kind != "modbus")
    late = _latencies(view, "alarm")
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(str(view.sent), "readings made by the devices")
    table.add_row(str(view.delivered), "delivered to the city, each counted once")
    table.add_row(Text(str(lost), "bold green" if lost == 0 else "bold red"), "lost")
    if view.frames:
        missed = view.frames - view.frames_heard
        table.add_row(f"{missed}/{view.frames}", "radio frames lost in the air (history refills)")
    if radio:
        table.add_row(f"{view.radio_bytes / radio:.1f} B", "on the air per radio reading, all told")
    if view.delivered:
        table.add_row(
            f"{view.batch_bytes / view.delivered:.1f} B",
            "to the broker per reading, topics included, most of them sent alone",
        )
    if late:
        worst = f"{min(late):.1f} to {max(late):.1f} s"
        table.add_row(worst, f"from the true crossing to the alarm in the city ({len(late)})")
    alerts = _latencies(view, "cap")
    if alerts:
        worst = f"{min(alerts):.1f} to {max(alerts):.1f} s"
        table.add_row(worst, f"from the true crossing to a signed CAP file ({len(alerts)})")
    if view.alerts:
        good = f"{view.alerts_good}/{view.alerts}"
        table.add_row(good, "CAP files verified with the pinned key")
    for seconds in _latencies(view, "siren"):
        table.add_row(f"{seconds:.1f} s", "from Awas to the siren's relay, class C included")
    if view.proof:
        table.add_row("proved", f"that the siren sounded: {view.proof}")
    for note in notes:
        table.add_row("", Text(note, "yellow"))
    title = "storm over: nothing lost" if clean and lost == 0 else "storm over"
    return Align.left(Panel.fit(table, title=title, border_style="green" if clean else "yellow"))


def console() -> Console:
    """The console that everything here is written to."""
    return Console(highlight=False)
