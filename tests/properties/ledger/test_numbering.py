"""Devices whose logs are erased or damaged, against a device that keeps its own records.

Whatever happens to the device, the radio, and the agent: what arrived in a frame is in the ledger,
with its own time and level; and after two pages of status the gateway counts as the device does, so
that what it asks for is what is missing.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.clock import WallClock
from gateway.ledger.epochs import number_of
from gateway.ledger.store import Store
from gateway.lorawan.model import Uplink
from gateway.model import Reading
from gateway.sources.lorawan import LorawanSource
from protocols.payload.flood import FloodEncoder, FloodRing
from protocols.payload.ports import EPOCH_UNIX_S, PORT_FLOOD, PORT_STATUS
from protocols.payload.status import PAGE_LOG, Status, StatusEncoder
from tests.gateway.samples import START_MS, open_ledger
from tests.gateway.test_lorawan_source import Server

START_S = (START_MS // 1000 - EPOCH_UNIX_S) // 3600 * 3600


class Device:
    """A node as the firmware is; `log` holds (time, level) of its present log by number."""

    def __init__(self) -> None:
        self.now_s = START_S
        self.session = 1
        self.f_cnt = 0
        self.interval_s = 60
        self.erase(next_number=0)

    def erase(self, next_number: int) -> None:
        self.log: dict[int, tuple[int, int]] = {}
        self.next_number = next_number
        self.start()

    def start(self) -> None:
        self.ring = FloodRing(256)
        self.encoder = FloodEncoder(self.ring)

    def measure(self, level_mm: int) -> None:
        self.now_s += self.interval_s
        self.log[self.next_number] = (self.now_s, level_mm)
        self.ring.push(self.next_number, self.now_s, level_mm, 0)
        self.next_number += 1

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
            gateways=(),
            received_ms=(self.now_s + 3 + EPOCH_UNIX_S) * 1000,
            session=self.session,
        )

    def frame(self) -> Uplink:
        buf = bytearray(24)
        return self.uplink(PORT_FLOOD, bytes(buf[: self.encoder.encode_into(buf, 19)]))

    def status(self) -> Uplink:
        status = Status()
        status.sequence = self.next_number - 1
        encoder = StatusEncoder(status)
        encoder.page = PAGE_LOG
        buf = bytearray(11)
        return self.uplink(PORT_STATUS, bytes(buf[: encoder.encode_into(buf, 11)]))


class NumberingMachine(RuleBasedStateMachine):
    @initialize(first=st.sampled_from([0, 5, 300, 16_380, 100_000]))
    def begin(self, first: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.ledger = open_ledger(self.folder)
        self.device = Device()
        self.device.next_number = first
        self.sent: set[tuple[int, int]] = set()  # time, level of what arrived
        self.open()
        self.measure([700])
        self.give(self.device.status())
        self.deliver()

    def open(self) -> None:
        self.server = Server()
        self.source = LorawanSource(self.server, self.ledger, WallClock())

        async def accept(readings: "list[Reading]") -> None:
            await self.ledger.add(readings)

        async def start() -> None:
            self.task = asyncio.create_task(self.source.run(accept))
            await self.server.ready.wait()

        self.runner.run(start())

    def close(self) -> None:
        async def stop() -> None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

        self.runner.run(stop())

    def give(self, uplink: Uplink) -> None:
        self.runner.run(self.server.on_uplink(uplink))

    @rule(levels=st.lists(st.integers(0, 9000), min_size=1, max_size=9))
    def measure(self, levels: list[int]) -> None:
        for level in levels:
            self.device.measure(level)

    @rule(count=st.integers(10, 400))
    def calm(self, count: int) -> None:
        for _ in range(count):
            self.device.measure(700)

    @rule()
    def deliver(self) -> None:
        """A frame that arrives, and once more as after a crash of the agent."""
        if not self.device.ring.count:
            return
        uplink = self.device.frame()
        newest = self.device.next_number - 1
        readings = self.device.encoder.readings
        for back in range(1 + readings):
            self.sent.add(self.device.log[newest - back])
        self.give(uplink)
        count = self.count()
        self.give(uplink)
        assert self.count() == count, "a frame that comes twice is stored once"

    @rule()
    def lose(self) -> None:
        if self.device.ring.count:
            self.device.frame()

    @rule(s=st.integers(0, 3), is_joined=st.booleans())
    def erase(self, s: int, is_joined: bool) -> None:
        """Back to the factory's state, or another flash with a log of its own."""
        self.device.erase((0, 0, 70, 5000)[s])
        if is_joined:
            self.device.session += 1
            self.device.f_cnt = 0

    @rule(count=st.integers(1, 5))
    def crash(self, count: int) -> None:
        """The last few readings were not on the flash yet: their numbers come again."""
        for _ in range(count):
            if len(self.device.log) > 1:
                self.device.next_number -= 1
                self.device.log.pop(self.device.next_number, None)
        self.device.start()

    @rule()
    def restart_agent(self) -> None:
        self.close()
        self.open()

    @rule()
    def settle(self) -> None:
        """Pages of status, as they come a few times a day, bring the numbers together."""
        for level in (100, 5000, 250):
            self.device.measure(level)
            self.give(self.device.status())
            self.deliver()
        newest = self.ask(lambda store: store.latest("node", "flood"))
        assert newest is not None
        assert number_of(newest.sequence) == self.device.next_number - 1

    def ask(self, run):
        return self.runner.run(self.ledger.read(run))

    def count(self) -> int:
        return self.ask(
            lambda store: store.db.execute("SELECT count(*) FROM reading").fetchone()[0]
        )

    @invariant()
    def what_arrived_is_stored(self) -> None:
        if not hasattr(self, "source"):
            return

        def rows(store: Store) -> set[tuple[int, int]]:
            found = store.since("node", "flood", 0, 100_000)
            return {
                (one.reading.time_ms // 1000 - EPOCH_UNIX_S, one.reading.values["level_mm"])
                for one in found
            }

        missing = self.sent - self.ask(rows)
        assert not missing, f"dropped as repeats: {missing}"

    def teardown(self) -> None:
        if hasattr(self, "source"):
            self.close()
            self.ledger.close()
            self.runner.close()
            shutil.rmtree(self.folder)


NumberingMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestNumbering = NumberingMachine.TestCase
