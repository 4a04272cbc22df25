"""One monitor at its pins: reads the lamps, drives the relay, logs what changed."""

import binascii

from firmware.cabinet.card import Card, CardError
from firmware.cabinet.log import FaultLog
from firmware.cabinet.monitor import CARD, LATCHED, Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import machine

    from firmware.apps.cabinet import ShiftChain
    from firmware.store.files import Files

CARD_FILE = "card.bin"


class Cabinet:
    """One monitor at its pins. `chain.read_into(buf)` fills red, yellow, green as six bytes and two
    bytes of lamps without current; the other arguments are pins with `value()`."""

    def __init__(
        self,
        chain: "ShiftChain",
        relay: "machine.Pin",
        watchdog: "machine.Pin",
        reset: "machine.Pin",
        flash: "machine.Pin",
        files: "Files",
        now_ms: int,
    ) -> None:
        self._chain = chain
        self._relay = relay
        self._watchdog = watchdog
        self._reset = reset
        self._flash = flash
        self._relay.value(0)
        self._lamps = bytearray(8)
        self.log = FaultLog(files)
        self._card_missing = False
        try:
            card = Card(files.read(CARD_FILE) or b"")
            self.monitor = Monitor(card, now_ms, self.log.latched)
        except CardError:
            # Without a card nobody can say what conflicts: flash until there is one.
            self.monitor = Monitor(_blank(), now_ms, CARD)
        self._state = self.monitor.state

    def step(self, now_ms: int) -> None:
        """Read, judge, drive the relay; log what changed."""
        lamps = self._lamps
        self._chain.read_into(lamps)
        red = lamps[0] << 8 | lamps[1]
        yellow = lamps[2] << 8 | lamps[3]
        green = lamps[4] << 8 | lamps[5]
        monitor = self.monitor
        relay = monitor.step(
            now_ms,
            red,
            yellow,
            green,
            int(self._watchdog.value()),
            not self._reset.value(),
            not self._flash.value(),
            lamps[6] << 8 | lamps[7],
        )
        # The relay first: the log takes milliseconds of flash.
        self._relay.value(1 if relay else 0)
        if monitor.state != self._state:
            if monitor.state == LATCHED:
                self.log.add(
                    now_ms, monitor.fault, monitor.channel, monitor.other, red, yellow | green
                )
            elif self._state == LATCHED:
                self.log.add(now_ms, 0, 0, 0, red, yellow | green)
            self._state = monitor.state


def _blank() -> Card:
    """A card of one channel, only to hold the fault that there is none."""
    body = b"TKC1\x01\x00\x00\xff"
    crc = binascii.crc32(body) & 0xFFFFFFFF
    return Card(body + bytes((crc >> 24, crc >> 16 & 255, crc >> 8 & 255, crc & 255)))
