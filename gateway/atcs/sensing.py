"""One movement's vehicles as its detectors show them: `Approach` counts what lies between them.

Advance loops count arrivals, stop-bar loops say whether anybody is left, cameras count the standing
queue, neighbours what they let go. What no detector sees is filled in from the flow so far. The
counts end in a `gateway.atcs.adaptive.arrivals.Lane`, which is what the planner looks at.
"""

from collections.abc import Mapping

from gateway.atcs.adaptive.arrivals import SPACE_M, Lane, Sensed
from gateway.atcs.plan import CAMERA, PEDESTRIAN, Plan

WALKERS = 3
"""Vehicles that waiting pedestrians count for."""
MEMORY_S = 300.0
_DRY_MS = 3_000
_START_MS = 1_500
_ANNOUNCED_MAX = 100
_FIRST_VPS = 0.05


class Approach:
    """Counts of one movement; `see` every tick, `settle` before the planner decides."""

    def __init__(self, plan: Plan, movement: int) -> None:
        m = plan.movement[movement]
        self.walks = m.kind == PEDESTRIAN
        rows = [(k, d) for k, d in enumerate(plan.detector) if plan.index[d.movement] == movement]
        self._stops = sum(1 << k for k, d in rows if d.kind == "stop")
        self._advances = sum(1 << k for k, d in rows if d.kind == "advance")
        self._cameras = [k for k, d in rows if d.kind == CAMERA]
        setback = max((d.setback_m for _, d in rows if d.kind == "advance"), default=0.0)
        self.lanes = max(1, m.lanes)
        self.lane = Lane(m.name, max(setback, 2 * SPACE_M), m.speed_kmh / 3.6)
        self.lane.capacity *= self.lanes
        self.lane.arrival_rate = max(_FIRST_VPS / 5, m.flow_vph / 3600.0 or _FIRST_VPS)
        self.prior = 1.0 if self.walks else m.saturation_vphpl / 3600.0 * self.lanes
        self.inside = 0.0
        """Vehicles between the advance loop and the stop bar, as far as counted or reckoned."""
        self._on = 0
        self._arrivals = 0.0
        self._seen_ms: int | None = None
        self._settled_ms: int | None = None
        self._green_since_ms: int | None = None
        self._off_since_ms = 0
        self._red_since_ms: int | None = None
        self._called_ms: int | None = None
        self._queue: int | None = None
        self._announced: list[int] = []
        self._lent: set[float] = set()
        self._rate = self.lane.arrival_rate

    def announce(self, eta_ms: int, vehicles: int) -> None:
        """`vehicles` will reach the stop bar from `eta_ms` on, two seconds a lane apart."""
        for k in range(max(0, min(vehicles, _ANNOUNCED_MAX - len(self._announced)))):
            self._announced.append(eta_ms + 2000 * k // self.lanes)

    def see(
        self, now_ms: int, on: int, counts: Mapping[int, int], green: bool, called: bool
    ) -> None:
        """Take one tick: raw detector bits, camera counts, whether it is green and called."""
        rising = on & ~self._on
        self._on = on
        dt_s = 0.0 if self._seen_ms is None else (now_ms - self._seen_ms) / 1000.0
        self._seen_ms = now_ms
        if green and self._green_since_ms is None:
            self._green_since_ms, self._red_since_ms = now_ms, None
        elif not green and self._red_since_ms is None:
            self._red_since_ms, self._green_since_ms = now_ms, None
        if not called or green:
            self._called_ms = None
        elif self._called_ms is None:
            self._called_ms = now_ms
        if self._cameras:
            known = [counts[k] for k in self._cameras if k in counts]
            self._queue = sum(known) if len(known) == len(self._cameras) else None
        occupied = bool(on & self._stops)
        if occupied:
            self._off_since_ms = now_ms
        gone = 0.0
        if occupied and self._green_since_ms is not None:
            # Long loops see no gaps between vehicles, so a queue is reckoned off by its flow.
            gone = self.prior * dt_s if now_ms - self._green_since_ms >= _START_MS else 0.0
        come = (rising & self._advances).bit_count()
        if not self._advances:
            # Nobody counts arrivals: a standing head means that the queue grows at the usual rate.
            self.inside += self._rate * dt_s if occupied and not green else 0.0
        self.inside = min(self.lane.capacity * 4, max(0.0, self.inside + come - gone))
        self._arrivals += come if self._advances else gone
        if occupied or (called and not green):
            self.inside = max(self.inside, 1.0)
        elif self._stops and green and now_ms - self._off_since_ms >= _DRY_MS:
            # The bar is free under green: nobody is left but those that just came.
            self.inside = self._coming(now_ms) + self._arrivals if self._advances else 0.0

    def _coming(self, now_ms: int) -> int:
        return sum(1 for eta in self.lane.etas if eta * 1000 > now_ms)

    def settle(self, now_ms: int, green: bool) -> None:
        """Hand the counts since the last call to the lane."""
        last = self._settled_ms
        dt_s = 1.0 if last is None else max(0.1, (now_ms - last) / 1000.0)
        self._settled_ms = now_ms
        lane = self.lane
        now_s = now_ms / 1000.0
        if self.walks:
            count = WALKERS if self._called_ms is not None else 0
            sensed = Sensed(halting=count, vehicles=count, wait_s=self._wait_s(now_ms))
            lane.arrival_rate = 0.0
        else:
            self._rate += (self._arrivals / dt_s - self._rate) * min(1.0, dt_s / MEMORY_S)
            vehicles = round(self.inside)
            halting = 0 if green else max(0, vehicles - self._coming(now_ms))
            if self._queue is not None:
                halting = self._queue
                vehicles = max(vehicles, halting)
            sensed = Sensed(
                occupied=bool(self._on & self._stops),
                arrivals=round(self._arrivals) if self._advances else 0,
                halting=halting,
                vehicles=vehicles,
                wait_s=self._wait_s(now_ms),
            )
        rate = lane.arrival_rate
        # Those announced by neighbours are not among those counted.
        lane.etas = [eta for eta in lane.etas if eta not in self._lent]
        lane.observe(now_s, sensed, dt_s)
        if not self._advances:
            lane.arrival_rate = rate if self.walks else max(0.0, self._rate)
        lane.is_green = green
        self._arrivals = 0.0
        self._announced = [eta for eta in self._announced if eta > now_ms]
        beyond = now_s + (lane.travel_s if self._advances else 0.0)
        self._lent = {eta / 1000.0 for eta in self._announced if eta / 1000.0 > beyond}
        lane.etas.extend(sorted(self._lent))

    def _wait_s(self, now_ms: int) -> float:
        return 0.0 if self._called_ms is None else (now_ms - self._called_ms) / 1000.0
