"""What the link may carry: `Budget`, bytes a month, and `Bucket`, bytes a second. No clock inside.

The budget follows a line: at the moment t of a month, budget * t / month may be used, and one day's
share more. How far use lies below the line, in days, is the slack:

    slack >= 0.5 day     live at once, history too
    0 .. 0.5             live waits together longer (up to 15 minutes); no history
    below 0              live is thinned: every 15 minutes the newest reading of each stream; what
                         was left out stays in the ledger and goes as history when there is room
    95 % of the budget   live stops too; the last 5 % are for alarms, which always pass

Bytes are those on the wire: topic and payload, MQTT, TCP/IP with its acknowledgements, TLS. What is
kept on disk runs a little ahead of the count, so a power cut never makes the month cheaper.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

MONTH_DAYS = 30
_DAY_S = 86_400
_FULL_SLACK = 0.5  # days
_LINGER_S_MAX = 900.0
_ALARM_SHARE = 0.05
_PLAUSIBLE_S = 1_735_689_600  # 2025-01-01; before it the clock is not set
_HEALTH_SHARE = 0.05  # of the budget for health records
_PING_SHARE = 0.10  # and for keeping the connection
_AHEAD = 65_536  # bytes that the disk's count may run ahead

_SEGMENT = 1400  # payload of a TCP segment
_HEADERS = 52  # IPv4 20, TCP 20 with time stamps 12; of a segment and of an acknowledgement
_TLS_RECORD = 22  # TLS 1.3: header 5, type 1, tag 16
_TLS_OPEN = 5000  # hellos, certificates of both sides
_MQTT_OPEN = 300  # CONNECT with a will, CONNACK, subscriptions and their answers
_PUBACK = 4


def publish_bytes(topic: str, payload: int, *, is_tls: bool, is_v5: bool) -> int:
    """Bytes on the wire, both ways, of a QoS 1 publish and its PUBACK."""
    rest = 2 + len(topic.encode()) + 2 + int(is_v5) + payload
    length = 1 if rest < 128 else 2 if rest < 16_384 else 3 if rest < 2_097_152 else 4
    size = 1 + length + rest
    if is_tls:
        size += _TLS_RECORD * math.ceil(size / 16_384) + _TLS_RECORD
    segments = math.ceil(size / _SEGMENT)
    acknowledgements = max(1, math.ceil(segments / 2))
    # The PUBACK rides on an acknowledgement; ours of the PUBACK is one segment more.
    return size + _PUBACK + _HEADERS * (segments + acknowledgements + 1)


def ping_bytes(*, is_tls: bool) -> int:
    """Bytes on the wire of PINGREQ and PINGRESP."""
    return 2 * (2 + _HEADERS + (_TLS_RECORD if is_tls else 0)) + _HEADERS


def connect_bytes(*, is_tls: bool) -> int:
    """Bytes on the wire of a new connection and its end."""
    return 8 * _HEADERS + _MQTT_OPEN + (_TLS_OPEN + 6 * _HEADERS if is_tls else 0)


@dataclass(frozen=True, slots=True)
class _Month:
    name: str  # such as "2026-11"
    begin_s: float  # Unix seconds
    end_s: float


def _month(now_s: float, utc_offset_h: float) -> _Month:
    offset = timedelta(hours=utc_offset_h)
    local = datetime.fromtimestamp(now_s, UTC) + offset
    begin = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (begin + timedelta(days=32)).replace(day=1)
    return _Month(f"{begin:%Y-%m}", (begin - offset).timestamp(), (end - offset).timestamp())


class Budget:
    """Bytes of one calendar month in local time. `limit` 0: only counts."""

    def __init__(
        self,
        limit: int,
        utc_offset_h: float,
        now_s: float,
        state: dict[str, Any] | None = None,
        keep: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._limit = limit
        self._offset_h = utc_offset_h
        self._keep = keep
        self._month = _month(now_s, utc_offset_h)
        self._kept = 0
        self.used = 0
        self.thinned = 0  # live readings that were put off
        self._before = (str((state or {}).get("month")), int((state or {}).get("used", 0)))
        if self._before[0] == self._month.name:
            self.used = self._kept = self._before[1]

    @property
    def is_limited(self) -> bool:
        """Whether there is a budget."""
        return self._limit > 0

    def note(self, size: int, now_s: float) -> None:
        """These bytes went over the wire."""
        self._turn(now_s)
        self.used += size
        if self.used > self._kept:
            self._save(self.used + min(_AHEAD, self._limit // 1000 or _AHEAD))

    def save(self) -> None:
        """Keep the exact count, at an orderly end."""
        self._save(self.used)

    def _save(self, used: int) -> None:
        self._kept = used
        if self._keep is not None and self._month.begin_s >= _PLAUSIBLE_S:
            self._keep({"month": self._month.name, "used": used})

    def _turn(self, now_s: float) -> None:
        if self._month.begin_s - 2 * _DAY_S <= now_s < self._month.end_s:
            return
        month = _month(now_s, self._offset_h)
        was_set = self._month.begin_s >= _PLAUSIBLE_S
        if month.begin_s > self._month.begin_s and was_set:
            self.used = 0
        elif month.name == self._before[0] and not was_set:
            self.used += self._before[1]  # the clock was not set when we started
        # A clock that goes back gives no new budget.
        self._month = month
        self._save(self.used)

    def left(self, now_s: float) -> int:
        """Bytes left of this month's budget; 0 without one."""
        self._turn(now_s)
        return max(0, self._limit - self.used)

    def slack_days(self, now_s: float) -> float:
        """How far use lies below the line, in days of budget; infinite without a budget."""
        if not self._limit:
            return math.inf
        self._turn(now_s)
        month = self._month
        length = month.end_s - month.begin_s
        elapsed = min(max(now_s - month.begin_s, 0.0), length)
        day = self._limit * _DAY_S / length
        return (self._limit * elapsed / length - self.used) / day + 1

    def allows_history(self, now_s: float) -> bool:
        """Whether what waited may go."""
        return self.slack_days(now_s) >= _FULL_SLACK and self.allows_live(now_s)

    def allows_live(self, now_s: float) -> bool:
        """Whether live readings may go at all."""
        return not self._limit or self.left(now_s) > _ALARM_SHARE * self._limit

    def linger_s(self, now_s: float) -> float:
        """How long live readings wait for company now."""
        slack = self.slack_days(now_s)
        if slack >= _FULL_SLACK:
            return 0.0
        short = 1 - max(slack, 0.0) / _FULL_SLACK
        return _LINGER_S_MAX * short * short

    def is_thinned(self, now_s: float) -> bool:
        """Whether only the newest reading of each stream goes."""
        return self.slack_days(now_s) < 0

    def health_s(self, wanted_s: float, size: int) -> float:
        """How often a health record of `size` bytes may go."""
        return max(wanted_s, self._period_s(size, _HEALTH_SHARE))

    def keepalive_s(self, wanted_s: int, *, is_tls: bool) -> int:
        """How often the link may be probed, at most every twenty minutes."""
        least = self._period_s(ping_bytes(is_tls=is_tls), _PING_SHARE)
        return max(wanted_s, min(math.ceil(least), 1200))

    def _period_s(self, size: int, share: float) -> float:
        return size * MONTH_DAYS * _DAY_S / (share * self._limit) if self._limit else 0.0


class Bucket:
    """At most `rate` bytes a second over two seconds; 0: no limit. Alarms only take from it."""

    def __init__(self, rate: int, now_s: float) -> None:
        self._rate = rate
        self._level = self._room = 2.0 * rate
        self._at_s = now_s

    def wait_s(self, size: int, now_s: float) -> float:
        """How long a message of `size` bytes must wait before it may go."""
        if not self._rate:
            return 0.0
        self._fill(now_s)
        needed = min(size, self._room)  # one that is larger goes when the bucket is full
        missing = needed - self._level
        return missing / self._rate if missing > 0.01 else 0.0  # not for ever for a rounding

    def take(self, size: int, now_s: float) -> None:
        """These bytes go now."""
        if self._rate:
            self._fill(now_s)
            self._level -= size

    def _fill(self, now_s: float) -> None:
        self._level = min(self._room, self._level + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
