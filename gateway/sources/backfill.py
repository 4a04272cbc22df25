"""Asks devices for the readings that are missing: `Backfill`.

Most holes close by themselves, because a frame carries as many older readings as fit. What stays
open for a few intervals is asked for by a command (port 10), the newest hole first, a few requests
a day for each device: an answer costs the device airtime and battery. A device that never answers
is asked less and less often; after the last try the hole is lost for good (the audit says so),
although readings that come after all are still welcome.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.clock import now_ms
from gateway.config import setting
from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Gap, Store
from gateway.lorawan.service import NetworkServerService
from protocols.errors import LocalError
from protocols.payload.command import CMD_GAP, encode_command
from protocols.payload.ports import PORT_COMMAND

log = logging.getLogger("tukad.backfill")

_ROUND_S = 10.0
_READINGS_MAX = 64  # asked for at once: a few frames at the slowest data rate
_COUNT_MAX = 4096  # of the command's field
_DAY_MS = 86_400_000
_PATIENCE = 3  # intervals that a hole may stay open before it is asked for
_COMMANDS = 1 << 16  # command numbers wrap


@dataclass(frozen=True, kw_only=True)
class BackfillSettings:
    """Section [backfill]: asking devices for readings that are missing."""

    requests_per_day: int = setting(24, low=0, high=1000, doc="at most so many for each device")
    tries: int = setting(5, low=1, high=20, doc="asked so often, a hole is given up")
    wait_s: float = setting(
        30.0, low=1, high=86400, unit="s", doc="least pause between two requests to a device"
    )


@dataclass(slots=True)
class _Device:
    interval_s: int
    asked_ms: int = 0
    sent: int = 0  # requests since `day`
    day: int = 0


class Backfill:
    """Closes the ledger's gaps, within a budget."""

    def __init__(
        self,
        settings: BackfillSettings,
        ledger: Ledger,
        service: NetworkServerService,
        intervals_s: dict[str, int],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service
        self._devices = {name: _Device(interval) for name, interval in intervals_s.items()}
        self.requests = 0
        self.given_up = 0

    async def run(self) -> None:
        """Look for gaps every few seconds, until cancelled."""
        while True:
            await self.round(now_ms())
            await asyncio.sleep(_ROUND_S)

    async def round(self, at_ms: int) -> None:
        """One look at the gaps."""
        gaps = await self._ledger.read(lambda store: store.gaps())
        for name, device in self._devices.items():
            gap = self._choose(device, (gap for gap in gaps if gap.device == name), at_ms)
            if gap is None:
                continue
            if gap.tries >= self._settings.tries:
                self.given_up += 1
                await self._ledger.write(_lose(gap))
                log.warning(
                    "backfill.given_up device=%s first=%d last=%d", name, gap.first, gap.last
                )
                continue
            await self._ask(device, gap, at_ms)

    def _choose(self, device: _Device, gaps: Iterable[Gap], at_ms: int) -> Gap | None:
        """The newest gap that is due, if the device's budget allows a request now."""
        day = at_ms // _DAY_MS
        if device.day != day:
            device.day, device.sent = day, 0
        wait_ms = 1000 * max(self._settings.wait_s, device.interval_s)
        if at_ms - device.asked_ms < wait_ms:
            return None
        for gap in gaps:  # the newest first
            if at_ms - gap.since_ms < 1000 * _PATIENCE * device.interval_s:
                continue
            if gap.tries and at_ms - gap.asked_ms < wait_ms * 2**gap.tries:
                continue
            if gap.tries < self._settings.tries and device.sent >= self._settings.requests_per_day:
                continue
            return gap
        return None

    async def _ask(self, device: _Device, gap: Gap, at_ms: int) -> None:
        # The end of a hole is the newer part; a long one is closed from there backwards.
        first = max(gap.first, gap.last - _READINGS_MAX + 1)
        count = min(gap.last - first + 1, _COUNT_MAX)
        number = await self._ledger.write(_next_number(gap, at_ms))
        command = encode_command(CMD_GAP, number, {"first_sequence": first, "count": count})
        try:
            await self._service.queue_downlink(
                gap.device, PORT_COMMAND, command, expiry_s=max(3600, 4 * device.interval_s)
            )
        except (LocalError, KeyError) as error:
            log.warning("backfill.refused device=%s error=%r", gap.device, str(error))
            return
        device.asked_ms = at_ms
        device.sent += 1
        self.requests += 1
        log.info(
            "backfill.asked device=%s first=%d count=%d try=%d",
            gap.device,
            first,
            count,
            gap.tries + 1,
        )


def _next_number(gap: Gap, at_ms: int) -> Callable[[Store], int]:
    """Note the request, durably, and take the device's next command number."""

    def run(store: Store) -> int:
        key = f"command/{gap.device}"
        number: int = ((store.get_state(key) or 0) + 1) % _COMMANDS
        store.set_state(key, number)
        store.gap_asked(gap.id, at_ms)
        return number

    return run


def _lose(gap: Gap) -> Callable[[Store], None]:
    def run(store: Store) -> None:
        store.gap_lost(gap.id)

    return run
