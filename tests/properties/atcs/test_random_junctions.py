"""Random junctions, random inputs at 10 Hz: the judge finds nothing, and work is done."""

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.atcs.adaptive.stages import derive, masks_of
from gateway.atcs.calendar import Wall
from gateway.atcs.checks import round_s
from gateway.atcs.controller import ALL_RED, AUTO, MANUAL, PANEL_FLASH, Controller, Inputs
from gateway.atcs.kernel import CHANGE, GREEN, Group, Kernel
from gateway.atcs.plan import DAYS, Plan
from tests.properties.atcs.explorer import Judge, Puppet, small

TICK_MS = 100


@st.composite
def junctions(draw: st.DrawFn) -> Plan:
    """Two to five movements with random limits and conflicts, one stage for each clique cover."""
    count = draw(st.integers(2, 5))
    names = "ABCDE"[:count]
    tenths = st.integers(0, 30).map(lambda t: t / 10)
    movements: dict[str, dict[str, Any]] = {}
    for name in names:
        walks = draw(st.integers(0, 3)) == 0 and name != "A"
        movements[name] = {
            "kind": "pedestrian" if walks else "vehicle",
            "min_green_s": draw(st.integers(20, 60)) / 10,
            "max_green_s": draw(st.integers(60, 120)) / 10,
            "yellow_s": draw(st.integers(20, 45)) / 10,
            "locking": draw(st.booleans()),
            "recall": draw(st.sampled_from(["none", "none", "min", "max"])),
        }
    conflicts: list[tuple[str, str, float, float]] = []
    clash: set[tuple[str, str]] = set()
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if draw(st.integers(0, 2)):
                conflicts.append((a, b, draw(tenths), draw(tenths)))
                clash |= {(a, b), (b, a)}
    entries: list[dict[str, Any]] = []
    left = list(names)
    while left:
        stage: list[str] = []
        for name in list(left):
            if all((name, other) not in clash for other in stage):
                stage.append(name)
                left.remove(name)
        entries.append({"name": f"s{len(entries)}", "green": stage})
    assume(len(entries) > 1)
    return small(
        movements, conflicts, entries,
        preempt=[{"name": "x", "green": [draw(st.sampled_from(names))], "dwell_s": 3}],
        flood=[{"name": "f", "sensor": "s", "close": [draw(st.sampled_from(names))],
                "open_after_s": 5}],
        plan=[{"name": "clever", "mode": "adaptive"}],
        day=[{"name": "all", "days": list(DAYS), "at": {"00:00": "clever"}}],
    )  # fmt: skip


class Junction(RuleBasedStateMachine):
    """Whatever happens, in whatever order and for however long, the lamps are safe."""

    @initialize(plan=junctions())
    def power_up(self, plan: Plan) -> None:
        self.plan = plan
        self.controller = Controller(plan, 0)
        self.judge = Judge(plan, tick_ms=TICK_MS)
        self.inputs = Inputs(wall=Wall("2026-11-24", 1, 0))
        self.now_ms = 0
        self.day_ms = 6 * 3_600_000
        self.fault = False
        self.real = self.controller.predictive.planner
        self.waited = [0] * len(plan.movement)
        self.bound = plan.junction.red_max_s * 1000 if round_s(plan) <= 180 else None

    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now_ms += TICK_MS
            output = self.controller.step(self.now_ms, self.inputs)
            self.judge.see(output.lamps, output.mode == "fault")
            self.fault = output.mode == "fault"
            self.inputs.advance = self.inputs.reset = False
            calls = self.controller.sequencer.calls
            for i, lamp in enumerate(output.lamps):
                waits = calls >> i & 1 and lamp != GREEN and output.mode == "plan"
                self.waited[i] = self.waited[i] + TICK_MS if waits else 0
                assert self.bound is None or self.waited[i] <= self.bound

    @rule(ticks=st.integers(1, 90), detectors=st.integers(0, 31))
    def traffic(self, ticks: int, detectors: int) -> None:
        self.inputs.detectors = detectors & (1 << len(self.plan.detector)) - 1
        self.tick(ticks)

    @rule(on=st.booleans(), ticks=st.integers(1, 60))
    def preempt(self, on: bool, ticks: int) -> None:
        self.inputs.preempts = int(on)
        self.tick(ticks)

    @rule(panel=st.sampled_from([AUTO, MANUAL, ALL_RED, PANEL_FLASH, AUTO]), n=st.integers(1, 80))
    def panel(self, panel: str, n: int) -> None:
        self.inputs.panel = panel
        self.tick(n)

    @rule(ticks=st.integers(1, 40))
    def button(self, ticks: int) -> None:
        self.inputs.advance = True
        self.tick(ticks)

    @rule(stage=st.integers(0, 3), ticks=st.integers(1, 60))
    def water(self, stage: int, ticks: int) -> None:
        self.controller.report_stage("s", stage)
        self.tick(ticks)

    @rule(answer=st.one_of(st.integers(-2, 9), st.none(), st.text(max_size=1), st.floats()))
    def planner_says(self, answer: Any) -> None:
        """From now on the planner gives this one answer."""
        puppet = Puppet(len(self.plan.movement))
        puppet.answer = answer
        self.controller.predictive.planner = puppet

    @rule()
    def planner_breaks(self) -> None:
        puppet = Puppet(len(self.plan.movement))
        puppet.answer = ZeroDivisionError("x")
        self.controller.predictive.planner = puppet

    @rule()
    def planner_as_it_is(self) -> None:
        self.controller.predictive.planner = self.real

    @rule(movement=st.integers(-1, 9), eta_ms=st.integers(-(10**6), 10**6), n=st.integers(-5, 999))
    def neighbour(self, movement: int, eta_ms: int, n: int) -> None:
        self.controller.announce(movement, self.now_ms + eta_ms, n)
        self.tick(3)

    @rule(ticks=st.integers(300, 900), detectors=st.integers(0, 31))
    def long_traffic(self, ticks: int, detectors: int) -> None:
        self.traffic(ticks, detectors)

    @rule(jump_ms=st.integers(-3_600_000, 3_600_000))
    def wall_clock_steps(self, jump_ms: int) -> None:
        self.day_ms = (self.day_ms + jump_ms) % 86_400_000
        self.inputs.wall = Wall("2026-11-24", 1, self.day_ms)
        self.tick(1)

    @precondition(lambda self: not self.fault)
    @rule(gap_ms=st.sampled_from([-500, 2500, 60_000]))
    def time_breaks(self, gap_ms: int) -> None:
        """The caller lost control of time: flash at once, and nothing but flash."""
        self.now_ms += gap_ms
        output = self.controller.step(self.now_ms, self.inputs)
        self.judge.see(output.lamps, output.mode == "fault")
        assert output.mode in ("fault", "start", "flash", "red")
        self.fault = output.mode == "fault"

    @precondition(lambda self: self.fault)
    @rule()
    def reset(self) -> None:
        self.inputs.reset = True
        self.tick(80)

    @invariant()
    def latched(self) -> None:
        if getattr(self, "fault", False):
            assert set(self.controller.kernel.aspect) == {3}


Junction.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
TestJunction = Junction.TestCase


@given(count=st.integers(2, 8), seed=st.randoms(use_true_random=False), steps=st.integers(50, 200))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_kernel_is_safe_under_any_wishes(count: int, seed: Any, steps: int) -> None:
    """Random matrices, random masks every random while: promises hold by construction."""
    matrix = [[-1] * count for _ in range(count)]
    for i in range(count):
        for j in range(i):
            if seed.random() < 0.6:
                matrix[i][j], matrix[j][i] = seed.randrange(0, 4000), seed.randrange(0, 4000)
    limits = [
        Group(seed.randrange(1000, 8000), seed.randrange(0, 5000), 1000) for _ in range(count)
    ]
    kernel = Kernel(limits, matrix, 0)
    now = 0
    ends = [0] * count
    for _ in range(steps):
        before, since = list(kernel.aspect), list(kernel.since_ms)
        now += seed.choice([100, 100, 1000, 2900])
        kernel.step(now, seed.getrandbits(count))
        for i in range(count):
            for j in range(count):
                if matrix[i][j] >= 0:
                    both = {kernel.aspect[i], kernel.aspect[j]}
                    assert not both <= {GREEN, CHANGE}
            if kernel.aspect[i] == before[i]:
                continue
            held = now - since[i]
            if before[i] == GREEN:
                assert held >= limits[i].min_green_ms
            if before[i] == CHANGE:
                assert held >= limits[i].change_ms
                ends[i] = now
            if before[i] == GREEN and kernel.aspect[i] == 0:
                assert limits[i].change_ms == 0
                ends[i] = now
            if kernel.aspect[i] == GREEN:
                for j in range(count):
                    assert matrix[j][i] < 0 or now - ends[j] >= matrix[j][i]


@given(count=st.integers(1, 12), seed=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_derived_stages_serve_every_link_and_hold_no_foes(count: int, seed: Any) -> None:
    """Stages from foes and native states alone: every link in one, foes only as natively."""
    foes = [0] * count
    for i in range(count):
        for j in range(i):
            if seed.random() < 0.4:
                foes[i] |= 1 << j
                foes[j] |= 1 << i
    states = ["".join(seed.choice("Ggrr") for _ in range(count)) for _ in range(seed.randrange(4))]
    native = masks_of(states)
    stages, allowed = derive(count, foes, states, [1 << i for i in range(count)])
    union = 0
    for mask in stages:
        union |= mask
        for i in range(count):
            for j in range(count):
                if mask >> i & 1 and mask >> j & 1 and foes[i] >> j & 1:
                    assert any(n >> i & 1 and n >> j & 1 for n in native)
                    assert allowed[i] >> j & 1
    assert union == (1 << count) - 1
