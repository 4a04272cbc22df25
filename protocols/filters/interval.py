"""`IntervalPolicy`: the sampling interval from stage, rate of rise, rain and storm mode."""

from protocols.errors import LocalError


class IntervalPolicy:
    """Defaults: calm 900 s, rising or rain 60 s, Waspada 60 s, Siaga and above or storm 10 s."""

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
        raise LocalError("unfinished")

    def choose(
        self,
        time_s: int,
        stage: int,
        rate_mm_per_hour: "int | None",
        rain_tips_10min: int = 0,
        is_storm: bool = False,
    ) -> int:
        """Seconds between readings from now on; goes faster at once, slower after calm_after_s."""
        raise LocalError("unfinished")
