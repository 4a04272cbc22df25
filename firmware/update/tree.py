"""`Tree`: as `firmware.store.files.Files`, with folders inside: app.a/firmware/main.mpy."""

import os

from firmware.store.files import Files

_FOLDER = 0x4000


class Tree(Files):
    """Names have slashes; a write makes the folders it needs, `sizes` goes down into them."""

    def __init__(self, root: str = "") -> None:
        super().__init__(root)
        self._top = root.rstrip("/") + "/" if root else ""

    def write(self, name: str, data: bytes | bytearray | memoryview) -> None:
        self._make_folders(name)
        super().write(name, data)

    def append(self, name: str, data: bytes | bytearray | memoryview) -> None:
        self._make_folders(name)
        super().append(name, data)

    def _make_folders(self, name: str) -> None:
        at = name.find("/")
        while at > 0:
            try:
                os.mkdir(self._top + name[:at])
            except OSError:
                pass  # it is there; if not, the write says so
            at = name.find("/", at + 1)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file at any depth, by name from the root on."""
        found: dict[str, int] = {}
        self._walk("", found)
        return found

    def below(self, folder: str) -> list[str]:
        """Names of the files in `folder` and deeper; none when there is no such folder."""
        found: dict[str, int] = {}
        try:
            self._walk(folder + "/", found)
        except OSError:
            pass
        return list(found)

    def _walk(self, prefix: str, found: dict[str, int]) -> None:
        for name in os.listdir(self._top + prefix or "."):
            path = prefix + name
            status = os.stat(self._top + path)
            if status[0] & _FOLDER:
                self._walk(path + "/", found)
            else:
                found[path] = status[6]
