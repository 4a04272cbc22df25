"""Why we started, and whether to trust ourselves: `note_start`, `SAFE_STREAK`.

A start that ends in a crash or a watchdog reset within `SETTLED_S` counts towards the streak; at
`SAFE_STREAK` the device starts in safe mode: radio and health only, no application.
"""

import sys

import machine
from micropython import const

from firmware.store.counters import Counters
from protocols.payload.status import (
    RESET_CRASH,
    RESET_DEEP_SLEEP,
    RESET_POWER,
    RESET_SOFT,
    RESET_UNKNOWN,
    RESET_WATCHDOG,
)

SAFE_STREAK = const(3)
SETTLED_S = const(600)


def note_start(counters: Counters) -> int:
    """Count this start and save; returns RESET_... . A flash that fails does not stop us."""
    reason = counters.planned or _chip_reason()
    counters.planned = 0
    counters.boots = counters.boots % 65_535 + 1
    if reason == RESET_POWER:
        counters.power_ons += 1
    elif reason == RESET_WATCHDOG:
        counters.watchdogs += 1
    elif reason == RESET_CRASH:
        counters.crashes += 1
    else:
        counters.soft_resets += 1
    counters.crash_streak = (
        counters.crash_streak + 1 if reason in (RESET_WATCHDOG, RESET_CRASH) else 0
    )
    try:
        counters.save()
    except OSError:
        pass  # the node will say so when it saves next
    return reason


def _chip_reason() -> int:
    cause = machine.reset_cause()
    # The ports number these differently and lack some: compare only what is there.
    for name, reason in (
        ("PWRON_RESET", RESET_POWER),
        ("WDT_RESET", RESET_WATCHDOG),
        ("DEEPSLEEP_RESET", RESET_DEEP_SLEEP),
        ("SOFT_RESET", RESET_SOFT),
        ("HARD_RESET", RESET_POWER),
    ):
        if getattr(machine, name, -1) == cause:
            return reason
    return RESET_UNKNOWN


def reset(counters: Counters, reason: int) -> None:
    """Reset the board on purpose: the next start knows `reason`. Does not return."""
    counters.planned = reason
    try:
        counters.save()
    except Exception as error:  # noqa: BLE001 - out of memory, flash gone: start again all the same
        sys.print_exception(error)  # the next start will take it for a watchdog reset
    machine.reset()
