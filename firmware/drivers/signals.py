"""What people see and hear: `Blinker` plays patterns on the LED and the buzzer.

A pattern is a text of 250 ms slots: `#` lit and sounding, `*` lit, `.` dark; it repeats until
another one is shown, except a pattern that ends in `!`, which plays once. The table below is
printed in docs/firmware.md.
"""

from micropython import const

from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import Pin

SLOT_MS = const(250)

DARK = ""
ALIVE = "*!"  # one blink: a frame went out
JOINING = "*.*....."  # two blinks every two seconds: no network yet
SAFE = "****...."  # slow: safe mode, something is broken
FAULT = "*.*.*..."  # three blinks: works, but has a fault
SOS_SENDING = "#.#.#.##.##.##.#.#.#....."  # S O S: nobody has heard it yet
SOS_HEARD = "#......."  # one: a gateway heard it
SOS_STORED = "#.#....."  # two: it is stored on shore
SOS_ACCEPTED = "#.#.#..."  # three: the city's side accepted it
SOS_SEEN = "****#***"  # nearly steady: a person has seen it and acts
SOS_CLOSED = "##..##..##!"  # over


class Blinker:
    """One LED and one buzzer; either may be absent (None)."""

    def __init__(self, led: "Pin | None", led_on: int = 1, buzzer: "Pin | None" = None) -> None:
        self._led = led
        self._led_on = led_on
        self._buzzer = buzzer
        self._base = DARK
        self._pattern = DARK
        self._slot = 0
        self._due_ms = 0
        self._light(False, False)

    def show(self, pattern: str, now_ms: int) -> None:
        """Play `pattern` from its start; once (`!`), then what was shown before."""
        if not pattern.endswith("!"):
            if pattern == self._base:
                return
            self._base = pattern
        self._pattern = pattern
        self._slot = 0
        self._due_ms = now_ms
        if not pattern:
            self._light(False, False)

    def step(self, now_ms: int) -> None:
        while self._pattern and ticks_diff(now_ms, self._due_ms) >= 0:
            mark = self._pattern[self._slot]
            if mark == "!":
                self._pattern = self._base
                self._slot = 0
                self._light(False, False)
                continue
            self._light(mark != ".", mark == "#")
            slots = 0  # equal ones in a row: wake for the change only
            while slots < len(self._pattern) and self._pattern[self._slot] == mark:
                self._slot = (self._slot + 1) % len(self._pattern)
                slots += 1
            self._due_ms = ticks_add(self._due_ms, slots * SLOT_MS)
            if ticks_diff(now_ms, self._due_ms) >= SLOT_MS:
                self._due_ms = ticks_add(now_ms, SLOT_MS)  # slept through it: do not catch up

    def wait_ms(self, now_ms: int) -> int:
        if not self._pattern:
            return -1
        return max(0, ticks_diff(self._due_ms, now_ms))

    def _light(self, lit: bool, sounding: bool) -> None:
        if self._led is not None:
            self._led.value(self._led_on if lit else 1 - self._led_on)
        if self._buzzer is not None:
            self._buzzer.value(1 if sounding else 0)
