"""`GatewayFaults`: what the agent says of itself and of its wires, as named causes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.rules.devices.diagnosis import Equipment

_FLICKERS = 1  # times that a unit was lost and came back within the window: two talk at once
_WINDOW_MS = 30 * 60_000
_POWER_MS = 6 * 3_600_000  # a power cut that is over is told for so long
_PARITY_MS = 10 * 60_000  # noise and nothing else for so long: the unit's setting, not a collision
_PATIENT_MS = 5 * 60_000  # a broker or a part may be away for so long
_CODES = {
    "ledger.disk": ("gateway_disk", 0),
    "ledger.dropped_unsent": ("gateway_disk", 0),
    "ledger.broken": ("gateway_card_worn", 0),
    "clock.unset": ("gateway_clock", 60_000),
    "mqtt.offline": ("gateway_backhaul", _PATIENT_MS),
    "part.failing": ("gateway_part", _PATIENT_MS),
}


class GatewayFaults:
    """Takes `Context.faults` as they are; keeps how often a wired unit came and went."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._now: dict[tuple[str, str], str] = {}
        self._since: dict[tuple[str, str], int] = {}
        self._lost: dict[str, list[int]] = {}  # wired unit -> when it was lost
        self._noisy: dict[str, bool] = {}  # whether the last loss was noise
        self._power: tuple[int, int] | None = None

    def take(self, faults: Sequence[tuple[str, str, str]], now_ms: int) -> None:
        """(code, subject, detail) of all that is degraded now."""
        found = {(code, subject): detail for code, subject, detail in faults}
        for key, detail in found.items():
            if key not in self._now and key[0] == "modbus.silent":
                self._lost.setdefault(key[1], []).append(now_ms)
            if key[0] == "modbus.silent":
                self._noisy[key[1]] = detail.startswith(("noise", "strange"))
        self._since = {key: self._since.get(key, now_ms) for key in found}
        self._now = found
        for unit, times in self._lost.items():
            self._lost[unit] = [t for t in times if now_ms - t < _WINDOW_MS][-10:]

    def power_was_off(self, since_ms: int, now_ms: int) -> None:
        """The computer started anew."""
        self._power = (since_ms, now_ms)

    def look(self, equipment: "Mapping[str, Equipment]", now_ms: int) -> dict[tuple[str, str], str]:
        """(device or site, cause) -> evidence."""
        found: dict[tuple[str, str], str] = {}
        for key, detail in self._now.items():
            code, subject = key
            cause, patience_ms = _CODES.get(code, ("", 0))
            if cause and now_ms - self._since[key] >= patience_ms:
                found[self._site, cause] = f"{subject}: {detail}"
        if self._power is not None and now_ms - self._power[1] < _POWER_MS:
            minutes = max(0, self._power[1] - self._power[0]) // 60_000
            found[self._site, "gateway_power"] = f"it was off for {minutes} min"
        self._wires(equipment, found, now_ms)
        return found

    @property
    def silent_units(self) -> set[str]:
        """Wired sensors that do not answer."""
        return {subject for code, subject in self._now if code == "modbus.silent"}

    def _wires(
        self,
        equipment: "Mapping[str, Equipment]",
        found: dict[tuple[str, str], str],
        now_ms: int,
    ) -> None:
        silent = {k[1]: d for k, d in self._now.items() if k[0] == "modbus.silent"}
        for unit, times in self._lost.items():
            if len(times) > _FLICKERS and self._noisy.get(unit) and unit in equipment:
                found[unit, "duplicate_unit"] = f"answers collide; lost {len(times)} times"
        for name, detail in silent.items():
            one = equipment.get(name)
            if one is None or (name, "duplicate_unit") in found:
                continue
            same = [e.name for e in equipment.values() if e.bus == one.bus and e.kind == "modbus"]
            if detail.startswith("port:"):
                found[self._site, "bus_cut"] = f"bus {one.bus}: {detail}"
            elif len(same) > 1 and all(n in silent for n in same):
                found[self._site, "bus_cut"] = f"bus {one.bus}: none of {len(same)} units answers"
            elif detail.startswith("identity"):
                found[name, "sensor_swapped"] = detail
            elif detail.startswith(("noise", "strange", "exception")):
                if now_ms - self._since["modbus.silent", name] >= _PARITY_MS:
                    found[name, "wrong_parity"] = f"it answers, but unreadably: {detail}"
            else:
                found[name, "sensor_cable_cut"] = detail
