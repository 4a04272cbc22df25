"""The conflict monitor at its pins: each fault within 500 ms, latched, logged, on both runtimes."""

import binascii

from firmware.cabinet.cabinet import CARD_FILE, Cabinet
from firmware.cabinet.card import Card, CardError
from firmware.cabinet.monitor import (
    CARD,
    CONFLICT,
    DARK,
    DUAL,
    LAMP,
    LATCHED,
    RUN,
    SHORT_CLEARANCE,
    SHORT_YELLOW,
    START,
    WATCHDOG,
)
from protocols.ticks import PERIOD_MS, ticks_add
from tests.firmware.device.fakes import FlashFake, PinFake

# Two roads A (0) and B (1) with 2.0 s and 1.5 s, and a crossing (2) of A only: 3 s walk clearance.
ROWS = (255, 20, 10, 15, 255, 255, 40, 255, 255)
BODY = b"TKC1" + bytes((3, 30, 30, 0, 0, 0, 2)) + bytes(ROWS)
R, Y, G = 0, 1, 2


def sealed(body):
    return body + binascii.crc32(body).to_bytes(4, "big")


class Rig:
    """A cabinet with fake pins; `show` holds lamps (red, yellow, green masks) for some time."""

    def __init__(self, files=None, start_ms=PERIOD_MS - 1500):
        self.files = files or FlashFake()
        if CARD_FILE not in self.files.data:
            self.files.write(CARD_FILE, sealed(BODY))
        self.relay = PinFake()
        self.watchdog = PinFake()
        self.reset = PinFake(1)
        self.flash = PinFake(1)
        self.no_current = 0
        self.lamps = (7, 0, 0)
        self.now_ms = start_ms
        self.alive = True
        self.cabinet = Cabinet(
            self, self.relay, self.watchdog, self.reset, self.flash, self.files, start_ms
        )

    def read_into(self, buf):
        for k in range(3):
            buf[2 * k] = 0
            buf[2 * k + 1] = self.lamps[k]
        buf[6] = 0
        buf[7] = self.no_current

    def show(self, red, yellow, green, ms):
        """Hold these lamps; the ms until the relay fell, or -1."""
        self.lamps = (red, yellow, green)
        fell = -1
        for t in range(0, ms, 10):
            self.now_ms = ticks_add(self.now_ms, 10)
            if self.alive and t % 100 == 0:
                self.watchdog.level = 1 - self.watchdog.level
            was = self.relay.level
            self.cabinet.step(self.now_ms)
            if was and not self.relay.level:
                fell = t + 10
        return fell

    def run(self):
        assert self.show(7, 0, 0, 1500) == -1
        assert self.relay.level == 1 and self.monitor.state == RUN
        return self

    @property
    def monitor(self):
        return self.cabinet.monitor


def test_a_right_cycle_never_trips():
    rig = Rig().run()
    for _ in range(2):
        assert rig.show(6, 0, 1, 8000) == -1
        assert rig.show(6, 1, 0, 3000) == -1
        assert rig.show(7, 0, 0, 2000) == -1
        assert rig.show(1, 0, 6, 6000) == -1
        for _ in range(3):  # the crossing's don't walk blinks while B is still green
            assert rig.show(1, 0, 2, 500) == -1
            assert rig.show(5, 0, 2, 500) == -1
        assert rig.show(5, 2, 0, 3000) == -1
        assert rig.show(7, 0, 0, 1500) == -1
    assert rig.monitor.state == RUN


def test_two_conflicting_greens_fall_within_half_a_second_and_latch():
    rig = Rig().run()
    fell = rig.show(4, 0, 3, 1000)
    assert 0 < fell <= 480, fell
    assert rig.monitor.fault == CONFLICT
    assert (rig.monitor.channel, rig.monitor.other) == (0, 1)
    assert rig.show(7, 0, 0, 5000) == -1 and rig.relay.level == 0


def test_yellow_against_green_is_a_conflict_too():
    rig = Rig().run()
    rig.show(6, 0, 1, 8000)
    assert 0 < rig.show(4, 1, 2, 1000) <= 480
    assert rig.monitor.fault in (CONFLICT, SHORT_CLEARANCE)


def test_red_failure_dual_and_watchdog():
    rig = Rig().run()
    assert 0 < rig.show(6, 0, 0, 1000) <= 480 and rig.monitor.fault == DARK
    rig = Rig().run()
    assert 0 < rig.show(7, 0, 1, 1000) <= 480 and rig.monitor.fault == DUAL
    rig = Rig().run()
    rig.alive = False
    assert 0 < rig.show(7, 0, 0, 1000) <= 480 and rig.monitor.fault == WATCHDOG


def test_a_pedestrian_red_may_blink_but_not_stay_dark():
    rig = Rig().run()
    assert rig.show(3, 0, 0, 600) == -1
    assert rig.show(7, 0, 0, 600) == -1
    assert rig.show(3, 0, 0, 2000) > 0 and rig.monitor.fault == DARK


def test_short_skipped_and_just_enough_yellow():
    for yellow_ms, fault in ((0, True), (2000, True), (2800, True), (2950, False)):
        rig = Rig().run()
        rig.show(6, 0, 1, 8000)
        fell = rig.show(6, 1, 0, yellow_ms) if yellow_ms else -1
        assert fell == -1
        assert (rig.show(7, 0, 0, 300) > 0) == fault, yellow_ms
        assert (rig.monitor.fault == SHORT_YELLOW) == fault


def test_clearance_between_the_pair_that_is_short():
    for red_ms, fault in ((1000, True), (1700, True), (1950, False)):
        rig = Rig().run()
        rig.show(6, 0, 1, 8000)
        rig.show(6, 1, 0, 3000)
        rig.show(7, 0, 0, red_ms)
        assert (rig.show(5, 0, 2, 300) > 0) == fault, red_ms
        if fault:
            assert rig.monitor.fault == SHORT_CLEARANCE
            assert (rig.monitor.channel, rig.monitor.other) == (0, 1)


def test_a_walk_needs_its_clearance_before_the_road_is_green():
    rig = Rig().run()
    rig.show(1, 0, 6, 6000)
    rig.show(5, 0, 2, 500)
    assert rig.show(4, 2, 1, 400) > 0


def test_a_red_lamp_without_current():
    rig = Rig().run()
    rig.no_current = 1
    assert rig.show(7, 0, 0, 3000) > 0 and rig.monitor.fault == LAMP


def test_flash_on_request_is_no_fault_and_comes_back_through_all_red():
    rig = Rig().run()
    rig.flash.level = 0
    assert 0 < rig.show(0, 7, 0, 3000) <= 50 and rig.monitor.state == START
    rig.flash.level = 1
    assert rig.show(6, 0, 1, 3000) == -1 and rig.relay.level == 0
    rig.show(7, 0, 0, 1200)
    assert rig.relay.level == 1


def test_reset_by_hand_only():
    rig = Rig()
    rig.reset.level = 0  # held, or stuck, since before the fault
    rig.run()
    assert rig.show(4, 0, 3, 1000) > 0
    rig.show(7, 0, 0, 3000)
    assert rig.monitor.state == LATCHED
    rig.reset.level = 1
    rig.show(7, 0, 0, 100)
    rig.reset.level = 0
    rig.show(7, 0, 0, 50)
    rig.reset.level = 1
    rig.show(7, 0, 0, 100)
    assert rig.monitor.state == LATCHED  # a bounce
    rig.reset.level = 0
    rig.show(7, 0, 0, 200)
    assert rig.monitor.state == START
    rig.reset.level = 1
    rig.show(7, 0, 0, 1200)
    assert rig.relay.level == 1


def test_the_latch_and_the_log_survive_power():
    rig = Rig().run()
    rig.show(4, 0, 3, 1000)
    again = Rig(rig.files)
    assert again.monitor.state == LATCHED and again.monitor.fault == CONFLICT
    again.show(7, 0, 0, 3000)
    assert again.relay.level == 0
    again.reset.level = 0
    again.show(7, 0, 0, 300)
    again.reset.level = 1
    again.run()
    rows = Rig(rig.files).cabinet.log.records()
    assert [(row[2], row[3], row[4]) for row in rows] == [(CONFLICT, 0, 1), (0, 0, 0)]
    assert rows[0][6] == 4 and rows[0][7] == 3


def test_without_a_good_card_the_cabinet_stays_in_flash():
    for data in (b"", b"TKC1", sealed(BODY)[:-1], sealed(BODY)[:-1] + b"\x00"):
        files = FlashFake()
        files.write(CARD_FILE, data)
        rig = Rig(files)
        rig.show(7, 0, 0, 2000)
        rig.reset.level = 0
        rig.show(7, 0, 0, 1000)
        assert rig.relay.level == 0 and rig.monitor.fault == CARD
    one_way = bytearray(BODY)
    one_way[11 + 1] = 255
    try:
        Card(sealed(bytes(one_way)))
    except CardError as error:
        assert error.args[0] == "matrix"
    else:
        raise AssertionError("a matrix that conflicts one way only")


def test_the_log_forgets_its_older_half_and_never_the_latch():
    rig = Rig()
    log = rig.cabinet.log
    for k in range(200):
        log.add(k, 1 + k % 7, 0, 1, 0, 0)
    rows = log.records()
    assert 32 <= len(rows) <= 65 and rows[-1][0] == 200
    assert Rig(rig.files).cabinet.log.latched == 1 + 199 % 7
