"""The tracker's real firmware in MicroPython: the error contract, the call for help, fences."""

import math
from pathlib import Path

from protocols.payload import command as cmd
from protocols.payload import ports
from protocols.payload.event import EVENT_GEOFENCE, EVENT_MOB, EVENT_SOS, EVENT_SOS_CANCEL
from protocols.payload.reckon import distance_m, predict_into
from protocols.payload.track import STATE_ANCHORED, STATE_MOB, STATE_SOS, STATE_UNDER_WAY
from sim.chips.gnss import Fix
from tests.firmware.host.world import World, running

ERROR_M = 100
# What a fix can age before it is on the air (slot of 10 s and the radio), times 4 m/s.
LATENESS_M = 60


class Course:
    """Straight legs, then still: (duration s, course, m/s); asks the world for the time."""

    def __init__(self, *legs: tuple[float, float, float]) -> None:
        self.world: World | None = None
        self._legs = legs

    def __call__(self) -> Fix:
        assert self.world
        return self.at(self.world.now_s)

    def at(self, now_s: float) -> Fix:
        north = east = 0.0
        left = now_s
        for duration, course, speed in self._legs:
            part = min(left, duration)
            north += part * speed * math.cos(math.radians(course))
            east += part * speed * math.sin(math.radians(course))
            left -= part
            if left <= 0:
                return self._fix(north, east, speed, course)
        return self._fix(north, east, 0.0, 0.0)

    @staticmethod
    def _fix(north: float, east: float, speed: float, course: float) -> Fix:
        lat = -8.75 + north / 111_320
        lon = 115.22 + east / (111_320 * math.cos(math.radians(8.75)))
        return Fix(lat=lat, lon=lon, speed_mps=speed, course_deg=course)


def tracker(tmp: Path, course: Course, **settings: object) -> World:
    world = World(tmp, role="tracker", where=course, settings={"error_m": ERROR_M} | settings)
    course.world = world
    return world


def test_the_map_is_never_wrong_by_more_than_promised(tmp_path: Path) -> None:
    """At every second the shore's prediction is compared with the truth."""
    legs = ((300, 60, 4), (200, 100, 3), (120, 200, 5), (400, 210, 2.5), (300, 0, 4))
    course = Course(*legs)
    with running(tracker(tmp_path, course)) as world:
        world.run(60)
        assert world.track
        worst = 0
        out = [0, 0]
        for _ in range(1250):
            world.run(1)
            fix = world.track[-1].fixes[0]
            now_s = world.network.now_s
            moving = fix.sog_dkn if fix.cog_deg is not None else 0
            predict_into(
                out, fix.lat_e5, fix.lon_e5, moving or 0, fix.cog_deg or 0, now_s - fix.time_s
            )
            true = course()
            lat, lon = round(true.lat * 1e5), round(true.lon * 1e5)
            worst = max(worst, distance_m(lat, lon, out[0], out[1]))
        assert worst <= ERROR_M + LATENESS_M, worst
        # And it is frugal: a fix a minute would be twenty-one.
        assert len(world.track) <= 16, len(world.track)


def test_history_fills_what_an_outage_lost_and_a_gap_request_the_rest(tmp_path: Path) -> None:
    course = Course((3000, 45, 3))
    with running(tracker(tmp_path, course, heartbeat_s=120, frame_bytes=11)) as world:
        world.run(200)
        world.network.deaf = True
        world.run(900)
        world.network.deaf = False
        world.run(300)
        newest = max(world.fixes)
        missing = [n for n in range(newest) if n not in world.fixes]
        assert missing
        count = missing[-1] - missing[0] + 1
        world.command(cmd.CMD_GAP, {"first_sequence": missing[0], "count": count})
        world.run(800)  # one or two fixes in eleven bytes
        assert not [n for n in range(newest) if n not in world.fixes]
        for fix in world.fixes.values():
            true = course.at(fix.time_s - world.network.epoch_s)
            lat, lon = round(true.lat * 1e5), round(true.lon * 1e5)
            assert distance_m(fix.lat_e5, fix.lon_e5, lat, lon) <= 20, fix.sequence


def test_a_call_for_help_climbs_step_by_step(tmp_path: Path) -> None:
    with running(tracker(tmp_path, Course((4000, 45, 3)))) as world:
        world.run(580)  # the lights of a start go out in the middle of it, at ten minutes
        buzzer = world.node.pins["buzzer"]
        sounded: list[float] = []
        world.node.board.watch(buzzer, lambda level: sounded.append(world.now_s) if level else None)
        world.network.mute = True  # it is heard, and nobody can answer
        world.node.press_sos(4)
        world.run(20)
        assert {e["kind"] for e in world.events} == {EVENT_SOS}
        assert len({e["number"] for e in world.events}) == 1, "repeated, not pressed again"
        assert world.events[0]["is_drill"] == 0 and world.events[0]["lat_e5"] is not None
        assert len(sounded) >= 9, "S O S is heard on board at once"
        world.network.mute = False
        world.run(120)
        assert world.track[-1].state == STATE_SOS
        number = world.events[0]["number"]
        assert number is not None
        for step in (cmd.SOS_STEP_STORED, cmd.SOS_STEP_ACCEPTED, cmd.SOS_STEP_SEEN):
            world.command(cmd.CMD_SOS_STEP, {"event_number": number, "step": step})
        world.run(260)
        assert [a["result"] for a in world.answers] == [cmd.DONE] * 3
        # The last pattern sounds once in two seconds.
        sounded.clear()
        world.run(20)
        assert 8 <= len(sounded) <= 12, len(sounded)
        # Reports come every minute now, whatever the contract says.
        recent = [t for t in world.track_times if t > world.now_s - 300]
        assert len(recent) >= 4
        world.node.press_sos(8)
        world.run(60)
        assert world.events[-1]["kind"] == EVENT_SOS_CANCEL
        world.run(200)
        assert world.track[-1].state == STATE_UNDER_WAY


def test_a_call_is_repeated_through_an_outage(tmp_path: Path) -> None:
    with running(tracker(tmp_path, Course((4000, 45, 3)))) as world:
        world.run(120)
        world.network.deaf = True
        world.node.press_sos(4)
        world.run(700)
        assert not world.events
        world.network.deaf = False
        world.run(400)
        assert world.events and world.events[0]["kind"] == EVENT_SOS


def test_a_short_press_is_no_call(tmp_path: Path) -> None:
    with running(tracker(tmp_path, Course((4000, 45, 3)))) as world:
        world.run(60)
        world.node.press_sos(1.5)
        world.run(60)
        assert not world.events


def test_a_jacket_in_the_water_calls_by_itself(tmp_path: Path) -> None:
    with running(
        tracker(tmp_path, Course((4000, 45, 1)), profile="jacket", heartbeat_s=60)
    ) as world:
        world.run(100)
        world.command(cmd.CMD_DRILL, {"until_time_s": world.network.now_s + 3000})
        world.run(150)
        world.node.wet_float(True)
        world.run(60)
        assert [(e["kind"], e["is_drill"]) for e in world.events] == [(EVENT_MOB, 1)]
        assert world.track[-1].state == STATE_MOB and world.track[-1].is_drill


def test_a_fence_is_told_when_crossed(tmp_path: Path) -> None:
    course = Course((60, 90, 0), (400, 90, 4))
    with running(tracker(tmp_path, course, heartbeat_s=60)) as world:
        world.run(70)
        fence = {"fence": 3, "lat_e5": -875_000, "lon_e5": 11_522_000, "radius_m": 500}
        world.command(cmd.CMD_GEOFENCE, fence | {"is_forbidden": 0})
        world.run(400)
        assert [(e["kind"], e["fence"], e["is_inside"]) for e in world.events] == [
            (EVENT_GEOFENCE, 3, 0)
        ]
        assert world.answers[0]["result"] == cmd.DONE


def test_a_boat_at_rest_says_so_and_keeps_quiet(tmp_path: Path) -> None:
    with running(tracker(tmp_path, Course((100, 90, 4)))) as world:
        world.run(900)
        assert world.track[-1].state == STATE_ANCHORED
        count = len(world.network.of(ports.PORT_TRACK))
        world.run(1000)
        assert len(world.network.of(ports.PORT_TRACK)) - count <= 2
