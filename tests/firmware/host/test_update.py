"""A release by cable, then by radio, into a real MicroPython with a flash: trial, confirmation, and
the way back when it is bad.

The gateway's half is its own (`gateway.lorawan.fragments.Transfer`), behind a thin network.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from gateway.device.flash import manifest_of
from gateway.device.release import compile_tree, load_key, new_key, pack, sign
from gateway.lorawan.fragments import DONE, ENDS, REFUSED, Job, Transfer
from protocols.payload.ports import EPOCH_UNIX_S
from protocols.update import fragment, management
from protocols.update.manifest import parse
from tests.firmware.host.network import Arrived
from tests.firmware.host.world import World, running

ROOT = Path(__file__).parents[3]
ROOM = 51 + 8  # bytes of a downlink at DR2 without dwell time
SETTINGS: dict[str, object] = {"burst_count": 5, "report_max_s": 60}


# A flood node's own: with all the other roles' the manifest, and the test, are twice as long.
STARTS = ("firmware.main", "firmware.apps.flood", "firmware.boards.unix_pico",
          "firmware.update.agent")  # fmt: skip


def imported() -> set[str]:
    """The modules that `STARTS` import, and theirs, as file names without ending."""
    found: set[str] = set()
    left = list(STARTS)
    while left:
        name = left.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if not path.exists():
            path = ROOT / name.replace(".", "/") / "__init__.py"
        if not path.exists() or str(path.relative_to(ROOT))[:-3] in found:
            continue
        found.add(str(path.relative_to(ROOT))[:-3])
        left.append(name.rpartition(".")[0] or "firmware")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return found


@cache
def compiled() -> dict[str, bytes]:
    own = imported()
    files = compile_tree(ROOT)
    return {name: data for name, data in files.items() if name.removesuffix(".mpy") in own}


class Shore:
    """The gateway's end of one release; the radio loses every `loses`-th fragment."""

    def __init__(self, world: World, package: bytes, loses: int = 0) -> None:
        self.world = world
        self.loses = loses
        self.job = Job("node", world.node.dev_eui.hex(), manifest_of(package).version,
                       len(package), 1)  # fmt: skip
        self.transfer = Transfer(self.job, package)
        self.phases: list[str] = []
        self._before = world.network.on_frame
        world.network.on_frame = self._frame

    def _frame(self, frame: Arrived) -> None:
        self._before(frame)
        now_ms = 1000 * (self.world.network.now_s + EPOCH_UNIX_S)
        if frame.port in (fragment.PORT, management.PORT):
            self.transfer.hear(frame.port, frame.data, now_ms)
        message = self.transfer.next(ROOM, now_ms)
        if not self.phases or self.phases[-1] != self.job.phase:
            self.phases.append(self.job.phase)
        if message is None:
            return
        is_lost = self.loses and message[1][0] == 8 and self.job.sent % self.loses == 0
        if not is_lost:
            self.world.network.others.append(message)

    def end(self, limit_s: int) -> None:
        """Run the world until the job ended."""
        for _ in range(limit_s // 60):
            self.world.run(60)
            if self.job.phase in ENDS:
                return
        raise AssertionError((self.job, self.phases))


def release(key_file: Path, version: int, since: bytes | None, **changed: bytes) -> bytes:
    files = compiled() | changed
    signed = sign(files, "unix-pico", version, load_key(key_file))
    known = manifest_of(since) if since else None
    return pack(signed, parse(signed), files, known)


def pieces(package: bytes) -> dict[str, bytes]:
    """A package in files that the simulated cable can carry (`cable.py` joins them)."""
    size = 4_000
    return {
        f"piece.{at // size:03}": package[at : at + size] for at in range(0, len(package), size)
    }


def started(log: Path) -> list[str]:
    """What the loader said of packages, in order."""
    return re.findall(r"update: (.*)", log.read_text())


@pytest.mark.timeout(400)
def test_a_release_by_cable_then_by_radio_then_a_bad_one_goes_back(tmp_path: Path) -> None:
    key_file = tmp_path / "release.pem"
    public = new_key(key_file)
    first = release(key_file, 1, None)
    # Any change will do; the text of a module's name is one.
    changed = {"firmware/apps/watch.mpy": compiled()["firmware/apps/watch.mpy"] + b"\0"}
    second = release(key_file, 2, first, **changed)
    main = b"def run(root):\n    import machine\n    machine.reset()\n"
    bad = compiled() | changed | {"firmware/main.py": main}
    del bad["firmware/main.mpy"]
    signed = sign(bad, "unix-pico", 3, load_key(key_file))
    third = pack(signed, parse(signed), bad, manifest_of(second))
    world = World(
        tmp_path,
        level_mm=lambda _: 1000.0,
        settings=SETTINGS,
        entry=("tests.firmware.host.cable", "start"),
        files={"release.pub": public, "model": b"unix-pico\n"} | pieces(first),
    )
    with running(world):
        world.run(700)  # ten minutes of trial
        assert world.flood and started(world.log) == ["version 1 starts on trial"]
        boots = world.node.firmware.boots
        shore = Shore(world, second, loses=10)
        shore.end(4 * 3600)
        assert shore.job.phase == DONE, (shore.job, shore.phases)
        assert shore.phases == ["offer", "send", "ask", "send", "ask", "check", "done"]
        assert shore.job.count < shore.job.sent < 1.2 * shore.job.count + 10
        assert started(world.log)[1:] == ["version 2 starts on trial"]
        assert world.node.firmware.boots == boots + 1 and len(world.network.joins) == 1
        # The bad one by cable: what the loader does with it is the same.
        samples = len(world.samples)
        world.put(pieces(third))
        world.power_cycle()
        world.run(300)
        assert started(world.log)[2:] == ["version 3 starts on trial"]
        # Its three starts are over; release 2 measures, and does not want release 3 again.
        assert len(world.samples) > samples + 2 and not world.status.get("crashes")
        shore = Shore(world, third)
        shore.end(1800)
        assert shore.job.phase == REFUSED and shore.job.sent == 0, shore.job
        assert shore.job.detail.startswith("the device runs release 2: it needs a higher one")
