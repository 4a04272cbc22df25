"""What the wires mean: aspects to outputs, inputs to `Inputs`. Sans-IO, no board known here."""

from collections.abc import Mapping, Sequence

from gateway.atcs.cabinet.lamps import LampFaults
from gateway.atcs.cabinet.wiring import (
    ADVANCE,
    ALL_RED,
    FLASH,
    MANUAL,
    MONITOR,
    RESET,
    Wiring,
    split,
)
from gateway.atcs.controller import ALL_RED as PANEL_ALL_RED
from gateway.atcs.controller import AUTO, PANEL_FLASH, Inputs
from gateway.atcs.controller import MANUAL as PANEL_MANUAL
from gateway.atcs.kernel import CHANGE, GREEN, RED
from gateway.atcs.kernel import FLASH as SHOWS_FLASH
from gateway.atcs.plan import PEDESTRIAN, Plan

BLINK_MS = 500

States = dict[str, dict[int, bool]]
"""By board the state of each of its outputs, or inputs."""


class Points:
    """The wiring of one cabinet."""

    def __init__(self, wiring: Wiring, plan: Plan) -> None:
        self.wiring = wiring
        self.plan = plan
        self.lamp_faults = LampFaults(len(plan.movement))
        self._detectors = {d.name: i for i, d in enumerate(plan.detector)}
        self._preempts = {p.name: i for i, p in enumerate(plan.preempt)}
        self._watchdog = False
        self._flash = {m.name: m.flash for m in plan.movement}
        self._walks = [m.kind == PEDESTRIAN for m in plan.movement]
        self._lamps = sorted(wiring.lamp, key=lambda lamp: plan.index[lamp.movement])

    def outputs_by_board(self) -> dict[str, list[int]]:
        """The numbers of the outputs that each board drives."""
        return _grouped(self.wiring.outputs())

    def inputs_by_board(self) -> dict[str, list[int]]:
        """The numbers of the inputs that are read from each board."""
        return _grouped([row.point for row in self.wiring.input])

    def outputs(self, lamps: Sequence[int], now_ms: int, alive: bool) -> States:
        """What to drive for these aspects; the watchdog turns over only while `alive`."""
        result: States = {}

        def put(point: str, on: bool) -> None:
            if point:
                board, number = split(point)
                result.setdefault(board, {})[number] = on

        blink = now_ms % (2 * BLINK_MS) < BLINK_MS
        for lamp, aspect, walks in zip(self._lamps, lamps, self._walks, strict=True):
            flash = self._flash[lamp.movement] if aspect == SHOWS_FLASH else ""
            put(
                lamp.red,
                aspect == RED
                or (blink and (walks and aspect == CHANGE))
                or (blink and flash == "red"),
            )
            put(lamp.yellow, (aspect == CHANGE and not walks) or (blink and flash == "yellow"))
            put(lamp.green, aspect == GREEN)
        if alive:
            self._watchdog = not self._watchdog
        put(self.wiring.cabinet.watchdog, self._watchdog)
        put(self.wiring.cabinet.flash, SHOWS_FLASH in lamps)
        return result

    def ask_for_flash(self, board: str, outputs: Mapping[int, bool]) -> dict[int, bool]:
        """`outputs` of `board` with the flash request on."""
        result = dict(outputs)
        if self.wiring.cabinet.flash:
            where, number = split(self.wiring.cabinet.flash)
            if where == board:
                result[number] = True
        return result

    def inputs(
        self, states: Mapping[str, Mapping[int, bool]], inputs: Inputs
    ) -> set[tuple[int, str]]:
        """Fill `inputs` from what the boards read; returns (movement, colour) without current."""
        inputs.detectors = inputs.preempts = 0
        panel: set[str] = set()
        faults: set[tuple[int, str]] = set()
        for row in self.wiring.input:
            board, number = split(row.point)
            on = states.get(board, {}).get(number, row.inverted) != row.inverted
            if not on:
                continue
            if row.detector:
                inputs.detectors |= 1 << self._detectors[row.detector]
            elif row.preempt:
                inputs.preempts |= 1 << self._preempts[row.preempt]
            elif row.panel:
                panel.add(row.panel)
            else:
                faults.add((self.plan.index[row.lamp_fault], row.colour))
        inputs.panel = AUTO
        for switch, mode in (
            (MANUAL, PANEL_MANUAL),
            (ALL_RED, PANEL_ALL_RED),
            (FLASH, PANEL_FLASH),
        ):
            if switch in panel:
                inputs.panel = mode  # the last one wins: flash over all red over manual
        inputs.advance = ADVANCE in panel
        inputs.reset = RESET in panel
        inputs.monitor = MONITOR in panel
        return faults


def _grouped(points: Sequence[str]) -> dict[str, list[int]]:
    result: dict[str, list[int]] = {}
    for point in points:
        board, number = split(point)
        result.setdefault(board, []).append(number)
    return {board: sorted(set(numbers)) for board, numbers in result.items()}
