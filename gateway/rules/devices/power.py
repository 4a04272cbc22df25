"""The panel by the shape of the day: `panels`. By supply_mv where a node sends it, else slowly."""

from collections.abc import Mapping
from statistics import median

from gateway.rules.devices.memory import HOUR_MS, Memory

_DAY_MS = 24 * HOUR_MS
_GAIN_MV = 40  # what a good panel adds from morning to noon, at least
_DEAD_MV = 1500


def _hour(time_ms: int, offset_ms: int) -> int:
    return (time_ms + offset_ms) // HOUR_MS % 24


def _gain(memory: Memory, day: int, offset_ms: int) -> int | None:
    """How much the battery rose between 7 and 13 o'clock of a local day."""
    rows = {
        _hour(t, offset_ms): mv for t, mv in memory.battery if (t + offset_ms) // _DAY_MS == day
    }
    morning = [rows[h] for h in (6, 7, 8) if h in rows]
    noon = [rows[h] for h in (11, 12, 13) if h in rows]
    return max(noon) - min(morning) if morning and noon else None


def panels(
    memories: Mapping[str, Memory], now_ms: int, offset_ms: int
) -> dict[tuple[str, str], str]:
    """Panels that give nothing or too little, told from a cloudy day by the others."""
    found: dict[tuple[str, str], str] = {}
    today = (now_ms + offset_ms) // _DAY_MS
    gains: dict[str, tuple[int, float]] = {}
    for name, memory in memories.items():
        if memory.supply:
            _by_supply(name, memory, now_ms, offset_ms, found)
            continue
        gain = _gain(memory, today, offset_ms)
        earlier = [g for d in (1, 2, 3) if (g := _gain(memory, today - d, offset_ms)) is not None]
        if gain is not None and len(earlier) >= 2 and median(earlier) >= _GAIN_MV:
            gains[name] = gain, median(earlier)
    shares = {name: gain / usual for name, (gain, usual) in gains.items()}
    for name, share in shares.items():
        others = [s for n, s in shares.items() if n != name]
        sunny = not others or median(others) > 0.5
        millivolts = memories[name].battery[-1][1]
        if not sunny or millivolts > 4100:
            continue  # clouds, or a battery that is full has nothing to gain
        words = f"battery rose {gains[name][0]} mV by noon, usually {gains[name][1]:.0f}"
        if gains[name][0] <= 0:
            found[name, "panel_gone"] = words
        elif share < 0.3:
            found[name, "panel_shaded"] = words
    return found


def _by_supply(
    name: str, memory: Memory, now_ms: int, offset_ms: int, found: dict[tuple[str, str], str]
) -> None:
    time_ms, millivolts = memory.supply[-1]
    if not 8 <= _hour(time_ms, offset_ms) < 16 or now_ms - time_ms > 8 * HOUR_MS:
        return
    usual = [
        mv for t, mv in memory.supply[:-1]
        if 8 <= _hour(t, offset_ms) < 16 and mv > _DEAD_MV
    ]  # fmt: skip
    if not usual:
        return
    if millivolts < _DEAD_MV:
        found[name, "panel_gone"] = f"panel gives {millivolts} mV by day"
    elif millivolts < 0.6 * median(usual):
        found[name, "panel_shaded"] = f"panel gives {millivolts} mV, usually {median(usual):.0f}"
