"""Files in tests/protocols and tests/firmware/device pass under MicroPython in a small heap."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.micropython.interpreter import HEAP, micropython

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("tests/protocols", "tests/firmware/device")
    for path in (ROOT / folder).rglob("test_*.py")
)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_passes_under_micropython(path: Path) -> None:
    done = subprocess.run(
        [
            *micropython(),
            "-X",
            f"heapsize={HEAP}",
            str(ROOT / "tests/micropython/runner.py"),
            str(path),
        ],
        env={**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
