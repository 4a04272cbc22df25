"""The reading log: `ReadingLog`, a ring of segments in flash, addressed by sequence number.

Every reading has a number that counts over resets. A segment is a file `log.NN` with up to
`per_segment` rows of `ROW` bytes; row i of a segment holds the number `first + i`, so a reading is
found by arithmetic. The oldest segment gives way when a new one is begun.

    segment head, 8 bytes: magic 0x4C47, first sequence (4), CRC-16 of those
    row, 16 bytes, big-endian:
    offset size field
    0      4    time: seconds since 2020, or of uptime when bit 0 of flags is set
    4      2    boot number, low 16 bits
    6      2    value a (level mm; 0x8000: missing), signed
    8      4    value b (rain tips; or a position's second half)
    12     1    flags: bit 0 time is uptime; the rest is the application's
    13     1    value c (spread of the burst, 0..255)
    14     2    CRC-16 of the row and its sequence number

An append that a power cut tore leaves a row that fails its CRC (or a short one). The next start
finds the end of the log by the last good row; torn bytes behind it are never readings, and their
number is taken by the reading that follows, in a fresh segment.
"""

import struct

from firmware.store.files import Files
from protocols.modbus.crc import crc16

ROW = 16
_HEAD = 8
_MAGIC = 0x4C47
MISSING = -0x8000
FLAG_UPTIME = 1


class Row:
    """One reading as stored; the object is used again by the next `read`."""

    def __init__(self) -> None:
        self.sequence = 0
        self.time_s = 0
        self.boot = 0
        self.a = 0
        self.b = 0
        self.c = 0
        self.flags = 0


class ReadingLog:
    """`append` numbers and stores; `read` finds. One instance owns the files `log.*`."""

    def __init__(self, files: Files, segments: int = 64, per_segment: int = 256) -> None:
        self._files = files
        self._segments = segments
        self._per_segment = per_segment
        self._row = bytearray(ROW + 4)  # the row and, for its CRC, the sequence behind it
        self._row_view = memoryview(self._row)[:ROW]
        self._firsts: dict[int, int] = {}  # slot -> first sequence
        self._counts: dict[int, int] = {}  # slot -> good rows
        self._slot = -1  # where the newest reading is
        self.next_sequence = 0
        self.damaged = 0  # segments with torn rows or a torn head at the start
        self._is_torn = False  # the newest segment: never append behind it
        self.row = Row()
        self._scan()

    def _scan(self) -> None:
        sizes = self._files.sizes()
        for slot in range(self._segments):
            name = _name(slot)
            size = sizes.get(name, 0)
            if not size:
                continue
            first = _first_of(self._files.read(name, 0, _HEAD))
            if first < 0:
                self.damaged += 1
                continue
            self._firsts[slot] = first
            self._counts[slot] = min((size - _HEAD) // ROW, self._per_segment)
        # In order of their numbers a segment ends where the next begins: a torn row behind the
        # good ones of an abandoned segment must not hide the reading that took its number.
        newest = -1
        for slot in sorted(self._firsts, key=self._first_key):
            if newest >= 0:
                room = self._firsts[slot] - self._firsts[newest]
                self._counts[newest] = min(self._counts[newest], room)
            newest = slot
        if newest < 0:
            return
        self._slot = newest
        count = self._counts[newest]
        self._is_torn = sizes[_name(newest)] != _HEAD + count * ROW
        while count and not self._load(newest, count - 1):
            count -= 1
            self._is_torn = True
        if self._is_torn:
            self.damaged += 1
            self._counts[newest] = count
        self.next_sequence = self._firsts[newest] + count

    def _first_key(self, slot: int) -> int:
        # An empty segment comes before a full one of the same number.
        return 2 * self._firsts[slot] + (1 if self._counts[slot] else 0)

    @property
    def first_sequence(self) -> int:
        """The oldest reading kept (or `next_sequence` when there is none)."""
        oldest = self.next_sequence
        for slot, first in self._firsts.items():
            if self._counts[slot]:
                oldest = min(oldest, first)
        return oldest

    @property
    def stored(self) -> int:
        return sum(self._counts.values())

    def append(
        self, time_s: int, boot: int, a: "int | None", b: int, c: int = 0, flags: int = 0
    ) -> int:
        """Store one reading; returns its sequence number. Durable on return.

        `a` is -32767..32767 or None, `b` 0..2**32-1, `c` 0..255. Raises OSError when the flash
        fails; the number is then not used.
        """
        if self._slot < 0 or self._is_torn or self._counts.get(self._slot, 0) >= self._per_segment:
            self._begin_segment()
        sequence = self.next_sequence
        row = self._row
        struct.pack_into(
            ">IHhIBBHI",
            row,
            0,
            time_s,
            boot & 0xFFFF,
            MISSING if a is None else max(-0x7FFF, min(0x7FFF, a)),
            b,
            flags,
            min(c, 255),
            0,
            sequence,
        )
        struct.pack_into(">H", row, 14, _row_crc(row))
        try:
            self._files.append(_name(self._slot), self._row_view)
        except OSError:
            self._is_torn = True  # nobody knows what was written: never append behind it
            raise
        self._counts[self._slot] += 1
        self.next_sequence = sequence + 1
        return sequence

    def skip(self) -> int:
        """A number for a reading that `append` could not store; it stays a gap in the log."""
        sequence = self.next_sequence
        self.next_sequence = sequence + 1
        self._is_torn = True  # rows are found by their number, so the next begins a segment
        return sequence

    def _begin_segment(self) -> None:
        slot = (self._slot + 1) % self._segments
        if self._is_torn and self._counts.get(self._slot) == 0:
            slot = self._slot  # nothing good in it: write it again
        self._firsts.pop(slot, None)
        self._counts.pop(slot, None)
        head = bytearray(_HEAD)
        struct.pack_into(">HI", head, 0, _MAGIC, self.next_sequence)
        struct.pack_into(">H", head, 6, crc16(head, 0, 6))
        self._files.write(_name(slot), head)
        self._firsts[slot] = self.next_sequence
        self._counts[slot] = 0
        self._slot = slot
        self._is_torn = False

    def read(self, sequence: int) -> "Row | None":
        """The reading, in `row`; None when it is not kept (or its row is damaged)."""
        for slot, first in self._firsts.items():
            if first <= sequence < first + self._counts[slot]:
                return self.row if self._load(slot, sequence - first) else None
        return None

    def _load(self, slot: int, index: int) -> bool:
        data = self._files.read(_name(slot), _HEAD + index * ROW, ROW)
        if data is None or len(data) < ROW:
            return False
        sequence = self._firsts[slot] + index
        row = self._row
        row[:ROW] = data
        struct.pack_into(">I", row, ROW, sequence)
        found = self.row
        found.sequence = sequence
        found.time_s, found.boot, found.a, found.b, found.flags, found.c, crc = struct.unpack(
            ">IHhIBBH", data
        )
        row[14] = row[15] = 0
        return crc == _row_crc(row)


def _row_crc(row: bytearray) -> int:
    """Of the row with a zero CRC and the sequence behind it."""
    row[14] = row[15] = 0
    return crc16(row, 0, ROW + 4)


def _name(slot: int) -> str:
    return "log.%02d" % slot


def _first_of(head: "bytes | None") -> int:
    if head is None or len(head) < _HEAD:
        return -1
    magic, first, crc = struct.unpack(">HIH", head)
    if magic != _MAGIC or crc != crc16(head, 0, 6):
        return -1
    return first
