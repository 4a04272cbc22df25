"""A cabinet as data: `load(path, plan) -> Wiring`, from one TOML file.

A point is written BOARD:NUMBER, as `rack:3`: coil or discrete input 3 of the board `rack`, or line
3 of a GPIO chip. Outputs and inputs of a Modbus board are counted apart; a GPIO line is one or the
other.
"""

from dataclasses import dataclass
from pathlib import Path

from gateway.atcs.plan import PEDESTRIAN, Plan
from gateway.config import ConfigError, Place, address_check, build, name_check, read_toml, setting

MODBUS, GPIO = "modbus", "gpio"
MANUAL, ALL_RED, FLASH, ADVANCE, RESET = "manual", "all_red", "flash", "advance", "reset"
MONITOR = "monitor"
"""On while the conflict monitor holds the cabinet in flash."""
PANEL = (MANUAL, ALL_RED, FLASH, ADVANCE, RESET, MONITOR)
COLOURS = ("red", "yellow", "green")
POINT_MAX = 255


def point_check(value: str) -> str:
    """What is wrong with a point, or ""."""
    board, colon, number = value.partition(":")
    if board and colon and number.isdigit() and int(number) <= POINT_MAX:
        return ""
    return f"is not BOARD:NUMBER with a number from 0 to {POINT_MAX}"


def port_check(value: str) -> str:
    """What is wrong with the port of a board, or ""."""
    if value.startswith("tcp://"):
        return address_check(value.removeprefix("tcp://"))
    return "" if value.startswith("/") else "is neither tcp://host:port nor a device path"


@dataclass(frozen=True, kw_only=True)
class CabinetInfo:
    """[cabinet]: what concerns the whole cabinet."""

    watchdog: str = setting("", doc="output turned over each tick, to the monitor")
    flash: str = setting("", doc="output that asks the monitor for flash")
    lost_ms: int = setting(300, low=200, high=2000, unit="ms", doc="a board silent so long: flash")


@dataclass(frozen=True, kw_only=True)
class Board:
    """[[board]]: a relay board or a GPIO chip."""

    name: str = setting(doc="short name, used in points", check=name_check)
    kind: str = setting(MODBUS, doc="what it is", choices=(MODBUS, GPIO))
    port: str = setting(doc="tcp://host:port, serial device, or GPIO chip as /dev/gpiochip0",
                        check=port_check)  # fmt: skip
    unit: int = setting(1, low=0, high=255, doc="Modbus address")
    baud: int = setting(115200, low=1200, high=1_000_000, doc="speed of a serial bus")
    coil_base: int = setting(0, low=0, high=65000, doc="Modbus address of output 0")
    input_base: int = setting(0, low=0, high=65000, doc="Modbus address of input 0")
    timeout_ms: int = setting(80, low=10, high=250, unit="ms", doc="wait this long for an answer")
    pull_up: bool = setting(True, doc="GPIO inputs with a pull-up")


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """[[lamp]]: the outputs of one movement."""

    movement: str = setting(doc="movement of the plan")
    red: str = setting("", doc="point of the red lamp; a left arrow may have none")
    yellow: str = setting("", doc="point of the yellow lamp; pedestrians have none")
    green: str = setting(doc="point of the green lamp", check=point_check)


@dataclass(frozen=True, kw_only=True)
class InputPoint:
    """[[input]]: one input and its single meaning."""

    point: str = setting(doc="where it is", check=point_check)
    inverted: bool = setting(False, doc="it is on while the contact is open")
    detector: str = setting("", doc="detector of the plan")
    preempt: str = setting("", doc="preempt of the plan")
    panel: str = setting("", doc="switch or button of the police panel", choices=("", *PANEL))
    lamp_fault: str = setting("", doc="movement whose lit lamp draws no current")
    colour: str = setting("", doc="only of this lamp; empty: of any", choices=("", *COLOURS))


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """One cabinet's whole file."""

    cabinet: CabinetInfo = setting(CabinetInfo(), doc="the cabinet")  # noqa: RUF009
    board: tuple[Board, ...] = setting(doc="boards")
    lamp: tuple[Lamp, ...] = setting(doc="lamps")
    input: tuple[InputPoint, ...] = setting((), doc="inputs")

    def outputs(self) -> list[str]:
        """Every point that is driven."""
        points = [p for lamp in self.lamp for p in (lamp.red, lamp.yellow, lamp.green) if p]
        return points + [p for p in (self.cabinet.watchdog, self.cabinet.flash) if p]


def split(point: str) -> tuple[str, int]:
    """`rack:3` as ("rack", 3)."""
    board, _, number = point.partition(":")
    return board, int(number)


def load(path: Path, plan: Plan) -> Wiring:
    """Read a cabinet file and check it against `plan`. Raises ConfigError."""
    place = Place(path)
    wiring = build(Wiring, read_toml(path), place)
    _check(wiring, plan, path)
    return wiring


def _check(wiring: Wiring, plan: Plan, path: Path) -> None:
    boards = {board.name: board for board in wiring.board}
    if len(boards) != len(wiring.board):
        raise ConfigError(f"{path}: two [[board]] tables have the same name")

    def point(where: str, value: str) -> None:
        problem = point_check(value)
        if problem:
            raise ConfigError(f'{path}: {where} = "{value}" {problem}')
        if split(value)[0] not in boards:
            raise ConfigError(
                f'{path}: {where} = "{value}": no board of that name; there are: '
                f"{', '.join(boards)}"
            )

    def known(where: str, name: str, names: list[str]) -> None:
        if name not in names:
            raise ConfigError(
                f'{path}: {where} = "{name}": the plan has none; it has: {", ".join(names)}'
            )

    movements = [m.name for m in plan.movement]
    lit = [lamp.movement for lamp in wiring.lamp]
    for lamp in wiring.lamp:
        known("lamp.movement", lamp.movement, movements)
        for colour in COLOURS:
            value = str(getattr(lamp, colour))
            if value:
                point(f"lamp.{lamp.movement}.{colour}", value)
        m = plan.movement[plan.index[lamp.movement]]
        if m.kind != PEDESTRIAN and not lamp.yellow:
            raise ConfigError(f"{path}: lamp.{lamp.movement}.yellow is missing: it has a yellow")
    for name in movements:
        if lit.count(name) != 1:
            raise ConfigError(
                f"{path}: movement {name} of the plan has {lit.count(name)} [[lamp]] tables, not 1"
            )
    for where, value in (("watchdog", wiring.cabinet.watchdog), ("flash", wiring.cabinet.flash)):
        if value:
            point(f"cabinet.{where}", value)
    used: dict[str, int] = {}
    for value in wiring.outputs():
        used[value] = used.get(value, 0) + 1
    twice = [value for value, count in used.items() if count > 1]
    if twice:
        raise ConfigError(f'{path}: the output "{twice[0]}" is used twice')
    for row in wiring.input:
        point("input.point", row.point)
        meanings = [m for m in (row.detector, row.preempt, row.panel, row.lamp_fault) if m]
        if len(meanings) != 1:
            raise ConfigError(
                f"{path}: input {row.point} has {len(meanings)} meanings; give it one of detector,"
                " preempt, panel, lamp_fault"
            )
        if row.detector:
            known("input.detector", row.detector, [d.name for d in plan.detector])
        if row.preempt:
            known("input.preempt", row.preempt, [p.name for p in plan.preempt])
        if row.lamp_fault:
            known("input.lamp_fault", row.lamp_fault, movements)
        if boards[split(row.point)[0]].kind == GPIO and row.point in used:
            raise ConfigError(f'{path}: "{row.point}" is an output and an input')
