"""PHYPayloads of LoRaWAN 1.0.4, built and parsed for both directions and both ends.

Data: `encode_data_into`, `DataFrame` (`parse`, then `check_mic`, then `open`), `f_cnt_after`.
Join: `encode_join_request_into`, `parse_join_request`, `check_join_request_mic`,
`encode_join_accept_into`, `open_join_accept`. All: `frame_type`.

Numbers: a DevAddr is an int below 2**32; EUIs are 8 bytes big-endian, as printed; frame counters
are full 32-bit values of which 16 bits travel. A malformed or forged frame raises
`RemoteError(code)` with code in `size`, `type`, `major`, `f_opts`, `port_0_f_opts`, `mic`; a
caller's mistake raises `LocalError("range")`.

Source: LoRaWAN L2 1.0.4 sections 4 and 6.2.
"""

from protocols.errors import LocalError, RemoteError
from protocols.lorawan.crypto import BlockKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from protocols.lorawan.crypto import ServerAes

# Frame types (MHDR bits 7..5).
JOIN_REQUEST = 0
JOIN_ACCEPT = 1
UNCONFIRMED_UP = 2
UNCONFIRMED_DOWN = 3
CONFIRMED_UP = 4
CONFIRMED_DOWN = 5
REJOIN_REQUEST = 6  # 1.1 only
PROPRIETARY = 7

# FCtrl bits; the low four bits are the length of FOpts and are set by the encoder.
ADR = 0x80
ADR_ACK_REQ = 0x40  # uplink only
ACK = 0x20
F_PENDING = 0x10  # downlink only
CLASS_B = 0x10  # uplink only

DATA_OVERHEAD = 12  # MHDR, DevAddr, FCtrl, FCnt and MIC; FPort is one byte more
F_OPTS_MAX = 15
PHY_MAX = 255
JOIN_REQUEST_SIZE = 23
NO_PORT = -1


def frame_type(buf: "bytes | bytearray | memoryview", length: int) -> int:
    """The frame type of `buf[:length]`; `RemoteError("size")` if empty, `("major")` if not 0."""
    if length < 1 or length > PHY_MAX:
        raise RemoteError("size", "%d bytes" % length)
    if buf[0] & 0x03:
        raise RemoteError("major", "%d" % (buf[0] & 0x03))
    return buf[0] >> 5


def f_cnt_after(f_cnt_16: int, last: int) -> int:
    """The smallest 32-bit counter not below `last` whose low half is `f_cnt_16`.

    Equal to `last` means a repetition of the last frame. `last` is -1 before the first frame.
    Returns -1 when there is none below 2**32.
    """
    if last < 0:
        return f_cnt_16
    value = (last & 0xFFFF0000) | f_cnt_16
    if value < last:
        value += 0x10000
    return value if value <= 0xFFFFFFFF else -1


def _put(buf: bytearray, offset: int, value: int, size: int) -> None:
    for i in range(size):
        buf[offset + i] = value >> 8 * i & 0xFF


def _get(buf: "bytes | bytearray | memoryview", offset: int, size: int) -> int:
    value = 0
    for i in range(size):
        value |= buf[offset + i] << 8 * i
    return value


def _fill_block(block: bytearray, first: int, down: int, dev_addr: int, f_cnt: int) -> None:
    """The common part of the A and B0 blocks."""
    block[0] = first
    for i in range(1, 5):
        block[i] = 0
    block[5] = down
    _put(block, 6, dev_addr, 4)
    _put(block, 10, f_cnt, 4)
    block[14] = 0
    block[15] = 0


def _mic(
    key: BlockKey,
    buf: "bytes | bytearray | memoryview",
    length: int,
    down: int,
    dev_addr: int,
    f_cnt: int,
) -> None:
    """Leave the MIC of the data frame `buf[:length]`, MIC excluded, in `key.mac[:4]`."""
    _fill_block(key.block, 0x49, down, dev_addr, f_cnt)
    key.block[15] = length
    key.cmac_prefixed_into(key.mac, key.block, buf, length)


def _is_mic(key: BlockKey, buf: "bytes | bytearray | memoryview", offset: int) -> bool:
    different = 0
    for i in range(4):
        different |= key.mac[i] ^ buf[offset + i]
    return different == 0


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LocalError("range", "%s %d is outside %d..%d" % (name, value, low, high))


def encode_data_into(
    buf: bytearray,
    m_type: int,
    dev_addr: int,
    f_ctrl: int,
    f_cnt: int,
    f_opts: "bytes | bytearray | memoryview",
    f_opts_len: int,
    f_port: int,
    payload: "bytes | bytearray | memoryview",
    payload_len: int,
    nwk_key: BlockKey,
    app_key: BlockKey,
) -> int:
    """Write a whole encrypted and signed data frame to `buf`; return its length.

    `m_type` is one of the four data types and fixes the direction. `f_port` is 0..255, or
    `NO_PORT` with an empty payload; port 0 is encrypted with `nwk_key` and excludes FOpts.
    `buf` must not be `payload`. Raises `LocalError("range")` naming the field.
    """
    _check("m_type", m_type, UNCONFIRMED_UP, CONFIRMED_DOWN)
    _check("dev_addr", dev_addr, 0, 0xFFFFFFFF)
    _check("f_cnt", f_cnt, 0, 0xFFFFFFFF)
    _check("f_opts_len", f_opts_len, 0, 0 if f_port == 0 else F_OPTS_MAX)
    _check("f_port", f_port, NO_PORT, 255)
    end = 8 + f_opts_len
    room = 0 if f_port == NO_PORT else PHY_MAX - end - 5
    _check("payload_len", payload_len, 0, room)
    down = m_type & 1
    buf[0] = m_type << 5
    _put(buf, 1, dev_addr, 4)
    buf[5] = (f_ctrl & 0xF0) | f_opts_len
    _put(buf, 6, f_cnt & 0xFFFF, 2)
    for i in range(f_opts_len):
        buf[8 + i] = f_opts[i]
    if f_port != NO_PORT:
        buf[end] = f_port
        end += 1
        for i in range(payload_len):
            buf[end + i] = payload[i]
        key = app_key if f_port else nwk_key
        _fill_block(key.block, 0x01, down, dev_addr, f_cnt)
        key.ctr(key.block, buf, end, end + payload_len)
        end += payload_len
    _mic(nwk_key, buf, end, down, dev_addr, f_cnt)
    for i in range(4):
        buf[end + i] = nwk_key.mac[i]
    return end + 4


class DataFrame:
    """A data frame's fields, filled by `parse`; reusable, holds no bytes of the frame itself."""

    def __init__(self) -> None:
        self.m_type = 0
        self.is_uplink = False
        self.is_confirmed = False
        self.dev_addr = 0
        self.f_ctrl = 0  # with the bits ADR, ADR_ACK_REQ, ACK, F_PENDING
        self.f_cnt_16 = 0
        self.f_opts_start = 8  # FOpts are buf[f_opts_start : f_opts_start + f_opts_len]
        self.f_opts_len = 0
        self.f_port = NO_PORT
        self.payload_start = 0
        self.payload_len = 0
        self.length = 0  # of the whole PHYPayload

    def parse(self, buf: "bytes | bytearray | memoryview", length: int) -> None:
        """Read the clear fields of the PHYPayload `buf[:length]`; `RemoteError` if malformed."""
        m_type = frame_type(buf, length)
        if not UNCONFIRMED_UP <= m_type <= CONFIRMED_DOWN:
            raise RemoteError("type", "%d is not data" % m_type)
        if length < DATA_OVERHEAD:
            raise RemoteError("size", "%d bytes" % length)
        f_opts_len = buf[5] & 0x0F
        end = 8 + f_opts_len
        if end > length - 4:
            raise RemoteError("f_opts", "%d bytes of options in %d" % (f_opts_len, length))
        has_port = end < length - 4
        if has_port and buf[end] == 0 and f_opts_len:
            raise RemoteError("port_0_f_opts", "MAC commands in both places")
        self.m_type = m_type
        self.is_uplink = not m_type & 1
        self.is_confirmed = m_type >= CONFIRMED_UP
        self.dev_addr = _get(buf, 1, 4)
        self.f_ctrl = buf[5] & 0xF0
        self.f_cnt_16 = buf[6] | buf[7] << 8
        self.f_opts_len = f_opts_len
        self.f_port = buf[end] if has_port else NO_PORT
        self.payload_start = end + 1 if has_port else end
        self.payload_len = length - 4 - self.payload_start
        self.length = length

    def check_mic(
        self, buf: "bytes | bytearray | memoryview", f_cnt: int, nwk_key: BlockKey
    ) -> bool:
        """Whether the MIC is right for the full counter `f_cnt`."""
        end = self.length - 4
        _mic(nwk_key, buf, end, 0 if self.is_uplink else 1, self.dev_addr, f_cnt)
        return _is_mic(nwk_key, buf, end)

    def open(self, buf: bytearray, f_cnt: int, nwk_key: BlockKey, app_key: BlockKey) -> None:
        """Decrypt the payload in place (port 0 with `nwk_key`, else `app_key`)."""
        key = app_key if self.f_port else nwk_key
        _fill_block(key.block, 0x01, 0 if self.is_uplink else 1, self.dev_addr, f_cnt)
        key.ctr(key.block, buf, self.payload_start, self.payload_start + self.payload_len)


class JoinRequest:
    """A join request's fields."""

    def __init__(self, join_eui: bytes, dev_eui: bytes, dev_nonce: int) -> None:
        self.join_eui = join_eui
        self.dev_eui = dev_eui
        self.dev_nonce = dev_nonce


def encode_join_request_into(
    buf: bytearray, join_eui: bytes, dev_eui: bytes, dev_nonce: int, app_key: BlockKey
) -> int:
    """Write the 23-byte signed join request to `buf`; return 23."""
    _check("length of join_eui", len(join_eui), 8, 8)
    _check("length of dev_eui", len(dev_eui), 8, 8)
    _check("dev_nonce", dev_nonce, 0, 0xFFFF)
    buf[0] = JOIN_REQUEST << 5
    for i in range(8):
        buf[1 + i] = join_eui[7 - i]
        buf[9 + i] = dev_eui[7 - i]
    _put(buf, 17, dev_nonce, 2)
    app_key.cmac_into(app_key.mac, buf, 19)
    for i in range(4):
        buf[19 + i] = app_key.mac[i]
    return JOIN_REQUEST_SIZE


def _reversed(buf: "bytes | bytearray | memoryview", start: int, size: int) -> bytes:
    return bytes([buf[start + size - 1 - i] for i in range(size)])


def parse_join_request(buf: "bytes | bytearray | memoryview", length: int) -> JoinRequest:
    """The fields of a join request, MIC not checked; `RemoteError` if malformed."""
    m_type = frame_type(buf, length)
    if m_type != JOIN_REQUEST:
        raise RemoteError("type", "%d is not a join request" % m_type)
    if length != JOIN_REQUEST_SIZE:
        raise RemoteError("size", "%d bytes" % length)
    return JoinRequest(_reversed(buf, 1, 8), _reversed(buf, 9, 8), _get(buf, 17, 2))


def check_join_request_mic(buf: "bytes | bytearray | memoryview", app_key: BlockKey) -> bool:
    """Whether the 23-byte join request in `buf` is signed with `app_key`."""
    app_key.cmac_into(app_key.mac, buf, 19)
    return _is_mic(app_key, buf, 19)


class JoinAccept:
    """A join accept's fields. `cf_list` is empty or 16 bytes (see `regions`)."""

    def __init__(
        self,
        join_nonce: int,
        net_id: int,
        dev_addr: int,
        rx1_dr_offset: int = 0,
        rx2_dr: int = 0,
        rx_delay_s: int = 1,
        cf_list: bytes = b"",
    ) -> None:
        self.join_nonce = join_nonce  # 24 bits
        self.net_id = net_id  # 24 bits
        self.dev_addr = dev_addr
        self.rx1_dr_offset = rx1_dr_offset  # 0..7
        self.rx2_dr = rx2_dr  # 0..15
        self.rx_delay_s = rx_delay_s  # 1..15 s
        self.cf_list = cf_list


def encode_join_accept_into(
    buf: bytearray, accept: JoinAccept, aes: "ServerAes", app_key: bytes
) -> int:
    """Server: write the signed and encrypted join accept to `buf`; return 17 or 33."""
    _check("join_nonce", accept.join_nonce, 0, 0xFFFFFF)
    _check("net_id", accept.net_id, 0, 0xFFFFFF)
    _check("dev_addr", accept.dev_addr, 0, 0xFFFFFFFF)
    _check("rx1_dr_offset", accept.rx1_dr_offset, 0, 7)
    _check("rx2_dr", accept.rx2_dr, 0, 15)
    _check("rx_delay_s", accept.rx_delay_s, 1, 15)
    if len(accept.cf_list) not in (0, 16):
        raise LocalError("range", "a CFList of %d bytes" % len(accept.cf_list))
    buf[0] = JOIN_ACCEPT << 5
    _put(buf, 1, accept.join_nonce, 3)
    _put(buf, 4, accept.net_id, 3)
    _put(buf, 7, accept.dev_addr, 4)
    buf[11] = accept.rx1_dr_offset << 4 | accept.rx2_dr
    buf[12] = accept.rx_delay_s
    end = 13 + len(accept.cf_list)
    for i in range(len(accept.cf_list)):
        buf[13 + i] = accept.cf_list[i]
    key = BlockKey(aes, app_key)
    key.cmac_into(key.mac, buf, end)
    for i in range(4):
        buf[end + i] = key.mac[i]
    cipher = aes(app_key)
    for start in range(1, end + 4, 16):
        for i in range(16):
            key.block[i] = buf[start + i]
        cipher.decrypt_into(key.block, key.block)
        for i in range(16):
            buf[start + i] = key.block[i]
    return end + 4


def open_join_accept(buf: bytearray, length: int, app_key: BlockKey) -> JoinAccept:
    """Device: decrypt `buf[:length]` in place and check it; `RemoteError` if it is not for us."""
    m_type = frame_type(buf, length)
    if m_type != JOIN_ACCEPT:
        raise RemoteError("type", "%d is not a join accept" % m_type)
    if length not in (17, 33):
        raise RemoteError("size", "%d bytes" % length)
    for start in range(1, length, 16):
        for i in range(16):
            app_key.block[i] = buf[start + i]
        app_key.encrypt_into(app_key.block, app_key.block)
        for i in range(16):
            buf[start + i] = app_key.block[i]
    app_key.cmac_into(app_key.mac, buf, length - 4)
    if not _is_mic(app_key, buf, length - 4):
        raise RemoteError("mic", "join accept")
    return JoinAccept(
        _get(buf, 1, 3),
        _get(buf, 4, 3),
        _get(buf, 7, 4),
        buf[11] >> 4 & 7,
        buf[11] & 0x0F,
        buf[12] & 0x0F or 1,
        bytes(buf[13 : length - 4]),
    )
