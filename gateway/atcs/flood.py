"""Flood plans: which movements a flooded road closes now, and what when nobody knows.

A closure follows the stage that the same gateway holds for a sensor. It closes at once and opens
only after the water has been down for a while; a sensor that is silent closes the road too, unless
the plan says `keep`. Never heard of since power-up counts as silent: the road may be under water.
"""

from collections.abc import Callable

from gateway.atcs import events as e
from gateway.atcs.plan import Plan


class Closures:
    """The state of all [[flood]] tables of a plan."""

    def __init__(self, plan: Plan, now_ms: int) -> None:
        self.plan = plan
        count = len(plan.flood)
        self.stage: list[int | None] = [None] * count
        self.heard_ms = [now_ms] * count
        self.low_ms: list[int | None] = [None] * count
        self.closed = [False] * count
        self._masks = [plan.mask(flood.close) for flood in plan.flood]

    def report(self, sensor: str, stage: int, now_ms: int) -> None:
        """The gateway holds `stage` (0 normal .. 3 awas) for `sensor`, measured now."""
        for i, flood in enumerate(self.plan.flood):
            if flood.sensor == sensor:
                self.stage[i] = stage
                self.heard_ms[i] = now_ms

    def step(self, now_ms: int, log: Callable[[int, int, str], None]) -> int:
        """The movements closed now."""
        mask = 0
        for i, flood in enumerate(self.plan.flood):
            silent = now_ms - self.heard_ms[i] >= flood.lost_after_s * 1000
            stage = self.stage[i]
            was = self.closed[i]
            if silent:
                self.low_ms[i] = None
                if flood.lost == "close":
                    self.closed[i] = True
            elif stage is None:
                pass
            elif stage >= flood.close_stage:
                self.closed[i] = True
                self.low_ms[i] = None
            elif stage > flood.open_stage:
                self.low_ms[i] = None
            else:
                low = self.low_ms[i]
                if low is None:
                    self.low_ms[i] = low = now_ms
                if now_ms - low >= flood.open_after_s * 1000:
                    self.closed[i] = False
            if self.closed[i] != was:
                why = "sensor lost" if silent else f"stage {stage}"
                word = "closed" if self.closed[i] else "open"
                log(e.ALARM, i + 1, f"flood {flood.name}: {word}, {why}")
            if self.closed[i]:
                mask |= self._masks[i]
        return mask

    def plan_name(self) -> str:
        """The plan that a closure asks for; empty if none does."""
        for i, flood in enumerate(self.plan.flood):
            if self.closed[i] and flood.plan:
                return flood.plan
        return ""
