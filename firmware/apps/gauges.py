"""One or two level sensors on one line as one gauge: `Probe`, `Gauges`.

The second takes over in the same slot when the first says nothing. When both speak and differ by
more than `apart_mm` three times in a row they disagree: a fault, and the first is still the one
that is believed, for nobody can tell from here which is wrong.
"""

from micropython import const

from firmware.drivers.profiles import DISTANCE, Profile
from firmware.drivers.rs485 import LevelSensor
from protocols.filters.burst import Burst
from protocols.payload.status import SENSOR_GOOD, Status

_NEEDED = const(5)  # valid readings that make a level
_APART_TIMES = const(3)
LOOK_COUNT = const(3)


class Probe:
    """One sensor: its burst and where it hangs, `height_mm` above station zero."""

    def __init__(self, sensor: LevelSensor, profile: Profile, height_mm: int, count: int) -> None:
        self.sensor = sensor
        self._sense = profile.sense
        self._height_mm = height_mm
        self._count = count
        self._burst = Burst(max(_NEEDED, count), min(_NEEDED, count))
        self.level_mm: int | None = None
        self.mad_mm = 0

    def start(self, now_ms: int) -> None:
        """Begin a burst."""
        self.sensor.start(self._count, now_ms)

    def finish_look(self) -> None:
        """Make `level_mm` of a look: the middle of three, and nothing when one is missing."""
        sensor = self.sensor
        sensor.is_done = False
        self.level_mm = None
        values = [value for value in sensor.values[: sensor.taken] if value is not None]
        if len(values) == LOOK_COUNT:
            median = sorted(values)[LOOK_COUNT // 2]
            self.level_mm = self._height_mm + (-median if self._sense == DISTANCE else median)

    def finish(self) -> None:
        """Make `level_mm` and `mad_mm` of the burst that is done."""
        sensor = self.sensor
        sensor.is_done = False
        for i in range(sensor.taken):
            self._burst.add(sensor.values[i])
        median = self._burst.finish()
        if median is None:
            self.level_mm = None
            return
        self.mad_mm = self._burst.mad or 0
        self.level_mm = self._height_mm + (-median if self._sense == DISTANCE else median)


class Gauges:
    """`start`, `step` until `is_done`; then `level_mm`, `mad_mm` and what is wrong."""

    def __init__(self, first: Probe, second: "Probe | None", apart_mm: int) -> None:
        self._first = first
        self._second = second
        self._apart_mm = apart_mm
        self._now: Probe | None = None  # whose burst is under way
        self._apart = 0  # slots in a row in which they differed
        self.is_done = False
        self.is_look = False  # what is under way, or done
        self.level_mm: int | None = None
        self.mad_mm = 0
        self.is_silent = False  # one of the sensors said nothing
        self.error = SENSOR_GOOD  # why the last burst of it that failed did
        self.exception: int | None = None
        self.is_disagreeing = False

    def start(self, now_ms: int) -> None:
        """Begin the bursts, one sensor after the other."""
        self.is_done = False
        self.is_look = False
        self._now = self._first
        self._first.start(now_ms)

    def look(self, now_ms: int) -> None:
        """Begin a look: three readings of the first sensor, in a quarter of a second."""
        self.is_done = False
        self.is_look = True
        self._now = self._first
        self._first.sensor.start(LOOK_COUNT, now_ms, True)

    def step(self, now_ms: int) -> None:
        """Do what is due."""
        probe = self._now
        if probe is None:
            return
        probe.sensor.step(now_ms)
        if not probe.sensor.is_done:
            return
        if self.is_look:
            probe.finish_look()
            self._now = None
            self.level_mm = probe.level_mm
            self.is_done = True
            return
        probe.finish()
        if probe.level_mm is None:
            self.error = probe.sensor.error
            self.exception = probe.sensor.exception
        if probe is self._first and self._second is not None:
            self._now = self._second
            self._second.start(now_ms)
            return
        self._now = None
        self._judge()
        self.is_done = True

    def _judge(self) -> None:
        first = self._first
        second = self._second
        self.level_mm = first.level_mm
        self.mad_mm = first.mad_mm
        self.is_silent = first.level_mm is None
        if second is None:
            return
        if first.level_mm is None:
            self.level_mm = second.level_mm
            self.mad_mm = second.mad_mm
        elif second.level_mm is None:
            self.is_silent = True
        else:
            limit_mm = self._apart_mm + 3 * max(first.mad_mm, second.mad_mm)
            apart = abs(first.level_mm - second.level_mm) > limit_mm
            self._apart = self._apart + 1 if apart else 0
            self.is_disagreeing = self._apart >= _APART_TIMES

    @property
    def is_running(self) -> bool:
        """A burst is under way."""
        return self._now is not None

    @property
    def is_active(self) -> bool:
        """An answer is awaited: the UART needs its clock."""
        return self._now is not None and self._now.sensor.is_active

    def wait_ms(self, now_ms: int) -> int:
        """Until the next `step` is of use; -1 when idle."""
        return -1 if self._now is None else self._now.sensor.wait_ms(now_ms)

    @property
    def silences(self) -> int:
        """Requests without an answer since the start."""
        second = 0 if self._second is None else self._second.sensor.silences
        return self._first.sensor.silences + second

    def fill(self, status: Status) -> None:
        """The sensors' part of the health record."""
        first = self._first.sensor
        second = None if self._second is None else self._second.sensor
        status.temperature_c = first.temperature_c
        status.sensor_snr_db = first.snr_db
        status.sensor_error = self.error
        status.sensor_exception = self.exception
        status.sensor_silences = first.silences + (second.silences if second else 0)
        status.sensor_refusals = first.refusals + (second.refusals if second else 0)
        status.sensor_invalids = first.invalids + (second.invalids if second else 0)

    @property
    def temperature_c(self) -> "int | None":
        """What the first sensor says of its own temperature."""
        return self._first.sensor.temperature_c

    @property
    def snr_db(self) -> "int | None":
        """The quality of its echo."""
        return self._first.sensor.snr_db
