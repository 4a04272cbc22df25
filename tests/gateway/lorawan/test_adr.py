"""ADR and the airtime budget, by numbers worked out by hand."""

import pytest

from gateway.lorawan.adr import Limits, choose, leave_wide, loss_percent
from gateway.lorawan.duty import HOUR_MS, AirtimeBudget

LIMITS = Limits(dr_max=5, power_index_max=7, margin_db=10)


def history(snr_db: float, count: int, step: int = 1) -> tuple[tuple[int, int], ...]:
    return tuple((i * step, round(snr_db * 10)) for i in range(count))


@pytest.mark.parametrize(
    ("dr", "sf", "power", "snr_db", "count", "want"),
    [
        (2, 10, 0, -5.0, 20, (2, 0, 1)),  # 0 dB to spare
        (2, 10, 0, -2.0, 20, (3, 0, 1)),  # 3 dB: one step
        (2, 10, 0, 8.0, 20, (5, 1, 1)),  # 13 dB: three rates, one power step
        (2, 10, 0, 8.0, 6, (5, 0, 1)),  # power only with a full history
        (2, 10, 0, 8.0, 5, (2, 0, 1)),  # too few frames
        (5, 7, 0, 20.0, 20, (5, 5, 1)),  # 17.5 dB
        (5, 7, 7, 20.0, 20, (5, 7, 1)),  # no lower power there is
        (5, 7, 3, -5.0, 20, (5, 0, 1)),  # 7.5 dB missing: three steps more power
        (5, 7, 0, -9.0, 20, (5, 0, 1)),  # the device itself lowers the rate, not we
    ],
)
def test_rate_and_power(
    dr: int, sf: int, power: int, snr_db: float, count: int, want: tuple[int, int, int]
) -> None:
    assert choose(dr, power, 1, sf, history(snr_db, count), LIMITS) == want


def test_loss_raises_the_number_of_transmissions() -> None:
    assert loss_percent(history(0, 20)) == 0
    assert loss_percent(history(0, 20, 2)) == pytest.approx(100 * 19 / 39)
    assert choose(5, 0, 1, 7, history(2.5, 20, 2), LIMITS)[2] == 3
    assert choose(5, 0, 3, 7, history(2.5, 20), LIMITS)[2] == 2


@pytest.mark.parametrize(("snr_db", "want"), [(0.0, 3), (-5.0, 2), (-11.0, 0), (-30.0, 0)])
def test_devices_leave_the_wide_channel(snr_db: float, want: int) -> None:
    limits = Limits(dr_max=3, power_index_max=7, margin_db=10)
    assert leave_wide(history(snr_db, 6), limits) == want
    assert leave_wide(history(snr_db, 5), limits) is None


def test_an_hours_airtime_is_never_exceeded() -> None:
    budget = AirtimeBudget(((0, 10, 100),))
    second_us = 1_000_000
    for start in range(27):  # three quarters of 36 s
        assert budget.may("a", 5, second_us, start, False)
        budget.spend("a", 5, second_us, start)
    assert not budget.may("a", 5, second_us, 27, False)
    assert budget.may("a", 5, 9 * second_us, 27, True)
    assert not budget.may("a", 5, 9 * second_us + 1, 27, True)
    assert budget.may("b", 5, second_us, 27, False)  # another gateway
    assert budget.may("a", 50, second_us, 27, False)  # another band, without a limit
    assert budget.used_percent("a", 27) == 75
    budget.refund("a", 5, second_us)
    assert budget.may("a", 5, second_us, 27, False)
    assert budget.used_percent("a", HOUR_MS + 100) == 0
