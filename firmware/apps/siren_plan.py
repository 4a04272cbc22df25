"""When a siren tests itself: `CheckPlan`, by the device's own clock and settings.

A silent test every `siren_silent_days` and an audible one on day `siren_audible_day` of each month,
both in the hour `siren_test_hour` of local time (`utc_offset_min`). What was done is in the flash,
so that a restart within that hour does not sound again. A day that was missed is not made up for.
"""

import struct

from firmware.store.files import Files
from firmware.store.record import Record
from firmware.store.settings import Settings

NOTHING, SILENT, AUDIBLE = 0, 1, 2
_DAY_S = 86_400
_EPOCH_DAY = 18_262  # 2020-01-01 in days since 1970
_LAYOUT = ">BHH"
_VERSION = 1


def day_of_month(day: int) -> int:
    """1..31 of a day counted from 2020-01-01 (days to civil date, H. Hinnant)."""
    shifted = day + _EPOCH_DAY + 719_468
    of_era = shifted % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return of_year - (153 * month + 2) // 5 + 1


class CheckPlan:
    """`due` says what to do now; `done` notes it."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self._record = Record(files, "siren")
        self._hour = settings.integer("siren_test_hour")
        self._offset_s = settings.integer("utc_offset_min") * 60
        self._every_days = settings.integer("siren_silent_days")
        self._audible_day = settings.integer("siren_audible_day")
        self._silent_at = 0  # day since 2020 of the last one
        self._audible_at = 0
        content = self._record.load()
        if content is not None and len(content) == struct.calcsize(_LAYOUT):
            version, silent_at, audible_at = struct.unpack(_LAYOUT, content)
            if version == _VERSION:
                self._silent_at, self._audible_at = silent_at, audible_at

    def due(self, time_s: int) -> int:
        """NOTHING, SILENT or AUDIBLE at `time_s` since 2020 (UTC)."""
        local_s = time_s + self._offset_s
        if local_s % _DAY_S // 3600 != self._hour:
            return NOTHING
        day = local_s // _DAY_S
        if day != self._audible_at and day_of_month(day) == self._audible_day:
            return AUDIBLE
        if self._every_days and not 0 <= day - self._silent_at < self._every_days:
            return SILENT
        return NOTHING

    def done(self, what: int, time_s: int) -> None:
        """A test begins; an audible one counts as a silent one too. Raises OSError."""
        day = max(0, min(65_535, (time_s + self._offset_s) // _DAY_S))
        self._silent_at = day
        if what == AUDIBLE:
            self._audible_at = day
        self._record.save(struct.pack(_LAYOUT, _VERSION, self._silent_at, self._audible_at))
