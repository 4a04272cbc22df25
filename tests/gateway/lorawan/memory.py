"""`in_memory_path`: a folder whose fsync costs nothing; a power cut is a copy of the files here."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHM = Path("/dev/shm")


@contextmanager
def in_memory_path() -> Iterator[Path]:
    """A new folder in memory where the machine has such, removed at the end."""
    place = _SHM if _SHM.is_dir() and os.access(_SHM, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="tukad-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
