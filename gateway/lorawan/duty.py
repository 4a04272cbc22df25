"""Airtime of the gateways: `AirtimeBudget`, at most a share of any hour on the air.

A limit applies to each gateway and sub-band (ERC/REC 70-03 for EU868, 1 % for AS923). The last
quarter of the budget is kept for acknowledgements, joins, MAC commands and class C, which is sirens
and signs, so that other application downlinks cannot make a gateway mute.
"""

from collections import deque

HOUR_MS = 3_600_000
RESERVE = 0.25  # of the budget, for urgent downlinks
_UNLIMITED = (0, 1 << 62, 1)

SubBand = tuple[int, int, int]
"""(lowest Hz, highest Hz, n): on the air for at most 1/n of any hour."""


class AirtimeBudget:
    """One account for each (gateway, sub-band) over a sliding hour."""

    def __init__(self, bands: tuple[SubBand, ...], percent: float | None = None) -> None:
        """`percent` of an hour replaces the region's own shares."""
        self._bands = bands
        self._percent = percent
        self._spent: dict[tuple[str, int], deque[tuple[int, int]]] = {}  # (mono_ms, airtime_us)
        self._sums: dict[tuple[str, int], int] = {}

    def _band(self, freq_hz: int) -> int:
        for index, (low, high, _) in enumerate(self._bands):
            if low <= freq_hz <= high:
                return index
        return -1

    def _limit_us(self, band: int) -> int | None:
        if self._percent is not None:
            return int(HOUR_MS * 10 * self._percent)
        if band < 0:
            return None
        return HOUR_MS * 1000 // self._bands[band][2]

    def _used_us(self, account: tuple[str, int], now_ms: int) -> int:
        spent = self._spent.get(account)
        if not spent:
            return 0
        while spent and spent[0][0] <= now_ms - HOUR_MS:
            self._sums[account] -= spent.popleft()[1]
        return self._sums[account]

    def may(
        self, gateway: str, freq_hz: int, airtime_us: int, now_ms: int, is_urgent: bool
    ) -> bool:
        """Whether a transmission fits the budget of its sub-band."""
        band = self._band(freq_hz)
        limit = self._limit_us(band)
        if limit is None:
            return True
        if not is_urgent:
            limit = int(limit * (1 - RESERVE))
        return self._used_us((gateway, band), now_ms) + airtime_us <= limit

    def spend(self, gateway: str, freq_hz: int, airtime_us: int, now_ms: int) -> None:
        """Account for a transmission."""
        account = (gateway, self._band(freq_hz))
        self._used_us(account, now_ms)
        self._spent.setdefault(account, deque()).append((now_ms, airtime_us))
        self._sums[account] = self._sums.get(account, 0) + airtime_us

    def refund(self, gateway: str, freq_hz: int, airtime_us: int) -> None:
        """Take back a transmission that the gateway did not make."""
        account = (gateway, self._band(freq_hz))
        spent = self._spent.get(account, deque())
        for entry in reversed(spent):
            if entry[1] == airtime_us:
                spent.remove(entry)
                self._sums[account] -= airtime_us
                return

    def used_percent(self, gateway: str, now_ms: int) -> float:
        """The fullest sub-band of a gateway, in percent of its budget."""
        worst = 0.0
        for account in [one for one in self._spent if one[0] == gateway]:
            limit = self._limit_us(account[1])
            if limit:
                worst = max(worst, 100 * self._used_us(account, now_ms) / limit)
        return worst
