"""`Diagnosis`: faults of all devices by named cause. Sans-IO: readings, faults and time in.

`feed` every reading, `agent_faults` what the agent says of itself, `check` every half minute. A
cause opens when it held in two checks (what a device reports as an event opens at once) and closes
when it was gone for half an hour while the device was heard; one that keeps coming back stays open
for hours instead of making a ticket each time. While a device is silent nothing of it opens or
closes but the reason of its silence, and a cause that explains others hides them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.model import Reading
from gateway.rules.devices.causes import CAUSES
from gateway.rules.devices.checks import MINUTE_MS, Evidence, look
from gateway.rules.devices.gateway import GatewayFaults
from gateway.rules.devices.memory import HOUR_MS, Memory
from gateway.rules.devices.power import panels
from gateway.rules.devices.together import deaf, radio, rain

_CONFIRM_MS = 20_000
_CLOSE_MS = 30 * MINUTE_MS
_FLAPPING_CLOSE_MS = 6 * HOUR_MS
_FLAPPING = 3  # times a day
_AT_ONCE = ("moved", "case_open", "supply_lost", "siren_dead", "siren_amplifier", "siren_muffled")
_AWAY = (
    "battery_stolen",
    "battery_flat",
    "stolen",
    "unheard",
    "gateway_radio",
    "sensor_cable_cut",
    "bus_cut",
    "wrong_parity",
    "duplicate_unit",
    "sensor_swapped",
)
# What explains what: while the first is open, the others are not told.
_HIDES: Mapping[str, tuple[str, ...]] = {
    "panel_gone": ("battery_low", "panel_shaded"),
    "panel_shaded": ("battery_low",),
    "battery_worn": ("battery_low",),
    "brownout_loop": ("clock_wrong",),
    "stolen": ("moved", "tilted", "supply_lost", "antenna_lost"),
    "battery_stolen": ("supply_lost", "battery_low", "unheard"),
    "battery_flat": ("battery_low", "supply_lost"),
    "tilted": ("sensor_noisy", "moved"),
    "sensor_blind": ("beam_blocked", "tilted", "sensor_stuck"),
    "sensor_silent": ("sensor_noisy",),
    "duplicate_unit": ("wrong_parity",),
    "sensor_cable_cut": ("sensor_silent", "sensor_blind"),
    "gateway_antenna": ("antenna_lost",),
    "gateway_radio": ("antenna_lost",),
    "channel_jammed": ("antenna_lost",),
    "beam_blocked": ("sensor_noisy", "sensor_stuck"),
}


@dataclass(frozen=True, slots=True)
class Equipment:
    """A device as the configuration has it."""

    name: str
    kind: str  # "lora" or "modbus"
    interval_s: int = 300
    bus: str = ""
    mobile: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A cause that was found, or is gone."""

    device: str
    cause: str
    is_open: bool
    since_ms: int  # when it was opened: with device and cause the name of the incident
    evidence: str


@dataclass(slots=True)
class _Case:
    seen_ms: int = 0  # first check in a row in which it held
    gone_ms: int = 0  # first check in a row in which it did not
    open_ms: int = 0  # 0: not open
    evidence: str = ""
    opened: list[int] = field(default_factory=list[int])  # in the last day


class Diagnosis:
    """All devices of a gateway, and the gateway itself under the name of the site."""

    def __init__(
        self, equipment: Iterable[Equipment], site: str, start_ms: int, utc_offset_h: float = 8.0
    ) -> None:
        self.equipment = {one.name: one for one in equipment}
        self._site = site
        self._offset_ms = round(utc_offset_h * HOUR_MS)
        self._start_ms = start_ms
        self.memories: dict[str, Memory] = {name: Memory() for name in self.equipment}
        self._cases: dict[tuple[str, str], _Case] = {}
        self._gateway = GatewayFaults(site)

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        cases = [[*key, asdict(case)] for key, case in self._cases.items()]
        return {"cases": cases, "memories": {n: m.to_json() for n, m in self.memories.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off; devices that are gone are forgotten."""
        for device, cause, case in state["cases"]:
            if cause in CAUSES:
                self._cases[device, cause] = _Case(**case)
        for name, memory in state["memories"].items():
            if name in self.equipment:
                self.memories[name] = Memory.from_json(memory)

    @property
    def open(self) -> list[Change]:
        """What is open now."""
        return [
            Change(*key, True, case.open_ms, case.evidence)
            for key, case in self._cases.items()
            if case.open_ms
        ]

    def feed(self, reading: Reading) -> None:
        """Take a reading; of a device that the configuration does not have: nothing."""
        memory = self.memories.get(reading.device)
        if memory is not None:
            memory.feed(reading)

    def agent_faults(self, faults: Sequence[tuple[str, str, str]], now_ms: int) -> None:
        """(code, subject, detail) of everything that the agent finds degraded now."""
        self._gateway.take(faults, now_ms)

    def power_was_off(self, since_ms: int, now_ms: int) -> None:
        """The gateway's computer started anew; it was last alive at `since_ms`."""
        self._gateway.power_was_off(since_ms, now_ms)

    def moved_clock(self, by_ms: int) -> None:
        """The wall clock was set: nobody fell silent by that."""
        self._start_ms += by_ms
        for memory in self.memories.values():
            memory.heard_ms += by_ms

    # Silence

    def limit_ms(self, device: str) -> int:
        """How long a device may be quiet: 14 minutes, but at least 3 intervals."""
        return max(3000 * self.equipment[device].interval_s, 14 * MINUTE_MS)

    def _quiet_ms(self, device: str, now_ms: int) -> int:
        return now_ms - max(self.memories[device].heard_ms, self._start_ms)

    def _silence(self, device: str, now_ms: int) -> Evidence:
        """Why a device is not heard. One that never was is not mounted yet; boats go out of range.

        `gateway.rules.vessels` knows for how long a vessel may be silent.
        """
        memory = self.memories[device]
        if not memory.frames or self.equipment[device].mobile:
            return {}
        quiet = self._quiet_ms(device, now_ms)
        limit = self.limit_ms(device)
        gasp = memory.events.get("gasp", [0, -1])
        is_gasp = gasp[0] and memory.heard_ms - gasp[0] < 20 * MINUTE_MS
        moved = memory.events.get("tamper0", [0])[0]
        is_moved = moved and memory.heard_ms - moved < 20 * MINUTE_MS
        if is_gasp or is_moved:
            limit = min(limit, max(5 * MINUTE_MS, 2000 * self.equipment[device].interval_s))
        if quiet <= limit:
            return {}
        battery = memory.battery[-1][1] if memory.battery else 0
        said = f"not heard for {quiet // MINUTE_MS} min"
        if is_moved:
            return {"stolen": f"{said}; it was moved before"}
        if 1000 < battery < 3500:
            return {"battery_flat": f"{said}; its battery was at {battery} mV"}
        if is_gasp:
            return {"battery_stolen": f"{said}; its last word was that power was taken away"}
        return {"unheard": said}

    # Deciding

    def check(self, now_ms: int) -> list[Change]:
        """What opened and closed since the last check."""
        found: dict[tuple[str, str], str] = {}
        frozen: set[str] = set()
        found |= self._gateway.look(self.equipment, now_ms)
        wired = {device for device, _ in found} | self._gateway.silent_units
        silent: dict[str, Evidence] = {}
        for name, one in self.equipment.items():
            if name in wired:
                frozen.add(name)
                continue
            evidence = self._silence(name, now_ms)
            if evidence:
                silent[name] = evidence
            # A device that is just late is not judged either: its evidence is old.
            if (
                self._quiet_ms(name, now_ms) > self.limit_ms(name) / 2
                or not self.memories[name].frames
            ):
                frozen.add(name)
                continue
            for cause, words in look(self.memories[name], now_ms, one.kind).items():
                found[name, cause] = words
        lora = {n: self.memories[n] for n, e in self.equipment.items() if e.kind == "lora"}
        heard = {n: m for n, m in lora.items() if n not in silent and m.frames}
        found |= radio(heard, self._site)
        found |= rain(self.memories, now_ms)
        found |= panels(heard, now_ms, self._offset_ms)
        found |= self._who_is_silent(silent, lora, now_ms)
        hidden = {
            key
            for key in {*found, *self._cases}
            if any(key[1] in _HIDES.get(c, ()) and d in (key[0], self._site) for d, c in found)
        }
        shown = {key: words for key, words in found.items() if key not in hidden}
        return self._decide(shown, hidden, frozen, now_ms)

    def _who_is_silent(
        self, silent: Mapping[str, Evidence], lora: Mapping[str, Memory], now_ms: int
    ) -> dict[tuple[str, str], str]:
        """One ticket for the gateway's radio instead of one for each device it no longer hears."""
        started = {n: m for n, m in lora.items() if m.heard_ms > self._start_ms}
        intervals = {n: self.equipment[n].interval_s for n in lora}
        words = deaf(started, intervals, now_ms)
        if words:
            return {(self._site, "gateway_radio"): words}
        return {
            (name, cause): words
            for name, evidence in silent.items()
            for cause, words in evidence.items()
        }

    def _decide(
        self,
        found: Mapping[tuple[str, str], str],
        hidden: set[tuple[str, str]],
        frozen: set[str],
        now_ms: int,
    ) -> list[Change]:
        changes: list[Change] = []
        for key, words in found.items():
            case = self._cases.setdefault(key, _Case())
            case.gone_ms = 0
            case.seen_ms = case.seen_ms or now_ms
            if case.open_ms:
                continue
            if now_ms - case.seen_ms < _CONFIRM_MS and key[1] not in _AT_ONCE:
                continue
            case.open_ms, case.evidence = now_ms, words
            case.opened = [t for t in case.opened if now_ms - t < 24 * HOUR_MS] + [now_ms]
            changes.append(Change(*key, True, now_ms, words))
        for key, case in list(self._cases.items()):
            if key in found:
                continue
            case.seen_ms = 0
            if not case.open_ms:
                if not case.opened or now_ms - case.opened[-1] > 24 * HOUR_MS:
                    del self._cases[key]
                continue
            if key in hidden:
                changes.append(Change(*key, False, case.open_ms, case.evidence))
                case.open_ms = case.gone_ms = 0
                continue
            if key[0] in frozen and not (key[1] in _AWAY and self._is_back(key[0], now_ms)):
                case.gone_ms = 0
                continue
            case.gone_ms = case.gone_ms or now_ms
            wait = _FLAPPING_CLOSE_MS if len(case.opened) >= _FLAPPING else _CLOSE_MS
            if now_ms - case.gone_ms >= wait:
                changes.append(Change(*key, False, case.open_ms, case.evidence))
                case.open_ms = case.gone_ms = 0
        return changes

    def _is_back(self, device: str, now_ms: int) -> bool:
        if device not in self.equipment:
            return True
        return self._quiet_ms(device, now_ms) <= self.limit_ms(device)


__all__ = ["Change", "Diagnosis", "Equipment"]
