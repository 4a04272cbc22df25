"""Link health: back-off of ADR, outages of the gateway, a network that forgot, jittered rejoin."""

from protocols.lorawan import device as dev
from protocols.lorawan import frames
from tests.protocols.lorawan.double import Network, World

MINUTE = 60000
HOUR = 60 * MINUTE


def run_reporting(world, ms, every_ms=15 * MINUTE, until=None):
    """Run as an application that sends every quarter of an hour; True if `until` came true."""
    end = world.elapsed_ms + ms
    while world.elapsed_ms < end:
        world.device.send(1, b"level", 5, False, world.now_ms)
        if world.run(min(every_ms, end - world.elapsed_ms), until):
            return True
    return False


def joined(name="AS923-2", seed=1, dr_request=b""):
    world = World(Network(name), seed=seed)
    world.join()
    if dr_request:
        world.network.queue.append((frames.NO_PORT, b"", dr_request, False, 0))
        world.uplink(b"x")
        world.uplink(b"x")
    return world


def test_adr_ack_req_after_64_uplinks_and_slower_after_96():
    settings = dev.Settings()
    settings.probe_after_s = 100000
    world = World(Network(), settings=settings)
    world.join()
    world.network.queue.append((frames.NO_PORT, b"", b"\x03\x52\x03\x00\x01", False, 0))
    world.uplink(b"x")
    assert world.device.dr == 5
    world.network.answers_link_check = False
    real = world.network.hear
    flags = []

    def hear(phy):
        flags.append((phy[5] & frames.ADR_ACK_REQ != 0, world.device.radio.sf))
        real(phy)

    world.network.hear = hear
    for _ in range(300):
        world.forget()
        world.uplink(b"x")
    asked = [i for i in range(300) if flags[i][0]]
    assert asked[0] == 63 and asked[-1] == 299
    assert flags[0][1] == 7
    assert world.sent[-1][3] == 14  # full power
    assert max(sf for _, sf in flags[:64]) == 7 and flags[299][1] == 10


def test_adr_back_off_is_that_of_the_specification():
    """Table 9 of LoRaWAN L2 1.0.4: power at 96, a data rate at 128, and so on, channels last."""
    world = World(Network())
    world.join()
    sender, link = world.device._sender, world.device._link
    session = world.device._mac.session
    session.dr, session.tx_power, session.nb_trans, session.mask[0] = 4, 3, 2, 2
    seen = {}
    for count in range(1, 240):
        sender._back_off(link.uplink_sent())
        state = (session.dr, session.tx_power, session.nb_trans, session.mask[0])
        if state not in seen.values():
            seen[count] = state
        assert link.wants_answer() == (count >= 64)
    assert seen == {
        1: (4, 3, 2, 2), 96: (4, 0, 2, 2), 128: (3, 0, 2, 2), 160: (2, 0, 2, 2),
        192: (2, 0, 1, 3),
    }  # fmt: skip


def test_a_quiet_network_is_asked_about_once_an_hour():
    world = joined()
    world.network.uplinks.clear()
    run_reporting(world, 12 * HOUR)
    asked = [u for u in world.network.uplinks if b"\x02" in u[4]]
    assert 10 <= len(asked) <= 20
    assert dev.EV_LINK_LOST not in world.kinds()


def test_an_outage_of_the_gateway_ends_within_minutes():
    for seed in (1, 2, 3):
        world = joined(seed=seed, dr_request=b"\x03\x50\x03\x00\x01")
        world.network.is_deaf = True
        run_reporting(world, 30 * HOUR)
        assert dev.EV_LINK_LOST in world.kinds() and world.device.is_link_lost
        assert world.device.dr == 2 and world.device.joined
        world.network.is_deaf = False
        start = world.elapsed_ms
        assert run_reporting(world, 2 * HOUR, until=lambda w=world: dev.EV_LINK_BACK in w.kinds())
        assert world.elapsed_ms - start <= 20 * MINUTE


def test_a_silent_application_is_back_within_the_hour():
    world = joined()
    world.network.is_deaf = True
    world.run(30 * HOUR)
    assert world.device.is_link_lost
    world.network.is_deaf = False
    assert world.run(HOUR + 10 * MINUTE, lambda: dev.EV_LINK_BACK in world.kinds())


def test_a_network_that_forgot_the_session_is_joined_again():
    for outage_h in (0, 2, 40):
        world = joined(seed=outage_h + 1)
        run_reporting(world, HOUR)
        world.network.is_deaf = True
        run_reporting(world, outage_h * HOUR)
        world.network.is_deaf = False
        world.network.nwk = None  # the server lost its database of sessions
        joins = len(world.network.dev_nonces)
        start = world.elapsed_ms
        assert run_reporting(
            world, 2 * HOUR, until=lambda w=world, n=joins: len(w.network.dev_nonces) > n
        ), outage_h
        assert world.elapsed_ms - start <= 2 * HOUR
        assert world.uplink(b"again") == dev.EV_SENT
        assert world.network.uplinks[-1][2] == b"again"


def test_a_device_switched_on_in_an_outage_joins_within_two_hours_of_its_end():
    for name in ("AS923-2", "AU915", "US915"):
        world = World(Network(name), seed=7)
        world.network.is_deaf = True
        world.device.join(world.now_ms)
        world.run(20 * HOUR)
        assert len(world.sent) > 20
        world.network.is_deaf = False
        assert world.run(2 * HOUR, lambda w=world: w.device.joined), name


def test_joins_keep_to_the_join_duty_cycle():
    world = World(Network(), seed=3)
    world.network.is_deaf = True
    world.device.join(world.now_ms)
    world.run(40 * HOUR)
    joins = [(s[0], s[4]) for s in world.sent]
    on_air_ms = [
        sum(us for at, us in joins if low * HOUR <= at < high * HOUR) // 1000
        for low, high in ((0, 1), (1, 11), (12, 36))
    ]
    assert on_air_ms[0] <= 36000 and on_air_ms[1] <= 36000 and on_air_ms[2] <= 8700
    assert len([at for at, _ in joins if at > 12 * HOUR]) > 20


def test_devices_do_not_rejoin_together():
    first = []
    for seed in range(8):
        world = joined(seed=seed + 1)
        world.network.is_deaf = True
        run_reporting(world, 26 * HOUR)
        late = [s[0] for s in world.sent if s[0] > 24 * HOUR and s[5][0] == 0]
        first.append(late[0] // MINUTE)
    assert len(set(first)) >= 6


def test_nonces_and_counters_run_out_without_being_used_again():
    world = World(Network())
    session = world.device._mac.session
    session.dev_nonce = 0xFFFE
    world.network.is_deaf = True
    world.device.join(world.now_ms)
    world.run(12 * HOUR)
    nonces = [s[5][17] | s[5][18] << 8 for s in world.sent]
    assert nonces == [0xFFFE, 0xFFFF]
    assert dev.EV_EXHAUSTED in world.kinds()


def test_frame_counters_roll_over_16_bits_and_end_at_32():
    world = joined()
    session = world.device._mac.session
    session.f_cnt_up = session.f_cnt_up_reserved = 0xFFFE
    world.network.last_f_cnt = 0xFFFD
    for _ in range(4):
        world.uplink(b"x")
    assert [u[0] for u in world.network.uplinks[-4:]] == [0xFFFE, 0xFFFF, 0x10000, 0x10001]
    session.f_cnt_up = session.f_cnt_up_reserved = 0xFFFFFFFE
    world.network.last_f_cnt = 0xFFFFFFFD
    world.uplink(b"x")
    world.uplink(b"x")
    assert [u[0] for u in world.network.uplinks[-2:]] == [0xFFFFFFFE, 0xFFFFFFFF]
    assert world.device.send(1, b"x", 1, False, world.now_ms)
    world.run(10 * MINUTE)
    assert dev.EV_EXHAUSTED in world.kinds()
    assert len(world.network.dev_nonces) == 2 and session.f_cnt_up < 100


def test_an_exhausted_counter_stays_exhausted_over_a_power_cut():
    world = joined()
    session = world.device._mac.session
    session.f_cnt_up = session.f_cnt_up_reserved = 0xFFFFFFFF
    world.network.last_f_cnt = 0xFFFFFFFE
    world.uplink(b"x")
    world.network.is_deaf = True
    world.boot()
    sent = len(world.sent)
    world.device.send(1, b"x", 1, False, world.now_ms)
    world.run(10 * MINUTE)
    assert all(s[5][0] == 0 for s in world.sent[sent:])


def test_exhausted_nonces_stay_exhausted_over_a_power_cut():
    world = World(Network())
    world.device._mac.session.dev_nonce = 0xFFFF
    world.network.is_deaf = True
    world.device.join(world.now_ms)
    world.run(10 * MINUTE)
    world.boot()
    world.device.join(world.now_ms)
    world.run(10 * MINUTE)
    assert len(world.sent) == 1


def test_downlink_counters_roll_over():
    world = joined()
    for f_cnt in (0xFFFF, 0x10000, 0x1FFFF, 0x20000, 0x2FFFF, 0x3FFFE):
        world.network.f_cnt_down = f_cnt
        world.network.queue.append((4, b"n", b"", False, 0))
        before = world.device.downlinks
        world.uplink(b"x")
        assert world.device.downlinks == before + 1, f_cnt
    assert world.device._mac.session.f_cnt_down == 0x3FFFE


def test_probing_adds_the_default_channels_but_not_all_of_a_fixed_plan():
    for name, only, after in (("AS923-2", 2, 3), ("US915", 0, 0)):
        world = joined(name)
        session = world.device._mac.session
        if name == "US915":
            session.mask[:] = bytes((0, 0xFF, 0, 0, 0, 0, 0, 0, 2, 0))
        else:
            session.mask[0] = only
        world.network.is_deaf = True
        run_reporting(world, 3 * HOUR)
        assert world.device.is_link_lost
        assert session.mask[0] == after, name


def test_a_fixed_plan_is_searched_as_rp002_has_it():
    """DR0 and DR4 (DR2 and DR6) in turn, both in each block of eight channels."""
    for name, low_hz, narrow_sf in (("US915", 902300000, 10), ("AU915", 915200000, 10)):
        world = World(Network(name))
        world.network.is_deaf = True
        world.device.join(world.now_ms)
        world.run(10 * HOUR)
        assert len(world.sent) >= 16
        blocks = []
        for i in range(16):
            _, freq_hz, sf, _, _, _ = world.sent[i]
            if i % 2 == 0:
                assert sf == narrow_sf and (freq_hz - low_hz) % 200000 == 0
                blocks.append((freq_hz - low_hz) // 1600000)
            else:
                assert sf == 8 and (freq_hz - low_hz - 700000) % 1600000 == 0
                blocks.append((freq_hz - low_hz - 700000) // 1600000)
        assert blocks == [i // 2 for i in range(16)]


def test_full_frames_without_adr_ask_nothing_and_so_miss_nothing():
    settings = dev.Settings()
    settings.adr = False
    settings.dr = 2
    world = World(Network(), settings=settings)
    world.join()
    for _ in range(40):
        world.device.send(1, b"12345678901", 11, False, world.now_ms)
        world.run(3 * MINUTE)
    assert dev.EV_LINK_LOST not in world.kinds() and dev.EV_LINK in world.kinds()
    assert world.device._link._misses == 0
    assert all(len(u[2]) == 11 or b"\x02" in u[4] for u in world.network.uplinks)
