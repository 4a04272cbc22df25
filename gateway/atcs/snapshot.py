"""What one tick left behind, as plain values that another thread may read: `Snapshot`."""

from dataclasses import dataclass

from gateway.atcs.controller import Controller, Inputs, Output
from gateway.atcs.kernel import CHANGE, FLASH, GREEN, RED


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sets of movements and detectors are bit masks, bit 0 the first of the plan."""

    now_ms: int
    mode: str
    pattern: str
    timing: int  # number of the pattern in the plan from 1; 254 free, 255 flash
    central: str
    in_step: bool
    local_ms: int  # where in the cycle
    green: int
    change: int
    red: int
    flash: int
    calls: int
    wanted: int
    waiting: int
    longest_wait_ms: int
    closed: int
    detectors: int
    detector_faults: tuple[str, ...]
    preempts: int
    panel: str
    fault: str
    inputs_fault: str
    overdue: int
    countdown: dict[int, int]
    stages: dict[str, int | None]
    vehicles: dict[str, float]  # coming emergency vehicles, seconds


FREE_PATTERN, FLASH_PATTERN = 254, 255


def _set(lamps: tuple[int, ...], aspect: int) -> int:
    return sum(1 << i for i, lamp in enumerate(lamps) if lamp == aspect)


def take(controller: Controller, output: Output, inputs: Inputs) -> Snapshot:
    """The state after `output`, copied."""
    plan = controller.plan
    number = next((i + 1 for i, t in enumerate(plan.plan) if t.name == controller.pattern), 0)
    flashing = output.mode == "flash"
    coordinator = controller.coordinator
    return Snapshot(
        now_ms=controller.now_ms,
        mode=output.mode,
        pattern="flash" if flashing else controller.pattern,
        timing=FLASH_PATTERN if flashing else number or FREE_PATTERN,
        central=controller.central,
        in_step=coordinator is not None and coordinator.in_step,
        local_ms=0 if coordinator is None else round(coordinator.local_ms),
        green=_set(output.lamps, GREEN),
        change=_set(output.lamps, CHANGE),
        red=_set(output.lamps, RED),
        flash=_set(output.lamps, FLASH),
        calls=controller.sequencer.calls,
        wanted=controller.wanted,
        waiting=controller.waits.waiting,
        longest_wait_ms=controller.waits.longest_ms(controller.now_ms),
        closed=output.closed,
        detectors=controller.detectors.on,
        detector_faults=tuple(controller.detectors.fault),
        preempts=controller.priority.input,
        panel=inputs.panel,
        fault=controller.kernel.fault if output.mode == "fault" else "",
        inputs_fault=inputs.fault,
        overdue=controller.overdue,
        countdown=dict(output.countdown),
        stages={flood.sensor: controller.closures.stage[i] for i, flood in enumerate(plan.flood)},
        vehicles={
            vehicle: request.eta_s
            for table in controller.priority.vehicles
            for vehicle, request in table.items()
        },
    )
