"""What the agent says of itself: `Monitor` gathers counters and finds faults."""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

from gateway.acts.part import Act
from gateway.auditlog import AuditLog
from gateway.clock import WallClock, now_ms
from gateway.ledger.ledger import Ledger
from gateway.model import Fault, Health, PartHealth
from gateway.remote.desk import Desk
from gateway.rules.engine import Rules
from gateway.sinks.mqtt import MqttSink
from gateway.sources.backfill import Backfill
from gateway.sources.lorawan import LorawanSource
from gateway.sources.modbus import ModbusSource


class Parts(Protocol):
    """The agent as the monitor sees it; what does not run is None or empty."""

    ledger: Ledger
    rules: Rules
    mqtt: MqttSink | None
    desk: Desk | None
    audit: AuditLog
    lorawan: LorawanSource | None
    backfill: Backfill | None

    @property
    def modbus(self) -> Sequence[ModbusSource]:
        """The wired buses."""
        ...

    @property
    def parts(self) -> Sequence[PartHealth]:
        """The supervised parts."""
        ...

    @property
    def acts(self) -> Sequence[Act]:
        """What acts on alarms."""
        ...


class Monitor:
    """Health of one agent."""

    def __init__(self, agent: Parts, site: str, clock: WallClock) -> None:
        self._agent = agent
        self._site = site
        self._clock = clock
        self._started = time.monotonic()
        self._since: dict[tuple[str, str], int] = {}
        # Readings and alarms in the ledger that a sink has not confirmed.
        self.waiting: tuple[int, int] = (0, 0)

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def health(self) -> Health:
        """The whole record."""
        return Health(
            site=self._site,
            time_ms=now_ms(),
            version=version("tukad"),
            uptime_s=int(self.uptime_s),
            parts=self._agent.parts,
            faults=self.faults(),
            audit_head=self._agent.audit.head,
            counters=self._counters(),
        )

    def summary(self) -> str:
        """One line for systemd."""
        mqtt = self._agent.mqtt
        link = (mqtt.connected_to if mqtt else "") or "no broker"
        return f"{link}; {self.waiting[0]} readings wait; {len(self.faults())} faults"

    def faults(self) -> list[Fault]:
        """What is degraded now; the time of a fault is when it was first found."""
        found = self._find()
        now = now_ms()
        self._since = {key: self._since.get(key, now) for key in found}
        return [
            Fault(code=key[0], subject=key[1], detail=detail, since_ms=self._since[key])
            for key, detail in found.items()
        ]

    def _counters(self) -> dict[str, int]:
        agent = self._agent
        ledger = agent.ledger.counters
        found = {f"ledger_{name}": getattr(ledger, name) for name in ledger.__slots__}
        found["now_ledger_bytes"] = agent.ledger.used_bytes
        found["now_readings_waiting"], found["now_alarms_waiting"] = self.waiting
        if agent.mqtt is not None:
            counters = agent.mqtt.counters
            found |= {f"mqtt_{name}": getattr(counters, name) for name in counters.__slots__}
            budget = agent.mqtt.budget
            found["now_mqtt_month_bytes"] = budget.used
            if budget.is_limited:
                found["now_mqtt_budget_left_bytes"] = budget.left(now_ms() / 1000)
                found["mqtt_put_off"] = budget.thinned
            found["now_mqtt_connected"] = int(bool(agent.mqtt.connected_to))
        if agent.modbus:
            units = [unit for source in agent.modbus for unit in source.units]
            found["modbus_polls"] = sum(unit.polls for unit in units)
            found["modbus_errors"] = sum(sum(unit.errors.values()) for unit in units)
            found["now_modbus_silent"] = sum(unit.is_dead for unit in units)
        if agent.lorawan is not None:
            found["lorawan_uplinks"] = agent.lorawan.uplinks
            found["lorawan_undecoded"] = sum(agent.lorawan.undecoded.values())
        if agent.backfill is not None:
            found["backfill_requests"] = agent.backfill.requests
            found["backfill_given_up"] = agent.backfill.given_up
        if agent.desk is not None:
            counters = agent.desk.counters
            found |= {f"remote_{name}": getattr(counters, name) for name in counters.__slots__}
        found["audit_entries"] = agent.audit.number
        found["clock_steps"] = self._clock.steps
        for act in agent.acts:
            for name, value in act.counters().items():
                gauge = "now_" if name.startswith("now_") else ""
                found[f"{gauge}{act.name}_{name.removeprefix('now_')}"] = value
        return found

    def _find(self) -> dict[tuple[str, str], str]:
        agent = self._agent
        ledger = agent.ledger
        found: dict[tuple[str, str], str] = {}
        if ledger.disk_error:
            found["ledger.disk", str(ledger.path.parent)] = f"{ledger.disk_error}; free some space"
        if ledger.counters.dropped_unsent:
            count = ledger.counters.dropped_unsent
            found["ledger.dropped_unsent", "ledger"] = f"{count} readings lost to ledger.max_mb"
        if ledger.counters.quarantined:
            found["ledger.broken", "ledger"] = "the database was broken; the card may be worn"
        if agent.audit.error:
            lost = f"; {agent.audit.lost} entries lost" if agent.audit.lost else ""
            found["audit.disk", "audit"] = f"{agent.audit.error}{lost}; free some space"
        if agent.mqtt is not None and not agent.mqtt.connected_to:
            found["mqtt.offline", "mqtt"] = agent.mqtt.last_error or "not connected yet"
        if agent.mqtt is not None and agent.mqtt.budget.is_thinned(now_ms() / 1000):
            left = agent.mqtt.budget.left(now_ms() / 1000)
            found["mqtt.budget", "mqtt"] = (
                f"{left} bytes are left of this month's budget: live readings are thinned;"
                " raise mqtt.budget_mb_month, or ask for fewer readings"
            )
        for source in agent.modbus:
            for unit in source.units:
                if unit.fault:
                    found["modbus.silent", unit.sensor.name] = unit.fault
            if source.lost_held:
                found["modbus.lost", source.name] = f"{source.lost_held} readings: no disk"
        if self._clock.time_source() == "unknown":
            found["clock.unset", "clock"] = "the clock is not set; is NTP reachable?"
        for device in agent.rules.silence.silent:
            found["device.silent", device] = "not heard; check its power, antenna and place"
        for act in agent.acts:
            found |= act.faults()
        for part in agent.parts:
            if part.state == "waiting":
                found["part.failing", part.name] = part.detail
        return found
