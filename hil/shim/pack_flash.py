"""Runs on MicroPython (unix port): packs a folder into the file system of a Pico's flash.

argv: this file, the folder, the image to write, how many sectors of 4,096 bytes.
"""

import os
import sys

import vfs

_SECTOR = 4096


class _Ram:
    """A block device in memory with erased bytes of ones."""

    def __init__(self, count):
        self.data = bytearray(b"\xff" * (_SECTOR * count))

    def readblocks(self, block, buf, offset=0):
        """See MicroPython's extended block device."""
        start = _SECTOR * block + offset
        buf[:] = self.data[start : start + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        """See MicroPython's extended block device."""
        start = _SECTOR * block + (offset or 0)
        self.data[start : start + len(buf)] = buf

    def ioctl(self, op, arg):
        """Count, size, and erase."""
        if op == 4:
            return len(self.data) // _SECTOR
        if op == 5:
            return _SECTOR
        if op == 6:
            start = _SECTOR * arg
            self.data[start : start + _SECTOR] = b"\xff" * _SECTOR
        return 0


def _copy(source, target):
    for entry in sorted(os.ilistdir(source)):
        name, kind = entry[0], entry[1]
        if name in (".", ".."):
            continue
        if kind & 0x4000:
            os.mkdir(target + "/" + name)
            _copy(source + "/" + name, target + "/" + name)
        else:
            with open(source + "/" + name, "rb") as read, open(target + "/" + name, "wb") as write:
                write.write(read.read())


_device = _Ram(int(sys.argv[3]))
vfs.VfsLfs2.mkfs(_device, progsize=256)
vfs.mount(vfs.VfsLfs2(_device, progsize=256), "/pico")
_copy(sys.argv[1], "/pico")
vfs.umount("/pico")
with open(sys.argv[2], "wb") as _out:
    _out.write(_device.data)
