"""Which thresholds held when, by whom and why: `Thresholds`, a history in the ledger.

At every start the configured thresholds are compared with the newest version in the ledger; a
difference is a new version, which is logged and published below `thresholds/DEVICE`. Nothing is
ever removed: what a siren did in February can be judged by the thresholds of February.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from gateway.ledger.store import Store
from gateway.rules.settings import Stages

log = logging.getLogger("tukad.rules")

KEY = "thresholds/"
_NUMBERS = ("waspada_mm", "siaga_mm", "awas_mm", "hysteresis_mm", "hold_s")
_LIMITS = ("low_mm", "high_mm", "apart_mm")
_WORDS = ("value", "site", "version", "set_by", "set_on", "reason")
Publish = Callable[[str, bytes], None]  # topic below tukad/SITE/, JSON


def as_json(stages: Stages) -> dict[str, Any]:
    """A set of thresholds as it is kept."""
    return {name: getattr(stages, name) for name in (*_NUMBERS, *_LIMITS, *_WORDS)}


class Thresholds:
    """The history of every device."""

    def __init__(self, stages: Mapping[str, Stages], publish: Publish | None = None) -> None:
        self._stages = stages
        self._publish = publish

    def keep(self, store: Store, now_ms: int) -> list[str]:
        """Note what changed since the last start; the devices that did."""
        changed: list[str] = []
        for device, stages in self._stages.items():
            history = versions(store, device)
            wanted = as_json(stages)
            newest = history[-1] if history else {}
            if wanted != {name: newest.get(name) for name in wanted}:
                row = {"number": len(history) + 1, "since_ms": now_ms, **wanted}
                history.append(row)
                store.set_state(KEY + device, history)
                changed.append(device)
                log.warning("thresholds.changed device=%s %s", device, _words(newest, row))
            if self._publish is not None:
                self._publish(KEY + device, json.dumps(history[-1]).encode())
        return changed


def versions(store: Store, device: str) -> list[dict[str, Any]]:
    """Every version of a device's thresholds, the oldest first."""
    return store.get_state(KEY + device) or []


def _words(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed, and by whom and why, as key=value."""
    parts = [f"number={new['number']}"]
    for name in (*_NUMBERS, *_LIMITS):
        if old.get(name) != new[name]:
            parts.append(f"{name}={old.get(name, '-')}->{new[name]}")
    for name in ("version", "set_by", "set_on", "reason"):
        parts.append(f"{name}={new[name]!r}")
    return " ".join(parts)
