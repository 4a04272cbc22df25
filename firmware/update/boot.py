"""The loader: `start(root)` installs what waits, chooses a slot and runs `firmware.main` from it.

It lives in the folder `loader`, outside the slots, with its own copy of the modules it needs, and
is never changed over the air. The root's `main.py` is three lines:

    import sys
    sys.path.insert(0, "/loader")
    __import__("firmware.update.boot", None, None, ("start",)).start("/")

A slot that cannot be imported at all is left at once for the other one, if that is whole.
"""

import gc
import sys

import machine

from firmware.update.install import install
from firmware.update.slots import Slots
from firmware.update.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RESULT_FILE = "update.txt"
MODEL_FILE = "model"
FRESH_FILE = "fresh"  # the application forgets its streak of crashes, and the file


def model_of(files: Tree) -> str:
    """The board's name, one line in the file `model` that the first flashing wrote."""
    data = files.read(MODEL_FILE, 0, 40)
    return data.decode().strip() if data else ""


def mpy_version() -> int:
    """Of the .mpy files this interpreter loads; 0 when it says none."""
    return getattr(sys.implementation, "_mpy", 0) & 0xFF


def take_in(root: str, feed: "Callable[[], None]", is_wired: bool = False) -> str:
    """Install what waits; returns what came of it. For the loader, and a technician's cable."""
    files = Tree(root)
    said = install(files, Slots(files), model_of(files), mpy_version(), feed, is_wired)
    if said:
        sys.stdout.write("update: " + said + "\n")
        try:
            files.write(RESULT_FILE, said.encode())
        except OSError:
            pass
    return said


def _mark(files: Tree) -> None:
    """Another release starts than the last time: what crashed before says nothing about it."""
    try:
        files.write(FRESH_FILE, b"1")
    except OSError:
        pass  # then it may have to go through an hour of safe mode


def _run(folder: str, root: str, loader_path: "list[str]") -> None:
    """The application in `folder`, with none of the loader's modules in its way."""
    sys.path[:] = [folder] + loader_path
    for name in list(sys.modules):
        if name.split(".")[0] in ("firmware", "protocols"):
            del sys.modules[name]
    gc.collect()
    __import__("firmware.main", None, None, ("run",)).run(root)


def start(root: str = "/") -> None:
    """Never returns, but by a reset."""
    watchdog = machine.WDT(timeout=8000)
    try:
        take_in(root, watchdog.feed)
    except Exception as error:  # noqa: BLE001 - nothing may keep us from starting
        sys.print_exception(error)
    watchdog.feed()
    files = Tree(root)
    slots = Slots(files)
    before = slots.folder
    first = slots.choose(watchdog.feed)
    if slots.folder != before or (slots.selection.is_trial and slots.selection.attempts == 1):
        _mark(files)
    second = slots.other if first == slots.folder else slots.folder
    is_trial = slots.selection.is_trial
    path = [entry for entry in sys.path if not entry.endswith("loader")]
    prefix = root if root.endswith("/") else root + "/"
    try:
        _run(prefix + first, root, path)
    except Exception as error:  # noqa: BLE001 - a slot that does not even start
        sys.print_exception(error)
    watchdog.feed()
    if not is_trial and slots.is_whole(second, watchdog.feed):
        try:
            _run(prefix + second, root, path)
        except Exception as error:  # noqa: BLE001
            sys.print_exception(error)
    machine.reset()
