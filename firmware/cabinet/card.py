"""The program card: which channels may be on together, and the shortest yellow and clearance.

A fixed record, written when the cabinet is commissioned and checked by a second person; never
changed by the gateway at run time.

    offset size   field
    0      4      b"TKC1"
    4      1      channels n, 1..16
    5      n      shortest yellow, 0.1 s; 0: the channel has no yellow (pedestrians)
    5+n    n      flags: bit 0 may be dark (a left arrow), bit 1 pedestrian: red may blink
    5+2n   n*n    row a, column b: shortest time from the end of a to the green of b, 0.1 s;
                  255: a and b may be on together
    5+2n+n*n 4    CRC-32 of all before, big-endian
"""

import binascii

CHANNELS_MAX = 16
TOGETHER = 255
FLAG_DARK = 1
FLAG_BLINKS = 2


class CardError(Exception):
    """The card cannot be used; the cabinet stays in flash. `args[0]` says why."""


class Card:
    """A card that was read and found consistent."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 10 or data[:4] != b"TKC1":
            raise CardError("no card")
        count = data[4]
        if not 1 <= count <= CHANNELS_MAX or len(data) != 9 + 2 * count + count * count:
            raise CardError("length")
        crc = binascii.crc32(data[:-4]) & 0xFFFFFFFF
        want = data[-4] << 24 | data[-3] << 16 | data[-2] << 8 | data[-1]
        if crc != want:
            raise CardError("crc")
        self.channels = count
        self.yellow_ms = [100 * data[5 + i] for i in range(count)]
        self.flags = [data[5 + count + i] for i in range(count)]
        self.clearance_ms: list[int] = []
        self.conflicts: list[int] = []
        base = 5 + 2 * count
        for a in range(count):
            mask = 0
            for b in range(count):
                there = data[base + a * count + b]
                back = data[base + b * count + a]
                if a != b and (there == TOGETHER) != (back == TOGETHER):
                    raise CardError("matrix")
                self.clearance_ms.append(100 * there)
                if a != b and there != TOGETHER:
                    mask |= 1 << b
            self.conflicts.append(mask)
