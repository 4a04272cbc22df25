"""Looks between two readings: `Watch`, so that a crossing is seen within a second or two.

In alarm mode a reading is taken every 10 s at best, for each costs a second of burst and a place in
the log. Near the next stage three quick measurements every `look_s` tell whether it was crossed;
only then do they become a reading. Seconds before the crossing one look follows the other.
"""

from firmware.store.settings import Settings
from protocols.ticks import ticks_add, ticks_diff

LOOK_MS = 450  # three answers at 9600 baud and the pauses between, with room to spare


class Watch:
    """When the next look is due."""

    def __init__(self, settings: Settings) -> None:
        self._every_ms = settings.integer("look_s") * 1000
        self.near_mm = settings.integer("near_mm")
        self._due_ms = 0
        self._is_on = False

    def is_due(self, is_near: bool, is_about: bool, now_ms: int) -> bool:
        """True once every `look_s` while the water is near the next stage, or about to reach it."""
        if not is_near or not self._every_ms:
            self._is_on = False
            return False
        if self._is_on and ticks_diff(now_ms, self._due_ms) < 0:
            return False
        self._is_on = True
        self._due_ms = ticks_add(now_ms, LOOK_MS if is_about else self._every_ms)
        return True

    def wait_ms(self, now_ms: int) -> int:
        """Until the next look while the water is near; at least 20: the radio may be busy."""
        if not self._every_ms:
            return 60_000
        return max(20, ticks_diff(self._due_ms, now_ms)) if self._is_on else 20
