"""`StageFilter`: Normal 0, Waspada 1, Siaga 2, Awas 3, with hysteresis in mm and a hold time."""

from protocols.errors import LocalError

NORMAL, WASPADA, SIAGA, AWAS = 0, 1, 2, 3
NAMES = ("Normal", "Waspada", "Siaga", "Awas")


class StageFilter:
    """Rises at once; falls only after `hold_s` seconds without a reading that supports the stage.

    A level supports a stage when it is at or above its threshold - `hysteresis_mm`. Falling goes
    to the highest stage that was supported during the hold: no wave toggles a siren.
    """

    def __init__(
        self,
        waspada_mm: int,
        siaga_mm: int,
        awas_mm: int,
        hysteresis_mm: int = 100,
        hold_s: int = 900,
    ) -> None:
        self.stage = NORMAL
        self._supported_s = [0] * 4  # when each stage was last supported
        self._thresholds = [0] * 4
        self._hysteresis_mm = 0
        self._hold_s = 0
        self.configure(waspada_mm, siaga_mm, awas_mm, hysteresis_mm, hold_s)

    def configure(
        self, waspada_mm: int, siaga_mm: int, awas_mm: int, hysteresis_mm: int, hold_s: int
    ) -> None:
        """Take new thresholds; the stage stays until the next reading. Raises LocalError("range").

        They rise strictly, hysteresis_mm >= 0, hold_s >= 0.
        """
        if not waspada_mm < siaga_mm < awas_mm:
            raise LocalError("range", "%d, %d, %d do not rise" % (waspada_mm, siaga_mm, awas_mm))
        if hysteresis_mm < 0 or hold_s < 0:
            raise LocalError("range", "hysteresis_mm %d, hold_s %d" % (hysteresis_mm, hold_s))
        self._thresholds[WASPADA] = waspada_mm
        self._thresholds[SIAGA] = siaga_mm
        self._thresholds[AWAS] = awas_mm
        self._hysteresis_mm = hysteresis_mm
        self._hold_s = hold_s

    def threshold_mm(self, stage: int) -> int:
        """Where `stage` 1..3 begins."""
        return self._thresholds[stage]

    def feed(self, level_mm: "int | None", time_s: int) -> int:
        """The stage after this reading; a missing one changes nothing. Any monotonic seconds."""
        if level_mm is None:
            return self.stage
        for stage in range(WASPADA, AWAS + 1):
            threshold = self._thresholds[stage]
            if level_mm >= threshold:
                if self.stage < stage:
                    self.stage = stage
                self._supported_s[stage] = time_s
            elif stage <= self.stage and level_mm >= threshold - self._hysteresis_mm:
                self._supported_s[stage] = time_s
        while self.stage and time_s - self._supported_s[self.stage] >= self._hold_s:
            if level_mm >= self._thresholds[self.stage] - self._hysteresis_mm:
                break  # hold_s is 0
            self.stage -= 1
        return self.stage
