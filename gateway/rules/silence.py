"""Devices that are no longer heard: `SilenceRule`. A dead sensor must not look like a calm river.

A device is silent when nothing came for `[alarm] silent_after` of its usual intervals. After a
start of the agent the count begins anew, for then it was the agent that did not listen. Quiet time
is measured with the monotonic clock: setting the wall clock silences nobody.
"""

from collections.abc import Mapping
from typing import Any

from gateway.model import CLEARED, RAISED, Alarm
from gateway.rules.stages import Site

_WAIT_S_MIN = 30.0  # radio and retries need their time whatever the interval


class SilenceRule:
    """Silence of all devices that the configuration names."""

    def __init__(
        self, intervals_s: Mapping[str, int], silent_after: float, site: Site, tick_ms: int
    ) -> None:
        self._limits_ms = {
            name: round(1000 * max(interval * silent_after, _WAIT_S_MIN))
            for name, interval in intervals_s.items()
        }
        self._site = site
        self._heard_ms = dict.fromkeys(intervals_s, tick_ms)  # monotonic
        self._open: dict[str, str] = {}  # device -> incident
        self._known: set[str] = set()  # heard since the start

    @property
    def silent(self) -> list[str]:
        """The devices that count as silent now."""
        return sorted(self._open)

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {"open": self._open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off; devices no longer configured are forgotten."""
        self._open = {k: v for k, v in state["open"].items() if k in self._limits_ms}

    def heard(self, device: str, tick_ms: int) -> None:
        """Something came from a device."""
        if device in self._limits_ms:
            self._heard_ms[device] = tick_ms
            self._known.add(device)

    def check(self, tick_ms: int, now_ms: int) -> list[Alarm]:
        """The alarms of devices that fell silent or came back; call it every few seconds."""
        alarms: list[Alarm] = []
        for device, limit_ms in self._limits_ms.items():
            quiet_ms = tick_ms - self._heard_ms[device]
            if device in self._open:
                if device in self._known and quiet_ms <= limit_ms:
                    alarms.append(self._alarm(device, CLEARED, quiet_ms, now_ms))
                    del self._open[device]
            elif quiet_ms > limit_ms:
                self._open[device] = f"{device}/silent/{now_ms}"
                alarms.append(self._alarm(device, RAISED, quiet_ms, now_ms))
        return alarms

    def _alarm(self, device: str, event: str, quiet_ms: int, now_ms: int) -> Alarm:
        since = self._site.clock(now_ms - quiet_ms)
        if event == RAISED:
            text_id = f"{device} tidak terdengar sejak {since}: periksa daya, antena, dan alatnya."
            text_en = f"{device} not heard since {since}: check its power, antenna and place."
        else:
            text_id, text_en = f"{device} terdengar lagi.", f"{device} is heard again."
        return Alarm(
            incident=self._open[device],
            device=device,
            kind="silent",
            event=event,
            level=1 if event == RAISED else 0,
            name="silent" if event == RAISED else "heard",
            time_ms=now_ms,
            decided_ms=now_ms,
            sequence=0,
            values={},
            text_id=text_id,
            text_en=text_en,
        )
