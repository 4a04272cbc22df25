"""Detectors: who is there, and whether the detector can be believed.

A detector that is on too long, never on, or flickers is in fault; its movement is then called all
the time (recall), so that a broken loop costs green but never strands anybody.
"""

from collections.abc import Callable, Mapping

from gateway.atcs import events as e
from gateway.atcs.plan import CAMERA, EXIT, Plan

MINUTE_MS = 60_000
_NO_COUNTS: Mapping[int, int] = {}
JAM_MS = 5_000
"""Occupied for so long, a detector on the way out means that the road ahead is full."""
_FAULTS = {
    "stuck": e.DETECTOR_FAULT_STUCK,
    "lost": e.DETECTOR_FAULT_OTHER,
    "silent": e.DETECTOR_FAULT_SILENT,
    "chatter": e.DETECTOR_FAULT_CHATTER,
}


class Detectors:
    """State of all inputs of one junction; `step` once a tick."""

    def __init__(self, plan: Plan, now_ms: int) -> None:
        self.plan = plan
        count = len(plan.detector)
        self.on = 0
        self.changed_ms = [now_ms] * count
        self.seen_ms = [now_ms] * count
        self.changes: list[list[int]] = [[] for _ in range(count)]
        self.fault: list[str] = [""] * count
        self._movement = [plan.index[d.movement] for d in plan.detector]
        self._is_button = [d.kind == "button" for d in plan.detector]
        self._is_exit = [d.kind == EXIT for d in plan.detector]
        self._cameras = [i for i, d in enumerate(plan.detector) if d.kind == CAMERA]
        self.counts: Mapping[int, int] = {}
        """Standing vehicles by camera detector, as of this tick."""
        self.present = 0
        """Movements with a vehicle over a detector now."""
        self.pressed = 0
        """Movements whose button went down in this tick."""
        self.suspect = 0
        """Movements with a detector in fault: to be recalled."""
        self.blocked = 0
        """Movements whose way out is full."""

    def step(
        self,
        now_ms: int,
        on: int,
        log: Callable[[int, int, str], None],
        counts: Mapping[int, int] = _NO_COUNTS,
    ) -> None:
        """Take the inputs of this tick (bit i: detector i); `log(code, parameter, note)`.

        `counts` has the standing vehicles of every camera that works, by detector.
        """
        self.present = self.pressed = self.suspect = self.blocked = 0
        self.counts = counts
        for i in self._cameras:
            on = on | 1 << i if counts.get(i, 0) > 0 else on & ~(1 << i)
        for i, detector in enumerate(self.plan.detector):
            bit = 1 << i
            movement = 1 << self._movement[i]
            if (on ^ self.on) & bit:
                self.changed_ms[i] = now_ms
                self.seen_ms[i] = now_ms
                recent = self.changes[i]
                recent.append(now_ms)
                if len(recent) > detector.chatter_per_min + 1:
                    del recent[0]
                if on & bit:
                    log(e.PED_BUTTON_ON if self._is_button[i] else e.DETECTOR_ON, i + 1, "")
                    if self._is_button[i]:
                        self.pressed |= movement
                else:
                    log(e.PED_BUTTON_OFF if self._is_button[i] else e.DETECTOR_OFF, i + 1, "")
            fault = self._judge(i, now_ms, bool(on & bit))
            if fault != self.fault[i]:
                self._log_fault(i, fault, log)
                self.fault[i] = fault
            if self._is_exit[i]:
                if not fault and on & bit and now_ms - self.changed_ms[i] >= JAM_MS:
                    self.blocked |= movement
            elif fault:
                self.suspect |= movement
            elif on & bit:
                self.present |= movement
        self.on = on

    def _log_fault(self, i: int, fault: str, log: Callable[[int, int, str], None]) -> None:
        if self._is_button[i]:
            log(e.PED_DETECTOR_FAILED if fault else e.PED_DETECTOR_RESTORED, i + 1, fault)
        else:
            log(_FAULTS.get(fault, e.DETECTOR_RESTORED), i + 1, fault)

    def _judge(self, i: int, now_ms: int, is_on: bool) -> str:
        detector = self.plan.detector[i]
        if detector.kind == CAMERA and i not in self.counts:
            return "lost"
        for_ms = now_ms - self.changed_ms[i]
        if is_on and for_ms >= detector.stuck_s * 1000:
            return "stuck"
        if not is_on and detector.silent_s and for_ms >= detector.silent_s * 1000:
            return "silent"
        recent = self.changes[i]
        if len(recent) > detector.chatter_per_min and now_ms - recent[0] < MINUTE_MS:
            return "chatter"
        return ""
