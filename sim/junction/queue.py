"""A point-queue junction: seeded arrivals, detectors, discharge at saturation flow, no SUMO.

Lamps come in as one aspect per movement (0 red, 1 green, 2 change, 3 flash). A vehicle
joins the queue after its free travel time, leaves one headway after the one before it while its
lamp is green, and counts in `delay_s` from when it could have passed.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

GREEN = 1


@dataclass
class Approach:
    """One movement's traffic. Rates per second, distances as travel times."""

    rate_vps: float
    saturation_vps: float = 0.5
    advance_s: float = 0.0
    """Travel time from the advance detector to the stop bar; 0: there is none."""


@dataclass
class _Lane:
    coming: deque[float] = field(default_factory=deque[float])
    queue: deque[float] = field(default_factory=deque[float])
    ready_s: float = 0.0
    next_s: float = 0.0
    crossed_s: float = -9.0
    left_s: float = -9.0


class Queues:
    """All approaches of one junction in virtual time; `step` once a tick."""

    def __init__(self, approaches: Sequence[Approach], seed: int) -> None:
        self.approaches = list(approaches)
        self._random = random.Random(seed)
        self._lanes = [_Lane() for _ in approaches]
        self.now_s = 0.0
        self.served = 0
        self.delay_s = 0.0
        self.longest_wait_s = 0.0
        for lane, approach in zip(self._lanes, approaches, strict=True):
            lane.next_s = self._gap(approach)

    def _gap(self, approach: Approach) -> float:
        if approach.rate_vps <= 0.0:
            return float("inf")
        return max(1.0, self._random.expovariate(approach.rate_vps))

    def step(self, now_s: float, lamps: Sequence[int]) -> tuple[list[bool], list[bool]]:
        """Advance to `now_s` under `lamps`; (stop bar occupied, advance detector occupied)."""
        self.now_s = now_s
        stops: list[bool] = []
        advances: list[bool] = []
        for i, (lane, approach) in enumerate(zip(self._lanes, self.approaches, strict=True)):
            while lane.next_s <= now_s:
                lane.crossed_s = lane.next_s
                lane.coming.append(lane.next_s + max(2.0, approach.advance_s))
                lane.next_s += self._gap(approach)
            while lane.coming and lane.coming[0] <= now_s:
                lane.queue.append(lane.coming.popleft())
            if lamps[i] == GREEN:
                if lane.queue and now_s >= lane.ready_s:
                    due = lane.queue.popleft()
                    self.served += 1
                    self.delay_s += now_s - due
                    self.longest_wait_s = max(self.longest_wait_s, now_s - due)
                    lane.ready_s = now_s + 1.0 / approach.saturation_vps
                    lane.left_s = now_s
            else:
                lane.ready_s = max(lane.ready_s, now_s + 1.5)
            stops.append(bool(lane.queue) or now_s - lane.left_s < 0.3)
            advances.append(approach.advance_s > 0.0 and now_s - lane.crossed_s < 0.4)
        return stops, advances

    def waiting(self) -> list[int]:
        """Vehicles in each queue."""
        return [len(lane.queue) for lane in self._lanes]
