"""Lamps that burn no more, from the relay that watches their current.

A lit lamp without current for `CONFIRM_MS` is failed: an alarm for a person. A failed red is worse:
nobody sees it, so the
junction goes to flash. The finding stays until that lamp draws current again.
"""

from collections.abc import Iterable, Sequence

from gateway.atcs.kernel import CHANGE, GREEN, RED

CONFIRM_MS = 1500
COLOURS = {RED: "red", CHANGE: "yellow", GREEN: "green"}


class LampFaults:
    """Judges the current inputs of one cabinet; `step` once a tick."""

    def __init__(self, count: int) -> None:
        self._since_ms: list[int | None] = [None] * count
        self._shown = [-1] * count
        self.failed: set[tuple[int, str]] = set()
        """(movement, colour) of every lamp found failed."""

    def step(
        self, now_ms: int, faults: Iterable[tuple[int, str]], lamps: Sequence[int]
    ) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """(newly failed, working again); `faults`: (movement, colour or "") without current."""
        silent = set(faults)
        failed: list[tuple[int, str]] = []
        mended: list[tuple[int, str]] = []
        for i, aspect in enumerate(lamps):
            colour = COLOURS.get(aspect)
            if aspect != self._shown[i] or colour is None:
                self._shown[i] = aspect
                self._since_ms[i] = None
                continue
            lamp = (i, colour)
            if (i, "") in silent or lamp in silent:
                since = self._since_ms[i]
                if since is None:
                    self._since_ms[i] = now_ms
                elif now_ms - since >= CONFIRM_MS and lamp not in self.failed:
                    self.failed.add(lamp)
                    failed.append(lamp)
                continue
            self._since_ms[i] = None
            if lamp in self.failed:
                self.failed.discard(lamp)
                mended.append(lamp)
        return failed, mended
