"""One wave is no stage, two heights at once are no water, and neither holds back a rise."""

import random
from dataclasses import replace

from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.stages import Site, StageRule
from gateway.rules.vote import Vote
from tests.gateway.samples import START_MS, reading

STAGES = Stages(waspada_mm=500, siaga_mm=1160, awas_mm=2660)
LATER = START_MS + 10**10


def stages_of(levels: list[int], stages: Stages = STAGES) -> list[tuple[int, int]]:
    """(number of the reading, level) of each alarm; a reading a minute."""
    rule = StageRule("a", stages, AlarmSettings(), Site())
    found: list[tuple[int, int]] = []
    for number, level in enumerate(levels):
        one = reading(number, level, device="a", stream="radar", at_s=60 * number)
        alarm = rule.feed(one, LATER)
        if alarm is not None:
            found.append((number, alarm.level))
    return found


def test_the_crest_of_one_wave_raises_nothing_and_the_next_reading_of_a_rise_does() -> None:
    dice = random.Random(3)
    sea = [400 + 50 * (-1) ** n + dice.randrange(-20, 20) for n in range(40)]
    assert stages_of([*sea, 505, 400, 440, 390]) == []
    assert stages_of([*sea, 505, 510, 515]) == [(41, 1)]
    # A jump that several readings agreed on waits for no other.
    assert stages_of([*sea, 700, 705, 710]) == [(42, 1)]


def test_calm_water_counts_at_the_very_reading_that_crosses() -> None:
    calm = [480 + n % 3 for n in range(40)]
    assert stages_of([*calm, 501]) == [(40, 1)]


def test_heights_that_exclude_each_other_make_a_sensor_rave_before_it_agrees_by_chance() -> None:
    vote = Vote()
    for number in range(20):
        vote.feed(START_MS + 60_000 * number, 60)
    for number, level in enumerate((3000, 900, 2400, 1500), 20):
        assert vote.feed(START_MS + 60_000 * number, level) is None
    assert vote.is_raving(START_MS + 60_000 * 24)
    three = [vote.feed(START_MS + 60_000 * number, 1500) for number in range(24, 27)]
    assert three == [None, None, None]


def test_a_faster_river_can_be_told() -> None:
    steps = [60, 60, 60, 700, 1500, 2300, 3100]
    assert stages_of(steps) == []
    assert stages_of(steps, replace(STAGES, steep_mm_min=1000))[-1][1] == 3
