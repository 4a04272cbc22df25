"""`make bench`, or `make bench BENCH="codec atcs"`: runs the benches of this folder by name.

Each bench is a module with a `main()` that prints its own table. Figures are ratios against a
peer, or stand beside a limit measured in the same run, because machines differ.
"""

import importlib
import platform
import sys
import time
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no bench named {', '.join(unknown)}; there are: {', '.join(NAMES)}")
        return 2
    print(f"{platform.machine()}, Python {platform.python_version()}")
    for name in names or NAMES:
        module = importlib.import_module(f"tests.bench.{name}")
        if not hasattr(module, "main"):
            continue
        print(f"\n== {name} ==", flush=True)
        start = time.perf_counter()
        module.main()
        print(f"-- {name} took {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
