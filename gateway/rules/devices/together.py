"""Faults that only show when devices are compared: antennas and jamming, `radio`; `rain`."""

from collections.abc import Mapping
from statistics import median, median_low

from gateway.rules.devices.memory import Memory

_FALL_DB = 11  # the median of four frames; slow fading of a fixed link stays well below
_TOGETHER_DB = 8
_JAM_SNR_DB = 7
_MINUTE_MS = 60_000
_RAIN_TIPS = 15  # 3 mm of a 0.2 mm bucket
_RAIN_MS = 12 * _MINUTE_MS


def radio(memories: Mapping[str, Memory], site: str) -> dict[tuple[str, str], str]:
    """Of the devices that are heard: who is weak, and whether it is the gateway's doing."""
    falls = {n: f for n, m in memories.items() if (f := m.fallen()) is not None}
    if not falls:
        return {}
    found: dict[tuple[str, str], str] = {}
    jammed = [n for n, (rssi, snr) in falls.items() if snr >= _JAM_SNR_DB and snr - rssi >= 6]
    weak = [n for n, (rssi, _) in falls.items() if rssi >= _TOGETHER_DB]
    if len(jammed) >= 2 and 2 * len(jammed) >= len(falls):
        depth = median(falls[n][1] for n in jammed)
        found[site, "channel_jammed"] = (
            f"SNR of {len(jammed)} of {len(falls)} devices fell by {depth:.0f} dB, their strength"
            " did not"
        )
        return found
    if len(weak) >= 3 and 3 * len(weak) >= 2 * len(falls):
        depth = median(falls[n][0] for n in weak)
        found[site, "gateway_antenna"] = (
            f"{len(weak)} of {len(falls)} devices are {depth:.0f} dB weaker than usual"
        )
        return found
    for name, (rssi, snr) in falls.items():
        if rssi >= _FALL_DB and snr >= 3:
            found[name, "antenna_lost"] = f"{rssi:.0f} dB weaker than usual"
    return found


def rain(memories: Mapping[str, Memory], now_ms: int) -> dict[tuple[str, str], str]:
    """A gauge that counts nothing while half of at least two others count a shower."""
    since = now_ms - _RAIN_MS
    counts = {n: c for n, m in memories.items() if (c := m.tips_since(since)) is not None}
    found: dict[tuple[str, str], str] = {}
    for name, count in counts.items():
        others = [c for n, c in counts.items() if n != name]
        if count or len(others) < 2 or median_low(others) < _RAIN_TIPS:
            continue
        if now_ms - memories[name].tips[-1][0] < _RAIN_MS / 2:
            words = f"no tip in {_RAIN_MS // _MINUTE_MS} min, others {median_low(others)}"
            found[name, "rain_blocked"] = words
    return found


def deaf(memories: Mapping[str, Memory], intervals_s: Mapping[str, int], now_ms: int) -> str:
    """Evidence that nothing is heard of anybody: then it is the gateway's radio; else ""."""
    if not memories:
        return ""
    last = max(one.heard_ms for one in memories.values())
    awake = [
        intervals_s[n]
        for n, m in memories.items()
        if m.frames and last - m.heard_ms < 5000 * intervals_s[n]
    ]
    if len(awake) < 3:
        return ""
    gap_s = 1 / sum(1 / one for one in awake)
    limit_ms = max(6 * _MINUTE_MS, round(1000 * min(12 * gap_s, 2.2 * max(awake))))
    if now_ms - last <= limit_ms:
        return ""
    return f"none of {len(awake)} devices was heard for {(now_ms - last) // _MINUTE_MS} min"
