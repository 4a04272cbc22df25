"""What an end device must remember over a power cut: `Session`, one record of `RECORD_SIZE` bytes.

Layout, little-endian: `_HEAD`, 16 channels of 7 bytes (uplink and downlink frequency in 100 Hz,
3 bytes each; lowest and highest DR in one), CRC-32 of all before it.
"""

import binascii
import struct

from protocols.lorawan.mac import copy_commands
from protocols.lorawan.regions import Region

_HEAD = "<2sBB4sHIIIIBBBBBBBBbI10sB24s16s16s"
_MAGIC = b"TL"
_VERSION = 1
_HAS_SESSION, _HAS_JOIN_NONCE, _HAS_DOWN = 1, 2, 4
_NO_COUNTER, _NO_NONCE = 8, 16  # used up: one more than the field can hold
_CHANNELS = 16
ANSWERS_MAX = 64
_STICKY_MAX = 24
F_CNT_END = 0x100000000
DEV_NONCE_END = 0x10000
# Uplink counters are reserved in blocks, so that flash is written once in so many uplinks; a
# power cut skips what was left of the block.
F_CNT_BLOCK = 32


class Session:
    """Join history, session keys, counters and MAC settings; every int fits its field."""

    def __init__(self, region: Region) -> None:
        self.has_session = False
        self.dev_nonce = 0  # the next to use, 0..65536
        self.join_nonce = -1  # the last accepted, -1 before
        self.dev_addr = 0
        self.nwk_s_key = bytes(16)
        self.app_s_key = bytes(16)
        self.f_cnt_up = 0  # the next to use, up to 2**32
        self.f_cnt_up_reserved = 0  # the store holds this one: use only counters below it
        self.f_cnt_down = -1  # the last accepted
        self.mask = bytearray(10)  # channels enabled, lowest bit first
        self.freqs_hz = [0] * _CHANNELS  # dynamic plans; 0: no such channel
        self.down_freqs_hz = [0] * _CHANNELS  # RX1 frequency set by DlChannelReq, else 0
        self.dr_ranges = bytearray(_CHANNELS)  # highest DR << 4 | lowest DR
        self.answers = bytearray(ANSWERS_MAX)  # to MAC requests; the sticky ones are stored
        self.answers_len = 0
        self._sticky = bytearray(_STICKY_MAX)
        self.reset(region)

    def reset(self, region: Region) -> None:
        """MAC settings and counters as after a join without settings; join history stays."""
        self.f_cnt_up = 0
        self.f_cnt_up_reserved = 0
        self.f_cnt_down = -1
        self.dr = region.join_dr_min
        self.tx_power = 0
        self.nb_trans = 1
        self.rx1_offset = 0
        self.rx1_delay_s = 1
        self.rx2_dr = region.rx2_dr
        self.rx2_freq_hz = region.rx2_freq_hz
        self.max_duty = 0
        self.up_dwell = region.has_dwell
        self.down_dwell = False
        self.eirp_dbm = region.eirp_dbm
        self.answers_len = 0
        for i in range(10):
            self.mask[i] = 0
        if region.is_fixed:
            for i in range(9):
                self.mask[i] = 0xFF
            return
        for i in range(_CHANNELS):
            known = i < len(region.channels)
            self.freqs_hz[i] = region.channels[i][0] if known else 0
            self.down_freqs_hz[i] = 0
            self.dr_ranges[i] = region.channels[i][2] << 4 | region.channels[i][1] if known else 0
            if known:
                self.mask[i >> 3] |= 1 << (i & 7)

    def encode_into(self, buf: bytearray, owner: bytes) -> None:
        """Write the record to `buf[:RECORD_SIZE]`; `owner` is 4 bytes that name the keys."""
        flags = (
            (_HAS_SESSION if self.has_session else 0)
            | (_HAS_JOIN_NONCE if self.join_nonce >= 0 else 0)
            | (_HAS_DOWN if self.f_cnt_down >= 0 else 0)
            | (_NO_COUNTER if self.f_cnt_up_reserved >= F_CNT_END else 0)
            | (_NO_NONCE if self.dev_nonce >= DEV_NONCE_END else 0)
        )
        struct.pack_into(
            _HEAD,
            buf,
            0,
            _MAGIC,
            _VERSION,
            flags,
            owner,
            self.dev_nonce & 0xFFFF,
            max(self.join_nonce, 0),
            self.dev_addr,
            self.f_cnt_up_reserved & (F_CNT_END - 1),
            max(self.f_cnt_down, 0),
            self.dr,
            self.tx_power,
            self.nb_trans,
            self.rx1_offset,
            self.rx2_dr,
            self.rx1_delay_s,
            self.max_duty,
            (1 if self.up_dwell else 0) | (2 if self.down_dwell else 0),
            self.eirp_dbm,
            self.rx2_freq_hz,
            self.mask,
            copy_commands(self.answers, self.answers_len, self._sticky, 0, _STICKY_MAX, True),
            self._sticky,
            self.nwk_s_key,
            self.app_s_key,
        )
        at = struct.calcsize(_HEAD)
        for i in range(_CHANNELS):
            up, down = self.freqs_hz[i] // 100, self.down_freqs_hz[i] // 100
            for k in range(3):
                buf[at + k] = up >> 8 * k & 0xFF
                buf[at + 3 + k] = down >> 8 * k & 0xFF
            buf[at + 6] = self.dr_ranges[i]
            at += 7
        struct.pack_into("<I", buf, at, binascii.crc32(memoryview(buf)[:at]) & 0xFFFFFFFF)

    def decode(self, buf: "bytes | bytearray", owner: bytes) -> bool:
        """Take the record's content; False, changing nothing, for another's or a broken one."""
        if len(buf) < RECORD_SIZE:
            return False
        at = RECORD_SIZE - 4
        if (
            struct.unpack_from("<I", buf, at)[0]
            != binascii.crc32(memoryview(buf)[:at]) & 0xFFFFFFFF
        ):
            return False
        head = struct.unpack_from(_HEAD, buf, 0)
        if head[0] != _MAGIC or head[1] != _VERSION or head[3] != owner:
            return False
        flags = head[2]
        self.has_session = bool(flags & _HAS_SESSION)
        self.dev_nonce = DEV_NONCE_END if flags & _NO_NONCE else head[4]
        self.join_nonce = head[5] if flags & _HAS_JOIN_NONCE else -1
        self.dev_addr = head[6]
        self.f_cnt_up = self.f_cnt_up_reserved = F_CNT_END if flags & _NO_COUNTER else head[7]
        self.f_cnt_down = head[8] if flags & _HAS_DOWN else -1
        self.dr, self.tx_power, self.nb_trans, self.rx1_offset = head[9:13]
        self.rx2_dr, self.rx1_delay_s, self.max_duty = head[13:16]
        self.up_dwell = bool(head[16] & 1)
        self.down_dwell = bool(head[16] & 2)
        self.eirp_dbm = head[17]
        self.rx2_freq_hz = head[18]
        self.mask[:] = head[19]
        self.answers_len = min(head[20], _STICKY_MAX)
        self.answers[:_STICKY_MAX] = head[21]
        self.nwk_s_key = head[22]
        self.app_s_key = head[23]
        at = struct.calcsize(_HEAD)
        for i in range(_CHANNELS):
            self.freqs_hz[i] = (buf[at] | buf[at + 1] << 8 | buf[at + 2] << 16) * 100
            self.down_freqs_hz[i] = (buf[at + 3] | buf[at + 4] << 8 | buf[at + 5] << 16) * 100
            self.dr_ranges[i] = buf[at + 6]
            at += 7
        return True


RECORD_SIZE = struct.calcsize(_HEAD) + 7 * _CHANNELS + 4
