"""PHYPayloads of LoRaWAN 1.0.4, built and parsed for both directions and both ends.

Data: `encode_data_into`, `DataFrame.parse`, `.check_mic`, `.open`, `f_cnt_after`.
Join: `encode_join_request_into`, `JoinRequest.parse`, `encode_join_accept_into`, `open_join_accept`.

Numbers: a DevAddr is an int below 2**32; EUIs are 8 bytes big-endian, as printed; frame counters
are full 32-bit values of which 16 bits travel. A malformed or forged frame raises
`RemoteError(code)` with code in `size`, `type`, `major`, `f_opts`, `port_0_f_opts`, `mic`; a
caller's mistake raises `LocalError("range")`.

Source: LoRaWAN L2 1.0.4 sections 4 and 6.2.
"""

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


def frame_type(buf: "bytes | bytearray | memoryview") -> int:
    """The frame type in `buf[0]`; `RemoteError("size")` for no bytes, `("major")` if not 0."""
    raise NotImplementedError


def f_cnt_after(f_cnt_16: int, last: int) -> int:
    """The smallest 32-bit counter not below `last` whose low half is `f_cnt_16`.

    Equal to `last` means a repetition of the last frame. `last` is -1 before the first frame.
    Returns -1 when there is none below 2**32.
    """
    raise NotImplementedError


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
    raise NotImplementedError


class DataFrame:
    """A data frame's fields, filled by `parse`; reusable, holds no bytes of the frame itself."""

    def __init__(self) -> None:
        self.m_type = 0
        self.is_uplink = False
        self.is_confirmed = False
        self.dev_addr = 0
        self.f_ctrl = 0  # with the bits ADR, ADR_ACK_REQ, ACK, F_PENDING
        self.f_cnt_16 = 0
        self.f_opts_start = 0  # FOpts are buf[f_opts_start : f_opts_start + f_opts_len]
        self.f_opts_len = 0
        self.f_port = NO_PORT
        self.payload_start = 0
        self.payload_len = 0
        self.length = 0  # of the whole PHYPayload

    def parse(self, buf: "bytes | bytearray | memoryview", length: int) -> None:
        """Read the clear fields of the PHYPayload `buf[:length]`; `RemoteError` if malformed."""
        raise NotImplementedError

    def check_mic(
        self, buf: "bytes | bytearray | memoryview", f_cnt: int, nwk_key: BlockKey
    ) -> bool:
        """Whether the MIC is right for the full counter `f_cnt`."""
        raise NotImplementedError

    def open(self, buf: bytearray, f_cnt: int, nwk_key: BlockKey, app_key: BlockKey) -> None:
        """Decrypt the payload in place (port 0 with `nwk_key`, else `app_key`)."""
        raise NotImplementedError


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
    raise NotImplementedError


def parse_join_request(buf: "bytes | bytearray | memoryview", length: int) -> JoinRequest:
    """The fields of a join request, MIC not checked; `RemoteError` if malformed."""
    raise NotImplementedError


def check_join_request_mic(buf: "bytes | bytearray | memoryview", app_key: BlockKey) -> bool:
    """Whether the 23-byte join request in `buf` is signed with `app_key`."""
    raise NotImplementedError


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
        self.rx_delay_s = rx_delay_s  # 1..15 s (0 travels as and means 1)
        self.cf_list = cf_list


def encode_join_accept_into(
    buf: bytearray, accept: JoinAccept, aes: "ServerAes", app_key: bytes
) -> int:
    """Server: write the signed and encrypted join accept to `buf`; return 17 or 33."""
    raise NotImplementedError


def open_join_accept(buf: bytearray, length: int, app_key: BlockKey) -> JoinAccept:
    """Device: decrypt `buf[:length]` in place and check it; `RemoteError` code `size`, `mic`, ..."""
    raise NotImplementedError
