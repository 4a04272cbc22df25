"""The radio's part of one uplink: `Reception`, from the start of sending to the end of RX2.

It answers `step` with OP_... and keeps the deadline. Nothing here allocates.
"""

from protocols.lorawan.interface import OP_NONE, OP_RX, OP_SLEEP, Radio, Settings
from protocols.lorawan.windows import Window
from protocols.ticks import ticks_add, ticks_diff

_IDLE, _SENDING, _BEFORE_RX1, _RX1, _BEFORE_RX2, _RX2 = 0, 1, 2, 3, 4, 5
_TX_GRACE_MS = 1000  # a transmission not reported done so long after its airtime has failed


class Reception:
    """State of the radio. Plan `rx1` and `rx2` before `begin`."""

    def __init__(self, radio: Radio, settings: Settings) -> None:
        self._radio = radio
        self._settings = settings
        self.rx1 = Window()
        self.rx2 = Window()
        self.deadline_ms = 0
        self.tx_end_ms = 0
        self.is_listening = False  # class C: continuous receive is on
        self._state = _IDLE
        self._is_on = False
        self._hears_always = False
        self._limit_ms = 0

    @property
    def is_idle(self) -> bool:
        """Whether no transmission is under way and no window is to come."""
        return self._state == _IDLE

    @property
    def is_sending(self) -> bool:
        """Whether the radio has not reported the end of the transmission yet."""
        return self._state == _SENDING

    @property
    def is_window(self) -> bool:
        """Whether RX1 or RX2 is open."""
        return self._state == _RX1 or self._state == _RX2

    def begin(self, airtime_us: int, is_join: bool, now_ms: int) -> None:
        """A transmission starts. After a join request class C listens in the windows only."""
        self._state = _SENDING
        self._is_on = True
        self.is_listening = False
        self._hears_always = self._settings.class_c and self.rx2.is_open and not is_join
        self._limit_ms = ticks_add(now_ms, airtime_us // 1000 + _TX_GRACE_MS)
        self.deadline_ms = self._limit_ms

    def tx_done(self, now_ms: int) -> None:
        """The transmission ended at `now_ms`."""
        if self._state == _SENDING:
            self.tx_end_ms = now_ms
            self._state = _BEFORE_RX1

    def missed(self) -> bool:
        """A window gave nothing; True if it was the last."""
        self.is_listening = False
        if self._state == _RX1:
            self._state = _BEFORE_RX2
        elif self._state == _RX2 and not self._hears_always:
            self.close()
            return True
        return False

    def close(self) -> None:
        """No more windows."""
        self._state = _IDLE
        self.is_listening = False

    def is_overdue(self, now_ms: int) -> bool:
        """Whether the radio should have reported the end of the transmission long ago."""
        return self._state == _SENDING and ticks_diff(now_ms, self._limit_ms) >= 0

    def step(self, now_ms: int) -> int:
        """The radio's next operation while not idle; it may become idle by this."""
        if self._state == _SENDING:
            return OP_NONE
        since_ms = ticks_diff(now_ms, self.tx_end_ms)
        if self._state == _BEFORE_RX1:
            if since_ms < self.rx1.open_ms:
                return self._hold(self.rx1.open_ms)
            self._state = _BEFORE_RX2
            if self.rx1.is_open and since_ms <= self.rx1.late_ms:
                self._state = _RX1
                return self._open(self.rx1)
        if self._state == _RX1:
            if since_ms < self.rx1.end_ms:
                return OP_NONE
            self._state = _BEFORE_RX2  # the radio never answered
        if self._state == _BEFORE_RX2:
            if since_ms < self.rx2.open_ms:
                return self._hold(self.rx2.open_ms)
            if not self.rx2.is_open or since_ms > self.rx2.late_ms:
                self.close()
                return OP_NONE
            self._state = _RX2
            if not self._hears_always:
                return self._open(self.rx2)
        if since_ms < self.rx2.end_ms:
            return self._hold(self.rx2.end_ms) if self._hears_always else OP_NONE
        self.close()
        return OP_NONE

    def rest(self) -> int:
        """The radio's next operation while idle in class A: off, once."""
        if not self._is_on:
            return OP_NONE
        self._is_on = False
        self.is_listening = False
        return OP_SLEEP

    def listen(self) -> int:
        """Receive on RX2's channel for ever, as class C does."""
        if self.is_listening:
            return OP_NONE
        self.is_listening = True
        self._is_on = True
        self.rx2.tune(self._radio)
        self._radio.is_continuous = True
        return OP_RX

    def _open(self, window: Window) -> int:
        self.is_listening = False
        self._is_on = True
        window.tune(self._radio)
        self.deadline_ms = ticks_add(self.tx_end_ms, window.end_ms)
        return OP_RX

    def _hold(self, until_ms: int) -> int:
        """Wait for `until_ms` after the uplink: asleep, or in class C listening."""
        self.deadline_ms = ticks_add(self.tx_end_ms, until_ms)
        return self.listen() if self._hears_always else self.rest()
