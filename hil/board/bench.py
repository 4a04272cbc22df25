"""What is wired to a real board: `bench.toml`, checked.

Public: `BenchFile`, `load_bench`. docs/bench-wiring.md has the wiring and an example.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.board.link import BoardError

_KEYS = {
    "board": {"port", "node", "file"},
    "sensor": {"port"},
    "gnss": {"port"},
    "reset": {"port"},
}


@dataclass(frozen=True, kw_only=True)
class BenchFile:
    """Serial ports of the board and its instruments; "" is not wired.

    `node` is the scenario's node that the board plays ("": its first), `file` its file in
    `firmware/boards`. `sensor_port` is a USB-RS485 adapter, `gnss_port` a USB-UART whose TX is the
    receiver, `reset_port` one whose RTS pulls the RUN pin low.
    """

    port: str
    node: str = ""
    file: str = "pico-waveshare"
    sensor_port: str = ""
    gnss_port: str = ""
    reset_port: str = ""


def _table(data: dict[str, Any], name: str, path: Path) -> dict[str, str]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise BoardError(f"{path}: {name} must be a table, [{name}]")
    for key, value in table.items():  # pyright: ignore[reportUnknownVariableType]
        if key not in _KEYS[name]:
            allowed = ", ".join(sorted(_KEYS[name]))
            raise BoardError(f"{path}: {name}.{key} is unknown; there are: {allowed}")
        if not isinstance(value, str) or not value:
            raise BoardError(f"{path}: {name}.{key} = {value!r}: expected a text")
    return table  # pyright: ignore[reportUnknownVariableType]


def load_bench(path: Path) -> BenchFile:
    """Read and check; raises BoardError with one line."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror}; docs/bench-wiring.md has an example") from None
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{path}: {error}") from None
    for name in data:
        if name not in _KEYS:
            raise BoardError(f"{path}: [{name}] is unknown; there are: {', '.join(_KEYS)}")
    tables = {name: _table(data, name, path) for name in _KEYS}
    if "port" not in tables["board"]:
        raise BoardError(f"{path}: board.port is missing: the board's serial port, as /dev/ttyACM0")
    return BenchFile(
        **tables["board"],
        sensor_port=tables["sensor"].get("port", ""),
        gnss_port=tables["gnss"].get("port", ""),
        reset_port=tables["reset"].get("port", ""),
    )
