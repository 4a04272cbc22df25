"""The end device in virtual time: join, uplinks, windows, retransmission, recovery."""

from protocols.errors import LocalError
from protocols.lorawan import device as dev
from protocols.lorawan import frames
from protocols.ticks import ticks_add, ticks_diff
from tests.protocols.lorawan.double import DEV_EUI, JOIN_EUI, MemoryStore, Network, World


def joined(name="AS923-2", **kwargs):
    world = World(Network(name), **kwargs)
    world.join()
    return world


def test_join_in_every_region_and_both_windows():
    for name in ("AS923-2", "EU868", "IN865", "AU915", "US915"):
        for in_rx2 in (False, True):
            world = World(Network(name))
            world.in_rx2 = in_rx2
            world.join()
            assert dev.EV_JOINED in world.kinds()
            assert dev.EV_JOIN_FAILED not in world.kinds()
            assert world.device.ready(world.now_ms)
            after_ms = world.heard_ops[-1][0]
            assert abs(after_ms - (6000 if in_rx2 else 5000)) < 100, after_ms
            region = world.network.region
            if in_rx2:
                rate = region.data_rates[region.rx2_dr]
                assert world.heard_ops[-1][1:] == (region.rx2_freq_hz, rate[0], rate[1])
            assert world.uplink() == dev.EV_SENT
            assert world.network.uplinks[-1][:3] == (0, 1, b"12345678901")


def test_the_home_region_joins_on_its_channels_within_dwell():
    world = World(Network())
    world.network.is_deaf = True
    world.device.join(world.now_ms)
    world.run(3600000)
    assert len(world.sent) > 8
    for _, freq_hz, sf, power_dbm, airtime_us, phy in world.sent:
        assert freq_hz in (921400000, 921600000)
        assert 7 <= sf <= 10 and airtime_us <= 400000
        assert power_dbm == 14 and len(phy) == 23
    assert {s[2] for s in world.sent} == {7, 8, 9, 10}


def test_unconfirmed_uplinks_carry_data_and_counters():
    world = joined()
    for i in range(40):
        assert world.uplink(b"reading%d" % i) == dev.EV_SENT
    assert [u[0] for u in world.network.uplinks] == list(range(40))
    assert [u[2] for u in world.network.uplinks] == [b"reading%d" % i for i in range(40)]
    assert world.network.uplinks[0][3] & frames.ADR


def test_a_confirmed_uplink_is_acknowledged_in_either_window():
    world = joined()
    assert world.uplink(confirmed=True) == dev.EV_ACK
    world.in_rx2 = True
    assert world.uplink(confirmed=True) == dev.EV_ACK
    assert abs(world.heard_ops[-1][0] - 2000) < 100


def test_a_confirmed_uplink_is_sent_as_often_as_asked():
    world = joined()
    world.settings.confirmed_trials = 4
    world.network.is_deaf = True
    sent = len(world.sent)
    assert world.uplink(confirmed=True) == dev.EV_NO_ACK
    trials = [s for s in world.sent[sent:] if s[5][0] >> 5 == frames.CONFIRMED_UP]
    assert len(trials) == 4 and len({s[5] for s in trials}) == 1
    gaps = [b[0] - a[0] for a, b in zip(trials, trials[1:])]
    assert all(gap > 3000 for gap in gaps)


def test_any_class_a_downlink_ends_the_repetitions_of_a_confirmed_uplink():
    world = joined()
    world.settings.confirmed_trials = 4
    real = world.network.hear

    def hear(phy):
        real(phy)
        return world.network.downlink(8, b"no acknowledgement")

    world.network.hear = hear
    sent = len(world.sent)
    assert world.uplink(confirmed=True) == dev.EV_NO_ACK
    assert len(world.sent) == sent + 1


def test_nb_trans_repeats_until_a_downlink():
    world = joined()
    world.network.answers_link_check = False
    world.network.queue.append((frames.NO_PORT, b"", b"\x03\xff\x03\x00\x03", False, 0))
    world.uplink()
    sent = len(world.sent)
    assert world.uplink() == dev.EV_SENT
    assert len(world.sent) - sent == 3
    assert world.network.uplinks[-1][4] == b"\x03\x07"
    world.network.queue.append((5, b"stop", b"", False, 0))
    sent = len(world.sent)
    world.uplink()
    assert len(world.sent) - sent == 1
    assert (dev.EV_DOWNLINK, 0, 5, b"stop") in world.events


def test_a_confirmed_downlink_is_acknowledged_once():
    world = joined()
    world.network.queue.append((7, b"valve", b"", True, 0))
    world.uplink()
    world.uplink()
    world.uplink()
    acks = [u[3] & frames.ACK for u in world.network.uplinks]
    assert acks == [0, frames.ACK, 0]


def test_f_pending_polls_by_itself():
    world = joined()
    world.network.queue.append((7, b"one", b"", False, frames.F_PENDING))
    world.network.queue.append((7, b"two", b"", False, 0))
    world.uplink()
    world.run(60000)
    data = [e[3] for e in world.events if e[0] == dev.EV_DOWNLINK]
    assert data == [b"one", b"two"]
    assert world.network.uplinks[-1][1] == frames.NO_PORT


def test_a_replayed_downlink_is_rejected():
    world = joined()
    phy = world.network.downlink(9, b"again")
    world.network.queue.append((9, b"new", b"", False, 0))
    real = world.network.hear
    replies = []

    def hear(uplink):
        reply = real(uplink)
        replies.append(reply)
        return phy if len(replies) in (2, 3) else reply

    world.network.hear = hear
    for _ in range(3):
        world.uplink()
    data = [e[3] for e in world.events if e[0] == dev.EV_DOWNLINK]
    assert data == [b"new"]
    assert world.device.rejected == 2


def test_class_c_hears_between_uplinks_and_answers():
    settings = dev.Settings()
    settings.class_c = True
    world = joined(settings=settings)
    world.run(10000)
    radio = world.device.radio
    assert radio.is_continuous and (radio.freq_hz, radio.sf) == (921400000, 10)
    world.deliver(world.network.downlink(3, b"siren on", confirmed=True))
    sent = len(world.sent)
    world.run(10000)
    assert (dev.EV_DOWNLINK, 0, 3, b"siren on") in world.events
    assert len(world.sent) == sent + 1
    assert world.network.uplinks[-1][3] & frames.ACK
    assert radio.is_continuous
    assert world.uplink(confirmed=True) == dev.EV_ACK
    world.run(10000)
    world.deliver(world.network.downlink(3, b"siren off"))
    world.run(10)
    assert (dev.EV_DOWNLINK, 0, 3, b"siren off") in world.events


def test_class_c_does_not_answer_what_needs_no_answer():
    settings = dev.Settings()
    settings.class_c = True
    world = joined(settings=settings)
    world.run(10000)
    sent = len(world.sent)
    world.deliver(world.network.downlink(3, b"for your information"))
    world.run(20000)
    assert len(world.sent) == sent


def test_class_a_answers_with_its_next_uplink_and_not_by_itself():
    world = joined()
    world.network.queue.append((frames.NO_PORT, b"", b"\x06", False, 0))
    world.uplink()
    world.network.queue.append((3, b"please confirm", b"", True, 0))
    world.uplink()
    sent = len(world.sent)
    world.run(20000)
    assert len(world.sent) == sent


def test_commands_on_port_0_are_no_data():
    world = joined()
    world.network.queue.append((0, b"\x06", b"", False, 0))
    world.uplink()
    assert dev.EV_DOWNLINK not in world.kinds()


def test_a_class_c_radio_that_fails_is_switched_off_and_on_again():
    settings = dev.Settings()
    settings.class_c = True
    world = joined(settings=settings)
    world.run(10000)
    world.device.radio_failed(world.now_ms)
    assert world.device.step(world.now_ms) == dev.OP_SLEEP
    assert world.device.step(world.now_ms) == dev.OP_NONE
    later = ticks_add(world.now_ms, 6000)
    assert world.device.step(later) == dev.OP_RX and world.device.radio.is_continuous
    assert world.device.step(later) == dev.OP_NONE


def test_a_stray_timeout_does_not_close_the_windows():
    world = joined()
    real = world.transmit

    def transmit():
        real()
        world.device.rx_timeout(world.now_ms)
        world.device.rx_done(10, -100, 0, world.now_ms)

    world.transmit = transmit
    assert world.uplink(confirmed=True) == dev.EV_ACK
    assert world.device.rejected == 0


def test_an_unanswered_confirmed_uplink_probes_at_once():
    world = joined()
    world.network.is_deaf = True
    assert world.uplink(confirmed=True) == dev.EV_NO_ACK
    sent = len(world.sent)
    world.run(10000)
    assert len(world.sent) > sent or world.sent[-1][5][0] >> 5 == frames.UNCONFIRMED_UP
    assert world.sent[-1][5][5] & frames.ADR_ACK_REQ


def test_steps_during_a_transmission_do_nothing_until_it_is_overdue():
    world = joined()
    device = world.device
    assert device.send(1, b"x", 1, False, world.now_ms)
    while device.step(world.now_ms) != dev.OP_TX:
        world.advance(max(1, ticks_diff(device.deadline_ms, world.now_ms)))
    airtime_ms = device.radio.airtime_us // 1000
    assert device.step(ticks_add(world.now_ms, 1)) == dev.OP_NONE
    assert device.step(ticks_add(world.now_ms, airtime_ms + 500)) == dev.OP_NONE
    assert device.radio_failures == 0
    assert device.step(ticks_add(world.now_ms, airtime_ms + 1001)) == dev.OP_SLEEP
    assert device.radio_failures == 1


def test_a_broken_record_does_not_bring_low_nonces_back():
    store = MemoryStore()
    store.record = bytes(222)
    world = World(Network(), store=store)
    world.join()
    assert 0x4000 <= world.network.dev_nonces[0] < 0x8000
    assert dev.EV_RESET in world.kinds()


def test_abp_sends_at_once():
    network = Network()
    nwk, app = bytes(16), bytes(range(16, 32))
    from protocols.lorawan.crypto import BlockKey
    from tests.protocols.lorawan.aes import aes

    network.nwk, network.app = BlockKey(aes, nwk), BlockKey(aes, app)
    world = World(network, keys=dev.AbpKeys(network.dev_addr, nwk, app))
    assert world.device.joined
    assert world.uplink() == dev.EV_SENT
    assert network.uplinks[0][2] == b"12345678901"
    try:
        world.device.join(world.now_ms)
    except LocalError as error:
        assert error.code == "abp"
    else:
        assert False


def test_a_session_goes_on_after_a_power_cut_and_skips_counters():
    world = joined()
    for _ in range(3):
        world.uplink()
    world.boot()
    assert world.device.joined
    world.uplink()
    assert [u[0] for u in world.network.uplinks] == [0, 1, 2, 32]
    assert len(world.network.dev_nonces) == 1


def test_counters_are_stored_once_in_a_block():
    world = joined()
    saves = world.store.saves
    world.network.answers_link_check = False
    world.network.is_deaf = True
    for _ in range(64):
        world.uplink()
    assert world.store.saves - saves <= 3


def test_another_devices_record_is_not_used():
    world = joined()
    other = dev.Keys(DEV_EUI, JOIN_EUI, b"another app key.")
    again = World(Network(), store=world.store, keys=other)
    assert not again.device.joined
    again.run(1)
    assert dev.EV_RESET in again.kinds()


def test_a_failing_store_stops_sending_until_it_works():
    store = MemoryStore()
    world = World(Network(), store=store)
    store.fails = 3
    world.device.join(world.now_ms)
    world.run(25000)
    assert world.sent == [] and world.device.store_failures == 3
    world.run(60000, lambda: world.device.joined)
    assert world.device.joined and world.network.dev_nonces == [0]


def test_what_send_refuses():
    world = joined()
    device = world.device
    for port, length in ((0, 1), (224, 1), (1, device.max_payload() + 1)):
        try:
            device.send(port, bytes(255), length, False, world.now_ms)
        except LocalError as error:
            assert error.code in ("range", "size")
        else:
            assert False
    assert device.send(1, b"a", 1, False, world.now_ms)
    assert not device.send(1, b"b", 1, False, world.now_ms)
    assert not device.ready(world.now_ms)


def test_eleven_bytes_at_the_slowest_rate_of_home():
    settings = dev.Settings()
    settings.dr = 2
    settings.adr = False
    world = joined(settings=settings)
    assert world.device.max_payload() == 11
    assert world.uplink(b"12345678901") == dev.EV_SENT
    assert world.sent[-1][4] <= 400000
    # Answers that do not fit go ahead in a frame of their own.
    world.network.queue.append((frames.NO_PORT, b"", b"\x06", False, 0))
    world.uplink(b"12345678901")
    world.uplink(b"12345678902")
    assert [u[1:3] for u in world.network.uplinks[-2:]] == [
        (frames.NO_PORT, b""),
        (1, b"12345678902"),
    ]
    assert world.network.uplinks[-2][4][0] == 0x06


def test_radio_failures_are_survived():
    world = joined()
    real = world.transmit
    failures = [2]

    def transmit():
        if failures[0]:
            failures[0] -= 1
            world.device.radio_failed(world.now_ms)
        else:
            real()

    world.transmit = transmit
    assert world.uplink() == dev.EV_SENT
    assert world.network.uplinks[-1][2] == b"12345678901"
    assert world.device.radio_failures == 2


def test_a_silent_radio_does_not_hang_the_device():
    world = joined()
    world.transmit = lambda: None
    assert world.device.send(1, b"x", 1, False, world.now_ms)
    world.run(120000)
    assert world.device.radio_failures >= 3
    assert dev.EV_NO_ACK in world.kinds()
    world.transmit = lambda: World.transmit(world)
    assert world.uplink() == dev.EV_SENT


def test_time_and_link_check_are_told():
    world = joined()
    world.network.answers_link_check = False
    world.device.request_time()
    world.device.request_link_check()
    opts = b"\x0d\x80\x96\x98\x4f\x40\x02\x14\x02"
    world.network.queue.append((frames.NO_PORT, b"", opts, False, 0))
    world.uplink(b"x")
    assert world.network.uplinks[-1][4] == b"\x02\x0d"
    assert (dev.EV_TIME, 0x4F989680, 0, b"") in world.events
    assert (dev.EV_LINK, 2, 0, b"") in world.events
    world.uplink(b"x")
    assert world.network.uplinks[-1][4] == b""


def test_nothing_is_allocated_from_the_end_of_an_uplink_to_the_end_of_the_windows():
    try:
        from micropython import heap_lock, heap_unlock
    except ImportError:
        return  # CPython has no heap to lock; the same file runs under MicroPython
    for name in ("AS923-2", "EU868", "US915"):
        for class_c in (False, True):
            settings = dev.Settings()
            settings.class_c = class_c
            world = World(Network(name), settings=settings)
            world.join()
            device = world.device
            assert device.send(1, b"x", 1, False, world.now_ms)
            while device.step(world.now_ms) != dev.OP_TX:
                world.advance(max(1, ticks_diff(device.deadline_ms, world.now_ms)))
            now_ms = ticks_add(world.now_ms, 400)
            windows = 0
            heap_lock()
            try:
                device.tx_done(now_ms)
                for _ in range(5000):
                    op = device.step(now_ms)
                    now_ms = ticks_add(now_ms, 1)
                    if op == dev.OP_RX and not device.radio.is_continuous:
                        windows += 1
                        now_ms = ticks_add(now_ms, 30)
                        device.rx_timeout(now_ms)
                        if windows == 2:
                            break
            finally:
                heap_unlock()
            assert windows == (1 if class_c else 2)


def test_settings_that_do_not_suit_the_region_are_named():
    for name, value, region_name in (
        ("dr", 7, "AS923-2"),
        ("sub_band", 1, "AS923-2"),
        ("sub_band", 9, "US915"),
        ("confirmed_trials", 0, "AS923-2"),
    ):
        settings = dev.Settings()
        setattr(settings, name, value)
        try:
            World(Network(region_name), settings=settings)
        except LocalError as error:
            assert error.code == "range"
        else:
            assert False, name


def test_a_record_of_another_region_is_not_used():
    world = joined()
    again = World(Network("EU868"), store=world.store)
    assert not again.device.joined


def test_late_steps_skip_a_window_and_lose_nothing_else():
    world = joined()
    device = world.device
    assert device.send(1, b"x", 1, True, world.now_ms)
    while device.step(world.now_ms) != dev.OP_TX:
        world.advance(max(1, ticks_diff(device.deadline_ms, world.now_ms)))
    device.tx_done(world.now_ms)
    end_ms = world.now_ms
    assert device.step(ticks_add(end_ms, 1500)) == dev.OP_SLEEP
    assert device.step(device.deadline_ms) == dev.OP_RX
    after = ticks_diff(device.deadline_ms, end_ms)
    assert after > 2000 and device.radio.freq_hz == 921400000 and device.radio.sf == 10
    device.rx_timeout(ticks_add(end_ms, 2200))
    world.advance(2200)
    assert world.run(60000, lambda: dev.EV_NO_ACK in world.kinds())


def test_an_untaken_downlink_is_not_overwritten():
    settings = dev.Settings()
    settings.class_c = True
    world = joined(settings=settings)
    world.run(10000)
    first, second = world.network.downlink(3, b"first"), world.network.downlink(3, b"second")
    world.deliver(first)
    world.device.step(world.now_ms)
    world.deliver(second)
    assert world.device.rejected == 1
    world.run(10)
    world.deliver(second)  # the network sends it again
    world.run(10)
    assert [e[3] for e in world.events if e[0] == dev.EV_DOWNLINK] == [b"first", b"second"]


def test_a_join_asked_for_is_not_called_off_by_a_downlink():
    world = joined()
    assert world.device.send(1, b"x", 1, True, world.now_ms)
    world.device.join(world.now_ms)
    world.run(60000)
    assert len(world.network.dev_nonces) == 2


def test_a_join_accept_counts_once_and_only_upwards():
    for strict in (True, False):
        settings = dev.Settings()
        settings.strict_join_nonce = strict
        world = joined(settings=settings)
        assert world.device._mac.session.join_nonce == 1
        world.network.join_nonce = 0  # the same nonce again
        world.device.join(world.now_ms)
        world.run(8000)
        assert world.kinds().count(dev.EV_JOINED) == 1
        world.network.join_nonce = 41
        world.run(600000, lambda w=world: w.kinds().count(dev.EV_JOINED) == 2)
        assert world.device._mac.session.join_nonce == 42
        world.network.join_nonce = 6  # a network that began to count anew
        world.device.join(world.now_ms)
        world.run(120000)
        assert (world.kinds().count(dev.EV_JOINED) == 3) == (not strict)
