"""Duty cycle and dwell are held by construction: no use of the device can break them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.lorawan import device as dev
from protocols.lorawan.duty import DutyCycle
from protocols.lorawan.regions import NAMES, Region, region
from protocols.ticks import ticks_add
from tests.protocols.lorawan.double import START_MS, Network, World

HOUR = 3600000


def worst_hour_us(frames_sent: list[tuple[int, int]]) -> int:
    """The most airtime in any hour of (start ms, airtime us), counted at starts."""
    worst = total = first = 0
    for start_ms, airtime_us in frames_sent:
        total += airtime_us
        while frames_sent[first][0] <= start_ms - HOUR:
            total -= frames_sent[first][1]
            first += 1
        worst = max(worst, total)
    return worst


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from([n for n in NAMES if region(n).duty]),
    band=st.integers(0, 5),
    asks=st.lists(st.tuples(st.integers(0, 200000), st.integers(20000, 3000000)), min_size=200),
)
def test_no_hour_of_any_band_has_more_than_its_share(
    name: str, band: int, asks: list[tuple[int, int]]
) -> None:
    """Frames of 20 ms to 3 s, asked for at random times, each sent as soon as it is let."""
    r = region(name)
    low_hz, _, n = r.duty[band % len(r.duty)]
    duty = DutyCycle(r)
    elapsed = 0
    sent: list[tuple[int, int]] = []
    longest = 0
    for pause_ms, airtime_us in asks:
        elapsed += pause_ms
        for _ in range(4):
            wait = duty.wait_ms(low_hz, airtime_us, ticks_add(START_MS, elapsed))
            if not wait:
                break
            elapsed += wait
        else:
            raise AssertionError("waiting does not help")
        duty.spend(low_hz, airtime_us, 0, ticks_add(START_MS, elapsed))
        sent.append((elapsed, airtime_us))
        longest = max(longest, airtime_us)
    # One frame longer than a full budget may start it: 0.1 % bands at SF12.
    full_us = 600000000 // n
    assert worst_hour_us(sent) <= 3600000000 // n + max(0, longest - full_us)


def flood(world: World, hours: int, size: int) -> None:
    """Send as fast as the device takes it."""
    end = world.elapsed_ms + hours * HOUR
    data = bytes(size)
    while world.elapsed_ms < end:
        length = min(size, world.device.max_payload())
        world.device.send(1, data, length, False, world.now_ms)
        world.run(2000)


def test_a_device_that_always_sends_keeps_to_its_share() -> None:
    """The whole device, joined and flooding, in the regions with a limit."""
    for name, dr in (("AS923-2", 2), ("AS923-2", 5), ("EU868", 0), ("EU868", 5)):
        chosen = dev.Settings()
        chosen.dr = dr
        chosen.adr = False
        world = World(Network(name), settings=chosen)
        world.join()
        flood(world, 3, 11)
        r: Region = world.network.region
        assert len(world.sent) > 30
        for low_hz, high_hz, n in r.duty:
            sent = [(s[0], s[4]) for s in world.sent if low_hz <= s[1] <= high_hz]
            assert worst_hour_us(sent) <= 3600000000 // n
        if r.has_dwell:
            assert all(s[4] <= 400000 for s in world.sent)


def test_no_frame_is_longer_than_its_data_rate_allows() -> None:
    """Every region, data rate and dwell setting, with answers and requests in the frame too."""
    for name in NAMES:
        r = region(name)
        for dr in range(r.up_dr_min, r.up_dr_max + 1):
            if not r.payload_limit(dr, True):
                continue
            chosen = dev.Settings()
            chosen.dr = dr
            chosen.adr = False
            world = World(Network(name), settings=chosen)
            world.join()
            world.network.queue.append((0, b"\x06" * 20 + b"\x08\x03\x05\x00\x00\x00\x00", b"",
                                        False, 0))  # fmt: skip
            for size in (1, world.device.max_payload(), world.device.max_payload() // 2):
                world.device.request_time()
                world.device.request_link_check()
                world.uplink(bytes(size), ms=HOUR)
            for sent in world.sent[1:]:
                assert len(sent[5]) <= r.payload_limit(dr, True) + 13
