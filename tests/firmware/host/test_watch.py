"""In alarm mode near a threshold a crossing is seen within a second or two, and noise is not."""

from pathlib import Path

from protocols.payload.event import EVENT_STAGE
from tests.firmware.host.world import World, running


def test_a_crossing_near_awas_is_told_at_once_and_looks_fill_no_log(tmp_path: Path) -> None:
    def level(now_s: float) -> float:
        # Siaga at once, then 10 cm below Awas for some minutes; Awas at 407.3 s, off the grid.
        if now_s < 407.3:
            return 2560.0
        return 2665.0 + (now_s - 407.3)

    settings: dict[str, object] = {
        "stages_mm": [500, 1160, 2660],
        "intervals_s": [60, 10, 10, 10],
        "jump_mm": 300,
    }
    with running(World(tmp_path, level_mm=level, settings=settings)) as world:
        world.run(400)
        assert [e["stage"] for e in world.events] == [2]
        numbers = len(world.samples)
        world.run(20)
        awas = [t for t, e in zip(world.event_times, world.events, strict=True) if e["stage"] == 3]
        assert world.events[-1]["kind"] == EVENT_STAGE and awas
        assert awas[0] - 407.3 < 2.5
        world.run(60)
        assert len(world.samples) - numbers < 12, "a reading every ten seconds, and the crossing"
