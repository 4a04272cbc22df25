"""A release as one block of bytes: `manifest_size`, `next_file`, `assemble`.

    offset size field
    0      4    magic "TUKP"
    4      2    length m of the signed manifest, big-endian
    6      m    the signed manifest (`protocols.update.manifest`)
    then for each file in the block, in the manifest's order:
           2    number of the file in the manifest, big-endian, rising
           size bytes of the file

Files that are missing here are those that the running slot has with the same SHA-256 already: a
small change makes a small block. Nothing in it is believed but what the manifest's signature and
hashes cover.
"""

import struct

from protocols.errors import LocalError, RemoteError
from protocols.update.manifest import SIZE_MAX, Manifest

MAGIC = b"TUKP"
HEAD = 6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def manifest_size(head: bytes) -> int:
    """Bytes of the manifest behind the first `HEAD` bytes; raises RemoteError."""
    if len(head) < HEAD:
        raise RemoteError("short", "%d bytes of package" % len(head))
    if head[:4] != MAGIC:
        raise RemoteError("magic", "this is no update package")
    (size,) = struct.unpack(">H", head[4:6])
    if size > SIZE_MAX:
        raise RemoteError("long", "a manifest of %d bytes" % size)
    return size


def next_file(manifest: Manifest, row: bytes, after: int) -> int:
    """The number in the two bytes `row` before a file; must be above `after`."""
    if len(row) < 2:
        raise RemoteError("short", "between files")
    (number,) = struct.unpack(">H", row)
    if number <= after or number >= len(manifest.names):
        raise RemoteError("file", "number %d after %d" % (number, after))
    return number


def assemble(signed: bytes, manifest: Manifest, contents: "Mapping[str, bytes]") -> bytes:
    """A package with the files in `contents` (all of them, or those that changed)."""
    if len(signed) > SIZE_MAX:
        raise LocalError("long", "a manifest of %d bytes" % len(signed))
    parts = [MAGIC, struct.pack(">H", len(signed)), signed]
    for number, name in enumerate(manifest.names):
        content = contents.get(name)
        if content is None:
            continue
        if len(content) != manifest.sizes[number]:
            raise LocalError("size", name)
        parts += [struct.pack(">H", number), content]
    return b"".join(parts)
