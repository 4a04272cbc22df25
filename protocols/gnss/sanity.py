"""`FixCheck`: says when a receiver lies: null island, stuck, jumping, time going backwards."""

from protocols.errors import LocalError

GOOD, NULL, STUCK, JUMP, BACKWARDS, OUTSIDE = 0, 1, 2, 3, 4, 5


class FixCheck:
    """judge() each fix; a jump that persists for three fixes becomes the truth."""

    def __init__(self, max_speed_dkn: int = 600, stuck_s: int = 1800) -> None:
        raise LocalError("unfinished")

    def judge(self, time_s: int, lat_e5: int, lon_e5: int, sog_dkn: "int | None") -> int:
        """GOOD or the reason not to believe it."""
        raise LocalError("unfinished")
