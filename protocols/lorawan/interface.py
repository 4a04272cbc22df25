"""What an end device and its caller exchange: operations, events, keys, settings, the store."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Store(Protocol):
        """Keeps one record of at most `RECORD_MAX` bytes over power cuts."""

        def load(self) -> "bytes | None":
            """The last record saved, or None; never part of one."""
            ...

        def save(self, buf: bytearray) -> None:
            """Replace the record; durable when it returns. May raise OSError. Copies `buf`."""
            ...


RECORD_MAX = 320

OP_NONE = 0
OP_TX = 1
OP_RX = 2
OP_SLEEP = 3

EV_JOINED = 1  # a join succeeded; the session is new
EV_JOIN_FAILED = 2  # one join attempt had no answer; value: attempts so far; goes on by itself
EV_SENT = 3  # the uplink is finished (unconfirmed, all transmissions made)
EV_ACK = 4  # the confirmed uplink was acknowledged
EV_NO_ACK = 5  # the confirmed uplink was not acknowledged in all its transmissions
EV_DOWNLINK = 6  # application data: port, device.data[:length]; ours until the next event is asked
EV_LINK = 7  # LinkCheckAns: margin_db, value: gateways that heard the uplink
EV_TIME = 8  # DeviceTimeAns: value: GPS seconds, fraction (1/256 s), both at tick at_ms
EV_LINK_LOST = 9  # probes had no answer; the device now tries to rejoin
EV_LINK_BACK = 10  # a downlink came after EV_LINK_LOST
EV_RESET = 11  # the stored record was missing or unusable, or belonged to other keys
EV_EXHAUSTED = 12  # DevNonce or frame counter used up: new keys are needed


class Keys:
    """OTAA identity: EUIs 8 bytes big-endian as printed, `app_key` 16 bytes."""

    is_abp = False

    def __init__(self, dev_eui: bytes, join_eui: bytes, app_key: bytes) -> None:
        self.dev_eui = dev_eui
        self.join_eui = join_eui
        self.app_key = app_key


class AbpKeys:
    """A personalised session: 32-bit DevAddr and two 16-byte session keys."""

    is_abp = True

    def __init__(self, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes) -> None:
        self.dev_addr = dev_addr
        self.nwk_s_key = nwk_s_key
        self.app_s_key = app_s_key


class Radio:
    """What the radio has to do for the last OP_TX or OP_RX; one object for ever."""

    def __init__(self) -> None:
        self.freq_hz = 0
        self.sf = 0
        self.bw_hz = 0
        self.power_dbm = 0  # conducted: EIRP less `Settings.antenna_gain_db`
        self.preamble = 8  # symbols
        self.iq_inverted = False  # False to send, True to receive
        self.crc_on = False  # payload CRC: sent on uplinks, absent on downlinks
        self.symbol_timeout = 0  # OP_RX: give up after so many symbols without a preamble
        self.is_continuous = False  # OP_RX: receive until told otherwise
        self.tx_buf = bytearray(255)
        self.tx_len = 0
        self.airtime_us = 0  # OP_TX: exact time on air


class Event:
    """One event; the object is used again by the next `next_event`."""

    def __init__(self) -> None:
        self.kind = 0
        self.port = 0
        self.length = 0
        self.value = 0
        self.fraction = 0
        self.margin_db = 0
        self.at_ms = 0
        self.rssi_dbm = 0
        self.snr_q4 = 0  # quarter dB


class Settings:
    """What a deployment chooses; change before the first `step`."""

    def __init__(self) -> None:
        self.class_c = False
        self.adr = True  # let the network choose data rate and power
        self.dr = -1  # first data rate (-1: the one the join worked with); fixed when not adr
        self.confirmed_trials = 1  # a confirmed uplink is sent max(this, NbTrans) times, 1..15
        self.antenna_gain_db = 2  # subtracted from the EIRP allowed
        self.power_max_dbm = 22  # what the radio chip can do
        self.sub_band = 0  # fixed plans: 1..8 uses only these 8+1 channels, 0 all
        self.clock_error_ppm = 40  # device's and gateway's together
        self.rx_error_ms = 10  # how late or early the radio may be switched on
        self.rx_symbols_min = 6  # symbols the radio needs to see a preamble
        self.wake_up_ms = 1  # from OP_RX to a receiving radio
        self.probe_after_s = 3600  # this long without a downlink starts the link probe
        self.rejoin_max_s = 3600  # the longest wait between two attempts to come back
        self.strict_join_nonce = True  # refuse a JoinNonce below the last, not just the last itself
