"""`Burst`: the median of a burst of raw readings, its spread and how many were invalid."""

from protocols.errors import LocalError

CAPACITY_MAX = 63


class Burst:
    """add() up to `capacity` raw values, then finish(). Allocates at construction alone.

    After finish(): median, mad (median absolute deviation), minimum, maximum, valid, invalid;
    median, mad, minimum and maximum are None when fewer than `needed` were valid. The median of an
    even number of values is the lower middle one: always a value that was measured.
    """

    def __init__(self, capacity: int = 15, needed: int = 5) -> None:
        if not 1 <= needed <= capacity <= CAPACITY_MAX:
            raise LocalError("range", "needed %d, capacity %d" % (needed, capacity))
        self._values = [0] * capacity
        self._needed = needed
        self._is_done = False
        self.median: int | None = None
        self.mad: int | None = None
        self.minimum: int | None = None
        self.maximum: int | None = None
        self.valid = 0
        self.invalid = 0

    def add(self, value: "int | None") -> None:
        """One raw value; None is an invalid one. Raises LocalError("full") beyond the capacity."""
        if self._is_done:
            self._is_done = False
            self.valid = self.invalid = 0
        if value is None:
            self.invalid += 1
            return
        if self.valid == len(self._values):
            raise LocalError("full", "more than %d values" % self.valid)
        insert_sorted(self._values, self.valid, value)
        self.valid += 1

    def finish(self) -> "int | None":
        """The median, or None; the burst starts afresh with the next add()."""
        if self._is_done:  # a burst without a single add()
            self.valid = self.invalid = 0
        self._is_done = True
        values = self._values
        count = self.valid
        self.median = self.mad = self.minimum = self.maximum = None
        if count < self._needed:
            return None
        self.minimum = values[0]
        self.maximum = values[count - 1]
        median = self.median = values[(count - 1) // 2]
        # The values are sorted, so the nearest to the median lie around it: walk outwards.
        low = high = (count - 1) // 2
        spread = 0
        for _ in range((count - 1) // 2):
            below = median - values[low - 1] if low > 0 else -1
            above = values[high + 1] - median if high + 1 < count else -1
            if below >= 0 and (above < 0 or below <= above):
                low -= 1
                spread = below
            else:
                high += 1
                spread = above
        self.mad = spread
        return median


def insert_sorted(values: "list[int]", count: int, value: int) -> None:
    """Insert into the sorted values[:count] of a longer list, in place."""
    at = count
    while at and values[at - 1] > value:
        values[at] = values[at - 1]
        at -= 1
    values[at] = value
