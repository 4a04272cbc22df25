"""`time` on the simulator's clock; ticks wrap at 2**30 as on a 32-bit chip."""

import simwire
import utime

_MASK = (1 << 30) - 1
_HALF = 1 << 29
_READ_US = 5  # a tick read and the loop around it, measured on an RP2040 at 125 MHz

ticks_offset_us = 0  # where the counter started, from the scenario
clock_offset_us = 0  # what `time()` adds to the board's running time


def ticks_us():
    """Microseconds since some moment, modulo 2**30."""
    simwire.spend(_READ_US)
    return (simwire.now_us() + ticks_offset_us) & _MASK


def ticks_ms():
    """Milliseconds since some moment, modulo 2**30."""
    simwire.spend(_READ_US)
    return ((simwire.now_us() + ticks_offset_us) // 1000) & _MASK


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    """`ticks + delta`, modulo 2**30; raises OverflowError when `delta` is half a period or more."""
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return (ticks + delta) & _MASK


def ticks_diff(end, start):
    """`end - start` as a signed number, -2**29..2**29 - 1."""
    return ((end - start + _HALF) & _MASK) - _HALF


def sleep_us(us):
    """Wait; handlers run meanwhile."""
    if us > 0:
        simwire.wait(us, 0)


def sleep_ms(ms):
    """Wait; handlers run meanwhile."""
    if ms > 0:
        simwire.wait(int(ms * 1000), 0)


def sleep(seconds):
    """Wait; handlers run meanwhile."""
    if seconds > 0:
        simwire.wait(int(seconds * 1000000), 0)


def _unix_us():
    simwire.spend(_READ_US)
    return simwire.now_us() + clock_offset_us


def time():
    """Seconds since 1970, whole, by the board's own clock (set it with machine.RTC)."""
    return _unix_us() // 1000000


def time_ns():
    """Nanoseconds since 1970 by the board's own clock."""
    return _unix_us() * 1000


def gmtime(seconds=None):
    """The 8-tuple of a board port: year, month, day, hour, minute, second, weekday, yearday."""
    return utime.gmtime(time() if seconds is None else seconds)[:8]


localtime = gmtime


def mktime(fields):
    """Seconds since 1970 of an 8-tuple; the shadowed module reads it in UTC."""
    return _days(fields[0], fields[1], fields[2]) * 86400 + (
        fields[3] * 3600 + fields[4] * 60 + fields[5]
    )


def _days(year, month, day):
    if month <= 2:
        year -= 1
        month += 12
    return (
        365 * year
        + year // 4
        - year // 100
        + year // 400
        + (153 * (month - 3) + 2) // 5
        + day
        - 719469
    )
