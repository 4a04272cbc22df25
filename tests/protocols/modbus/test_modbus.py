"""Modbus RTU: frames printed in makers' manuals, noise, late replies, exceptions, values."""

from protocols.errors import LocalError
from protocols.modbus.client import RtuClient
from protocols.modbus.crc import crc16
from protocols.modbus.server import Provider, RtuServer
from protocols.modbus.values import decode_value, register_count, split_u32


def hexed(text):
    return bytes.fromhex(text.replace(" ", ""))


def error_code(call, *args):
    try:
        call(*args)
    except LocalError as error:
        return error.code
    return None


# Lambrecht rain[e]H3 manual p.39-42; Sonbus XM9505 page.
PRINTED = (
    "03 04 79 19 00 01 F8 B3",
    "03 04 02 00 01 01 30",
    "05 03 9C 72 00 08 CB C3",
    "01 03 00 00 00 01 84 0A",
    "01 03 02 02 18 B9 2E",
)


def test_crc_of_printed_frames():
    for text in PRINTED:
        data = hexed(text)
        assert crc16(data, 0, len(data)) == 0
        assert crc16(data, 0, len(data) - 2) == data[-2] | data[-1] << 8


def test_lambrecht_read_as_printed():
    client = RtuClient()
    length = client.read_into(3, 4, 31001, 1)
    assert bytes(client.tx[:length]) == hexed(PRINTED[0])
    assert client.is_waiting and client.feed(hexed(PRINTED[1]))
    assert (client.count, client.register(0), client.exception) == (1, 1, 0)
    assert client.noise_bytes == 0 and not client.is_waiting


def test_sonbus_read_as_printed_byte_by_byte():
    client = RtuClient()
    length = client.read_into(1, 3, 0, 1)
    assert bytes(client.tx[:length]) == hexed(PRINTED[3])
    answered = [client.feed(bytes([byte])) for byte in hexed(PRINTED[4])]
    assert answered == [False] * 6 + [True]
    assert client.register(0) == 0x218


def reply(text):
    data = hexed(text)
    crc = crc16(data, 0, len(data))
    return data + bytes([crc & 255, crc >> 8])


def test_two_replies_in_one_read():
    """The late reply to a request that timed out, and the right one, in one read."""
    client = RtuClient()
    client.read_into(1, 3, 0, 2)
    client.timed_out()
    client.read_into(1, 3, 5, 1)
    assert client.feed(reply("01 03 04 00 01 00 02") + reply("01 03 02 00 2A"))
    assert client.register(0) == 42 and client.strays == 1 and not client.is_doubtful
    assert client.noise_bytes == 0 and client.timeouts == 1


def test_noise_before_the_reply():
    """Any single byte, and any run of eight, before a good frame costs nothing."""
    good = reply("01 03 02 00 2A")
    for byte in range(256):
        for count in (1, 8):
            client = RtuClient()
            client.read_into(1, 3, 5, 1)
            got = client.feed(bytes([byte] * count) + good)
            assert got or client.line_idle(), byte
            assert client.register(0) == 42 and client.noise_bytes == count


def test_late_reply_of_equal_shape_is_doubtful():
    client = RtuClient()
    client.read_into(1, 3, 0, 1)
    client.timed_out()
    client.read_into(1, 3, 0, 1)
    assert client.feed(reply("01 03 02 00 01"))
    assert client.is_doubtful
    client.read_into(1, 3, 0, 1)
    assert client.feed(reply("01 03 02 00 01"))
    assert not client.is_doubtful


def test_exception_reply():
    client = RtuClient()
    client.read_into(9, 4, 7, 3)
    assert client.feed(reply("09 84 02"))
    assert (client.exception, client.exceptions, client.count) == (2, 1, 0)
    assert error_code(client.register, 0) == "range"


def test_bad_crc_is_noise():
    client = RtuClient()
    client.read_into(1, 3, 0, 1)
    bad = bytearray(reply("01 03 02 00 2A"))
    bad[3] ^= 1
    assert not client.feed(bad)
    assert not client.line_idle()
    assert client.noise_bytes == 7 and client.is_waiting


def test_reply_of_another_unit_is_a_stray():
    client = RtuClient()
    client.read_into(1, 3, 0, 1)
    assert not client.feed(reply("02 03 02 00 2A"))
    assert client.strays == 1
    assert client.feed(reply("01 03 02 00 2B")) and client.register(0) == 43


def test_writes():
    client = RtuClient()
    length = client.write_into(1, 0x22, [0x1B])
    assert bytes(client.tx[:length]) == reply("01 06 00 22 00 1B")
    assert client.feed(reply("01 06 00 22 00 1B"))
    length = client.write_into(1, 1, [10, 258])
    # Application protocol V1.1b3, 6.12: the printed example of function 16.
    assert bytes(client.tx[:length]) == reply("01 10 00 01 00 02 04 00 0A 01 02")
    assert client.feed(reply("01 10 00 01 00 02"))
    client.write_into(1, 1, [7])
    assert not client.feed(reply("01 06 00 01 00 08"))  # not what we wrote
    assert client.strays == 1


def test_client_refusals():
    client = RtuClient()
    assert error_code(client.read_into, 0, 3, 0, 1) == "range"
    assert error_code(client.read_into, 1, 1, 0, 1) == "range"
    assert error_code(client.read_into, 1, 3, 65535, 2) == "range"
    assert error_code(client.read_into, 1, 3, 0, 126) == "range"
    assert error_code(client.write_into, 1, 0, []) == "range"
    assert error_code(client.write_into, 1, 0, [65536]) == "range"


def test_endless_noise_is_bounded_and_counted():
    client = RtuClient()
    client.read_into(1, 3, 0, 125)
    seed = 7
    for _ in range(4000):
        seed = seed * 1103 % 65521
        client.feed(bytes([seed & 255]))
    client.line_idle()
    assert client.noise_bytes == 4000
    assert client.feed(reply("01 03 FA" + "00 07" * 125)) and client.register(124) == 7


class Registers(Provider):
    """A provider with registers 10..19 that may be written up to 1000."""

    def __init__(self):
        self.values = {}
        for address in range(10, 20):
            self.values[address] = address * 100

    def read(self, function, address):
        return self.values.get(address, -1)

    def write(self, address, value, is_check):
        if address not in self.values:
            return 2
        if value > 1000:
            return 3
        if not is_check:
            self.values[address] = value
        return 0


def ask(server, request):
    server.feed(request)
    length = server.line_idle()
    return bytes(server.tx[:length])


def test_server_reads_and_writes():
    registers = Registers()
    server = RtuServer(5, registers)
    assert ask(server, reply("05 03 00 0A 00 02")) == reply("05 03 04 03 E8 04 4C")
    assert ask(server, reply("05 04 00 0A 00 01")) == reply("05 04 02 03 E8")
    assert ask(server, reply("05 06 00 0B 00 07")) == reply("05 06 00 0B 00 07")
    assert registers.values[11] == 7
    assert ask(server, reply("05 10 00 0A 00 02 04 00 01 00 02")) == reply("05 10 00 0A 00 02")
    assert (registers.values[10], registers.values[11]) == (1, 2)
    assert server.requests == 4 and server.exceptions == 0


def test_server_exceptions():
    registers = Registers()
    server = RtuServer(5, registers)
    assert ask(server, reply("05 03 00 13 00 02")) == reply("05 83 02")
    assert ask(server, reply("05 03 00 0A 00 7E")) == reply("05 83 03")
    assert ask(server, reply("05 03 00 0A 00 00")) == reply("05 83 03")
    assert ask(server, reply("05 03 FF FF 00 02")) == reply("05 83 02")
    assert ask(server, reply("05 10 FF FF 00 02 04 00 01 00 02")) == reply("05 90 02")
    assert ask(server, reply("05 05 00 0A FF 00")) == reply("05 85 01")
    assert ask(server, reply("05 06 00 0A 03 E9")) == reply("05 86 03")
    assert ask(server, reply("05 10 00 0A 00 02 02 00 01")) == reply("05 90 03")
    # All or none: the second register is refused, so the first keeps its value.
    assert ask(server, reply("05 10 00 0A 00 02 04 00 01 FF FF")) == reply("05 90 03")
    assert registers.values[10] == 1000
    assert server.exceptions == 9


def test_server_ignores_others_and_survives_noise():
    server = RtuServer(5, Registers())
    assert ask(server, reply("06 03 00 0A 00 02")) == b""
    assert ask(server, reply("06 03 04 03 E8 04 4C")) == b""
    assert server.noise_bytes == 0
    assert ask(server, b"\x00\xff\x05" + reply("05 03 00 0A 00 01")) == reply("05 03 02 03 E8")
    assert server.noise_bytes == 3
    assert ask(server, b"\x05") == b"" and ask(server, b"") == b""


def test_broadcast_write_is_done_in_silence():
    registers = Registers()
    assert ask(RtuServer(5, registers), reply("00 06 00 0A 00 09")) == b""
    assert registers.values[10] == 9


def test_values_of_every_kind():
    assert decode_value([0xFFFF], "u16") == 65535
    assert decode_value([0xFFFE], "s16") == -2
    assert decode_value([5], "s16") == 5
    assert decode_value([0x7FFF], "s16") == 32767
    assert decode_value([0x8000], "s16") == -32768
    assert decode_value([0x3412], "u16", "BADC") == 0x1234
    assert decode_value([0xFFFF, 0xFFFE], "s32") == -2
    assert decode_value([0x0001, 0x0002], "u32") == 65538
    assert decode_value([0x0002, 0x0001], "u32", "CDAB") == 65538
    assert decode_value([0xFFFF], "u16", "ABCD", 1, 1, (0xFFFF,)) is None
    assert decode_value([0xD8F1], "s16", "ABCD", 1, 1, (-9999,)) is None
    assert decode_value([15], "u16", "ABCD", 1, 10) == 2
    assert decode_value([14], "u16", "ABCD", 1, 10) == 1
    assert decode_value([0xFFF1], "s16", "ABCD", 1, 10) == -2  # -15: half away from zero
    assert decode_value([123], "u16", "ABCD", 100, 1) == 12300


def test_vega_word_orders():
    """VEGAPULS C 21: one float at four addresses in four word orders; 1.234 m in mm."""
    # 1.234 is 3F 9D F3 B6.
    words = {
        "ABCD": [0x3F9D, 0xF3B6],
        "CDAB": [0xF3B6, 0x3F9D],
        "BADC": [0x9D3F, 0xB6F3],
        "DCBA": [0xB6F3, 0x9D3F],
    }
    for order in words:
        assert decode_value(words[order], "f32", order, 1000) == 1234
    assert decode_value([0xBF9D, 0xF3B6], "f32", "ABCD", 1000) == -1234


def test_floats_that_are_no_value():
    assert decode_value([0x7FC0, 0], "f32") is None
    assert decode_value([0x7F80, 0], "f32") is None
    assert decode_value([0xFF80, 0], "f32") is None
    assert decode_value([0x7F00, 0], "f32") is None  # 1.7e38
    assert decode_value([0xC61C, 0x3C00], "f32", "ABCD", 1, 1, (-9999,)) is None
    assert decode_value([0, 0], "f32") == 0


def test_value_refusals():
    assert error_code(decode_value, [1], "u8") == "kind"
    assert error_code(decode_value, [1], "u32") == "length"
    assert error_code(decode_value, [1], "u16", "ACBD") == "order"
    assert register_count("f32") == 2
    assert split_u32(0x12345678) == (0x1234, 0x5678)


def test_claims_that_no_reply_can_make():
    """Odd, zero and too long byte counts, and function 128: never waited for."""
    for text in ("01 03 03", "01 03 00", "01 03 FC", "01 80 01", "01 07 00"):
        client = RtuClient()
        client.read_into(1, 3, 5, 1)
        assert client.feed(hexed(text) + reply("01 03 02 00 2A")), text
        assert client.noise_bytes == 3


def test_server_smallest_request_and_single_register_by_16():
    registers = Registers()
    server = RtuServer(5, registers)
    assert ask(server, reply("05 07")) == reply("05 87 01")
    assert ask(server, reply("05 10 00 0A 00 01 02 00 09")) == reply("05 10 00 0A 00 01")
    assert registers.values[10] == 9
    assert ask(server, reply("05 10 00 0A 00 00 00")) == reply("05 90 03")
    assert ask(server, reply("05 10 00 0A")) == reply("05 90 03")
    assert ask(server, reply("05 06 00 0A 00")) == reply("05 86 03")
    assert ask(server, reply("05 03 00 0A 00")) == reply("05 83 03")
    assert error_code(RtuServer, 248, registers) == "range"
