"""`StageFilter`: Normal 0, Waspada 1, Siaga 2, Awas 3, with hysteresis in mm and a hold time."""

from protocols.errors import LocalError

NORMAL, WASPADA, SIAGA, AWAS = 0, 1, 2, 3
NAMES = ("Normal", "Waspada", "Siaga", "Awas")


class StageFilter:
    """Rises at once; falls one or more stages when below threshold - hysteresis for hold_s."""

    def __init__(
        self,
        waspada_mm: int,
        siaga_mm: int,
        awas_mm: int,
        hysteresis_mm: int = 100,
        hold_s: int = 900,
    ) -> None:
        raise LocalError("unfinished")

    def feed(self, level_mm: "int | None", time_s: int) -> int:
        """The stage after this reading; a missing reading changes nothing. Any monotonic seconds."""
        raise LocalError("unfinished")
