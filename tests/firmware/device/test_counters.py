"""Counters and tuning over resets; clock, events, contact, rain, battery and patterns."""

from firmware.apps.rainfall import Rainfall
from firmware.clock import SOURCE_GNSS, SOURCE_NETWORK, Clock, from_gps
from firmware.drivers.battery import Trend, Voltmeter
from firmware.drivers.contact import Contact
from firmware.drivers.rain import RainGauge
from firmware.drivers.signals import Blinker
from firmware.events import KEPT, NAMES, STAGE, Events
from firmware.store.counters import Counters
from firmware.store.settings import parse
from firmware.store.tuning import Tuning
from protocols.ticks import PERIOD_MS, ticks_add
from tests.firmware.device.fakes import FlashFake, PinFake, PowerCutError

LINE = (
    b'{"role":"flood","board":"unix-pico","dev_eui":"70b3d50000000001",'
    b'"join_eui":"70b3d50000000000","app_key":"000102030405060708090a0b0c0d0e0f"}'
)


def test_counters_come_back_with_the_offsets_of_eight_starts():
    flash = FlashFake()
    counters = Counters(flash)
    assert counters.is_new and counters.command_number == -1
    for boot in range(1, 13):
        counters = Counters(flash)
        counters.boots = boot
        counters.rain_tips += 5
        counters.command_number = 40 + boot
        counters.event_number = 250 + boot
        counters.planned = boot & 7
        counters.note_offset(-1000 * boot)
        counters.note_offset(1000 * boot)
        counters.save()
    counters = Counters(flash)
    assert (counters.boots, counters.rain_tips, counters.command_number) == (12, 60, 52)
    assert (counters.event_number, counters.planned) == (262 & 255, 4)
    assert counters.offset_of(4) is None
    for boot in range(5, 13):
        assert counters.offset_of(boot) == 1000 * boot


def test_counters_survive_a_cut_anywhere():
    for budget in range(0, 60, 3):
        flash = FlashFake()
        counters = Counters(flash)
        counters.rain_tips = 7
        counters.save()
        counters.rain_tips = 8
        flash.budget = budget
        try:
            counters.save()
        except PowerCutError:
            pass
        flash.power_up()
        assert Counters(flash).rain_tips in (7, 8)


def test_tuning_is_kept_until_another_configuration_is_provisioned():
    flash = FlashFake()
    settings = parse(LINE)
    tuning = Tuning(flash, settings)
    assert tuning.stages_mm == [500, 1160, 2660] and tuning.config_number == 1
    tuning.stages_mm = [-100, 300, 900]
    tuning.intervals_s = [600, 60, 60, 10]
    tuning.storm_until_s = 217_000_000
    tuning.config_number = 9
    tuning.save()
    again = Tuning(flash, settings)
    assert again.stages_mm == [-100, 300, 900] and again.config_number == 9
    assert again.intervals_s == [600, 60, 60, 10] and again.storm_until_s == 217_000_000
    settings.integers["config_version"] = 2
    assert Tuning(flash, settings).stages_mm == [500, 1160, 2660]


def test_clock_counts_over_the_wrap_of_ticks():
    now = PERIOD_MS - 5000
    clock = Clock(now)
    for _ in range(100):
        now = ticks_add(now, 777)
        clock.update(now)
    assert clock.uptime_s == 77
    assert clock.now_s(now) == 77 and not clock.is_set
    assert clock.ms_to(79, now) == 79_000 - 77_700


def test_clock_takes_time_for_the_moment_it_was_true():
    clock = Clock(1000)
    now = 61_500
    # The network said 200,000,000 at a tick 12.3 s ago.
    assert clock.set_wall(200_000_000, 49_200, now, SOURCE_NETWORK) == 200_000_000 - 48
    assert clock.is_set
    assert clock.now_s(now) == 200_000_012
    assert clock.set_wall(200_000_013, now, now, SOURCE_NETWORK) == 0, "a drift"
    assert clock.steps == 0
    assert clock.set_wall(200_000_112, now, now, SOURCE_GNSS) == 100
    assert clock.steps == 1
    assert clock.set_wall(5, now, now, SOURCE_NETWORK) == 0, "a weaker source"
    assert clock.now_s(now) == 200_000_112


def test_gps_time():
    # 2020-01-01T00:00:00Z is GPS week 2086, second 259,218.
    assert from_gps(2086 * 604_800 + 259_218) == 0


def test_events_keep_the_last_and_count_all():
    events = Events()
    for i in range(40):
        events.note(i, STAGE, -i)
    rows = events.last()
    assert len(rows) == KEPT and rows[0] == (24, STAGE, -24) and rows[-1] == (39, STAGE, -39)
    assert events.counts[STAGE] == 40 and events.total == 40
    assert len(events.dump()) == 16 * 9
    assert len(NAMES) == len(events.counts)


def test_rain_counts_tips_and_not_bounces():
    now = [PERIOD_MS - 300]
    pin = PinFake(1)
    gauge = RainGauge(pin, lambda: now[0])
    for step in (0, 5, 20, 600, 3, 700, 119, 2000):
        now[0] = ticks_add(now[0], step)
        pin.fire()
    assert gauge.is_fresh
    assert gauge.take() == 4 and gauge.bounces == 4
    assert not gauge.is_fresh and gauge.take() == 0


def test_voltmeter_reads_within_a_few_millivolts():
    class Adc:
        raw = 0

        def read_u16(self):
            return self.raw

    adc = Adc()
    enable = PinFake(1)
    meter = Voltmeter(adc, 9900, enable, 0)
    for raw in (0, 1000, 27_804, 65_535):
        adc.raw = raw
        want = raw * 9900 // 65_535
        assert abs(meter.read_mv() - want) <= 8, (raw, meter.read_mv(), want)
        assert enable.level == 1


def test_trend_tells_after_six_hours():
    trend = Trend()
    for hour in range(40):
        trend.push(4000 - 2 * hour)
        assert (trend.mv_per_day is None) == (hour < 5)
    assert trend.mv_per_day == -48


def test_contact_waits_for_the_bounce():
    pin = PinFake(1)
    contact = Contact(pin, 0)
    assert not contact.is_closed and contact.wait_ms(0) == -1

    def turn(level):
        pin.level = level
        pin.fire()

    turn(0)
    assert not contact.poll(10)
    assert contact.wait_ms(10) == 40
    turn(1)
    assert not contact.poll(20)
    assert not contact.poll(100)
    turn(0)
    assert not contact.poll(110)
    assert contact.poll(150) and contact.is_closed


def test_contact_finds_a_level_whose_edge_was_lost():
    pin = PinFake(1)
    contact = Contact(pin, 0)
    pin.level = 0
    now = 0
    while not contact.poll(now):
        now += 50
        assert now < 50 * 20
    assert contact.is_closed


def lights(pattern, until_ms, step_ms=250):
    led = PinFake(0)
    blinker = Blinker(led, 0)
    blinker.show(pattern, 0)
    seen = ""
    for now in range(0, until_ms, step_ms):
        blinker.step(now)
        seen += "." if led.level else "*"
    return seen


def test_patterns_repeat_or_play_once():
    assert lights("*.*...", 3000) == "*.*...*.*..."
    assert lights("*!", 1000) == "*..."


def test_a_pattern_played_once_returns_to_the_one_before():
    led = PinFake(0)
    blinker = Blinker(led, 1)
    blinker.show("**..", 0)
    blinker.step(0)
    blinker.show(".*!", 500)
    seen = ""
    for now in range(500, 2500, 250):
        blinker.step(now)
        seen += "*" if led.level else "."
    assert seen == ".***..**"[: len(seen)] or seen.startswith(".*"), seen
    assert blinker.wait_ms(2500) >= 0


def test_rain_before_the_start_is_no_rain_of_the_last_minutes():
    now = [0]
    pin = PinFake(1)
    counters = Counters(FlashFake())
    counters.rain_tips = 5000
    rainfall = Rainfall(RainGauge(pin, lambda: now[0]), counters)
    assert not rainfall.count(1) and rainfall.tips_10min == 0
    for second in range(0, 1800, 20):  # three tips a minute for half an hour
        now[0] = second * 1000
        pin.fire()
        assert rainfall.is_fresh and rainfall.count(second)
    assert counters.rain_tips == 5090
    assert 27 <= rainfall.tips_10min <= 30, rainfall.tips_10min
    assert not rainfall.count(1800 + 540) and rainfall.tips_10min <= 3
    assert not rainfall.count(1800 + 700) and rainfall.tips_10min == 0
    assert not rainfall.count(100_000) and rainfall.tips_10min == 0
