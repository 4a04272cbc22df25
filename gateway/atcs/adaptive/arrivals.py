"""One approach lane as its detectors show it: who waits, who is coming, and when they could pass.

All times are seconds on the junction's own monotonic clock. Nothing here knows a vehicle: only
counts, as loops or a camera give them.
"""

from dataclasses import dataclass

REACH_M = 150.0
"""How far upstream of the stop bar the advance detector is, unless the lane is shorter."""

SPACE_M = 7.5
"""What one standing passenger car takes up, with its gap (HCM's usual figure)."""

RATE_MEMORY_S = 150.0
"""How far back the average rate of a lane looks."""

QUIET_S = 4.0
"""A moving queue that reaches past the advance detector brings somebody at least this often."""

SEEN_M = 10.0
"""A vehicle of a moving queue is surely seen once a second in a lane that is at least this long."""

SHORT_M = 25.0
"""A lane shorter than this shows too little of its queue to count arrivals by."""

GAPS_MEMORY = 8.0
"""Over how many reds the time to the first vehicle is averaged."""

DISCHARGE_VPS = 0.48
"""What passes unseen a second while a queue moves off."""

RATE_MAX_VPS = 0.45
"""No lane is thought to bring more than this a second: it could hardly be served."""

_SERVICE_MEMORY = 60.0


@dataclass(slots=True)
class Sensed:
    """What one lane's detectors said about the second that just ended."""

    occupied: bool = False
    departures: int = 0
    arrivals: int = 0
    halting: int = 0
    vehicles: int = 0
    wait_s: float = 0.0


class Lane:
    """Predicted arrivals at one stop bar, and the rate at which each stage empties it."""

    def __init__(
        self, name: str, length_m: float, speed_mps: float, *, guesses: bool = False
    ) -> None:
        self.name = name
        self.guesses = guesses
        """True: if the lane is short, reckon what waits beyond its beginning."""
        self.length_m = max(1.0, length_m)
        self.speed_mps = max(1.0, speed_mps)
        self._reach(min(self.length_m, REACH_M))
        self.etas: list[float] = []
        self.halting = 0
        self.vehicles = 0
        self.wait_s = 0.0
        self.occupied = False
        self.is_green = False
        self.is_full = False
        """True if the queue reaches back to the advance detector or the upstream junction."""
        self.hidden = 0.0
        """Vehicles expected to wait further upstream than the detectors see."""
        self.arrival_rate = 0.05
        self._seen_s = 0.0
        self._quiet_s = 0.0
        self._green_s = 0.0
        self._empty_s = 0.0
        self._gaps = 0.0
        self._gaps_s = 0.0
        self._counted = 0.05
        self._held = 0.0
        self._held_s = 0.0
        self.service: dict[int, float] = {}

    def _reach(self, reach_m: float) -> None:
        self.reach_m = reach_m
        self.travel_s = reach_m / self.speed_mps
        self.seen = min(1.0, max(0.1, reach_m / SEEN_M))
        self.capacity = 1.0 + (max(0.0, reach_m - 2.0) // SPACE_M)

    def observe(self, now_s: float, sensed: Sensed, dt_s: float) -> None:
        """Take one second's detector data; `dt_s` is the time since the previous call."""
        etas = self.etas
        if sensed.departures:
            del etas[: sensed.departures]
        if sensed.vehicles > self.capacity + 2.0 and self.reach_m < REACH_M:
            # More than the lane can hold: the detectors see past its beginning.
            self._reach(REACH_M)
        for _ in range(sensed.arrivals):
            etas.append(now_s + self.travel_s)
        excess = len(etas) - sensed.vehicles
        if excess > 0:
            del etas[:excess]
        elif excess < 0:
            etas[:0] = [now_s] * -excess
        for i in range(min(sensed.halting, len(etas))):
            etas[i] = min(etas[i], now_s)
        self.halting = sensed.halting
        self.vehicles = sensed.vehicles
        self.occupied = sensed.occupied
        self.wait_s = sensed.wait_s
        self.is_full = sensed.vehicles >= 0.8 * self.capacity
        if self.guesses and self.reach_m < SHORT_M:
            self._guess(sensed, dt_s)
            return
        self._quiet_s = 0.0 if sensed.arrivals else self._quiet_s + dt_s
        self._held += sensed.arrivals
        self._held_s += dt_s
        if self.is_full:
            # Nobody can come in, or only as fast as others leave: the rest waits out of sight.
            self.hidden = max(0.0, self.hidden + self.arrival_rate * dt_s - sensed.arrivals)
            return
        self.hidden = max(0.0, self.hidden - sensed.arrivals)
        if self._quiet_s > QUIET_S:
            self.hidden = 0.0
        if self.hidden:
            return
        # What came in since the lane was last open is what was due in that time.
        self._seen_s = min(RATE_MEMORY_S, self._seen_s + self._held_s)
        weight = min(1.0, self._held_s / max(30.0, self._seen_s))
        self.arrival_rate += (self._held / self._held_s - self.arrival_rate) * weight
        self._held = self._held_s = 0.0

    def _guess(self, sensed: Sensed, dt_s: float) -> None:
        """Follow a lane too short to show its queue, or even everybody who passes.

        How soon after the beginning of a red somebody stands there tells the rate of arrivals;
        what waits out of sight is that rate times the red, less what the green lets through.
        """
        self._green_s = self._green_s + dt_s if self.is_green else 0.0
        if sensed.vehicles:
            if self._empty_s >= 0.0 and not self.is_green:
                self._gaps += 1.0
                self._empty_s = -1.0
                if self._gaps > GAPS_MEMORY:
                    self._gaps_s *= GAPS_MEMORY / self._gaps
                    self._gaps = GAPS_MEMORY
            if self.is_green:
                self._empty_s = 0.0
        elif not self.is_green and self._empty_s >= 0.0:
            self._empty_s += dt_s
            self._gaps_s += dt_s
        if self.is_green:
            self._empty_s = max(0.0, self._empty_s)
        weight = dt_s / RATE_MEMORY_S
        # Who drives through is seen by chance. Too high a guess for those who stop costs less than
        # a queue that nobody knows of.
        self._counted += (sensed.arrivals / (max(1.0, dt_s) * self.seen) - self._counted) * weight
        early = (self._gaps + 1.0) / (self._gaps_s + 20.0)
        guess = self.seen * self._counted + (1.0 - self.seen) * max(early, self._counted)
        self.arrival_rate = min(RATE_MAX_VPS, guess)
        passed = float(sensed.arrivals)
        if self._green_s > 2.0 and sensed.wait_s < 2.0:
            passed += (1.0 - self.seen) * DISCHARGE_VPS * dt_s
        if self.is_full or self.hidden:
            self.hidden = max(0.0, self.hidden + self.arrival_rate * dt_s - passed)
        quiet = self._quiet_s > QUIET_S / self.seen if self.is_green else not sensed.vehicles
        if quiet:
            self.hidden = 0.0

    def learn(self, stage: int, prior: float, departures: int, least: float) -> None:
        """Learn what leaves a second under `stage` with a queue at the bar; not under `least`."""
        rate = self.service.get(stage, prior)
        rate += (departures - rate) / _SERVICE_MEMORY
        self.service[stage] = min(1.5 * prior, max(least * prior, rate))
