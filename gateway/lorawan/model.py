"""What crosses the network server's upper edge beside `gateway.model.Uplink`: `DownlinkReport`
and `LorawanStatus`.

All are frozen and hold no keys, so they may be logged and stored.
"""

from dataclasses import dataclass

DOWNLINK_STATES = ("sent", "acked", "not_acked", "expired", "refused")
"""`sent` left the gateway's antenna (final for an unconfirmed one); `acked`, `not_acked` (all tries
used up), `expired` and `refused` (queue full, too long for the region) are final."""


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
