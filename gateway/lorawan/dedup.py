"""Copies of one frame from several gateways, joined within a window: `Collector`, `Heard`.

The window closes as soon as every gateway that is online has told its copy, so with one gateway
nothing waits. Copies that come later, within `LATE_MS` of the first, are dropped; after that the
same bytes are a new transmission (a device repeats a frame 3 s after the last at the earliest).
"""

from dataclasses import dataclass, field

from gateway.lorawan.radio import Instant, RadioFrame

LATE_MS = 1500
_OPEN_MAX = 4096  # frames being collected: bounds what a flood of forged frames can take


@dataclass(slots=True)
class Heard:
    """One transmission with its copies, the best gateway first once it is closed."""

    first: Instant  # when the first copy came
    copies: dict[str, RadioFrame] = field(default_factory=dict[str, RadioFrame])

    @property
    def phy(self) -> bytes:
        """The PHYPayload."""
        return next(iter(self.copies.values())).phy

    def ranked(self) -> list[RadioFrame]:
        """The copies, best first. SNR saturates near the gateway, so above 5 dB RSSI decides."""
        return sorted(
            self.copies.values(), key=lambda c: (min(c.snr_db, 5.0), c.rssi_dbm), reverse=True
        )


class Collector:
    """Frames in, closed groups out."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._open: dict[bytes, Heard] = {}
        self._closed: dict[bytes, int] = {}  # phy -> mono_ms of the first copy, oldest first
        self.late = 0  # copies that came after the window
        self.dropped = 0  # frames refused because too many were open

    def add(self, frame: RadioFrame, now: Instant, online: frozenset[str]) -> Heard | None:
        """Take one copy; returns the group if this copy completes it."""
        self._forget(now)
        group = self._open.get(frame.phy)
        if group is None:
            if frame.phy in self._closed:
                self.late += 1
                return None
            if len(self._open) >= _OPEN_MAX:
                self.dropped += 1
                return None
            group = self._open[frame.phy] = Heard(now)
        known = group.copies.get(frame.gateway)
        if known is None or frame.rssi_dbm > known.rssi_dbm:
            # One gateway may tell the same frame twice, the weaker copy from a neighbour channel.
            group.copies[frame.gateway] = frame
        if self._window_ms == 0 or online <= group.copies.keys():
            return self._close(frame.phy)
        return None

    def _close(self, phy: bytes) -> Heard:
        group = self._open.pop(phy)
        self._closed.pop(phy, None)
        self._closed[phy] = group.first.mono_ms
        return group

    def _forget(self, now: Instant) -> None:
        while self._closed:
            phy = next(iter(self._closed))
            if now.mono_ms - self._closed[phy] < LATE_MS:
                return
            del self._closed[phy]

    def due(self, now: Instant) -> list[Heard]:
        """The groups whose window is over, oldest first."""
        ready: list[Heard] = []
        while self._open:
            phy = next(iter(self._open))  # dicts keep their order: the first is the oldest
            if now.mono_ms - self._open[phy].first.mono_ms < self._window_ms:
                break
            ready.append(self._close(phy))
        return ready

    def deadline_ms(self) -> int | None:
        """When `due` is due, or None."""
        if not self._open:
            return None
        return next(iter(self._open.values())).first.mono_ms + self._window_ms
