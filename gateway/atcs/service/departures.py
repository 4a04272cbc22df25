"""Who left at the stop bar, second by second: what the neighbours downstream look ahead to."""

from collections.abc import Sequence

from gateway.atcs.kernel import CHANGE, GREEN
from gateway.atcs.plan import PEDESTRIAN, Plan

_SOLID_MS = 3_000


class Departures:
    """Counts over all movements; `step` every tick, it answers once a second."""

    def __init__(self, plan: Plan) -> None:
        self._stops = [0] * len(plan.movement)
        for k, detector in enumerate(plan.detector):
            if detector.kind == "stop":
                self._stops[plan.index[detector.movement]] |= 1 << k
        self._rate = [m.saturation_vphpl / 3600.0 * max(1, m.lanes) for m in plan.movement]
        self._walks = [m.kind == PEDESTRIAN for m in plan.movement]
        self._on = 0
        self._counts = [0.0] * len(plan.movement)
        self._solid_ms: list[int | None] = [None] * len(plan.movement)
        self._told_ms: int | None = None
        self._last_ms: int | None = None

    def step(self, now_ms: int, on: int, lamps: Sequence[int]) -> dict[int, int]:
        """Take a tick; departures by movement since the last answer, mostly nothing."""
        falling = self._on & ~on
        self._on = on
        dt_s = 0.0 if self._last_ms is None else (now_ms - self._last_ms) / 1000.0
        self._last_ms = now_ms
        for i, lamp in enumerate(lamps):
            stops = self._stops[i]
            if not stops or self._walks[i] or lamp not in (GREEN, CHANGE):
                self._solid_ms[i] = None
                continue
            self._counts[i] += (falling & stops).bit_count()
            since = self._solid_ms[i]
            if not on & stops:
                self._solid_ms[i] = None
            elif since is None:
                self._solid_ms[i] = now_ms
            elif now_ms - since >= _SOLID_MS and lamp == GREEN:
                # A long loop over a moving queue sees no gaps: count by saturation flow.
                self._counts[i] += self._rate[i] * dt_s
        if self._told_ms is None:
            self._told_ms = now_ms
        if now_ms - self._told_ms < 1000:
            return {}
        self._told_ms = now_ms
        result: dict[int, int] = {}
        for i, count in enumerate(self._counts):
            if count >= 1.0:
                result[i] = int(count)
                self._counts[i] -= int(count)
        return result
