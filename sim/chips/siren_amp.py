"""A siren's amplifier with its drivers: what it draws, and whether anybody can hear it.

Public: `SirenAmplifier`, `AMP_FAULTS`. Two compression drivers on a 12 V amplifier; the figures
are those of a 100 W electronic siren: some 4 A at full tone, 0.12 A while powered without load,
and a silent test (an ultrasonic tone of low level through the drivers, as the controllers of the
trade have) of 0.35 A.
"""

from collections.abc import Callable

from sim.board import Board
from sim.kernel import MILLISECOND, Simulation

# "dead": no output stage. "cut": the cable to the drivers. "blown": one driver of two.
# "stuck": the relay welded shut, it draws and sounds for ever. "flat": its battery is empty.
AMP_FAULTS = ("", "dead", "cut", "blown", "stuck", "flat")

QUIESCENT_MA, TONE_MA, TEST_MA = 120.0, 4_000.0, 350.0
_RISE_US = 60 * MILLISECOND
_NOMINAL_V, _LEAST_V = 12.6, 9.5


class SirenAmplifier:
    """On the board's siren and test lines; its current is on the converter's channel."""

    def __init__(
        self,
        sim: Simulation,
        board: Board,
        *,
        siren: int,
        test: int,
        channel: int,
        full_ma: float,
    ) -> None:
        self.sim = sim
        self.fault = ""
        self.battery_v = _NOMINAL_V
        self.on_sound: Callable[[bool], object] | None = None
        self.soundings: list[tuple[int, int]] = []  # us: heard from, heard to (pauses apart)
        self.tests = 0
        self._board = board
        self._is_on = False
        self._is_testing = False
        self._since_us = 0
        self._heard_us: int | None = None
        self._rng = sim.rng("siren/" + board.name)
        board.adc[channel] = lambda: self.current_ma() * 3.3 / full_ma
        board.watch(siren, self._drive)
        board.watch(test, self._test)

    def _drive(self, level: int) -> None:
        self._is_on = bool(level)
        self._since_us = self.sim.now_us
        self._listen()

    def _test(self, level: int) -> None:
        self._is_testing = bool(level)
        self._since_us = self.sim.now_us
        self.tests += int(self._is_testing)

    def set_fault(self, fault: str) -> None:
        """One of `AMP_FAULTS`, from now on."""
        self.fault = fault
        self._listen()

    @property
    def is_heard(self) -> bool:
        """Whether people hear it now; one driver of two is too quiet to count."""
        is_on = self._is_on or self.fault == "stuck"
        return is_on and self.fault in ("", "stuck") and self.battery_v >= _LEAST_V

    def _listen(self) -> None:
        if self.is_heard and self._heard_us is None:
            self._heard_us = self.sim.now_us
        elif not self.is_heard and self._heard_us is not None:
            self.soundings.append((self._heard_us, self.sim.now_us))
            self._heard_us = None
        if self.on_sound:
            self.on_sound(self.is_heard)

    def heard_s(self) -> float:
        """Seconds of tone that people heard so far."""
        total = sum(end - start for start, end in self.soundings)
        if self._heard_us is not None:
            total += self.sim.now_us - self._heard_us
        return total / 1e6

    def current_ma(self) -> float:
        """What the sensor in the supply sees, with its noise."""
        return max(0.0, self._steady_ma() + self._rng.gauss(0.0, 8.0))

    def _steady_ma(self) -> float:
        is_on = self._is_on or self.fault == "stuck"
        if not (is_on or self._is_testing):
            return 0.0
        if self.fault in ("dead", "flat") or self.battery_v < _LEAST_V:
            return 0.0
        if self.sim.now_us - self._since_us < _RISE_US and self.fault != "stuck":
            return QUIESCENT_MA
        drivers = {"cut": 0.0, "blown": 0.5}.get(self.fault, 1.0)
        load = TONE_MA * self.battery_v / _NOMINAL_V if is_on else TEST_MA
        return QUIESCENT_MA + drivers * load
