"""The flood node's Modbus registers, for a wired gateway: `FloodRegisters` (map in the table).

Read by function 3 or 4; addresses are those on the wire; 32-bit values have their high word first.
Nothing can be written, and no read changes anything.

    0        version of this map, 1
    1        level of the newest reading, mm, signed; 0x8000: missing
    2        stage, 0..3
    3        faults, the bits of the health record
    4, 5     sequence number of the newest reading
    6, 7     its time, seconds since 2020-01-01T00:00:00Z; 0: the time is not known
    8, 9     rain, tips since the bucket was made
    10       battery, mV; 0xFFFF: unknown
    11       temperature of the sensor, degrees C, signed; 0x8000: unknown
    12       echo of the sensor, dB; 0xFFFF: unknown
    13       sampling interval, s
    14       source of the time: 0 none, 1 network, 2 GNSS
    15       configuration number in force
    16       readings in the window below, 0..64
    100+i    level of the i-th newest reading, i = 0..63
    200+i    its age against the newest one, 10 s; 0xFFFF from 655,350 s on
    300+i    its rain total modulo 1,024
"""

from micropython import const

from protocols.modbus.server import ILLEGAL_ADDRESS
from protocols.payload.flood import level_of_raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.apps.flood import FloodApp

WINDOW = const(64)
_MISSING = const(0x8000)
_UNKNOWN = const(0xFFFF)


class FloodRegisters:
    """`RtuServer`'s provider over a `FloodApp`."""

    def __init__(self, app: "FloodApp") -> None:
        self._app = app

    def read(self, function: int, address: int) -> int:
        """A register's value, or -1 when there is none."""
        if address < 17:
            return self._now(address)
        back = address % 100
        if 100 <= address < 400 and back < min(WINDOW, self._app.ring.count):
            return self._past(address // 100, back)
        return -1

    def write(self, address: int, value: int, is_check: bool) -> int:
        """Everything here is for reading."""
        return ILLEGAL_ADDRESS

    def _now(self, address: int) -> int:
        app = self._app
        node = app.node
        ring = app.ring
        if address == 1:
            return _signed(app.level_mm)
        if address in (4, 5):
            return _half(ring.sequence if ring.count else 0, address == 4)
        if address in (6, 7):
            known = ring.count and node.clock.is_set
            return _half(ring.slots[ring.newest] * 10 if known else 0, address == 6)
        if address in (8, 9):
            return _half(node.counters.rain_tips, address == 8)
        if address == 10:
            return _plain(node.battery_mv())
        if address == 11:
            return _signed(app.temperature_c)
        if address == 12:
            return _plain(app.sensor_snr_db)
        simple = (
            1, 0, app.stage, node.faults & 0xFFFF, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            app.interval_s, node.clock.source, node.config_number, min(WINDOW, ring.count),
        )  # fmt: skip
        return simple[address]

    def _past(self, table: int, back: int) -> int:
        ring = self._app.ring
        at = ring.newest - back  # negative indices wrap, as the ring does
        if table == 1:
            return _signed(level_of_raw(ring.levels[at]))
        if table == 2:
            return min(ring.slots[ring.newest] - ring.slots[at], _UNKNOWN)
        return ring.rains[at]


def _half(value: int, is_high: bool) -> int:
    return value >> 16 & 0xFFFF if is_high else value & 0xFFFF


def _plain(value: "int | None") -> int:
    return _UNKNOWN if value is None else min(value, _UNKNOWN - 1)


def _signed(value: "int | None") -> int:
    return _MISSING if value is None else value & 0xFFFF
