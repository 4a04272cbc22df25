"""A release from the gateway's `FragmentService` to the device's `Updates`: losses, restarts."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firmware.update.agent import START_AGAIN, Updates
from firmware.update.health import SETTLED_S
from firmware.update.install import install
from firmware.update.slots import TRIES, Slots
from firmware.update.tree import Tree
from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.fragments import (
    DONE,
    FAILED,
    REFUSED,
    TAKEN_BACK,
    FragmentService,
    Job,
    Jobs,
)
from gateway.lorawan.model import DownlinkReport, LorawanStatus, Uplink
from gateway.lorawan.service import OnDownlink, OnUplink
from protocols.update import fragment, management
from tests.firmware.device.update.flash import MODEL, MPY
from tests.firmware.device.update.releases import FORGED, PACKAGE_ONE, PACKAGE_TWO, PUBLIC

EUI = "70b3d50000000001"
UPLINK = Uplink(EUI, "bridge", 1, 0, b"level", False, -90.0, 5.0, 2, 921_400_000, (), 0)


class Radio:
    """A network server's place: `heard` is what the agent got, `down` what is to be sent."""

    def __init__(self) -> None:
        self.heard: list[Uplink] = []
        self.down: list[tuple[int, bytes]] = []
        self.numbers = 0
        self.on_uplink: Any = None
        self.on_downlink: Any = None

    async def run(self, on_uplink: OnUplink, on_downlink: OnDownlink | None = None) -> None:
        assert on_downlink is not None
        self.on_uplink, self.on_downlink = on_uplink, on_downlink

    async def queue_downlink(
        self, device: str, f_port: int, data: bytes, *, confirmed: bool = False,
        expiry_s: float = 86_400.0,
    ) -> int:  # fmt: skip
        assert device == EUI and not confirmed
        self.down.append((f_port, data))
        self.numbers += 1
        return self.numbers

    async def status(self) -> LorawanStatus:
        return LorawanStatus("test", True, (), {}, 1, 0)

    def close(self) -> None:
        pass


class Device:
    """A device's flash, its loader's work at a start, and its `Updates`."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        self.files = Tree(self.root)
        self.files.write("release.pub", PUBLIC)
        self.files.write("update.new", PACKAGE_ONE)
        self.said: list[str] = []
        self.is_bad = False  # what is on trial crashes
        self.start()
        self.updates.slots.confirm()
        self.start()

    def start(self) -> None:
        said = install(self.files, Slots(self.files), MODEL, MPY)
        if said:
            self.said.append(said)
        slots = Slots(self.files)
        slots.choose()
        if self.is_bad and slots.selection.is_trial:
            for _ in range(TRIES):
                slots = Slots(self.files)
                slots.choose()
        self.updates = Updates(self.root, lambda: None)

    def take(self, port: int, data: bytes) -> list[tuple[int, bytes]]:
        answers = [(port, answer) for answer in self.updates.handle(port, data)]
        assert all(len(answer) <= 11 for _, answer in answers)
        return answers

    def turn(self) -> None:
        if self.updates.step(60, 1, True) == START_AGAIN:
            self.start()

    def prove(self) -> None:
        self.updates.step(SETTLED_S, 1, True)


class Site:
    """Uplinks a minute apart, the job, and a service that can be started again."""

    def __init__(self, folder: Path, package: bytes = PACKAGE_TWO) -> None:
        self.folder = folder / "gateway"
        self.device = Device(folder)
        self.jobs = Jobs(self.folder / "updates")
        self.jobs.save(Job("bridge", EUI, 2, len(package), 1), package)
        self.now_ms = 1_795_000_000_000
        self.radio = Radio()
        self.answers: list[tuple[int, bytes]] = []
        self.sent: list[bytes] = []
        self.begin()

    def begin(self) -> None:
        """The agent starts (again)."""
        self.service = FragmentService(self.radio, self.folder, LorawanConfig())
        asyncio.run(self.service.run(self.hear))

    async def hear(self, uplink: Uplink) -> None:
        self.radio.heard.append(uplink)

    @property
    def job(self) -> Job:
        found = self.jobs.load(EUI)
        assert found is not None
        return found

    def uplink(self, is_lost: Callable[[int], bool] = lambda _: False, step_s: int = 60) -> None:
        """One uplink, an answer if there is one, and the downlink after it."""
        self.now_ms += 1000 * step_s
        port, data = self.answers.pop(0) if self.answers else (1, b"level")
        asyncio.run(
            self.radio.on_uplink(
                replace(UPLINK, f_port=port, payload=data, received_ms=self.now_ms)
            )
        )
        assert len(self.radio.down) <= 1
        if self.radio.down:
            down_port, message = self.radio.down.pop()
            asyncio.run(self.radio.on_downlink(DownlinkReport(self.radio.numbers, "", "sent")))
            self.sent.append(message)
            assert len(message) <= 115 - 9  # of AS923's DR3 in the second window, no dwell time
            if not is_lost(len(self.sent)):
                self.answers += self.device.take(down_port, message)
        self.device.turn()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_release_arrives_and_the_job_ends_when_its_trial_does(site: Site) -> None:
    while site.job.phase != "check":
        site.uplink()
        assert len(site.sent) < 30
    assert site.device.said == ["version 1 starts on trial", "version 2 starts on trial"]
    for _ in range(30):
        site.uplink()
    assert (site.job.phase, site.job.detail) == ("check", "on trial")
    questions = [one for one in site.sent if one == management.question()]
    assert 2 <= len(questions) <= 6  # not one with every uplink
    site.device.prove()
    for _ in range(25):
        site.uplink()
    assert site.job.phase == DONE
    sent = len(site.sent)
    site.uplink()
    assert len(site.sent) == sent
    # What is no business of the agent's was kept from it, and nothing else.
    assert {one.f_port for one in site.radio.heard} == {1}


def test_lost_fragments_are_replaced_by_coded_ones(site: Site) -> None:
    site.jobs.save(replace(site.job, created_ms=2))
    while site.job.phase != "check":
        site.uplink(lambda number: number % 3 == 2)
        assert len(site.sent) < 60
    assert site.device.said[-1] == "version 2 starts on trial"
    fragments = [one for one in site.sent if one[0] == fragment.FRAGMENT]
    assert max(one[1] for one in fragments) > site.job.count


def test_it_goes_on_after_every_restart_of_the_agent(site: Site) -> None:
    while site.job.phase != "check":
        site.uplink()
        site.begin()
        assert len(site.sent) < 30
    fragments = [one[1] for one in site.sent if one[0] == fragment.FRAGMENT]
    assert fragments == list(range(1, site.job.count + 1))


def test_a_device_that_lost_power_is_sent_all_of_it_again(site: Site) -> None:
    while site.job.sent < 2:
        site.uplink()
    site.device.start()  # its session was in memory
    while site.job.phase != "check":
        site.uplink()
        assert len(site.sent) < 60
    assert site.job.offers == 2 and site.device.said[-1] == "version 2 starts on trial"


def test_a_release_that_fails_its_trial_is_not_sent_again(site: Site) -> None:
    site.device.is_bad = True
    for _ in range(60):
        site.uplink()
    assert site.job.phase == TAKEN_BACK and site.job.offers == 1
    assert site.job.detail == "the device is back at release 1"
    site.jobs.save(Job("bridge", EUI, 2, len(PACKAGE_TWO), 2), PACKAGE_TWO)
    for _ in range(20):
        site.uplink()
    assert (site.job.phase, site.job.sent) == (REFUSED, 0)
    assert "needs a higher one" in site.job.detail


def test_a_forged_release_is_given_up_and_never_starts(tmp_path: Path) -> None:
    site = Site(tmp_path, FORGED)
    for _ in range(200):
        site.uplink()
    assert site.job.phase == FAILED and site.job.offers == 4
    assert {one.split(",")[0] for one in site.device.said[1:]} == {"refused"}
    assert Slots(site.device.files).selection.version == 1


def test_a_device_that_never_answers_is_given_up(site: Site) -> None:
    for _ in range(40):
        site.uplink(lambda _: True)
    assert site.job.phase == FAILED and len(site.sent) == 20
    assert "no answer" in site.job.detail


def test_a_rate_too_low_for_a_fragment_sends_none_and_blocks_nothing(site: Site) -> None:
    while site.job.sent < 1:
        site.uplink()
    size = site.job.size
    site.jobs.save(replace(site.job, size=200))  # as chosen at a higher rate
    site.begin()
    sent = len(site.sent)
    for _ in range(5):
        site.uplink()
    assert len(site.sent) == sent
    for _ in range(30):
        site.uplink()
    assert site.job.size == size and site.device.said[-1] == "version 2 starts on trial"


def test_a_damaged_job_file_delivers_the_uplink(site: Site) -> None:
    (site.folder / "updates" / f"{EUI}.json").write_text('{"device": 1')
    site.uplink()
    (site.folder / "updates" / f"{EUI}.json").write_text("[]")
    site.uplink()
    assert len(site.radio.heard) == 2 and not site.sent
