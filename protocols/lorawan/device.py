"""The LoRaWAN 1.0.4 end device, class A and C, without I/O: `Device`, `Keys`, `AbpKeys`.

The caller owns the radio, the clock and the flash, and loops:

    op = device.step(now_ms)      # OP_NONE, OP_TX, OP_RX or OP_SLEEP
    OP_TX     set the radio from `device.radio`, send radio.tx_buf[:radio.tx_len]; at its end call
              `device.tx_done(now_ms)` with the tick of the end of the transmission, as exactly as
              the hardware tells: the receive windows are counted from it
    OP_RX     set the radio from `device.radio` and receive: a single window that gives up after
              `symbol_timeout` symbols, or for ever when `radio.is_continuous`; then call
              `device.rx_done(length, rssi_dbm, snr_q4, now_ms)` with the bytes put into
              `device.rx_buf`, or `device.rx_timeout(now_ms)` (also for a frame with a bad CRC)
    OP_SLEEP  stop the radio; nothing will be sent or received before the next deadline
    OP_NONE   nothing new: go on with what the radio does

Call `step` again after every call of another method, until it returns OP_NONE; then not later
than `device.deadline_ms` when `device.has_deadline`. `device.radio_failed(now_ms)` tells that the
radio did not do the last operation. After each `step` loop take every event from `next_event()`.

Between `tx_done` and the end of the receive windows neither `step`, `tx_done` nor `rx_timeout`
allocates memory.

Time is ticks (`protocols.ticks`). What must survive a power cut is given to `store.save` before
it is used; a `save` that raises OSError makes the device wait and try again, never send.
"""

from protocols.lorawan.regions import Region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from protocols.lorawan.crypto import Aes

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
        self.strict_join_nonce = True  # refuse a JoinNonce not above the last


class Device:
    """One end device. See the module's docstring for how it is driven.

    `entropy()` returns a random int, 0..2**30 - 1. With OTAA `keys` a stored session goes on
    after a power cut; without one call `join`, or the first `send` does it.
    """

    def __init__(
        self,
        region: Region,
        aes: "Aes",
        store: "Store",
        entropy: "Callable[[], int]",
        keys: "Keys | AbpKeys",
        settings: "Settings | None" = None,
    ) -> None:
        self.radio = Radio()
        self.settings = settings or Settings()
        self.rx_buf = bytearray(255)
        self.data = bytearray(242)  # application data of EV_DOWNLINK
        self.has_deadline = False
        self.deadline_ms = 0
        self.joined = False
        self.is_link_lost = False
        self.battery = 255  # DevStatusAns: 0 external, 1..254 level, 255 unknown
        # Counters for the health record; all wrap at 2**30.
        self.uplinks = 0  # transmissions made, joins included
        self.downlinks = 0  # accepted
        self.rejected = 0  # frames heard that were not for us, forged, repeated or malformed
        self.store_failures = 0
        raise NotImplementedError

    def join(self, now_ms: int) -> None:
        """Start joining; goes on with back-off until it succeeds. A session lives on till then.

        `LocalError("abp")` for ABP keys.
        """
        raise NotImplementedError

    def send(
        self,
        f_port: int,
        buf: "bytes | bytearray | memoryview",
        length: int,
        confirmed: bool,
        now_ms: int,
    ) -> bool:
        """Queue `buf[:length]` (copied) as the next uplink; False when one is not finished yet
        or there is no session (joining then starts by itself).

        `f_port` is 1..223. `LocalError("range")` for a port, `("size")` for a length above
        `max_payload()`. It is sent as soon as duty cycle and back-off allow.
        """
        raise NotImplementedError

    def max_payload(self) -> int:
        """Application bytes that fit the next uplink at the present data rate, 11 at worst.

        Never less because of MAC answers: those that do not fit go ahead in a frame of their own.
        """
        raise NotImplementedError

    def ready(self, now_ms: int) -> bool:
        """Whether a `send` now would be accepted and be on air at once."""
        raise NotImplementedError

    def next_tx_ms(self, now_ms: int) -> int:
        """The first tick at which duty cycle lets the next full-size uplink go; maybe `now_ms`."""
        raise NotImplementedError

    def request_time(self) -> None:
        """Ask for the network's time with the next uplink (EV_TIME)."""
        raise NotImplementedError

    def request_link_check(self) -> None:
        """Ask for a link check with the next uplink (EV_LINK)."""
        raise NotImplementedError

    def step(self, now_ms: int) -> int:
        """What the radio must do now, OP_...; see the module's docstring."""
        raise NotImplementedError

    def tx_done(self, now_ms: int) -> None:
        """The transmission ended at `now_ms`."""
        raise NotImplementedError

    def rx_done(self, length: int, rssi_dbm: int, snr_q4: int, now_ms: int) -> None:
        """A frame of `length` bytes with a good header is in `rx_buf`, which may hold anything."""
        raise NotImplementedError

    def rx_timeout(self, now_ms: int) -> None:
        """The receive window closed with nothing usable."""
        raise NotImplementedError

    def radio_failed(self, now_ms: int) -> None:
        """The radio did not do the last operation; the device tries again later."""
        raise NotImplementedError

    def next_event(self) -> "Event | None":
        """The oldest event, or None. Frees the data of the EV_DOWNLINK given before."""
        raise NotImplementedError

    @property
    def dr(self) -> int:
        """The data rate of the next uplink."""
        raise NotImplementedError

    @property
    def f_cnt_up(self) -> int:
        """The frame counter of the next uplink."""
        raise NotImplementedError
