"""What the world can read of a junction: high-resolution log, SPaT as JSON, state for a console.

The log is the CSV that Indiana's tools read (`TimeStamp,DeviceId,EventId,Parameter`, local time
with tenths of a second); SPaT has the names of SAE J2735 (movementName, eventState, minEndTime).
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from gateway.atcs.controller import Controller, Output
from gateway.atcs.events import Event
from gateway.atcs.kernel import CHANGE, FLASH, GREEN
from gateway.atcs.plan import PEDESTRIAN, Plan

HEADER = "TimeStamp,DeviceId,EventId,Parameter"

TEXT: dict[str, tuple[str, str]] = {
    "start": ("Menyala: kedip", "Starting: flash"),
    "red": ("Semua merah", "All red"),
    "plan": ("Otomatis", "Automatic"),
    "flash": ("Kedip", "Flash"),
    "all red": ("Semua merah (panel)", "All red (panel)"),
    "preempt": ("Prioritas kendaraan darurat", "Emergency vehicle priority"),
    "monitor": ("Monitor konflik: kedip", "Conflict monitor: flash"),
    "manual": ("Manual (panel)", "Manual (panel)"),
    "fault": ("GANGGUAN: kedip sampai direset", "FAULT: flash until reset"),
}
"""Mode to what a screen says, Indonesian and English."""


def csv_rows(events: Iterable[Event], device: int, start: datetime) -> Iterable[str]:
    """Log lines; `start` is the local time at the controller's 0 ms."""
    for event in events:
        moment = start + timedelta(milliseconds=event.time_ms)
        tenths = moment.microsecond // 100_000
        yield f"{moment:%Y-%m-%d %H:%M:%S}.{tenths},{device},{event.code},{event.parameter}"


FUNCTIONS = {"stop": "Presence", "advance": "Advance", "camera": "Presence"}


def detector_rows(plan: Plan, device: int) -> Iterable[str]:
    """The detectors as `atspm` wants them beside the log: DeviceId,Phase,Parameter,Function."""
    yield "DeviceId,Phase,Parameter,Function"
    for i, detector in enumerate(plan.detector):
        phase = plan.index[detector.movement] + 1
        if detector.kind in FUNCTIONS:
            yield f"{device},{phase},{i + 1},{FUNCTIONS[detector.kind]}"
        if detector.kind == "stop":
            yield f"{device},{phase},{i + 1},Yellow_Red"


def _state(aspect: int, walks: bool) -> str:
    if aspect == GREEN:
        return "protected-Movement-Allowed"
    if aspect == CHANGE:
        return "pedestrian-Clearance" if walks else "protected-clearance"
    return "caution-Conflicting-Traffic" if aspect == FLASH else "stop-And-Remain"


def spat(controller: Controller, output: Output) -> str:
    """One SPaT-like message as JSON; times in tenths of a second from now, null if open."""
    kernel = controller.kernel
    rows: list[dict[str, object]] = []
    for i, movement in enumerate(controller.plan.movement):
        aspect = output.lamps[i]
        elapsed = kernel.elapsed_ms(i)
        least: int | None = None
        most: int | None = None
        if aspect == CHANGE:
            least = most = max(0, kernel.groups[i].change_ms - elapsed) // 100
        elif aspect == GREEN:
            least = max(0, kernel.groups[i].min_green_ms - elapsed) // 100
        row: dict[str, object] = {
            "signalGroup": i + 1,
            "movementName": movement.name,
            "eventState": _state(aspect, movement.kind == PEDESTRIAN),
            "minEndTime": least,
            "maxEndTime": most,
        }
        if i in output.countdown:
            row["countdown_s"] = output.countdown[i]
            if most is None:
                row["minEndTime"] = row["maxEndTime"] = 10 * output.countdown[i]
        rows.append(row)
    closed = [m.name for i, m in enumerate(controller.plan.movement) if output.closed >> i & 1]
    text = TEXT.get(output.mode, (output.mode, output.mode))
    return json.dumps(
        {
            "intersection": controller.plan.junction.id,
            "mode": output.mode,
            "mode_id": text[0],
            "pattern": controller.pattern,
            "closed": closed,
            "states": rows,
        },
        separators=(",", ":"),
    )
