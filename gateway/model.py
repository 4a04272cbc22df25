"""What the parts of the gateway say to each other: `Reading`, `Alarm`, `Health`.

The path of one reading: a `Source` makes `Reading`s and awaits `accept(readings)`, which returns
when they are on disk (fsynced); rules look at what was accepted and make `Alarm`s, durable before
they are published; a `Sink` takes from the ledger and marks as delivered only what was confirmed.

Values are integers scaled into the unit that their name ends with (`level_mm`, `rain_um`,
`battery_mv`, `temp_cdeg`, `lat_udeg`), so nothing is rounded between the sensor and the city.
A name without a unit is a count, a flag or a code (`tips`, `stage`, `faults`).
A missing value has no key; it is never zero.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

# How the wall time of a reading is known, best first. "estimated" is worked out from a counter
# and the time of reception; "unknown" means that the gateway had no clock either.
TIME_SOURCES: tuple[str, ...] = ("gnss", "network", "ntp", "estimated", "unknown")

# How a reading came: as the newest, inside a later frame, or because we asked for it.
LIVE, HISTORY, BACKFILL = "live", "history", "backfill"
ORIGINS: tuple[str, ...] = (LIVE, HISTORY, BACKFILL)

# QARTOD flags. They travel beside the value and never gate an alarm.
GOOD, NOT_EVALUATED, SUSPECT, FAIL, MISSING = 1, 2, 3, 4, 9
QUALITIES = (GOOD, NOT_EVALUATED, SUSPECT, FAIL, MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How well the frame that carried a reading was heard."""

    rssi_dbm: int
    snr_cb: int  # centibel, 0.1 dB
    data_rate: int
    gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One sample of one stream of one device. Its identity is (device, stream, sequence)."""

    device: str  # the name from the configuration
    stream: str  # "flood", "track", "status", or a Modbus profile's name
    sequence: int  # 0..2**63-1, grows by one a sample over restarts: a hole is a lost sample
    time_ms: int  # of the sample, Unix milliseconds
    time_source: str  # one of TIME_SOURCES
    values: Mapping[str, int]
    received_ms: int  # by this gateway, Unix milliseconds
    quality: int = NOT_EVALUATED  # one of QUALITIES
    origin: str = LIVE  # one of ORIGINS
    link: Link | None = None

    @property
    def identity(self) -> tuple[str, str, int]:
        """What makes two copies the same reading."""
        return self.device, self.stream, self.sequence


RAISED, ESCALATED, LOWERED, CLEARED = "raised", "escalated", "lowered", "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A change that a person should hear of. One `incident` runs from raised to cleared."""

    incident: str  # stable from raised to cleared, such as "kumbasari-1/stage/1789459200000"
    device: str
    kind: str  # "stage", or the named cause of a fault
    event: str  # raised, escalated, lowered, cleared
    level: int  # 0 (nothing) .. 3 (worst): Normal, Waspada, Siaga, Awas
    name: str  # the level's name in the site's scheme
    time_ms: int  # of the sample that decided
    decided_ms: int  # when the rule decided, Unix milliseconds
    sequence: int  # of that sample
    values: Mapping[str, int]
    text_id: str
    text_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something is degraded and somebody should know: a stable code, and what to do."""

    code: str  # stable, dotted, such as "ledger.disk_full"
    subject: str  # the device, bus or part
    detail: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHealth:
    """One supervised part of the agent."""

    name: str
    state: str  # starting, running, waiting (back-off), stopped
    restarts: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of the whole agent, as published and as shown by `tukad gateway status`."""

    site: str
    time_ms: int
    version: str
    uptime_s: int
    parts: Sequence[PartHealth]
    faults: Sequence[Fault]
    audit_head: str = ""  # hash of the newest entry of the audit log: who keeps it can prove a cut
    counters: Mapping[str, int] = field(default_factory=dict[str, int])


# Returns when the readings are durable; raises LedgerFullError when they could not be made so.
Accept = Callable[[Sequence[Reading]], Awaitable[None]]


class Source(Protocol):
    """Where readings come from. `run` ends only by cancellation or by an error."""

    @property
    def name(self) -> str:
        """A short unique name for logs and metrics."""
        ...

    async def run(self, accept: Accept) -> None:
        """Make readings until cancelled. Confirm nothing upstream before `accept` returned."""
        ...


class Sink(Protocol):
    """Where readings go to. `run` ends only by cancellation or by an error."""

    @property
    def name(self) -> str:
        """A short unique name: the key of its delivery state in the ledger, so keep it stable."""
        ...

    async def run(self) -> None:
        """Deliver until cancelled. Mark as delivered only what the other side confirmed."""
        ...

    async def drain(self, timeout_s: float) -> bool:
        """Deliver what is waiting for at most timeout_s seconds; True when nothing is left."""
        ...
