"""MicroPython script: print the reading log of a node from an image of its flash.

    micropython read_log.py IMAGE BLOCKS

One line a reading, `SEQUENCE TIME_S IS_UPTIME`, after the format in `firmware/store/readings.py`.
It knows the format from that description alone, so it is a second reader of the log.
"""

import os
import struct
import sys

import vfs


class Image:
    """A flash image in memory as a read-only block device."""

    def __init__(self, data):
        self._data = data

    def readblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        buf[:] = self._data[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        raise OSError(30)  # read-only

    def ioctl(self, op, arg):
        if op == 4:
            return len(self._data) // 4096
        if op == 5:
            return 4096
        return 0


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def main(path):
    with open(path, "rb") as file:
        image = file.read()
    vfs.mount(
        vfs.VfsLfs2(Image(image), progsize=256, readsize=256, lookahead=64), "/flash", readonly=True
    )
    for entry in os.ilistdir("/flash"):
        name = entry[0]
        if not name.startswith("log."):
            continue
        with open("/flash/" + name, "rb") as file:
            data = file.read()
        if len(data) < 8 or struct.unpack_from(">H", data, 0)[0] != 0x4C47:
            continue
        first = struct.unpack_from(">I", data, 2)[0]
        for index in range((len(data) - 8) // 16):
            row = data[8 + 16 * index : 24 + 16 * index]
            sequence = first + index
            if (
                crc16(row[:14] + b"\0\0" + struct.pack(">I", sequence))
                != struct.unpack_from(">H", row, 14)[0]
            ):
                continue
            time_s = struct.unpack_from(">I", row, 0)[0]
            sys.stdout.write("%d %d %d\n" % (sequence, time_s, row[12] & 1))


main(sys.argv[1])
