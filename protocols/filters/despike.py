"""`Despike`: a jump is held back until it persists; a persisting one for two samples at most.

Against the latch-up of a filter that compares with the last accepted value for ever (FloodNet's
published one hides a true step of 400 mm at 60 s sampling until the water falls again): here a
doubtful value is the beginning of a second opinion, and the second value that agrees makes it true.
"""

from protocols.errors import LocalError

HOLD_MAX = 2  # readings a persisting change may be hidden for


class Despike:
    """feed() each reading; returns the value to use now. `is_jump` asks to re-measure at once.

    A change of more than `limit_mm` from the last accepted value is doubtful and held back. It
    becomes the truth when another doubtful reading within the next two agrees with it within
    `agree_mm` (noise and what a flood can rise from one sample to the next), and in any case
    when HOLD_MAX readings were held back and the next one is doubtful too.
    Attributes after feed(): is_jump, spikes (readings that proved to be spikes), accepted_mm.
    """

    def __init__(self, limit_mm: int = 100, agree_mm: int = 100) -> None:
        if limit_mm < 1 or agree_mm < 0:
            raise LocalError("range", "limit_mm %d, agree_mm %d" % (limit_mm, agree_mm))
        self.limit_mm = limit_mm
        self.agree_mm = agree_mm
        self.accepted_mm: int | None = None
        self.is_jump = False
        self.spikes = 0
        self._held = [0] * HOLD_MAX
        self._held_count = 0

    def feed(self, level_mm: "int | None") -> "int | None":
        """The accepted level; the last one while a jump is doubtful; None when missing.

        A missing reading decides nothing.
        """
        if level_mm is None:
            return None
        accepted = self.accepted_mm
        if accepted is None or abs(level_mm - accepted) <= self.limit_mm:
            self.spikes += self._held_count
            return self._accept(level_mm)
        for i in range(self._held_count):
            if abs(level_mm - self._held[i]) <= self.agree_mm:
                self.spikes += self._held_count - 1  # those that do not agree
                return self._accept(level_mm)
        if self._held_count == HOLD_MAX:
            # Three different doubtful values: whatever this is, the old one is not the truth.
            self.spikes += HOLD_MAX
            return self._accept(level_mm)
        self._held[self._held_count] = level_mm
        self._held_count += 1
        self.is_jump = True
        return accepted

    def _accept(self, level_mm: int) -> int:
        self.accepted_mm = level_mm
        self._held_count = 0
        self.is_jump = False
        return level_mm
