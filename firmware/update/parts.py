"""Where a release that comes in fragments waits: `Parts`, the `Place` of TS004's session.

The fragments go into the file `update.part`, one after the other. A loss of power ends the session
(its state is in memory); the next set-up begins the file again. What becomes `update.new` is
believed by the loader only for its signature.
"""

from micropython import const

from firmware.update.install import PACKAGE
from firmware.update.slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.update.tree import Tree

PART = "update.part"
ROOM_MAX = const(262_144)
_CHUNK = const(256)


class Parts:
    """`root` as `Tree` was given it: rows are written in the middle, which `Tree` cannot."""

    def __init__(self, files: "Tree", slots: Slots, root: str = "/") -> None:
        self._files = files
        self._slots = slots
        self._path = (root if root.endswith("/") or not root else root + "/") + PART
        self._size = 0

    def is_wanted(self, version: int) -> bool:
        """Only above what was confirmed, not what was taken back, and nothing during a trial."""
        selection = self._slots.selection
        if selection.is_trial or version & 0xFF_FFFF == selection.failed:
            return False
        return version > selection.floor

    def open(self, count: int, size: int) -> "Parts | None":
        """A file of that size; None when it is too much, or the flash is full."""
        if count * size > ROOM_MAX:
            return None
        self._size = size
        blank = bytes(size)
        try:
            file = open(self._path, "wb")  # pyright: ignore[reportUnknownVariableType]
            with file:
                for _ in range(count):
                    file.write(blank)
        except OSError:
            self._files.remove(PART)
            return None
        return self

    def put(self, index: int, data: bytearray) -> None:
        file = open(self._path, "r+b")  # pyright: ignore[reportUnknownVariableType]
        with file:
            file.seek(index * self._size)
            file.write(data)

    def get_into(self, index: int, data: bytearray) -> None:
        file = open(self._path, "rb")  # pyright: ignore[reportUnknownVariableType]
        with file:
            file.seek(index * self._size)
            data[:] = file.read(len(data))

    def hand_over(self, length: int, feed: "Callable[[], None]") -> None:
        """Make the first `length` bytes the package that the next start installs."""
        self._files.write(PACKAGE, b"")
        done = 0
        while done < length:
            piece = self._files.read(PART, done, min(_CHUNK, length - done)) or b""
            if not piece:
                raise OSError(5)
            self._files.append(PACKAGE, piece)
            done += len(piece)
            feed()
        self._files.remove(PART)
