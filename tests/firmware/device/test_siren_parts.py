"""The siren's judgement: what counts as sound, and when it tests itself."""

from firmware.apps.siren_plan import AUDIBLE, NOTHING, SILENT, CheckPlan, day_of_month
from firmware.apps.siren_proof import DEAD, GOOD, SHORTED, WEAK, Signature, judge_test, judge_tone
from protocols.payload.event import PROOF_CURRENT, PROOF_FAILED, PROOF_NONE
from tests.firmware.device.fakes import FlashFake

DAY = 86_400


class SettingsFake:
    def __init__(self, hour=10, every=7, audible=26, offset=480):
        self.values = {
            "siren_test_hour": hour,
            "siren_silent_days": every,
            "siren_audible_day": audible,
            "utc_offset_min": offset,
        }

    def integer(self, key):
        return self.values[key]


class FilesFake(FlashFake):
    def remove(self, name):
        self.data.pop(name, None)


def proof(usual, idle, tones, pauses):
    signature = Signature(usual)
    signature.start(idle)
    for tone in tones:
        signature.tone(tone)
    for pause in pauses:
        signature.pause(pause)
    return signature.proof


def test_proof_needs_current_that_follows_the_output():
    assert proof(0, 0, [], []) == PROOF_NONE
    assert proof(0, 0, [4100], []) == PROOF_CURRENT
    assert proof(0, 5, [4100, 4050], [8, 3]) == PROOF_CURRENT
    assert proof(0, 0, [4], []) == PROOF_FAILED, "a dead amplifier"
    assert proof(0, 0, [120], []) == PROOF_FAILED, "a cut cable: the amplifier idles"
    assert proof(0, 4100, [4100], []) == PROOF_FAILED, "it draws before it is asked to"
    assert proof(0, 0, [4100, 4100], [4100, 4100]) == PROOF_FAILED, "it does not fall silent"


def test_one_bad_tone_in_four_is_forgiven_more_are_not():
    assert proof(0, 0, [4000, 10, 4000, 4000], []) == PROOF_CURRENT
    assert proof(0, 0, [4000, 10, 10, 4000, 4000, 4000], []) == PROOF_FAILED
    assert proof(0, 0, [4000] * 4, [0, 900, 0, 0]) == PROOF_CURRENT


def test_half_the_current_is_a_fault_and_a_weak_battery_is_none():
    assert judge_tone(4000, 4000) == GOOD
    assert judge_tone(4000 * 105 // 126, 4000) == GOOD, "10.5 V instead of 12.6"
    assert judge_tone(2000, 4000) == WEAK
    assert judge_tone(2000, 0) == GOOD, "unknown what is usual"
    assert judge_tone(8000, 4000) == SHORTED
    assert judge_tone(199, 0) == DEAD
    assert judge_test(120, 0) == GOOD
    assert judge_test(99, 0) == DEAD
    assert judge_test(350, 470) == GOOD
    assert judge_test(295, 470) == WEAK, "one driver of two"


def test_a_new_sounding_starts_afresh():
    signature = Signature(0)
    signature.start(4000)
    signature.tone(4000)
    assert signature.proof == PROOF_FAILED
    signature.start(0)
    assert signature.proof == PROOF_NONE and signature.best_ma == -1


def test_days_of_the_month():
    # From the calendar: 2020-01-01, leap day 2020, 2026-11-25, 2028-02-29 and 03-01, 2053-12-31.
    for day, expected in ((0, 1), (59, 29), (60, 1), (2520, 25), (2981, 29), (2982, 1)):
        assert day_of_month(day) == expected, day
    assert day_of_month(12_418) == 31


def test_a_month_has_one_audible_test_and_silent_ones_each_week():
    files = FilesFake()
    plan = CheckPlan(files, SettingsFake())
    silent, audible = [], []
    time_s = 2496 * DAY  # 2026-11-01
    for _ in range(61 * 24 * 4):
        what = plan.due(time_s)
        if what != NOTHING:
            plan.done(what, time_s)
            local_s = time_s + 480 * 60
            assert local_s % DAY // 3600 == 10, "in the hour that was set, local time"
            (silent if what == SILENT else audible).append(local_s // DAY)
            plan = CheckPlan(files, SettingsFake())  # a restart within that hour
            assert plan.due(time_s + 60) == NOTHING
        time_s += 900
    assert [day_of_month(day) for day in audible] == [26, 26]
    both = sorted(silent + audible)
    gaps = [b - a for a, b in zip(both, both[1:])]
    assert max(gaps) <= 7 and min(gaps) >= 1 and len(silent) >= 6


def test_tests_can_be_switched_off_and_a_clock_that_went_back_does_not_stop_them():
    none = CheckPlan(FilesFake(), SettingsFake(every=0, audible=0))
    assert [none.due(hour * 3600) for hour in range(24 * 40)] == [NOTHING] * (24 * 40)
    plan = CheckPlan(FilesFake(), SettingsFake(offset=0, audible=0))
    plan.done(SILENT, 9000 * DAY)
    assert plan.due(2500 * DAY + 10 * 3600) == SILENT
    assert CheckPlan(FilesFake(), SettingsFake(offset=0)).due(25 * DAY + 36_000) == AUDIBLE
