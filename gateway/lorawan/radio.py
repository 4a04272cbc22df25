"""What the front ends and the network server say to each other, free of any gateway protocol.

Up: `RadioFrame` (one gateway heard one frame) and `Outcome` (what became of a transmission).
Down: `Transmission`, one frame for one gateway with the windows it may use, best first.
A front end owns gateways; it gets a `Transmission` only for a gateway it has.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RadioFrame:
    """One frame as one gateway heard it."""

    gateway: str  # EUI, 16 hex digits
    phy: bytes  # PHYPayload, 1..255 bytes
    freq_hz: int
    sf: int  # 7..12, 0 for FSK
    bw_hz: int
    rssi_dbm: float
    snr_db: float
    context: object = None  # the front end's own; comes back with `Transmission.context`
    gps_ms: int | None = None  # end of reception, milliseconds of GPS time, if the gateway knows


@dataclass(frozen=True, slots=True)
class Window:
    """One chance to transmit: a delay after the end of the uplink, a channel and a rate."""

    delay_s: int  # 1..16; 0 means at once (class C)
    freq_hz: int
    dr: int
    sf: int  # 7..12, 0 for FSK
    bw_hz: int


@dataclass(frozen=True, slots=True)
class Transmission:
    """One frame for one gateway. The front end tries the windows in order until one is taken."""

    id: int
    gateway: str
    phy: bytes
    windows: tuple[Window, ...]
    power_dbm: int  # EIRP
    context: object = None  # of the uplink it answers; None for class C
    dev_eui: str = ""
    is_class_c: bool = False


SENT, FAILED = "sent", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transmission: SENT with the window's index, or FAILED with the last error.

    The errors are the forwarder's own words (TOO_LATE, COLLISION_PACKET, TX_FREQ, ...), or
    NO_ACK (it said nothing in time) or OFFLINE (no route to it).
    """

    id: int
    gateway: str
    state: str
    window: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment on both clocks, given by the shell: below it nobody reads a clock."""

    mono_ms: int  # monotonic: orders and times out
    unix_ms: int  # wall clock: labels only
