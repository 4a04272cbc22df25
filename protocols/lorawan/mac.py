"""MAC commands of LoRaWAN 1.0.4 in both directions, from one table.

`encode_into` writes one, `decode` reads all in a buffer, `copy_commands` copies whole ones;
`command_size` and `read_fields` are for who walks a buffer by itself. Class B's commands are here
to be known, not obeyed.

Source: LoRaWAN L2 1.0.4 section 5; class B: sections 14 and 15.
"""

from protocols.errors import LocalError

LINK_CHECK = 0x02
LINK_ADR = 0x03
DUTY_CYCLE = 0x04
RX_PARAM_SETUP = 0x05
DEV_STATUS = 0x06
NEW_CHANNEL = 0x07
RX_TIMING_SETUP = 0x08
TX_PARAM_SETUP = 0x09
DL_CHANNEL = 0x0A
DEVICE_TIME = 0x0D
PING_SLOT_INFO = 0x10
PING_SLOT_CHANNEL = 0x11
BEACON_TIMING = 0x12
BEACON_FREQ = 0x13

# Answers that go with every uplink until a downlink comes in a class A window.
STICKY = (RX_PARAM_SETUP, RX_TIMING_SETUP, TX_PARAM_SETUP, DL_CHANNEL)

# A command's payload is one little-endian number; its fields are listed from the lowest bit.
# (field, bits): "" is reserved and sent as zero, negative bits are a signed field.
# CID: (uplink fields, downlink fields). Requests go down but for LinkCheckReq, DeviceTimeReq,
# PingSlotInfoReq and BeaconTimingReq.
_FREQUENCY = ("freq_100hz", 24)
_TABLE = {
    LINK_CHECK: ((), (("margin_db", 8), ("gateway_count", 8))),
    LINK_ADR: (
        (("mask_ok", 1), ("dr_ok", 1), ("power_ok", 1), ("", 5)),
        (("tx_power", 4), ("dr", 4), ("mask", 16), ("nb_trans", 4), ("mask_control", 3), ("", 1)),
    ),
    DUTY_CYCLE: ((), (("max_duty", 4), ("", 4))),
    RX_PARAM_SETUP: (
        (("freq_ok", 1), ("rx2_dr_ok", 1), ("rx1_offset_ok", 1), ("", 5)),
        (("rx2_dr", 4), ("rx1_offset", 3), ("", 1), _FREQUENCY),
    ),
    DEV_STATUS: ((("battery", 8), ("margin_db", -6), ("", 2)), ()),
    NEW_CHANNEL: (
        (("freq_ok", 1), ("dr_ok", 1), ("", 6)),
        (("channel", 8), _FREQUENCY, ("dr_min", 4), ("dr_max", 4)),
    ),
    RX_TIMING_SETUP: ((), (("delay_s", 4), ("", 4))),
    TX_PARAM_SETUP: ((), (("eirp_code", 4), ("up_dwell", 1), ("down_dwell", 1), ("", 2))),
    DL_CHANNEL: ((("freq_ok", 1), ("up_freq_ok", 1), ("", 6)), (("channel", 8), _FREQUENCY)),
    DEVICE_TIME: ((), (("gps_s", 32), ("fraction", 8))),
    PING_SLOT_INFO: ((("periodicity", 3), ("", 5)), ()),
    PING_SLOT_CHANNEL: (
        (("freq_ok", 1), ("dr_ok", 1), ("", 6)),
        (_FREQUENCY, ("dr", 4), ("", 4)),
    ),
    BEACON_TIMING: ((), (("delay_30ms", 16), ("channel", 8))),
    BEACON_FREQ: ((("freq_ok", 1), ("", 7)), (_FREQUENCY,)),
}


class Command:
    """One command read: `cid`, and `fields` by name as `field(name)`."""

    def __init__(self, cid: int, is_uplink: bool, values: "tuple[int, ...]") -> None:
        self.cid = cid
        self.is_uplink = is_uplink
        self.values = values  # in the table's order, reserved bits left out

    def field(self, name: str) -> int:
        """The value of the field `name`; `KeyError` if the command has none so called."""
        return self.values[field_names(self.cid, self.is_uplink).index(name)]


def _layout(cid: int, is_uplink: bool) -> "tuple[tuple[str, int], ...] | None":
    row = _TABLE.get(cid)
    return None if row is None else row[0] if is_uplink else row[1]


def field_names(cid: int, is_uplink: bool) -> "list[str]":
    """The names of the command's fields in order."""
    return [name for name, _ in _layout(cid, is_uplink) or () if name]


def command_size(cid: int, is_uplink: bool) -> int:
    """Bytes of the command after its CID, or -1 for a CID unknown in that direction."""
    layout = _layout(cid, is_uplink)
    if layout is None:
        return -1
    bits = 0
    for _, width in layout:
        bits += abs(width)
    return bits >> 3


def encode_into(
    buf: bytearray, offset: int, cid: int, is_uplink: bool, values: "tuple[int, ...]" = ()
) -> int:
    """Write the command with the fields `values` in the table's order; return the next offset.

    `LocalError("range")` names a field out of range or a wrong number of fields.
    """
    layout = _layout(cid, is_uplink)
    names = field_names(cid, is_uplink)
    if layout is None or len(names) != len(values):
        raise LocalError("range", "command %d with %d fields" % (cid, len(values)))
    size = command_size(cid, is_uplink)
    if offset + 1 + size > len(buf):
        raise LocalError("range", "no room for command %d" % cid)
    number = 0
    shift = 0
    used = 0
    for name, width in layout:
        if name:
            value = values[used]
            used += 1
            low = 0 if width > 0 else -(1 << (-width - 1))
            if not low <= value < low + (1 << abs(width)):
                raise LocalError("range", "%s %d" % (name, value))
            number |= (value & ((1 << abs(width)) - 1)) << shift
        shift += abs(width)
    buf[offset] = cid
    for i in range(size):
        buf[offset + 1 + i] = number >> 8 * i & 0xFF
    return offset + 1 + size


def read_fields(
    buf: "bytes | bytearray | memoryview", offset: int, cid: int, is_uplink: bool
) -> "tuple[int, ...]":
    """The fields of a known command whose payload starts at `buf[offset]`."""
    number = 0
    for i in range(command_size(cid, is_uplink)):
        number |= buf[offset + i] << 8 * i
    values: list[int] = []
    for name, width in _layout(cid, is_uplink) or ():
        size = abs(width)
        if name:
            value = number & ((1 << size) - 1)
            if width < 0 and value >> (size - 1):
                value -= 1 << size
            values.append(value)
        number >>= size
    return tuple(values)


def decode(
    buf: "bytes | bytearray | memoryview", start: int, end: int, is_uplink: bool
) -> "list[Command]":
    """All commands in `buf[start:end]` up to the first unknown or truncated one.

    Nothing says how long an unknown command is, so what follows it is lost (section 5).
    """
    found: list[Command] = []
    while start < end:
        cid = buf[start]
        size = command_size(cid, is_uplink)
        if size < 0 or start + 1 + size > end:
            break
        found.append(Command(cid, is_uplink, read_fields(buf, start + 1, cid, is_uplink)))
        start += 1 + size
    return found


def copy_commands(
    source: bytearray, length: int, out: bytearray, end: int, limit: int, sticky_only: bool
) -> int:
    """Copy the answers in `source[:length]` to `out[end:]`; return the new end, at most `limit`.

    Whole commands in order, up to the first that does not fit. `out` may be `source`.
    """
    at = 0
    while at < length:
        size = 1 + command_size(source[at], True)
        if size < 1 or at + size > length:
            break
        if not sticky_only or source[at] in STICKY:
            if end + size > limit:
                break
            for i in range(size):
                out[end + i] = source[at + i]
            end += size
        at += size
    return end
