"""`make bench`, or `make bench BENCH="codec atcs --quick"`: runs the benches of this folder.


Each bench is a module with a `main()` that prints its own table; options behind a name are the
bench's own. Figures are ratios against a peer, or stand beside a limit measured in the same run,
because machines differ.
"""

import importlib
import platform
import sys
import time
from pathlib import Path

# Training writes the asset that is shipped, so it runs only as `python -m tests.bench.codec_train`.
NAMES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if not path.stem.startswith("_") and not path.stem.endswith("_train")
)


def chosen(words: list[str]) -> list[tuple[str, list[str]]]:
    """The benches asked for, each with its options."""
    runs: list[tuple[str, list[str]]] = []
    for word in words:
        if word in NAMES:
            runs.append((word, []))
        elif runs:
            runs[-1][1].append(word)
        else:
            raise SystemExit(f"no bench named {word}; there are: {', '.join(NAMES)}")
    return runs or [(name, []) for name in NAMES]


def main(words: list[str]) -> None:
    runs = chosen(words)
    print(f"{platform.machine()}, Python {platform.python_version()}")
    for name, options in runs:
        print(f"\n== {name} ==", flush=True)
        sys.argv = [f"tests.bench.{name}", *options]
        start = time.perf_counter()
        importlib.import_module(f"tests.bench.{name}").main()
        print(f"-- {name} took {time.perf_counter() - start:.0f} s", flush=True)


main(sys.argv[1:])
