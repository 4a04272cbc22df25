"""The NTCIP 1202 v03 subset that a central needs, as a table: `Objects`. Sans-IO, no SNMP here.

Phases are the plan's movements from 1, sixteen at most, in groups of eight. The tree is
1.3.6.1.4.1.1206.4.2.1 (asc); docs/ntcip.md lists the objects. Two may be set: systemPatternControl
and unitControl; after `BACKUP_S` without any set the junction goes back to its own calendar.
"""

from bisect import bisect_right
from collections.abc import Callable

from gateway.atcs.controller import MANUAL
from gateway.atcs.plan import ADAPTIVE, FLASH_PLAN, FREE_PLAN, LEFT, PEDESTRIAN, Plan
from gateway.atcs.snapshot import FLASH_PATTERN, FREE_PATTERN, Snapshot

Oid = tuple[int, ...]
ENTERPRISE: Oid = (1, 3, 6, 1, 4, 1, 1206)
ASC: Oid = (*ENTERPRISE, 4, 2, 1)
PHASES_MAX = 16
DETECTORS_MAX = 64
PATTERNS_MAX = 48
BACKUP_S = 600
PATTERN_CONTROL: Oid = (*ASC, 4, 14, 0)
UNIT_CONTROL: Oid = (*ASC, 3, 10, 0)
UNIT_RECALL = 0b10
"""unitControl, bit 1: external minimum recall. The only bit that is taken."""

Getter = Callable[[Snapshot | None], "int | bytes"]


class WrongValueError(Exception):
    """A value that this object cannot take."""


class Objects:
    """Every object in the order of its OID. `get`, `next`; `check_set` and `set`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._phases = plan.movement[:PHASES_MAX]
        self._peds = plan.mask(tuple(m.name for m in plan.movement if m.kind == PEDESTRIAN))
        self._detectors = [(k, d) for k, d in enumerate(plan.detector) if d.kind != "button"]
        self._detectors = self._detectors[:DETECTORS_MAX]
        self._buttons = [(k, d) for k, d in enumerate(plan.detector) if d.kind == "button"]
        self._patterns = [t for t in plan.plan if t.cycle_s or t.mode == ADAPTIVE]
        self.pattern_control = 0
        self.unit_control = 0
        self._table: dict[Oid, Getter] = {}
        self._phase_objects()
        self._detector_objects()
        self._unit_objects()
        self._coord_objects()
        self._order = sorted(self._table)

    # Reading

    def get(self, oid: Oid, view: Snapshot | None) -> "int | bytes | None":
        """The value of an object; None if there is none."""
        getter = self._table.get(oid)
        return None if getter is None else getter(view)

    def following(self, oid: Oid) -> Oid | None:
        """The next object after `oid`; None at the end."""
        at = bisect_right(self._order, oid)
        return self._order[at] if at < len(self._order) else None

    def knows(self, oid: Oid) -> bool:
        """True if there is such an object."""
        return oid in self._table

    # Setting

    def check_set(self, oid: Oid, value: int) -> None:
        """Raise WrongValueError unless `value` may be set. KeyError if nothing may."""
        if oid == PATTERN_CONTROL:
            known = (0, FREE_PATTERN, FLASH_PATTERN, *range(1, len(self.plan.plan) + 1))
            if value not in known:
                raise WrongValueError(f"systemPatternControl {value}")
        elif oid == UNIT_CONTROL:
            if value & ~UNIT_RECALL or value < 0:
                raise WrongValueError(f"unitControl {value}")
        else:
            raise KeyError(oid)

    def set(self, oid: Oid, value: int) -> None:
        """Set what `check_set` has passed."""
        if oid == PATTERN_CONTROL:
            self.pattern_control = value
        else:
            self.unit_control = value

    def plan_commanded(self) -> str:
        """The plan that systemPatternControl asks for; empty for the calendar's."""
        value = self.pattern_control
        if value == FREE_PATTERN:
            return FREE_PLAN
        if value == FLASH_PATTERN:
            return FLASH_PLAN
        return self.plan.plan[value - 1].name if value else ""

    # The tree

    def _add(self, oid: tuple[int, ...], getter: Getter) -> None:
        self._table[(*ASC, *oid)] = getter

    def _constant(self, oid: tuple[int, ...], value: "int | bytes") -> None:
        self._add(oid, lambda _: value)

    def _phase_objects(self) -> None:
        count = len(self._phases)
        self._constant((1, 1, 0), count)
        for number, m in enumerate(self._phases, 1):
            walks = m.kind == PEDESTRIAN
            clearance = max(0, *self.plan.clearance_ms[number - 1]) / 1000.0
            options = 1 | (2 if m.recall == "min" else 4 if m.recall == "max" else 0)
            rings = [e.ring for e in self.plan.entry if m.name in e.green]
            columns: dict[int, int | bytes] = {
                1: number,
                2: round(m.min_green_s) if walks else 0,
                3: round(m.yellow_s) if walks else 0,
                4: 0 if walks else round(m.min_green_s),
                5: 0 if walks else round(m.passage_s * 10),
                6: 0 if walks else round(m.max_green_s),
                7: 0 if walks else round(m.max_green_s),
                8: 0 if walks else round(m.yellow_s * 10),
                9: 0 if walks else round(clearance * 10),
                13: round(m.reduce_after_s),
                15: round(m.reduce_over_s),
                17: round(m.gap_min_s * 10),
                21: options,
                22: rings[0] if rings else 0,
                23: self._beside(number - 1),
            }
            for column, value in columns.items():
                self._constant((1, 2, 1, column, number), value)
        groups = (count + 7) // 8
        self._constant((1, 3, 0), groups)
        peds = self._peds
        for group in range(1, groups + 1):
            shift = 8 * (group - 1)

            def add(column: int, read: Callable[[Snapshot], int], group: int = group,
                    shift: int = shift) -> None:  # fmt: skip
                self._add(
                    (1, 4, 1, column, group),
                    lambda view: read(view) >> shift & 0xFF if view is not None else 0,
                )

            self._constant((1, 4, 1, 1, group), group)
            add(2, lambda v: v.red & ~peds)
            add(3, lambda v: v.change & ~peds)
            add(4, lambda v: v.green & ~peds)
            add(5, lambda v: v.red & peds)
            add(6, lambda v: v.change & peds)
            add(7, lambda v: v.green & peds)
            add(8, lambda v: v.calls & ~peds)
            add(9, lambda v: v.calls & peds)
            add(10, lambda v: v.green | v.change)
            add(11, lambda v: v.wanted & ~v.green & ~v.change)

    def _beside(self, movement: int) -> bytes:
        """phaseConcurrency: the phases that may run beside this one."""
        row = self.plan.clearance_ms[movement][:PHASES_MAX]
        return bytes(k + 1 for k, need in enumerate(row) if need < 0 and k != movement)

    def _detector_objects(self) -> None:
        self._constant((2, 1, 0), len(self._detectors))
        for number, (k, d) in enumerate(self._detectors, 1):
            phase = self.plan.index[d.movement] + 1
            columns = {
                1: number, 2: 0b1000_0000 | (0b100 if d.kind == "stop" else 0), 4: phase, 5: 0,
                6: 0, 7: 0, 8: 0, 9: min(255, round(d.silent_s / 60)),
                10: min(255, round(d.stuck_s / 60)), 11: min(255, d.chatter_per_min), 12: 255,
            }  # fmt: skip
            for column, value in columns.items():
                self._constant((2, 2, 1, column, number), value)
            self._add((2, 2, 1, 13, number), lambda v, k=k: _alarm(v, k))
        groups = (len(self._detectors) + 7) // 8
        self._constant((2, 3, 0), groups)
        for group in range(1, groups + 1):
            rows = [k for k, _ in self._detectors[8 * group - 8 : 8 * group]]
            self._constant((2, 4, 1, 1, group), group)
            self._add(
                (2, 4, 1, 2, group),
                lambda v, rows=rows: (
                    0
                    if v is None
                    else sum(1 << n for n, k in enumerate(rows) if v.detectors >> k & 1)
                ),
            )
            self._add(
                (2, 4, 1, 3, group),
                lambda v, rows=rows: sum(1 << n for n, k in enumerate(rows) if _alarm(v, k)),
            )
        self._constant((2, 6, 0), len(self._buttons))
        for number, (k, d) in enumerate(self._buttons, 1):
            self._constant((2, 7, 1, 1, number), number)
            self._constant((2, 7, 1, 2, number), self.plan.index[d.movement] + 1)
            self._add((2, 7, 1, 6, number), lambda v, k=k: _alarm(v, k))

    def _unit_objects(self) -> None:
        info = self.plan.junction
        self._constant((3, 1, 0), round(info.startup_flash_s))
        self._constant((3, 3, 0), BACKUP_S)
        self._constant((3, 4, 0), 10)  # unitRedRevert, tenths: MIN_RED_MS of the controller
        self._add((3, 5, 0), _control_status)
        self._add((3, 6, 0), flash_status)
        self._add((3, 7, 0), _alarm_status_2)
        self._add((3, 8, 0), _alarm_status_1)
        self._add((3, 9, 0), _short_alarm)
        self._add((3, 10, 0), lambda _: self.unit_control)

    def _coord_objects(self) -> None:
        plan = self.plan
        self._constant((4, 1, 0), 0)  # coordOperationalMode: automatic
        self._constant((4, 5, 0), len(plan.plan))
        self._constant((4, 6, 0), 2)  # patternTableType: patterns
        for number, timing in enumerate(plan.plan[:PATTERNS_MAX], 1):
            for column, value in {
                1: number, 2: min(255, round(timing.cycle_s)), 3: min(255, round(timing.offset_s)),
                4: number, 5: 1,
            }.items():  # fmt: skip
                self._constant((4, 7, 1, column, number), value)
        self._constant((4, 8, 0), len(plan.plan))
        for number, timing in enumerate(plan.plan[:PATTERNS_MAX], 1):
            for phase, m in enumerate(self._phases, 1):
                entry = next((x for x in plan.entry if m.name in x.green), None)
                seconds = 0.0 if entry is None else timing.splits.get(entry.name, 0.0)
                coordinated = entry is not None and entry.name == timing.coordinated
                if m.kind == LEFT:
                    seconds, coordinated = 0.0, False
                for column, value in {
                    1: number, 2: phase, 3: min(255, round(seconds)), 4: 2, 5: int(coordinated),
                }.items():  # fmt: skip
                    self._constant((4, 9, 1, column, number, phase), value)
        self._add((4, 10, 0), lambda v: FLASH_PATTERN if v is None else v.timing)
        self._add((4, 11, 0), self._free_status)
        self._add((4, 12, 0), lambda v: self._cycle(v)[0])
        self._add((4, 13, 0), lambda v: self._cycle(v)[1])
        self._add((4, 14, 0), lambda _: self.pattern_control)

    def _free_status(self, view: Snapshot | None) -> int:
        """LocalFreeStatus: notFree(2), commandFree(3), transitionFree(4)."""
        if view is None or view.timing in (FREE_PATTERN, FLASH_PATTERN):
            return 3
        timing = self.plan.timing(view.pattern)
        if timing is None or not timing.cycle_s:
            return 3
        return 2 if view.in_step else 4

    def _cycle(self, view: Snapshot | None) -> tuple[int, int]:
        """(coordCycleStatus: seconds left of the cycle, coordSyncStatus: since its start)."""
        timing = None if view is None else self.plan.timing(view.pattern)
        if view is None or timing is None or not timing.cycle_s:
            return 0, 0
        since = int(view.local_ms / 1000)
        return max(0, round(timing.cycle_s) - since), since


def _alarm(view: Snapshot | None, k: int) -> int:
    """VehicleDetectorAlarms: bit 0 no activity, 1 max presence, 2 erratic, 3 communications."""
    if view is None:
        return 0
    return {"": 0, "silent": 1, "stuck": 2, "chatter": 4, "lost": 8}.get(view.detector_faults[k], 8)


def _control_status(view: Snapshot | None) -> int:
    """UnitControlStatus: systemControl(2), manual(5), timebase(6)."""
    if view is None:
        return 1
    if view.panel == MANUAL:
        return 5
    return 2 if view.central else 6


def flash_status(view: Snapshot | None) -> int:
    """UnitFlashStatus: 2 none, 3 automatic, 4 local manual, 5 fault, 6 monitor, 7 start-up."""
    if view is None or view.mode == "start":
        return 7
    if view.mode == "fault":
        return 5
    if view.mode == "monitor":
        return 6
    if view.mode == "flash":
        return 4 if view.panel == "flash" else 3
    return 2


def _alarm_status_1(view: Snapshot | None) -> int:
    """UnitAlarmStatus1: bit 7 coordinated, 6 free, 5 local flash, 4 MMU flash."""
    flash = flash_status(view)
    coordinated = view is not None and view.in_step and view.mode == "plan"
    return (
        (0x80 if coordinated else 0)
        | (0x40 if view is not None and view.timing == FREE_PATTERN else 0)
        | (0x20 if flash in (4, 5) else 0)
        | (0x10 if flash == 6 else 0)
    )


def _alarm_status_2(view: Snapshot | None) -> int:
    """UnitAlarmStatus2: bit 5 in transition, 4 stop time, 0 power restart."""
    if view is None:
        return 1
    moving = view.timing < FREE_PATTERN and view.local_ms > 0 and not view.in_step
    return (0x20 if moving else 0) | (0x10 if view.mode == "all red" else 0)


def _short_alarm(view: Snapshot | None) -> int:
    """ShortAlarmStatus: 7 critical, 5 detector fault, 3 local override, 1 flash, 0 preempt."""
    if view is None:
        return 0x80
    flash = flash_status(view)
    return (
        (0x80 if flash in (5, 6) else 0)
        | (0x20 if any(view.detector_faults) else 0)
        | (0x08 if view.panel != "auto" else 0)
        | (0x02 if flash != 2 else 0)
        | (0x01 if view.mode == "preempt" else 0)
    )


__all__ = ["ASC", "BACKUP_S", "Objects", "WrongValueError", "flash_status"]
