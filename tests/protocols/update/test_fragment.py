"""TS004-1.0.0: published vectors, every loss that can be mended is, and what is answered."""

from protocols.update.fragment import (
    Session,
    delete_request,
    fragment_message,
    setup_request,
    status_request,
)
from protocols.update.parity import LOST_MAX, Decoder, encode, parity_line, prbs23

# The coded fragments of bytes 0..99 by 10, from the public encoder tests of brocaar/lorawan.
CODED = (
    "26262222 2e2e2222 2626", "54555657 58596a6b 7c7d", "5c5d6e6f 10110203 0405",
    "36363232 3e3e2222 3636", "3a3a0e0e 0a0a0606 0a0a", "0e0e3232 36362222 3e3e",
    "02020e0e 72727676 6262", "1e1e1a1a 66665a5a 4e4e", "1a1b1c1d 1e1f3031 2223",
    "22232425 26271819 0a0b",
)  # fmt: skip


class RowsFake:
    def __init__(self, count, size):
        self.size = size
        self.data = bytearray(count * size)

    def put(self, index, data):
        self.data[index * self.size : (index + 1) * self.size] = data

    def get_into(self, index, data):
        data[:] = self.data[index * self.size : (index + 1) * self.size]


class PlaceFake:
    def __init__(self, room=100_000, floor=1):
        self.room = room
        self.floor = floor
        self.rows = None

    def open(self, count, size):
        if count * size > self.room:
            return None
        self.rows = RowsFake(count, size)
        return self.rows

    def is_wanted(self, version):
        return version > self.floor


class Dice:
    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 8) % limit


def block_of(length):
    return bytes([(at * 7 + at // 251) & 255 for at in range(length)])


def test_prbs23_of_published_values():
    x = 1001
    found = []
    for _ in range(4):
        x = prbs23(x)
        found.append(x)
    assert found == [0x1F4, 0x4000FA, 0x60007D, 0x30003E]


def test_coded_fragments_are_those_of_the_public_vectors():
    block = bytes(range(100))
    assert encode(block, 10, 3) == bytes(range(20, 30))
    for at, text in enumerate(CODED):
        wanted = bytes([int(text.replace(" ", "")[2 * i : 2 * i + 2], 16) for i in range(10)])
        assert encode(block, 10, 11 + at) == wanted, at


def test_a_power_of_two_gets_another_modulus():
    # With modulus M = 2**n the generator's low bits would repeat; lines must still differ.
    seen = []
    line = bytearray(4)
    for number in range(1, 20):
        parity_line(number, 32, line)
        assert bytes(line) not in seen
        seen.append(bytes(line))


def test_one_loss_of_any_fragment_is_mended_by_a_few_coded_ones():
    block = block_of(26 * 9)
    for lost in range(26):
        rows = RowsFake(26, 9)
        decoder = Decoder(26, 9, rows)
        for number in range(1, 27):
            if number - 1 != lost:
                assert decoder.take(number, encode(block, 9, number))
        assert decoder.missing == 1
        number = 27
        while not decoder.is_complete:
            decoder.take(number, encode(block, 9, number))
            number += 1
        assert bytes(rows.data) == block and number < 45


def test_random_losses_are_mended_with_about_as_many_coded_fragments():
    block = block_of(60 * 12)
    spent = 0
    for seed in range(1, 13):
        dice = Dice(seed)
        rows = RowsFake(60, 12)
        decoder = Decoder(60, 12, rows)
        number = needed = 0
        while not decoder.is_complete:
            number += 1
            assert number < 400
            if dice.below(100) < 25:
                continue  # the air, coded fragments too
            decoder.take(number, encode(block, 12, number))
            if number > 60:
                needed += 1
        assert bytes(rows.data) == block
        spent += needed - (decoder.count - decoder._kept)
    assert spent < 12 * 4  # less than 4 more than were lost, on average


def test_stragglers_duplicates_and_disorder():
    block = block_of(20 * 5)
    order = [
        5,
        5,
        1,
        22,
        2,
        21,
        7,
        3,
        4,
        6,
        8,
        9,
        10,
        24,
        25,
        11,
        12,
        13,
        14,
        15,
        16,
        17,
        18,
        19,
        20,
    ]
    rows = RowsFake(20, 5)
    decoder = Decoder(20, 5, rows)
    for number in order:
        decoder.take(number, encode(block, 5, number))
    assert decoder.is_complete and bytes(rows.data) == block
    assert not decoder.take(1, encode(block, 5, 1))
    assert not decoder.take(0, bytes(5)) and not decoder.take(3, bytes(4))


def test_more_losses_than_memory_is_said_and_sending_again_helps():
    count = LOST_MAX + 22
    block = block_of(count)
    rows = RowsFake(count, 1)
    decoder = Decoder(count, 1, rows)
    for number in range(1, 21):
        decoder.take(number, encode(block, 1, number))
    assert not decoder.take(count + 1, encode(block, 1, count + 1))
    assert decoder.is_overrun and decoder.missing == LOST_MAX + 2
    for number in range(21, count + 1):
        decoder.take(number, encode(block, 1, number))
    assert decoder.is_complete and bytes(rows.data) == block


def test_golden_messages():
    assert setup_request(100, 30, 0x01020304, 3) == b"\x02\x00\x04\x00\x1e\x03\x14\x04\x03\x02\x01"
    assert status_request() == b"\x01\x01" and delete_request() == b"\x03\x00"
    assert fragment_message(0x1234, b"ab") == b"\x08\x34\x12ab"


def test_a_session_from_set_up_to_the_block():
    place = PlaceFake()
    session = Session(place)
    block = block_of(103)
    padded = block + bytes(7)
    assert session.handle(b"\x00") == b"\x00\x03\x01"
    assert session.handle(status_request()) == b""
    request = setup_request(103, 10, 2)
    assert session.handle(request) == b"\x02\x00"
    for number in range(1, 12):
        if number not in (2, 9):
            session.handle(fragment_message(number, encode(padded, 10, number)))
    assert session.handle(request) == b"\x02\x00"  # our answer was lost: nothing is forgotten
    assert session.handle(status_request(False)) == b"\x01\x09\x00\x02\x00"
    number = 12
    while not session.is_complete:
        session.handle(fragment_message(number, encode(padded, 10, number)))
        number += 1
    assert session.handle(status_request(False)) == b""
    assert session.handle(status_request(True))[3] == 0
    assert bytes(place.rows.data[: session.length]) == block and session.version == 2
    assert session.handle(delete_request() + b"\x00") == b"\x03\x00\x00\x03\x01"
    assert session.handle(delete_request()) == b"\x03\x04"


def test_what_is_refused_in_a_set_up():
    session = Session(PlaceFake(room=50))
    assert session.handle(setup_request(60, 10, 2)) == b"\x02\x02"
    assert session.handle(setup_request(50, 10, 1)) == b"\x02\x08"
    request = bytearray(setup_request(50, 10, 2))
    request[1] = 0x10
    assert session.handle(request) == b"\x02\x44"
    request = bytearray(setup_request(50, 10, 2))
    request[5] |= 8
    assert session.handle(request) == b"\x02\x01"
    for size, padding in ((0, 0), (10, 10)):
        request = bytearray(setup_request(50, 10, 2))
        request[4], request[6] = size, padding
        assert session.handle(request) == b"\x02\x02"
    assert session.decoder is None


def test_rubbish_is_counted_and_never_raises():
    session = Session(PlaceFake())
    session.handle(setup_request(200, 10, 2))
    dice = Dice(77)
    for _ in range(2000):
        session.handle(bytes([dice.below(12) for _ in range(dice.below(16))]))
    assert session.unknown > 1000
