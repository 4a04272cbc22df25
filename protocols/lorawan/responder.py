"""The device's side of MAC commands: `Responder` obeys requests and keeps the answers to send.

Answers to RXParamSetupReq, RXTimingSetupReq, DlChannelReq and TxParamSetupReq are sticky: they go
with every uplink until a downlink comes in a class A window, and live in the session's record.
The others go once; all in the order of the requests. Class B commands are skipped without an
answer, as this is no class B device.

Source: LoRaWAN L2 1.0.4 section 5.
"""

from protocols.lorawan import mac
from protocols.lorawan.channels import Channels
from protocols.lorawan.regions import EIRP_DBM, Region
from protocols.lorawan.session import ANSWERS_MAX, Session

_KEEP = 15  # LinkADRReq: a data rate or power that means "no change"


class Responder:
    """MAC state: pending answers and requests, and what the last answers from the network said."""

    def __init__(self, region: Region, session: Session, channels: Channels) -> None:
        self._region = region
        self._session = session
        self._channels = channels
        self._is_fresh = True  # some answer has not been sent yet
        self.obeys_adr = True
        self.battery = 255
        self.wants_link_check = False  # the application asked
        self.has_asked = False  # a LinkCheckReq is in the last frame composed
        self._has_asked_time = False
        self.wants_time = False
        # Set by `obey` for the device to tell; it clears the flags.
        self.has_link = False
        self.margin_db = 0
        self.gateway_count = 0
        self.has_time = False
        self.gps_s = 0
        self.fraction = 0

    def forget(self) -> None:
        """A new session: nothing is owed."""
        self._session.answers_len = 0

    @property
    def owed(self) -> int:
        """Bytes of answers to send."""
        return self._session.answers_len

    @property
    def is_urgent(self) -> bool:
        """Whether an answer has not been sent even once."""
        return self._is_fresh and self.owed > 0

    def compose_into(self, out: bytearray, limit: int, asks: bool) -> int:
        """Copy the answers, then the requests that fit, to `out`; return the length.

        At most `limit` bytes and whole commands. Answers that do not fit stay out; the network
        asks again. `asks` adds a LinkCheckReq that the application did not ask for.
        """
        session = self._session
        end = mac.copy_commands(session.answers, session.answers_len, out, 0, limit, False)
        self.has_asked = (asks or self.wants_link_check) and end < limit
        if self.has_asked:
            out[end] = mac.LINK_CHECK
            end += 1
        self._has_asked_time = self.wants_time and end < limit
        if self._has_asked_time:
            out[end] = mac.DEVICE_TIME
            end += 1
        return end

    def sent(self) -> None:
        """The answers went out with a new frame: those that are not sticky are done with."""
        self._is_fresh = False
        self._keep_sticky()

    def expire(self) -> None:
        """The windows are closed: an answer to what was asked is not to come any more."""
        self.has_asked = False
        self._has_asked_time = False

    def heard_class_a(self) -> None:
        """A downlink came in a receive window: the network knows the sticky answers."""
        self._session.answers_len = 0

    def _keep_sticky(self) -> None:
        session = self._session
        session.answers_len = mac.copy_commands(
            session.answers, session.answers_len, session.answers, 0, ANSWERS_MAX, True
        )

    def _answer(self, cid: int, values: "tuple[int, ...]" = ()) -> None:
        """Owe an answer, in the order of the requests (section 5: in one buffer)."""
        session = self._session
        if session.answers_len + 1 + mac.command_size(cid, True) > ANSWERS_MAX:
            return  # the network asks again
        self._is_fresh = True
        session.answers_len = mac.encode_into(
            session.answers, session.answers_len, cid, True, values
        )

    def obey(self, buf: bytearray, start: int, end: int, snr_q4: int) -> None:
        """Obey the commands in `buf[start:end]`, clear text of an authenticated downlink."""
        commands = mac.decode(buf, start, end, False)
        at = 0
        while at < len(commands):
            command = commands[at]
            if command.cid == mac.LINK_ADR:
                first = at
                while at < len(commands) and commands[at].cid == mac.LINK_ADR:
                    at += 1
                self._link_adr(commands[first:at])
                continue
            at += 1
            values = command.values
            if command.cid == mac.LINK_CHECK:
                if self.has_asked:
                    self.has_asked = False
                    self.wants_link_check = False
                    self.has_link = True
                    self.margin_db, self.gateway_count = values
            elif command.cid == mac.DEVICE_TIME:
                if self._has_asked_time:
                    self._has_asked_time = False
                    self.wants_time = False
                    self.has_time = True
                    self.gps_s, self.fraction = values
            elif command.cid == mac.DUTY_CYCLE:
                self._session.max_duty = values[0]
                self._answer(mac.DUTY_CYCLE)
            elif command.cid == mac.RX_PARAM_SETUP:
                self._rx_param_setup(values)
            elif command.cid == mac.DEV_STATUS:
                margin_db = max(-32, min(31, snr_q4 // 4))
                self._answer(mac.DEV_STATUS, (self.battery & 0xFF, margin_db))
            elif command.cid == mac.NEW_CHANNEL:
                self._new_channel(values)
            elif command.cid == mac.RX_TIMING_SETUP:
                self._session.rx1_delay_s = values[0] or 1
                self._answer(mac.RX_TIMING_SETUP)
            elif command.cid == mac.TX_PARAM_SETUP:
                self._tx_param_setup(values)
            elif command.cid == mac.DL_CHANNEL:
                self._dl_channel(values)

    def _link_adr(self, block: "list[mac.Command]") -> None:
        """A block is one request: masks add up, the last one's rates count, all answers agree."""
        session, channels = self._session, self._channels
        channels.trial[:] = session.mask
        mask_ok = True
        for command in block:
            if not channels.try_mask(command.values[4], command.values[2]):
                mask_ok = False
        tx_power, dr, _, nb_trans, _ = block[-1].values
        if dr == _KEEP or not self.obeys_adr:
            dr = session.dr
        if tx_power == _KEEP or not self.obeys_adr:
            tx_power = session.tx_power
        if not channels.is_trial_allowed(dr):
            mask_ok = False
        dr_ok = channels.supports(channels.trial if mask_ok else session.mask, dr)
        power_ok = tx_power <= self._region.tx_power_max
        if mask_ok and dr_ok and power_ok:
            session.mask[:] = channels.trial
            session.dr = dr
            session.tx_power = tx_power
            if self.obeys_adr:
                session.nb_trans = nb_trans or 1
        for _ in block:
            self._answer(mac.LINK_ADR, (int(mask_ok), int(dr_ok), int(power_ok)))

    def _rx_param_setup(self, values: "tuple[int, ...]") -> None:
        rx2_dr, offset, freq_100hz = values
        region = self._region
        freq_ok = self._is_down_freq(freq_100hz * 100)
        dr_ok = region.is_down_dr(rx2_dr)
        offset_ok = offset <= region.rx1_offset_max
        if freq_ok and dr_ok and offset_ok:
            self._session.rx2_dr = rx2_dr
            self._session.rx2_freq_hz = freq_100hz * 100
            self._session.rx1_offset = offset
        self._answer(mac.RX_PARAM_SETUP, (int(freq_ok), int(dr_ok), int(offset_ok)))

    def _is_down_freq(self, freq_hz: int) -> bool:
        if not self._region.is_frequency(freq_hz):
            return False
        if self._region.is_fixed:
            return 923300000 <= freq_hz <= 927500000 and (freq_hz - 923300000) % 600000 == 0
        return True

    def _new_channel(self, values: "tuple[int, ...]") -> None:
        channel, freq_100hz, dr_min, dr_max = values
        region = self._region
        if region.is_fixed:
            return  # not implemented in fixed plans: no answer
        freq_hz = freq_100hz * 100
        freq_ok = len(region.channels) <= channel < region.channel_count and (
            freq_hz == 0 or region.is_frequency(freq_hz)
        )
        # 7 is FSK: a range may reach up to it, this device just never uses it.
        dr_ok = freq_hz == 0 or (dr_min <= dr_max <= 7 and region.is_up_dr(dr_min))
        if freq_ok and dr_ok:
            self._channels.set_channel(channel, freq_hz, dr_min, dr_max)
        self._answer(mac.NEW_CHANNEL, (int(freq_ok), int(dr_ok)))

    def _tx_param_setup(self, values: "tuple[int, ...]") -> None:
        if not self._region.has_dwell:
            return  # not implemented in this region: no answer
        session = self._session
        session.eirp_dbm = EIRP_DBM[values[0]]
        session.up_dwell = bool(values[1])
        session.down_dwell = bool(values[2])
        while not self._region.payload_limit(session.dr, session.up_dwell):
            session.dr += 1  # the dwell limit forbids the lowest data rates
        self._answer(mac.TX_PARAM_SETUP)

    def _dl_channel(self, values: "tuple[int, ...]") -> None:
        channel, freq_100hz = values
        if self._region.is_fixed:
            return
        freq_ok = self._is_down_freq(freq_100hz * 100)
        exists = channel < self._region.channel_count and self._channels.freq_hz(channel) != 0
        if freq_ok and exists:
            self._session.down_freqs_hz[channel] = freq_100hz * 100
        self._answer(mac.DL_CHANNEL, (int(freq_ok), int(exists)))
