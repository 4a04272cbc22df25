"""The network server against frames made by hand: joins, counters, windows, queues."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.lorawan.commands import UplinkFacts, requests, take
from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.records import MacState
from gateway.lorawan.uplinks import REPEATS_MAX
from protocols.lorawan import mac
from tests.gateway.lorawan.ends import GATEWAYS, START_UNIX_MS, EndDevice, Site

QUIET = LorawanConfig(device_status_h=0, adr=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, QUIET)
    yield site
    site.close()


@pytest.fixture
def node(site: Site) -> EndDevice:
    node = site.add(EndDevice(1))
    site.join(node)
    return node


def test_a_join_is_answered_five_seconds_later_with_the_regions_channels(site: Site) -> None:
    node = site.add(EndDevice(1))
    site.hear(node.join_request())
    (sent,) = site.sent
    assert sent.txpk["tmst"] == (site.tmst + 5_000_000) % 2**32
    assert sent.txpk["freq"] == 921.4
    assert sent.txpk["datr"] == "SF10BW125"
    assert sent.txpk["ipol"] and sent.txpk["ncrc"]
    node.take_accept(sent.phy)
    assert node.accept is not None
    assert (node.accept.rx_delay_s, node.accept.rx2_dr) == (1, 2)


def test_an_unconfirmed_uplink_is_delivered_and_not_answered(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    site.hear(node.uplink(b"1.234 m"))
    assert site.payloads() == [b"1.234 m"]
    uplink = site.deliveries[0].uplink
    assert (uplink.device, uplink.f_port, uplink.f_cnt, uplink.dr) == ("node-1", 1, 0, 2)
    assert uplink.gateways == (GATEWAYS[0],)
    site.advance(3000)
    assert site.sent == []


def test_a_confirmed_uplink_is_acknowledged_in_rx1_only_after_delivery(
    site: Site, node: EndDevice
) -> None:
    site.sent.clear()
    site.auto_deliver = False
    tmst = site.tmst
    site.hear(node.uplink(confirmed=True))
    site.advance(500)
    assert site.sent == []
    site.deliver(site.deliveries[0])
    (sent,) = site.sent
    assert sent.txpk["tmst"] == (tmst + 1_000_000) % 2**32
    assert node.read(sent.phy).is_ack


def test_a_late_delivery_is_acknowledged_in_rx2(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    site.auto_deliver = False
    tmst = site.tmst
    site.hear(node.uplink(confirmed=True), datr="SF7BW125", freq=921.6)
    site.advance(1200)
    site.deliver(site.deliveries[0])
    (sent,) = site.sent
    assert sent.txpk["tmst"] == (tmst + 2_000_000) % 2**32
    assert (sent.txpk["freq"], sent.txpk["datr"]) == (921.4, "SF10BW125")


def test_no_delivery_no_acknowledgement_and_the_repetition_is_acknowledged(
    site: Site, node: EndDevice
) -> None:
    site.sent.clear()
    site.auto_deliver = False
    phy = node.uplink(confirmed=True)
    site.hear(phy)
    site.advance(4000)
    assert site.sent == []
    assert site.counters()["answer_undelivered"] == 1
    site.hear(phy)
    site.deliver(site.deliveries[0])
    assert node.read(site.sent[0].phy).is_ack
    assert len(site.deliveries) == 1


def test_a_repetition_is_answered_but_not_delivered_again(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    phy = node.uplink(confirmed=True)
    for _ in range(3):
        site.hear(phy)
        site.advance(4000)
    assert len(site.payloads()) == 1
    assert [node.read(sent.phy).is_ack for sent in site.sent] == [True] * 3


def test_an_old_frame_is_refused(site: Site, node: EndDevice) -> None:
    old = node.uplink(b"old")
    site.hear(old)
    site.advance(4000)
    site.hear(node.uplink(b"new"))
    site.advance(4000)
    site.hear(old)
    assert site.payloads() == [b"old", b"new"]
    assert site.counters()["up_replayed"] == 1


def test_another_frame_with_the_last_counter_is_refused(site: Site, node: EndDevice) -> None:
    site.hear(node.uplink(b"one"))
    site.advance(4000)
    site.hear(node.uplink(b"two", f_cnt=0))
    assert site.payloads() == [b"one"]
    assert site.counters()["up_counter_reused"] == 1


@pytest.mark.parametrize("last", [0xFFFE, 0x1FFFF, 0xFFFF_FFFD])
def test_the_counter_rolls_over(site: Site, node: EndDevice, last: int) -> None:
    node.f_cnt = last
    session = site.store.sessions()[0]
    with site.store.transaction():
        site.store.save_session(replace(session, f_cnt_up=last - 1))
    site.reload()
    counters = [last, last + 1, last + 2]
    for f_cnt in counters:
        site.hear(node.uplink(f_cnt=f_cnt))
        site.advance(4000)
    assert [one.uplink.f_cnt for one in site.deliveries] == counters


def test_dev_nonces_rise(site: Site, node: EndDevice) -> None:
    first = node.join_request(1)
    site.sent.clear()
    site.hear(first)
    assert site.sent == []
    assert site.counters()["join_replayed"] == 1
    site.hear(node.join_request(7))
    assert len(site.sent) == 1


def test_random_dev_nonces_are_taken_once_each(site: Site) -> None:
    node = site.add(EndDevice(2), dev_nonce="random")
    for nonce, answers in ((900, 1), (17, 2), (900, 2), (40000, 3)):
        site.hear(node.join_request(nonce))
        site.advance(8000)
        assert len(site.sent) == answers


def test_the_old_session_serves_until_the_new_one_is_heard(site: Site, node: EndDevice) -> None:
    before = (node.dev_addr, node.nwk_s_key, node.app_s_key)
    site.hear(node.uplink(b"a"))
    site.advance(4000)
    site.hear(node.join_request())
    lost_accept = site.sent[-1].phy
    site.advance(8000)
    site.hear(node.uplink(b"b"))  # the accept was lost: the device stays where it was
    assert site.payloads() == [b"a", b"b"]
    old_frame = node.uplink(b"c")
    node.take_accept(lost_accept)
    assert (node.dev_addr, node.nwk_s_key, node.app_s_key) != before
    site.advance(4000)
    site.hear(node.uplink(b"d"))
    site.advance(4000)
    site.hear(old_frame)
    assert site.payloads() == [b"a", b"b", b"d"]
    assert [one.dev_addr for one in site.store.sessions()] == [node.dev_addr]


def test_too_late_for_rx1_goes_to_rx2(site: Site, node: EndDevice) -> None:
    site.auto_ack = False
    site.sent.clear()
    site.hear(node.uplink(confirmed=True), freq=921.6, datr="SF7BW125")
    site.tx_ack(site.sent[0], "COLLISION_PACKET")
    first, second = (one.txpk for one in site.sent)
    assert (second["tmst"] - first["tmst"]) % 2**32 == 1_000_000
    assert first["data"] == second["data"]
    assert (second["freq"], second["datr"]) == (921.4, "SF10BW125")
    site.tx_ack(site.sent[1])
    site.advance(5000)
    assert len(site.sent) == 2
    assert site.counters()["udp_tx_collision_packet"] == 1


def test_silence_of_the_forwarder_counts_as_refusal(site: Site, node: EndDevice) -> None:
    site.auto_ack = False
    site.sent.clear()
    site.hear(node.uplink(confirmed=True))
    site.advance(5000)
    assert len(site.sent) == 2
    assert site.counters()["udp_tx_no_ack"] == 2


def test_copies_are_joined_and_the_best_gateway_answers(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET, GATEWAYS)
    node = site.add(EndDevice(1))
    site.hear(node.join_request(), GATEWAYS[0])
    site.advance(200)
    node.take_accept(site.sent.pop().phy)
    site.advance(9000)
    phy = node.uplink(confirmed=True)
    for gateway, snr in zip(GATEWAYS, (-3.0, 4.5, 1.0), strict=True):
        site.hear(phy, gateway, snr=snr)
    assert len(site.payloads()) == 1
    assert site.deliveries[0].uplink.gateways == (GATEWAYS[1], GATEWAYS[2], GATEWAYS[0])
    assert [one.gateway for one in site.sent] == [GATEWAYS[1]]
    site.close()


def test_a_missing_copy_is_not_waited_for_longer_than_the_window(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET, GATEWAYS)
    node = site.add_abp(EndDevice(1), 0x01020304)
    phy = node.uplink(confirmed=True)
    tmst = site.tmst
    site.hear(phy, GATEWAYS[0])
    site.advance(199)
    assert site.payloads() == []
    site.advance(1)
    assert len(site.payloads()) == 1
    assert site.sent[0].txpk["tmst"] == (tmst + 1_000_000) % 2**32
    site.hear(phy, GATEWAYS[1])  # a late copy is no repetition
    site.advance(3000)
    assert len(site.sent) == 1
    assert site.counters()["copies_late"] == 1
    site.close()


def test_the_next_best_gateway_takes_over_when_the_best_cannot_send(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET, GATEWAYS[:2], auto_ack=False)
    node = site.add_abp(EndDevice(1), 0x01020304)
    phy = node.uplink(confirmed=True)
    site.hear(phy, GATEWAYS[0], snr=8.0)
    site.hear(phy, GATEWAYS[1], snr=-8.0)
    site.tx_ack(site.sent[0], "TX_FREQ")
    site.tx_ack(site.sent[1], "TX_FREQ")
    assert [one.gateway for one in site.sent] == [GATEWAYS[0], GATEWAYS[0], GATEWAYS[1]]
    assert len({one.txpk["data"] for one in site.sent}) == 1
    site.close()


def test_link_check_and_device_time_are_answered(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    site.hear(node.uplink(f_opts=bytes((mac.LINK_CHECK, mac.DEVICE_TIME))), snr=-5.0)
    got = node.read(site.sent[0].phy)
    check, time = mac.decode(got.f_opts, 0, len(got.f_opts), False)
    assert (check.field("margin_db"), check.field("gateway_count")) == (10, 1)
    gps_s = site.deliveries[0].uplink.received_ms // 1000 - 315_964_800 + 18
    assert time.field("gps_s") == gps_s


def test_a_class_a_downlink_waits_for_the_uplink(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    number, out = site.server.queue_downlink("node-1", 10, b"open", False, 3600, site.now)
    site.take(out)
    number2, out = site.server.queue_downlink("node-1", 10, b"shut", False, 3600, site.now)
    site.take(out)
    assert site.sent == []
    for want, pending in ((b"open", True), (b"shut", False)):
        site.hear(node.uplink())
        got = node.read(site.sent.pop().phy)
        assert (got.payload, got.f_port, got.is_pending) == (want, 10, pending)
        site.advance(4000)
    assert [(one.id, one.state) for one in site.reports] == [(number, "sent"), (number2, "sent")]


def test_a_confirmed_downlink_is_repeated_until_acknowledged(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    _, out = site.server.queue_downlink("node-1", 10, b"open", True, 3600, site.now)
    site.take(out)
    for _ in range(2):
        site.hear(node.uplink())
        assert node.read(site.sent.pop().phy).is_confirmed
        site.advance(4000)
    site.hear(node.uplink(f_ctrl=0x20))
    assert site.sent == []
    assert [one.state for one in site.reports] == ["sent", "sent", "acked"]


def test_a_confirmed_downlink_is_given_up_after_its_tries(site: Site, node: EndDevice) -> None:
    _, out = site.server.queue_downlink("node-1", 10, b"open", True, 3600, site.now)
    site.take(out)
    for _ in range(site.config.confirm_tries + 1):
        site.hear(node.uplink())
        site.advance(4000)
    assert site.reports[-1].state == "not_acked"


def test_a_queued_downlink_expires(site: Site, node: EndDevice) -> None:
    _, out = site.server.queue_downlink("node-1", 10, b"open", False, 60, site.now)
    site.take(out)
    site.advance(61_000)
    assert [one.state for one in site.reports] == ["expired"]
    site.sent.clear()
    site.hear(node.uplink())
    assert site.sent == []


def test_class_c_is_sent_at_once_and_confirmed(site: Site) -> None:
    siren = site.add(EndDevice(5, "siren", "C"))
    site.join(siren)
    site.hear(siren.uplink())
    site.advance(10_000)
    site.sent.clear()
    _, out = site.server.queue_downlink("siren", 10, b"wail", True, 3600, site.now)
    site.take(out)
    (sent,) = site.sent
    assert sent.txpk["imme"] is True
    assert (sent.txpk["freq"], sent.txpk["datr"]) == (921.4, "SF10BW125")
    assert siren.read(sent.phy).payload == b"wail"
    site.advance(9_000)
    assert len(site.sent) == 1
    site.advance(3_000)  # no acknowledgement: again
    assert siren.read(site.sent[1].phy).payload == b"wail"
    site.hear(siren.uplink(b"", 2, f_ctrl=0x20))
    assert site.reports[-1].state == "acked"
    site.advance(60_000)
    assert len(site.sent) == 2


def test_class_c_leaves_a_device_alone_while_it_listens_in_rx1(site: Site) -> None:
    siren = site.add(EndDevice(5, "siren", "C"))
    site.join(siren)
    site.sent.clear()
    site.hear(siren.uplink())
    _, out = site.server.queue_downlink("siren", 10, b"wail", False, 3600, site.now)
    site.take(out)
    assert site.sent == []
    site.advance(4_100)
    assert len(site.sent) == 1


def test_what_does_not_fit_waits_for_a_window_where_it_does(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    _, out = site.server.queue_downlink("node-1", 10, bytes(120), False, 3600, site.now)
    site.take(out)
    site.hear(node.uplink())  # DR2 carries 115 bytes
    assert site.sent == []
    site.advance(4000)
    site.hear(node.uplink(), datr="SF8BW125")
    (sent,) = site.sent
    assert node.read(sent.phy).payload == bytes(120)
    assert sent.txpk["datr"] == "SF8BW125"


def test_addresses_may_collide(site: Site) -> None:
    nodes = [site.add_abp(EndDevice(i), 0x01020304) for i in range(1, 6)]
    for node in nodes:
        site.hear(node.uplink(node.name.encode()))
        site.advance(3000)
    assert [one.uplink.device for one in site.deliveries] == [node.name for node in nodes]
    assert site.payloads() == [node.name.encode() for node in nodes]


def test_foreign_frames_are_counted_and_not_shown(site: Site, node: EndDevice) -> None:
    stranger = EndDevice(99)
    stranger.personalise(0x26011111, bytes(16), bytes(16))
    logged = len(site.store.frames())
    site.hear(stranger.uplink())
    site.hear(stranger.join_request())
    counters = site.counters()
    assert (counters["foreign_data"], counters["foreign_join"]) == (1, 1)
    assert len(site.store.frames()) == logged


def test_the_duty_cycle_is_kept_and_urgent_answers_have_a_reserve(tmp_path: Path) -> None:
    config = LorawanConfig(device_status_h=0, adr=False, duty_percent=0.1)  # 3.6 s of an hour
    site = Site(tmp_path, config)
    node = site.add_abp(EndDevice(1), 0x01020304)
    for i in range(12):
        _, out = site.server.queue_downlink("node-1", 10, bytes(11), False, 9999, site.now)
        site.take(out)
        site.hear(node.uplink(bytes([i])))
        site.advance(4000)
    assert site.counters()["downlink_duty"] == 5  # 7 of 0.371 s fit three quarters of 3.6 s
    before = len(site.sent)
    site.hear(node.uplink(confirmed=True))
    assert len(site.sent) == before + 1
    (status,) = site.server.status(site.now).gateways
    assert 75 < status.duty_used_percent < 100
    site.close()


def test_tmst_wraps(site: Site, node: EndDevice) -> None:
    wrap = 1 << 32
    site.advance((wrap - site.tmst) // 1000 - 500)
    site.pull(GATEWAYS[0])
    site.sent.clear()
    tmst = site.tmst
    site.hear(node.uplink(confirmed=True))
    assert site.sent[0].txpk["tmst"] == tmst + 1_000_000 - wrap


def test_an_uplink_survives_a_power_cut_before_delivery(site: Site, node: EndDevice) -> None:
    site.auto_deliver = False
    phy = node.uplink(b"precious", confirmed=True)
    site.hear(phy)
    site.deliveries.clear()
    site.cut()
    assert site.payloads() == [b"precious"]
    assert site.deliveries[0].uplink.again
    site.sent.clear()
    site.hear(phy)  # the device repeats: it was never acknowledged
    assert site.sent == []
    site.deliver(site.deliveries[0])
    assert node.read(site.sent[0].phy).is_ack
    assert site.payloads() == [b"precious"]


def test_adr_asks_for_a_faster_rate_and_follows_the_answer(tmp_path: Path) -> None:
    site = Site(tmp_path, LorawanConfig(device_status_h=0))
    node = site.add_abp(EndDevice(1), 0x01020304)
    requests = []
    for _ in range(8):
        site.hear(node.uplink(f_ctrl=0x80), snr=8.0)
        site.advance(4000)
    for sent in site.sent:
        got = node.read(sent.phy)
        requests += mac.decode(got.f_opts, 0, len(got.f_opts), False)
    assert {one.cid for one in requests} == {mac.LINK_ADR}
    assert requests[0].field("dr") == 5  # 8 - -15 - 10 = 13 dB: four steps, three to DR5
    assert requests[0].field("mask") == 0b11
    site.hear(node.uplink(f_opts=bytes((mac.LINK_ADR, 7)), f_ctrl=0x80), snr=2.0)
    site.advance(4000)
    site.sent.clear()
    site.hear(node.uplink(f_ctrl=0x80), snr=2.0, datr="SF7BW125")
    assert site.sent == []
    site.close()


def test_what_was_delivered_leaves_the_inbox_with_the_next_commit(
    site: Site, node: EndDevice
) -> None:
    for payload in (b"one", b"two", b"three"):
        site.hear(node.uplink(payload))
        site.advance(4000)
    assert [one.uplink.payload for one in site.store.inbox()] == [b"three"]
    site.cut()
    assert site.payloads()[3:] == [b"three"]  # delivered, but not yet written: once more
    assert site.deliveries[-1].uplink.again
    site.server.close()
    assert site.store.inbox() == []


def test_nobody_can_make_the_server_talk_for_ever(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    phy = node.uplink(confirmed=True)
    for _ in range(30):
        site.pull(GATEWAYS[0])
        site.hear(phy)
        site.advance(5000)
    assert len(site.sent) == 1 + REPEATS_MAX
    assert site.counters()["up_replayed"] == 29 - REPEATS_MAX


def test_a_device_that_does_not_obey_is_not_asked_for_ever(tmp_path: Path) -> None:
    site = Site(tmp_path, LorawanConfig(device_status_h=0))
    node = site.add_abp(EndDevice(1), 0x01020304)
    for _ in range(60):
        site.pull(GATEWAYS[0])
        site.hear(node.uplink(f_ctrl=0x80), snr=8.0)
        site.advance(4000)
    assert len(site.sent) == 8
    for _ in range(30):
        site.pull(GATEWAYS[0])
        site.hear(node.uplink(f_ctrl=0x80), snr=8.0)
        site.advance(4000)
    assert len(site.sent) == 16  # it rested for 64 frames, then eight times more
    site.close()


def test_an_answer_keeps_its_lead_before_the_window(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    site.auto_deliver = False
    for delay_ms, window_us in ((900, 1_000_000), (901, 2_000_000), (1900, 2_000_000), (1901, 0)):
        tmst = site.tmst
        site.hear(node.uplink(confirmed=True))
        site.advance(delay_ms)
        site.deliver(site.deliveries[-1])
        if window_us:
            assert (site.sent.pop().txpk["tmst"] - tmst) % 2**32 == window_us, delay_ms
        assert site.sent == []
        site.advance(5000)


def test_class_c_waits_for_the_acknowledgement_over_other_uplinks(site: Site) -> None:
    siren = site.add(EndDevice(5, "siren", "C"))
    site.join(siren)
    site.hear(siren.uplink())
    site.advance(10_000)
    site.sent.clear()
    _, out = site.server.queue_downlink("siren", 10, b"wail", True, 3600, site.now)
    site.take(out)
    site.advance(500)
    site.hear(siren.uplink())  # on its way already when the command came: no answer to it
    site.advance(5000)
    assert len(site.sent) == 1
    site.advance(6000)
    assert len(site.sent) == 2


def test_a_batch_that_the_disk_refused_did_not_happen(site: Site, node: EndDevice) -> None:
    site.sent.clear()
    site.hear(node.uplink(b"before"))
    site.advance(4000)
    before = site.store.sessions()
    site.store._db.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(site.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    phy = node.uplink(b"now", confirmed=True)
    request = node.join_request()
    site.hear(phy)
    site.hear(request)
    site.advance(5000)
    assert site.counters()["store_failed"] >= 2
    assert (site.sent, site.payloads()) == ([], [b"before"])
    other.execute("ROLLBACK")
    other.close()
    assert site.store.sessions() == before
    site.hear(phy)
    assert site.payloads() == [b"before", b"now"]
    assert node.read(site.sent.pop().phy).is_ack
    site.advance(5000)
    site.hear(request)  # its DevNonce was not used up
    assert len(site.sent) == 1


def test_a_new_power_starts_a_new_history() -> None:
    plan = RadioPlan(LorawanConfig())
    facts = UplinkFacts(9, 5.0, 10, 1, 0, None)
    state = MacState(adr_target=(5, 2, 1), history=((1, 50),), dr=5)
    after, answers = take(bytes((mac.LINK_ADR, 7)), state, facts, plan)
    assert (after.power_index, after.history, answers) == (2, (), [])
    refused, _ = take(bytes((mac.LINK_ADR, 3)), state, facts, plan)
    assert (refused.power_index, refused.history) == (0, ((1, 50),))
    asked = requests(replace(refused, adr=True, history=((1, 99),) * 20), plan, 10, 0)
    assert mac.LINK_ADR not in [one.cid for one in asked]  # it rests after a refusal


def test_without_a_clock_the_time_is_not_told() -> None:
    plan = RadioPlan(LorawanConfig(device_status_h=0))
    ask = bytes((mac.DEVICE_TIME,))
    _, answers = take(ask, MacState(), UplinkFacts(9, 5.0, 10, 1, 86_400_000, None), plan)
    assert answers == []  # 1970: a Pi that has not seen the network yet
    _, answers = take(ask, MacState(), UplinkFacts(9, 5.0, 10, 1, 0, 1_400_000_000_500), plan)
    assert answers == [bytes((mac.DEVICE_TIME,)) + (1_400_000_000).to_bytes(4, "little") + b"\x80"]


def test_a_join_eui_of_somebody_else_is_refused(site: Site) -> None:
    node = site.add(EndDevice(6))
    request = node.join_request()
    with site.store.transaction():
        record = site.store.device(node.dev_eui)
        assert record is not None
        site.store.save_device(replace(record, join_eui="11" * 8))
    site.reload()
    site.hear(request)
    assert site.sent == []
    assert site.counters()["join_eui"] == 1


def test_what_a_gateway_refused_costs_no_airtime(site: Site, node: EndDevice) -> None:
    site.auto_ack = False
    (before,) = site.server.status(site.now).gateways
    site.hear(node.uplink(confirmed=True))
    for _ in range(2):
        site.tx_ack(site.sent[-1], "TX_FREQ")
    (after,) = site.server.status(site.now).gateways
    assert after.duty_used_percent == before.duty_used_percent > 0
    assert after.tx_errors == 2


def test_setting_the_clock_expires_nothing(site: Site, node: EndDevice) -> None:
    site.now = replace(site.now, unix_ms=7_200_000)  # a Pi that has just started: 1970
    site.advance(2000)
    _, out = site.server.queue_downlink("node-1", 10, b"open", False, 60, site.now)
    site.take(out)
    site.now = replace(site.now, unix_ms=START_UNIX_MS)
    _, out = site.server.queue_downlink("node-1", 10, b"shut", False, 60, site.now)
    site.take(out)
    site.advance(55_000)
    assert site.reports == []
    assert site.store.queue()[0].expires_ms > START_UNIX_MS
    site.advance(10_000)
    assert [one.state for one in site.reports] == ["expired", "expired"]


def test_a_class_c_frame_that_meets_another_goes_at_once_after_it(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET, auto_ack=False)
    try:
        siren = site.add_abp(EndDevice(5, "siren", "C"), 0x01020304)
        site.hear(siren.uplink())
        site.advance(10_300)
        site.sent.clear()
        _, out = site.server.queue_downlink("siren", 10, b"wail", False, 60, site.now)
        site.take(out)
        site.tx_ack(site.sent[0], "COLLISION_PACKET")
        site.advance(160)
        assert len(site.sent) == 2, "not at the next full second"
        assert siren.read(site.sent[1].phy).payload == b"wail"
    finally:
        site.close()


def test_a_siren_may_use_the_airtime_that_is_kept_back(tmp_path: Path) -> None:
    # 0.1 % of an hour is 3.6 s; a frame of 20 bytes on SF10 takes 0.37 s, so nine fit it.
    site = Site(tmp_path, LorawanConfig(bind="", duty_percent=0.1))
    try:
        siren = site.add(EndDevice(5, "siren", "C"))
        site.join(siren)
        site.hear(siren.uplink())
        site.advance(10_000)
        site.sent.clear()
        for _ in range(8):
            _, out = site.server.queue_downlink("siren", 10, bytes(7), False, 60, site.now)
            site.take(out)
            site.advance(2000)
        assert len(site.sent) == 8
    finally:
        site.close()


def test_two_sirens_are_not_told_at_once_by_two_gateways(tmp_path: Path) -> None:
    """All listen on one frequency: the orders, and their repetitions, would destroy each other."""
    site = Site(tmp_path, QUIET, gateways=GATEWAYS[:2])
    try:
        first = site.add_abp(EndDevice(5, "siren-1", "C"), 0x01020304)
        second = site.add_abp(EndDevice(6, "siren-2", "C"), 0x01020305)
        site.hear(first.uplink(), gateway=GATEWAYS[0])
        site.hear(second.uplink(), gateway=GATEWAYS[1])
        site.advance(10_300)
        site.sent.clear()
        for name in ("siren-1", "siren-2"):
            _, out = site.server.queue_downlink(name, 10, b"wail", False, 60, site.now)
            site.take(out)
        assert len(site.sent) == 1
        site.advance(2000)
        assert len(site.sent) == 2
        airtime_ms = 289  # 17 bytes at SF10
        assert site.sent[1].at_ms - site.sent[0].at_ms > airtime_ms
        assert site.sent[0].gateway != site.sent[1].gateway
    finally:
        site.close()


def test_a_siren_that_says_nothing_is_told_by_the_other_gateway(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET, gateways=GATEWAYS[:2])
    try:
        siren = site.add_abp(EndDevice(5, "siren", "C"), 0x01020304)
        site.hear(siren.uplink(), gateway=GATEWAYS[0])
        site.advance(10_300)
        site.sent.clear()
        for _ in range(3):
            _, out = site.server.queue_downlink("siren", 10, b"wail", False, 60, site.now)
            site.take(out)
            site.advance(3000)
        assert [one.gateway for one in site.sent] == [GATEWAYS[0], GATEWAYS[1], GATEWAYS[0]]
    finally:
        site.close()
