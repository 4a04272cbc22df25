"""A fault is told by its cause, once, and survives a restart; health makes no noise."""

import json
import random
from functools import cache

import pytest

from gateway.model import HISTORY, LIVE, Link, Reading
from gateway.rules.devices.causes import CAUSES
from gateway.rules.devices.diagnosis import Change, Diagnosis, Equipment
from protocols.payload import event as ev
from protocols.payload import status as st
from tests.gateway.samples import START_MS

MINUTE = 60_000
NAMES = ("a", "b", "c", "d")


def diagnosis(*, wired: bool = False) -> Diagnosis:
    found = [Equipment(name, "lora", 180) for name in NAMES]
    if wired:
        found = [Equipment(name, "modbus", 60, "bus") for name in NAMES]
    return Diagnosis(found, "site", START_MS)


def frame(
    device: str,
    at_ms: int,
    stream: str = "flood",
    *,
    rssi: int = -95,
    snr: int = 8,
    age_ms: int = 0,
    **values: int,
) -> Reading:
    return Reading(
        device=device,
        stream=stream,
        sequence=at_ms // 1000,
        time_ms=at_ms - age_ms,
        time_source="network",
        values=values,
        received_ms=at_ms,
        origin=LIVE,
        link=Link(rssi_dbm=rssi, snr_cb=10 * snr, data_rate=3),
    )


class Site:
    """Healthy devices that speak every three minutes, unless `quiet` or told otherwise."""

    def __init__(self) -> None:
        self.rules = diagnosis()
        self.ms = START_MS
        self.quiet: set[str] = set()
        self.rssi: dict[str, int] = dict.fromkeys(NAMES, -95)
        self.snr: dict[str, int] = dict.fromkeys(NAMES, 8)
        self.extra: dict[str, dict[str, int]] = {name: {} for name in NAMES}
        self.level = 300
        self.told: list[Change] = []
        self.rng = random.Random(4)

    def run(self, minutes: float) -> list[Change]:
        """The changes of so many minutes."""
        found: list[Change] = []
        for _ in range(round(minutes * 2)):
            self.ms += 30_000
            if self.ms % (3 * MINUTE) == START_MS % (3 * MINUTE):
                for name in NAMES:
                    if name not in self.quiet:
                        level = self.level + self.rng.randrange(-2, 3)
                        self.rules.feed(frame(
                            name, self.ms, rssi=self.rssi[name], snr=self.snr[name],
                            level_mm=level, stage=0, **self.extra[name],
                        ))  # fmt: skip
            found += self.rules.check(self.ms)
        self.told += found
        return found

    def say(self, device: str, stream: str, **values: int) -> None:
        self.rules.feed(frame(device, self.ms, stream, **values))


def opened(changes: list[Change]) -> list[tuple[str, str]]:
    return [(one.device, one.cause) for one in changes if one.is_open]


def test_every_cause_says_what_and_what_to_bring_in_both_languages() -> None:
    assert len(CAUSES) >= 30
    for cause in CAUSES.values():
        texts = (cause.what_id, cause.what_en, cause.bring_id, cause.bring_en)
        assert all(len(text) > 8 for text in texts), cause.code
        assert cause.what_id != cause.what_en and cause.level in (1, 2)


def test_health_is_silent_for_a_day() -> None:
    site = Site()
    assert site.run(24 * 60) == []


def test_a_dead_device_is_told_within_a_quarter_of_an_hour_and_closed_when_it_is_back() -> None:
    site = Site()
    site.run(60)
    site.quiet = {"a"}
    assert opened(site.run(15.5)) == [("a", "unheard")]
    assert site.run(600) == []
    site.quiet = set()
    (over,) = site.run(40)
    assert (over.cause, over.is_open) == ("unheard", False)


def test_one_lost_frame_is_no_death() -> None:
    site = Site()
    site.run(60)
    for _ in range(20):
        site.quiet = {"a"}
        assert site.run(6) == []
        site.quiet = set()
        assert site.run(9) == []


def test_the_last_word_tells_theft_from_death() -> None:
    site = Site()
    site.run(60)
    site.say("a", "event", kind=ev.EVENT_LAST_GASP, battery_mv=3900)
    site.say("b", "event", kind=ev.EVENT_TAMPER, cause=ev.TAMPER_MOVED)
    site.extra["c"] = {"battery_mv": 3400}
    site.run(9)
    site.quiet = {"a", "b", "c"}
    found = opened(site.run(16))
    assert ("a", "battery_stolen") in found and ("b", "stolen") in found
    assert ("c", "battery_flat") in found
    still = {(one.device, one.cause) for one in site.rules.open}
    assert still == {("a", "battery_stolen"), ("b", "stolen"), ("c", "battery_flat")}


def test_mains_gone_is_told_while_the_device_lives_on() -> None:
    site = Site()
    site.run(60)
    site.say("a", "event", kind=ev.EVENT_LAST_GASP, battery_mv=3900)
    site.say("a", "status", faults=st.FAULT_SUPPLY)
    assert opened(site.run(1)) == [("a", "supply_lost")]


def test_nobody_heard_is_one_ticket_for_the_gateway() -> None:
    site = Site()
    site.run(60)
    site.quiet = set(NAMES)
    assert opened(site.run(60)) == [("site", "gateway_radio")]


def test_weak_together_is_the_gateway_weak_alone_is_the_device() -> None:
    site = Site()
    site.run(90)
    site.rssi["a"], site.snr["a"] = -113, -4
    assert opened(site.run(15)) == [("a", "antenna_lost")]
    site = Site()
    site.run(90)
    site.rssi, site.snr = dict.fromkeys(NAMES, -109), dict.fromkeys(NAMES, 0)
    assert opened(site.run(15)) == [("site", "gateway_antenna")]
    site = Site()
    site.run(90)
    site.snr = dict.fromkeys(NAMES, -4)
    assert opened(site.run(15)) == [("site", "channel_jammed")]


def test_a_weak_antenna_stays_told_until_it_is_mended() -> None:
    site = Site()
    site.run(90)
    site.rssi["a"], site.snr["a"] = -113, -4
    site.run(15)
    assert site.run(20 * 60) == []  # a bad signal does not become the usual one
    site.rssi["a"], site.snr["a"] = -95, 8
    assert [one.is_open for one in site.run(60)] == [False]


def test_a_true_step_of_water_is_no_branch() -> None:
    """A gate opens upstream: the level jumps and stays, and the echo is as good as before."""
    site = Site()
    for name in NAMES:
        site.extra[name] = {"sensor_snr_db": 42}
    site.run(90)
    site.level = 800
    assert site.run(60) == []


def test_a_branch_takes_the_echo_with_it() -> None:
    site = Site()
    site.extra["a"] = {"sensor_snr_db": 42}
    site.run(90)
    site.level = 1300
    site.extra["a"] = {"sensor_snr_db": 25}
    assert ("a", "beam_blocked") in opened(site.run(30))


def test_setting_the_wall_clock_silences_nobody() -> None:
    site = Site()
    site.run(60)
    site.ms += 40 * 60 * MINUTE
    site.rules.moved_clock(40 * 60 * MINUTE)
    assert site.run(30) == []


def test_a_fault_that_flaps_makes_few_tickets() -> None:
    site = Site()
    site.run(60)
    for i in range(60):  # two and a half days
        faults = st.FAULT_STORE if i % 2 == 0 else 0
        site.say("a", "status", faults=faults)
        site.run(60)
    assert len(opened(site.told)) <= 8


@cache
def story(restart_at: int) -> list[tuple[str, str, bool]]:
    """A sensor fails, a device dies, both come back; with a restart at a step."""
    site = Site()
    site.run(60)
    for step in range(100):
        if step == restart_at:
            state = json.loads(json.dumps(site.rules.to_state()))
            site.rules = diagnosis()
            site.rules.restore(state)
        if step == 5:
            site.say("b", "status", faults=st.FAULT_SENSOR)
        if step == 20:
            site.quiet = {"a"}
        if step == 60:
            site.quiet = set()
            site.say("b", "status", faults=0)
        site.run(1.5)
    site.run(40)
    return [(one.device, one.cause, one.is_open) for one in site.told]


@pytest.mark.parametrize("cut", [0, 5, 6, 21, 30, 31, 60, 61, 80])
def test_a_restart_at_any_moment_changes_nothing(cut: int) -> None:
    assert story(cut) == story(-1) != []


def test_history_does_not_count_as_being_heard_anew() -> None:
    rules = diagnosis()
    one = frame("a", START_MS, level_mm=3)
    rules.feed(one)
    old = Reading(**{n: getattr(one, n) for n in Reading.__slots__} | {"origin": HISTORY})
    rules.feed(old)
    assert rules.memories["a"].frames == 1


# Wires and the gateway itself


def wired(*faults: tuple[str, str, str], minutes: int = 10) -> list[tuple[str, str]]:
    rules = diagnosis(wired=True)
    found: list[Change] = []
    for i in range(2 * minutes):
        at = START_MS + 30_000 * (i + 1)
        for name in NAMES:
            if ("modbus.silent", name) not in {f[:2] for f in faults}:
                rules.feed(frame(name, at, "geolux_lx80", level_mm=300 + i % 3, snr_db=40))
        rules.agent_faults(faults, at)
        found += rules.check(at)
    return opened(found)


@pytest.mark.parametrize(
    ("detail", "cause"),
    [
        ("timeout", "sensor_cable_cut"),
        ("noise", "wrong_parity"),
        ("identity: register 0 holds [9], not 2: this is no urm14", "sensor_swapped"),
    ],
)
def test_one_wire(detail: str, cause: str) -> None:
    assert wired(("modbus.silent", "b", detail), minutes=14) == [("b", cause)]


def test_all_wires_of_a_bus_are_one_ticket() -> None:
    faults = [("modbus.silent", name, "timeout") for name in NAMES]
    assert wired(*faults, minutes=30) == [("site", "bus_cut")]


@pytest.mark.parametrize(
    ("code", "cause", "minutes"),
    [
        ("ledger.disk", "gateway_disk", 1),
        ("ledger.broken", "gateway_card_worn", 1),
        ("clock.unset", "gateway_clock", 3),
        ("mqtt.offline", "gateway_backhaul", 7),
        ("part.failing", "gateway_part", 7),
    ],
)
def test_the_gateway_tells_its_own_faults(code: str, cause: str, minutes: int) -> None:
    assert wired((code, "x", "detail"), minutes=minutes) == [("site", cause)]


def test_a_short_loss_of_the_broker_is_no_ticket() -> None:
    assert wired(("mqtt.offline", "mqtt", "refused"), minutes=4) == []


@pytest.mark.parametrize(
    ("proof", "current", "cause"),
    [
        (ev.PROOF_FAILED, 10, "siren_dead"),
        (ev.PROOF_FAILED, 150, "siren_amplifier"),
        (ev.PROOF_CURRENT, 700, "siren_amplifier"),
        (ev.PROOF_CURRENT, 2000, "siren_muffled"),
        (ev.PROOF_BOTH, 1950, None),
    ],
)
def test_what_a_siren_says_of_its_sound(proof: int, current: int, cause: str | None) -> None:
    site = Site()
    site.run(30)
    for i in range(3):
        site.say("d", "event", kind=ev.EVENT_SIREN, proof=ev.PROOF_BOTH, current_ma=2000 + i)
        site.run(1)
    site.say("d", "event", kind=ev.EVENT_SIREN, proof=proof, current_ma=current)
    assert opened(site.run(2)) == ([("d", cause)] if cause else [])


def test_a_battery_that_crosses_the_limit_each_day_is_one_ticket() -> None:
    site = Site()
    site.run(60)
    for hour in range(72):
        site.extra["a"] = {"battery_mv": 3400 if hour % 24 < 12 else 3500}
        site.run(60)
    assert opened(site.told) == [("a", "battery_low")]


def test_a_van_that_drives_away_from_under_the_sensor_has_not_tilted_it() -> None:
    """Seen on a street sensor: 392 mm, 1,637 mm for a while, and back."""
    site = Site()
    site.extra = {name: {"sensor_snr_db": 42} for name in NAMES}
    site.run(90)
    for _ in range(2):
        site.level, site.extra["a"] = 1600, {"sensor_snr_db": 25}
        site.run(40)
        site.level, site.extra["a"] = 300, {"sensor_snr_db": 42}
        site.run(60)
    assert ("a", "tilted") not in opened(site.told)


def test_a_mount_that_was_knocked_is_told() -> None:
    site = Site()
    site.run(90)
    site.level = 60
    found = opened(site.run(20))
    assert ("a", "tilted") in found
