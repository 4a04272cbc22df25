"""Two slots and which one starts: `Slots`.

    app.a/, app.b/   the files of a release, and its signed `manifest` (written last)
    slots.a, slots.b the record (`firmware.store.record`) with `protocols.update.selection`

A new release starts on trial. Each start on trial is counted before the application runs; after
`TRIES` starts without `confirm` the other slot is chosen again, for good. So a release that
crashes, hangs (the watchdog resets) or never gets well cannot keep the device.
"""

import hashlib

from micropython import const

from firmware.store.record import Record
from protocols.errors import RemoteError
from protocols.update.manifest import SIZE_MAX, Manifest, parse
from protocols.update.selection import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class FileTree(Protocol):
        """What the update code needs of `firmware.update.tree.Tree`."""

        def read(self, name: str, offset: int = 0, length: int = -1) -> "bytes | None": ...
        def write(self, name: str, data: "bytes | bytearray | memoryview") -> None: ...
        def append(self, name: str, data: "bytes | bytearray | memoryview") -> None: ...
        def remove(self, name: str) -> None: ...
        def sizes(self) -> "dict[str, int]": ...
        def below(self, folder: str) -> "list[str]": ...


TRIES = const(3)
FOLDERS = ("app.a", "app.b")
MANIFEST = "manifest"
CHUNK = const(512)


def nothing() -> None:
    """A watchdog that need not be fed."""


class Slots:
    """The selection, and what is in the slots. Every change is durable when it returns."""

    def __init__(self, files: "FileTree") -> None:
        self._files = files
        self._record = Record(files, "slots")  # pyright: ignore[reportArgumentType]
        self.selection = decode(self._record.load())

    def save(self) -> None:
        """Make `selection` durable; raises OSError when the flash fails."""
        self._record.save(self.selection.encode())

    @property
    def folder(self) -> str:
        """The active slot's."""
        return FOLDERS[self.selection.active]

    @property
    def other(self) -> str:
        """The folder of the slot that is not active."""
        return FOLDERS[1 - self.selection.active]

    def choose(self, feed: "Callable[[], None]" = nothing) -> str:
        """The folder to start from, to be called once in a start; counts a start on trial.

        When the count cannot be stored, the slot that was good before is chosen. A slot on trial
        with nothing whole beside it (the first flashing) stays: there is nothing better.
        """
        selection = self.selection
        if not selection.is_trial:
            return self.folder
        if selection.attempts >= TRIES:
            if self.is_whole(self.other, feed):
                self.take_back()
            return self.folder
        selection.attempts += 1
        try:
            self.save()
        except OSError:
            return self.other
        return self.folder

    def take_back(self) -> None:
        """Leave the slot on trial for the one before it. The flash may fail: then for now only."""
        selection = self.selection
        selection.failed = selection.version & 0xFF_FFFF
        selection.active = 1 - selection.active
        selection.is_trial = False
        selection.attempts = 0
        manifest = self.manifest(self.folder)
        selection.version = manifest.version if manifest else 0
        try:
            self.save()
        except OSError:
            pass

    def begin_trial(self, slot: int, version: int) -> None:
        """From the next start on, `slot` is on trial; raises OSError."""
        selection = self.selection
        selection.active = slot
        selection.is_trial = True
        selection.attempts = 0
        selection.version = version
        selection.install_tries = 0
        self.save()

    def confirm(self) -> None:
        """The running release has proved itself; nothing happens when it had before.

        Raises OSError when the flash fails; it is on trial still, then.
        """
        selection = self.selection
        if not selection.is_trial:
            return
        attempts, floor = selection.attempts, selection.floor
        selection.is_trial = False
        selection.attempts = 0
        selection.floor = max(floor, selection.version)
        try:
            self.save()
        except OSError:
            selection.is_trial, selection.attempts, selection.floor = True, attempts, floor
            raise

    def manifest(self, folder: str) -> "Manifest | None":
        """What is in a slot; None when nothing whole is."""
        data = self._files.read(folder + "/" + MANIFEST, 0, SIZE_MAX + 1)
        if data is None:
            return None
        try:
            return parse(data)
        except RemoteError:
            return None

    def is_whole(self, folder: str, feed: "Callable[[], None]" = nothing) -> bool:
        """Whether every file of a slot has its size and SHA-256."""
        manifest = self.manifest(folder)
        if manifest is None:
            return False
        for at, name in enumerate(manifest.names):
            if digest_of(self._files, folder + "/" + name, feed) != manifest.hashes[at]:
                return False
        return True


def digest_of(files: "FileTree", name: str, feed: "Callable[[], None]") -> "bytes | None":
    """SHA-256 of a file, read in pieces; None when there is none."""
    digest = hashlib.sha256()
    offset = 0
    while True:
        piece = files.read(name, offset, CHUNK)
        if piece is None:
            return None
        digest.update(piece)
        offset += len(piece)
        feed()
        if len(piece) < CHUNK:
            return digest.digest()
