"""What goes into a batch and comes out of it: `Record` and `Batch`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.codec.catalogue import TIME_SOURCES as TIME_SOURCES
from gateway.codec.catalogue import Catalogue

LIMIT = 1 << 63  # of values (either way), times and sequence numbers
QUALITY_GOOD = 1  # QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing; 0..15 are carried


@dataclass(frozen=True, slots=True)
class Record:
    """One row of one stream at one time."""

    device: int  # index into Catalogue.devices
    sequence: int | None  # the device's own counter, 0..2**63-1; None: it has none
    time_ms: int  # unix milliseconds; whole seconds cost much less
    values: tuple[int | None, ...]  # scaled integers, one per channel; None: absent
    quality: int = QUALITY_GOOD  # 0..15
    time_source: str = "gnss"  # one of TIME_SOURCES


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as sent or received."""

    number: int  # 0..7, counts up and wraps
    catalogue: Catalogue
    records: tuple[Record, ...]  # grouped by device in catalogue order, rows in the order given
    data: bytes = field(repr=False)
    state: object = field(repr=False, compare=False, default=None)  # for a later reference

    @property
    def check(self) -> int:
        """The batch's own checksum."""
        return int.from_bytes(self.data[-4:], "big")


def record(
    index: int, sequence: int | None, time_ms: int, values: Sequence[int | None], meta: int
) -> Record:
    """A record from decoded numbers. Raises ValueError for what no encoder writes."""
    if not 0 <= time_ms < LIMIT or (sequence is not None and not 0 <= sequence < LIMIT):
        raise ValueError(f"time {time_ms} or sequence {sequence}")
    for value in values:
        if value is not None and not -LIMIT < value < LIMIT:
            raise ValueError(f"value {value}")
    if meta >> 3 > 15 or meta & 7 >= len(TIME_SOURCES):
        raise ValueError(f"quality and time source {meta}")
    return Record(index, sequence, time_ms, tuple(values), meta >> 3, TIME_SOURCES[meta & 7])
