"""The monitor's own log: the last 64 faults, kept over power cuts, and the latch itself.

A record is 16 bytes, big-endian: number (4), ticks ms (4), fault, channel, other, zero (1 each),
then red, yellow and green at the fault are packed as 16 bits red and 16 bits yellow|green (4).
The newest record says whether the cabinet is latched: code 0 is a reset by hand.
"""

import struct

_LAYOUT = ">IIBBBBHH"
_SIZE = 16
_KEPT = 64
_NAME = "faults.bin"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.store.files import Files


class FaultLog:
    """Faults on flash; `latched` is what was unresolved at power-up."""

    def __init__(self, files: "Files") -> None:
        self._files = files
        data = files.read(_NAME) or b""
        # A record cut short by a power cut is dropped; the latch before it holds.
        self._data = data[: len(data) - len(data) % _SIZE]
        self.number = 0
        self.latched = 0
        if self._data:
            last = struct.unpack(_LAYOUT, self._data[-_SIZE:])
            self.number = last[0]
            self.latched = last[2]

    def add(self, now_ms: int, fault: int, channel: int, other: int, red: int, moving: int) -> None:
        """Store one record; durable when it returns. `fault` 0: reset by hand."""
        self.number = (self.number + 1) & 0x3FFFFFFF
        self.latched = fault
        record = struct.pack(
            _LAYOUT, self.number, now_ms & 0x3FFFFFFF, fault & 255, channel & 255, other & 255, 0,
            red & 0xFFFF, moving & 0xFFFF,
        )  # fmt: skip
        if len(self._data) >= _KEPT * _SIZE:
            self._data = self._data[-(_KEPT // 2) * _SIZE :] + record
            self._files.write(_NAME, self._data)
        else:
            self._data += record
            self._files.append(_NAME, record)

    def records(self) -> list[tuple[int, ...]]:
        """(number, ticks, fault, channel, other, 0, red, yellow or green), oldest first."""
        return [
            struct.unpack(_LAYOUT, self._data[i : i + _SIZE])
            for i in range(0, len(self._data), _SIZE)
        ]
