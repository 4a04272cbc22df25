"""LoRaWAN TS004-1.0.0, fragmented data block transport: `Session` (device) and the server's words.

Port 201. Commands are one byte of identifier and fields, little-endian; several may stand in one
frame, a data fragment only at its end:

    0x00 PackageVersionReq    -          Ans: package 3, version 1
    0x01 FragSessionStatusReq 1 byte     bit 0: every participant answers; bits 1-2: session
                              Ans 4      received (14 bits) and session (2), missing, status
    0x02 FragSessionSetupReq  10 bytes   session (bits 4-5) and group mask (0-3); number of
                                         fragments (2); size; control: algorithm (3-5), delay of
                                         answers (0-2); padding; descriptor (4)
                              Ans 1      bits 0-3: encoding, memory, session, descriptor refused;
                                         bits 6-7: session
    0x03 FragSessionDeleteReq 1 byte     bits 0-1: session
                              Ans 1      bits 0-1: session; bit 2: there is no such
    0x08 DataFragment         2 + size   number (14 bits) and session (2); the fragment

One session, number 0, at a time. The descriptor is the release's version. Multicast (TS005) and
timed start (TS006) are not there: fragments come to each device by itself.
"""

import struct

from protocols.errors import LocalError
from protocols.update.parity import FRAGMENTS_MAX, Decoder

PORT = 201
VERSION, STATUS, SETUP, DELETE, FRAGMENT = 0x00, 0x01, 0x02, 0x03, 0x08
REFUSED_ENCODING, REFUSED_MEMORY, REFUSED_SESSION, REFUSED_DESCRIPTOR = 1, 2, 4, 8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from protocols.update.parity import Rows

    class Place(Protocol):
        """Where a device keeps the block."""

        def open(self, count: int, size: int) -> "Rows | None":
            """Room for `count` fragments of `size` bytes; None: there is not enough."""
            ...

        def is_wanted(self, version: int) -> bool:
            """Whether a release of this version would be taken in."""
            ...


class Session:
    """The device's end. `handle` each frame on `PORT`; when `is_complete`, take the block."""

    def __init__(self, place: "Place") -> None:
        self._place = place
        self._setup = b""
        self.decoder: Decoder | None = None
        self.version = 0  # the descriptor
        self.length = 0  # bytes of the block, without padding
        self.answer_within_s = 0  # answers to a group are to be spread over so many seconds
        self.unknown = 0  # bytes of frames that we could not read

    @property
    def is_complete(self) -> bool:
        return self.decoder is not None and self.decoder.is_complete

    def close(self) -> None:
        """Forget the session; the block is the caller's."""
        self.decoder = None
        self._setup = b""

    def handle(self, data: "bytes | bytearray | memoryview") -> bytes:
        """One frame's payload in; the answers, to be sent on `PORT`, or nothing."""
        data = bytes(data)
        out = b""
        at = 0
        while at < len(data):
            command = data[at]
            rest = data[at + 1 :]
            if command == VERSION:
                out += b"\x00\x03\x01"
                at += 1
            elif command == STATUS and len(rest) >= 1:
                out += self._status(rest[0])
                at += 2
            elif command == SETUP and len(rest) >= 10:
                out += self._set_up(rest[:10])
                at += 11
            elif command == DELETE and len(rest) >= 1:
                out += self._delete(rest[0] & 3)
                at += 2
            elif command == FRAGMENT and len(rest) >= 2:
                self._take(rest)
                return out
            else:
                self.unknown += len(data) - at
                return out
        return out

    def _status(self, wish: int) -> bytes:
        decoder = self.decoder
        index = wish >> 1 & 3
        if decoder is None or index != 0 or (not wish & 1 and decoder.is_complete):
            return b""  # who has all is silent unless everybody is asked
        return struct.pack(
            "<BHBB",
            STATUS,
            min(decoder.received, 0x3FFF) | index << 14,
            min(decoder.missing, 255),
            1 if decoder.is_overrun else 0,
        )

    def _set_up(self, fields: bytes) -> bytes:
        session, count, size, control, padding, version = struct.unpack("<BHBBBI", fields)
        index = session >> 4 & 3
        if fields == self._setup:
            return bytes((SETUP, index << 6))  # sent again, because our answer was lost
        refused = 0
        if control >> 3 & 7:
            refused |= REFUSED_ENCODING
        if index:
            refused |= REFUSED_SESSION
        if not self._place.is_wanted(version):
            refused |= REFUSED_DESCRIPTOR
        rows = None
        if not refused:
            if 1 <= count <= FRAGMENTS_MAX and size and padding < size:
                rows = self._place.open(count, size)
            if rows is None:
                refused |= REFUSED_MEMORY
        if rows is not None:
            self.decoder = Decoder(count, size, rows)
            self._setup = fields
            self.version = version
            self.length = count * size - padding
            self.answer_within_s = 1 << (control & 7) + 4
        return bytes((SETUP, index << 6 | refused))

    def _delete(self, index: int) -> bytes:
        if self.decoder is None or index:
            return bytes((DELETE, index | 4))
        self.close()
        return bytes((DELETE, index))

    def _take(self, rest: bytes) -> None:
        (word,) = struct.unpack("<H", rest[:2])
        if self.decoder is None or word >> 14:
            self.unknown += 1 + len(rest)
            return
        self.decoder.take(word & 0x3FFF, rest[2:])


def setup_request(length: int, size: int, version: int, delay: int = 0) -> bytes:
    """The server's FragSessionSetupReq for a block of `length` bytes."""
    count = -(-length // size) if size > 0 else 0
    if not 1 <= count <= FRAGMENTS_MAX or not 1 <= size <= 239 or not 0 <= delay <= 7:
        raise LocalError("range", "%d bytes by %d" % (length, size))
    if not 0 <= version < 1 << 32:
        raise LocalError("range", "version %d" % version)
    return struct.pack("<BBHBBBI", SETUP, 0, count, size, delay, count * size - length, version)


def status_request(is_for_all: bool = True) -> bytes:
    """The server's FragSessionStatusReq; not for all: only who lacks something answers."""
    return bytes((STATUS, 1 if is_for_all else 0))


def delete_request() -> bytes:
    """The server's FragSessionDeleteReq."""
    return bytes((DELETE, 0))


def fragment_message(number: int, fragment: bytes) -> bytes:
    """The server's DataFragment."""
    if not 1 <= number <= 0x3FFF:
        raise LocalError("range", "fragment number %d" % number)
    return struct.pack("<BH", FRAGMENT, number) + fragment
