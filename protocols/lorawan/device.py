"""The LoRaWAN 1.0.4 end device, class A and C, without I/O: `Device`.

`Keys`, `AbpKeys`, `Settings`, `Radio`, `Event`, `RECORD_MAX` and the constants OP_... and EV_...
are here too, from `interface`.

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

from protocols.errors import LocalError
from protocols.lorawan import frames
from protocols.lorawan.channels import Channels
from protocols.lorawan.duty import DutyCycle
from protocols.lorawan.events import EventQueue
from protocols.lorawan.interface import (
    EV_ACK,
    EV_DOWNLINK,
    EV_EXHAUSTED,
    EV_JOIN_FAILED,
    EV_JOINED,
    EV_LINK,
    EV_LINK_BACK,
    EV_LINK_LOST,
    EV_NO_ACK,
    EV_RESET,
    EV_SENT,
    EV_TIME,
    OP_NONE,
    OP_RX,
    OP_SLEEP,
    OP_TX,
    RECORD_MAX,
    AbpKeys,
    Event,
    Keys,
    Radio,
    Settings,
)
from protocols.lorawan.link import LOST, Link
from protocols.lorawan.mac_layer import MacLayer
from protocols.lorawan.reception import Reception
from protocols.lorawan.regions import Region
from protocols.lorawan.sender import Sender
from protocols.lorawan.session import Session
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.lorawan.crypto import Aes
    from protocols.lorawan.interface import Store

__all__ = [
    "EV_ACK",
    "EV_DOWNLINK",
    "EV_EXHAUSTED",
    "EV_JOINED",
    "EV_JOIN_FAILED",
    "EV_LINK",
    "EV_LINK_BACK",
    "EV_LINK_LOST",
    "EV_NO_ACK",
    "EV_RESET",
    "EV_SENT",
    "EV_TIME",
    "OP_NONE",
    "OP_RX",
    "OP_SLEEP",
    "OP_TX",
    "RECORD_MAX",
    "AbpKeys",
    "Device",
    "Event",
    "Keys",
    "Radio",
    "Settings",
]


_RADIO_RETRY_MS = 5000
_IDLE_MS = 3600000  # `step` is called at least so often, so that ticks may wrap


def _check(region: Region, settings: Settings) -> None:
    if settings.dr >= 0 and not region.is_up_dr(settings.dr):
        raise LocalError("range", "DR%d is no uplink rate of %s" % (settings.dr, region.name))
    if not 0 <= settings.sub_band <= (8 if region.is_fixed else 0):
        raise LocalError("range", "sub-band %d in %s" % (settings.sub_band, region.name))
    if not 1 <= settings.confirmed_trials <= 15:
        raise LocalError("range", "%d trials, not 1..15" % settings.confirmed_trials)


class Device:
    """One end device. See the module's docstring for how it is driven.

    `entropy()` returns a random int, 0..2**30 - 1. With OTAA `keys` a stored session goes on
    after a power cut; without one call `join`, or the first `send` does it. `LocalError("range")`
    names a setting that does not suit the region.
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
        self.settings = settings = settings or Settings()
        _check(region, settings)
        self.rx_buf = bytearray(255)
        self.has_deadline = True
        self.deadline_ms = 0
        # Counters for the health record.
        self.downlinks = 0  # accepted
        self.rejected = 0  # frames heard that were not for us, forged, repeated or malformed
        self.radio_failures = 0
        self._events = EventQueue()
        self.data = self._events.data  # application data of EV_DOWNLINK
        self._session = Session(region)
        duty = DutyCycle(region)
        channels = Channels(region, self._session, duty, entropy, settings.sub_band)
        channels.reset()
        self._mac = MacLayer(region, aes, store, keys, settings, self._session, channels)
        self._link = Link(settings, entropy)
        self._reception = Reception(self.radio, settings)
        self._sender = Sender(
            region, settings, entropy, self.radio, self._reception, self._mac, self._link,
            channels, duty, self._events,
        )  # fmt: skip
        self._is_started = False
        self._is_finished = False  # the windows are closed; `step` draws the conclusions
        if not self._mac.load(0x4000 + entropy() % 0x4000):
            self._events.emit(EV_RESET)

    # What the application asks.

    @property
    def joined(self) -> bool:
        """Whether there is a session."""
        return self._session.has_session

    @property
    def is_link_lost(self) -> bool:
        """Whether probes had no answer down to the slowest data rate."""
        return self._link.phase == LOST

    @property
    def dr(self) -> int:
        """The data rate of the next uplink."""
        return self._session.dr

    @property
    def f_cnt_up(self) -> int:
        """The frame counter of the next uplink."""
        return self._session.f_cnt_up

    @property
    def uplinks(self) -> int:
        """Transmissions made, joins and repetitions included."""
        return self._sender.uplinks

    @property
    def battery(self) -> int:
        """For DevStatusAns: 0 external power, 1..254 the level, 255 unknown."""
        return self._mac.responder.battery

    @battery.setter
    def battery(self, level: int) -> None:
        self._mac.responder.battery = level

    @property
    def store_failures(self) -> int:
        """How often `store.save` raised OSError."""
        return self._mac.store_failures

    @property
    def events_lost(self) -> int:
        """Events that the caller was too slow to take."""
        return self._events.lost

    def join(self, now_ms: int) -> None:
        """Start joining; goes on with back-off until it succeeds. A session lives on till then.

        `LocalError("abp")` for ABP keys.
        """
        if not self._mac.is_otaa:
            raise LocalError("abp", "a personalised device cannot join")
        self._link.start_join(now_ms, True)

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
        if not 1 <= f_port <= 223:
            raise LocalError("range", "port %d is outside 1..223" % f_port)
        if not 0 <= length <= self.max_payload():
            raise LocalError("size", "%d bytes, at most %d" % (length, self.max_payload()))
        if not self._session.has_session:
            if self._mac.is_otaa:
                self._link.start_join(now_ms)
            return False
        return self._sender.queue(f_port, buf, length, confirmed)

    def max_payload(self) -> int:
        """Application bytes that fit the next uplink at the present data rate, 11 at worst.

        Never less because of MAC answers: those that do not fit go ahead in a frame of their own.
        """
        return self._sender.max_payload()

    @property
    def is_idle(self) -> bool:
        """Whether no transmission is under way and none of its windows is to come."""
        return self._reception.is_idle

    @property
    def is_window(self) -> bool:
        """Whether RX1 or RX2 of an uplink is open."""
        return self._reception.is_window

    def ready(self, now_ms: int, size: int = -1) -> bool:
        """Whether a `send` of `size` bytes (-1: any) would be accepted and be on air at once."""
        return (
            self._session.has_session
            and self._reception.is_idle
            and self._sender.is_free
            and ticks_diff(self.next_tx_ms(now_ms, size), now_ms) <= 0
        )

    def next_tx_ms(self, now_ms: int, size: int = -1) -> int:
        """The first tick at which duty cycle lets an uplink of `size` bytes go; maybe `now_ms`."""
        return ticks_add(now_ms, self._sender.wait_ms(now_ms, size))

    def request_time(self) -> None:
        """Ask for the network's time with the next uplinks, until it comes (EV_TIME)."""
        self._mac.responder.wants_time = True

    def request_link_check(self) -> None:
        """Ask for a link check with the next uplinks, until it comes (EV_LINK)."""
        self._mac.responder.wants_link_check = True

    def next_event(self) -> "Event | None":
        """The oldest event, or None. Frees the data of the EV_DOWNLINK given before."""
        return self._events.next()

    # What the radio tells. Nothing here allocates but `rx_done`.

    def tx_done(self, now_ms: int) -> None:
        """The transmission ended at `now_ms`."""
        self._reception.tx_done(now_ms)

    def rx_timeout(self, now_ms: int) -> None:
        """The receive window closed with nothing usable."""
        if self._reception.missed():
            self._is_finished = True

    def radio_failed(self, now_ms: int) -> None:
        """The radio did not do the last operation; the device tries again later."""
        self.radio_failures = self.radio_failures + 1 & 0x3FFFFFFF
        self._sender.pause(now_ms, _RADIO_RETRY_MS)
        if self._reception.is_sending:
            self._sender.not_sent()
        if not self._reception.is_idle:
            self._is_finished = True
        self._reception.close()

    def rx_done(self, length: int, rssi_dbm: int, snr_q4: int, now_ms: int) -> None:
        """A frame of `length` bytes with a good header is in `rx_buf`, which may hold anything."""
        reception = self._reception
        is_window = reception.is_window
        if not is_window and not reception.is_listening:
            return
        if 0 < length <= len(self.rx_buf) and self._accept(length, rssi_dbm, snr_q4, now_ms):
            self.downlinks = self.downlinks + 1 & 0x3FFFFFFF
            reception.is_listening = False
            if is_window or (self._sender.is_acked and not reception.is_idle):
                reception.close()
                self._is_finished = True
            return
        self.rejected = self.rejected + 1 & 0x3FFFFFFF
        self.rx_timeout(now_ms)

    def _accept(self, length: int, rssi_dbm: int, snr_q4: int, now_ms: int) -> bool:
        """Take a frame in; False if it is not for us."""
        mac, sender = self._mac, self._sender
        is_window = self._reception.is_window
        if self.rx_buf[0] >> 5 == frames.JOIN_ACCEPT:
            if not (sender.is_join and is_window):
                return False
            if not mac.accept_join(self.rx_buf, length, sender.dr):
                return False
            sender.heard(False, True)
            self._link.joined(now_ms)
            self._tell(EV_JOINED, rssi_dbm, snr_q4)
            return True
        if not self._events.has_room():
            return False  # the caller has not taken the last one: let the network send it again
        if not mac.accept_data(self.rx_buf, length, snr_q4, is_window):
            return False
        frame = mac.frame
        if not self._reception.is_idle:
            sender.heard(frame.f_ctrl & frames.ACK != 0, is_window)
        if self._link.heard(now_ms):
            self._events.emit(EV_LINK_BACK)
        if not self.settings.adr:
            self._session.dr = mac.first_dr(self._session.dr)
        if frame.f_port > 0:
            for i in range(frame.payload_len):
                self.data[i] = self.rx_buf[frame.payload_start + i]
            event = self._tell(EV_DOWNLINK, rssi_dbm, snr_q4)
            event.port = frame.f_port
            event.length = frame.payload_len
        self._tell_answers(rssi_dbm, snr_q4)
        owes = mac.is_ack_owed or mac.responder.is_urgent
        if frame.f_ctrl & frames.F_PENDING or (self.settings.class_c and owes):
            sender.want_poll(now_ms)
        return True

    def _tell_answers(self, rssi_dbm: int, snr_q4: int) -> None:
        responder = self._mac.responder
        if responder.has_link:
            responder.has_link = False
            event = self._tell(EV_LINK, rssi_dbm, snr_q4)
            event.value = responder.gateway_count
            event.margin_db = responder.margin_db
        if responder.has_time:
            responder.has_time = False
            event = self._tell(EV_TIME, rssi_dbm, snr_q4)
            event.value = responder.gps_s
            event.fraction = responder.fraction
            event.at_ms = self._reception.tx_end_ms

    def _tell(self, kind: int, rssi_dbm: int, snr_q4: int) -> Event:
        event = self._events.emit(kind)
        event.rssi_dbm = rssi_dbm
        event.snr_q4 = snr_q4
        return event

    # The loop.

    def step(self, now_ms: int) -> int:
        """What the radio must do now, OP_...; see the module's docstring."""
        reception = self._reception
        if reception.is_overdue(now_ms):
            self.radio_failed(now_ms)
        if not reception.is_idle:
            op = reception.step(now_ms)
            self.deadline_ms = reception.deadline_ms
            if not reception.is_idle:
                return op
            self._is_finished = True
        return self._step_idle(now_ms)

    def _step_idle(self, now_ms: int) -> int:
        sender = self._sender
        if not self._is_started:
            self._is_started = True
            if self._session.has_session:
                self._link.start(now_ms)
        if self._is_finished:
            self._is_finished = False
            self.deadline_ms = now_ms
            if not self.settings.class_c:
                op = self._reception.rest()
                if op != OP_NONE:
                    self._is_finished = True  # the radio first: the rest may take a while
                    return op
            sender.finish(now_ms)
        sender.deadline_ms = ticks_add(now_ms, _IDLE_MS)
        is_ready = sender.choose(now_ms)
        self.deadline_ms = sender.deadline_ms
        if is_ready:
            sender.transmit(now_ms)
            self.deadline_ms = self._reception.deadline_ms
            return OP_TX
        if self.settings.class_c and self._session.has_session and not sender.is_paused:
            if not self._reception.is_listening:
                sender.plan_listening()
            return self._reception.listen()
        return self._reception.rest()
