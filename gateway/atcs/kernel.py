"""The safety kernel: the only code that changes a signal group, and it can only do so safely.

Decision logic asks (`step(now_ms, wanted)`), the kernel answers with what the lamps show. Whatever
is asked, and whenever, by construction:

- a group turns green only while every conflicting group is red, and has been for the clearance
  that the matrix demands for that pair;
- a green lasts at least its minimum; a change interval (yellow, or the pedestrian clearance)
  lasts exactly its length; red follows, never green;
- time that runs backwards, or an inner contradiction, ends in `FLASH`, which only `restart` leaves,
  through all red.

Sets of groups are bit masks, so 64 junctions at 10 Hz cost next to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

RED, GREEN, CHANGE, FLASH = 0, 1, 2, 3
"""What a group shows: CHANGE is yellow for vehicles, flashing don't-walk for pedestrians."""

COMPATIBLE = -1
"""In the clearance matrix: the two groups may be green together."""

STEP_MS_MAX = 3_000
"""A longer silence between two steps means that the caller was not in control: flash."""


@dataclass(frozen=True, slots=True)
class Group:
    """Limits of one signal group, all in milliseconds."""

    min_green_ms: int
    change_ms: int
    min_red_ms: int = 0


class Kernel:
    """Aspects of up to some hundred groups; see the module for what it promises.

    `clearance_ms[i][j]` is how long group i must have been red before j may turn green, or
    COMPATIBLE in both directions. Raises ValueError for a matrix that contradicts itself.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        clearance_ms: Sequence[Sequence[int]],
        now_ms: int,
        *,
        step_ms_max: int = STEP_MS_MAX,
    ) -> None:
        count = len(groups)
        if len(clearance_ms) != count or any(len(row) != count for row in clearance_ms):
            raise ValueError(f"the clearance matrix is not {count} by {count}")
        self.groups = tuple(groups)
        self.count = count
        self._step_ms_max = step_ms_max
        self.conflicts: list[int] = []
        self._needs: list[tuple[tuple[int, int], ...]] = []
        for j in range(count):
            mask = 0
            needs: list[tuple[int, int]] = []
            for i in range(count):
                there, back = clearance_ms[i][j], clearance_ms[j][i]
                if i == j:
                    continue
                if (there == COMPATIBLE) != (back == COMPATIBLE):
                    raise ValueError(f"groups {i} and {j} conflict in one direction only")
                if there != COMPATIBLE:
                    if there < 0:
                        raise ValueError(f"the clearance from {i} to {j} is negative")
                    mask |= 1 << i
                    needs.append((i, there))
            self.conflicts.append(mask)
            self._needs.append(tuple(needs))
        self.aspect = [RED] * count
        self.since_ms = [now_ms] * count
        self.green: int = 0
        self.change: int = 0
        self.fault = ""
        self.now_ms = now_ms

    def restart(self, now_ms: int) -> None:
        """All red from now on, as if every group had just ended: what follows start-up or flash."""
        self.aspect = [RED] * self.count
        self.since_ms = [now_ms] * self.count
        self.green = self.change = 0
        self.fault = ""
        self.now_ms = now_ms

    def flash(self, cause: str) -> None:
        """Give up: every group flashes until `restart`."""
        if not self.fault:
            self.fault = cause
        self.aspect = [FLASH] * self.count
        self.green = self.change = 0

    def elapsed_ms(self, group: int) -> int:
        """How long `group` has shown what it shows."""
        return self.now_ms - self.since_ms[group]

    def may_end(self, group: int) -> bool:
        """True if a green `group` has had its minimum."""
        return self.now_ms - self.since_ms[group] >= self.groups[group].min_green_ms

    def step(self, now_ms: int, wanted: int) -> None:
        """Move every group towards `wanted` (a mask of groups that should be green) at `now_ms`."""
        if self.fault:
            return
        if not 0 <= now_ms - self.now_ms <= self._step_ms_max:
            self.flash(f"time went from {self.now_ms} to {now_ms} ms")
            return
        self.now_ms = now_ms
        ending = self.green & ~wanted
        # A green that nobody wants ends after its minimum; a change ends after its length.
        bits = ending | self.change
        while bits:
            low = bits & -bits
            bits ^= low
            i = low.bit_length() - 1
            elapsed = now_ms - self.since_ms[i]
            if low & self.change:
                if elapsed >= self.groups[i].change_ms:
                    self.change ^= low
                    self._show(i, RED, now_ms)
            elif elapsed >= self.groups[i].min_green_ms:
                self.green ^= low
                if self.groups[i].change_ms:
                    self.change |= low
                    self._show(i, CHANGE, now_ms)
                else:
                    self._show(i, RED, now_ms)
        bits = wanted & ~(self.green | self.change)
        while bits:
            low = bits & -bits
            bits ^= low
            i = low.bit_length() - 1
            if self.ready(i, now_ms):
                self.green |= low
                self._show(i, GREEN, now_ms)
        bits = self.green
        while bits:
            low = bits & -bits
            bits ^= low
            if self.conflicts[low.bit_length() - 1] & (self.green | self.change):
                self.flash("conflicting greens")
                return

    def ready(self, group: int, now_ms: int) -> bool:
        """True if red `group` could turn green at `now_ms` without breaking a promise."""
        if self.conflicts[group] & (self.green | self.change):
            return False
        if now_ms - self.since_ms[group] < self.groups[group].min_red_ms:
            return False
        since = self.since_ms
        return all(now_ms - since[i] >= clearance for i, clearance in self._needs[group])

    def _show(self, group: int, aspect: int, now_ms: int) -> None:
        self.aspect[group] = aspect
        self.since_ms[group] = now_ms
