"""What an end device sends and when: `Sender`, from the choice of the next frame to its end.

One frame at a time, in this order: the repetition of the last one, a join that is due, MAC answers
that do not fit beside the application's data, that data, an empty frame for an acknowledgement or
a poll, a link probe. A counter is used up only when a channel is free to send at once.
"""

from protocols.lorawan import frames
from protocols.lorawan.airtime import airtime_us
from protocols.lorawan.channels import Channels
from protocols.lorawan.duty import DutyCycle
from protocols.lorawan.events import EventQueue
from protocols.lorawan.interface import (
    EV_ACK,
    EV_EXHAUSTED,
    EV_JOIN_FAILED,
    EV_LINK_LOST,
    EV_NO_ACK,
    EV_SENT,
    Radio,
    Settings,
)
from protocols.lorawan.link import Link
from protocols.lorawan.mac_layer import MacLayer
from protocols.lorawan.reception import Reception
from protocols.lorawan.regions import JOIN_RX1_DELAY_S, Region
from protocols.lorawan.session import F_CNT_END
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What the transmission is.
_NOTHING, _JOIN, _DATA, _MAC = 0, 1, 2, 3

_STORE_RETRY_MS = 10000
_STRIKES_MAX = 3  # radio failures that do not count as transmissions of a frame
_RETRY_LOW_MS, _RETRY_SPAN_MS = 1000, 2000  # RETRANSMIT_TIMEOUT, 2 s +- 1 s
_SLOWEST = (12, 125000)


class Sender:
    """The frame under way, the one queued, and reasons for more. `deadline_ms`: see `choose`."""

    def __init__(
        self,
        region: Region,
        settings: Settings,
        entropy: "Callable[[], int]",
        radio: Radio,
        reception: Reception,
        mac: MacLayer,
        link: Link,
        channels: Channels,
        duty: DutyCycle,
        events: EventQueue,
    ) -> None:
        self._region = region
        self._settings = settings
        self._entropy = entropy
        self._radio = radio
        self._reception = reception
        self._mac = mac
        self._session = mac.session
        self._link = link
        self._channels = channels
        self._duty = duty
        self._events = events
        self.deadline_ms = 0
        self.uplinks = 0
        self._app_buf = bytearray(242)
        self._app_len = -1  # -1: nothing queued
        self._app_port = 0
        self._app_confirmed = False
        self._poll_wanted = False  # an empty uplink: an acknowledgement, or to fetch more
        self._poll_ms = 0
        self.is_paused = False  # the store or the radio failed: nothing before `_pause_ms`
        self._pause_ms = 0
        self._is_exhausted = False
        # The frame under way.
        self._job = _NOTHING
        self.dr = 0
        self._channel = 0
        self._is_confirmed = False
        self._asks = False  # it asked the network for a downlink
        self._trials_left = 0
        self._strikes = 0
        self._retry_ms = 0
        self._is_heard = False  # a downlink came for it
        self.is_acked = False

    @property
    def is_free(self) -> bool:
        """Whether nothing is queued or under way."""
        return self._job == _NOTHING and self._app_len < 0

    @property
    def is_join(self) -> bool:
        """Whether the frame under way is a join request."""
        return self._job == _JOIN

    def queue(
        self, f_port: int, buf: "bytes | bytearray | memoryview", length: int, confirmed: bool
    ) -> bool:
        """Copy the application's next frame; False if there is one already."""
        if self._app_len >= 0:
            return False
        for i in range(length):
            self._app_buf[i] = buf[i]
        self._app_len = length
        self._app_port = f_port
        self._app_confirmed = confirmed
        return True

    def max_payload(self) -> int:
        """Application bytes that fit a frame at the session's data rate."""
        return self._region.payload_limit(self._session.dr, self._session.up_dwell)

    def wait_ms(self, now_ms: int, size: int = -1) -> int:
        """Milliseconds until a frame with `size` application bytes (-1: of full size) could go."""
        wait = ticks_diff(self._pause_ms, now_ms) if self.is_paused else 0
        size = self.max_payload() if size < 0 else size
        time_us = self._airtime_us(self._session.dr, size + 13)
        self._channels.pick(self._session.dr, time_us, now_ms)
        return max(wait, self._channels.wait_ms)

    def want_poll(self, now_ms: int) -> None:
        """An empty uplink is wanted within seconds."""
        if not self._poll_wanted:
            self._poll_wanted = True
            self._poll_ms = self._soon_ms(now_ms)

    def heard(self, is_ack: bool, is_class_a: bool) -> None:
        """A downlink came while the frame is under way; in RX1 or RX2 it ends the repetitions."""
        self._is_heard = True
        if is_class_a:
            self._trials_left = 0
        if is_ack and self._is_confirmed:
            self.is_acked = True

    def not_sent(self) -> None:
        """The radio failed while sending: that was no trial, unless it goes on so."""
        if self._strikes < _STRIKES_MAX:
            self._strikes += 1
            self._trials_left += 1

    def pause(self, now_ms: int, length_ms: int) -> None:
        """Send nothing for a while."""
        self.is_paused = True
        self._pause_ms = ticks_add(now_ms, length_ms)

    def _soon_ms(self, now_ms: int) -> int:
        return ticks_add(now_ms, _RETRY_LOW_MS + self._entropy() % _RETRY_SPAN_MS)

    def _wait_until(self, tick_ms: int, now_ms: int) -> bool:
        """Bring the deadline forward to `tick_ms`, at least a millisecond ahead; False."""
        if ticks_diff(tick_ms, now_ms) < 1:
            tick_ms = ticks_add(now_ms, 1)
        if ticks_diff(tick_ms, self.deadline_ms) < 0:
            self.deadline_ms = tick_ms
        return False

    def _airtime_us(self, dr: int, size: int) -> int:
        rate = self._region.data_rates[dr] or _SLOWEST
        return airtime_us(rate[0], rate[1], size)

    def choose(self, now_ms: int) -> bool:
        """Decide what to send; True when it is prepared and may go now.

        Otherwise `deadline_ms`, which the caller sets to the latest it likes, is brought forward
        to the tick of the next try.
        """
        link, session = self._link, self._session
        if self.is_paused:
            if ticks_diff(now_ms, self._pause_ms) < 0:
                return self._wait_until(self._pause_ms, now_ms)
            self.is_paused = False
        if self._job != _NOTHING:
            if ticks_diff(now_ms, self._retry_ms) < 0:
                return self._wait_until(self._retry_ms, now_ms)
            return self._can_send(self.dr, self._radio.tx_len, self._job == _JOIN, now_ms)
        if link.is_joining and self._mac.can_join:
            if ticks_diff(now_ms, link.join_ms) >= 0:
                return self._prepare_join(now_ms)
            self._wait_until(link.join_ms, now_ms)
        if not session.has_session:
            return False
        if session.f_cnt_up >= F_CNT_END:
            return self._exhaust(now_ms)
        if self._app_len >= 0:
            fits = self._mac.fits_together(session.dr, self._app_len)
            return self._prepare_data(_DATA if fits else _MAC, now_ms)
        if self._poll_wanted:
            if ticks_diff(now_ms, self._poll_ms) >= 0:
                return self._prepare_data(_MAC, now_ms)
            self._wait_until(self._poll_ms, now_ms)
        if link.is_due(now_ms):
            return self._prepare_data(_MAC, now_ms)
        return self._wait_until(link.due_ms, now_ms)

    def _exhaust(self, now_ms: int) -> bool:
        """All frame counters are used: only a join can help."""
        if not self._is_exhausted:
            self._is_exhausted = True
            self._events.emit(EV_EXHAUSTED)
        if self._app_len >= 0:
            self._app_len = -1
            self._events.emit(EV_NO_ACK)
        if self._mac.can_join:
            self._link.start_join(now_ms)
            self._wait_until(self._link.join_ms, now_ms)
        return False

    def _can_send(self, dr: int, size: int, is_join: bool, now_ms: int) -> bool:
        """Pick a channel for `size` bytes; False, and a deadline, if none is ready."""
        channels = self._channels
        time_us = self._airtime_us(dr, size)
        if is_join:
            self._channel = channels.pick_join(dr, time_us, now_ms)
        else:
            self._channel = channels.pick(dr, time_us, now_ms)
        if self._channel < 0:
            self._wait_until(ticks_add(now_ms, max(1, channels.wait_ms)), now_ms)
        return self._channel >= 0

    def _store_failed(self, now_ms: int) -> bool:
        self.pause(now_ms, _STORE_RETRY_MS)
        return self._wait_until(self._pause_ms, now_ms)

    def _join_dr(self) -> int:
        """The first attempts go down from the fastest data rate; later ones use the steady list."""
        region = self._region
        attempt = self._link.join_attempts
        span = region.join_dr_max - region.join_dr_min + 1
        if attempt < 2 * span and not region.is_fixed:
            return region.join_dr_max - attempt % span
        return region.join_steady[attempt % len(region.join_steady)]

    def _prepare_join(self, now_ms: int) -> bool:
        dr = self._join_dr()
        if not self._can_send(dr, frames.JOIN_REQUEST_SIZE, True, now_ms):
            return False
        size = self._mac.build_join_into(self._radio.tx_buf)
        if not size:
            return self._store_failed(now_ms)
        if not self._mac.can_join:
            self._events.emit(EV_EXHAUSTED)
        self._radio.tx_len = size
        self._begin(_JOIN, dr, False, 1)
        return True

    def _prepare_data(self, job: int, now_ms: int) -> bool:
        session, mac = self._session, self._mac
        app_len = self._app_len if job == _DATA else 0
        dr = self._channels.usable_dr(session.dr, app_len)
        if dr < 0:
            # The network took the channels or rates away under which this would fit.
            if job == _DATA:
                self._app_len = -1
                self._events.emit(EV_NO_ACK)
            return False
        size = frames.DATA_OVERHEAD + 1 + app_len + mac.responder.owed + 2
        limit = self._region.payload_limit(dr, session.up_dwell) + frames.DATA_OVERHEAD + 1
        if not self._can_send(dr, min(size, limit), False, now_ms):
            return False
        if not mac.reserve_counter():
            return self._store_failed(now_ms)
        self._back_off(self._link.uplink_sent())
        confirmed = job == _DATA and self._app_confirmed
        asks = self._link.wants_answer()
        port = self._app_port if job == _DATA else frames.NO_PORT
        self._radio.tx_len = mac.build_data_into(
            self._radio.tx_buf, dr, port, self._app_buf, app_len, confirmed, asks
        )
        trials = session.nb_trans if job == _DATA else 1
        if confirmed:
            trials = max(trials, self._settings.confirmed_trials)
        self._poll_wanted = False
        self._begin(job, dr, asks and (mac.has_asked or job == _MAC), trials)
        self._is_confirmed = confirmed
        return True

    def _begin(self, job: int, dr: int, asks: bool, trials: int) -> None:
        self._job = job
        self.dr = dr
        self._asks = asks
        self._is_confirmed = False
        self._trials_left = trials
        self._strikes = 0
        self._is_heard = False
        self.is_acked = False

    def transmit(self, now_ms: int) -> None:
        """Set the radio and plan the windows for the frame chosen."""
        region, session, radio, settings = self._region, self._session, self._radio, self._settings
        is_join = self._job == _JOIN
        radio.sf, radio.bw_hz = region.data_rates[self.dr] or _SLOWEST
        radio.freq_hz = self._channels.freq_hz(self._channel)
        eirp_dbm = region.eirp_dbm if is_join else session.eirp_dbm - 2 * session.tx_power
        radio.power_dbm = min(settings.power_max_dbm, eirp_dbm - settings.antenna_gain_db)
        radio.iq_inverted = False
        radio.crc_on = True
        radio.is_continuous = False
        radio.airtime_us = airtime_us(radio.sf, radio.bw_hz, radio.tx_len)
        self._duty.spend(radio.freq_hz, radio.airtime_us, session.max_duty, now_ms)
        rx1, rx2 = self._reception.rx1, self._reception.rx2
        if is_join:
            delay_ms = JOIN_RX1_DELAY_S * 1000
            freq_hz = region.rx1_freq_hz(self._channel, radio.freq_hz)
            rx1.plan(region, settings, freq_hz, region.rx1_dr(self.dr, 0, False), delay_ms)
            rx2.plan(region, settings, region.rx2_freq_hz, region.rx2_dr, delay_ms + 1000)
        else:
            delay_ms = session.rx1_delay_s * 1000
            rx1_dr = region.rx1_dr(self.dr, session.rx1_offset, session.down_dwell)
            freq_hz = self._channels.down_freq_hz(self._channel)
            rx1.plan(region, settings, freq_hz, rx1_dr, delay_ms)
            rx2.plan(region, settings, session.rx2_freq_hz, session.rx2_dr, delay_ms + 1000)
        self._reception.begin(radio.airtime_us, is_join, now_ms)
        self._trials_left -= 1
        self.uplinks = self.uplinks + 1 & 0x3FFFFFFF

    def plan_listening(self) -> None:
        """Set RX2's channel for class C between uplinks."""
        session = self._session
        self._reception.rx2.plan(
            self._region, self._settings, session.rx2_freq_hz, session.rx2_dr, 0
        )

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

    def _back_off(self, step: int) -> None:
        """ADR's own back-off, LoRaWAN L2 1.0.4 section 4.3.1.1: power, data rates, channels."""
        session = self._session
        if step == 0 or not self._settings.adr:
            return
        session.tx_power = 0
        if step == 1:
            return
        lower = self._channels.lower_dr(session.dr)
        if lower == session.dr:
            session.nb_trans = 1
            self._channels.enable_defaults()
        session.dr = lower

    def finish(self, now_ms: int) -> None:
        """The windows are closed: conclude, or arrange the next transmission of the frame."""
        job, link, events = self._job, self._link, self._events
        if job == _NOTHING:
            return
        if self._trials_left > 0 and not self.is_acked:
            self._retry_ms = self._soon_ms(now_ms)
            return
        self._job = _NOTHING
        self._mac.responder.expire()
        if job == _JOIN:
            if not self._is_heard:
                link.join_unanswered(self._radio.airtime_us, now_ms)
                events.emit(EV_JOIN_FAILED, link.join_attempts)
            return
        if job == _DATA:
            self._app_len = -1
            if self.is_acked:
                events.emit(EV_ACK)
            elif not self._is_confirmed and self._strikes < _STRIKES_MAX:
                events.emit(EV_SENT)
            else:
                events.emit(EV_NO_ACK)
                if not self._is_heard:
                    link.suspect(now_ms)
        if self._asks and not self._is_heard:
            is_bottom = link.missed() and not self._slow_down()
            if link.unanswered(is_bottom, now_ms):
                events.emit(EV_LINK_LOST)
                if self._mac.can_join:
                    link.start_join(now_ms)
