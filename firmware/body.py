"""The case: `Body` (tilt, lid, humidity).

How the device hangs is learned once: the first gravity that two looks, ten minutes apart, agree
about is kept in the record `mount`; new settings by a PC make it learn anew. A change of more than
`TILT_MAX_DEG` that three looks confirm is the tamper event "moved" and the fault `tilt`; an open
lid is "opened" and the fault `tamper`. Both faults end when things are as before.
"""

import math
import struct

from micropython import const

from firmware.drivers.contact import Contact
from firmware.drivers.i2c import Accelerometer, Hygrometer
from firmware.store.record import Record
from protocols.payload.event import EVENT_TAMPER, TAMPER_MOVED, TAMPER_OPENED
from protocols.payload.status import FAULT_TAMPER, FAULT_TILT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node

TILT_MAX_DEG = const(2)
_LOOK_S = const(600)
_AGAIN_S = const(10)  # between the looks that confirm a change
_LOOKS = const(3)


def angle_cdeg(a: "tuple[int, int, int]", b: "tuple[int, int, int]") -> int:
    """The angle between two vectors, hundredths of a degree."""
    x = a[1] * b[2] - a[2] * b[1]
    y = a[2] * b[0] - a[0] * b[2]
    z = a[0] * b[1] - a[1] * b[0]
    across = math.sqrt(float(x) * x + float(y) * y + float(z) * z)
    along = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return int(math.atan2(across, along) * 18000 / math.pi + 0.5)


class Body:
    """`step` it when nothing is on the air: a look blocks for 150 ms."""

    def __init__(
        self,
        node: "Node",
        record: Record,
        accelerometer: "Accelerometer | None",
        hygrometer: "Hygrometer | None",
        lid: "Contact | None",
        now_ms: int,
    ) -> None:
        self._node = node
        self._record = record
        self._accelerometer = accelerometer
        self._hygrometer = hygrometer
        self.lid = lid  # closed: the case is shut
        self.tilt_cdeg: int | None = None
        self._mount: tuple[int, int, int] | None = None
        self._last: tuple[int, int, int] | None = None
        self._due_s = 0
        self._beyond = 0  # looks in a row that differ from what is believed
        self._is_moved = False
        content = record.load() if accelerometer is not None else None
        if content is not None and len(content) == 6:
            x, y, z = struct.unpack(">hhh", content)
            self._mount = (x, y, z)
        if lid is not None and not lid.is_closed:
            node.set_fault(FAULT_TAMPER, True, now_ms)

    def poll_lid(self, now_ms: int) -> None:
        """Every turn."""
        lid = self.lid
        if lid is None or not lid.poll(now_ms):
            return
        self._node.set_fault(FAULT_TAMPER, not lid.is_closed, now_ms)
        if not lid.is_closed:
            self._say(TAMPER_OPENED, now_ms)

    def _say(self, cause: int, now_ms: int) -> None:
        values: dict[str, int | None] = {"cause": cause, "battery_mv": self._node.battery_mv()}
        self._node.post_event(EVENT_TAMPER, values, now_ms, 3)

    def step(self, uptime_s: int, now_ms: int) -> None:
        """Look when it is time."""
        if self._accelerometer is None or uptime_s < self._due_s:
            return
        self._due_s = uptime_s + _LOOK_S
        seen = self._accelerometer.read_mg()
        if seen is None or not 500 < abs(seen[0]) + abs(seen[1]) + abs(seen[2]) < 3000:
            self.tilt_cdeg = None
            return
        if self._mount is None:
            if self._last is not None and angle_cdeg(seen, self._last) <= 50:
                self._learn(seen, now_ms)
            self._last = seen
            return
        self.tilt_cdeg = angle_cdeg(seen, self._mount)
        if (self.tilt_cdeg > 100 * TILT_MAX_DEG) == self._is_moved:
            self._beyond = 0
            return
        self._beyond += 1
        self._due_s = uptime_s + _AGAIN_S
        if self._beyond >= _LOOKS:
            self._beyond = 0
            self._is_moved = not self._is_moved
            self._node.set_fault(FAULT_TILT, self._is_moved, now_ms)
            if self._is_moved:
                self._say(TAMPER_MOVED, now_ms)

    def _learn(self, seen: "tuple[int, int, int]", now_ms: int) -> None:
        self._mount = seen
        self.tilt_cdeg = 0
        try:
            self._record.save(struct.pack(">hhh", *seen))
        except OSError:
            self._node.store_failed(now_ms)

    def humidity(self) -> "tuple[int, int] | None":
        """Humidity in % and temperature in degrees C in the case; None: not fitted, or broken."""
        return None if self._hygrometer is None else self._hygrometer.read()
