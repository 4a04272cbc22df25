"""Quality flags beside the values, after QARTOD: `QualityTests`. They never gate an alarm.

Each reading of a tested device gets the worst flag of its tests: 9 missing, 4 fail (outside what
the sensor can measure), 3 suspect (outside what the place knows, too fast, or flat for too long),
1 good. A device without a `quality` table keeps 2, not evaluated. The tests follow the Water Level
manual 2.1 (2021); neighbours and tide are for a later layer, which sees more than one station.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.config import setting
from gateway.model import FAIL, GOOD, MISSING, SUSPECT, Reading


@dataclass(frozen=True, kw_only=True)
class QualitySettings:
    """`quality` of a device or sensor, in the unit of the tested value."""

    value: str = setting("level_mm", doc="the value that is tested")
    fail_low: int = setting(doc="lowest that the sensor can measure")
    fail_high: int = setting(doc="highest that the sensor can measure")
    suspect_low: int | None = setting(None, doc="lowest that the place has seen")
    suspect_high: int | None = setting(None, doc="highest that the place has seen")
    rate_per_min: int | None = setting(None, low=1, doc="fastest change that is believed")
    flat_s: int | None = setting(
        None, low=1, high=604_800, unit="s", doc="suspect when it moved less than flat_by so long"
    )
    flat_by: int = setting(1, low=0, doc="what counts as not moving")

    def __post_init__(self) -> None:
        if not self.fail_low < self.fail_high:
            raise ValueError(
                f"fail_low = {self.fail_low} is not below fail_high = {self.fail_high}"
            )


class _Tests:
    """The tests of one device, with what they remember."""

    def __init__(self, wanted: QualitySettings) -> None:
        self._wanted = wanted
        self._last: tuple[int, int] | None = None  # time_ms, value
        self._still: tuple[int, int] | None = None  # since when, at which value

    def flag(self, reading: Reading) -> int:
        wanted = self._wanted
        value = reading.values.get(wanted.value)
        if value is None:
            return MISSING
        last, is_newer = self._last, self._last is None or reading.time_ms > self._last[0]
        if is_newer:
            self._last = (reading.time_ms, value)
        if not wanted.fail_low <= value <= wanted.fail_high:
            return FAIL
        if wanted.suspect_low is not None and value < wanted.suspect_low:
            return SUSPECT
        if wanted.suspect_high is not None and value > wanted.suspect_high:
            return SUSPECT
        if not is_newer:
            return GOOD  # history: its neighbours in time are not the ones remembered
        is_flat = self._is_flat(reading.time_ms, value)
        if is_flat or (last is not None and self._is_fast(last, reading.time_ms, value)):
            return SUSPECT
        return GOOD

    def _is_fast(self, last: tuple[int, int], time_ms: int, value: int) -> bool:
        rate = self._wanted.rate_per_min
        return rate is not None and abs(value - last[1]) * 60_000 > rate * (time_ms - last[0])

    def _is_flat(self, time_ms: int, value: int) -> bool:
        if self._still is None or abs(value - self._still[1]) > self._wanted.flat_by:
            self._still = (time_ms, value)
        flat_s = self._wanted.flat_s
        return flat_s is not None and time_ms - self._still[0] >= flat_s * 1000


class QualityTests:
    """The tests of every device that has some."""

    def __init__(self, wanted: Mapping[str, QualitySettings]) -> None:
        self._tests = {name: _Tests(one) for name, one in wanted.items()}

    def flag(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """The readings with their flags."""
        if not self._tests:
            return readings
        return [self._flag(reading) for reading in sorted(readings, key=lambda r: r.time_ms)]

    def _flag(self, reading: Reading) -> Reading:
        tests = self._tests.get(reading.device)
        # Streams such as status do not carry the value at all: that is not "missing".
        if tests is None or reading.stream in ("status", "event", "answer"):
            return reading
        return replace(reading, quality=tests.flag(reading))
