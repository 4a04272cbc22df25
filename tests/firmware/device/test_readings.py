"""The reading log: found by number, and never a torn reading, whatever byte the power fails at."""

from firmware.store.readings import FLAG_UPTIME, ReadingLog
from tests.firmware.device.fakes import FlashFake, PowerCutError


def append(log, value):
    return log.append(1000 + 10 * value, 7, value - 50, 3 * value, value % 200, FLAG_UPTIME)


def check(log, sequence, value):
    row = log.read(sequence)
    assert row is not None, sequence
    found = (row.sequence, row.time_s, row.boot, row.a, row.b, row.c, row.flags)
    assert found == (sequence, 1000 + 10 * value, 7, value - 50, 3 * value, value % 200, 1), found


def test_readings_are_found_by_number_and_the_oldest_give_way():
    flash = FlashFake()
    log = ReadingLog(flash, segments=4, per_segment=8)
    assert log.read(0) is None and log.stored == 0 and log.first_sequence == 0
    for value in range(100):
        assert append(log, value) == value
        assert log.next_sequence == value + 1
        oldest = log.first_sequence
        assert value + 1 - 4 * 8 <= oldest <= max(0, value + 1 - 3 * 8), (value, oldest)
        check(log, oldest, oldest)
        check(log, value, value)
        assert log.read(oldest - 1) is None and log.read(value + 1) is None
    again = ReadingLog(flash, segments=4, per_segment=8)
    assert again.next_sequence == 100 and again.damaged == 0
    for value in range(again.first_sequence, 100):
        check(again, value, value)


def test_a_missing_level_and_large_values_come_back():
    log = ReadingLog(FlashFake(), 4, 8)
    log.append(2**30 - 1, 70_000, None, 2**32 - 1, 999, 255)
    row = log.read(0)
    assert row is not None
    assert (row.time_s, row.boot, row.b, row.c, row.flags) == (
        2**30 - 1,
        70_000 & 0xFFFF,
        2**32 - 1,
        255,
        255,
    )
    assert row.a == -0x8000
    log.append(0, 0, 40_000, 0)
    row = log.read(1)
    assert row is not None and row.a == 0x7FFF


def test_a_cut_at_every_byte_loses_nothing_that_append_returned_for():
    """Segments of three readings, so cuts fall into heads, rows and the change of segment."""
    for rot in (b"", b"\xff" * 20):
        for budget in range(0, 260):
            flash = FlashFake(budget=budget, rot=rot)
            done = 0
            try:
                log = ReadingLog(flash, segments=3, per_segment=3)
                for value in range(12):
                    append(log, value)
                    done = value + 1
            except PowerCutError:
                pass
            flash.power_up()
            log = ReadingLog(flash, segments=3, per_segment=3)
            # What was being written when the power went may be whole: then it counts.
            assert log.next_sequence in (done, done + 1), (budget, log.next_sequence, done)
            kept = range(log.first_sequence, log.next_sequence)
            assert len(kept) >= min(done, 3), (budget, list(kept))
            for value in kept:
                check(log, value, value)
            # And it goes on: two more cuts' worth of readings, all there.
            start = log.next_sequence
            for value in range(start, start + 4):
                assert append(log, value) == value
            again = ReadingLog(flash, segments=3, per_segment=3)
            assert again.next_sequence == start + 4
            for value in range(max(start, again.first_sequence), start + 4):
                check(again, value, value)


def test_a_flipped_bit_is_no_reading():
    flash = FlashFake()
    log = ReadingLog(flash, 3, 8)
    for value in range(5):
        append(log, value)
    good = flash.data["log.00"]
    for index in range(8, len(good)):
        bad = bytearray(good)
        bad[index] ^= 1
        flash.data["log.00"] = bytes(bad)
        again = ReadingLog(flash, 3, 8)
        number = (index - 8) // 16
        if number == 4:
            assert again.next_sequence == 4
        else:
            assert again.read(number) is None, index
            check(again, 3 if number != 3 else 2, 3 if number != 3 else 2)


def test_a_full_flash_is_an_error_and_the_number_is_not_used():
    class Full(FlashFake):
        full = False

        def append(self, name, data):
            if self.full:
                raise OSError(28)
            FlashFake.append(self, name, data)

    flash = Full()
    log = ReadingLog(flash, 3, 8)
    append(log, 0)
    flash.full = True
    try:
        append(log, 1)
        assert False
    except OSError:
        pass
    flash.full = False
    assert append(log, 1) == 1
    check(log, 0, 0)
    check(log, 1, 1)


def test_a_reading_that_could_not_be_stored_leaves_a_gap_and_its_number_is_gone():
    flash = FlashFake()
    log = ReadingLog(flash, 4, 8)
    for value in range(3):
        append(log, value)
    assert log.skip() == 3
    assert append(log, 4) == 4
    for again in (log, ReadingLog(flash, 4, 8)):
        assert again.next_sequence == 5 and again.read(3) is None
        for value in (0, 1, 2, 4):
            check(again, value, value)
