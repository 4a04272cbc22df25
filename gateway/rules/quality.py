"""Quality flags beside the values, after QARTOD: `QualityTests`. They never gate an alarm.

Each reading of a tested device gets the worst flag of its tests (`gateway.rules.qartod`): 9
missing, 4 fail, 3 suspect, 1 good. A device without a `quality` table keeps 2, not evaluated.
Late readings (history) are tested by themselves alone: their neighbours in time are not the ones
remembered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.config import setting
from gateway.model import FAIL, GOOD, MISSING, SUSPECT, Reading
from gateway.rules.qartod import FlatLine, Gap, RateOfChange, Spike, climatology, gross_range


@dataclass(frozen=True, kw_only=True)
class Season:
    """What is usual in some months."""

    first_month: int = setting(low=1, high=12, doc="from this month on")
    last_month: int = setting(low=1, high=12, doc="to this month, included")
    low: int = setting(doc="lower than this is suspect then")
    high: int = setting(doc="higher than this is suspect then")


@dataclass(frozen=True, kw_only=True)
class QualitySettings:
    """`quality` of a device or sensor, in the unit of the tested value."""

    value: str = setting("level_mm", doc="the value that is tested")
    fail_low: int = setting(doc="lowest that the sensor can measure")
    fail_high: int = setting(doc="highest that the sensor can measure")
    suspect_low: int | None = setting(None, doc="lowest that the place has seen")
    suspect_high: int | None = setting(None, doc="highest that the place has seen")
    season: tuple[Season, ...] = setting((), doc="what is usual in some months")
    spike_by: int | None = setting(None, low=1, doc="suspect so far from both readings before it")
    spike_fail_by: int | None = setting(None, low=1, doc="the same, but it fails")
    rate_per_min: int | None = setting(None, low=1, doc="fastest change that is believed")
    flat_s: int | None = setting(
        None, low=1, high=604_800, unit="s", doc="suspect when it moved less than flat_by so long"
    )
    flat_fail_s: int | None = setting(
        None, low=1, high=2_678_400, unit="s", doc="the same, but it fails"
    )
    flat_by: int = setting(1, low=0, high=1000, doc="what counts as not moving")
    gap_s: int | None = setting(
        None, low=1, high=604_800, unit="s", doc="suspect after so long without a reading"
    )

    def __post_init__(self) -> None:
        if not self.fail_low < self.fail_high:
            raise ValueError(
                f"fail_low = {self.fail_low} is not below fail_high = {self.fail_high}"
            )
        pairs = (("spike_by", "spike_fail_by"), ("flat_s", "flat_fail_s"))
        for suspect, fail in pairs:
            low, high = getattr(self, suspect), getattr(self, fail)
            if low is not None and high is not None and high <= low:
                raise ValueError(f"{fail} = {high} is not above {suspect} = {low}")


class _Tests:
    """The tests of one device, with what they remember."""

    def __init__(self, wanted: QualitySettings) -> None:
        self._wanted = wanted
        self._newest_ms: int | None = None
        self._seasons = [(s.first_month, s.last_month, s.low, s.high) for s in wanted.season]
        self._spike = Spike(wanted.spike_by, wanted.spike_fail_by)
        self._rate = None if wanted.rate_per_min is None else RateOfChange(wanted.rate_per_min)
        self._flat = FlatLine(wanted.flat_s, wanted.flat_fail_s, wanted.flat_by)
        self._gap = None if wanted.gap_s is None else Gap(wanted.gap_s)

    def flag(self, reading: Reading) -> int:
        wanted, time_ms = self._wanted, reading.time_ms
        value = reading.values.get(wanted.value)
        if value is None:
            return MISSING
        flags = [
            gross_range(
                value,
                (wanted.fail_low, wanted.fail_high),
                (wanted.suspect_low, wanted.suspect_high),
            ),
            climatology(value, time_ms, self._seasons),
        ]
        if self._newest_ms is None or time_ms > self._newest_ms:
            self._newest_ms = time_ms
            flags.append(self._spike.flag(value))
            flags.append(self._flat.flag(time_ms, value))
            if self._rate is not None:
                flags.append(self._rate.flag(time_ms, value))
            if self._gap is not None:
                flags.append(self._gap.flag(time_ms))
        return next(flag for flag in (FAIL, SUSPECT, GOOD) if flag in flags)


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
