"""The siren's real firmware in MicroPython: bounded, authenticated, and honest about it."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from protocols.payload import command as cmd
from protocols.payload.command import encode_command
from protocols.payload.event import (
    EVENT_SIREN,
    PROOF_CURRENT,
    PROOF_FAILED,
    SIREN_BY_COMMAND,
    SIREN_BY_FLOAT,
    SIREN_BY_SELF_TEST,
)
from protocols.payload.status import FAULT_SIREN
from tests.firmware.host.world import EPOCH_S, World, running


class Siren(World):
    """Notes when the output was high."""

    def __init__(self, tmp_path: Path, **settings: object) -> None:
        common: dict[str, object] = {"siren_max_s": 60, "status_s": 3600}
        super().__init__(tmp_path, role="siren", settings=common | settings)
        self.seconds = 0.0
        self._on_s: float | None = None
        self.node.board.watch(self.node.pins["siren"], self._changed)

    def _changed(self, level: int) -> None:
        if level:
            self._on_s = self.now_s
        elif self._on_s is not None:
            self.seconds += self.now_s - self._on_s
            self._on_s = None

    @property
    def is_quiet(self) -> bool:
        return self._on_s is None

    def now(self, kind: int, number: int, values: dict[str, int]) -> None:
        self.network.send_now(encode_command(kind, number, values))


def test_a_command_sounds_within_a_second_and_ends_by_itself(tmp_path: Path) -> None:
    world = Siren(tmp_path)
    with running(world):
        world.run(60)
        soon = world.network.now_s + 30
        world.now(cmd.CMD_SIREN, 1, {"pattern": 7, "duration_s": 20, "expires_time_s": soon})
        world.run(1)
        assert not world.is_quiet
        world.run(40)
        assert world.is_quiet and 19 < world.seconds < 21
        event = world.events[-1]
        assert (event["kind"], event["cause"], event["duration_s"]) == (
            EVENT_SIREN,
            SIREN_BY_COMMAND,
            20,
        )
        # The same number again, an expired one, and one that asks for too long.
        world.now(cmd.CMD_SIREN, 1, {"pattern": 7, "duration_s": 20, "expires_time_s": soon + 90})
        world.run(5)
        world.now(cmd.CMD_SIREN, 2, {"pattern": 7, "duration_s": 20, "expires_time_s": soon - 60})
        world.run(5)
        assert world.is_quiet
        late = world.network.now_s + 300
        world.now(cmd.CMD_SIREN, 3, {"pattern": 7, "duration_s": 600, "expires_time_s": late})
        world.run(5)
        assert not world.is_quiet
        world.run(70)
        assert world.is_quiet and 79 < world.seconds < 81
        results = [(a["number"], a["result"]) for a in world.answers]
        assert results == [(1, cmd.DONE), (1, cmd.REPEATED), (2, cmd.EXPIRED), (3, cmd.DONE)]


def test_silence_ends_it(tmp_path: Path) -> None:
    world = Siren(tmp_path)
    with running(world):
        world.run(60)
        late = world.network.now_s + 300
        world.now(cmd.CMD_SIREN, 1, {"pattern": 7, "duration_s": 50, "expires_time_s": late})
        world.run(9)
        assert not world.is_quiet
        world.now(cmd.CMD_SILENCE, 2, {"expires_time_s": late})
        world.run(2)
        assert world.is_quiet and world.seconds < 11


def test_a_wet_float_sounds_once_without_any_network(tmp_path: Path) -> None:
    world = Siren(tmp_path)
    world.network.deaf = True
    with running(world):
        world.run(30)
        world.node.wet_float(True)
        world.run(2)
        assert not world.is_quiet
        world.run(100)
        assert world.is_quiet and world.seconds > 50, "bounded though the switch stays wet"
        sounded = world.seconds
        world.run(200)
        assert world.seconds == sounded
        world.node.wet_float(False)
        world.run(5)
        world.node.wet_float(True)
        world.run(5)
        assert world.is_quiet, "a wave: it was not dry for a minute"
        world.node.wet_float(False)
        world.run(70)
        world.node.wet_float(True)
        world.run(5)
        assert not world.is_quiet
        world.network.deaf = False
        world.run(400)
        assert world.events and world.events[0]["cause"] == SIREN_BY_FLOAT


def sounded(world: Siren) -> float:
    """Seconds of tone that people heard, by the amplifier's own account."""
    assert world.node.siren is not None
    return world.node.siren.heard_s()


def order(world: Siren, number: int, pattern: int, seconds: int = 20) -> None:
    late = world.network.now_s + 300
    values = {"pattern": pattern, "duration_s": seconds, "expires_time_s": late}
    world.now(cmd.CMD_SIREN, number, values)


def proofs(world: World) -> list[tuple[int | None, int | None]]:
    """(command number, proof) of every siren event, as they came."""
    siren = [event for event in world.events if event["kind"] == EVENT_SIREN]
    return [(event["command_number"], event["proof"]) for event in siren]


def test_the_proof_comes_within_seconds_and_again_at_the_end(tmp_path: Path) -> None:
    world = Siren(tmp_path, siren_ma=4000)
    with running(world):
        world.run(60)
        order(world, 1, 3, 40)
        world.run(8)
        first = world.events[-1]
        assert (first["command_number"], first["proof"], first["duration_s"]) == (
            1,
            PROOF_CURRENT,
            0,
        )
        assert 3900 < (first["current_ma"] or 0) < 4300
        world.run(60)
        assert world.events[-1]["duration_s"] == 40
        assert proofs(world) == [(1, PROOF_CURRENT), (1, PROOF_CURRENT)]
        assert 37 < sounded(world) <= 40


@pytest.mark.parametrize("fault", ["dead", "cut", "blown", "stuck"])
def test_a_siren_that_fails_says_so_at_once(tmp_path: Path, fault: str) -> None:
    world = Siren(tmp_path, siren_ma=4000)
    with running(world):
        assert world.node.siren is not None
        world.run(100)
        world.node.siren.set_fault(fault)
        order(world, 1, 2, 60)
        world.run(10)
        assert proofs(world)[:1] == [(1, PROOF_FAILED)]
        world.run(10)
        assert int(str(world.status["faults"])) & FAULT_SIREN, "a status frame at once"


def test_an_amplifier_that_dies_in_the_middle_is_found(tmp_path: Path) -> None:
    world = Siren(tmp_path)
    with running(world):
        assert world.node.siren is not None
        world.run(60)
        order(world, 1, 1, 60)
        world.run(10)
        world.node.siren.set_fault("dead")
        world.run(30)
        assert proofs(world) == [(1, PROOF_CURRENT), (1, PROOF_FAILED)]


def test_asked_again_it_proves_again_and_makes_no_more_noise(tmp_path: Path) -> None:
    world = Siren(tmp_path)
    with running(world):
        world.run(60)
        order(world, 1, 2, 20)
        world.run(10)
        order(world, 2, 2, 20)  # under way: our event may have been lost
        world.run(30)
        assert world.is_quiet
        heard = sounded(world)
        order(world, 3, 2, 20)  # over
        world.run(10)
        order(world, 4, 1, 20)  # lower
        world.run(30)
        assert sounded(world) == heard, "a stage's pattern is not repeated"
        told = proofs(world)
        assert (2, PROOF_CURRENT) in told and (3, PROOF_CURRENT) in told
        order(world, 5, 3, 20)  # a further rise
        world.run(10)
        assert not world.is_quiet


def test_no_command_sounds_twice_though_the_power_went(tmp_path: Path) -> None:
    world = Siren(tmp_path)
    with running(world):
        world.run(60)
        order(world, 7, 3, 10)
        world.run(30)
        world.power_cycle()
        world.run(60)
        heard = sounded(world)
        order(world, 7, 3, 10)
        world.run(10)
        order(world, 6, 3, 10)
        world.run(15)
        assert sounded(world) == heard
        assert [answer["result"] for answer in world.answers][-2:] == [cmd.REPEATED, cmd.REPEATED]


@pytest.mark.parametrize(("fault", "expected"), [("", PROOF_CURRENT), ("cut", PROOF_FAILED)])
def test_the_weekly_test_is_silent_and_finds_a_cut_cable(
    tmp_path: Path, fault: str, expected: int
) -> None:
    # The run starts at 21:46 local time.
    world = Siren(tmp_path, siren_test_hour=21, siren_test_ma=350, siren_audible_day=0)
    with running(world):
        assert world.node.siren is not None
        world.node.siren.set_fault(fault)
        world.run(120)
        assert world.node.siren.tests == 1
        event = world.events[-1]
        assert (event["cause"], event["duration_s"]) == (SIREN_BY_SELF_TEST, 0)
        assert event["proof"] == expected
        assert world.seconds == 0.0 and sounded(world) == 0.0
        world.power_cycle()
        world.run(120)
        assert world.node.siren.tests == 1, "not again after a restart"


def test_the_monthly_test_is_short_and_at_its_hour(tmp_path: Path) -> None:
    started = datetime.fromtimestamp(EPOCH_S + 1_577_836_800, timezone(timedelta(hours=8)))
    world = Siren(tmp_path, siren_test_hour=started.hour, siren_audible_day=started.day)
    with running(world):
        world.run(120)
        assert 1.9 < sounded(world) < 3.1
        assert proofs(world)[-1] == (0, PROOF_CURRENT)
