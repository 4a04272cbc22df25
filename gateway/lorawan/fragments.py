"""Releases by radio: `Transfer` (what to send next), `Jobs` (files), `FragmentService` (the hook).

A job is two files in `data_dir/updates`: `EUI.bin`, the package as `tukad device package` made it,
and `EUI.json`, how far it is. `tukad lorawan update` writes both; the agent looks at every uplink
of a device, sends at most one fragment in answer, and stores how far it is before that leaves.
So a restart costs at most one fragment, which the coded ones replace.

The sequence is TS004-1.0.0: set-up, the fragments, the question what is missing, coded fragments
for it; then TS006's questions until the release has passed its trial or the old one is back.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.model import DownlinkReport, LorawanStatus, Uplink
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.service import NetworkServerService, OnDownlink, OnUplink
from protocols.errors import LocalError
from protocols.update import management
from protocols.update.fragment import (
    PORT,
    REFUSED_DESCRIPTOR,
    SETUP,
    STATUS,
    fragment_message,
    setup_request,
    status_request,
)
from protocols.update.parity import FRAGMENTS_MAX, encode

log = logging.getLogger("tukad.lorawan")

OFFER, SEND, ASK, CHECK = "offer", "send", "ask", "check"
DONE, TAKEN_BACK, REFUSED, FAILED = "done", "taken back", "refused", "failed"
ENDS = (DONE, TAKEN_BACK, REFUSED, FAILED)

SIZE_MAX = 200  # a fragment; the longest that fits is not worth the air when one is lost
_ANSWERS = 9  # DeviceTimeAns and LinkCheckAns in the same frame
_HEAD = 3  # command and number before a fragment
_SILENT_MAX = 20  # questions without an answer
_OFFERS_MAX = 4  # sessions that the device lost (a loss of power) or whose package it refused
_CHECK_MS = 600_000  # between two questions about the trial
_CHECK_MAX_MS = 12 * 3_600_000  # three starts of two hours each, and then some
_RESENT_MS = 600_000  # a downlink of which nothing was heard is taken for lost


@dataclass(slots=True)
class Job:
    """One release on its way to one device; all of it is kept."""

    device: str
    dev_eui: str
    release: int
    length: int  # bytes of the package
    created_ms: int
    phase: str = OFFER
    size: int = 0  # of a fragment; 0: not chosen yet
    next: int = 1  # number of the next fragment
    until: int = 0  # the last before the device is asked
    sent: int = 0  # fragments, with those sent again
    missing: int = -1  # as the device said last
    offers: int = 0
    silent: int = 0
    was_whole: bool = False  # the device had every fragment, or was seen on trial
    changed_ms: int = 0
    asked_ms: int = 0
    detail: str = ""

    @property
    def count(self) -> int:
        """Fragments of the package, without coded ones."""
        return -(-self.length // self.size) if self.size else 0


class Transfer:
    """The decisions of one job, without files and clocks."""

    def __init__(self, job: Job, package: bytes) -> None:
        self.job = job
        self._package = package
        self._running: int | None = None  # what the device said since the last question

    def _to(self, phase: str, now_ms: int, detail: str = "") -> None:
        job = self.job
        job.phase, job.detail, job.changed_ms, job.silent = phase, detail, now_ms, 0
        job.asked_ms = 0

    def hear(self, port: int, data: bytes, now_ms: int) -> None:
        """What the device sent on TS004's or TS006's port."""
        if self.job.phase in ENDS:
            return
        if port == management.PORT:
            self._judge(management.read_answers(data), now_ms)
            return
        at = 0
        while at < len(data):
            if data[at] == SETUP and at + 1 < len(data):
                self._offered(data[at + 1], now_ms)
                at += 2
            elif data[at] == STATUS and at + 4 < len(data):
                self._counted(data[at + 3], data[at + 4], now_ms)
                at += 5
            else:
                return

    def _offered(self, answer: int, now_ms: int) -> None:
        job = self.job
        if job.phase != OFFER:
            return
        if answer & REFUSED_DESCRIPTOR:
            self._to(CHECK, now_ms, "the device does not want this release")
        elif answer & 0x0F:
            self._to(REFUSED, now_ms, f"the device has no room for {job.length} bytes")
        else:
            job.offers += 1
            job.next, job.until, job.missing = 1, job.count, -1
            self._to(SEND, now_ms)

    def _counted(self, missing: int, status: int, now_ms: int) -> None:
        job = self.job
        if job.phase != ASK:
            return
        job.missing = missing
        if missing == 0:
            job.was_whole = True
            self._to(CHECK, now_ms)
        elif status & 1:  # more are lost than the device has memory for: all once more
            job.next, job.until = 1, job.count
            self._to(SEND, now_ms, "many lost: sent again")
        else:
            job.next = max(job.next, job.count + 1)
            job.until = min(0x3FFF, job.next + missing + 2 + missing // 5)
            self._to(SEND, now_ms)

    def _judge(self, found: dict[str, int], now_ms: int) -> None:
        job = self.job
        if job.phase not in (ASK, CHECK):
            return
        job.silent = 0
        image = found.get("image")
        # One frame may carry one of the two answers; the image's comes second.
        running = self._running = found.get("running", self._running)
        if image == management.IMAGE_VALID:
            if found.get("image_version") == job.release:
                job.was_whole = True
                if job.phase == ASK:
                    self._to(CHECK, now_ms)
                job.detail = "on trial"
            return
        if image is None or running is None:
            return
        if running == job.release:
            self._to(DONE, now_ms)
        elif job.was_whole or (job.offers and job.phase == CHECK):
            self._to(TAKEN_BACK, now_ms, f"the device is back at release {running}")
        elif job.phase == CHECK:
            self._to(
                REFUSED,
                now_ms,
                f"the device runs release {running}: it needs a higher one that never failed there",
            )
        elif job.offers >= _OFFERS_MAX:
            self._to(FAILED, now_ms, "it got lost there again and again: see its update.txt")
        else:
            self._to(OFFER, now_ms, "the device lost what it had")

    def next(self, room: int, now_ms: int) -> tuple[int, bytes] | None:
        """Port and data of the downlink that answers an uplink now; None: nothing.

        `room`: bytes that a downlink may carry there.
        """
        job = self.job
        if job.phase in ENDS:
            return None
        if job.phase == SEND and job.next > job.until:
            self._to(ASK, now_ms)
        if job.phase == SEND:
            return self._fragment(room, now_ms)
        if job.phase == CHECK and now_ms - job.changed_ms > _CHECK_MAX_MS:
            self._to(FAILED, now_ms, job.detail or "nothing was heard after the last fragment")
            return None
        if job.phase == CHECK and job.asked_ms and now_ms - job.asked_ms < _CHECK_MS:
            return None
        if job.silent >= _SILENT_MAX and job.phase != CHECK:
            self._to(FAILED, now_ms, "no answer; is it firmware of ours, started by its loader?")
            return None
        job.silent += 1
        job.asked_ms = now_ms
        if job.phase == OFFER:
            return self._offer(room, now_ms)
        # A device that has all of it starts anew and knows of no session: it answers the other.
        if job.phase == ASK and job.silent % 3:
            return PORT, status_request()
        self._running = None
        return management.PORT, management.question()

    def _offer(self, room: int, now_ms: int) -> tuple[int, bytes] | None:
        job = self.job
        size = min(SIZE_MAX, room - _HEAD)
        if size < 8:
            return None
        job.size = size
        if job.count > FRAGMENTS_MAX:
            self._to(FAILED, now_ms, f"{job.count} fragments, at most {FRAGMENTS_MAX}")
            return None
        return PORT, setup_request(job.length, size, job.release)

    def _fragment(self, room: int, now_ms: int) -> tuple[int, bytes] | None:
        job = self.job
        if room - _HEAD < job.size:
            # The data rate fell. Smaller fragments are another session, so not for a moment's fade.
            job.silent += 1
            if job.silent > _SILENT_MAX and room - _HEAD >= 8:
                self._to(OFFER, now_ms, "smaller fragments: the data rate fell")
                job.offers = min(job.offers, _OFFERS_MAX - 1)
            return None
        job.silent = 0
        number = job.next
        job.next += 1
        job.sent += 1
        block = self._package + bytes(-self.job.length % job.size)
        return PORT, fragment_message(number, encode(block, job.size, number))


class Jobs:
    """The files of all jobs below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, dev_eui: str) -> Path:
        return self.folder / f"{dev_eui}.json"

    def load(self, dev_eui: str) -> Job | None:
        """A device's job; None when there is none (or the file is no job)."""
        try:
            raw = json.loads(self._file(dev_eui).read_text(encoding="utf-8"))
            names = {one.name for one in fields(Job)}
            return Job(**{name: value for name, value in raw.items() if name in names})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("lorawan.update_unreadable device=%s error=%r", dev_eui, str(error))
            return None

    def package(self, dev_eui: str) -> bytes:
        """The bytes that are sent. Raises OSError."""
        return (self.folder / f"{dev_eui}.bin").read_bytes()

    def save(self, job: Job, package: bytes | None = None) -> None:
        """Store a job, a new one with its package. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if package is not None:
            self._replace(self.folder / f"{job.dev_eui}.bin", package)
        self._replace(self._file(job.dev_eui), json.dumps(asdict(job)).encode())

    @staticmethod
    def _replace(path: Path, content: bytes) -> None:
        part = path.with_suffix(path.suffix + ".part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def remove(self, dev_eui: str) -> bool:
        """Forget a job; the agent sends nothing more of it."""
        there = self._file(dev_eui).exists()
        for path in (self._file(dev_eui), self.folder / f"{dev_eui}.bin"):
            path.unlink(missing_ok=True)
        return there

    def all(self) -> list[Job]:
        """Every job, by device."""
        found = (self.load(path.stem) for path in sorted(self.folder.glob("*.json")))
        return [job for job in found if job is not None]


def room_of(plan: RadioPlan) -> Callable[[int], int]:
    """Bytes that fit the better window after an uplink at a data rate, beside `_ANSWERS`."""
    place, config = plan.region, plan.config

    def room(dr: int) -> int:
        dwell = plan.wanted.downlink_dwell
        best = place.payload_limit(plan.rx2_dr, dwell)
        with suppress(LocalError):
            rx1 = place.rx1_dr(dr, config.rx1_dr_offset, dwell)
            best = max(best, place.payload_limit(rx1, dwell))
        return max(0, best - _ANSWERS)

    return room


class FragmentService:
    """A network server that also sends releases; otherwise what it is put in front of."""

    def __init__(self, inner: NetworkServerService, folder: Path, config: LorawanConfig) -> None:
        self._inner = inner
        self._jobs = Jobs(folder / "updates")
        self._room = room_of(RadioPlan(config))
        self._waiting: dict[str, tuple[int, int]] = {}  # EUI: number in the queue, since when
        self._transfers: dict[str, Transfer] = {}

    async def run(self, on_uplink: OnUplink, on_downlink: OnDownlink | None = None) -> None:
        """See `service.NetworkServerService.run`."""

        async def up(uplink: Uplink) -> None:
            if uplink.f_port not in (PORT, management.PORT):
                await on_uplink(uplink)
            await self._follow(uplink)

        async def down(report: DownlinkReport) -> None:
            for dev_eui, (number, _) in list(self._waiting.items()):
                if number == report.id:
                    del self._waiting[dev_eui]
            if on_downlink is not None:
                await on_downlink(report)

        await self._inner.run(up, down)

    async def _follow(self, uplink: Uplink) -> None:
        """Send the next of a job. Its faults are its own: the uplink is delivered whatever."""
        dev_eui = uplink.dev_eui
        job = self._jobs.load(dev_eui)
        if job is None or job.phase in ENDS:
            self._transfers.pop(dev_eui, None)
            return
        try:
            await self._advance(uplink, job)
        except (OSError, LocalError, KeyError, ValueError) as error:
            log.warning("lorawan.update_stuck device=%s error=%r", uplink.device, str(error))

    async def _advance(self, uplink: Uplink, job: Job) -> None:
        dev_eui, now_ms = uplink.dev_eui, uplink.received_ms
        transfer = self._transfers.get(dev_eui)
        if transfer is None or transfer.job.created_ms != job.created_ms:
            transfer = self._transfers[dev_eui] = Transfer(job, self._jobs.package(dev_eui))
        job = transfer.job
        before = job.phase
        if uplink.f_port in (PORT, management.PORT):
            transfer.hear(uplink.f_port, uplink.payload, now_ms)
        waiting = self._waiting.get(dev_eui)
        message = None
        if waiting is None or now_ms - waiting[1] > _RESENT_MS:
            message = transfer.next(self._room(uplink.dr), now_ms)
        self._jobs.save(job)  # before it leaves: a number is never used for two contents
        if job.phase != before:
            log.info(
                "lorawan.update device=%s release=%d phase=%r sent=%d of=%d missing=%d detail=%r",
                job.device, job.release, job.phase, job.sent, job.count, job.missing, job.detail,
            )  # fmt: skip
        if message is not None:
            number = await self._inner.queue_downlink(dev_eui, *message, expiry_s=_RESENT_MS / 1000)
            self._waiting[dev_eui] = (number, now_ms)

    async def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        *,
        confirmed: bool = False,
        expiry_s: float = 86_400.0,
    ) -> int:
        """See `service.NetworkServerService.queue_downlink`."""
        return await self._inner.queue_downlink(
            device, f_port, data, confirmed=confirmed, expiry_s=expiry_s
        )

    async def status(self) -> LorawanStatus:
        """See `service.NetworkServerService.status`."""
        return await self._inner.status()

    def close(self) -> None:
        """See `service.NetworkServerService.close`."""
        self._inner.close()
