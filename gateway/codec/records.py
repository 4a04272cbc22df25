"""What goes into a batch and comes out of it: `Record` and `Batch`."""

from dataclasses import dataclass, field

from gateway.codec.catalogue import TIME_SOURCES as TIME_SOURCES
from gateway.codec.catalogue import Catalogue

QUALITY_GOOD = 1  # QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing; 0..15 are carried


@dataclass(frozen=True, slots=True)
class Record:
    """One row of one stream at one time."""

    device: int  # index into Catalogue.devices
    sequence: int | None  # the device's own counter, 0..2**40; None: it has none
    time_ms: int  # unix milliseconds; whole seconds cost much less
    values: tuple[int | None, ...]  # scaled integers, one per channel; None: absent
    quality: int = QUALITY_GOOD  # 0..15
    time_source: str = "gnss"  # one of TIME_SOURCES


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as sent or received."""

    number: int  # 0..31, counts up and wraps
    catalogue: Catalogue
    records: tuple[Record, ...]  # grouped by device in catalogue order, rows in the order given
    data: bytes = field(repr=False)
    state: object = field(repr=False, compare=False, default=None)  # for a later reference

    @property
    def check(self) -> int:
        """The batch's own checksum."""
        return int.from_bytes(self.data[-4:], "big")
