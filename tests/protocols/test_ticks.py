"""Ticks wrap at 2**30 ms. Runs on CPython and MicroPython."""

from protocols.ticks import PERIOD_MS, ticks_add, ticks_diff


def test_difference_is_signed_and_survives_the_wrap():
    assert ticks_diff(5, 3) == 2
    assert ticks_diff(3, 5) == -2
    assert ticks_diff(10, PERIOD_MS - 10) == 20
    assert ticks_diff(PERIOD_MS - 10, 10) == -20


def test_add_is_the_inverse_of_diff():
    for start in (0, 1, 12345, PERIOD_MS - 1):
        for delta in (0, 1, 999, (1 << 29) - 1, -1, -(1 << 29)):
            assert ticks_diff(ticks_add(start, delta), start) == delta
