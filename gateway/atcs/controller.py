"""The junction controller, sans-IO: inputs and a time in; lamps, events and a deadline out.

Ten times a second `step(now_ms, inputs)`. Modes, strongest first: internal fault and flash (by
panel, plan or calendar), start-up, all red, preemption, manual, plan. Whatever the mode asks for
goes through `gateway.atcs.kernel`; nothing else can change a lamp. An exception in any decision
flashes the junction until somebody resets it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.atcs import events as e
from gateway.atcs.calendar import Wall, plan_name
from gateway.atcs.coordination import Coordinator
from gateway.atcs.countdown import Countdown
from gateway.atcs.detectors import Detectors
from gateway.atcs.events import Event
from gateway.atcs.flood import Closures
from gateway.atcs.kernel import Group, Kernel
from gateway.atcs.phaselog import PhaseLog
from gateway.atcs.plan import ADAPTIVE, FLASH_PLAN, FREE_PLAN, PEDESTRIAN, Plan, Timing
from gateway.atcs.predictive import Predictive
from gateway.atcs.priority import Priority
from gateway.atcs.sequencer import Sequencer
from gateway.atcs.waits import Waits

TICK_MS = 100
AUTO, MANUAL, ALL_RED, PANEL_FLASH = "auto", "manual", "all_red", "flash"
PANELS = (AUTO, MANUAL, ALL_RED, PANEL_FLASH)
MIN_RED_MS = 1000


@dataclass(slots=True)
class Inputs:
    """Everything the controller sees in one tick."""

    detectors: int = 0
    """Bit i: the plan's i-th detector or button is on."""
    counts: Mapping[int, int] = field(default_factory=dict[int, int])
    """Standing vehicles by camera detector; a camera that is not in it is lost."""
    preempts: int = 0
    panel: str = AUTO
    advance: bool = False
    """The police panel's button; its edge ends the entry in manual."""
    wall: Wall | None = None
    reset: bool = False
    """Somebody at the cabinet clears a fault."""
    monitor: bool = False
    """The conflict monitor holds the cabinet in flash: it waits for all red."""
    fault: str = ""
    """What makes flash necessary: lost inputs or outputs, a red lamp that does not burn."""


@dataclass(slots=True)
class Output:
    """What one tick decided."""

    lamps: tuple[int, ...]
    """Per movement an aspect of `gateway.atcs.kernel`."""
    events: list[Event] = field(default_factory=list[Event])
    deadline_ms: int = 0
    mode: str = ""
    closed: int = 0
    countdown: dict[int, int] = field(default_factory=dict[int, int])
    """Seconds for the displays of movements that have one and whose time is certain."""


class Controller:
    """One junction. `report_stage` and `request` bring news between ticks."""

    def __init__(self, plan: Plan, now_ms: int) -> None:
        self.plan = plan
        self.kernel = Kernel(
            [
                Group(
                    round(m.min_green_s * 1000),
                    round(m.yellow_s * 1000),
                    MIN_RED_MS if m.kind != PEDESTRIAN else 0,
                )
                for m in plan.movement
            ],
            plan.clearance_ms,
            now_ms,
            step_ms_max=round(plan.junction.watchdog_s * 1000),
        )
        self.sequencer = Sequencer(plan)
        self.detectors = Detectors(plan, now_ms)
        self.priority = Priority(plan)
        self.closures = Closures(plan, now_ms)
        self.waits = Waits(plan)
        self.countdown = Countdown(plan)
        self.predictive = (
            Predictive(plan, self.sequencer)
            if any(timing.mode == ADAPTIVE for timing in plan.plan)
            else None
        )
        self.coordinator: Coordinator | None = None
        self.timing: Timing | None = None
        self.pattern = FREE_PLAN
        self.mode = "start"
        self.since_ms = now_ms
        self.now_ms = now_ms
        self.manual_ms: int | None = None
        self.advance_was = False
        self._events: list[Event] = []
        self._phases = PhaseLog(plan, now_ms)
        self._red_ms = plan.junction.startup_red_s * 1000
        self.overdue = -1
        self.wanted = 0
        """The movements that should be green, by the last decision."""
        self.central = ""
        """A plan name commanded from a central; empty: the calendar's."""
        self.kernel.flash("start-up")
        self.log(e.STARTUP, 0, "power up")

    def log(self, code: int, parameter: int, note: str = "") -> None:
        """Add an event at the present tick."""
        self._events.append(Event(self.now_ms, code, parameter, note))

    def report_stage(self, sensor: str, stage: int, age_ms: int = 0) -> None:
        """A flood sensor's stage, as the gateway measured it `age_ms` ago."""
        self.closures.report(sensor, stage, self.now_ms - age_ms)

    def request(self, vehicle: str, preempt: str, eta_s: float, vehicle_class: str = "") -> bool:
        """An emergency vehicle will be here in `eta_s`; False if it may not ask.

        `vehicle_class` only if somebody trusted vouches for it.
        """
        return self.priority.request(vehicle, preempt, eta_s, self.now_ms, self.log, vehicle_class)

    def announce(self, movement: int, eta_ms: int, vehicles: int) -> None:
        """A neighbour's departures that reach our stop bar at `eta_ms` of our clock."""
        if self.predictive is not None:
            self.predictive.announce(movement, eta_ms, vehicles)

    def passed(self, vehicle: str) -> None:
        """An emergency vehicle has gone through."""
        self.priority.passed(vehicle, self.log)

    def step(self, now_ms: int, inputs: Inputs) -> Output:
        """Decide for `now_ms`; call again by the deadline of the answer."""
        dt_ms = now_ms - self.now_ms
        self.now_ms = now_ms
        try:
            want = self._decide(now_ms, dt_ms, inputs)
        except Exception as error:  # noqa: BLE001  whatever broke, the street must see flash
            self._fail(f"{type(error).__name__}: {error}")
            want = 0
        if self.kernel.fault and self.mode not in ("flash", "start", "fault"):
            self._fail(self.kernel.fault)
        self.kernel.step(now_ms, want)
        if self.kernel.fault and self.mode not in ("flash", "start", "fault"):
            self._fail(self.kernel.fault)
        self.wanted = want
        self._phases.step(now_ms, self.kernel.aspect, self.sequencer.calls, self.log)
        output = Output(
            tuple(self.kernel.aspect),
            self._events,
            now_ms + TICK_MS,
            self.mode,
            self.sequencer.closed,
            self.countdown.read(self.kernel, self.sequencer, self._clock(), want),
        )
        self._events = []
        return output

    def _clock(self) -> Coordinator | None:
        """The cycle clock while the pattern is what decides."""
        return self.coordinator if self.mode == "plan" and self.manual_ms is None else None

    def _fail(self, cause: str) -> None:
        self.kernel.flash(cause)
        self._enter("fault")
        self.log(e.ALARM, 0, cause)
        self.log(e.UNIT_FLASH, e.FAULT_FLASH, cause)

    def _enter(self, mode: str) -> None:
        self.mode = mode
        self.since_ms = self.now_ms

    def _decide(self, now_ms: int, dt_ms: int, inputs: Inputs) -> int:
        """What should be green; changes the mode as needed."""
        sequencer = self.sequencer
        self.detectors.step(now_ms, inputs.detectors, self.log, inputs.counts)
        sequencer.blocked = self.detectors.blocked
        if self.predictive is not None:
            self.predictive.observe(now_ms, self.kernel, self.detectors, inputs.detectors)
        self.waits.step(now_ms, self._waiting())
        closed = self.closures.step(now_ms, self.log)
        if closed != sequencer.closed:
            for i in range(len(self.plan.movement)):
                if (closed ^ sequencer.closed) >> i & 1:
                    code = e.PHASE_OMIT_ON if closed >> i & 1 else e.PHASE_OMIT_OFF
                    self.log(code, i + 1, "flood")
            sequencer.closed = closed
        if inputs.fault and self.mode != "fault":
            self._fail(inputs.fault)
        if self.mode == "fault":
            if not inputs.reset or inputs.fault:
                return 0
            self._enter("start")
            self.kernel.flash("start-up")
            self.log(e.STARTUP, 0, "reset by hand")
        pattern = self.central or self.closures.plan_name() or plan_name(self.plan, inputs.wall)
        flash = inputs.panel == PANEL_FLASH or pattern == FLASH_PLAN
        if self.mode == "start":
            return self._start(now_ms, flash)
        active = self.priority.step(now_ms, inputs.preempts, self.kernel.green, self.log)
        if self.mode == "flash":
            if flash:
                return 0
            self.kernel.restart(now_ms)
            self.log(e.UNIT_FLASH, e.NOT_FLASH, "flash ends")
            self._enter("red")
            return 0
        if flash:
            if not self.kernel.green | self.kernel.change:
                self.kernel.flash("programmed")
                self._enter("flash")
                by_panel = inputs.panel == PANEL_FLASH
                self.log(
                    e.UNIT_FLASH,
                    e.LOCAL_FLASH if by_panel else e.AUTOMATIC_FLASH,
                    "panel" if by_panel else pattern,
                )
            return 0
        if self.mode == "monitor":
            if inputs.monitor:
                return 0
            self.log(e.UNIT_FLASH, e.NOT_FLASH, "monitor")
            self._enter("red")
        if self.mode == "red" and now_ms - self.since_ms < self._red_ms:
            return 0
        if inputs.monitor:
            # It closes its relay on all red only, so all red is what it gets.
            self.log(e.UNIT_FLASH, e.MMU_FLASH, "monitor")
            self._enter("monitor")
            return 0
        if self.mode == "red":
            self._begin(now_ms)
        if inputs.panel == ALL_RED:
            if self.mode != "all red":
                self._enter("all red")
                self.log(e.STOP_TIME, 1, "all red")
            return 0
        if self.mode == "all red":
            self.log(e.STOP_TIME, 0, "")
            self._begin(now_ms)
        if active >= 0:
            if self.mode != "preempt":
                self._enter("preempt")
                sequencer.walking = 0
            sequencer.register(
                self.kernel, self.detectors.present, self.detectors.pressed, self.detectors.suspect
            )
            return self.priority.mask() & ~closed
        if self.mode == "preempt":
            self._leave_preempt(now_ms)
        return self._run(now_ms, dt_ms, inputs, pattern)

    def _start(self, now_ms: int, flash: bool) -> int:
        if now_ms - self.since_ms < self.plan.junction.startup_flash_s * 1000 or flash:
            return 0
        self.kernel.restart(now_ms)
        self._enter("red")
        self.log(e.STARTUP, 1, "all red")
        return 0

    def _begin(self, now_ms: int) -> None:
        """From all red into the entry that the plan starts with."""
        self.sequencer.start(self.sequencer.first(self.plan.junction.start), now_ms)
        self._enter("plan")

    def _leave_preempt(self, now_ms: int) -> None:
        """Go on with the exit entry; everybody is called, as nobody knows who waited."""
        name = self.plan.preempt[self.priority.last].exit
        for ring, entry in zip(
            self.sequencer.rings,
            self.sequencer.first(name) if name else self._best_entries(),
            strict=True,
        ):
            ring.entry = entry
            ring.green_ms = ring.wait_ms = -1
            ring.gapped = False
            ring.force_left_ms = (
                float("inf") if not self.coordinator else (self.coordinator.left_ms(entry))
            )
        self.sequencer.call_all()
        self._enter("plan")

    def _best_entries(self) -> list[int]:
        """The entries that share most with what is green now."""
        best = max(
            range(len(self.plan.entry)),
            key=lambda i: ((self.sequencer.masks[i] & self.kernel.green).bit_count(), -i),
        )
        return self.sequencer.first(self.plan.entry[best].name)

    def _run(self, now_ms: int, dt_ms: int, inputs: Inputs, pattern: str) -> int:
        """Plan or manual operation."""
        sequencer, detectors = self.sequencer, self.detectors
        self._follow(pattern)
        manual, force = self._manual(now_ms, inputs)
        sequencer.register(self.kernel, detectors.present, detectors.pressed, detectors.suspect)
        coordinator = self.coordinator
        if coordinator is not None:
            resting = any(
                ring.entry == coordinator.coordinated and ring.green_ms >= 0
                for ring in sequencer.rings
            )
            day_ms = inputs.wall.day_ms if inputs.wall else None
            was = coordinator.in_step
            step = coordinator.advance(dt_ms, day_ms, resting)
            if coordinator.in_step != was:
                self.log(e.COORDINATION_STATE, 1 if coordinator.in_step else 0, "")
            for ring in sequencer.rings:
                ring.force_left_ms -= step
                if coordinator.wrapped and ring.entry == coordinator.coordinated:
                    ring.force_left_ms = coordinator.left_ms(ring.entry)
        if not self._serve_overdue(now_ms):
            if manual:
                coordinator = None
            target = None
            adaptive = (
                self.predictive is not None
                and self.timing is not None
                and self.timing.mode == ADAPTIVE
            )
            if adaptive and self.predictive is not None and not manual and not self._extended():
                target = self.predictive.decide(now_ms, self.kernel, coordinator, self.log)
            sequencer.step(
                now_ms,
                self.kernel,
                detectors.present,
                self.log,
                coordinator,
                manual or self._extended(),
                force,
                gap=target is None,
            )
            if target is not None and all(ring.green_ms >= 0 for ring in sequencer.rings):
                sequencer.steer(now_ms, self.kernel, target, coordinator, self.log)
        return sequencer.wanted(self.kernel)

    def _serve_overdue(self, now_ms: int) -> bool:
        """Whoever has waited as long as anybody may gets its turn, whatever else is on."""
        sequencer = self.sequencer
        masks = [sequencer.open_mask(i) for i in range(len(self.plan.entry))]
        entry = self.waits.due(now_ms, masks)
        if entry < 0:
            self.overdue = -1
            return False
        if entry != self.overdue:
            self.overdue = entry
            self.log(e.PHASE_CHECK, (masks[entry] & self.waits.waiting).bit_length(), "overdue")
        target = sequencer.beside(entry)
        sequencer.steer(now_ms, self.kernel, target, self.coordinator, self.log, urgent=True)
        return True

    def _waiting(self) -> int:
        """The movements that are called and not green: whose wait is bounded."""
        sequencer = self.sequencer
        return sequencer.calls & ~self.kernel.green & ~sequencer.closed & ~sequencer.lefts

    def _extended(self) -> bool:
        """True while a coming emergency vehicle keeps what is green for it."""
        return bool(self.priority.extend & self.kernel.green)

    def _manual(self, now_ms: int, inputs: Inputs) -> tuple[bool, bool]:
        """(manual control is on, its button ends the entry now)."""
        edge = inputs.advance and not self.advance_was
        self.advance_was = inputs.advance
        if inputs.panel != MANUAL:
            if self.manual_ms is not None:
                self.manual_ms = None
                self.log(e.MANUAL, 0, "automatic")
                self.sequencer.call_all()
            return False, False
        if self.manual_ms is None:
            self.manual_ms = now_ms
            self.log(e.MANUAL, 1, "manual")
        if edge:
            self.manual_ms = now_ms
            self.log(e.INTERVAL_ADVANCE, 1, "")
        # A panel left behind must not hold one road for ever.
        if now_ms - self.manual_ms > self.plan.junction.manual_max_s * 1000:
            return False, False
        return True, edge

    def _follow(self, pattern: str) -> None:
        """Change the coordination pattern if another is due."""
        if pattern == self.pattern:
            return
        self.pattern = pattern
        timing = self.timing = self.plan.timing(pattern)
        if timing is None or not timing.cycle_s:
            self.coordinator = None
        else:
            old = self.coordinator
            self.coordinator = Coordinator(self.plan, timing)
            if old is not None:
                self.coordinator.local_ms = old.local_ms % self.coordinator.cycle_ms
            self.log(e.CYCLE_CHANGE, round(timing.cycle_s), pattern)
            self.log(e.OFFSET_CHANGE, round(timing.offset_s), pattern)
        number = next((i + 1 for i, t in enumerate(self.plan.plan) if t.name == pattern), 0)
        self.log(e.PATTERN_CHANGE, number or 254, pattern)
        for ring in self.sequencer.rings:
            ring.force_left_ms = (
                float("inf")
                if self.coordinator is None or ring.entry < 0
                else self.coordinator.left_ms(ring.entry)
            )
