"""What crosses the network server's upper edge: `Uplink`, `DownlinkReport`, `GatewayStatus`.

All are frozen and hold no keys, so they may be logged and stored.
"""

from dataclasses import dataclass

DOWNLINK_STATES = ("sent", "acked", "not_acked", "expired", "refused")
"""`sent` left the gateway's antenna (final for an unconfirmed one); `acked`, `not_acked` (all tries
used up), `expired` and `refused` (queue full, too long for the region) are final."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """One application frame, checked, decrypted and delivered once.

    After a crash of the agent the same frame may be handed over again with `again` true: the
    receiver tells it by `(dev_eui, session, f_cnt)` or, better, by the sequence number inside.
    """

    dev_eui: str  # 16 hex digits
    device: str  # the device's name
    f_port: int  # 1..223 application, 0 is never handed over
    f_cnt: int  # 32 bits
    payload: bytes
    confirmed: bool  # the device waits for an acknowledgement
    rssi_dbm: float  # best gateway's
    snr_db: float
    dr: int  # data-rate index in the region, -1 if unknown
    freq_hz: int
    gateways: tuple[str, ...]  # EUIs of all gateways that heard it, best first
    received_ms: int  # Unix time of reception, milliseconds
    session: int = 0  # number of the join (counts up; 0 for ABP and ChirpStack)
    again: bool = False
    kind: str = ""  # the device's `kind`, `decoder` and `codec` settings, carried along
    decoder: str = ""
    codec: str = ""


@dataclass(frozen=True, slots=True)
class DownlinkReport:
    """What became of a queued downlink."""

    id: int  # as `queue_downlink` returned it
    device: str
    state: str  # one of DOWNLINK_STATES
    detail: str = ""
    time_ms: int = 0  # Unix time, milliseconds


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """One radio gateway (concentrator) as the network server sees it now."""

    gateway: str  # EUI
    front: str  # udp | station
    is_online: bool
    seen_ms: int  # Unix time of its last datagram
    frames_up: int
    frames_down: int
    tx_errors: int
    duty_used_percent: float  # of the budget of the last hour, 0..100


@dataclass(frozen=True, slots=True)
class LorawanStatus:
    """Health of the network server; the counters' names are stable (metric labels)."""

    server: str  # embedded | chirpstack
    is_up: bool
    gateways: tuple[GatewayStatus, ...]
    counters: dict[str, int]
    devices: int
    undelivered: int  # accepted uplinks whose `on_uplink` has not returned yet
