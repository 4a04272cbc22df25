"""What a downlink may change, kept over resets: `Tuning` (thresholds, intervals, storm mode).

Until a command came, the values are the provisioned settings'. A new provisioning with another
`config_version` takes the place of what commands had set.
"""

import struct

from firmware.store.files import Files
from firmware.store.record import Record
from firmware.store.settings import Settings

_LAYOUT = ">BBBhhhHHHHHHHI"
_VERSION = 1


class Tuning:
    """Attributes are what is in force; `save` after a change."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self._record = Record(files, "tuning")
        self._provisioned = settings.integer("config_version") & 63
        self.config_number = self._provisioned
        self.stages_mm = list(settings.numbers("stages_mm"))
        self.hysteresis_mm = settings.integer("hysteresis_mm")
        self.hold_s = settings.integer("hold_s")
        self.intervals_s = list(settings.numbers("intervals_s"))
        self.rise_mm_10min = settings.integer("rise_mm_10min")
        self.storm_until_s = 0  # seconds since 2020
        content = self._record.load()
        if content is not None and len(content) == struct.calcsize(_LAYOUT):
            self._take(content)

    def _take(self, content: bytes) -> None:
        row = struct.unpack(_LAYOUT, content)
        if row[0] != _VERSION or row[1] != self._provisioned:
            return
        self.config_number = row[2]
        self.stages_mm = list(row[3:6])
        self.hysteresis_mm = row[6]
        self.hold_s = row[7]
        self.intervals_s = list(row[8:12])
        self.rise_mm_10min = row[12]
        self.storm_until_s = row[13]

    def save(self) -> None:
        """Make them durable; raises OSError when the flash fails."""
        self._record.save(
            struct.pack(
                _LAYOUT,
                _VERSION,
                self._provisioned,
                self.config_number,
                self.stages_mm[0],
                self.stages_mm[1],
                self.stages_mm[2],
                self.hysteresis_mm,
                self.hold_s,
                self.intervals_s[0],
                self.intervals_s[1],
                self.intervals_s[2],
                self.intervals_s[3],
                self.rise_mm_10min,
                self.storm_until_s,
            )
        )
