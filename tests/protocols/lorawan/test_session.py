"""The stored record: every field comes back, for its owner only, and not when it is damaged."""

from protocols.lorawan.interface import RECORD_MAX
from protocols.lorawan.regions import region
from protocols.lorawan.session import F_CNT_END, RECORD_SIZE, Session
from tests.protocols.lorawan.double import Entropy

OWNER = b"mine"
FIELDS = (
    "has_session", "dev_nonce", "join_nonce", "dev_addr", "nwk_s_key", "app_s_key", "f_cnt_down",
    "freqs_hz", "down_freqs_hz", "dr", "tx_power", "nb_trans", "rx1_offset", "rx1_delay_s",
    "rx2_dr", "rx2_freq_hz", "max_duty", "up_dwell", "down_dwell", "eirp_dbm",
)  # fmt: skip


def filled(seed):
    random = Entropy(seed)
    session = Session(region("AS923-2"))
    session.has_session = True
    session.dev_nonce = random() % 65536
    session.join_nonce = random() % (1 << 24)
    session.dev_addr = random() << 2
    session.nwk_s_key = bytes([random() % 256 for _ in range(16)])
    session.app_s_key = bytes([random() % 256 for _ in range(16)])
    session.f_cnt_up_reserved = random() << 2
    session.f_cnt_down = random() << 2
    for i in range(16):
        session.freqs_hz[i] = random() % (1 << 24) * 100
        session.down_freqs_hz[i] = random() % (1 << 24) * 100
        session.dr_ranges[i] = random() % 256
    for i in range(10):
        session.mask[i] = random() % 256
    session.dr, session.tx_power, session.nb_trans = 5, 3, 15
    session.rx1_offset, session.rx1_delay_s, session.rx2_dr = 7, 15, 13
    session.rx2_freq_hz = random() % (1 << 24) * 100
    session.max_duty = 15
    session.up_dwell, session.down_dwell = False, True
    session.eirp_dbm = 36
    session.answers[:4] = b"\x05\x07\x06\xff"
    session.answers_len = 2
    return session


def test_every_field_comes_back():
    for seed in range(1, 20):
        session = filled(seed)
        buf = bytearray(RECORD_SIZE)
        session.encode_into(buf, OWNER)
        other = Session(region("AS923-2"))
        assert other.decode(bytes(buf), OWNER)
        for name in FIELDS:
            assert getattr(other, name) == getattr(session, name), name
        assert other.f_cnt_up == other.f_cnt_up_reserved == session.f_cnt_up_reserved
        assert other.mask == session.mask and other.dr_ranges == session.dr_ranges
        assert bytes(other.answers[: other.answers_len]) == b"\x05\x07"
    assert RECORD_SIZE <= RECORD_MAX


def test_only_sticky_answers_are_stored():
    session = filled(1)
    session.answers[:8] = b"\x06\xff\x07\x08\x03\x07\x09\x06"
    session.answers_len = 7
    buf = bytearray(RECORD_SIZE)
    session.encode_into(buf, OWNER)
    assert session.decode(buf, OWNER)
    assert bytes(session.answers[: session.answers_len]) == b"\x08\x09"


def test_what_was_never_there_stays_so():
    session = Session(region("AS923-2"))
    buf = bytearray(RECORD_SIZE)
    session.encode_into(buf, OWNER)
    other = filled(3)
    assert other.decode(buf, OWNER)
    assert not other.has_session and other.join_nonce == -1 and other.f_cnt_down == -1
    assert other.dev_nonce == 0 and other.answers_len == 0


def test_ends_of_counters_come_back():
    session = filled(1)
    session.dev_nonce, session.f_cnt_up_reserved = 65536, F_CNT_END
    session.f_cnt_down, session.join_nonce = F_CNT_END - 1, (1 << 24) - 1
    buf = bytearray(RECORD_SIZE)
    session.encode_into(buf, OWNER)
    other = Session(region("AS923-2"))
    assert other.decode(buf, OWNER)
    assert (other.dev_nonce, other.f_cnt_up) == (65536, F_CNT_END)
    assert (other.f_cnt_down, other.join_nonce) == (F_CNT_END - 1, (1 << 24) - 1)


def test_a_damaged_or_foreign_record_changes_nothing():
    buf = bytearray(RECORD_SIZE)
    filled(1).encode_into(buf, OWNER)
    session = filled(2)
    before = [getattr(session, name) for name in FIELDS]
    for i in range(RECORD_SIZE):
        buf[i] ^= 0x10
        assert not session.decode(buf, OWNER)
        buf[i] ^= 0x10
    assert not session.decode(buf[:-1], OWNER) and not session.decode(b"", OWNER)
    assert not session.decode(buf, b"them")
    assert [getattr(session, name) for name in FIELDS] == before
    assert session.decode(buf, OWNER)
