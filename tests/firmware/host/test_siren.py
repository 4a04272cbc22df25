"""The siren's real firmware in MicroPython: bounded, authenticated, and honest about it."""

from pathlib import Path

from protocols.payload import command as cmd
from protocols.payload.command import encode_command
from protocols.payload.event import EVENT_SIREN, SIREN_BY_COMMAND, SIREN_BY_FLOAT
from tests.firmware.host.world import World, running


class Siren(World):
    """Notes when the output was high."""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp, role="siren", settings={"siren_max_s": 60, "status_s": 3600})
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
    with running(Siren(tmp_path)) as world:
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
    with running(Siren(tmp_path)) as world:
        world.run(60)
        late = world.network.now_s + 300
        world.now(cmd.CMD_SIREN, 1, {"pattern": 7, "duration_s": 50, "expires_time_s": late})
        world.run(5)
        world.now(cmd.CMD_SILENCE, 2, {"expires_time_s": late})
        world.run(2)
        assert world.is_quiet and world.seconds < 7


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
        assert not world.is_quiet
        world.network.deaf = False
        world.run(400)
        assert world.events and world.events[0]["cause"] == SIREN_BY_FLOAT
