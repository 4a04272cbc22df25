"""Sequence and time out of their low bits."""

from protocols.payload.unwrap import nearest, slot_before, unwrap_sequence


def test_nearest():
    assert nearest(5, 256, 261) == 261
    assert nearest(5, 256, 133) == 261
    assert nearest(5, 256, 132) == 5
    assert nearest(255, 256, 0) == -1
    assert nearest(0, 16384, 100000) == 98304


def test_slot_before_is_at_most_two_minutes_ahead():
    for grid_s in (10, 60, 900, 3600):
        for age in (0, 1, 50, 500):
            time_s = 900000000 - 900000000 % grid_s
            assert slot_before(time_s // grid_s % 64, grid_s, 64, time_s + age) == time_s
            early = time_s - min(120, 8 * grid_s)
            assert slot_before(time_s // grid_s % 64, grid_s, 64, early) == time_s
            assert slot_before(time_s // grid_s % 64, grid_s, 64, early - 1) < time_s


def test_history_that_reaches_back_makes_it_certain():
    times = list(range(5000, 4000, -10))
    assert unwrap_sequence(1000 & 255, 256, times, 950, 4500) == (1000, True)


def test_one_fits_the_elapsed_time():
    assert unwrap_sequence(20, 256, [5000], 10, 4800) == (20, True)
    # 300 s have room for 30 readings, not for 266.
    assert unwrap_sequence(20, 256, [5000], 10, 4700) == (20, True)


def test_the_edge_between_one_and_two_possible():
    # Room for 265 readings: 10 or nothing. For 266: 10 or 266.
    assert unwrap_sequence(20, 256, [5000], 10, 5000 - 2659) == (20, True)
    assert unwrap_sequence(20, 256, [5000], 10, 5000 - 2660) == (20, False)
    # No room for even one: the clock is wrong.
    assert unwrap_sequence(20, 256, [5000], 10, 4901) == (20, False)
    assert unwrap_sequence(20, 256, [5000], 10, 4900) == (20, True)


def test_one_reading_an_hour_at_least():
    # In 30 days 720 readings were taken at least: 266, 522 are too few.
    sequence, is_certain = unwrap_sequence(20, 256, [30 * 86400 + 50], 10, 50)
    assert (sequence, is_certain) == (788, False)


def test_spacing_guesses_over_a_long_gap():
    # 1,000 quarter hours were lost.
    times = [2000000, 2000000 - 900]
    assert unwrap_sequence(1100 & 255, 256, times, 100, 2000000 - 900000) == (1100, False)


def test_ambiguous_is_said():
    sequence, is_certain = unwrap_sequence(10, 256, [1000000, 999990], 300, 900000)
    assert not is_certain and sequence % 256 == 10 and sequence > 300
    assert unwrap_sequence(10, 256, [1000000], None, None) == (10, False)
    assert unwrap_sequence(10, 256, list(range(1000, 0, -10)), None, None) == (266, False)


def test_late_frame():
    assert unwrap_sequence(95, 256, [4950], 100, 5000) == (95, True)
    assert unwrap_sequence(100, 256, [5000], 100, 5000) == (100, True)
    # 300 readings fit in the time: 5 before, or 261.
    assert unwrap_sequence(1995 & 255, 256, [2000], 2000, 5000) == (1995, False)
    assert unwrap_sequence(1995 & 255, 256, [4960], 2000, 5000) == (1995, False)  # 4 at most
