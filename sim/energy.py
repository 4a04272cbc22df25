"""Where the charge of a node goes: a current per state of radio, processor and sensors.

Public: `EnergyAccount`, `Battery`, `RADIO_MA`, `PROCESSOR_MA`. Currents from the data sheets:
SX1262 (tables 3-5 and 3-6, DC-DC, 3.3 V), RP2040 (lightsleep as measured on a Pico). They are
typical values: an account, not a promise.
"""

import itertools
import math

from sim.kernel import Simulation

RADIO_MA = {
    "sleep": 0.0012,
    "standby_rc": 0.6,
    "standby_xosc": 0.8,
    "fs": 2.1,
    "rx": 4.6,
    "tx": 45.0,  # at +14 dBm with the optimal settings; 118 mA at +22 dBm
}
PROCESSOR_MA = {"run": 24.0, "sleep": 1.3}


class EnergyAccount:
    """Charge by consumer, in microampere-seconds inside, mAh and mean mA outside."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._since: dict[str, tuple[int, float]] = {}
        self._charge: dict[str, float] = {}
        self._start_us = sim.now_us

    def set(self, consumer: str, milliampere: float) -> None:
        """From now on `consumer` draws this much."""
        now = self._sim.now_us
        since, before = self._since.get(consumer, (now, 0.0))
        self._charge[consumer] = self._charge.get(consumer, 0.0) + before * (now - since)
        self._since[consumer] = (now, milliampere)

    def add(self, consumer: str, milliampere: float, us: float) -> None:
        """A draw of known length."""
        self._charge[consumer] = self._charge.get(consumer, 0.0) + milliampere * us

    def mah(self) -> dict[str, float]:
        """Charge so far by consumer, mAh."""
        for consumer in list(self._since):
            self.set(consumer, self._since[consumer][1])
        return {name: charge / 3.6e9 for name, charge in sorted(self._charge.items())}

    def average_ma(self) -> float:
        """Mean current since the beginning."""
        hours = (self._sim.now_us - self._start_us) / 3.6e9
        return sum(self.mah().values()) / hours if hours > 0 else 0.0


# Open-circuit voltage of one Li-ion cell by state of charge (typical 18650 at 0.2 C, 25 degrees).
_CELL_V = (
    (0.0, 3.00), (0.05, 3.30), (0.1, 3.45), (0.2, 3.58), (0.4, 3.70), (0.6, 3.83), (0.8, 3.98),
    (1.0, 4.18),
)  # fmt: skip
_EMPTY, _AGAIN = 0.01, 0.08  # the protection opens, and lets the load back on


class Battery:
    """A Li-ion cell of `capacity_mah` with a panel that gives `solar_ma` in full sun.

    `hour(now_us)` is the local hour of day; `sun` 0..1 is the weather, to be set any time. Ask it
    through `step`, which takes what the account has drawn since the last call.
    """

    def __init__(
        self,
        sim: Simulation,
        account: EnergyAccount,
        *,
        capacity_mah: float,
        solar_ma: float = 0.0,
        start: float = 0.9,
        first_hour: float = 18.0,
    ) -> None:
        self._sim = sim
        self._account = account
        self._capacity_mah = capacity_mah
        self._solar_ma = solar_ma
        self._first_hour = first_hour
        self._charge = start
        self._drawn_mah = 0.0
        self._since_us = sim.now_us
        self.sun = 1.0
        self.stolen = False
        self.is_on = True

    @property
    def charge(self) -> float:
        """State of charge, 0..1."""
        return self._charge

    def volts(self) -> float:
        """At the cell."""
        if self.stolen:
            return 0.0
        for (low, v0), (high, v1) in itertools.pairwise(_CELL_V):
            if self._charge <= high:
                return v0 + (v1 - v0) * (self._charge - low) / (high - low)
        return _CELL_V[-1][1]

    def solar_now_ma(self) -> float:
        """What the panel gives now: a sine from 6 to 18 o'clock, times the weather."""
        hour = (self._first_hour + self._sim.now_us / 3.6e9) % 24
        height = math.sin(math.pi * (hour - 6) / 12) if 6 < hour < 18 else 0.0
        return self._solar_ma * self.sun * height

    def step(self) -> bool:
        """Bring the charge up to now; returns whether the load has its supply."""
        drawn = sum(self._account.mah().values())
        hours = (self._sim.now_us - self._since_us) / 3.6e9
        change_mah = 0.95 * self.solar_now_ma() * hours - (drawn - self._drawn_mah)
        self._drawn_mah, self._since_us = drawn, self._sim.now_us
        self._charge = max(0.0, min(1.0, self._charge + change_mah / self._capacity_mah))
        limit = _EMPTY if self.is_on else _AGAIN
        self.is_on = not self.stolen and self._charge > limit
        return self.is_on
