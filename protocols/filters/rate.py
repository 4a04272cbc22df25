"""`RateOfRise`: the median slope (Theil-Sen) of the last readings, in integers."""

from protocols.errors import LocalError
from protocols.filters.burst import insert_sorted

CAPACITY_MAX = 12  # 66 pairs
NEEDED = 3
RATE_MAX = 1 << 24  # mm/h; steeper is clamped


class RateOfRise:
    """push() each reading; `mm_per_hour` is None with fewer than 3 readings in the window.

    Looks at the newest `capacity` readings not older than `window_s`. One wild reading in seven
    does not move it. Allocates at construction alone; values below 2**30 for levels within
    +-100 m.
    """

    def __init__(self, window_s: int = 3600, capacity: int = 7) -> None:
        if not NEEDED <= capacity <= CAPACITY_MAX or not 0 < window_s <= 86400:
            raise LocalError("range", "window_s %d, capacity %d" % (window_s, capacity))
        self._window_s = window_s
        self._times = [0] * capacity
        self._levels = [0] * capacity
        self._slopes = [0] * (capacity * (capacity - 1) // 2)
        self._count = 0
        self._newest = capacity - 1
        self.mm_per_hour: int | None = None

    def push(self, time_s: int, level_mm: "int | None") -> "int | None":
        """Add a reading; return the rate in mm/h, rising positive, or None.

        A missing reading changes nothing. A time that is not later than the last starts afresh
        (the clock was set).
        """
        if level_mm is None:
            return self.mm_per_hour
        if self._count and time_s <= self._times[self._newest]:
            self._count = 0
        size = len(self._times)
        self._newest = (self._newest + 1) % size
        self._times[self._newest] = time_s
        self._levels[self._newest] = level_mm
        if self._count < size:
            self._count += 1
        while time_s - self._times[self._newest - self._count + 1] > self._window_s:
            self._count -= 1
        self.mm_per_hour = self._median_slope()
        return self.mm_per_hour

    def _median_slope(self) -> "int | None":
        if self._count < NEEDED:
            return None
        pairs = 0
        for i in range(self._count):
            late = self._newest - i
            for j in range(i + 1, self._count):
                early = self._newest - j
                rise = self._levels[late] - self._levels[early]
                elapsed_s = self._times[late] - self._times[early]
                # Two divisions keep it below 2**30; the loss is under 1 mm/h.
                slope = rise * 1200 // elapsed_s * 3 + rise * 1200 % elapsed_s * 3 // elapsed_s
                slope = min(max(slope, -RATE_MAX), RATE_MAX)
                insert_sorted(self._slopes, pairs, slope)
                pairs += 1
        middle = self._slopes[pairs // 2]
        return middle if pairs % 2 else (middle + self._slopes[pairs // 2 - 1]) // 2

    def seconds_to(self, level_mm: int) -> "int | None":
        """Seconds until `level_mm` at this rate; 0 when there; None when not rising to it.

        More than a day is None too: no rate holds that long.
        """
        if not self._count:
            return None
        missing_mm = level_mm - self._levels[self._newest]
        if missing_mm <= 0:
            return 0
        if self.mm_per_hour is None or self.mm_per_hour <= 0:
            return None
        if missing_mm // self.mm_per_hour >= 24:
            return None
        return missing_mm * 3600 // self.mm_per_hour
