"""Burst loss as real street sensors have it, fitted to their frame counters.

Public: `STREETS`, `Street`, `burst_loss`, `delivered`. Source: FloodNet NYC, four sensors over
LoRaWAN at 63 s a frame (data set `flood_floodnet_a`, MIT): gaps of the frame counter are lost
frames, a step back or over 1,380 is a rejoin. Fitted is a Gilbert-Elliott channel in continuous
time to the share of readings that arrive when each frame repeats the H before it, which is what
runs of losses decide; `python -m tests.bench.burst_fit DATA.csv` makes the figures anew.
"""

import math
from dataclasses import dataclass

from sim.radio.medium import BurstLoss

PERIOD_S = 63.0
HISTORIES = (0, 1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Street:
    """One sensor: the fit, and what was measured of it.

    `measured` is the share delivered for each of `HISTORIES`, `mean_run` the mean number of frames
    lost in a row, of `frames` sent.
    """

    good_s: float
    bad_s: float
    loss_good: float
    loss_bad: float
    frames: int
    measured: tuple[float, ...]
    mean_run: float


STREETS = {
    "bored-blue-fish": Street(
        good_s=29_381.9, bad_s=9_075.0, loss_good=0.88286, loss_bad=0.96441, frames=137_646,
        measured=(0.0964, 0.1834, 0.2616, 0.3940, 0.5839, 0.7822), mean_run=10.384,
    ),
    "early-still-frog": Street(
        good_s=5_463.3, bad_s=86.4, loss_good=0.04967, loss_bad=0.87315, frames=5_508,
        measured=(0.9355, 0.9935, 0.9978, 0.9989, 1.0, 1.0), mean_run=1.113,
    ),
    "easily-dear-mouse": Street(
        good_s=24_160.5, bad_s=98.1, loss_good=0.03656, loss_bad=0.77417, frames=19_845,
        measured=(0.9602, 0.9973, 0.9994, 0.9999, 1.0, 1.0), mean_run=1.072,
    ),
    "mainly-kind-boxer": Street(
        good_s=18.2, bad_s=3_327.0, loss_good=0.00523, loss_bad=0.41709, frames=35_957,
        measured=(0.5814, 0.8273, 0.9292, 0.9895, 0.9997, 1.0), mean_run=1.702,
    ),
}  # fmt: skip


def burst_loss(name: str) -> BurstLoss:
    """A fresh channel like that of the sensor `name`; KeyError for another name."""
    street = STREETS[name]
    return BurstLoss(
        good_s=street.good_s,
        bad_s=street.bad_s,
        loss_good=street.loss_good,
        loss_bad=street.loss_bad,
    )


def delivered(
    good_s: float, bad_s: float, loss_good: float, loss_bad: float, period_s: float = PERIOD_S
) -> list[float]:
    """The share of readings that arrive with each of `HISTORIES`, exactly, by the channel's matrix.

    A reading is lost when its own frame and the H after it are.
    """
    rate = 1 / good_s + 1 / bad_s
    mixed = 1 - math.exp(-rate * period_s)
    to_bad, to_good = mixed * bad_s / (good_s + bad_s), mixed * good_s / (good_s + bad_s)
    good, bad = good_s / (good_s + bad_s), bad_s / (good_s + bad_s)
    lost: list[float] = []
    for _ in range(max(HISTORIES) + 1):
        good, bad = good * loss_good, bad * loss_bad
        lost.append(good + bad)
        good, bad = good * (1 - to_bad) + bad * to_good, good * to_bad + bad * (1 - to_good)
    return [1 - lost[history] for history in HISTORIES]
