"""A tipping bucket on a pin: a reed contact to ground, closed for 100 ms at each tip.

Public: `RainGauge`. It loses a little at high intensity, as real ones do (about 3 % at 100 mm/h,
because water falls while the bucket moves), and its contact bounces for 3 ms.
"""

from collections.abc import Callable

from sim.board import Board
from sim.kernel import SECOND, Simulation

_CLOSED_US = 100_000
_STEP_US = 10 * SECOND


class RainGauge:
    """`rate_mm_h()` gives the rain now; `tip_um` is the bucket, in micrometres of rain."""

    def __init__(
        self,
        sim: Simulation,
        board: Board,
        pin: int,
        rate_mm_h: Callable[[], float],
        *,
        tip_um: int = 200,
    ) -> None:
        self.sim = sim
        self.tips = 0
        self.blocked = False
        self._board = board
        self._pin = pin
        self._rate = rate_mm_h
        self._tip_mm = tip_um / 1000
        self._bucket_mm = 0.0
        board.drive(pin, 1)
        sim.after(_STEP_US, self._fill)

    def _fill(self) -> None:
        self.sim.after(_STEP_US, self._fill)
        rate = self._rate()
        if self.blocked or rate <= 0:
            return
        caught = rate * (1 - 0.0003 * min(rate, 300.0)) * _STEP_US / (3600 * SECOND)
        self._bucket_mm += caught
        count = int(self._bucket_mm / self._tip_mm)
        self._bucket_mm -= count * self._tip_mm
        for i in range(count):
            self.sim.after(i * _STEP_US // max(count, 1), self._tip)

    def _tip(self) -> None:
        self.tips += 1
        self._board.drive(self._pin, 0)
        self.sim.after(1_000, self._board.drive, self._pin, 1)  # the contact bounces
        self.sim.after(3_000, self._board.drive, self._pin, 0)
        self.sim.after(_CLOSED_US, self._board.drive, self._pin, 1)
