"""Signal timing by the published formulas: yellow, red clearance, pedestrians, Webster.

Sources: ITE, Guidelines for Determining Traffic Signal Change and Clearance Intervals (2020) with
the kinematic equation; MUTCD 4I.06 for pedestrian clearance (kerb to kerb at the walking speed);
Webster, Traffic Signal Settings, RRL Technical Paper 39 (1958).
"""

from collections.abc import Sequence

GRAVITY_MPS2 = 9.81
REACTION_S = 1.0
DECELERATION_MPS2 = 3.05
"""10 ft/s2, as ITE recommends."""
VEHICLE_M = 6.1
"""20 ft: the vehicle that must be out of the way."""
YELLOW_S_MIN, YELLOW_S_MAX = 3.0, 7.0
"""MUTCD 4F.17: yellow is between 3 and 6 s; the formula may pass that on steep fast roads."""
LOST_S = 2.0
"""Lost at the start of each green; the change interval is counted apart."""
WEBSTER_CYCLE_S = (30.0, 180.0)


def yellow_s(speed_kmh: float, grade_percent: float) -> float:
    """ITE yellow change interval: reaction, then stopping at 3.05 m/s2; never under 3 s."""
    speed = speed_kmh / 3.6
    slope = GRAVITY_MPS2 * grade_percent / 100.0
    return max(YELLOW_S_MIN, REACTION_S + speed / (2.0 * (DECELERATION_MPS2 + slope)))


def red_clearance_s(speed_kmh: float, crossing_m: float) -> float:
    """ITE red clearance: out of the junction at the approach speed, less one second of reaction.

    The second is the time that conflicting traffic takes to react to its green (ITE 2020).
    """
    return max(0.0, (crossing_m + VEHICLE_M) / (speed_kmh / 3.6) - REACTION_S)


def pedestrian_clearance_s(crossing_m: float, walk_mps: float) -> float:
    """Kerb to kerb at `walk_mps`."""
    return crossing_m / walk_mps


def webster_cycle_s(ratios: Sequence[float], lost_s: float) -> float:
    """Webster's cycle of least delay for critical flow ratios and lost time a cycle.

    Raises ValueError if the ratios sum to 0.95 or more: no cycle serves that.
    """
    total = sum(ratios)
    if total >= 0.95:
        raise ValueError(f"critical flow ratios sum to {total:.2f}: no cycle serves 0.95 or more")
    low, high = WEBSTER_CYCLE_S
    return min(high, max(low, (1.5 * lost_s + 5.0) / (1.0 - total)))


def webster_greens_s(ratios: Sequence[float], cycle_s: float, lost_s: float) -> list[float]:
    """Effective greens that share what a cycle leaves, in proportion to the ratios."""
    total = sum(ratios) or 1.0
    return [max(0.0, cycle_s - lost_s) * ratio / total for ratio in ratios]
