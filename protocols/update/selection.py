"""Which application slot starts: `Selection`, the content of the device's record `slots`.

Layout, big-endian, 16 bytes:

    offset size field
    0      1    version of this layout, 1
    1      1    active slot, 0 (app.a) or 1 (app.b)
    2      1    0: the active slot is confirmed; 1: it is on trial
    3      1    starts of the slot on trial so far
    4      4    highest version that was ever confirmed
    8      4    version in the active slot
    12     3    the last version that was taken back, low 24 bits; 0: none yet
    15     1    starts of an installation that did not end
"""

import struct

SIZE = 16
_LAYOUT = ">BBBBIIHBB"


class Selection:
    """The default is a new device: slot 0, confirmed, any version welcome."""

    def __init__(self) -> None:
        self.active = 0
        self.is_trial = False
        self.attempts = 0
        self.floor = 0
        self.version = 0
        self.failed = 0
        self.install_tries = 0

    def encode(self) -> bytes:
        """The record's content."""
        return struct.pack(
            _LAYOUT,
            1,
            self.active,
            1 if self.is_trial else 0,
            min(self.attempts, 255),
            self.floor,
            self.version,
            self.failed >> 8 & 0xFFFF,
            self.failed & 0xFF,
            min(self.install_tries, 255),
        )


def decode(content: "bytes | None") -> Selection:
    """From a record; one that is missing, short or of another layout is a new device's."""
    found = Selection()
    if content is None or len(content) != SIZE or content[0] != 1:
        return found
    _, active, trial, attempts, floor, version, high, low, tries = struct.unpack(_LAYOUT, content)
    if active > 1 or trial > 1:
        return found
    found.active = active
    found.is_trial = trial == 1
    found.attempts = attempts
    found.floor = floor
    found.version = version
    found.failed = high << 8 | low
    found.install_tries = tries
    return found
