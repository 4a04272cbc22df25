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


def test_no_intermediate_needs_the_heap_of_a_32_bit_chip():
    """The same sums as written with a plain modulus, on both sides of every edge."""
    edges = (0, 1, (1 << 29) - 1, 1 << 29, (1 << 29) + 1, PERIOD_MS - 1)
    for a in edges:
        for b in edges:
            assert ticks_diff(a, b) == (a - b + (1 << 29)) % PERIOD_MS - (1 << 29)
        for delta in (0, 1, -1, (1 << 29) - 1, 1 - (1 << 29)):
            assert ticks_add(a, delta) == (a + delta) % PERIOD_MS
