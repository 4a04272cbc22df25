"""Millisecond ticks that wrap: `PERIOD_MS`, `ticks_add` and `ticks_diff`.

MicroPython's `time.ticks_ms` wraps at 2**30 ms (12.4 days) on a 32-bit chip and hardly ever on
the unix port. Every protocol object takes such ticks as `now_ms` and compares two of them by
`ticks_diff` alone, so the same object is right on both. Deadlines reach at most half a period,
6.2 days, ahead.
"""

PERIOD_MS = 1 << 30
_HALF = 1 << 29
_MASK = PERIOD_MS - 1


def ticks_add(ticks_ms: int, delta_ms: int) -> int:
    """The tick `delta_ms` after `ticks_ms`; `delta_ms` is within +-2**29 - 1 ms."""
    # Half a period is taken off first: no intermediate passes 2**30 - 1, beyond which an integer
    # of a 32-bit MicroPython is allocated on the heap.
    middle = ticks_ms - _HALF + delta_ms
    return middle - _HALF if middle >= _HALF else (middle + _HALF) & _MASK


def ticks_diff(a_ms: int, b_ms: int) -> int:
    """`a_ms - b_ms` as signed milliseconds, -2**29..2**29 - 1; positive when `a_ms` is later."""
    apart = a_ms - b_ms
    if apart >= _HALF:
        return apart - _HALF - _HALF
    if apart < -_HALF:
        return apart + _HALF + _HALF
    return apart
