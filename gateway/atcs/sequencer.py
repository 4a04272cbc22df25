"""Rings, barriers and calls: which entry each ring serves, and when it moves on.

A stage-based plan is one ring without barriers; a NEMA plan has two rings that cross barriers
together. The sequencer decides what *should* be green; `gateway.atcs.kernel` decides what is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.atcs import events as e
from gateway.atcs.checks import change_s, shortest_s
from gateway.atcs.coordination import Coordinator
from gateway.atcs.kernel import RED, Kernel
from gateway.atcs.plan import LEFT, PEDESTRIAN, Movement, Plan

NEVER = -1


@dataclass(slots=True)
class Ring:
    """What one ring is doing. Times are the controller's; NEVER if it did not happen."""

    order: list[int]
    entry: int = NEVER
    green_ms: int = NEVER
    wait_ms: int = NEVER
    seen_ms: int = NEVER
    force_left_ms: float = float("inf")
    gapped: bool = False


class Sequencer:
    """Chooses entries; call `step` once a tick, then give `wanted` to the kernel."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        rings = sorted({entry.ring for entry in plan.entry})
        self.rings = [
            Ring([i for i, entry in enumerate(plan.entry) if entry.ring == ring]) for ring in rings
        ]
        self.barriers = list(dict.fromkeys(entry.barrier for entry in plan.entry))
        self.masks = [plan.mask(entry.green) for entry in plan.entry]
        self.peds = self._kind(PEDESTRIAN)
        self.lefts = self._kind(LEFT)
        self.recall = self._where(lambda m: m.recall != "none")
        self.recall_max = self._where(lambda m: m.recall == "max")
        self.locking = self._where(lambda m: m.locking)
        self._green_ms = [
            (shortest_s(plan, entry) - change_s(plan, entry)) * 1000.0 for entry in plan.entry
        ]
        self._max_ms = [
            max(
                (round(m.max_green_s * 1000) for m in self._vehicles(i)),
                default=0,
            )
            for i in range(len(plan.entry))
        ]
        self.calls = 0
        self.walking = 0
        """Pedestrian movements to be shown walk now."""
        self.closed = 0
        self.blocked = 0
        """Movements whose way out is full: they get no extension."""
        self._gap = True
        self.recall_all = False
        """A central wants everybody called all the time."""

    def _where(self, test: Callable[[Movement], bool]) -> int:
        return sum(1 << i for i, m in enumerate(self.plan.movement) if test(m))

    def _kind(self, kind: str) -> int:
        return self._where(lambda m: m.kind == kind)

    def _vehicles(self, entry: int) -> list[Movement]:
        names = self.plan.entry[entry].green
        movements = [self.plan.movement[self.plan.index[name]] for name in names]
        return [m for m in movements if m.kind != PEDESTRIAN]

    def start(self, entries: list[int], now_ms: int) -> None:
        """Begin with these entries, one a ring, all movements called."""
        for ring, entry in zip(self.rings, entries, strict=True):
            self._enter(ring, entry, now_ms, None)
        self.call_all()

    def call_all(self) -> None:
        """Everybody is called once: after start-up, preemption, and in manual control."""
        self.calls |= (1 << len(self.plan.movement)) - 1 & ~self.lefts

    def first(self, name: str) -> list[int]:
        """One entry a ring to begin with: `name` and what runs beside it."""
        index = {entry.name: i for i, entry in enumerate(self.plan.entry)}
        lead = index.get(name, 0)
        barrier = self.plan.entry[lead].barrier
        result: list[int] = []
        for ring in self.rings:
            if lead in ring.order:
                result.append(lead)
            else:
                same = [i for i in ring.order if self.plan.entry[i].barrier == barrier]
                result.append(same[0] if same else ring.order[0])
        return result

    def register(self, kernel: Kernel, present: int, pressed: int, suspect: int) -> None:
        """Turn detections into calls: locked in red, forgotten at green."""
        red = ~kernel.green
        free = present & ~self.locking
        if self.recall_all:
            self.call_all()
        self.calls |= (present | pressed | suspect | self.recall) & red
        # A call that does not lock lives only while the vehicle is there.
        forget = ~self.locking & ~free & ~self.recall & ~suspect & ~self.peds
        self.calls &= ~(forget & red)
        self.calls &= ~(kernel.green & ~self.lefts)
        self.calls &= ~self.closed

    def wanted(self, kernel: Kernel) -> int:
        """The set that should be green: entries' vehicles, served walks, and free left turns."""
        want = 0
        for ring in self.rings:
            if ring.entry >= 0:
                want |= self.masks[ring.entry] & ~self.peds
        want = (want | self.walking) & ~self.closed
        return want | self._free_lefts(kernel, want)

    def _free_lefts(self, kernel: Kernel, want: int) -> int:
        busy = want | kernel.green | kernel.change
        result = 0
        bits = self.lefts & ~self.closed
        while bits:
            low = bits & -bits
            bits ^= low
            if not kernel.conflicts[low.bit_length() - 1] & (busy & ~low | result):
                result |= low
        return result

    def step(
        self,
        now_ms: int,
        kernel: Kernel,
        present: int,
        log: Callable[[int, int, str], None],
        coordinator: Coordinator | None = None,
        hold: bool = False,
        force: bool = False,
        gap: bool = True,
    ) -> None:
        """Decide for this tick. `hold` keeps every entry (manual), `force` ends them once.

        Without `gap` no entry ends for want of traffic: then somebody else decides that.
        """
        self._gap = gap
        if force:
            self.call_all()
            self.calls &= ~(kernel.green | self.closed)
        ready = [
            self._ready(ring, now_ms, kernel, present, log, coordinator, hold, force)
            for ring in self.rings
        ]
        for ring, is_ready in zip(self.rings, ready, strict=True):
            if is_ready:
                later = self._later(ring, coordinator)
                if later >= 0:
                    self._enter(ring, later, now_ms, coordinator)
        # Cross a barrier only if no ring moved inside its group in this tick and all are ready.
        if all(ready) and all(ring.entry >= 0 and ring.green_ms >= 0 for ring in self.rings):
            self._cross(now_ms, log, coordinator)
        self._walk(kernel, coordinator)

    def open_mask(self, entry: int) -> int:
        """What `entry` may show: its movements that no flood closes."""
        return self.masks[entry] & ~self.closed

    def called(self, entry: int, coordinator: Coordinator | None) -> bool:
        """True if somebody waits for `entry` and the pattern has a window for it now."""
        mask = self.open_mask(entry)
        if coordinator is not None and entry == coordinator.coordinated:
            return mask != 0  # a green wave comes back to its road with or without calls
        if not mask & self.calls:
            return False
        if coordinator is None:
            return True
        # The change before it takes 3 s at least, so a split that just fits is let in on time.
        return coordinator.left_ms(entry) >= self._green_ms[entry] + 3000.0

    def _ready(
        self,
        ring: Ring,
        now_ms: int,
        kernel: Kernel,
        present: int,
        log: Callable[[int, int, str], None],
        coordinator: Coordinator | None,
        hold: bool,
        force: bool,
    ) -> bool:
        """True if the ring's entry has had what it is due and somebody else waits."""
        entry = ring.entry
        if entry < 0:
            return True
        mine = self.open_mask(entry)
        vehicles = mine & ~self.peds & ~self.lefts
        if not self._arrived(ring, now_ms, kernel):
            return False
        if present & vehicles & ~self.blocked:
            ring.seen_ms = now_ms
        others = any(
            self.called(i, coordinator) for r in self.rings for i in r.order if i != r.entry
        )
        if not others:
            ring.wait_ms = NEVER
            ring.gapped = False
            return False
        if ring.wait_ms < 0:
            ring.wait_ms = now_ms
        if hold and not force:
            return False
        if not self._may_end(entry, kernel):
            return False
        if force:
            return True
        if coordinator is not None:
            if ring.force_left_ms <= 0.0:
                self._log_end(e.FORCE_OFF, entry, log)
                return True
            if entry == coordinator.coordinated:
                return False
        limit_ms = float(self._max_ms[entry])
        if coordinator is not None:
            # A split may be longer than the maximum; a wait after a plan change may not.
            limit_ms = max(limit_ms, coordinator.timing.splits[self.plan.entry[entry].name] * 1e3)
        if now_ms - ring.wait_ms >= limit_ms:
            if not ring.gapped:
                self._log_end(e.MAX_OUT, entry, log)
            ring.gapped = True
            return True
        if vehicles & self.recall_max or not self._gap:
            return False
        if now_ms - ring.seen_ms > self._gap_ms(ring, entry, now_ms):
            if not ring.gapped:
                self._log_end(e.GAP_OUT, entry, log)
            ring.gapped = True
        return ring.gapped

    def _arrived(self, ring: Ring, now_ms: int, kernel: Kernel) -> bool:
        """True once all vehicles of the ring's entry have their green."""
        if ring.green_ms < 0:
            if self.open_mask(ring.entry) & ~self.peds & ~self.lefts & ~kernel.green:
                return False
            ring.green_ms = now_ms
            ring.seen_ms = now_ms
        return True

    def _may_end(self, entry: int, kernel: Kernel) -> bool:
        """True if every green of `entry` has had its minimum and nobody is still walking."""
        mine = self.open_mask(entry)
        bits = mine & ~self.peds & ~self.lefts & kernel.green
        while bits:
            low = bits & -bits
            bits ^= low
            if not kernel.may_end(low.bit_length() - 1):
                return False
        bits = mine & self.peds
        while bits:
            low = bits & -bits
            bits ^= low
            if kernel.aspect[low.bit_length() - 1] != RED or low & self.walking:
                return False
        return True

    def _log_end(self, code: int, entry: int, log: Callable[[int, int, str], None]) -> None:
        """Why the vehicle phases of `entry` end; the log counts phases, not stages."""
        bits = self.open_mask(entry) & ~self.peds & ~self.lefts
        while bits:
            low = bits & -bits
            bits ^= low
            log(code, low.bit_length(), "")

    def steer(
        self,
        now_ms: int,
        kernel: Kernel,
        target: Sequence[int],
        coordinator: Coordinator | None,
        log: Callable[[int, int, str], None],
        urgent: bool = False,
    ) -> bool:
        """Move the rings to `target` (one entry a ring) when all that must end may; True if done.

        Until then no new walk begins in an entry that has to end. `urgent` begins the walks of the
        entries that stay, whatever the pattern leaves of them.
        """
        moving = [(r, to) for r, to in zip(self.rings, target, strict=True) if r.entry != to]
        leaving = [ring for ring, _ in moving]
        may = True
        for ring, _ in moving:
            may &= self._arrived(ring, now_ms, kernel) and self._may_end(ring.entry, kernel)
        if may:
            for ring, to in moving:
                self._log_end(e.FORCE_OFF, ring.entry, log)
                self._enter(ring, to, now_ms, coordinator)
            leaving = []
        self._walk(kernel, coordinator, leaving, urgent)
        return may

    def beside(self, entry: int) -> list[int]:
        """One entry a ring with `entry` among them; the others stay, or are those most called."""
        barrier = self.plan.entry[entry].barrier
        result: list[int] = []
        for ring in self.rings:
            if entry in ring.order:
                result.append(entry)
                continue
            same = [i for i in ring.order if self.plan.entry[i].barrier == barrier]
            if not same:
                result.append(ring.entry if ring.entry >= 0 else ring.order[0])
                continue
            present = ring.entry
            calls = self.calls
            result.append(
                max(
                    same,
                    key=lambda i: ((self.open_mask(i) & calls).bit_count(), i == present, -i),
                )
            )
        return result

    def _gap_ms(self, ring: Ring, entry: int, now_ms: int) -> float:
        """Passage time, reduced towards the minimum gap the longer others have waited."""
        gap = 0.0
        for m in self._vehicles(entry):
            if m.kind == LEFT:
                continue
            over = (now_ms - ring.wait_ms) / 1000.0 - m.reduce_after_s
            share = min(1.0, max(0.0, over / m.reduce_over_s))
            gap = max(gap, m.passage_s + (m.gap_min_s - m.passage_s) * share)
        return gap * 1000.0

    def _later(self, ring: Ring, coordinator: Coordinator | None) -> int:
        """The next called entry of the ring in the same barrier group; -1 if none."""
        barrier = self.plan.entry[ring.entry].barrier
        position = ring.order.index(ring.entry)
        for i in ring.order[position + 1 :]:
            if self.plan.entry[i].barrier == barrier and self.called(i, coordinator):
                return i
        return -1

    def _cross(
        self, now_ms: int, log: Callable[[int, int, str], None], coordinator: Coordinator | None
    ) -> None:
        """All rings to the next barrier group in which anybody is called."""
        present = self.plan.entry[self.rings[0].entry].barrier
        at = self.barriers.index(present)
        count = len(self.barriers)
        for k in range(1, count + 1):
            barrier = self.barriers[(at + k) % count]
            group = [
                [i for i in ring.order if self.plan.entry[i].barrier == barrier]
                for ring in self.rings
            ]
            if not any(self.called(i, coordinator) for row in group for i in row):
                continue
            if count > 1:
                log(e.BARRIER, barrier, "")
            for ring, row in zip(self.rings, group, strict=True):
                called = [i for i in row if self.called(i, coordinator)]
                usable = [i for i in row if self.open_mask(i)]
                choice = (called or usable or [ring.entry])[0]
                if choice != ring.entry or barrier != present:
                    self._enter(ring, choice, now_ms, coordinator)
            return

    def _enter(self, ring: Ring, entry: int, now_ms: int, coordinator: Coordinator | None) -> None:
        ring.entry = entry
        ring.green_ms = ring.wait_ms = NEVER
        ring.seen_ms = now_ms
        ring.gapped = False
        ring.force_left_ms = float("inf") if coordinator is None else coordinator.left_ms(entry)

    def _walk(
        self,
        kernel: Kernel,
        coordinator: Coordinator | None,
        leaving: Sequence[Ring] = (),
        urgent: bool = False,
    ) -> None:
        """Begin walks that are called beside a green with time for them; end those that had it."""
        self.walking &= ~kernel.change
        bits = self.walking & kernel.green
        while bits:
            low = bits & -bits
            bits ^= low
            if kernel.may_end(low.bit_length() - 1):
                self.walking ^= low
        for ring in self.rings:
            if ring.entry < 0 or ring in leaving:
                continue
            due = (
                self.open_mask(ring.entry) & self.peds & self.calls & ~kernel.green & ~kernel.change
            )
            if not due:
                continue
            if coordinator is not None and ring.green_ms >= 0:
                fits = ring.force_left_ms >= self._green_ms[ring.entry]
            else:
                fits = ring.green_ms < 0 or not ring.gapped
            if fits or urgent:
                self.walking |= due
        allowed = 0
        for ring in self.rings:
            if ring.entry >= 0:
                allowed |= self.open_mask(ring.entry)
        self.walking &= allowed | kernel.green
