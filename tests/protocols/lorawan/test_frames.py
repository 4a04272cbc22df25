"""Frames against those published in lora-packet's tests (anthonykirby on GitHub)."""

from binascii import unhexlify

from protocols.errors import LocalError, RemoteError
from protocols.lorawan import frames
from protocols.lorawan.crypto import BlockKey
from tests.protocols.lorawan.aes import aes

NWK = BlockKey(aes, unhexlify("44024241ed4ce9a68c6a8bc055233fd3"))
APP = BlockKey(aes, unhexlify("ec925802ae430ca77fd3dd73cb2cc588"))
APP_KEY = unhexlify("98929b92c49edba9676d646d3b612456")

# PHYPayload, confirmed, FCtrl, FCnt, FPort, clear payload.
DATA = (
    ("40f17dbe4900020001954378762b11ff0d", False, 0, 2, 1, b"test"),
    ("40f17dbe49000300012a3518af", False, 0, 3, 1, b""),
    (
        "40f17dbe490004000155332de41a11adc072553544429ce7787707d1c316e027e7e5e334263376affb8a"
        "a17ad30075293f28dea8a20af3c5e7",
        False,
        0,
        4,
        1,
        b"The quick brown fox jumps over the lazy dog.",
    ),
    ("60f17dbe4920020001f9d65d27", False, frames.ACK, 2, 1, b""),
)


def code_of(call, *args):
    try:
        call(*args)
    except (RemoteError, LocalError) as error:
        return error.code
    return None


def test_published_data_frames_are_read():
    frame = frames.DataFrame()
    for text, confirmed, f_ctrl, f_cnt, f_port, payload in DATA:
        buf = bytearray(unhexlify(text))
        frame.parse(buf, len(buf))
        assert frame.dev_addr == 0x49BE7DF1
        assert frame.is_confirmed == confirmed and frame.is_uplink == (text[0] == "4")
        assert (frame.f_ctrl, frame.f_cnt_16, frame.f_port) == (f_ctrl, f_cnt, f_port)
        assert frame.check_mic(buf, f_cnt, NWK)
        assert not frame.check_mic(buf, f_cnt + 0x10000, NWK)
        frame.open(buf, f_cnt, NWK, APP)
        assert bytes(buf[frame.payload_start : frame.payload_start + frame.payload_len]) == payload


def test_published_data_frames_are_written():
    buf = bytearray(255)
    for text, _, f_ctrl, f_cnt, f_port, payload in DATA:
        want = unhexlify(text)
        size = frames.encode_data_into(
            buf, want[0] >> 5, 0x49BE7DF1, f_ctrl, f_cnt, b"", 0, f_port, payload, len(payload),
            NWK, APP,
        )  # fmt: skip
        assert bytes(buf[:size]) == want


def test_a_published_frame_with_port_0_has_a_good_mic():
    buf = bytearray(unhexlify("4006dc00fcc07400000244925050"))
    key = BlockKey(aes, unhexlify("581c4d08ef04cda30b1fef7a8b2c74b8"))
    frame = frames.DataFrame()
    frame.parse(buf, len(buf))
    assert frame.f_port == 0 and frame.payload_len == 1
    assert frame.check_mic(buf, frame.f_cnt_16, key)


def test_published_join_request():
    text = unhexlify("0039363463336913aa05693574323831330489c65b1304")
    key = BlockKey(aes, APP_KEY)
    request = frames.parse_join_request(text, 23)
    assert request.join_eui == unhexlify("aa13693363343639")
    assert request.dev_eui == unhexlify("3331383274356905")
    assert request.dev_nonce == 0x8904
    assert frames.check_join_request_mic(text, key)
    buf = bytearray(23)
    frames.encode_join_request_into(buf, request.join_eui, request.dev_eui, 0x8904, key)
    assert bytes(buf) == text
    buf[22] ^= 1
    assert not frames.check_join_request_mic(buf, key)


def test_published_join_accepts():
    # The first is not encrypted where it is published: check what the encoder signs.
    buf = bytearray(33)
    accept = frames.JoinAccept(0x376338, 0xAABBCC, 0x012CCDE7)
    assert frames.encode_join_accept_into(buf, accept, aes, APP_KEY) == 17
    opened = frames.open_join_accept(buf, 17, BlockKey(aes, APP_KEY))
    assert (opened.join_nonce, opened.net_id, opened.dev_addr) == (0x376338, 0xAABBCC, 0x012CCDE7)
    assert opened.cf_list == b"" and opened.rx_delay_s == 1
    zero = bytearray(unhexlify("20e3de108795f776b8037610ef7869b5b3"))
    opened = frames.open_join_accept(zero, 17, BlockKey(aes, bytes(16)))
    assert bytes(zero) == unhexlify("20000000000000000000000000f86f0a91")
    assert opened.rx_delay_s == 1  # 0 travels and means 1


def test_a_join_accept_with_channels_survives():
    buf = bytearray(33)
    accept = frames.JoinAccept(1, 2, 0xFC000001, 3, 2, 5, bytes(range(16)))
    assert frames.encode_join_accept_into(buf, accept, aes, APP_KEY) == 33
    broken = bytearray(buf)
    broken[20] ^= 0x10
    assert code_of(frames.open_join_accept, broken, 33, BlockKey(aes, APP_KEY)) == "mic"
    opened = frames.open_join_accept(buf, 33, BlockKey(aes, APP_KEY))
    assert (opened.rx1_dr_offset, opened.rx2_dr, opened.rx_delay_s) == (3, 2, 5)
    assert opened.dev_addr == 0xFC000001 and opened.cf_list == bytes(range(16))


def test_malformed_frames_are_named():
    frame = frames.DataFrame()
    parse = frame.parse
    assert code_of(parse, b"", 0) == "size"
    assert code_of(parse, b"\x41" + bytes(20), 21) == "major"
    assert code_of(parse, b"\x00" + bytes(22), 23) == "type"
    assert code_of(parse, b"\xe0" + bytes(22), 23) == "type"
    assert code_of(parse, b"\x40" + bytes(10), 11) == "size"
    assert code_of(parse, b"\x40\0\0\0\0\x01" + bytes(6), 12) == "f_opts"
    assert code_of(parse, b"\x40\0\0\0\0\x01" + bytes(7), 13) is None
    assert frame.f_port == frames.NO_PORT
    assert code_of(parse, b"\x40\0\0\0\0\x01" + bytes(8), 14) == "port_0_f_opts"
    assert code_of(parse, b"\x40" + bytes(255), 256) == "size"
    assert code_of(frames.parse_join_request, b"\x00" + bytes(21), 22) == "size"
    assert code_of(frames.parse_join_request, b"\x40" + bytes(22), 23) == "type"
    key = BlockKey(aes, APP_KEY)
    assert code_of(frames.open_join_accept, bytearray(b"\x20" + bytes(20)), 21, key) == "size"
    assert code_of(frames.open_join_accept, bytearray(b"\x60" + bytes(16)), 17, key) == "type"


def test_the_encoder_refuses_what_does_not_fit():
    buf = bytearray(255)

    def encode(m_type, addr, f_cnt, opts, port, size):
        payload = bytes(256)
        return frames.encode_data_into(
            buf, m_type, addr, 0, f_cnt, payload, opts, port, payload, size, NWK, APP
        )

    assert encode(2, 0xFFFFFFFF, 0xFFFFFFFF, 0, 255, 242) == 255
    for arguments in (
        (1, 0, 0, 0, 1, 0),
        (2, 1 << 32, 0, 0, 1, 0),
        (2, 0, 1 << 32, 0, 1, 0),
        (2, 0, 0, 16, 1, 0),
        (2, 0, 0, 1, 0, 0),
        (2, 0, 0, 0, 256, 0),
        (2, 0, 0, 0, frames.NO_PORT, 1),
        (2, 0, 0, 1, 1, 242),
    ):
        assert code_of(encode, *arguments) == "range", arguments


def test_the_counter_after_the_last():
    after = frames.f_cnt_after
    assert after(0, -1) == 0 and after(0xFFFF, -1) == 0xFFFF
    assert after(5, 5) == 5 and after(6, 5) == 6 and after(4, 5) == 0x10004
    assert after(0, 0xFFFF) == 0x10000
    assert after(0xFFFF, 0x1FFFE) == 0x1FFFF
    assert after(0xFFFF, 0xFFFFFFFE) == 0xFFFFFFFF
    assert after(0, 0xFFFFFFFF) == -1
