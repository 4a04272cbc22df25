"""Preemption and priority: hard inputs, and emergency vehicles known by our own trackers.

A hard input, or a vehicle close enough, takes the junction over: everything else ends through its
clearances, the needed movements are held green, then the junction returns through its clearances
to the entry that waited. Farther away a vehicle only extends a green that is on.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.atcs import events as e
from gateway.atcs.plan import Plan

LEAD_S = 20.0
"""A vehicle this close in time gets the junction: enough for minimum, yellow, clearance, queue."""
ETA_S_MAX = 600.0
VEHICLES_MAX = 16
FRESH_MS = 10_000
"""An estimate older than this is nobody's position."""


@dataclass(slots=True)
class Request:
    """The last word of one vehicle."""

    eta_s: float
    heard_ms: int


class Priority:
    """Who has the junction now. `step` once a tick."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        count = len(plan.preempt)
        self._masks = [plan.mask(preempt.green) for preempt in plan.preempt]
        self.vehicles: list[dict[str, Request]] = [{} for _ in range(count)]
        self.input = 0
        self.active = -1
        self.last = 0
        """The preempt that had the junction last."""
        self.since_ms = 0
        self.green_ms: int | None = None
        self.spent = 0
        """Preempts that ran into their limit; ignored until their call ends."""
        self.extend = 0
        """Movements to be kept green for a vehicle that is coming."""
        self._extended_ms: dict[int, int] = {}

    def request(
        self,
        vehicle: str,
        preempt: str,
        eta_s: float,
        now_ms: int,
        log: Callable[[int, int, str], None],
        vehicle_class: str = "",
    ) -> bool:
        """A tracker's estimate of arrival; False (and logged) if the vehicle may not ask.

        `preempt` is a name or an approach; `vehicle_class` what somebody trusted vouches for.
        """
        for i, known in enumerate(self.plan.preempt):
            if preempt in (known.name, known.approach):
                if vehicle not in known.fleet and vehicle_class not in known.classes:
                    log(e.ALARM, i + 1, f"priority refused: {vehicle} is not in {preempt}")
                    return False
                if not 0 <= eta_s <= ETA_S_MAX:
                    log(e.ALARM, i + 1, f"priority refused: {vehicle} in {eta_s:g} s")
                    return False
                if vehicle not in self.vehicles[i] and len(self.vehicles[i]) >= VEHICLES_MAX:
                    log(e.ALARM, i + 1, f"priority refused: {vehicle}, too many ask at once")
                    return False
                if vehicle not in self.vehicles[i]:
                    log(e.PRIORITY_CHECK_IN, i + 1, f"{vehicle} in {eta_s:.0f} s")
                self.vehicles[i][vehicle] = Request(eta_s, now_ms)
                return True
        log(e.ALARM, 0, f"priority refused: no preempt {preempt}")
        return False

    def passed(self, vehicle: str, log: Callable[[int, int, str], None]) -> None:
        """The vehicle has left the junction behind."""
        for i, table in enumerate(self.vehicles):
            if table.pop(vehicle, None) is not None:
                log(e.PRIORITY_CHECK_OUT, i + 1, vehicle)

    def step(
        self, now_ms: int, inputs: int, green: int, log: Callable[[int, int, str], None]
    ) -> int:
        """The preempt that has the junction, or -1; `green` is what the lamps show."""
        calls = inputs
        self.extend = 0
        for i, table in enumerate(self.vehicles):
            for vehicle in [v for v, r in table.items() if now_ms - r.heard_ms > FRESH_MS]:
                del table[vehicle]
                log(e.PRIORITY_CHECK_OUT, i + 1, f"{vehicle} lost")
            eta = min(
                (r.eta_s - (now_ms - r.heard_ms) / 1000.0 for r in table.values()), default=None
            )
            if eta is None:
                self._extended_ms.pop(i, None)
                continue
            if eta <= LEAD_S:
                calls |= 1 << i
            elif eta <= LEAD_S + self.plan.preempt[i].extend_s and green & self._masks[i]:
                began = self._extended_ms.setdefault(i, now_ms)
                if began == now_ms:
                    log(e.PRIORITY_EXTENSION, i + 1, "")
                if now_ms - began <= self.plan.preempt[i].extend_s * 1000:
                    self.extend |= self._masks[i]
        changed = calls ^ self.input
        for i in range(len(self.plan.preempt)):
            if changed >> i & 1:
                log(e.PREEMPT_CALL if calls >> i & 1 else e.PREEMPT_CALL_OFF, i + 1, "")
        self.input = calls
        self.spent &= calls
        if self.active >= 0:
            self._run(now_ms, calls, green, log)
        waiting = [i for i in range(len(self.plan.preempt)) if calls & ~self.spent & 1 << i]
        if waiting:
            best = min(waiting, key=lambda i: (self.plan.preempt[i].level, i))
            level = self.plan.preempt[best].level
            if self.active < 0 or level < self.plan.preempt[self.active].level:
                self.active, self.since_ms, self.green_ms = best, now_ms, None
                self.last = best
                if not inputs >> best & 1 and green & self._masks[best] != self._masks[best]:
                    log(e.PRIORITY_EARLY_GREEN, best + 1, "")
                log(e.PREEMPT_ENTRY, best + 1, self.plan.preempt[best].name)
        return self.active

    def _run(
        self, now_ms: int, calls: int, green: int, log: Callable[[int, int, str], None]
    ) -> None:
        i = self.active
        preempt = self.plan.preempt[i]
        if self.green_ms is None and green & self._masks[i] == self._masks[i]:
            self.green_ms = now_ms
            log(e.PREEMPT_DWELL, i + 1, "")
        dwelt = self.green_ms is not None and now_ms - self.green_ms >= preempt.dwell_s * 1000
        late = now_ms - self.since_ms >= preempt.max_s * 1000
        if late and calls >> i & 1:
            self.spent |= 1 << i
            log(e.ALARM, i + 1, f"preempt {preempt.name} given up after {preempt.max_s:g} s")
        if (dwelt and not calls >> i & 1) or late:
            log(e.PREEMPT_EXIT, i + 1, preempt.name)
            self.active = -1

    def mask(self) -> int:
        """The movements that the active preempt needs."""
        return self._masks[self.active] if self.active >= 0 else 0
