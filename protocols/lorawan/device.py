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
from protocols.lorawan.airtime import airtime_us
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
from protocols.lorawan.regions import JOIN_RX1_DELAY_S, Region
from protocols.lorawan.session import F_CNT_END, Session
from protocols.lorawan.windows import Window
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

# Where the device is in the life of one transmission.
_IDLE, _SENDING, _BEFORE_RX1, _RX1, _BEFORE_RX2, _RX2 = 0, 1, 2, 3, 4, 5
# What the transmission is.
_NOTHING, _JOIN, _DATA, _MAC = 0, 1, 2, 3

_STORE_RETRY_MS = 10000
_RADIO_RETRY_MS = 5000
_STRIKES_MAX = 3  # radio failures that do not count as transmissions of a frame
_TX_GRACE_MS = 1000  # a transmission not reported done so long after its airtime has failed
_RETRY_LOW_MS, _RETRY_SPAN_MS = 1000, 2000  # RETRANSMIT_TIMEOUT, 2 s +- 1 s
_IDLE_MS = 3600000  # `step` is called at least so often, so that ticks may wrap


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
        self.settings = settings = settings or Settings()
        self.rx_buf = bytearray(255)
        self.has_deadline = True
        self.deadline_ms = 0
        # Counters for the health record.
        self.uplinks = 0  # transmissions made, joins and repetitions included
        self.downlinks = 0  # accepted
        self.rejected = 0  # frames heard that were not for us, forged, repeated or malformed
        self.radio_failures = 0

        self._region = region
        self._entropy = entropy
        self._events = EventQueue()
        self.data = self._events.data  # application data of EV_DOWNLINK
        self._session = Session(region)
        self._duty = DutyCycle(region)
        self._channels = Channels(region, self._session, self._duty, entropy, settings.sub_band)
        self._channels.reset()
        self._mac = MacLayer(region, aes, store, keys, settings, self._session, self._channels)
        self._link = Link(settings, entropy)
        self._rx1 = Window()
        self._rx2 = Window()

        self._app_buf = bytearray(242)
        self._app_len = -1  # -1: nothing queued
        self._app_port = 0
        self._app_confirmed = False
        self._poll_wanted = False  # an empty uplink is wanted: an acknowledgement, more downlinks
        self._poll_ms = 0

        self._state = _IDLE
        self._job = _NOTHING
        self._job_dr = 0
        self._job_port = 0
        self._job_confirmed = False
        self._job_asked = False  # it asked the network for a downlink
        self._trials_left = 0
        self._strikes = 0
        self._channel = 0
        self._retry_wanted = False
        self._retry_ms = 0
        self._heard = False  # a downlink came for this job
        self._acked = False
        self._finished = False  # the windows are closed; `step` draws the conclusions
        self._tx_end_ms = 0
        self._limit_ms = 0  # the radio must have reported by then
        self._radio_on = False
        self._listening = False  # class C: continuous receive is on
        self._paused = False  # the store or the radio failed: nothing before `_pause_ms`
        self._pause_ms = 0
        self._is_started = False
        self._is_exhausted = False
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
        self._link.start_join(now_ms)

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
        if self._app_len >= 0:
            return False
        for i in range(length):
            self._app_buf[i] = buf[i]
        self._app_len = length
        self._app_port = f_port
        self._app_confirmed = confirmed
        return True

    def max_payload(self) -> int:
        """Application bytes that fit the next uplink at the present data rate, 11 at worst.

        Never less because of MAC answers: those that do not fit go ahead in a frame of their own.
        """
        return self._region.payload_limit(self._session.dr, self._session.up_dwell)

    def ready(self, now_ms: int) -> bool:
        """Whether a `send` now would be accepted and be on air at once."""
        return (
            self._session.has_session
            and self._state == _IDLE
            and self._job == _NOTHING
            and self._app_len < 0
            and ticks_diff(self.next_tx_ms(now_ms), now_ms) <= 0
        )

    def next_tx_ms(self, now_ms: int) -> int:
        """The first tick at which duty cycle lets the next full-size uplink go; maybe `now_ms`."""
        if self._paused and ticks_diff(self._pause_ms, now_ms) > 0:
            return self._pause_ms
        time_us = self._airtime_us(self._session.dr, self.max_payload() + 13)
        self._channels.pick(self._session.dr, time_us, now_ms)
        return ticks_add(now_ms, self._channels.wait_ms)

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
        if self._state == _SENDING:
            self._tx_end_ms = now_ms
            self._state = _BEFORE_RX1

    def rx_timeout(self, now_ms: int) -> None:
        """The receive window closed with nothing usable."""
        self._listening = False
        if self._state == _RX1:
            self._state = _BEFORE_RX2
        elif self._state == _RX2 and not self._hears_always():
            self._close()

    def radio_failed(self, now_ms: int) -> None:
        """The radio did not do the last operation; the device tries again later."""
        self.radio_failures = self.radio_failures + 1 & 0x3FFFFFFF
        self._listening = False
        self._paused = True
        self._pause_ms = ticks_add(now_ms, _RADIO_RETRY_MS)
        if self._state == _SENDING and self._strikes < _STRIKES_MAX:
            self._strikes += 1
            self._trials_left += 1
        if self._state != _IDLE:
            self._close()

    def rx_done(self, length: int, rssi_dbm: int, snr_q4: int, now_ms: int) -> None:
        """A frame of `length` bytes with a good header is in `rx_buf`, which may hold anything."""
        is_window = self._state == _RX1 or self._state == _RX2
        if not is_window and not self._listening:
            return
        self._listening = False
        if 0 < length <= len(self.rx_buf) and self._accept(length, rssi_dbm, snr_q4, now_ms):
            self.downlinks = self.downlinks + 1 & 0x3FFFFFFF
            if is_window or (self._acked and self._state != _IDLE):
                self._close()
            return
        self.rejected = self.rejected + 1 & 0x3FFFFFFF
        self.rx_timeout(now_ms)

    def _accept(self, length: int, rssi_dbm: int, snr_q4: int, now_ms: int) -> bool:
        """Take a frame in; False if it is not for us."""
        is_accept = self.rx_buf[0] >> 5 == frames.JOIN_ACCEPT
        if is_accept and self._job == _JOIN and self._state >= _RX1:
            if not self._mac.accept_join(self.rx_buf, length, self._job_dr):
                return False
            self._heard = True
            self._link.joined(now_ms)
            self._tell(EV_JOINED, rssi_dbm, snr_q4)
            return True
        mac = self._mac
        is_class_a = self._state == _RX1 or self._state == _RX2
        if not self._events.has_room():
            return False  # the caller has not taken the last one: let the network send it again
        if not mac.accept_data(self.rx_buf, length, snr_q4, is_class_a):
            return False
        self._heard = True
        if self._link.heard(now_ms):
            self._events.emit(EV_LINK_BACK)
        if not self.settings.adr and self.settings.dr >= 0:
            self._session.dr = self.settings.dr
        frame = mac.frame
        if frame.f_ctrl & frames.ACK and self._job_confirmed and self._state != _IDLE:
            self._acked = True
        if frame.f_port > 0:
            for i in range(frame.payload_len):
                self.data[i] = self.rx_buf[frame.payload_start + i]
            event = self._tell(EV_DOWNLINK, rssi_dbm, snr_q4)
            event.port = frame.f_port
            event.length = frame.payload_len
        responder = mac.responder
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
            event.at_ms = self._tx_end_ms
        owes = mac.is_ack_owed or responder.owed > 0
        if frame.f_ctrl & frames.F_PENDING or (self.settings.class_c and owes):
            self._want_poll(now_ms)
        return True

    def _tell(self, kind: int, rssi_dbm: int, snr_q4: int) -> Event:
        event = self._events.emit(kind)
        event.rssi_dbm = rssi_dbm
        event.snr_q4 = snr_q4
        return event

    def _want_poll(self, now_ms: int) -> None:
        if not self._poll_wanted:
            self._poll_wanted = True
            self._poll_ms = ticks_add(now_ms, _RETRY_LOW_MS + self._entropy() % _RETRY_SPAN_MS)

    def _close(self) -> None:
        """The receive windows of the job are over."""
        self._state = _IDLE
        self._finished = True
        self._listening = False

    # The loop.

    def step(self, now_ms: int) -> int:
        """What the radio must do now, OP_...; see the module's docstring."""
        if self._state != _IDLE:
            return self._step_windows(now_ms)
        if not self._is_started:
            self._start(now_ms)
        if self._finished:
            self._finish(now_ms)
        self._set_deadline(now_ms, _IDLE_MS)
        if self._paused and ticks_diff(now_ms, self._pause_ms) >= 0:
            self._paused = False
        if self._paused:
            self._wait_until(self._pause_ms, now_ms)
        elif self._choose(now_ms):
            return self._transmit(now_ms)
        if self.settings.class_c and self._session.has_session and not self._paused:
            return OP_NONE if self._listening else self._listen()
        if self._radio_on:
            self._radio_on = False
            return OP_SLEEP
        return OP_NONE

    def _start(self, now_ms: int) -> None:
        self._is_started = True
        if self._session.has_session:
            self._link.start(now_ms)

    def _set_deadline(self, now_ms: int, delay_ms: int) -> None:
        self.deadline_ms = ticks_add(now_ms, delay_ms)

    def _wait_until(self, tick_ms: int, now_ms: int) -> None:
        """Bring the deadline forward to `tick_ms`, at least a millisecond ahead."""
        if ticks_diff(tick_ms, now_ms) < 1:
            tick_ms = ticks_add(now_ms, 1)
        if ticks_diff(tick_ms, self.deadline_ms) < 0:
            self.deadline_ms = tick_ms

    def _step_windows(self, now_ms: int) -> int:
        """`step` from the start of a transmission to the end of RX2. Allocates nothing."""
        if self._state == _SENDING:
            if ticks_diff(now_ms, self._limit_ms) < 0:
                return OP_NONE
            self.radio_failed(now_ms)
            return self._sleep(now_ms)
        since_ms = ticks_diff(now_ms, self._tx_end_ms)
        if self._state == _BEFORE_RX1:
            if since_ms < self._rx1.open_ms:
                return self._hold(self._rx1.open_ms)
            self._state = _BEFORE_RX2
            if self._rx1.is_open and since_ms <= self._rx1.late_ms:
                self._state = _RX1
                return self._open(self._rx1)
        if self._state == _RX1:
            if since_ms < self._rx1.end_ms:
                return OP_NONE
            self._state = _BEFORE_RX2
        if self._state == _BEFORE_RX2:
            if since_ms < self._rx2.open_ms:
                return self._hold(self._rx2.open_ms)
            if not self._rx2.is_open or since_ms > self._rx2.late_ms:
                self._close()
                return self._sleep(now_ms)
            self._state = _RX2
            if not self._hears_always():
                return self._open(self._rx2)
        if since_ms < self._rx2.end_ms:
            if self._hears_always():
                return self._hold(self._rx2.end_ms)
            return OP_NONE
        self._close()
        return self._sleep(now_ms)

    def _sleep(self, now_ms: int) -> int:
        """Radio off; call `step` again at once for what comes next."""
        self._radio_on = False
        self.deadline_ms = now_ms
        return OP_SLEEP

    def _open(self, window: Window) -> int:
        self._listening = False
        self._radio_on = True
        window.tune(self.radio)
        self.deadline_ms = ticks_add(self._tx_end_ms, window.end_ms)
        return OP_RX

    def _hold(self, until_ms: int) -> int:
        """Between windows: sleep, or in class C listen on RX2's channel."""
        self.deadline_ms = ticks_add(self._tx_end_ms, until_ms)
        if self._hears_always():
            return OP_NONE if self._listening else self._listen()
        if self._radio_on:
            self._radio_on = False
            return OP_SLEEP
        return OP_NONE

    def _hears_always(self) -> bool:
        """Class C during a transmission: RX2's channel is listened to whenever RX1's is not."""
        return self.settings.class_c and self._rx2.is_open and self._job != _JOIN

    def _listen(self) -> int:
        """Receive for ever on RX2's channel."""
        self._listening = True
        self._radio_on = True
        if self._state == _IDLE:
            session = self._session
            self._rx2.plan(self._region, self.settings, session.rx2_freq_hz, session.rx2_dr, 0)
        self._rx2.tune(self.radio)
        self.radio.is_continuous = True
        return OP_RX

    # What to send.

    def _airtime_us(self, dr: int, size: int) -> int:
        rate = self._region.data_rates[dr] or (12, 125000)
        return airtime_us(rate[0], rate[1], size)

    def _choose(self, now_ms: int) -> bool:
        """Decide on a transmission; True when it is prepared and may go now."""
        link, session = self._link, self._session
        if self._job != _NOTHING:
            if ticks_diff(now_ms, self._retry_ms) < 0:
                self._wait_until(self._retry_ms, now_ms)
                return False
            return self._can_send(self._job_dr, self.radio.tx_len, now_ms, self._job == _JOIN)
        if link.is_joining and self._mac.can_join:
            if ticks_diff(now_ms, link.join_ms) >= 0:
                return self._prepare_join(now_ms)
            self._wait_until(link.join_ms, now_ms)
        if not session.has_session:
            return False
        if session.f_cnt_up >= F_CNT_END:
            self._exhaust(now_ms)
            return False
        if self._app_len >= 0:
            if not self._mac.fits_together(session.dr, self._app_len):
                return self._prepare_data(_MAC, now_ms)
            return self._prepare_data(_DATA, now_ms)
        if self._poll_wanted:
            if ticks_diff(now_ms, self._poll_ms) >= 0:
                return self._prepare_data(_MAC, now_ms)
            self._wait_until(self._poll_ms, now_ms)
        if link.is_due(now_ms):
            return self._prepare_data(_MAC, now_ms)
        self._wait_until(link.due_ms, now_ms)
        return False

    def _exhaust(self, now_ms: int) -> None:
        """All frame counters are used: only a join can help."""
        if not self._is_exhausted:
            self._is_exhausted = True
            self._events.emit(EV_EXHAUSTED)
        self._app_len = -1
        if self._mac.can_join:
            self._link.start_join(now_ms)
            self._wait_until(self._link.join_ms, now_ms)

    def _can_send(self, dr: int, size: int, now_ms: int, is_join: bool) -> bool:
        """Whether a frame of `size` bytes may go now, before a counter is used up for it."""
        channels = self._channels
        time_us = self._airtime_us(dr, size)
        pick = channels.pick_join if is_join else channels.pick
        self._channel = pick(dr, time_us, now_ms)
        if self._channel < 0:
            self._wait_until(ticks_add(now_ms, max(1, channels.wait_ms)), now_ms)
        return self._channel >= 0

    def _pause(self, now_ms: int) -> bool:
        self._paused = True
        self._pause_ms = ticks_add(now_ms, _STORE_RETRY_MS)
        self._wait_until(self._pause_ms, now_ms)
        return False

    def _join_dr(self) -> int:
        """The first attempts go down from the fastest data rate; later ones use the steady list."""
        region = self._region
        attempt = self._link.join_attempts
        span = region.join_dr_max - region.join_dr_min + 1
        if attempt < 2 * span:
            dr = region.join_dr_max - attempt % span
        else:
            dr = region.join_steady[attempt % len(region.join_steady)]
        return dr if region.data_rates[dr] is not None else region.join_dr_min

    def _prepare_join(self, now_ms: int) -> bool:
        dr = self._join_dr()
        if not self._can_send(dr, frames.JOIN_REQUEST_SIZE, now_ms, True):
            return False
        size = self._mac.build_join_into(self.radio.tx_buf)
        if not size:
            return self._pause(now_ms)
        if not self._mac.can_join:
            self._events.emit(EV_EXHAUSTED)
        self.radio.tx_len = size
        self._begin(_JOIN, dr, False, 1)
        return True

    def _prepare_data(self, job: int, now_ms: int) -> bool:
        session, mac = self._session, self._mac
        app_len = self._app_len if job == _DATA else 0
        dr = self._channels.usable_dr(session.dr, app_len)
        if dr < 0:
            if job == _DATA:
                self._app_len = -1
                self._events.emit(EV_NO_ACK if self._app_confirmed else EV_SENT)
            return False
        size = frames.DATA_OVERHEAD + 1 + app_len + min(15, mac.responder.owed + 2)
        limit = self._region.payload_limit(dr, session.up_dwell) + 13
        if not self._can_send(dr, min(size, limit), now_ms, False):
            return False
        if not mac.reserve_counter():
            return self._pause(now_ms)
        if self._link.uplink_sent():
            self._slow_down()
        asks = self._link.wants_answer()
        confirmed = job == _DATA and self._app_confirmed
        port = self._app_port if job == _DATA else frames.NO_PORT
        self.radio.tx_len = mac.build_data_into(
            self.radio.tx_buf, dr, port, self._app_buf, app_len, confirmed, asks
        )
        trials = session.nb_trans if job == _DATA else 1
        if confirmed:
            trials = max(trials, self.settings.confirmed_trials)
        self._poll_wanted = False
        self._begin(job, dr, asks, trials)
        self._job_confirmed = confirmed
        return True

    def _begin(self, job: int, dr: int, asks: bool, trials: int) -> None:
        self._job = job
        self._job_dr = dr
        self._job_asked = asks
        self._job_confirmed = False
        self._trials_left = trials
        self._strikes = 0
        self._heard = False
        self._acked = False

    def _transmit(self, now_ms: int) -> int:
        """Set the radio and plan the windows for the frame in `radio.tx_buf`."""
        region, session, radio, settings = self._region, self._session, self.radio, self.settings
        rate = region.data_rates[self._job_dr] or (12, 125000)
        radio.sf, radio.bw_hz = rate
        radio.freq_hz = self._channels.freq_hz(self._channel)
        eirp_dbm = session.eirp_dbm - 2 * session.tx_power
        if self._job == _JOIN:
            eirp_dbm = region.eirp_dbm
        radio.power_dbm = min(settings.power_max_dbm, eirp_dbm - settings.antenna_gain_db)
        radio.iq_inverted = False
        radio.crc_on = True
        radio.is_continuous = False
        radio.airtime_us = airtime_us(rate[0], rate[1], radio.tx_len)
        self._duty.spend(radio.freq_hz, radio.airtime_us, session.max_duty, now_ms)
        if self._job == _JOIN:
            delay_ms = JOIN_RX1_DELAY_S * 1000
            offset = 0
            rx2_freq_hz, rx2_dr = region.rx2_freq_hz, region.rx2_dr
            down_freq_hz = region.rx1_freq_hz(self._channel, radio.freq_hz)
            dwell = False
        else:
            delay_ms = session.rx1_delay_s * 1000
            offset = session.rx1_offset
            rx2_freq_hz, rx2_dr = session.rx2_freq_hz, session.rx2_dr
            down_freq_hz = self._channels.down_freq_hz(self._channel)
            dwell = session.down_dwell
        rx1_dr = region.rx1_dr(self._job_dr, offset, dwell)
        self._rx1.plan(region, settings, down_freq_hz, rx1_dr, delay_ms)
        self._rx2.plan(region, settings, rx2_freq_hz, rx2_dr, delay_ms + 1000)
        self._state = _SENDING
        self._trials_left -= 1
        self._listening = False
        self._radio_on = True
        self.uplinks = self.uplinks + 1 & 0x3FFFFFFF
        self._limit_ms = ticks_add(now_ms, radio.airtime_us // 1000 + _TX_GRACE_MS)
        self.deadline_ms = self._limit_ms
        return OP_TX

    # What became of it.

    def _slow_down(self) -> bool:
        """One step to a more robust link; False if there is none left."""
        session = self._session
        if session.tx_power:
            session.tx_power = 0
            return True
        lower = self._channels.lower_dr(session.dr)
        if lower != session.dr:
            session.dr = lower
            return True
        session.nb_trans = 1
        # A fixed plan's 72 channels would hide the eight that the gateway hears.
        if not self._region.is_fixed:
            self._channels.enable_defaults()
        return False

    def _finish(self, now_ms: int) -> None:
        """The windows are closed: conclude, or arrange the next transmission of the frame."""
        self._finished = False
        job, link = self._job, self._link
        is_done = self._acked if self._job_confirmed else self._heard
        if self._trials_left > 0 and not is_done:
            self._retry_ms = ticks_add(now_ms, _RETRY_LOW_MS + self._entropy() % _RETRY_SPAN_MS)
            return
        self._job = _NOTHING
        if job == _JOIN:
            if not self._heard:
                link.join_unanswered(self.radio.airtime_us, now_ms)
                self._events.emit(EV_JOIN_FAILED, link.join_attempts)
            return
        if job == _DATA:
            self._app_len = -1
            if not self._job_confirmed and self._strikes < _STRIKES_MAX:
                self._events.emit(EV_SENT)
            elif self._acked:
                self._events.emit(EV_ACK)
            else:
                self._events.emit(EV_NO_ACK)
                if not self._heard:
                    link.suspect(now_ms)
        if self._job_asked and not self._heard:
            is_bottom = link.missed() and not self._slow_down()
            if link.unanswered(is_bottom, now_ms):
                self._events.emit(EV_LINK_LOST)
                if self._mac.can_join:
                    link.start_join(now_ms)
