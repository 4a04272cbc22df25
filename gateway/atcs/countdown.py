"""Seconds for countdown displays: shown only while they are certain, dark otherwise.

Certain are: a yellow and a pedestrian clearance, a walk, a red whose turn has been decided (what
is left are the clearances), and in a pattern that is in step and has maximum recall on everything,
every green and red. A preemption is the one thing that may still stop a count.
"""

from gateway.atcs.coordination import Coordinator
from gateway.atcs.kernel import CHANGE, GREEN, RED, Kernel
from gateway.atcs.plan import LEFT, PEDESTRIAN, Plan
from gateway.atcs.sequencer import Sequencer


class Countdown:
    """What the displays of one junction show."""

    def __init__(self, plan: Plan) -> None:
        self._clearance = plan.clearance_ms
        self._rows = [i for i, m in enumerate(plan.movement) if m.countdown and m.kind != LEFT]
        self._walks = plan.mask(tuple(m.name for m in plan.movement if m.kind == PEDESTRIAN))
        self._masks = [plan.mask(entry.green) for entry in plan.entry]
        vehicles = [m for m in plan.movement if m.kind not in (PEDESTRIAN, LEFT)]
        single = {entry.ring for entry in plan.entry} == {1}
        # With every split used up to its end the times of all greens are known beforehand.
        # (A free left turn in the way of anybody would make the last seconds uncertain.)
        lefts = [plan.index[m.name] for m in plan.movement if m.kind == LEFT]
        in_the_way = any(
            clearance >= 0 and plan.movement[j].kind != PEDESTRIAN
            for i in lefts
            for j, clearance in enumerate(self._clearance[i])
        )
        self._fixed = single and not in_the_way and all(m.recall == "max" for m in vehicles)

    def read(
        self, kernel: Kernel, sequencer: Sequencer, coordinator: Coordinator | None, wanted: int
    ) -> dict[int, int]:
        """Movement to the seconds it yet shows its present aspect, rounded up."""
        result: dict[int, int] = {}
        for i in self._rows:
            left_ms = self._left_ms(i, kernel, sequencer, coordinator, wanted)
            if left_ms is not None:
                result[i] = -(-max(0, round(left_ms)) // 1000)
        return result

    def _left_ms(
        self,
        i: int,
        kernel: Kernel,
        sequencer: Sequencer,
        coordinator: Coordinator | None,
        wanted: int,
    ) -> float | None:
        aspect, bit = kernel.aspect[i], 1 << i
        if aspect == CHANGE:
            return kernel.groups[i].change_ms - kernel.elapsed_ms(i)
        if aspect == GREEN and self._walks & bit:
            return kernel.groups[i].min_green_ms - kernel.elapsed_ms(i)
        if aspect == RED and wanted & bit:
            return self._turn_ms(i, kernel, wanted)
        if not self._fixed or coordinator is None or not coordinator.in_step:
            return None
        if self._walks & bit or sequencer.closed:
            return None
        entry = next((k for k, mask in enumerate(self._masks) if mask & bit), -1)
        if aspect == GREEN and sequencer.rings[0].entry == entry:
            return coordinator.left_ms(entry)
        if aspect == RED:
            before = (entry - 1) % len(self._masks)
            ending = self._masks[before] & ~self._masks[entry] & ~self._walks
            return coordinator.left_ms(before) + max(
                (
                    kernel.groups[j].change_ms + row[i]
                    for j, row in enumerate(self._clearance)
                    if ending >> j & 1 and row[i] >= 0
                ),
                default=0,
            )
        return None

    def _turn_ms(self, i: int, kernel: Kernel, wanted: int) -> float:
        """Until the clearances for red `i` are over, whose turn has come."""
        left = kernel.groups[i].min_red_ms - kernel.elapsed_ms(i)
        for j, row in enumerate(self._clearance):
            clearance = row[i]
            if clearance < 0 or j == i:
                continue
            group, elapsed = kernel.groups[j], kernel.elapsed_ms(j)
            if kernel.aspect[j] == GREEN and not wanted >> j & 1:
                need = max(0, group.min_green_ms - elapsed) + group.change_ms + clearance
            elif kernel.aspect[j] == CHANGE:
                need = group.change_ms - elapsed + clearance
            elif kernel.aspect[j] == RED:
                need = clearance - elapsed
            else:
                continue
            left = max(left, need)
        return left
