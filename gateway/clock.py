"""The gateway's own clock: `now_ms`, `tick_ms`, and how far it can be trusted, `time_source`.

A Raspberry Pi has no clock of its own: until NTP answers, its wall time is what it was when it
went down. The kernel knows whether a time service disciplines the clock (STA_UNSYNC), so it is
asked instead of guessing.
"""

import ctypes
import time

_STA_UNSYNC = 0x0040
_PLAUSIBLE_MS = 1_735_689_600_000  # 2025-01-01: before this program was written
_ASK_S = 10.0


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    ]


def now_ms() -> int:
    """Unix milliseconds of the system clock."""
    return time.time_ns() // 1_000_000


def tick_ms() -> int:
    """Monotonic milliseconds: for durations, never for labels."""
    return time.monotonic_ns() // 1_000_000


def _is_disciplined() -> bool:
    try:
        timex = _Timex()
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
            return False
        return not timex.status & _STA_UNSYNC
    except (OSError, AttributeError):
        return False


class WallClock:
    """Wall time with its source, and the steps it made against the monotonic clock."""

    def __init__(self) -> None:
        self._asked = -_ASK_S
        self._source = "unknown"
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self.steps = 0

    def time_source(self) -> str:
        """ "ntp" while a time service disciplines the clock, else "estimated" or "unknown"."""
        now = time.monotonic()
        if now - self._asked >= _ASK_S:
            self._asked = now
            is_plausible = now_ms() > _PLAUSIBLE_MS
            self._source = (
                "unknown" if not is_plausible else "ntp" if _is_disciplined() else "estimated"
            )
        return self._source

    def step_ms(self) -> int:
        """How far the wall clock jumped since the last call, 0 for less than half a second."""
        offset = time.time_ns() - time.monotonic_ns()
        moved = (offset - self._offset_ns) // 1_000_000
        self._offset_ns = offset
        if abs(moved) < 500:
            return 0
        self.steps += 1
        return moved
