"""The gateway's own clock: `now_ms`, `tick_ms`, and how far it can be trusted, `time_source`.

A Raspberry Pi has no clock of its own: until NTP answers, its wall time is what it was when it
went down. The kernel knows whether a time service disciplines the clock (STA_UNSYNC), so it is
asked instead of guessing.
"""

import ctypes
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

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


def boot_id() -> str:
    """Tells one start of the machine from another; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_disciplined() -> bool:
    try:
        timex = _Timex()
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
            return False
        return not timex.status & _STA_UNSYNC
    except (OSError, AttributeError):
        return False


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall clock was set: what it would have shown, and by how much it moved (ms)."""

    old_ms: int
    step_ms: int


class WallClock:
    """Wall time with its source, and the jumps it made against the monotonic clock."""

    def __init__(self) -> None:
        self._asked = -_ASK_S
        self._source = "unknown"
        self.offset_ns = time.time_ns() - time.monotonic_ns()  # of the wall to the monotonic clock
        self.steps = 0
        self.jumps: deque[Jump] = deque(maxlen=100)  # to be taken by whoever corrects times

    def time_source(self) -> str:
        """ "ntp" while a time service disciplines the clock, else "estimated" or "unknown".

        Also notes a jump: nothing that is labelled after one carries a time from before it.
        """
        now = time.monotonic()
        if self._note_jump() or now - self._asked >= _ASK_S:
            self._asked = now
            is_plausible = now_ms() > _PLAUSIBLE_MS
            self._source = (
                "unknown" if not is_plausible else "ntp" if _is_disciplined() else "estimated"
            )
        return self._source

    def _note_jump(self) -> bool:
        """A jump is half a second and more; less is a time service at its work."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        moved_ms = (offset_ns - self.offset_ns) // 1_000_000
        self.offset_ns = offset_ns
        if abs(moved_ms) < 500:
            return False
        self.steps += 1
        self.jumps.append(Jump(now_ms() - moved_ms, moved_ms))
        return True
