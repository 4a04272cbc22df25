"""Changes of the interval inside a history: `put_segments`, `get_segments` and their measures.

Readings of a history are evenly spaced, or in segments, newest first: a bit "another follows",
the spacing as an index of `intervals_s` (3 bits; 7: then 14 bits of 10 s slots), and unless
it is the last an Elias gamma code of how many steps it holds.
"""

from protocols.errors import RemoteError
from protocols.payload.bits import BitReader, BitWriter
from protocols.payload.ports import SLOT_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

_OTHER = 7
_SLOT_BITS = 14
_GAMMA_ZEROS_MAX = 9  # a frame holds at most 512 readings


def uniform_count(slots: "array[int]", newest: int, count: int, first: int) -> int:
    """How many readings before reading `first` (0: the newest) follow at one spacing.

    `slots` is a ring whose newest of `count` readings is at index `newest`. A spacing that does
    not fit 14 bits ends the history.
    """
    if first + 1 >= count:
        return 0
    spacing = _spacing(slots, newest, first)
    if spacing >= 1 << _SLOT_BITS:
        return 0
    last = first + 1
    while last + 1 < count and _spacing(slots, newest, last) == spacing:
        last += 1
    return last - first


def _spacing(slots: "array[int]", newest: int, back: int) -> int:
    return slots[newest - back] - slots[newest - back - 1]


def _index(spacing: int, intervals_s: "tuple[int, ...]") -> int:
    for index in range(len(intervals_s)):
        if intervals_s[index] == spacing * SLOT_S:
            return index
    return _OTHER


def _gamma_zeros(value: int) -> int:
    zeros = 0
    while value >> (zeros + 1):
        zeros += 1
    return zeros


def segment_bits(
    slots: "array[int]",
    newest: int,
    count: int,
    segments: int,
    intervals_s: "tuple[int, ...]",
) -> int:
    """The bits that `put_segments` will write."""
    bits = first = 0
    while segments:
        length = uniform_count(slots, newest, count, first)
        bits += 4
        if length and _index(_spacing(slots, newest, first), intervals_s) == _OTHER:
            bits += _SLOT_BITS
        segments -= 1
        if segments:
            bits += 2 * _gamma_zeros(length) + 1
        first += length
    return bits


def put_segments(
    writer: BitWriter,
    slots: "array[int]",
    newest: int,
    count: int,
    segments: int,
    intervals_s: "tuple[int, ...]",
) -> None:
    """Write the first `segments` spacings of the ring (the shortest one if there is none)."""
    first = 0
    while segments:
        segments -= 1
        length = uniform_count(slots, newest, count, first)
        spacing = _spacing(slots, newest, first) if length else intervals_s[0] // SLOT_S
        index = _index(spacing, intervals_s)
        writer.put(1 if segments else 0, 1)
        writer.put(index, 3)
        if index == _OTHER:
            writer.put(spacing, _SLOT_BITS)
        if segments:
            zeros = _gamma_zeros(length)
            writer.put(0, zeros)
            writer.put(length, zeros + 1)
        first += length


def get_segments(reader: BitReader, intervals_s: "tuple[int, ...]") -> "list[tuple[int, int]]":
    """(steps, slots) of each segment, newest first; steps is 0, open ended, in the last.

    Raises RemoteError("length" | "value").
    """
    segments: list[tuple[int, int]] = []
    while True:
        another = reader.get(1)
        index = reader.get(3)
        slots = reader.get(_SLOT_BITS) if index == _OTHER else intervals_s[index] // SLOT_S
        if not slots:
            raise RemoteError("value", "a spacing of 0 s")
        if not another:
            segments.append((0, slots))
            return segments
        zeros = 0
        while not reader.get(1):
            zeros += 1
            if zeros > _GAMMA_ZEROS_MAX:
                raise RemoteError("value", "a segment of more than 1,023 readings")
        segments.append((1 << zeros | reader.get(zeros), slots))


def reading_times(
    time_s: int, count: int, segments: "list[tuple[int, int]]", interval_s: int
) -> "list[int]":
    """The times of the newest and of `count` older readings; no segments mean even spacing."""
    times = [time_s]
    for steps, slots in segments or [(0, interval_s // SLOT_S)]:
        while len(times) <= count:
            time_s -= slots * SLOT_S
            times.append(time_s)
            if steps:
                steps -= 1
                if not steps:
                    break
    return times
