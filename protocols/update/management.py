"""LoRaWAN TS006-1.0.0, firmware management: what a device runs and what waits; port 203.

Of the package only what needs no clock and no group is there: commands of one byte of identifier
and fields, little-endian; several may stand in one frame:

    0x00 PackageVersionReq    -   Ans: package 4, version 1
    0x01 DevVersionReq        -   Ans 8: version of the firmware (4), of the hardware (4)
    0x04 DevUpgradeImageReq   -   Ans 1: 0 no image, 1 corrupt, 2 incompatible, 3 valid;
                                  then, for 3, the image's version (4)

The firmware's version is the number of the release; an image is "valid" from its installation to
the end of its trial. The hardware's version is not used (0).
"""

import struct

PORT = 203
PACKAGE, VERSION, IMAGE = 0x00, 0x01, 0x04
IMAGE_NONE, IMAGE_CORRUPT, IMAGE_INCOMPATIBLE, IMAGE_VALID = 0, 1, 2, 3


def answers(
    data: "bytes | bytearray | memoryview", running: int, image: int, image_version: int
) -> list[bytes]:
    """The device's answers, one an element; commands it does not know end the frame."""
    found: list[bytes] = []
    for command in bytes(data):
        if command == PACKAGE:
            found.append(b"\x00\x04\x01")
        elif command == VERSION:
            found.append(struct.pack("<BII", VERSION, running, 0))
        elif command == IMAGE:
            last = struct.pack("<I", image_version) if image == IMAGE_VALID else b""
            found.append(bytes((IMAGE, image)) + last)
        else:
            break
    return found


def question() -> bytes:
    """The server's: which release runs, and does one wait or prove itself?"""
    return bytes((VERSION, IMAGE))


def read_answers(data: "bytes | bytearray | memoryview") -> "dict[str, int]":
    """What a device said: "running", "image", "image_version", as far as it is there."""
    data = bytes(data)
    found: dict[str, int] = {}
    at = 0
    while at < len(data):
        command, left = data[at], len(data) - at - 1
        if command == PACKAGE and left >= 2:
            at += 3
        elif command == VERSION and left >= 8:
            (found["running"],) = struct.unpack("<I", data[at + 1 : at + 5])
            at += 9
        elif command == IMAGE and left >= 1:
            found["image"] = data[at + 1] & 3
            at += 2
            if found["image"] == IMAGE_VALID:
                if left < 5:
                    break
                (found["image_version"],) = struct.unpack("<I", data[at : at + 4])
                at += 4
        else:
            break
    return found
