"""Where the MicroPython interpreter is, and how large a heap stands for the device's."""

import os
import shutil
import sys
from pathlib import Path

# 192 KB on a 32-bit chip: the 64-bit unix port's objects are 1.4 to 2 times as large, and test
# files hold the test code too.
HEAP = "640k"


def micropython() -> list[str]:
    """The command that runs MicroPython; `RuntimeError` says what to do when there is none."""
    given = os.environ.get("TUKAD_MICROPYTHON")
    beside = Path(sys.executable).with_name("micropython")
    found = given or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise RuntimeError(
            "no MicroPython found: set TUKAD_MICROPYTHON=/path/to/micropython (docs/micropython.md)"
        )
    return [found]
