"""The signed list of a release's files: `Manifest`, `parse`, `build`, `message_of`.

Layout, big-endian, at most `SIZE_MAX` bytes:

    offset size field
    0      4    magic "TUKM"
    4      1    version of this layout, 1
    5      1    length m of the model, 1..32
    6      m    model: the board's name (settings key `board`); letters, digits, - and .
    +0     4    version of the release, 1..2**30 - 1; a device takes only a higher one
    +4     1    .mpy version the files were compiled for (`sys.implementation._mpy & 255`), 0: none
    +5     2    number of files, 1..FILES_MAX
    then for each file, in rising order of names:
           1    length n of the name, 1..64
           n    name: parts of letters, digits, _ . - joined by /; no part is empty, . or ..
           4    bytes of the file, 0..FILE_MAX
           32   SHA-256 of the file
    at the end:
           64   Ed25519 signature over `message_of(everything before)`

What is signed is a fixed text and the SHA-256 of the manifest: with R and the key in front that is
one block of SHA-512, the costly hash, whatever the manifest's size. One file has one encoding only:
`build(parse(x)) == x`.
"""

import struct

from protocols.errors import LocalError, RemoteError
from protocols.update.ed25519 import SIGNATURE_SIZE

MAGIC = b"TUKM"
LAYOUT = 1
SIZE_MAX = 16_384
FILES_MAX = 256
FILE_MAX = 262_144
TOTAL_MAX = 1_048_576
VERSION_MAX = (1 << 30) - 1
_CONTEXT = b"tukad-update-1\x00"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"


class Manifest:
    """What a release is. `names`, `sizes` and `hashes` run in parallel, names rising."""

    def __init__(self, model: str, version: int, mpy: int = 0) -> None:
        self.model = model
        self.version = version
        self.mpy = mpy
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.hashes: list[bytes] = []

    def add(self, name: str, size: int, digest: bytes) -> None:
        """Add a file; in rising order of names."""
        self.names.append(name)
        self.sizes.append(size)
        self.hashes.append(digest)

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes)


def message_of(digest: bytes) -> bytes:
    """What is signed, from the SHA-256 of the unsigned manifest."""
    if len(digest) != 32:
        raise LocalError("range", "a SHA-256 has 32 bytes")
    return _CONTEXT + digest


def _fault(manifest: Manifest) -> str:
    """The code of what is wrong with these values, or nothing."""
    model = manifest.model.encode()
    if not 1 <= len(model) <= 32 or not _is_plain(model):
        return "model"
    if not 1 <= manifest.version <= VERSION_MAX:
        return "version"
    if not 1 <= len(manifest.names) <= FILES_MAX:
        return "count"
    last = b""
    for name, size in zip(manifest.names, manifest.sizes):
        encoded = name.encode()
        if not 1 <= len(encoded) <= 64:
            return "name"
        for part in encoded.split(b"/"):
            if part in (b"", b".", b"..") or not _is_plain(part):
                return "name"
        if encoded <= last:
            return "order"
        last = encoded
        if not 0 <= size <= FILE_MAX:
            return "size"
    return "size" if manifest.total > TOTAL_MAX else ""


def _is_plain(text: bytes) -> bool:
    return not text.strip(_LETTERS)


def build(manifest: Manifest) -> bytes:
    """The unsigned manifest; the signature over it is to follow. Raises LocalError."""
    fault = _fault(manifest)
    if fault:
        raise LocalError(fault, "in the manifest of %s" % manifest.model)
    if not 0 <= manifest.mpy <= 255:
        raise LocalError("mpy", "%d" % manifest.mpy)
    model = manifest.model.encode()
    parts = [MAGIC, struct.pack(">BB", LAYOUT, len(model)), model]
    parts.append(struct.pack(">IBH", manifest.version, manifest.mpy, len(manifest.names)))
    for at in range(len(manifest.names)):
        name = manifest.names[at].encode()
        if len(manifest.hashes[at]) != 32:
            raise LocalError("hash", manifest.names[at])
        parts += [struct.pack(">B", len(name)), name, struct.pack(">I", manifest.sizes[at])]
        parts.append(manifest.hashes[at])
    out = b"".join(parts)
    if len(out) + SIGNATURE_SIZE > SIZE_MAX:
        raise LocalError("long", "%d bytes of manifest" % len(out))
    return out


def parse(data: bytes) -> Manifest:
    """A whole manifest with its signature behind it (which is NOT checked here).

    Raises RemoteError: `long`, `short`, `magic`, `layout`, `model`, `version`, `count`, `name`,
    `order`, `size`, `trailing`.
    """
    if len(data) > SIZE_MAX:
        raise RemoteError("long", "%d bytes, %d at most" % (len(data), SIZE_MAX))
    end = len(data) - SIGNATURE_SIZE
    if end < 6:
        raise RemoteError("short", "%d bytes" % len(data))
    if data[:4] != MAGIC:
        raise RemoteError("magic")
    if data[4] != LAYOUT:
        raise RemoteError("layout", "%d" % data[4])
    at = 6 + data[5]
    if at + 7 > end:
        raise RemoteError("short", "in the head")
    model = data[6:at]
    if not _is_plain(model):
        raise RemoteError("model")
    version, mpy, count = struct.unpack(">IBH", data[at : at + 7])
    at += 7
    if count > FILES_MAX:
        raise RemoteError("count", "%d files" % count)
    manifest = Manifest(model.decode(), version, mpy)
    for _ in range(count):
        if at >= end or at + 1 + data[at] + 36 > end:
            raise RemoteError("short", "in file %d" % len(manifest.names))
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + len(name)
        for letter in name:
            if letter > 127:
                raise RemoteError("name", "in file %d" % len(manifest.names))
        (size,) = struct.unpack(">I", data[at : at + 4])
        manifest.add(name.decode(), size, data[at + 4 : at + 36])
        at += 36
    if at != end:
        raise RemoteError("trailing", "%d bytes" % (end - at))
    fault = _fault(manifest)
    if fault:
        raise RemoteError(fault)
    return manifest
