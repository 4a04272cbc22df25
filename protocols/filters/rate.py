"""`RateOfRise`: median slope (Theil-Sen) of the last readings, in integers."""

from protocols.errors import LocalError


class RateOfRise:
    """push(time_s, level_mm) then `mm_per_hour` (None with fewer than 3 readings in the window)."""

    def __init__(self, window_s: int = 900, capacity: int = 8) -> None:
        raise LocalError("unfinished")

    def push(self, time_s: int, level_mm: "int | None") -> "int | None":
        """Add a reading; return the rate in mm/h, rising positive, or None."""
        raise LocalError("unfinished")

    def seconds_to(self, level_mm: int) -> "int | None":
        """Seconds until `level_mm` at this rate; 0 when there; None when not rising to it."""
        raise LocalError("unfinished")
