"""The 60 s self-test: `measure` by the board, `judge` says BAIK, PERIKSA or RUSAK, and why."""

import json
from dataclasses import dataclass
from typing import Any

from gateway.device.flash import active_slot
from gateway.device.link import DeviceError, Link

# One lithium cell: below this a week of cloud ends it; sag shows a bad cell or terminal.
BATTERY_LOW_MV = 3400
SAG_MV = 300
NOISE_MM = 30
SAFE_STREAK = 3
FLASH_LOW_KIB = 64


@dataclass(frozen=True)
class Verdict:
    """`level` is good, check or broken; `reason` a key of `gateway.device.words`."""

    level: str
    reason: str
    values: dict[str, Any]


def measure(link: Link, bursts: int = 4) -> dict[str, Any]:
    """Stop the application and measure, `bursts` of 25 readings: 20 s, 60 if nobody answers."""
    link.use_application(active_slot(link))
    try:
        link.run("from firmware.update.probe import probe", 30)
    except DeviceError as error:
        raise DeviceError(f"no application with a self-test on the board ({error})") from None
    said = link.run(f"probe({link.root!r}, _f, {bursts})", 120).strip().splitlines()
    try:
        found = json.loads(said[-1])
    except (IndexError, ValueError):
        raise DeviceError("the self-test gave no result") from None
    if not isinstance(found, dict):
        raise DeviceError("the self-test gave no result")
    return {str(key): value for key, value in found.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _broken(found: dict[str, Any]) -> str:
    if found.get("settings", "?"):
        return "no_settings"
    if found.get("radio", "?"):
        return "no_radio"
    if found.get("flash", "?"):
        return "flash_failed"
    if found.get("role") == "flood" and not found.get("valid"):
        return "no_sensor"
    return "safe_mode" if found.get("streak", 0) >= SAFE_STREAK else ""


def _doubtful(found: dict[str, Any]) -> str:
    rest, load = found.get("battery_mv"), found.get("load_mv")
    asked, valid = found.get("asked", 0), found.get("valid", 0)
    free = found.get("flash_kib")
    rules = (
        ("no_supply", bool(found.get("supply"))),
        ("battery_low", rest is not None and rest < BATTERY_LOW_MV),
        ("battery_sags", rest is not None and load is not None and rest - load > SAG_MV),
        ("sensor_gaps", valid * 100 < asked * 95),
        ("sensor_noise", found.get("spread_mm", 0) > NOISE_MM),
        ("float_wet", found.get("float_wet") == 1),
        ("refused", bool(found.get("refused"))),
        ("crashed", bool(found.get("crash"))),
        ("flash_full", free is not None and free < FLASH_LOW_KIB),
    )
    return next((reason for reason, holds in rules if holds), "")


def judge(found: dict[str, Any]) -> Verdict:
    """The gravest finding decides, and is the one sentence."""
    broken = _broken(found)
    if broken:
        return Verdict("broken", broken, found)
    doubtful = _doubtful(found)
    if doubtful:
        return Verdict("check", doubtful, found)
    return Verdict("good", "all_good", found)
