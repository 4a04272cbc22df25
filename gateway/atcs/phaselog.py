"""The phase events of the high-resolution log, from what the lamps and the calls do.

A phase is a movement, numbered from 1 in the order of the plan. Red clearance is logged with the
longest clearance of the movement: what a phase in a table of its own would have.
"""

from collections.abc import Callable, Sequence

from gateway.atcs import events as e
from gateway.atcs.kernel import CHANGE, FLASH, GREEN, RED
from gateway.atcs.plan import PEDESTRIAN, Plan

_SPLITS_MAX = 16


class PhaseLog:
    """Remembers what was logged last; `step` once a tick."""

    def __init__(self, plan: Plan, now_ms: int) -> None:
        self._plan = plan
        self._walks = [m.kind == PEDESTRIAN for m in plan.movement]
        self._clearance_ms = [max(0, *row, 0) for row in plan.clearance_ms]
        self._shown = [FLASH] * len(plan.movement)
        self._green_ms = [now_ms] * len(plan.movement)
        self._clearing: dict[int, int] = {}
        self._calls = 0

    def step(
        self, now_ms: int, aspects: Sequence[int], calls: int, log: Callable[[int, int], None]
    ) -> None:
        """Log every lamp and every call that changed in this tick."""
        if self._clearing:
            self._end_clearances(now_ms, log)
        shown = self._shown
        for i, now in enumerate(aspects):
            if now != shown[i]:
                self._change(i, shown[i], now, now_ms, log)
                shown[i] = now
        changed = calls ^ self._calls
        self._calls = calls
        while changed:
            low = changed & -changed
            changed ^= low
            phase = low.bit_length()
            if self._walks[phase - 1]:
                if calls & low:
                    log(e.PED_CALL, phase)
            else:
                log(e.CALL_ON if calls & low else e.CALL_OFF, phase)

    def _end_clearances(self, now_ms: int, log: Callable[[int, int], None]) -> None:
        for i in [i for i, until in self._clearing.items() if now_ms >= until]:
            del self._clearing[i]
            self._cleared(i, now_ms, log)

    def _cleared(self, i: int, now_ms: int, log: Callable[[int, int], None]) -> None:
        log(e.END_RED_CLEARANCE, i + 1)
        log(e.PHASE_INACTIVE, i + 1)
        if i < _SPLITS_MAX:
            log(e.SPLIT + i + 1, round((now_ms - self._green_ms[i]) / 1000))

    def _change(
        self, i: int, was: int, now: int, now_ms: int, log: Callable[[int, int], None]
    ) -> None:
        phase = i + 1
        if self._walks[i]:
            if now == GREEN:
                log(e.BEGIN_WALK, phase)
            elif now == CHANGE:
                log(e.BEGIN_PED_CLEARANCE, phase)
            elif was in (GREEN, CHANGE):
                log(e.BEGIN_DONT_WALK, phase)
            return
        if now == GREEN:
            if self._clearing.pop(i, None) is not None:
                self._cleared(i, now_ms, log)
            self._green_ms[i] = now_ms
            log(e.PHASE_ON, phase)
            log(e.BEGIN_GREEN, phase)
        elif was == GREEN:
            log(e.GREEN_TERMINATION, phase)
            if now == CHANGE:
                log(e.BEGIN_YELLOW, phase)
        elif was == CHANGE:
            log(e.END_YELLOW, phase)
            if now == RED:
                log(e.BEGIN_RED_CLEARANCE, phase)
                self._clearing[i] = now_ms + self._clearance_ms[i]
                if not self._clearance_ms[i]:
                    self._end_clearances(now_ms, log)
