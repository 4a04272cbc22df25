"""`IntervalPolicy`: the sampling interval from stage, rate of rise, rain and storm mode."""

from protocols.errors import LocalError


class IntervalPolicy:
    """Defaults: calm 900 s, rising or rain 60 s, Waspada 60 s, Siaga and above or storm 10 s.

    Goes faster at once, and slower only when the slower one was enough for `calm_after_s`.
    """

    def __init__(
        self,
        calm_s: int = 900,
        rising_s: int = 60,
        stage_s: int = 60,
        storm_s: int = 10,
        rising_mm_per_hour: int = 300,
        rain_tips_10min: int = 25,
        calm_after_s: int = 1800,
    ) -> None:
        self.interval_s = calm_s
        self._enough_s = 0  # when the present interval was last needed
        self.calm_after_s = calm_after_s
        self.rain_tips_10min = rain_tips_10min
        self.configure(calm_s, rising_s, stage_s, storm_s, rising_mm_per_hour)

    def configure(
        self, calm_s: int, rising_s: int, stage_s: int, storm_s: int, rising_mm_per_hour: int
    ) -> None:
        """Take new settings; LocalError("range") unless each is 10 s or more."""
        if min(calm_s, rising_s, stage_s, storm_s) < 10 or rising_mm_per_hour < 1:
            text = "calm %d, rising %d, stage %d, storm %d s at %d mm/h"
            raise LocalError(
                "range", text % (calm_s, rising_s, stage_s, storm_s, rising_mm_per_hour)
            )
        self.calm_s = calm_s
        self.rising_s = rising_s
        self.stage_s = stage_s
        self.storm_s = storm_s
        self.rising_mm_per_hour = rising_mm_per_hour

    def choose(
        self,
        time_s: int,
        stage: int,
        rate_mm_per_hour: "int | None",
        rain_tips_10min: int = 0,
        is_storm: bool = False,
    ) -> int:
        """Seconds between readings from now on, given monotonic `time_s` and what is known."""
        wanted_s = self.calm_s
        is_rising = rate_mm_per_hour is not None and rate_mm_per_hour >= self.rising_mm_per_hour
        if is_rising or rain_tips_10min >= self.rain_tips_10min:
            wanted_s = min(wanted_s, self.rising_s)
        if stage >= 1:
            wanted_s = min(wanted_s, self.stage_s)
        if stage >= 2 or is_storm:
            wanted_s = min(wanted_s, self.storm_s)
        if wanted_s <= self.interval_s or time_s - self._enough_s >= self.calm_after_s:
            self.interval_s = wanted_s
            self._enough_s = time_s
        return self.interval_s
