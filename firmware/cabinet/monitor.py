"""The conflict monitor proper: lamp states and a time in, the relay out. Allocates nothing.

`step(now_ms, ...)` every 10 ms. `relay` is True while the controller may drive the lamps; False
drops the transfer relay and the flasher drives them. A fault drops it within 500 ms of its cause
(confirmation below plus one step and the relay's 20 ms) and latches until the reset button.
"""

from micropython import const

from firmware.cabinet.card import FLAG_BLINKS, FLAG_DARK, Card
from protocols.ticks import ticks_diff

START, RUN, LATCHED = 0, 1, 2

NONE = 0
CONFLICT = 1
DARK = 2
DUAL = 3
SHORT_YELLOW = 4
SHORT_CLEARANCE = 5
WATCHDOG = 6
LAMP = 7
CARD = 8
NAMES = (
    "none", "conflict", "red failure", "dual indication", "short yellow", "short clearance",
    "watchdog", "lamp current", "card",
)  # fmt: skip

_CONFIRM_MS = const(150)  # longer than any switching overlap of the load switches
_DARK_MS = const(300)
_BLINK_MS = const(800)  # a blinking lamp is dark for half a second
_DUAL_MS = const(250)
_WATCHDOG_MS = const(350)  # three and a half controller ticks
_TOLERANCE_MS = const(120)  # one controller tick and one of ours
_LAMP_MS = const(1500)  # current transformers settle, and a blink passes
_SETTLE_MS = const(1000)  # all red and alive for so long, before the relay closes
_RESET_MS = const(100)


class Monitor:
    """Judges the lamps of one cabinet by its card."""

    def __init__(self, card: Card, now_ms: int, latched: int = NONE) -> None:
        count = card.channels
        self.card = card
        self.state = LATCHED if latched else START
        self.fault = latched
        self.channel = 0
        self.other = 0
        self.relay = False
        self.lamp_warnings = 0
        self._since_ms = now_ms
        self._watchdog = 0
        self._watchdog_ms = now_ms
        self._reset_ms = now_ms
        self._reset_was = True  # a button held at power-up is no reset
        self._pressed = False
        self._conflict_ms = [now_ms] * count
        self._dark_ms = [now_ms] * count
        self._dual_ms = [now_ms] * count
        self._lamp_ms = [now_ms] * count
        self._yellow_ms = [now_ms] * count
        self._end_ms = [now_ms] * count
        self._was_green = 0
        self._was_yellow = 0
        self._ended = 0

    def step(
        self,
        now_ms: int,
        red: int,
        yellow: int,
        green: int,
        watchdog: int,
        reset: bool,
        flash: bool,
        no_current: int,
    ) -> bool:
        """Judge one reading; True if the relay shall be closed.

        `red`, `yellow`, `green` have bit i for channel i; `watchdog` is a level that the controller
        turns over each tick; `reset` is True while the button is held; `flash` while the
        controller asks for flash; `no_current` has a bit for a channel whose lit lamp draws none.
        """
        if watchdog != self._watchdog:
            self._watchdog = watchdog
            self._watchdog_ms = now_ms
        alive = ticks_diff(now_ms, self._watchdog_ms) <= _WATCHDOG_MS
        if self.state == LATCHED:
            self._await_reset(now_ms, reset)
        elif self.state == START:
            if flash or not alive or green or yellow or not red:
                self._since_ms = now_ms
            elif ticks_diff(now_ms, self._since_ms) >= _SETTLE_MS:
                self._begin(now_ms)
        elif flash:
            # Asked for, so not a fault: back through the start, which demands all red.
            self.state = START
            self._since_ms = now_ms
            self.relay = False
        else:
            if not alive:
                self._trip(WATCHDOG, 0, 0)
            self._judge(now_ms, red, yellow, green, no_current)
            if self.state == RUN:
                self._judge_times(now_ms, yellow, green)
        return self.relay

    def _await_reset(self, now_ms: int, reset: bool) -> None:
        """A press that began after the fault and lasts `_RESET_MS`; a card fault needs a card."""
        if not reset:
            self._reset_was = False
            self._pressed = False
        elif not self._reset_was:
            self._reset_was = True
            self._pressed = True
            self._reset_ms = now_ms
        elif (
            self._pressed and self.fault != CARD and ticks_diff(now_ms, self._reset_ms) >= _RESET_MS
        ):
            self.state = START
            self.fault = NONE
            self._since_ms = now_ms

    def _begin(self, now_ms: int) -> None:
        self.state = RUN
        self.relay = True
        self._was_green = self._was_yellow = self._ended = 0
        for i in range(self.card.channels):
            self._conflict_ms[i] = now_ms
            self._dark_ms[i] = now_ms
            self._dual_ms[i] = now_ms
            self._lamp_ms[i] = now_ms

    def _trip(self, fault: int, channel: int, other: int) -> None:
        if self.state == LATCHED:
            return
        self.state = LATCHED
        self.relay = False
        self.fault = fault
        self.channel = channel
        self.other = other
        self._reset_was = True
        self._pressed = False

    def _judge(self, now_ms: int, red: int, yellow: int, green: int, no_current: int) -> None:
        """What must not be on together, and what must be on."""
        card = self.card
        moving = green | yellow
        for i in range(card.channels):
            bit = 1 << i
            is_red = red & bit
            is_yellow = yellow & bit
            is_green = green & bit
            clash = card.conflicts[i] & moving
            if not (moving & bit and clash):
                self._conflict_ms[i] = now_ms
            elif ticks_diff(now_ms, self._conflict_ms[i]) >= _CONFIRM_MS:
                other = 0
                while not clash & (1 << other):
                    other += 1
                self._trip(CONFLICT, i, other)
            if is_red or is_yellow or is_green or card.flags[i] & FLAG_DARK:
                self._dark_ms[i] = now_ms
            else:
                limit = _BLINK_MS if card.flags[i] & FLAG_BLINKS else _DARK_MS
                if ticks_diff(now_ms, self._dark_ms[i]) >= limit:
                    self._trip(DARK, i, i)
            if (is_red and (is_yellow or is_green)) or (is_yellow and is_green):
                if ticks_diff(now_ms, self._dual_ms[i]) >= _DUAL_MS:
                    self._trip(DUAL, i, i)
            else:
                self._dual_ms[i] = now_ms
            if not no_current & bit:
                self._lamp_ms[i] = now_ms
            elif ticks_diff(now_ms, self._lamp_ms[i]) >= _LAMP_MS:
                self.lamp_warnings |= bit
                if is_red and not card.flags[i] & FLAG_DARK:
                    # Nobody sees a red that does not burn.
                    self._trip(LAMP, i, i)

    def _judge_times(self, now_ms: int, yellow: int, green: int) -> None:
        """Yellow long enough, and clearance before the next green."""
        card = self.card
        count = card.channels
        for i in range(count):
            bit = 1 << i
            was_green = self._was_green & bit
            was_yellow = self._was_yellow & bit
            if yellow & bit and not was_yellow:
                self._yellow_ms[i] = now_ms
            if was_green and not green & bit and not yellow & bit and card.yellow_ms[i]:
                self._trip(SHORT_YELLOW, i, i)
            if (
                was_yellow
                and not yellow & bit
                and ticks_diff(now_ms, self._yellow_ms[i]) < card.yellow_ms[i] - _TOLERANCE_MS
            ):
                self._trip(SHORT_YELLOW, i, i)
            if (was_green or was_yellow) and not (green | yellow) & bit:
                self._end_ms[i] = now_ms
                self._ended |= bit
        for i in range(count):
            bit = 1 << i
            if not green & bit or self._was_green & bit:
                continue
            for j in range(count):
                if card.conflicts[i] & self._ended & (1 << j) and (
                    ticks_diff(now_ms, self._end_ms[j])
                    < card.clearance_ms[j * count + i] - _TOLERANCE_MS
                ):
                    self._trip(SHORT_CLEARANCE, j, i)
        for i in range(count):
            # Forget long-past ends, or the wrap of the ticks would bring them back.
            if self._ended & (1 << i) and ticks_diff(now_ms, self._end_ms[i]) > 60000:
                self._ended &= ~(1 << i)
        self._was_green = green
        self._was_yellow = yellow
