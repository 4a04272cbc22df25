"""Where the charge of a node goes: a current per state of radio, processor and sensors.

Public: `EnergyAccount`, `RADIO_MA`, `PROCESSOR_MA`. Currents from the data sheets: SX1262 (table
3-5 and 3-6, DC-DC, 3.3 V), RP2040 (lightsleep as measured on a Pico; 12 MHz crystal off), Geolux
LX-80 (user manual). They are typical values: an account, not a promise.
"""

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
