"""One approach lane as its detectors show it: who waits, who is coming, and when they could pass.

All times are seconds on the junction's own monotonic clock. Nothing here knows a vehicle: only
counts, as loops or a camera give them.
"""

from dataclasses import dataclass

REACH_M = 150.0
"""How far upstream of the stop bar the advance detector is, unless the lane is shorter."""

SPACE_M = 7.5
"""What one standing passenger car takes up, with its gap (HCM's usual figure)."""

_RATE_MEMORY_S = 150.0
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

    def __init__(self, name: str, length_m: float, speed_mps: float) -> None:
        self.name = name
        self.length_m = max(5.0, length_m)
        self.speed_mps = max(1.0, speed_mps)
        self.reach_m = min(self.length_m, REACH_M)
        self.travel_s = self.reach_m / self.speed_mps
        self.capacity = max(1.0, self.reach_m / SPACE_M)
        self.etas: list[float] = []
        self.halting = 0
        self.vehicles = 0
        self.wait_s = 0.0
        self.occupied = False
        self.is_green = False
        self.arrival_rate = 0.05
        self._seen_s = 0.0
        self._green_s = 0.0
        self.service: dict[int, float] = {}

    def observe(self, now_s: float, sensed: Sensed, dt_s: float) -> None:
        """Take one second's detector data; `dt_s` is the time since the previous call."""
        etas = self.etas
        if sensed.departures:
            del etas[: sensed.departures]
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
        # A queue over the advance detector hides arrivals: then the old rate is the better guess.
        if sensed.vehicles < 0.8 * self.capacity or sensed.arrivals > self.arrival_rate * dt_s:
            self._seen_s = min(_RATE_MEMORY_S, self._seen_s + dt_s)
            weight = dt_s / max(30.0, self._seen_s)
            self.arrival_rate += (sensed.arrivals / max(dt_s, 0.1) - self.arrival_rate) * min(
                1.0, weight
            )

    def learn(self, stage: int, prior: float, departures: int, green_s: float) -> None:
        """Learn what leaves a second under `stage`, green for `green_s` with a queue at the bar."""
        if green_s < 3.0:
            return
        rate = self.service.get(stage, prior)
        rate += (departures - rate) / _SERVICE_MEMORY
        self.service[stage] = min(1.5 * prior, max(0.5 * prior, rate))

    @property
    def is_full(self) -> bool:
        """True if the queue reaches back to the advance detector or the upstream junction."""
        return self.vehicles >= 0.8 * self.capacity
