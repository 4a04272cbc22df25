"""A signal cabinet at pin level: load switches, lamps, transfer relay, flasher, lamp currents.

The controller sets outputs, the monitor reads them back; between the two any wire can break.
Everything is levels at pins: this module knows neither the controller nor the monitor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

RED, YELLOW, GREEN = 0, 1, 2
STUCK_ON, STUCK_OFF = "stuck on", "stuck off"


@dataclass
class Wiring:
    """Faults by (channel, lamp colour); `lamp_dead` are burnt-out lamps, which draw no current."""

    outputs: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    lamp_dead: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    watchdog_stuck: bool = False


class Pin:
    """One level that both sides see; shaped like `machine.Pin`."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self.changes: list[tuple[int, int]] = []
        self.clock: Callable[[], int] = lambda: 0

    def value(self, level: int | None = None) -> int | None:
        """Read, or set, the level."""
        if level is None:
            return self.level
        if level != self.level:
            self.changes.append((self.clock(), level))
        self.level = level
        return None


class Cabinet:
    """One cabinet's wiring in virtual milliseconds. `pedestrian[i]`: channel i has no yellow."""

    RELAY_MS = 20
    FLASH_MS = 500

    def __init__(self, pedestrian: Sequence[bool], no_red: Sequence[bool] = ()) -> None:
        self.now_ms = 0
        self.channels = len(pedestrian)
        self.pedestrian = list(pedestrian)
        self.no_red = list(no_red) or [False] * self.channels
        self.wiring = Wiring()
        self.relay = Pin(0)
        self.relay.clock = lambda: self.now_ms
        self.watchdog = Pin(0)
        self.reset = Pin(1)
        self.flash = Pin(1)
        self._drive = [[False, False, False] for _ in pedestrian]

    def control(self, aspects: Sequence[int], wants_flash: bool) -> None:
        """What the controller's outputs say: 0 red, 1 green, 2 change, 3 flash; once a tick."""
        if not self.wiring.watchdog_stuck:
            self.watchdog.value(1 - self.watchdog.level)
        self.flash.value(0 if wants_flash else 1)
        blink = self.now_ms % (2 * self.FLASH_MS) < self.FLASH_MS
        for i, aspect in enumerate(aspects):
            red = aspect == 0 and not self.no_red[i]
            yellow = aspect == 2 and not self.pedestrian[i]
            if aspect == 2 and self.pedestrian[i]:
                red = blink
            if aspect == 3:
                yellow = blink and not self.pedestrian[i]
            self._drive[i] = [red, yellow, aspect == 1]

    def lit(self, channel: int, lamp: int) -> bool:
        """True if the load switch of that lamp is on, whoever commanded it."""
        fault = self.wiring.outputs.get((channel, lamp))
        if fault == STUCK_ON:
            return True
        return fault != STUCK_OFF and self._drive[channel][lamp]

    def read_into(self, buf: bytearray) -> None:
        """What the monitor's shift registers read: red, yellow, green, lamps without current."""
        masks = [0, 0, 0, 0]
        for i in range(self.channels):
            for lamp in (RED, YELLOW, GREEN):
                if self.lit(i, lamp):
                    masks[lamp] |= 1 << i
                    if (i, lamp) in self.wiring.lamp_dead:
                        masks[3] |= 1 << i
        for k, mask in enumerate(masks):
            buf[2 * k] = mask >> 8
            buf[2 * k + 1] = mask & 255

    def street(self) -> list[str]:
        """What drivers see by channel: the controller's lamps, or the flasher's."""
        if not self.relay.level:
            return ["flash"] * self.channels
        return [
            "".join(name for lamp, name in enumerate("RYG") if self.lit(i, lamp))
            for i in range(self.channels)
        ]
