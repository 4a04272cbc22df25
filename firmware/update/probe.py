"""The self-test over the cable: `probe(root, feed)` prints one line of JSON, numbers and texts.

Run by a technician's PC while the application stands still. Nothing is judged here: the PC does it,
in two languages. A part that fails leaves its reason; what a board lacks is null.

    boots, watchdogs, crashes, streak   counters
    role, board, name, dev_eui, stages_mm, height_mm    of the settings (no key ever)
    settings   why there are none, or empty; refused: why `settings.new` was not taken
    crash      the last crash, or empty
    slot, version, trial                what is running
    flash_kib  free; flash: empty, or why a test write failed
    battery_mv, load_mv                 at rest, and while radio and sensor run
    radio      empty, or the reason
    asked, valid, median_mm, spread_mm (largest - smallest), noise_bytes   of the level sensor
    float_wet  0 or 1
"""

import gc
import json
import os
import sys

from firmware import hardware
from firmware.boards import Board, BoardError
from firmware.boards import load as load_board
from firmware.drivers.profiles import DISTANCE, profile
from firmware.hardware import ticks_ms
from firmware.store.counters import Counters
from firmware.store.files import Files
from firmware.store.settings import Settings, SettingsError, SettingsStore
from firmware.update.slots import Slots
from firmware.update.tree import Tree
from protocols.lorawan.regions import region
from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TRIAL_FILE = "probe.tmp"


def probe(root: str, feed: "Callable[[], None]", bursts: int = 4) -> None:
    """Measure; `bursts` of 25 readings of the level sensor, about 5 s each."""
    found: "dict[str, object]" = {}
    tree = Tree(root)
    files = Files(root)
    _programme(found, tree, files)
    feed()
    _flash(found, files, root)
    feed()
    store = SettingsStore(files)
    try:
        settings = store.load()
        board = load_board(settings.text("board"))
    except (SettingsError, BoardError) as error:
        found["settings"] = str(error)
        found["refused"] = store.refused
    else:
        found["settings"] = ""
        found["refused"] = store.refused
        found["role"] = settings.text("role")
        found["board"] = settings.text("board")
        found["name"] = settings.text("name")
        found["dev_eui"] = settings.text("dev_eui").lower()
        found["stages_mm"] = list(settings.numbers("stages_mm"))
        found["height_mm"] = settings.integer("sensor_height_mm")
        _parts(found, settings, board, feed, bursts)
    gc.collect()
    sys.stdout.write(json.dumps(found) + "\n")


def _programme(found: "dict[str, object]", tree: Tree, files: Files) -> None:
    counters = Counters(files)
    found["boots"] = counters.boots
    found["watchdogs"] = counters.watchdogs
    found["crashes"] = counters.crashes
    found["streak"] = counters.crash_streak
    found["crash"] = (files.read("crash.txt", 0, 200) or b"").decode()
    selection = Slots(tree).selection
    found["slot"] = "app.b" if selection.active else "app.a"
    found["version"] = selection.version
    found["trial"] = 1 if selection.is_trial else 0


def _flash(found: "dict[str, object]", files: Files, root: str) -> None:
    try:
        status = os.statvfs(root)
        found["flash_kib"] = status[0] * status[3] // 1024
        pattern = bytes(range(256))
        files.write(_TRIAL_FILE, pattern)
        good = files.read(_TRIAL_FILE) == pattern
        files.remove(_TRIAL_FILE)
        found["flash"] = "" if good else "reads back wrong"
    except OSError as error:
        found["flash"] = str(error)


def _parts(
    found: "dict[str, object]",
    settings: Settings,
    board: Board,
    feed: "Callable[[], None]",
    bursts: int,
) -> None:
    try:
        hardware.power_up(board)
        meter = hardware.battery(board)
        found["battery_mv"] = meter.read_mv() if meter else None
        contact = hardware.contact(board, "float")
        found["float_wet"] = None if contact is None else 1 if contact.is_closed else 0
    except Exception as error:  # noqa: BLE001 - a part that fails is the answer
        found["supply"] = str(error)
        meter = None
    feed()
    try:
        plan = region(settings.text("region"))
        radio = hardware.radio(board)
        radio.start(plan.freq_min_hz, plan.freq_max_hz)
        radio.standby()
        found["radio"] = ""
    except Exception as error:  # noqa: BLE001
        found["radio"] = str(error) or type(error).__name__
    feed()
    if settings.text("role") == "flood":
        try:
            _sensor(found, settings, board, feed, bursts)
        except Exception as error:  # noqa: BLE001
            found["sensor"] = str(error) or type(error).__name__
    found["load_mv"] = meter.read_mv() if meter else None


def _sensor(
    found: "dict[str, object]",
    settings: Settings,
    board: Board,
    feed: "Callable[[], None]",
    bursts: int,
) -> None:
    line = hardware.sensor_line(board, settings)
    kind = profile(settings.text("sensor_profile"))
    sensor = line.sensor(kind, settings.integer("sensor_address"))
    values: list[int] = []
    asked = 0
    for _ in range(bursts):
        sensor.start(25, ticks_ms())
        begun = ticks_ms()
        # 25 silences of 300 ms, the gaps, and the warm-up (60 s at most), each several times over
        while sensor.is_running and ticks_diff(ticks_ms(), begun) < 90_000:
            sensor.step(ticks_ms())
            feed()
        asked += 25
        for value in sensor.values[: sensor.taken]:
            if value is not None:
                values.append(value)
    sensor.stop()
    values.sort()
    found["asked"] = asked
    found["valid"] = len(values)
    found["noise_bytes"] = sensor.noise_bytes
    if values:
        height = settings.integer("sensor_height_mm")
        median = values[len(values) // 2]
        found["median_mm"] = height + (-median if kind.sense == DISTANCE else median)
        found["spread_mm"] = values[-1] - values[0]
