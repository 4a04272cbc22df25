"""Take a release in: `install` puts the package `update.new` into the slot that is not running.

Nothing is written before model, version, .mpy version and signature are right. Then the other
slot loses its manifest, gets its files (each is read back and compared with its SHA-256), gets the
new manifest, and only then the record makes it the active one, on trial. Power may fail anywhere:
the next start does it again, and files that are right already are not written again.
"""

import hashlib

from micropython import const

from firmware.update.slots import CHUNK, FOLDERS, MANIFEST, Slots, digest_of, nothing
from protocols.errors import RemoteError
from protocols.update.ed25519 import SIGNATURE_SIZE, Check
from protocols.update.manifest import Manifest, message_of, parse
from protocols.update.package import HEAD, manifest_size, next_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.update.slots import FileTree

PACKAGE = "update.new"
KEY_FILE = "release.pub"  # 32 bytes, put there by the first flashing
INSTALL_TRIES = const(5)


class Installer:
    """One installation; `feed` is called at least once in 512 bytes or 16 bits of signature."""

    def __init__(
        self,
        files: "FileTree",
        slots: Slots,
        model: str,
        mpy: int,
        feed: "Callable[[], None]" = nothing,
        is_wired: bool = False,
    ) -> None:
        self._files = files
        self._slots = slots
        self._model = model
        self._mpy = mpy
        self._feed = feed
        # A technician at the cable may put the same release in again.
        self._lowest = slots.selection.floor + (0 if is_wired else 1)
        self._target = FOLDERS[1 - slots.selection.active]

    def run(self) -> int:
        """Install the package; returns the version now on trial. Raises RemoteError or OSError."""
        size = manifest_size(self._files.read(PACKAGE, 0, HEAD) or b"")
        signed = self._files.read(PACKAGE, HEAD, size) or b""
        if len(signed) != size:
            raise RemoteError("short", "the package ends in its manifest")
        manifest = parse(signed)
        self._check(manifest)
        self._check_signature(signed)
        self._fill(manifest, HEAD + size)
        self._files.write(self._target + "/" + MANIFEST, signed)
        if not self._slots.is_whole(self._target, self._feed):
            raise RemoteError("flash", "the slot does not read back as written")
        self._slots.begin_trial(1 - self._slots.selection.active, manifest.version)
        return manifest.version

    def _check(self, manifest: Manifest) -> None:
        if manifest.model != self._model:
            raise RemoteError("model", "for %s, this is %s" % (manifest.model, self._model))
        if manifest.version < self._lowest:
            raise RemoteError("version", "%d, needed %d" % (manifest.version, self._lowest))
        if manifest.mpy not in (0, self._mpy):
            raise RemoteError("mpy", "made for %d, this is %d" % (manifest.mpy, self._mpy))

    def _check_signature(self, signed: bytes) -> None:
        public = self._files.read(KEY_FILE)
        if public is None:
            raise RemoteError("key", "no %s on this device" % KEY_FILE)
        digest = hashlib.sha256(signed[:-SIGNATURE_SIZE]).digest()
        check = Check(public, message_of(digest), signed[-SIGNATURE_SIZE:])
        verdict = check.step()
        while verdict is None:
            self._feed()
            verdict = check.step()
        if not verdict:
            raise RemoteError("signature", "not signed by the holder of %s" % KEY_FILE)

    def _fill(self, manifest: Manifest, offset: int) -> None:
        self._files.remove(self._target + "/" + MANIFEST)  # from here on it is not whole
        prefix = self._target + "/"
        wanted: dict[str, bool] = {}
        for name in manifest.names:
            wanted[prefix + name] = True
        for name in self._files.below(self._target):
            if name not in wanted:
                self._files.remove(name)
        packed = -1  # the number of the next file in the package, once read
        row = self._files.read(PACKAGE, offset, 2) or b""
        if row:
            packed = next_file(manifest, row, -1)
        for number, name in enumerate(manifest.names):
            source, start = self._slots.folder + "/" + name, 0
            size = manifest.sizes[number]
            if number == packed:
                source, start = PACKAGE, offset + 2
                offset += 2 + size
            self._put(source, start, prefix + name, size, manifest.hashes[number])
            if number == packed:
                row = self._files.read(PACKAGE, offset, 2) or b""
                packed = next_file(manifest, row, number) if row else -1

    def _put(self, source: str, start: int, target: str, size: int, digest: bytes) -> None:
        """Make `target` the `size` bytes of `source` at `start`, unless it is that already."""
        if digest_of(self._files, target, self._feed) == digest:
            return
        self._files.write(target, b"")
        done = 0
        while done < size:
            piece = self._files.read(source, start + done, min(CHUNK, size - done))
            if not piece:
                raise RemoteError("missing", "%s is neither here nor in the package" % target)
            self._files.append(target, piece)
            done += len(piece)
            self._feed()
        if digest_of(self._files, target, self._feed) != digest:
            raise RemoteError("hash", target)


def install(
    files: "FileTree",
    slots: Slots,
    model: str,
    mpy: int,
    feed: "Callable[[], None]" = nothing,
    is_wired: bool = False,
) -> str:
    """Take in `update.new` if there is one; returns what came of it, one line, or nothing.

    Never raises: a package that is refused is removed, and one whose installation does not end (a
    hang, a crash of the whole chip) is given up after `INSTALL_TRIES` starts.
    """
    head = files.read(PACKAGE, 0, HEAD)
    if head is None:
        return ""
    selection = slots.selection
    try:
        if selection.is_trial and is_wired:
            if slots.is_whole(slots.other, feed):
                slots.take_back()  # what is on trial gives way, never what was good before
        elif selection.is_trial:
            # The switch was made and the power failed before the package could be removed, or a
            # second package came too early: it has to be sent again.
            files.remove(PACKAGE)
            return "busy: the running release is on trial itself"
        if selection.install_tries >= INSTALL_TRIES:
            selection.install_tries = 0
            slots.save()
            files.remove(PACKAGE)
            return "given up after %d starts" % INSTALL_TRIES
        selection.install_tries += 1
        slots.save()
        try:
            version = Installer(files, slots, model, mpy, feed, is_wired).run()
            said = "version %d starts on trial" % version
        except RemoteError as error:
            selection.install_tries = 0
            slots.save()
            said = "refused, " + str(error)
        files.remove(PACKAGE)
        return said
    except OSError as error:
        return "flash failed: " + str(error)
