"""One small record that survives a loss of power at any write: `Record`.

Two files hold the last two versions; a save writes over the older one only, so one whole
version is there at every instant. Layout of a file, big-endian:

    offset size field
    0      2    magic 0x54 0x6B
    2      4    sequence, one more at each save
    6      2    length of the content
    8      n    content
    8+n    4    CRC-32 of everything before it
"""

import binascii
import struct

from firmware.store.files import Files

_MAGIC = 0x546B
_HEAD = 8
CONTENT_MAX = 4096


class Record:
    """`load()` gives the last content that `save()` returned for, or the one being saved."""

    def __init__(self, files: Files, name: str) -> None:
        self._files = files
        self._names = (name + ".a", name + ".b")
        self._sequence = 0
        self._newest = 1  # so that the first save goes to .a
        self.damaged = 0  # copies found torn or rotten at the last load

    def load(self) -> bytes | None:
        """The content, or None when nothing was ever saved (or both copies are damaged)."""
        best: bytes | None = None
        self._sequence = 0
        self._newest = 1
        self.damaged = 0
        for index, name in enumerate(self._names):
            data = self._files.read(name)
            if data is None:
                continue
            sequence = _check(data)
            if sequence < 0:
                self.damaged += 1
            elif best is None or sequence > self._sequence:
                best = data
                self._sequence = sequence
                self._newest = index
        return None if best is None else best[_HEAD:-4]

    def save(self, buf: bytes | bytearray | memoryview) -> None:
        """Make `buf` the content, durable. Call `load` once before the first save after a boot.

        Raises ValueError above `CONTENT_MAX` bytes and OSError when the flash fails.
        """
        if len(buf) > CONTENT_MAX:
            raise ValueError("record of %d bytes; the limit is %d" % (len(buf), CONTENT_MAX))
        data = bytearray(_HEAD + len(buf) + 4)
        struct.pack_into(">HIH", data, 0, _MAGIC, self._sequence + 1, len(buf))
        data[_HEAD:-4] = buf
        struct.pack_into(">I", data, len(data) - 4, binascii.crc32(memoryview(data)[:-4]))
        older = 1 - self._newest
        self._files.write(self._names[older], data)
        self._newest = older
        self._sequence += 1


def _check(data: bytes) -> int:
    """The sequence of a whole file, or -1."""
    if len(data) < _HEAD + 4:
        return -1
    magic, sequence, length = struct.unpack_from(">HIH", data)
    if magic != _MAGIC or len(data) != _HEAD + length + 4:
        return -1
    (crc,) = struct.unpack_from(">I", data, len(data) - 4)
    return sequence if crc == binascii.crc32(memoryview(data)[:-4]) else -1
