"""Frames into readings: numbering over losses, gaps, requests for what is missing, its answers."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.clock import WallClock
from gateway.ledger.audit import audit
from gateway.ledger.ledger import Ledger
from gateway.lorawan.model import LorawanStatus, Uplink
from gateway.model import BACKFILL, HISTORY, LIVE, Reading
from gateway.sources.backfill import Backfill, BackfillSettings
from gateway.sources.lorawan import LorawanSource
from protocols.payload.backfill import FloodBackfill, encode_missing_into
from protocols.payload.command import CMD_GAP, decode_command
from protocols.payload.event import EVENT_SOS, encode_event_into
from protocols.payload.flood import FloodEncoder, FloodRing
from protocols.payload.ports import (
    EPOCH_UNIX_S,
    PORT_BACKFILL,
    PORT_COMMAND,
    PORT_EVENT,
    PORT_FLOOD,
    PORT_STATUS,
    PORT_TRACK,
)
from protocols.payload.status import PAGE_LOG, Status, StatusEncoder
from protocols.payload.track import TrackEncoder, TrackRing
from tests.gateway.samples import START_MS, open_ledger

START_S = START_MS // 1000 - EPOCH_UNIX_S
INTERVAL_S = 60


class Server:
    """The network server's end of the interface: hands over frames, keeps downlinks."""

    def __init__(self) -> None:
        self.downlinks: list[tuple[str, int, bytes]] = []
        self.on_uplink: Callable[[Uplink], Awaitable[None]]
        self.ready = asyncio.Event()

    async def run(self, on_uplink, on_downlink=None) -> None:
        self.on_uplink = on_uplink
        self.ready.set()
        await asyncio.Event().wait()

    async def queue_downlink(
        self, device: str, f_port: int, data: bytes, *, confirmed: bool = False, expiry_s: float = 0
    ) -> int:
        self.downlinks.append((device, f_port, data))
        return len(self.downlinks)

    async def status(self) -> LorawanStatus:
        return LorawanStatus("embedded", True, (), {}, 1, 0)

    def close(self) -> None:
        pass


class Node:
    """A flood node as the firmware is: a ring of readings, an encoder, a log."""

    def __init__(self) -> None:
        self.ring = FloodRing(256)
        self.encoder = FloodEncoder(self.ring)
        self.log: dict[int, tuple[int, int]] = {}
        self.f_cnt = 0
        self.now_s = START_S

    def measure(self, level_mm: int) -> None:
        sequence = len(self.log)
        self.now_s = START_S + sequence * INTERVAL_S
        self.log[sequence] = (self.now_s, level_mm)
        self.ring.push(sequence, self.now_s, level_mm, 0)

    def uplink(self, port: int, payload: bytes) -> Uplink:
        self.f_cnt += 1
        return Uplink(
            dev_eui="70b3d57ed0061001",
            device="node",
            f_port=port,
            f_cnt=self.f_cnt,
            payload=payload,
            confirmed=False,
            rssi_dbm=-97.4,
            snr_db=6.25,
            dr=2,
            freq_hz=923_200_000,
            gateways=("0016c001ff10a235",),
            received_ms=(self.now_s + 2 + EPOCH_UNIX_S) * 1000,
        )

    def frame(self, limit: int = 11) -> Uplink:
        buf = bytearray(64)
        return self.uplink(PORT_FLOOD, bytes(buf[: self.encoder.encode_into(buf, limit)]))

    def answer(self, first: int, count: int) -> list[Uplink]:
        ring = FloodRing(256)
        for sequence in range(first, first + count):
            time_s, level = self.log[sequence]
            ring.push(sequence, time_s, level, 0)
        backfill, frames, buf = FloodBackfill(ring), [], bytearray(64)
        while ring.count:
            length = backfill.encode_into(buf, 51)
            frames.append(self.uplink(PORT_BACKFILL, bytes(buf[:length])))
        return frames


class Bench:
    """Source, ledger and server put together."""

    def __init__(self, folder: Path, site_e5: tuple[int, int] | None = None) -> None:
        self.ledger: Ledger = open_ledger(folder)
        self.server = Server()
        self.source = LorawanSource(self.server, self.ledger, WallClock(), site_e5)
        self.got: list[Reading] = []

    async def __aenter__(self) -> "Bench":
        async def accept(readings) -> None:
            self.got.extend(one.reading for one in await self.ledger.add(readings))

        self.task = asyncio.create_task(self.source.run(accept))
        await self.server.ready.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.ledger.close()

    def levels(self) -> dict[int, int]:
        return {one.sequence: one.values["level_mm"] for one in self.got}


def test_a_frame_becomes_readings_with_times_origin_and_link(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            node = Node()
            for level in (500, 510, 525):
                node.measure(level)
            await bench.server.on_uplink(node.frame())
            newest = max(bench.got, key=lambda one: one.sequence)
            assert newest.origin == LIVE and newest.link is not None
            assert newest.link.rssi_dbm == -97 and newest.link.data_rate == 2
            assert newest.time_ms == START_MS // 10_000 * 10_000 + 2 * INTERVAL_S * 1000
            assert {one.origin for one in bench.got if one is not newest} <= {HISTORY}
            assert bench.levels() == {n: level for n, (_, level) in node.log.items()}

    asyncio.run(scenario())


def test_through_heavy_loss_every_reading_is_stored_or_known_to_be_missing(tmp_path: Path) -> None:
    async def scenario() -> None:
        dice = random.Random(11)
        async with Bench(tmp_path) as bench:
            node, level = Node(), 800
            for _ in range(400):
                level += dice.randint(-40, 40)
                node.measure(level)
                if dice.random() < 0.15:
                    await bench.server.on_uplink(node.frame())
            await bench.server.on_uplink(node.frame())
            levels = bench.levels()
            assert all(levels[n] == node.log[n][1] for n in levels)
            gaps = await bench.ledger.read(lambda store: store.gaps())
            missing = {n for gap in gaps for n in range(gap.first, gap.last + 1)}
            assert missing and missing | levels.keys() == set(range(400))
            assert not missing & levels.keys()

            # Ask for what is missing; the device answers from its log.
            settings = BackfillSettings(requests_per_day=1000, wait_s=1)
            backfill = Backfill(settings, bench.ledger, bench.server, {"node": INTERVAL_S})
            at_ms = node.frame().received_ms
            for _ in range(200):
                at_ms += 3_600_000
                await backfill.round(at_ms)
                while bench.server.downlinks:
                    device, port, data = bench.server.downlinks.pop()
                    command = decode_command(data)
                    assert (device, port, command.kind) == ("node", PORT_COMMAND, CMD_GAP)
                    asked = command.values["first_sequence"], command.values["count"]
                    for frame in node.answer(*asked):
                        await bench.server.on_uplink(frame)
            assert await bench.ledger.read(lambda store: store.gaps()) == []
            assert any(one.origin == BACKFILL for one in bench.got)
            assert bench.levels() == {n: node.log[n][1] for n in range(400)}
        lines = audit(tmp_path / "ledger.db")
        assert all(line.completeness == 1 for line in lines)
        assert sum(line.received for line in lines) == 400

    asyncio.run(scenario())


def test_what_the_device_has_no_more_is_lost_for_good_and_the_audit_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            node, buf = Node(), bytearray(16)
            node.measure(500)
            await bench.server.on_uplink(node.frame())
            for _ in range(250):
                node.measure(random.Random(len(node.log)).randint(0, 9000))
            await bench.server.on_uplink(node.frame())
            first = (await bench.ledger.read(lambda store: store.gaps()))[0].first
            length = encode_missing_into(buf, first, 10)
            await bench.server.on_uplink(node.uplink(PORT_BACKFILL, bytes(buf[:length])))
            gaps = await bench.ledger.read(lambda store: store.gaps())
            assert min(gap.first for gap in gaps) == first + 10
        lines = audit(tmp_path / "ledger.db")
        assert sum(line.lost for line in lines) == 10
        assert all(line.completeness < 1 for line in lines)

    asyncio.run(scenario())


def test_a_device_that_never_answers_is_given_up_within_its_budget(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            node = Node()
            node.measure(1)
            await bench.server.on_uplink(node.frame())
            for n in range(200):
                node.measure(n * 37 % 1000)
            await bench.server.on_uplink(node.frame())
            settings = BackfillSettings(requests_per_day=3, tries=4, wait_s=1)
            backfill = Backfill(settings, bench.ledger, bench.server, {"node": INTERVAL_S})
            at_ms = node.frame().received_ms
            for hour in range(24 * 4):
                await backfill.round(at_ms + hour * 3_600_000)
            assert len(bench.server.downlinks) == 4
            assert await bench.ledger.read(lambda store: store.gaps()) == []
            numbers = [decode_command(data).number for _, _, data in bench.server.downlinks]
            assert numbers == [1, 2, 3, 4]

    asyncio.run(scenario())


def test_the_numbering_goes_on_after_a_restart_of_the_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Node()
        for _ in range(3):
            for _ in range(300):
                node.measure(700)
            async with Bench(tmp_path) as bench:
                await bench.server.on_uplink(node.frame())
                assert max(one.sequence for one in bench.got) == len(node.log) - 1

    asyncio.run(scenario())


def test_events_and_garbage(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            node, buf = Node(), bytearray(16)
            node.measure(1)
            where = {"lat_e5": -874500, "lon_e5": 11521000, "fix_age_s": 0}
            length = encode_event_into(buf, EVENT_SOS, 7, node.now_s, dict(where))
            await bench.server.on_uplink(node.uplink(PORT_EVENT, bytes(buf[:length])))
            (event,) = bench.got
            assert event.stream == "event" and event.values["lat_e5"] == -874500
            await bench.server.on_uplink(node.uplink(PORT_FLOOD, b"\xff\x00"))
            await bench.server.on_uplink(node.uplink(99, b"\x01"))
            assert sum(bench.source.undecoded.values()) == 2 and len(bench.got) == 1

    asyncio.run(scenario())


def test_a_gateway_new_to_an_old_device_numbers_its_readings_by_the_status_frame(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            node, first = Node(), 100_000
            status = Status()
            status.sequence = first - 1
            encoder = StatusEncoder(status)
            encoder.page = PAGE_LOG
            buf = bytearray(11)
            length = encoder.encode_into(buf, 11)
            await bench.server.on_uplink(node.uplink(PORT_STATUS, bytes(buf[:length])))
            for step in range(3):
                node.now_s = START_S + step * INTERVAL_S
                node.ring.push(first + step, node.now_s, 700 + step, 0)
            await bench.server.on_uplink(node.frame())
            levels = {one.sequence: one.values for one in bench.got if one.stream == "flood"}
            assert set(levels) == {first, first + 1, first + 2}
            assert levels[first + 2]["level_mm"] == 702

    asyncio.run(scenario())


def test_a_tracker_whose_first_position_was_lost_is_found_near_the_gateway(tmp_path: Path) -> None:
    async def scenario(site_e5: tuple[int, int] | None) -> list[Reading]:
        async with Bench(tmp_path / str(site_e5), site_e5) as bench:
            node, ring = Node(), TrackRing(16)
            encoder = TrackEncoder(ring)
            buf = bytearray(51)
            for step in range(2):
                time_s = START_S // 10 * 10 + 60 * step
                lat_e5, lon_e5 = -874_400 - 90 * step, 11_521_200 + 80 * step
                ring.push(step, time_s, lat_e5, lon_e5, 50, 120)
                length = encoder.encode_into(buf, 11)
            node.now_s = START_S + 60  # the first frame, with the whole position, never came
            await bench.server.on_uplink(node.uplink(PORT_TRACK, bytes(buf[:length])))
            return bench.got

    got = asyncio.run(scenario((-872_000, 11_520_000)))
    newest = max(got, key=lambda one: one.sequence)
    assert (newest.values["lat_e5"], newest.values["lon_e5"]) == (-874_490, 11_521_280)
    assert asyncio.run(scenario(None)) == [], "without a site there is nothing to be near to"
