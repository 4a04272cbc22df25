"""Laws of the end device under loss, repetition, reordering, replay and power cuts at every write.

One Hypothesis machine drives the device in virtual time against `server_double`. A power cut may
strike inside any `store.save`, before or after the record is replaced, or between any two steps.
"""

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from protocols.lorawan import device as dev
from protocols.lorawan.regions import Region, region
from tests.properties.lorawan.server_double import Server
from tests.protocols.lorawan.double import APP_KEY, World

MINUTE = 60000
HOUR = 60 * MINUTE

# Requests any network may make that leave the device able to talk.
REQUESTS = (
    b"\x03\x50\x03\x00\x01",
    b"\x03\x25\x01\x00\x03",
    b"\x03\xff\xff\xff\x70\x03\x31\x02\x00\x01",
    b"\x04\x03",
    b"\x04\x00",
    b"\x05\x12\xe0\xaf\x8c",
    b"\x06",
    b"\x07\x04\xe0\xaf\x8c\x50",
    b"\x07\x04\x00\x00\x00\x00",
    b"\x08\x02",
    b"\x09\x05",
    b"\x09\x35",
    b"\x0a\x00\xe0\xaf\x8c",
    b"\x06\x06\x06\x06\x06\x06\x06",
)


class PowerCutError(BaseException):
    """The device stops existing here."""


class CutStore:
    """Keeps one record; `cut` = (writes to come until the cut, whether the write still lands)."""

    def __init__(self) -> None:
        self.record: bytes | None = None
        self.cut: tuple[int, bool] | None = None
        self.fails = 0

    def load(self) -> bytes | None:
        return self.record

    def save(self, buf: bytearray) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("flash")
        if self.cut is not None:
            left, lands = self.cut
            if left == 0:
                self.cut = None
                if lands:
                    self.record = bytes(buf)
                raise PowerCutError
            self.cut = left - 1, lands
        self.record = bytes(buf)


class Air:
    """The channel between the device and its server; to `World` it is the network."""

    def __init__(self, region_name: str) -> None:
        self.region: Region = region(region_name)
        self.server = Server(APP_KEY)
        self.rng = random.Random(0)
        self.lose_up = self.lose_down = self.repeat = self.replay = self.garble = 0.0
        self.old_up: list[bytes] = []
        self.old_down: list[bytes] = []
        self.uplinks: list[bytes] = []
        self.forced: list[bytes] = []  # answers an attacker gives instead

    def hear(self, phy: bytes) -> bytes | None:
        rng = self.rng
        self.uplinks.append(phy)
        answer: bytes | None = None
        if rng.random() >= self.lose_up:
            answer = self.server.hear(phy)
            if rng.random() < self.repeat:
                answer = self.server.hear(phy) or answer
        self.old_up.append(phy)
        if rng.random() < self.replay:  # an attacker, or a late gateway
            stale = self.server.hear(rng.choice(self.old_up))
            assert stale is None or stale not in self.old_down
        if answer is not None:
            self.old_down.append(answer)
        if rng.random() < self.lose_down:
            answer = None
        if self.old_down and rng.random() < self.replay:
            answer = rng.choice(self.old_down)
        if self.forced:
            answer = self.forced.pop(0)
        if answer is not None and rng.random() < self.garble:
            broken = bytearray(answer)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            answer = bytes(broken)
        return answer


class DeviceMachine(RuleBasedStateMachine):
    """Rules are what the world may do; the laws are checked after every run."""

    region_name = "AS923-2"

    @initialize(seed=st.integers(1, 1 << 20), class_c=st.booleans())
    def start(self, seed: int, class_c: bool) -> None:
        chosen = dev.Settings()
        chosen.class_c = class_c
        chosen.confirmed_trials = 2
        self.air = Air(self.region_name)
        self.air.rng.seed(seed)
        self.store = CutStore()
        self.world = World(self.air, store=self.store, settings=chosen, seed=seed)
        self.world.device.join(self.world.now_ms)
        self.token = 0
        self.delivered: set[bytes] = set()
        self.checked = 0
        self.dev_nonces: list[int] = []
        self.counters: dict[bytes, tuple[int, bytes]] = {}

    def run_for(self, ms: int) -> None:
        end = self.world.elapsed_ms + ms
        while self.world.elapsed_ms < end:
            try:
                self.world.run(end - self.world.elapsed_ms)
            except PowerCutError:
                self.reboot()
        self.check()

    def reboot(self) -> None:
        self.world.advance(1000)
        self.world.boot()
        if not self.world.device.joined:
            self.world.device.join(self.world.now_ms)

    def check(self) -> None:
        """No DevNonce and no counter twice; no downlink delivered twice."""
        for phy in self.air.uplinks[self.checked :]:
            if phy[0] == 0:
                nonce = phy[17] | phy[18] << 8
                assert not self.dev_nonces or nonce > self.dev_nonces[-1], "DevNonce used again"
                self.dev_nonces.append(nonce)
                continue
            address, f_cnt = phy[1:5], phy[6] | phy[7] << 8  # an address is new with each join
            last, bytes_of_last = self.counters.get(address, (-1, b""))
            assert f_cnt > last or (f_cnt == last and phy == bytes_of_last), "counter used again"
            self.counters[address] = f_cnt, phy
        self.checked = len(self.air.uplinks)
        for kind, _, _, data in self.world.events:
            if kind == dev.EV_DOWNLINK:
                assert data not in self.delivered, "downlink delivered twice"
                self.delivered.add(data)
        self.world.events.clear()

    @rule(minutes=st.integers(1, 90))
    def pass_time(self, minutes: int) -> None:
        self.run_for(minutes * MINUTE)

    @rule(size=st.integers(0, 11), confirmed=st.booleans())
    def send(self, size: int, confirmed: bool) -> None:
        if self.world.device.max_payload() >= size:
            self.world.device.send(7, bytes(size), size, confirmed, self.world.now_ms)
        self.run_for(20000)

    @rule(count=st.integers(1, 40))
    def send_many(self, count: int) -> None:
        for _ in range(count):
            self.world.device.send(1, b"x", 1, False, self.world.now_ms)
            self.run_for(MINUTE)

    @rule(
        lose=st.sampled_from((0.0, 0.3, 1.0)),
        lose_down=st.sampled_from((0.0, 0.3, 1.0)),
        repeat=st.sampled_from((0.0, 0.5)),
        replay=st.sampled_from((0.0, 0.3)),
        garble=st.sampled_from((0.0, 0.3)),
    )
    def change_the_air(
        self, lose: float, lose_down: float, repeat: float, replay: float, garble: float
    ) -> None:
        air = self.air
        air.lose_up, air.lose_down, air.repeat = lose, lose_down, repeat
        air.replay, air.garble = replay, garble

    @rule(confirmed=st.booleans())
    def queue_a_downlink(self, confirmed: bool) -> None:
        self.token += 1
        self.air.server.outbox.append((9, b"%d" % self.token, b"", confirmed))

    @rule(request=st.sampled_from(REQUESTS), on_port_0=st.booleans())
    def queue_a_request(self, request: bytes, on_port_0: bool) -> None:
        if on_port_0:
            self.air.server.outbox.append((0, request, b"", False))
        else:
            self.air.server.outbox.append((None, b"", request, False))

    @rule(after=st.integers(0, 3), lands=st.booleans())
    def cut_power_at_a_write(self, after: int, lands: bool) -> None:
        self.store.cut = after, lands

    @rule()
    def cut_power_now(self) -> None:
        self.reboot()

    @rule(confirmed=st.booleans())
    def cut_power_and_replay_the_last_downlinks(self, confirmed: bool) -> None:
        self.token += 1
        self.air.server.outbox.insert(0, (9, b"%d" % self.token, b"", confirmed))
        self.world.device.send(7, b"", 0, False, self.world.now_ms)
        self.run_for(20000)
        self.reboot()
        self.air.forced = self.air.old_down[-3:]
        for _ in range(3):
            self.world.device.send(7, b"", 0, False, self.world.now_ms)
            self.run_for(MINUTE)
        self.air.forced = []

    @rule(count=st.integers(1, 3))
    def let_the_flash_fail(self, count: int) -> None:
        self.store.fails = count

    @rule()
    def lose_the_servers_session(self) -> None:
        self.air.server.forget()

    @rule()
    def ask_to_join(self) -> None:
        self.world.device.join(self.world.now_ms)

    @rule(data=st.binary(min_size=1, max_size=60))
    def hear_noise(self, data: bytes) -> None:
        self.world.deliver(data)

    def teardown(self) -> None:
        """When the world is well again, so is the device, within two hours."""
        if not hasattr(self, "world"):
            return
        air = self.air
        air.lose_up = air.lose_down = air.repeat = air.replay = air.garble = 0.0
        self.store.cut = None
        self.store.fails = 0
        air.server.outbox.clear()
        air.forced = []
        end = self.world.elapsed_ms + 2 * HOUR
        is_well = False
        while self.world.elapsed_ms < end and not is_well:
            if self.world.device.max_payload() >= 4:
                self.world.device.send(5, b"well", 4, True, self.world.now_ms)
            seen = len(self.world.events)
            self.world.run(5 * MINUTE)
            # An acknowledgement may be for a frame that was queued in bad times.
            is_well = any(event[0] == dev.EV_ACK for event in self.world.events[seen:]) and any(
                payload == b"well" for _, _, payload in air.server.received
            )
        assert is_well, "no session two hours after all was well"
        self.check()


DeviceMachine.TestCase.settings = settings(
    max_examples=settings().max_examples,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestDevice = DeviceMachine.TestCase


class FixedPlanMachine(DeviceMachine):
    region_name = "US915"


FixedPlanMachine.TestCase.settings = settings(DeviceMachine.TestCase.settings, max_examples=40)
TestDeviceOfAFixedPlan = FixedPlanMachine.TestCase
