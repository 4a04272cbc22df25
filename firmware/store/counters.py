"""Counters that live over resets: `Counters` (boots, crashes, rain, offsets of earlier starts).

One two-copy record; `save` is called at a start, when rain fell, and when the time became known.
"""

import struct

from firmware.store.files import Files
from firmware.store.record import Record

_HEAD = ">BHHHHHHIHBB"
_VERSION = 1
_OFFSETS = 8


class Counters:
    """Read once at the start; attributes are what is in force.

    boots        starts of this device, 1..65535, then stays
    watchdogs, crashes, power_ons, soft_resets   why it started
    crash_streak starts in a row that ended in a crash or a watchdog reset within minutes
    rain_tips    tips of the bucket since it was made, below 2**30
    command_number   the last command done, below 65535; -1: none
    event_number     the last event sent, 0..255
    planned          why we reset ourselves (RESET_...), 0: we did not
    """

    def __init__(self, files: Files) -> None:
        self._record = Record(files, "counters")
        self.boots = 0
        self.power_ons = 0
        self.watchdogs = 0
        self.crashes = 0
        self.soft_resets = 0
        self.crash_streak = 0
        self.rain_tips = 0
        self.command_number = -1
        self.event_number = 0
        self.planned = 0
        self._offsets: list[tuple[int, int]] = []  # (boot, wall minus uptime), oldest first
        content = self._record.load()
        self.is_new = content is None
        if content is not None:
            self._take(content)

    def _take(self, content: bytes) -> None:
        size = struct.calcsize(_HEAD)
        if len(content) < size or content[0] != _VERSION:
            self.is_new = True
            return
        (
            _,
            self.boots,
            self.power_ons,
            self.watchdogs,
            self.crashes,
            self.soft_resets,
            self.crash_streak,
            self.rain_tips,
            number,
            self.event_number,
            self.planned,
        ) = struct.unpack_from(_HEAD, content)
        self.command_number = number - 1
        for at in range(size, len(content) - 5, 6):
            boot, offset_s = struct.unpack_from(">Hi", content, at)
            self._offsets.append((boot, offset_s))

    def save(self) -> None:
        """Make them durable; raises OSError when the flash fails."""
        out = bytearray(struct.calcsize(_HEAD) + 6 * len(self._offsets))
        struct.pack_into(
            _HEAD,
            out,
            0,
            _VERSION,
            min(self.boots, 65_535),
            min(self.power_ons, 65_535),
            min(self.watchdogs, 65_535),
            min(self.crashes, 65_535),
            min(self.soft_resets, 65_535),
            min(self.crash_streak, 65_535),
            self.rain_tips,
            min(self.command_number + 1, 65_535),
            self.event_number & 0xFF,
            self.planned,
        )
        at = struct.calcsize(_HEAD)
        for boot, offset_s in self._offsets:
            struct.pack_into(">Hi", out, at, boot, offset_s)
            at += 6
        self._record.save(out)

    def note_offset(self, offset_s: int) -> None:
        """Wall time minus uptime of the present start became known."""
        self._offsets = [pair for pair in self._offsets if pair[0] != self.boots]
        self._offsets.append((self.boots, offset_s))
        if len(self._offsets) > _OFFSETS:
            self._offsets.pop(0)

    def offset_of(self, boot: int) -> "int | None":
        """Wall time minus uptime of the start `boot`; None when it never knew the time."""
        for known, offset_s in self._offsets:
            if known == boot:
                return offset_s
        return None
