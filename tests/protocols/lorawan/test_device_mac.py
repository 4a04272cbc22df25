"""MAC requests obeyed and answered by the device, named after LoRaWAN L2 1.0.4 section 5."""

from binascii import unhexlify

from protocols.lorawan import device as dev
from protocols.lorawan import frames
from protocols.lorawan.regions import encode_cf_list_frequencies, encode_cf_list_masks
from tests.protocols.lorawan.double import Network, World


def joined(name="AS923-2", **kwargs):
    world = World(Network(name), **kwargs)
    world.network.answers_link_check = False
    world.join()
    return world


def ask(world, text):
    """Send the request bytes, obey, and give the FOpts of the next uplink."""
    world.network.queue.append((frames.NO_PORT, b"", unhexlify(text.replace(" ", "")), False, 0))
    world.uplink(b"x")
    world.uplink(b"x")
    return world.network.uplinks[-1][4]


def session_of(world):
    return world.device._mac.session


def test_link_adr_req_changes_rate_power_and_repetitions():
    world = joined()
    assert ask(world, "03 53 03 00 02") == b"\x03\x07"
    session = session_of(world)
    assert (session.dr, session.tx_power, session.nb_trans) == (5, 3, 2)
    assert world.sent[-1][2] == 7 and world.sent[-1][3] == 16 - 6 - 2


def test_link_adr_req_keeps_what_is_15_and_takes_0_repetitions_as_1():
    world = joined()
    before = session_of(world).dr
    assert ask(world, "03 ff 01 00 00") == b"\x03\x07"
    session = session_of(world)
    assert (session.dr, session.tx_power, session.nb_trans) == (before, 0, 1)
    assert session.mask[0] == 1


def test_link_adr_req_is_all_or_nothing():
    world = joined()
    session = session_of(world)
    before = (session.dr, session.tx_power, bytes(session.mask))
    # An undefined channel; a rate under the dwell limit; FSK; no channel at all.
    for request, answer in (
        ("03 50 10 00 01", b"\x03\x06"),
        ("03 00 03 00 01", b"\x03\x05"),
        ("03 70 03 00 01", b"\x03\x05"),
        ("03 58 03 00 01", b"\x03\x03"),
        ("03 50 00 00 01", b"\x03\x06"),
        ("03 50 03 00 11", b"\x03\x06"),
    ):
        assert ask(world, request) == answer, request
        assert (session.dr, session.tx_power, bytes(session.mask)) == before, request


def test_a_block_of_link_adr_req_is_one_request():
    world = joined("US915")
    # Off with all narrow ones, on with the second eight; the last one's rate counts for both.
    assert ask(world, "03 30 00 00 71 03 21 00 ff 01") == b"\x03\x07\x03\x07"
    session = session_of(world)
    assert bytes(session.mask) == bytes((0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0))
    assert (session.dr, session.tx_power) == (2, 1)
    # One narrow channel is too few in the United States, and the whole block is refused.
    assert ask(world, "03 30 00 00 71 03 20 01 00 01") == b"\x03\x06\x03\x06"
    assert session.mask[1] == 0xFF


def test_link_adr_req_masks_of_fixed_plans():
    world = joined("AU915")
    session = session_of(world)
    assert ask(world, "03 f0 02 00 51") == b"\x03\x07"
    assert bytes(session.mask) == bytes((0, 0xFF, 0, 0, 0, 0, 0, 0, 2, 0))
    assert ask(world, "03 20 00 00 61") == b"\x03\x07"
    assert bytes(session.mask) == b"\xff" * 8 + b"\0\0"
    assert ask(world, "03 f0 01 00 41") == b"\x03\x07"
    assert session.mask[8] == 1


def test_link_adr_req_without_adr_changes_channels_only():
    settings = dev.Settings()
    settings.adr = False
    settings.dr = 3
    world = joined(settings=settings)
    assert ask(world, "03 55 01 00 03") == b"\x03\x07"
    session = session_of(world)
    assert (session.dr, session.tx_power, session.nb_trans, session.mask[0]) == (3, 0, 1, 1)
    assert not world.network.uplinks[-1][3] & frames.ADR


def test_duty_cycle_req_spaces_uplinks():
    world = joined()
    assert ask(world, "04 09") == b"\x04"
    first = world.sent[-1]
    world.uplink(b"x")
    gap_ms = world.sent[-1][0] - first[0]
    assert gap_ms >= first[4] // 1000 * 512


def test_rx_param_setup_req_moves_rx2_and_is_sticky():
    world = joined()
    world.network.queue.append((frames.NO_PORT, b"", unhexlify("0513e0af8c"), False, 0))
    world.uplink(b"x")
    world.in_rx2 = True
    for _ in range(3):
        world.uplink(b"x")
        assert world.network.uplinks[-1][4] == b"\x05\x07"
    assert world.heard_ops[-1][1:3] == (int.from_bytes(b"\xe0\xaf\x8c", "little") * 100, 9)
    session = session_of(world)
    assert (session.rx1_offset, session.rx2_dr) == (1, 3)
    world.network.queue.append((1, b"enough", b"", False, 0))
    world.uplink(b"x")
    world.uplink(b"x")
    assert world.network.uplinks[-1][4] == b""


def test_rx_param_setup_req_is_refused_as_a_whole():
    world = joined()
    assert ask(world, "05 12 000000") == b"\x05\x06"
    assert ask(world, "05 17 e0af8c") == b"\x05\x05"
    assert session_of(world).rx2_dr == 2 and session_of(world).rx1_offset == 0
    us = joined("US915")
    assert ask(us, "05 48 d8e28c") == b"\x05\x02"  # neither the frequency nor offset 4


def test_sticky_answers_survive_a_power_cut():
    world = joined()
    world.network.queue.append((frames.NO_PORT, b"", b"\x08\x05", False, 0))
    world.uplink(b"x")
    world.boot()
    world.uplink(b"x")
    assert world.network.uplinks[-1][4][:1] == b"\x08"
    assert session_of(world).rx1_delay_s == 5
    assert abs(world.heard_ops[-1][0] - 6000) < 100


def test_rx_timing_setup_req_zero_means_one():
    world = joined()
    assert ask(world, "08 00") == b"\x08"
    assert session_of(world).rx1_delay_s == 1


def test_dev_status_req_tells_battery_and_margin():
    world = joined()
    world.device.battery = 123
    assert ask(world, "06") == b"\x06\x7b\x07"  # 28 quarter dB


def test_new_channel_req_adds_changes_and_removes():
    world = joined()
    session = session_of(world)
    assert ask(world, "07 02 60a78c 50") == b"\x07\x03"
    assert session.freqs_hz[2] == 0x8CA760 * 100 and session.mask[0] == 7
    assert ask(world, "07 02 000000 00") == b"\x07\x03"
    assert session.freqs_hz[2] == 0 and session.mask[0] == 3
    # A default channel; an index too high; another band; an upside-down range.
    assert ask(world, "07 00 60a78c 50") == b"\x07\x02"
    assert ask(world, "07 10 60a78c 50") == b"\x07\x02"
    assert ask(world, "07 02 000001 50") == b"\x07\x02"
    assert ask(world, "07 02 60a78c 05") == b"\x07\x01"
    assert session.freqs_hz[2] == 0


def test_dl_channel_req_moves_rx1():
    world = joined()
    for channel in ("00", "01"):
        assert ask(world, "0a " + channel + " 60a78c")[-2:] == b"\x0a\x03"
    world.in_rx2 = True
    world.uplink(b"x")
    assert world.heard_ops[-1][1] == 0x8CA760 * 100 or world.heard_ops[-2][1] == 0x8CA760 * 100
    assert ask(world, "0a 05 60a78c") == b"\x0a\x01"
    assert ask(world, "0a 00 000000")[-2:] == b"\x0a\x02"


def test_tx_param_setup_req_lifts_and_restores_the_dwell_limit():
    world = joined()
    session = session_of(world)
    assert ask(world, "09 05") == b"\x09"  # no limits, 16 dBm
    assert not session.up_dwell and world.device.max_payload() >= 115
    assert ask(world, "03 00 03 00 01")[-2:] == b"\x03\x07"
    assert session.dr == 0 and world.device.max_payload() == 51
    ask(world, "09 33")  # both limits, 13 dBm
    assert session.dr == 2 and session.up_dwell and session.down_dwell
    assert world.device.max_payload() == 11
    assert world.sent[-1][3] == 13 - 2
    eu = joined("EU868")
    assert ask(eu, "09 05") == b""


def test_requests_that_do_not_exist_in_a_region_get_no_answer():
    world = joined("US915")
    assert ask(world, "07 02 60a78c 50") == b""
    assert ask(world, "0a 00 60a78c") == b""


def test_class_b_and_unknown_requests_are_passed_over():
    world = joined()
    assert ask(world, "11 60a78c 02 06 80 06")[:1] == b"\x06"
    assert len(world.network.uplinks[-1][4]) == 3


def test_many_requests_on_port_0_are_answered_on_port_0():
    world = joined()
    world.network.queue.append((0, b"\x06" * 6, b"", False, 0))
    world.uplink(b"x")
    world.uplink(b"x")
    _, f_port, payload, _, opts = world.network.uplinks[-2]
    assert f_port == 0 and opts == b""
    limit = 11 if world.sent[-2][2] == 10 else 18
    assert payload[:3] == b"\x06\xff\x07" and len(payload) <= limit and len(payload) % 3 == 0
    assert world.network.uplinks[-1][1:3] == (1, b"x")


def test_cf_list_adds_five_channels():
    network = Network()
    network.cf_list = encode_cf_list_frequencies(
        (921800000, 922000000, 922200000, 922400000, 900000000)
    )
    world = World(network)
    world.join()
    session = session_of(world)
    assert session.freqs_hz[:8] == [
        921400000, 921600000, 921800000, 922000000, 922200000, 922400000, 0, 0,
    ]  # fmt: skip
    assert session.mask[0] == 0x3F
    for _ in range(40):
        world.uplink(b"x")
    assert len({s[1] for s in world.sent[1:]}) == 6


def test_cf_list_masks_a_fixed_plan():
    network = Network("AU915")
    network.cf_list = encode_cf_list_masks(bytes((0, 0xFF, 0, 0, 0, 0, 0, 0, 2, 0)))
    world = World(network)
    world.join()
    for _ in range(20):
        world.uplink(b"x")
        assert 916800000 <= world.sent[-1][1] <= 918200000 or world.sent[-1][1] == 917500000


def test_join_accept_settings_are_used():
    network = Network()
    network.rx1_offset, network.rx2_dr, network.rx_delay_s = 2, 4, 3
    world = World(network)
    world.join()
    world.in_rx2 = True
    sent_sf = world.device.dr
    world.uplink(confirmed=True)
    assert abs(world.heard_ops[-1][0] - 4000) < 100 and world.heard_ops[-1][2] == 8
    assert world.heard_ops[-2][2] == 12 - max(sent_sf - 2, 0)


def test_a_sub_band_keeps_a_fixed_plan_to_its_channels():
    settings = dev.Settings()
    settings.sub_band = 2
    world = World(Network("US915"), settings=settings)
    world.join()
    for _ in range(20):
        world.uplink(b"x")
    for _, freq_hz, _, _, _, _ in world.sent:
        assert 903900000 <= freq_hz <= 905300000 or freq_hz == 904600000


def test_answers_are_in_the_order_of_the_requests():
    world = joined()
    assert ask(world, "06 08 02 06") == b"\x06\xff\x07\x08\x06\xff\x07"


def test_answers_that_are_not_sticky_go_once():
    world = joined()
    world.network.queue.append((frames.NO_PORT, b"", b"\x06\x08\x02", False, 0))
    world.uplink(b"x")
    for _ in range(2):
        world.uplink(b"x")
    first, second = world.network.uplinks[-2:]
    assert first[4] == b"\x06\xff\x07\x08" and second[4] == b"\x08"


def test_class_c_ignores_frames_with_commands_outside_the_windows():
    settings = dev.Settings()
    settings.class_c = True
    world = joined(settings=settings)
    world.run(10000)
    world.deliver(world.network.downlink(3, b"data", b"\x06"))
    world.run(10)
    world.deliver(world.network.downlink(0, b"\x06"))
    world.run(10)
    assert world.device.rejected == 2 and dev.EV_DOWNLINK not in world.kinds()
    world.deliver(world.network.downlink(3, b"data"))
    world.run(10)
    assert world.events[-1][3] == b"data"


def test_an_answer_that_nobody_asked_for_is_not_told():
    world = joined()
    world.network.queue.append((frames.NO_PORT, b"", b"\x02\x05\x01\x0d\0\0\0\0\0", False, 0))
    world.uplink(b"x")
    assert dev.EV_LINK not in world.kinds() and dev.EV_TIME not in world.kinds()
