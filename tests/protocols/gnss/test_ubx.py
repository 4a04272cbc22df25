"""UBX frames against published ones, and the reader against noise."""

from binascii import unhexlify

from protocols.errors import LocalError
from protocols.gnss import ubx


def feed(reader, data):
    return [at for at, byte in enumerate(data) if reader.feed(byte)]


def test_frames_that_others_published():
    # CFG-PMS full power and balanced; RXM-PMREQ backup in its short form, as u-center shows them.
    assert ubx.frame(6, 0x86, bytes(8)) == unhexlify("b56206860800" + "00" * 8 + "945a")
    assert ubx.power_mode(ubx.BALANCED) == unhexlify("b562068608000001000000000000" + "9561")
    assert ubx.frame(2, 0x41, unhexlify("0000000002000000")) == unhexlify(
        "b5620241080000000000020000004d3b"
    )
    # MON-VER's poll and the answer ACK-ACK to CFG-MSG, of the protocol specification's examples.
    assert ubx.frame(10, 4, b"") == unhexlify("b5620a0400000e34")
    assert ubx.frame(5, 1, b"\x06\x01") == unhexlify("b56205010200" + "0601" + "0f38")


def test_backup_and_interval_have_their_fields():
    data = ubx.sleep(60_000)
    assert data[2:6] == b"\x02\x41\x10\x00" and len(data) == 24
    assert data[6:10] == bytes(4) and data[10:14] == b"\x60\xea\x00\x00"
    assert data[14:18] == b"\x06\x00\x00\x00" and data[18:22] == b"\x08\x00\x00\x00"
    assert ubx.power_mode(ubx.INTERVAL, 300, 10)[6:14] == b"\x00\x02\x2c\x01\x0a\x00\x00\x00"
    for wrong in ((ubx.INTERVAL, 0, 0), (ubx.FULL, 10, 0), (9, 0, 0), (2, 70_000, 1), (2, 5, 6)):
        try:
            ubx.power_mode(*wrong)
        except LocalError as error:
            assert error.code == "range"
        else:
            raise AssertionError(wrong)


def test_answers_are_found_between_sentences():
    reader = ubx.UbxReader()
    ack = ubx.frame(5, 1, b"\x06\x86")
    text = b"$GNRMC,083559.00,A*57\r\n\xb5"
    assert feed(reader, text + ack + text) == [len(text) + len(ack) - 1]
    assert reader.answer_to(6, 0x86) is True and reader.answer_to(6, 0x01) is None
    assert feed(reader, ubx.frame(5, 0, b"\x06\x86")) == [9]
    assert reader.answer_to(6, 0x86) is False
    feed(reader, ubx.frame(10, 4, bytes(2)))
    assert reader.answer_to(6, 0x86) is None


def test_damage_and_length_never_hold_it_up():
    ack = ubx.frame(5, 1, b"\x06\x86")
    for at in range(2, len(ack)):
        for flip in (1, 0x80):
            reader = ubx.UbxReader()
            bad = bytearray(ack)
            bad[at] ^= flip
            feed(reader, bad)
            assert reader.answer_to(6, 0x86) is not True or reader.bad, at
            # At worst one frame is swallowed by what the damaged length promised.
            assert feed(reader, ack * 6), (at, flip)
            assert reader.answer_to(6, 0x86) is True
    reader = ubx.UbxReader()
    assert not feed(reader, b"\xb5\x62\x01\x07\xff\xff" + bytes(100)) and reader.bad == 1
