"""MAC commands: wire bytes written by hand from LoRaWAN L2 1.0.4 section 5, both directions."""

from binascii import unhexlify

from protocols.errors import LocalError
from protocols.lorawan import mac

UP, DOWN = True, False
# (CID, direction, fields in order, bytes after section 5's tables).
VECTORS = (
    (mac.LINK_CHECK, UP, (), "02"),
    (mac.LINK_CHECK, DOWN, (20, 3), "021403"),
    (mac.LINK_ADR, DOWN, (2, 5, 0x0007, 1, 0), "0352070001"),
    (mac.LINK_ADR, DOWN, (15, 15, 0xFF00, 3, 7), "03ff00ff73"),
    (mac.LINK_ADR, UP, (1, 1, 1), "0307"),
    (mac.LINK_ADR, UP, (1, 0, 1), "0305"),
    (mac.DUTY_CYCLE, DOWN, (15,), "040f"),
    (mac.DUTY_CYCLE, UP, (), "04"),
    (mac.RX_PARAM_SETUP, DOWN, (2, 3, 9232000), "05 32 80de8c"),
    (mac.RX_PARAM_SETUP, UP, (1, 0, 1), "0505"),
    (mac.DEV_STATUS, DOWN, (), "06"),
    (mac.DEV_STATUS, UP, (200, -20), "06c82c"),
    (mac.DEV_STATUS, UP, (255, 31), "06ff1f"),
    (mac.NEW_CHANNEL, DOWN, (4, 9222000, 0, 5), "07 04 70b78c 50"),
    (mac.NEW_CHANNEL, UP, (1, 1), "0703"),
    (mac.RX_TIMING_SETUP, DOWN, (5,), "0805"),
    (mac.RX_TIMING_SETUP, UP, (), "08"),
    (mac.TX_PARAM_SETUP, DOWN, (5, 1, 0), "0915"),
    (mac.TX_PARAM_SETUP, DOWN, (13, 0, 1), "092d"),
    (mac.TX_PARAM_SETUP, UP, (), "09"),
    (mac.DL_CHANNEL, DOWN, (1, 9214000), "0a 01 30988c"),
    (mac.DL_CHANNEL, UP, (1, 0), "0a01"),
    (mac.DEVICE_TIME, UP, (), "0d"),
    (mac.DEVICE_TIME, DOWN, (1400000000, 128), "0d 004e7253 80"),
    (mac.PING_SLOT_INFO, UP, (3,), "1003"),
    (mac.PING_SLOT_INFO, DOWN, (), "10"),
    (mac.PING_SLOT_CHANNEL, DOWN, (9214000, 2), "11 30988c 02"),
    (mac.PING_SLOT_CHANNEL, UP, (1, 1), "1103"),
    (mac.BEACON_TIMING, UP, (), "12"),
    (mac.BEACON_TIMING, DOWN, (0x1234, 1), "12 3412 01"),
    (mac.BEACON_FREQ, DOWN, (9214000,), "13 30988c"),
    (mac.BEACON_FREQ, UP, (1,), "1301"),
)


def test_every_command_is_written_and_read():
    buf = bytearray(8)
    for cid, is_uplink, values, text in VECTORS:
        wire = unhexlify(text.replace(" ", ""))
        end = mac.encode_into(buf, 0, cid, is_uplink, values)
        assert bytes(buf[:end]) == wire, text
        assert mac.command_size(cid, is_uplink) == len(wire) - 1
        (command,) = mac.decode(wire, 0, len(wire), is_uplink)
        assert (command.cid, command.values) == (cid, values), text


def test_fields_have_names():
    (command,) = mac.decode(unhexlify("0352070001"), 0, 5, DOWN)
    assert command.field("dr") == 5 and command.field("tx_power") == 2
    assert command.field("mask") == 7 and command.field("nb_trans") == 1


def test_several_commands_up_to_the_first_unknown():
    wire = unhexlify("06" + "0352070001" + "0805" + "80aabb" + "06")
    assert [c.cid for c in mac.decode(wire, 0, len(wire), DOWN)] == [6, 3, 8]


def test_a_truncated_command_ends_the_list():
    wire = unhexlify("06" + "035207")
    assert [c.cid for c in mac.decode(wire, 0, len(wire), DOWN)] == [6]
    assert mac.decode(wire, 1, 1, DOWN) == []


def test_reserved_bits_are_ignored():
    (command,) = mac.decode(b"\x04\xff", 0, 2, DOWN)
    assert command.values == (15,)


def test_values_out_of_range_are_refused():
    buf = bytearray(8)
    for cid, is_uplink, values in (
        (mac.LINK_ADR, DOWN, (16, 0, 0, 0, 0)),
        (mac.DEV_STATUS, UP, (255, 32)),
        (mac.DEV_STATUS, UP, (255, -33)),
        (mac.DUTY_CYCLE, DOWN, ()),
        (0x01, DOWN, ()),
    ):
        try:
            mac.encode_into(buf, 0, cid, is_uplink, values)
        except LocalError as error:
            assert error.code == "range"
        else:
            assert False, cid
    try:
        mac.encode_into(buf, 4, mac.LINK_ADR, DOWN, (0, 0, 0, 0, 0))
    except LocalError:
        return
    assert False
