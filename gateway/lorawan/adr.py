"""Adaptive data rate, network side: `choose`, from the SNR of the last twenty frames.

Semtech's recommended algorithm ("LoRaWAN: simple rate adaptation recommended algorithm", rev 1.0,
2016): the margin of the best of the last frames above what the rate needs, less an installation
margin, buys faster rates and then less power in steps of 3 dB; a deficit raises the power. The
number of transmissions follows the loss that the frame counters show.
"""

from dataclasses import dataclass

HISTORY = 20
STEP_DB = 3.0
REQUIRED_SNR_DB = {12: -20.0, 11: -17.5, 10: -15.0, 9: -12.5, 8: -10.0, 7: -7.5}
"""What the demodulator needs at 125 kHz, by spreading factor (SX1302 data sheet, table 3-2)."""

_NB_TRANS = ((1, 1, 2), (1, 2, 3), (2, 3, 3), (3, 3, 3))
_LOSS_PERCENT = (5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the region and the configuration allow."""

    dr_max: int
    power_index_max: int
    margin_db: float


def choose(
    dr: int,
    power_index: int,
    nb_trans: int,
    sf: int,
    history: tuple[tuple[int, int], ...],
    limits: Limits,
) -> tuple[int, int, int]:
    """The (dr, power_index, nb_trans) a device should use.

    `history` holds (f_cnt, SNR in 0.1 dB) at the present setting, newest last. A full history is
    needed to lower the power or judge the loss; six frames are enough to take a faster rate.
    """
    if not history or sf not in REQUIRED_SNR_DB:
        return dr, power_index, nb_trans
    recent = history[-HISTORY:]
    margin = max(snr for _, snr in recent) / 10 - REQUIRED_SNR_DB[sf] - limits.margin_db
    steps = int(margin // STEP_DB)
    is_full = len(recent) >= HISTORY
    while steps > 0 and dr < limits.dr_max and (is_full or len(recent) >= 6):
        dr += 1
        steps -= 1
    if is_full:
        while steps > 0 and power_index < limits.power_index_max:
            power_index += 1
            steps -= 1
        nb_trans = _nb_trans(nb_trans, recent)
    while steps < 0 and power_index > 0:
        power_index -= 1
        steps += 1
    return dr, power_index, nb_trans


def leave_wide(history: tuple[tuple[int, int], ...], limits: Limits) -> int | None:
    """The 125 kHz rate for a device that joined on a fixed plan's 500 kHz channel.

    All such devices share that one channel of the gateway, so they are moved as soon as six
    frames tell the margin. The same signal has 6 dB more SNR in a quarter of the bandwidth.
    """
    if len(history) < 6:
        return None
    best = max(snr for _, snr in history[-HISTORY:]) / 10 + 6.0
    steps = int((best - REQUIRED_SNR_DB[7] - limits.margin_db) // STEP_DB)
    return max(limits.dr_max + min(steps, 0), 0)


def loss_percent(recent: tuple[tuple[int, int], ...]) -> float:
    """Frames missing between the first and the last counter, in percent."""
    span = recent[-1][0] - recent[0][0] + 1
    return 100.0 * (span - len(recent)) / span if span > 0 else 0.0


def _nb_trans(now: int, recent: tuple[tuple[int, int], ...]) -> int:
    loss = loss_percent(recent)
    row = sum(loss >= limit for limit in _LOSS_PERCENT)
    return _NB_TRANS[row][min(max(now, 1), 3) - 1]
