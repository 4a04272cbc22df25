"""How the SX126x model is on the air: transmission, reception, timeouts, channel activity.

Public: `ChipAir`. `sim.chips.sx126x` describes the whole model.
"""

import math

from sim.chips import sx126x_facts as f
from sim.chips.sx126x_core import ChipCore
from sim.radio import phy
from sim.radio.medium import Reception, Transmission


class ChipAir(ChipCore):
    """A chip with an antenna."""

    # Transmission.

    def power_dbm(self) -> float:
        """What leaves the chip with the present PA settings."""
        assert self._tx_power is not None and self._pa is not None
        if self.board.sx1261:
            return float(self._tx_power)
        full = f.PA_MAX_DBM.get(self._pa)
        if full is None:  # between the tabulated points: roughly by the larger step
            full = 22 - 2 * (4 - min(self._pa[0], 4)) - (7 - min(self._pa[1], 7))
        return float(self._tx_power - (22 - full))

    def _start_tx(self, session: int, timeout: int) -> None:
        if session != self._session:
            return
        if timeout:
            limit = round(timeout * f.RTC_STEP_US)
            self._timer = self.sim.after(limit, self._timed_out, session)
        if self._packet_type != f.LORA:
            self.sim.after(10_000, self._tx_over, session)
            return
        base = self._tx_base
        tx = Transmission(
            sender=self.name,
            freq_hz=self._freq_hz,
            sf=self._sf,
            bw_hz=self._bw_hz,
            cr=self._cr,
            preamble=self._preamble,
            explicit=self._explicit,
            crc=self._crc,
            iq_inverted=self._iq_inverted,
            sync_word=self._sync_word(),
            power_dbm=self.power_dbm(),
            payload=bytes(self._buffer[(base + i) & 0xFF] for i in range(self._length)),
            start_us=self.sim.now_us,
            ldro=self._ldro,
        )
        self.tx_count += 1
        self.medium.transmit(self, tx)
        self.sim.at(tx.end_us + self._ramp_us, self._tx_over, session)

    def _sync_word(self) -> int:
        return self._registers[f.REG_SYNC_WORD] << 8 | self._registers[f.REG_SYNC_WORD + 1]

    def _tx_over(self, session: int) -> None:
        if session == self._session:
            self._finish(f.STATUS_TX_DONE, self._fallback)
            self._raise(f.IRQ_TX_DONE)

    # Reception.

    def _listen_after(self, busy_us: int, timeout: int) -> None:
        self.sim.after(busy_us, self._start_rx, self._session, timeout)

    def _start_rx(self, session: int, timeout: int) -> None:
        if session != self._session:
            return
        self._listening_us = self.sim.now_us
        symbols = self._timeout_symbols()
        limits = [round(timeout * f.RTC_STEP_US)] if timeout else []
        if symbols and not self._continuous and self._packet_type == f.LORA:
            limits.append(round(symbols * phy.symbol_us(self._sf, self._bw_hz)))
        if limits:
            self._timer = self.sim.after(min(limits), self._timed_out, session)
        self._rx_timeout_us = limits[0] if timeout else 0
        self._rx_began_us = self.sim.now_us
        if self._packet_type == f.LORA:
            self.medium.listen(self)

    def _timeout_symbols(self) -> int:
        register = self._registers.get(f.REG_SYNCH_TIMEOUT)
        if register is not None:
            return (register >> 3) << (2 * (register & 7) + 1)
        return self._symbol_timeout

    def _timed_out(self, session: int) -> None:
        if session != self._session:
            return
        if self.mode == f.RX and self._duty is not None:
            self._abort()
            asleep = round(self._duty[1] * f.RTC_STEP_US)
            self.sim.after(asleep, self._duty_again, self._session)
            return
        self._finish(f.STATUS_TIMEOUT if self.mode == f.RX else f.STATUS_NONE, f.STDBY_RC)
        self._raise(f.IRQ_TIMEOUT)

    def _duty_again(self, session: int) -> None:
        if session == self._session and self._duty is not None:
            self._start_rx(session, self._duty[0])

    def _cad_over(self, session: int) -> None:
        if session != self._session or self._cad is None:
            return
        found = self.medium.activity(self, self._freq_hz, self._sf, self._bw_hz)
        _, exit_mode, timeout = self._cad
        self._abort()
        if found and exit_mode == 1:
            self._continuous = False
            self._start_rx(self._session, timeout)
        else:
            self._enter(f.STDBY_RC)
        self._raise(f.IRQ_CAD_DONE | (f.IRQ_CAD_DETECTED if found else 0))

    def listening_since(self, tx: Transmission) -> int | None:
        """See `Radio`."""
        heard = (
            self.mode == f.RX
            and self._locked is None
            and self._listening_us is not None
            and self._packet_type == f.LORA
            and abs(tx.freq_hz - self._freq_hz) < tx.bw_hz // 4
            and (tx.sf, tx.bw_hz, tx.iq_inverted) == (self._sf, self._bw_hz, self._iq_inverted)
        )
        return self._listening_us if heard else None

    def on_preamble(self, reception: Reception) -> None:
        """See `Radio`."""
        self._locked = reception
        self._lock_session = self._session
        # The symbol timeout is met; the RTC timer goes on unless it stops at the preamble.
        self.sim.cancel(self._timer)
        if self._duty is not None:
            # 13.1.7: the window is prolonged by twice the listening and once the sleeping time.
            steps = 2 * self._duty[0] + self._duty[1]
            longer = round(steps * f.RTC_STEP_US)
            self._timer = self.sim.after(longer, self._timed_out, self._session)
        elif self._rx_timeout_us and not self._stop_on_preamble:
            due = self._rx_began_us + self._rx_timeout_us
            if reception.tx.header_end_us > due:
                self._timer = self.sim.at(due, self._timed_out, self._session)
        self._raise(f.IRQ_PREAMBLE)

    def on_header(self, reception: Reception, ok: bool) -> None:
        """See `Radio`."""
        if self._locked is not reception or self._lock_session != self._session:
            return
        if reception.tx.sync_word != self._sync_word():
            self._locked = None
            reception.outcome = "lost"
            self._resume_rx()
            return
        self.sim.cancel(self._timer)
        self._raise((f.IRQ_HEADER | f.IRQ_SYNC) if ok else (f.IRQ_HEADER_ERROR | f.IRQ_SYNC))
        if not ok:
            self._stats[2] += 1

    def _resume_rx(self) -> None:
        self._listen_on()
        if self._continuous:
            return
        if self._rx_timeout_us:  # the search goes on; the window's end is what it was
            self._timer = self.sim.at(
                self._rx_began_us + self._rx_timeout_us, self._timed_out, self._session
            )
        elif self._timeout_symbols():
            self._timer = self.sim.after(0, self._timed_out, self._session)

    def _listen_on(self) -> None:
        """Search for the next preamble, from now."""
        self._listening_us = self.sim.now_us
        self.medium.listen(self)

    def on_end(self, reception: Reception) -> None:
        """See `Radio`."""
        if self._locked is not reception or self._lock_session != self._session:
            return
        self._locked = None
        if self._continuous:
            self._listen_on()
        if reception.outcome == "lost" or reception.tx.sync_word != self._sync_word():
            return
        if reception.outcome == "header" or reception.tx.explicit != self._explicit:
            if not self._continuous:
                self._finish(f.STATUS_NONE, self._fallback)
            return
        payload = reception.tx.payload
        if not self._explicit:
            payload = payload[: self._length]
        damaged = reception.outcome == "crc"
        if damaged:
            rng = self.sim.rng("chip/" + self.name)
            payload = bytes(b ^ (rng.randrange(256) if rng.random() < 0.2 else 0) for b in payload)
        for i, value in enumerate(payload):
            self._buffer[(self._rx_base + i) & 0xFF] = value
        self._rx_start, self._rx_length = self._rx_base, len(payload)
        snr = max(-32.0, min(reception.snr_db, 13.0))
        # RssiPkt is the average with noise, SignalRssiPkt the despread signal alone.
        total = 10 * math.log10(1 + 10 ** (reception.snr_db / 10)) - reception.snr_db
        self._packet_status = bytes(
            [
                rssi_code(reception.rssi_dbm + total),
                round(snr * 4) & 0xFF,
                rssi_code(reception.rssi_dbm),
            ]
        )
        checked = reception.tx.crc and damaged
        self._stats[0] += 1
        self._stats[1] += int(checked)
        self.rx_count += int(not damaged)
        if not self._continuous:
            self._finish(f.STATUS_DATA, self._fallback)
            self._stray()
        self._command_status = f.STATUS_DATA
        self.sim.record(self.name, "radio.rx", data=payload, crc_error=checked)
        self._raise(f.IRQ_RX_DONE | (f.IRQ_CRC_ERROR if checked else 0))

    def _stray(self) -> None:
        """Errata 15.3: in implicit header mode the timer runs on after RxDone."""
        if not self._explicit and self._rx_timeout_us:
            due = self._rx_began_us + self._rx_timeout_us
            self._stray_timer = self.sim.at(due, self._raise, f.IRQ_TIMEOUT)


def rssi_code(dbm: float) -> int:
    """A level as the chip gives it: minus half decibels in a byte."""
    return max(0, min(255, round(-2 * dbm)))
