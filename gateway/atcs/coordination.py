"""The cycle clock: where a coordinated junction is in its cycle, and how it gets into step.

The local clock runs from 0 (the planned start of the coordinated entry) to the cycle. Getting into
step after a plan change, a preemption or a clock correction is by running it up to a fifth faster
or a sixth slower (`short_way`), or by stopping it while the coordinated entry is green (`dwell`).
Minimum greens and clearances are the kernel's and do not shrink with it.
"""

from gateway.atcs.checks import change_s
from gateway.atcs.plan import Plan, Timing

DAY_MS = 86_400_000
_FAST, _SLOW = 1.2, 0.84
_IN_STEP_MS = 100.0


class Coordinator:
    """The windows of one pattern and the local clock in it. All in milliseconds."""

    def __init__(self, plan: Plan, timing: Timing) -> None:
        self.timing = timing
        self.cycle_ms = timing.cycle_s * 1000.0
        self.local_ms = 0.0
        self.in_step = False
        self.wrapped = False
        index = {entry.name: i for i, entry in enumerate(plan.entry)}
        self.coordinated = index[timing.coordinated]
        barriers = list(dict.fromkeys(entry.barrier for entry in plan.entry))
        length = {
            barrier: sum(
                timing.splits[x.name]
                for x in plan.entry
                if x.barrier == barrier and x.ring == plan.entry[self.coordinated].ring
            )
            for barrier in barriers
        }
        start: dict[int, float] = {}
        at = 0.0
        for barrier in barriers:
            for ring in {entry.ring for entry in plan.entry}:
                t = at
                for i, entry in enumerate(plan.entry):
                    if entry.ring == ring and entry.barrier == barrier:
                        start[i] = t
                        t += timing.splits[entry.name]
            at += length[barrier]
        zero = start[self.coordinated]
        self.force_ms: list[float] = []
        """By entry: the local time at which its green is forced off."""
        for i, entry in enumerate(plan.entry):
            end = start[i] - zero + timing.splits[entry.name] - change_s(plan, entry)
            self.force_ms.append(end * 1000.0 % self.cycle_ms)

    def advance(self, dt_ms: int, day_ms: int | None, resting: bool) -> float:
        """Run the local clock; returns by how much. `resting`: the coordinated entry is green."""
        self.wrapped = False
        rate = 1.0
        error = 0.0
        if day_ms is not None:
            wish = (day_ms - self.timing.offset_s * 1000.0) % self.cycle_ms
            error = (wish - self.local_ms - dt_ms + self.cycle_ms / 2) % self.cycle_ms
            error -= self.cycle_ms / 2
            self.in_step = abs(error) <= _IN_STEP_MS
            if not self.in_step:
                if self.timing.transition == "dwell":
                    rate = 0.0 if resting else 1.0
                else:
                    rate = _FAST if error > 0 else _SLOW
        step = dt_ms * rate
        if self.timing.transition == "short_way" and abs(error) < abs(step - dt_ms):
            step = dt_ms + error
        self.local_ms += step
        if self.local_ms >= self.cycle_ms:
            self.local_ms -= self.cycle_ms
            self.wrapped = True
        return step

    def left_ms(self, entry: int) -> float:
        """Local time until `entry` is forced off next."""
        return (self.force_ms[entry] - self.local_ms) % self.cycle_ms
