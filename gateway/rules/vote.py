"""Which level is believed: `Vote`, one for each sensor. The alarm's own judgement, no quality flag.

A reading that continues what was believed (within noise, at the rate the water is known to have)
counts at once, so a rise that is under way is decided by the very reading that crosses. A jump
asks for votes: it is believed at the third reading that agrees, hence two readings late at most,
or at the second when readings come five minutes apart or more. A reading that a node has already
filtered and measured again (`protocols.filters.despike`), or its stage event, counts twice. A
reading that agrees with a second sensor at the same place counts as one more vote.

A sensor that raves (three jumps in two hours that came to nothing, or to another height at once:
spiders, birds) needs five.

What is not water is no vote: values outside what the sensor can measure there, unless the water
was seen to climb to it; and *ghosts*, heights at which readings came and went before (a strut in
the beam): a jump to one must last twice as long as it ever did.

Nothing is hidden for ever: the believed level follows every change that lasts.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOISE_MM = 30  # what a reading may differ without being a jump, at least
FILTERED_MM = 100  # the same for one that the node filtered: its own limit
STEEP_MM_MIN = 100  # 6 m/h: steeper than any rise that was ever derived for these rivers
_NOISE_MM_MAX = 200
_SLOW_MS = 300_000  # readings so far apart are believed at the second vote
_VOTES, _VOTES_SLOW, _VOTES_RAVING = 3, 2, 5
_RAVING = 3  # jumps refuted in `_RAVING_MS`
_RAVING_MS = 2 * 3_600_000
_RECENT = 16  # believed readings that tell the noise
_BELIEVED = 8  # believed readings that tell the rate
_HELD_MAX = 64
_GHOST_MM = 40  # readings so near to a ghost are the ghost
_GHOST_ABOVE_MM = 200  # from the believed level: nearer ones are waves
_GHOST_RUN_MIN, _GHOST_RUN_MAX = 3, 30
_GHOST_MS = 30 * 86_400_000
_GHOSTS = 24
_BACK_MS = 6 * 3_600_000  # water that jumped and jumped back within this time was none
_STALE_MS = 1_800_000  # doubtful readings so far apart do not agree any more


@dataclass(slots=True)
class _Ghost:
    """A height at which bogus readings stand: for how many in a row, when last, how often."""

    level_mm: int
    run: int
    time_ms: int
    count: int


class Vote:
    """`feed` each reading in the order of time; it returns the believed level, or None for held.

    `low_mm`, `high_mm`: what the sensor can measure at its place. `base_mm`: below it the very
    first reading is believed alone. `steep_mm_min`: the fastest rise that the water can do.
    Attributes: level_mm and time_ms of what is believed; refuted, doubtful readings that proved to
    be wrong; held, doubtful ones now; has_agreed, whether several readings said what is believed.
    """

    def __init__(
        self,
        low_mm: int | None = None,
        high_mm: int | None = None,
        base_mm: int = 0,
        steep_mm_min: int = STEEP_MM_MIN,
    ) -> None:
        self._low_mm = low_mm
        self._high_mm = high_mm
        self._base_mm = base_mm
        self._steep_mm_min = steep_mm_min
        self.level_mm: int | None = None
        self.time_ms = 0
        self.refuted = 0
        self.has_agreed = False
        self._believed: deque[tuple[int, int]] = deque(maxlen=_BELIEVED)
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._refuted_ms: deque[int] = deque(maxlen=_RAVING)
        self._held: list[tuple[int, int]] = []  # time_ms, value
        self._votes = 0
        self._ghosts: list[_Ghost] = []
        self._left: tuple[int, int] | None = None  # time_ms, level before the last jump
        self._since = 0  # readings since then
        self._heard_ms = 0
        self._gap_ms = 0  # usual time between readings

    @property
    def held(self) -> int:
        """Doubtful readings in a row."""
        return len(self._held)

    @property
    def doubtful_mm(self) -> int | None:
        """The newest doubtful level."""
        return self._held[-1][1] if self._held else None

    def is_measurable(self, value_mm: int) -> bool:
        """Whether the sensor can tell such a level, or the water was seen to climb to it."""
        if self._low_mm is not None and value_mm < self._low_mm:
            return False
        if self._high_mm is None or value_mm <= self._high_mm:
            return True
        return self.level_mm is not None and self.level_mm >= self._high_mm - 2 * FILTERED_MM

    def feed(
        self,
        time_ms: int,
        value_mm: int,
        *,
        is_filtered: bool = False,
        partner_mm: int | None = None,
        stages: int = 1,
    ) -> int | None:
        """Take a reading; the believed level when it is this one, else None.

        `partner_mm` is what a second sensor at the place says now, `stages` how many stages the
        reading would climb.
        """
        if not self.is_measurable(value_mm):
            return None
        if self._heard_ms and time_ms > self._heard_ms:
            gap = time_ms - self._heard_ms
            self._gap_ms = gap if not self._gap_ms else (3 * self._gap_ms + gap) // 4
        self._heard_ms = time_ms
        self._since += 1
        if self.would_continue(time_ms, value_mm, is_filtered=is_filtered):
            self._refute(time_ms)
            self._recent.append(value_mm)
            self.has_agreed = False
            return self._believe(time_ms, value_mm)
        tolerance = self._tolerance(is_filtered)
        needed = self._needed(time_ms, is_filtered, stages)
        weight = 2 if is_filtered else 1
        if partner_mm is not None and abs(partner_mm - value_mm) <= 2 * tolerance:
            weight = needed
        before = self._held[-1] if self._held else None
        if before is None or not self._agrees(before, time_ms, value_mm, tolerance):
            if before is not None and abs(value_mm - before[1]) > _GHOST_ABOVE_MM:
                self._refuted_ms.append(time_ms)  # one of two heights that exclude each other
            self._held.clear()
            self._votes = 0
        self._held.append((time_ms, value_mm))
        del self._held[:-_HELD_MAX]
        if not self._is_ghost(value_mm, before):
            self._votes += weight
        if self._votes < needed:
            return None
        self._jump(time_ms, value_mm, tolerance)
        self.has_agreed = len(self._held) > 1
        return self._believe(time_ms, value_mm)

    def would_continue(self, time_ms: int, value_mm: int, *, is_filtered: bool = False) -> bool:
        """Whether `feed` would believe the reading at once."""
        if not self.is_measurable(value_mm):
            return False
        base = FILTERED_MM if is_filtered else NOISE_MM
        if self.level_mm is not None and abs(value_mm - self.level_mm) <= base:
            return True  # nearly always; the rest need not be reckoned
        return self._continues(time_ms, value_mm, self._tolerance(is_filtered))

    @property
    def noise_mm(self) -> int:
        """About one sigma of what the believed readings scatter by; 0 while that is not known."""
        return self._noise_mm()

    def is_raving(self, time_ms: int) -> bool:
        """Whether several jumps came to nothing lately."""
        refuted = self._refuted_ms
        return len(refuted) == _RAVING and 0 <= time_ms - refuted[0] < _RAVING_MS

    def _tolerance(self, is_filtered: bool) -> int:
        base = FILTERED_MM if is_filtered else NOISE_MM
        return max(base, min(4 * self._noise_mm(), _NOISE_MM_MAX))

    def _needed(self, time_ms: int, is_filtered: bool, stages: int) -> int:
        """Votes for a jump: fewer when the next reading is far away, more from one that raves."""
        if self.is_raving(time_ms):
            return _VOTES_RAVING
        if is_filtered:
            return _VOTES if stages > 1 or self._gap_ms < _SLOW_MS else _VOTES_SLOW
        return _VOTES_SLOW if self._gap_ms >= _SLOW_MS else _VOTES

    def _continues(self, time_ms: int, value_mm: int, tolerance: int) -> bool:
        if self.level_mm is None:
            return value_mm < self._base_mm
        since_ms = min(max(time_ms - self.time_ms, 0), 3_600_000)
        rate = _slope(list(self._believed))
        rise = min(abs(rate) * 1.5 * since_ms, self._steep_mm_min * since_ms / 60_000, 1500.0)
        moved = value_mm - self.level_mm
        up = rise if rate > 0 else 0.0
        down = rise if rate < 0 else 0.0
        return -tolerance - down <= moved <= tolerance + up

    def _agrees(self, before: tuple[int, int], time_ms: int, value: int, tolerance: int) -> bool:
        since_ms = time_ms - before[0]
        if since_ms > max(_STALE_MS, 3 * self._gap_ms):
            return False
        steep = min(self._steep_mm_min * max(since_ms, 0) / 60_000, 1500.0)
        moved = value - before[1]
        is_up = self.level_mm is None or value > self.level_mm
        low, high = (tolerance, tolerance + steep) if is_up else (tolerance + steep, tolerance)
        return -low <= moved <= high

    def _believe(self, time_ms: int, value_mm: int) -> int:
        if self._held and len(self._held) > 1:
            self._believed.clear()  # the water did not take this way
            self._believed.extend(self._held[-_BELIEVED:])
        else:
            self._believed.append((time_ms, value_mm))
        self._held.clear()
        self._votes = 0
        self.level_mm, self.time_ms = value_mm, time_ms
        return value_mm

    def _noise_mm(self) -> int:
        """Half the median change of the step between believed readings: about one sigma.

        Far doubtful readings have no say, so that a spider does not widen what is believed.
        """
        recent = self._recent
        if len(recent) < 5:
            return 0
        steps = sorted(
            abs(recent[i] - 2 * recent[i - 1] + recent[i - 2]) for i in range(2, len(recent))
        )
        return steps[len(steps) // 2] // 2

    # Ghosts

    def _jump(self, time_ms: int, value_mm: int, tolerance: int) -> None:
        """A jump is believed. Where it leads back to, nothing was but a ghost that stood long."""
        if self.level_mm is None:
            return
        left = self._left
        if (
            left is not None
            and abs(value_mm - left[1]) <= 2 * tolerance
            and 0 <= time_ms - left[0] < _BACK_MS
            and self._since <= _GHOST_RUN_MAX
            and self._gap_ms < _SLOW_MS
        ):
            self._remember(self.level_mm, self._since, time_ms)
            self._left = None
        else:
            self._left = (time_ms, self.level_mm)
        self._since = 0

    def _is_ghost(self, value_mm: int, before: tuple[int, int] | None) -> bool:
        """Whether bogus readings stood here before, and this one stands there no longer than they.

        A ghost does not climb: a reading that is well above the doubtful one before it is water.
        """
        if before is not None and value_mm - before[1] > NOISE_MM // 2 and self._held[:-1]:
            return False
        for ghost in self._ghosts:
            if abs(ghost.level_mm - value_mm) <= _GHOST_MM:
                return len(self._held) <= max(2 * ghost.run, 2 * _GHOST_RUN_MIN)
        return False

    def _refute(self, time_ms: int) -> None:
        """The water is where it was: what was held was none."""
        if not self._held:
            return
        self.refuted += len(self._held)
        level, run = self._held[-1][1], len(self._held)
        assert self.level_mm is not None
        if abs(level - self.level_mm) > _GHOST_ABOVE_MM:
            self._refuted_ms.append(time_ms)
            self._remember(level, run, time_ms)
        else:  # waves
            self._recent.extend(value for _, value in self._held)
        self._held.clear()
        self._votes = 0

    def _remember(self, level_mm: int, run: int, time_ms: int) -> None:
        kept: list[_Ghost] = []
        count = 1
        for ghost in self._ghosts:
            if abs(ghost.level_mm - level_mm) <= _GHOST_MM:
                run = max(run, ghost.run)
                count = max(count, ghost.count + 1)
                level_mm = (3 * ghost.level_mm + level_mm) // 4
            elif time_ms - ghost.time_ms < _GHOST_MS:
                kept.append(ghost)
        if len(kept) >= _GHOSTS:
            kept.remove(min(kept, key=lambda ghost: (ghost.count, ghost.time_ms)))
        kept.append(_Ghost(level_mm, run, time_ms, count))
        self._ghosts = kept

    # Restart

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "level_mm": self.level_mm,
            "time_ms": self.time_ms,
            "refuted": self.refuted,
            "believed": list(self._believed),
            "recent": list(self._recent),
            "refuted_ms": list(self._refuted_ms),
            "held": self._held[-_HELD_MAX:],
            "votes": self._votes,
            "ghosts": [(g.level_mm, g.run, g.time_ms, g.count) for g in self._ghosts],
            "left": self._left,
            "since": self._since,
            "heard_ms": self._heard_ms,
            "gap_ms": self._gap_ms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off."""
        self.level_mm = state["level_mm"]
        self.time_ms = state["time_ms"]
        self.refuted = state["refuted"]
        self._believed = deque([(t, v) for t, v in state["believed"]], maxlen=_BELIEVED)
        self._recent = deque(state["recent"], maxlen=_RECENT)
        self._refuted_ms = deque(state["refuted_ms"], maxlen=_RAVING)
        self._held = [(t, v) for t, v in state["held"]]
        self._votes = state["votes"]
        self._ghosts = [_Ghost(*ghost) for ghost in state["ghosts"]]
        left = state["left"]
        self._left = None if left is None else (left[0], left[1])
        self._since = state["since"]
        self._heard_ms = state["heard_ms"]
        self._gap_ms = state["gap_ms"]


def _slope(points: list[tuple[int, int]]) -> float:
    """Of the last believed readings, mm per ms: the median of all pairs, if its sign is sure."""
    slopes = sorted(
        (b[1] - a[1]) / (b[0] - a[0])
        for i, a in enumerate(points)
        for b in points[i + 1 :]
        if b[0] > a[0]
    )
    if not slopes:
        return 0.0
    low, high = slopes[len(slopes) // 10], slopes[-1 - len(slopes) // 10]
    return slopes[len(slopes) // 2] if low * high > 0 else 0.0
