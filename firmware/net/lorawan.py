"""The LoRaWAN end device on its radio: `Network` moves operations and results between the two.

`protocols.lorawan.device.Device` decides, `firmware.drivers.sx126x.Sx126x` does; this loop adds
what neither knows: a radio that died is reset, and the oscillator runs on between an uplink and
its receive windows. `is_busy` is True from the start of an uplink to the end of its windows: then
nobody else may write to the flash or start anything long.
"""

import gc
import os

from micropython import const

from firmware.drivers.sx126x import (
    RADIO_CRC_ERROR,
    RADIO_NONE,
    RADIO_RX_DONE,
    RADIO_RX_TIMEOUT,
    RADIO_STUCK,
    RADIO_TX_DONE,
    Sx126x,
)
from firmware.drivers.sx126x_bus import RadioError
from protocols.lorawan.device import OP_NONE, OP_RX, OP_SLEEP, OP_TX, Device, Event
from protocols.ticks import ticks_add, ticks_diff

_AWAKE_MS = const(7000)  # a window that opens within this keeps the oscillator on
_WINDOWS_MS = const(9000)  # join: windows 5 s and 6 s after the uplink, and the longest packet
_RESET_MS = const(10_000)  # between two resets of a radio that does not answer
_STEPS_MAX = const(16)


def entropy() -> int:
    """30 random bits from the chip, for `Device`."""
    data = os.urandom(4)
    return (data[0] | (data[1] << 8) | (data[2] << 16) | ((data[3] & 0x3F) << 24)) & 0x3FFF_FFFF


class Network:
    """One device and its radio; `step` in the loop, `wait_ms` until the next is due."""

    def __init__(self, device: Device, radio: Sx126x, low_hz: int, high_hz: int) -> None:
        self.device = device
        self._radio = radio
        self._low_hz = low_hz
        self._high_hz = high_hz
        self._is_up = False
        self._retry_ms = 0
        self._has_tried = False
        self._windows = 0  # receive windows still to come
        self._windows_ms = 0  # and when to stop believing that
        self.failures = 0  # operations the radio did not do
        self.snr_q4 = 0  # of the last packet heard
        self.rssi_dbm = 0
        self.has_heard = False
        self.airtime_ms = 0  # sent since the start

    def step(self, now_ms: int) -> None:
        """Take what the radio did, and let it do what the device wants next."""
        if not self._is_up and not self._start(now_ms):
            return
        try:
            self._report(now_ms)
            for _ in range(_STEPS_MAX):
                if not self._operate(self.device.step(now_ms), now_ms):
                    break
            if self._windows and self.device.is_idle:
                self._windows = 0  # class C listens on, so nothing else tells the end of RX2
        except RadioError:
            self._fail(now_ms)

    def _start(self, now_ms: int) -> bool:
        if self._has_tried and ticks_diff(now_ms, self._retry_ms) < 0:
            return False
        self._has_tried = True
        self._retry_ms = ticks_add(now_ms, _RESET_MS)
        try:
            self._radio.start(self._low_hz, self._high_hz)
        except RadioError:
            self.failures += 1
            return False
        self._is_up = True
        return True

    def _fail(self, now_ms: int) -> None:
        self.failures += 1
        self._is_up = False
        self._windows = 0
        self.device.radio_failed(now_ms)

    def _report(self, now_ms: int) -> None:
        radio = self._radio
        result = radio.poll(now_ms)
        if result == RADIO_NONE:
            return
        if result == RADIO_TX_DONE:
            self._windows = 2
            self._windows_ms = ticks_add(now_ms, _WINDOWS_MS)
            self.device.tx_done(radio.irq_ms)
        elif result == RADIO_RX_DONE:
            self._windows = 0
            length = radio.read_into(self.device.rx_buf)
            self.snr_q4 = radio.snr_q4
            self.rssi_dbm = radio.rssi_dbm
            self.has_heard = True
            self.device.rx_done(length, radio.rssi_dbm, radio.snr_q4, radio.irq_ms)
        elif result in (RADIO_RX_TIMEOUT, RADIO_CRC_ERROR):
            self._windows = max(0, self._windows - 1)
            self.device.rx_timeout(now_ms)
        elif result == RADIO_STUCK:
            self._fail(now_ms)

    def _operate(self, op: int, now_ms: int) -> bool:
        """Do one operation; True when the device may want another at once."""
        if op == OP_NONE:
            return False
        radio = self._radio
        wish = self.device.radio
        if op == OP_TX:
            gc.collect()  # so that no collection falls between here and the receive windows
            airtime_ms = wish.airtime_us // 1000 + 1
            self.airtime_ms += airtime_ms
            radio.transmit(
                wish.tx_buf,
                wish.tx_len,
                wish.freq_hz,
                wish.sf,
                wish.bw_hz,
                wish.power_dbm,
                now_ms,
                wish.iq_inverted,
                wish.crc_on,
                wish.preamble,
                airtime_ms,
            )
        elif op == OP_RX:
            if wish.is_continuous and radio.is_listening(wish.freq_hz, wish.sf, wish.bw_hz):
                return True  # a new start would cut off a packet that is arriving
            radio.receive(
                wish.freq_hz,
                wish.sf,
                wish.bw_hz,
                wish.symbol_timeout,
                now_ms,
                wish.is_continuous,
                wish.iq_inverted,
                wish.crc_on,
                wish.preamble,
            )
        elif op == OP_SLEEP:
            device = self.device
            soon = device.has_deadline and ticks_diff(device.deadline_ms, now_ms) < _AWAKE_MS
            if soon and self.is_busy(now_ms):
                radio.standby()
            else:
                self._windows = 0
                radio.sleep()
        return True

    @property
    def is_sending(self) -> bool:
        """The transmitter is on."""
        return self._radio.is_sending

    def is_busy(self, now_ms: int) -> bool:
        """An uplink is on the air or one of its windows is still to come."""
        if self._radio.is_sending:
            return True
        return self._windows > 0 and ticks_diff(self._windows_ms, now_ms) > 0

    def free_ms(self, now_ms: int) -> int:
        """Until the radio wants us, in the midst of an uplink: the next window opens then."""
        if not self.device.has_deadline or self.device.is_window:
            return 0
        return ticks_diff(self.device.deadline_ms, now_ms)

    def wait_ms(self, now_ms: int) -> int:
        """Milliseconds to the next needed `step`; -1 when nothing is due."""
        if not self._is_up:
            return max(0, ticks_diff(self._retry_ms, now_ms)) if self._has_tried else 0
        wait = self._radio.wait_ms(now_ms)
        device = self.device
        if device.has_deadline:
            left = max(0, ticks_diff(device.deadline_ms, now_ms))
            if wait < 0 or left < wait:
                wait = left
        return wait

    def next_event(self) -> "Event | None":
        """The device's oldest event, or None."""
        return self.device.next_event()
