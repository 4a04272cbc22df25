"""Radio regions as data: `region(name)` loads one and gives a `Region`.

Names: `AS923-1` .. `AS923-4`, `EU868`, `IN865`, `AU915`, `US915` (`NAMES`). A data rate (DR) is
an index into `Region.data_rates`; frequencies are Hz; power is EIRP in dBm. Nothing here changes
after loading. CFList: `cf_list_frequencies`, `cf_list_masks` and their encoders.

Sources: LoRaWAN Regional Parameters RP002-1.0.4, read with Lora-net/LoRaMac-node
`src/mac/region/` and chirpstack `lrwn/src/region/`.
"""

from protocols.errors import LocalError

NAMES = ("AS923-1", "AS923-2", "AS923-3", "AS923-4", "EU868", "IN865", "AU915", "US915")

RX1_DELAY_S = 1  # default; RX2 is always one second after RX1
JOIN_RX1_DELAY_S = 5
ADR_ACK_LIMIT = 64
ADR_ACK_DELAY = 32
FSK_50 = (50, 0)  # a data rate whose pair is not (sf, bandwidth): GFSK at 50 kbit/s
# TxParamSetupReq's coded EIRP by index (LoRaWAN L2 1.0.4 section 5.9):
# 8 10 12 13 14 16 18 20 21 24 26 27 29 30 33 36 dBm.
EIRP_DBM = b"\x08\x0a\x0c\x0d\x0e\x10\x12\x14\x15\x18\x1a\x1b\x1d\x1e\x21\x24"


class Region:
    """One region's constants and its small pure functions; see each attribute."""

    def __init__(
        self,
        name: str,
        data_rates: "tuple[tuple[int, int] | None, ...]",
        payload_max: bytes,
        channels: "tuple[tuple[int, int, int], ...]",
        rx1_table: "tuple[bytes, ...]",
        rx2: "tuple[int, int]",
        band_hz: "tuple[int, int]",
        eirp_dbm: int,
        tx_power_max: int,
        up_dr: "tuple[int, int]",
        join_dr: "tuple[int, int]",
        down_dr: "tuple[int, int]",
        duty: "tuple[tuple[int, int, int], ...]" = (),
        join_steady: bytes = b"\2",
        payload_max_dwell: "bytes | None" = None,
        rx1_table_dwell: "tuple[bytes, ...] | None" = None,
        is_fixed: bool = False,
    ) -> None:
        self.name = name
        # By DR: (spreading factor, bandwidth Hz), `FSK_50`, or None where reserved.
        self.data_rates = data_rates
        # N by DR: largest FRMPayload with no FOpts; `_dwell` under the 400 ms uplink limit, where
        # 0 means the data rate may not be used at all.
        self.payload_max = payload_max
        self.payload_max_dwell = payload_max_dwell
        # Dynamic plans: the default channels (Hz, lowest DR, highest DR), never changed by the
        # network. Fixed plans (US915, AU915): all 72, 64 narrow then 8 wide.
        self.channels = channels
        self.is_fixed = is_fixed
        self.channel_count = 72 if is_fixed else 16
        self.rx2_freq_hz, self.rx2_dr = rx2
        self.freq_min_hz, self.freq_max_hz = band_hz
        self.eirp_dbm = eirp_dbm  # TXPower index 0; each step is 2 dB less
        self.tx_power_max = tx_power_max  # the highest TXPower index
        self.up_dr_min, self.up_dr_max = up_dr  # LoRa data rates an uplink may use
        self.join_dr_min, self.join_dr_max = join_dr
        # Data rates of join attempts, in turn: dynamic plans go twice from the fastest to the
        # slowest first, see `Sender`; then, and in fixed plans always, these.
        self.join_steady = join_steady
        self.down_dr_min, self.down_dr_max = down_dr
        # Sub-bands (lowest Hz, highest Hz, n): at most 1/n of any hour on air; none: no limit.
        self.duty = duty
        self.rx1_table = rx1_table
        self.rx1_table_dwell = rx1_table_dwell
        # Whether TxParamSetupReq exists here (AS923, AU915), and so the dwell limit.
        self.has_dwell = payload_max_dwell is not None

    def payload_limit(self, dr: int, dwell: bool) -> int:
        """N: application bytes that fit a frame without FOpts at `dr`; 0 if unusable."""
        table = self.payload_max_dwell if dwell and self.payload_max_dwell else self.payload_max
        return table[dr] if 0 <= dr < len(table) else 0

    def rx1_dr(self, up_dr: int, offset: int, down_dwell: bool) -> int:
        """The data rate of RX1 after an uplink at `up_dr`; `LocalError("range")` if undefined."""
        table = self.rx1_table_dwell if down_dwell and self.rx1_table_dwell else self.rx1_table
        if not (0 <= up_dr < len(table) and 0 <= offset < len(table[up_dr])):
            raise LocalError("range", "RX1 of DR%d offset %d" % (up_dr, offset))
        return table[up_dr][offset]

    @property
    def rx1_offset_max(self) -> int:
        """The largest RX1DROffset."""
        return len(self.rx1_table[0]) - 1

    def rx1_freq_hz(self, channel: int, up_freq_hz: int) -> int:
        """RX1's frequency where no DlChannelReq changed it: the uplink's, or the fixed plan's."""
        if self.is_fixed:
            return 923300000 + channel % 8 * 600000
        return up_freq_hz

    def is_frequency(self, freq_hz: int) -> bool:
        """Whether the region allows transmissions at `freq_hz`."""
        if self.duty:
            return self.duty_index(freq_hz) >= 0
        return self.freq_min_hz <= freq_hz <= self.freq_max_hz

    def is_down_dr(self, dr: int) -> bool:
        """Whether a downlink may use `dr` with LoRa."""
        if not self.down_dr_min <= dr <= self.down_dr_max:
            return False
        rate = self.data_rates[dr]
        return rate is not None and rate != FSK_50

    def is_up_dr(self, dr: int) -> bool:
        """Whether an uplink may use `dr` with LoRa."""
        return self.up_dr_min <= dr <= self.up_dr_max and self.data_rates[dr] is not None

    def dr_of(self, sf: int, bw_hz: int, is_uplink: bool) -> int:
        """The data rate of (sf, bandwidth) in that direction, or -1."""
        low, high = (0, 7) if is_uplink else (self.down_dr_min, self.down_dr_max)
        for dr in range(low, min(high + 1, len(self.data_rates))):
            if self.data_rates[dr] == (sf, bw_hz):
                return dr
        return -1

    def duty_index(self, freq_hz: int) -> int:
        """The index in `duty` of the sub-band holding `freq_hz`, or -1 where there is no limit."""
        for i in range(len(self.duty)):
            if self.duty[i][0] <= freq_hz <= self.duty[i][1]:
                return i
        return -1


def region(name: str) -> Region:
    """The region called `name`; `LocalError("region")` lists the names there are."""
    # Imported here so that a device holds one region's tables, not eight.
    if name.startswith("AS923-") and name in NAMES:
        from protocols.lorawan.region_as923 import as923

        return as923(name)
    if name == "EU868":
        from protocols.lorawan.region_eu868 import eu868

        return eu868()
    if name == "IN865":
        from protocols.lorawan.region_in865 import in865

        return in865()
    if name == "AU915":
        from protocols.lorawan.region_us_au915 import au915

        return au915()
    if name == "US915":
        from protocols.lorawan.region_us_au915 import us915

        return us915()
    raise LocalError("region", "no region " + name + "; there are: " + ", ".join(NAMES))


def cf_list_frequencies(cf_list: bytes) -> "tuple[int, ...] | None":
    """The five extra channels' frequencies in Hz (0: unused) of a CFList of type 0, else None."""
    if len(cf_list) != 16 or cf_list[15] != 0:
        return None
    return tuple(
        [(cf_list[i] | cf_list[i + 1] << 8 | cf_list[i + 2] << 16) * 100 for i in range(0, 15, 3)]
    )


def cf_list_masks(cf_list: bytes) -> "bytes | None":
    """The channel mask bytes (low channel first, 10 of them) of a CFList of type 1, else None."""
    if len(cf_list) != 16 or cf_list[15] != 1:
        return None
    return bytes(cf_list[:10])


def encode_cf_list_frequencies(freqs_hz: "tuple[int, ...]") -> bytes:
    """The 16-byte CFList of up to five frequencies (Hz, multiples of 100); `LocalError`."""
    if len(freqs_hz) > 5:
        raise LocalError("range", "%d frequencies in a CFList, at most 5" % len(freqs_hz))
    out = bytearray(16)
    for i in range(len(freqs_hz)):
        value = freqs_hz[i] // 100
        if value * 100 != freqs_hz[i] or not 0 <= value < 1 << 24:
            raise LocalError("range", "frequency %d Hz" % freqs_hz[i])
        out[3 * i] = value & 0xFF
        out[3 * i + 1] = value >> 8 & 0xFF
        out[3 * i + 2] = value >> 16
    return bytes(out)


def encode_cf_list_masks(mask: bytes) -> bytes:
    """The 16-byte CFList of a 72-channel mask (10 bytes, low channel first)."""
    if len(mask) != 10:
        raise LocalError("range", "a mask has 10 bytes")
    return bytes(mask) + b"\0\0\0\0\0\1"
