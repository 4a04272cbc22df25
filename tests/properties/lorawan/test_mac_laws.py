"""Whatever an authentic network asks for, the device stays within the region and never fails."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.lorawan import device as dev
from protocols.lorawan import frames, mac
from protocols.lorawan.regions import NAMES
from tests.protocols.lorawan.double import Network, World

REQUESTS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 13)


@st.composite
def commands(draw: st.DrawFn) -> bytes:
    """A few requests with random fields, and sometimes rubbish behind them."""
    out = bytearray()
    for cid in draw(st.lists(st.sampled_from(REQUESTS), max_size=4)):
        size = mac.command_size(cid, False)
        out += bytes([cid]) + draw(st.binary(min_size=size, max_size=size))
    if draw(st.booleans()):
        out += draw(st.binary(max_size=6))
    return bytes(out)


def near_home(command: bytes, world: World) -> bytes:
    """Put frequencies into the band half the time, or hardly any would be taken."""
    out = bytearray(command)
    freq = (world.network.region.rx2_freq_hz // 100).to_bytes(3, "little")
    for i in range(len(out) - 4):
        if out[i] in (5, 7, 10) and out[i + 1] & 1:
            out[i + 2 : i + 5] = freq
    return bytes(out)


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    asks=st.lists(st.tuples(commands(), st.booleans()), min_size=1, max_size=6),
    adr=st.booleans(),
)
def test_any_request_leaves_a_device_that_sends_in_its_region(
    name: str, asks: list[tuple[bytes, bool]], adr: bool
) -> None:
    chosen = dev.Settings()
    chosen.adr = adr
    world = World(Network(name), settings=chosen)
    world.join()
    region = world.network.region
    for request, on_port_0 in asks:
        request = near_home(request, world)
        if on_port_0:
            world.network.queue.append((0, request, b"", False, 0))
        else:
            world.network.queue.append((frames.NO_PORT, b"", request[:15], False, 0))
        for _ in range(2):
            size = min(11, world.device.max_payload())
            assert size > 0
            world.device.send(1, bytes(size), size, False, world.now_ms)
            world.run(120000)
            # DutyCycleReq may ask for days of silence; that is the network's right.
            world.device._mac.session.max_duty = 0  # pyright: ignore[reportPrivateUsage]
            world.device._sender._duty._is_quiet = False  # pyright: ignore[reportPrivateUsage]
        for uplink in world.sent:
            assert region.is_frequency(uplink[1])
            assert uplink[3] <= 36
        for _, opts in ((u[1], u[4]) for u in world.network.uplinks):
            assert len(opts) <= 15
        for _, freq_hz, sf, bw_hz in world.heard_ops:
            assert region.is_frequency(freq_hz)
            assert region.dr_of(sf, bw_hz, False) >= 0
    before = len(world.network.uplinks)
    world.boot()
    world.device.send(1, b"x", 1, False, world.now_ms)
    world.run(600000)
    assert len(world.network.uplinks) > before


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_no_record_in_the_store_stops_a_device(data: bytes) -> None:
    """A store that gives back rubbish costs the session, nothing else."""
    world = World(Network())
    world.store.record = data
    world.boot()
    world.join()
    assert world.uplink() == dev.EV_SENT
