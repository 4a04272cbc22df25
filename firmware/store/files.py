"""The file layer under the store: `Files`, a folder of small files.

Everything durable goes through these six calls, so a test can stand a flash between them that
loses power at any byte. What the rest of the store may rely on, and no more: a call that
returned is durable; a call cut by a loss of power leaves, of the file it was writing, any prefix
of the new bytes over the old ones (LittleFS does better, FAT does not).
"""

import os


class Files:
    """Files below `root`, which is made when it is not there (one level)."""

    def __init__(self, root: str = "") -> None:
        self._prefix = root + "/" if root and not root.endswith("/") else root
        if root and root != "/":
            try:
                os.mkdir(root)
            except OSError:
                pass  # it is there; if not, the first write says so

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes | None:
        """`length` bytes from `offset` (fewer at the end, all for -1); None: no such file."""
        try:
            file = open(self._prefix + name, "rb")  # pyright: ignore[reportUnknownVariableType]
        except OSError:
            return None
        with file:
            if offset:
                file.seek(offset)
            return file.read() if length < 0 else file.read(length)  # pyright: ignore

    def write(self, name: str, data: bytes | bytearray | memoryview) -> None:
        """Make `name` hold `data` and nothing else; raises OSError when the flash is full."""
        self._put(name, "wb", data)

    def append(self, name: str, data: bytes | bytearray | memoryview) -> None:
        """Add `data` behind the file's end; the file is made when it is not there."""
        self._put(name, "ab", data)

    def _put(self, name: str, mode: str, data: bytes | bytearray | memoryview) -> None:
        with open(self._prefix + name, mode) as file:
            file.write(data)
            file.flush()
        if hasattr(os, "sync"):
            os.sync()  # not on the unix port, where closing must do

    def sizes(self) -> dict[str, int]:
        """Bytes of every file in the folder, by name."""
        found: dict[str, int] = {}
        for name in os.listdir(self._prefix or "."):
            found[name] = os.stat(self._prefix + name)[6]
        return found

    def remove(self, name: str) -> None:
        """Forget `name`; nothing happens when it is not there."""
        try:
            os.remove(self._prefix + name)
        except OSError:
            pass
