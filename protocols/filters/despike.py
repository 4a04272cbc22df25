"""`Despike`: a jump is held back until it persists; a persisting one for two samples at most."""

from protocols.errors import LocalError


class Despike:
    """feed() each reading; returns the value to use now. `is_jump` asks to re-measure at once.

    A change of more than `limit_mm` from the last accepted value is doubtful. It becomes the
    truth when 2 of 3 doubtful readings in a row agree within `noise_mm` + `drift_mm` (the change
    per sample a flood can make).
    """

    def __init__(self, limit_mm: int = 100, noise_mm: int = 20, drift_mm: int = 100) -> None:
        raise LocalError("unfinished")

    def feed(self, level_mm: "int | None") -> "int | None":
        """The accepted level; the last one while a jump is doubtful; None when missing."""
        raise LocalError("unfinished")
