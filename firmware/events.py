"""What happened lately, without strings: `Events`, a ring of (uptime s, event, value).

One counter for each event outlives the ring. The last `KEPT` events are stored at a crash and
travel with the health record; names are for the technician's console.
"""

import struct

from micropython import const

BOOT, CRASH, SENSOR_SILENT, SENSOR_INVALID, RADIO_RESET, STORE_FAILED = 0, 1, 2, 3, 4, 5
JOINED, JOIN_FAILED, LINK_LOST, LINK_BACK, CLOCK_SET, STAGE = 6, 7, 8, 9, 10, 11
COMMAND, COMMAND_REFUSED, SETTINGS_REFUSED, SAFE_MODE, GNSS_BAD, LOG_DAMAGED = (
    12,
    13,
    14,
    15,
    16,
    17,
)

NAMES = (
    "boot", "crash", "sensor.silent", "sensor.invalid", "radio.reset", "store.failed",
    "joined", "join.failed", "link.lost", "link.back", "clock.set", "stage",
    "command", "command.refused", "settings.refused", "safe.mode", "gnss.bad", "log.damaged",
)  # fmt: skip

KEPT = const(16)
_ROW = const(9)  # uptime u32, event u8, value i32


class Events:
    """`note` allocates nothing while the uptime and the value are below 2**30."""

    def __init__(self) -> None:
        self._rows = bytearray(16 * _ROW)
        self._next = 0
        self.total = 0
        self.counts = [0] * len(NAMES)

    def note(self, uptime_s: int, event: int, value: int = 0) -> None:
        """Remember one event; `value` is -2**31..2**31 - 1, by event."""
        struct.pack_into(">IBi", self._rows, self._next * _ROW, uptime_s, event, value)
        self._next = (self._next + 1) % KEPT
        self.total += 1
        self.counts[event] += 1

    def last(self) -> "list[tuple[int, int, int]]":
        """The kept events, oldest first: (uptime s, event, value)."""
        count = min(self.total, KEPT)
        rows: list[tuple[int, int, int]] = []
        for back in range(count, 0, -1):
            at = (self._next - back) % KEPT * _ROW
            uptime_s, event, value = struct.unpack_from(">IBi", self._rows, at)
            rows.append((uptime_s, event, value))
        return rows

    def dump(self) -> bytes:
        """The kept events as stored: 9 bytes each, oldest first."""
        out = bytearray()
        for row in self.last():
            out.extend(struct.pack(">IBi", *row))
        return bytes(out)
