"""`Burst`: the median of a burst of raw readings, its spread and how many were invalid."""

from protocols.errors import LocalError


class Burst:
    """add() up to `capacity` raw values, then finish(). Allocates at construction alone.

    After finish(): median, mad (median absolute deviation), minimum, maximum, valid, invalid;
    median is None when fewer than `needed` were valid.
    """

    def __init__(self, capacity: int = 15, needed: int = 5) -> None:
        raise LocalError("unfinished")

    def add(self, value: "int | None") -> None:
        """One raw value; None is an invalid one."""

    def finish(self) -> "int | None":
        """The median, or None; the burst then starts afresh with the next add()."""
        raise LocalError("unfinished")
