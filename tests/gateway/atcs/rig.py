"""Controller, cabinet wiring and conflict monitor together, at 10 ms, on a seeded queue."""

import tomllib
from pathlib import Path
from typing import Any

from firmware.cabinet.card import Card
from firmware.cabinet.monitor import NAMES, Monitor
from gateway.atcs.card import card
from gateway.atcs.controller import Controller, Inputs
from gateway.atcs.plan import LEFT, PEDESTRIAN, Plan, load
from sim.junction.cabinet import Cabinet
from sim.junction.queue import Approach, Queues

ROOT = Path(__file__).parents[3]


def sample(name: str) -> Plan:
    """One of the plans in deploy/atcs."""
    return load(ROOT / "deploy/atcs" / f"{name}.toml")


def sample_table(name: str = "kumbasari") -> dict[str, Any]:
    """The same as a table, to be changed."""
    return tomllib.loads((ROOT / "deploy/atcs" / f"{name}.toml").read_text())


class Rig:
    """`run(seconds)` until the monitor trips; `tripped` names its fault."""

    def __init__(self, plan: Plan, seed: int = 1, rate: float = 0.12) -> None:
        self.plan = plan
        kinds = [m.kind for m in plan.movement]
        self.controller = Controller(plan, 0)
        self.cabinet = Cabinet([k == PEDESTRIAN for k in kinds], [k == LEFT for k in kinds])
        self.monitor = Monitor(Card(card(plan)), 0)
        self.queues = Queues([Approach(rate) for _ in kinds], seed)
        self.inputs = Inputs()
        self.lamps = (3,) * len(kinds)
        self.now_ms = 0
        self.closed_ms = 0
        self.history: list[tuple[int, ...]] = []

    @property
    def tripped(self) -> str:
        return NAMES[self.monitor.fault]

    def run(self, seconds: float) -> str:
        buf = bytearray(8)
        for _ in range(round(seconds * 100)):
            self.now_ms += 10
            self.cabinet.now_ms = self.now_ms
            if self.now_ms % 100 == 0:
                self._tick()
            self.cabinet.read_into(buf)
            relay = self.monitor.step(
                self.now_ms, buf[0] << 8 | buf[1], buf[2] << 8 | buf[3], buf[4] << 8 | buf[5],
                self.cabinet.watchdog.level, not self.cabinet.reset.level,
                not self.cabinet.flash.level, buf[6] << 8 | buf[7],
            )  # fmt: skip
            self.closed_ms += 10 if relay else 0
            self.cabinet.relay.value(int(relay))
            if self.monitor.fault:
                break
        return self.tripped

    def _tick(self) -> None:
        stops, _ = self.queues.step(self.now_ms / 1000, self.lamps)
        self.inputs.detectors = sum(
            1 << i
            for i, detector in enumerate(self.plan.detector)
            if stops[self.plan.index[detector.movement]]
        )
        output = self.controller.step(self.now_ms, self.inputs)
        self.inputs.advance = False
        self.lamps = output.lamps
        self.history.append(output.lamps)
        self.cabinet.control(output.lamps, 3 in output.lamps)
