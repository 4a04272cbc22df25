"""The bound on every wait: who has been called for how long, and who must be served now.

Whatever decides (actuation, a pattern, the planner, a policeman), a movement that is called waits
at most `junction.red_max_s`. The waiting movements are lined up by their deadlines, each with the
entry that serves most of the others; as soon as one of them would be late, the first has its turn.
Not bounded by it: closed roads, flash, all red by panel, and a preemption, which has its own limit.
"""

from collections.abc import Sequence

from gateway.atcs.checks import round_s, serving_s
from gateway.atcs.plan import Plan

NEVER = -1


class Waits:
    """How long each movement has been waiting. All in milliseconds."""

    def __init__(self, plan: Plan) -> None:
        self.bound_ms = round(plan.junction.red_max_s * 1000)
        self.waiting = 0
        self.since_ms = [NEVER] * len(plan.movement)
        first_s, steps_s = serving_s(plan)
        self._first_ms = round(first_s * 1000)
        self._step_ms = [round(step * 1000) for step in steps_s]
        self.round_ms = round(round_s(plan) * 1000)
        """The longest time that serving everybody once can take: no bound can be shorter."""

    def step(self, now_ms: int, waiting: int) -> None:
        """Take the set of movements that are called and not green."""
        changed = waiting ^ self.waiting
        while changed:
            low = changed & -changed
            changed ^= low
            self.since_ms[low.bit_length() - 1] = now_ms if waiting & low else NEVER
        self.waiting = waiting

    def longest_ms(self, now_ms: int) -> int:
        """The longest wait of now."""
        return max((now_ms - since for since in self.since_ms if since != NEVER), default=0)

    def due(self, now_ms: int, open_masks: Sequence[int]) -> int:
        """The entry that must come now, or -1. `open_masks[e]`: what entry e may show."""
        if not self.waiting or self.longest_ms(now_ms) < self.bound_ms - self.round_ms:
            return -1
        order: list[tuple[int, int]] = []
        for i, since in enumerate(self.since_ms):
            if since != NEVER:
                order.append((since + self.bound_ms - now_ms, i))
        order.sort()
        pending = self.waiting
        at = self._first_ms
        first = -1
        for left, i in order:
            bit = 1 << i
            if not pending & bit:
                continue
            best, most = -1, 0
            for k, mask in enumerate(open_masks):
                if mask & bit and (mask & pending).bit_count() > most:
                    best, most = k, (mask & pending).bit_count()
            if best < 0:
                continue
            if first < 0:
                first = best
            if left <= at:
                return first
            pending &= ~open_masks[best]
            at += self._step_ms[best]
        return -1
