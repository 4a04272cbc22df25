"""What the network server remembers of a device: `DeviceRecord`, `Session`, `MacState`, `Queued`.

All are frozen: a change makes a new record, is written, and only then takes effect in memory, so
a write that fails leaves the server as it was.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.lorawan.keys import Key


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """One registered device: the `device` table."""

    dev_eui: str
    name: str
    join_eui: str
    app_key: Key | None  # None for ABP
    activation: str = "otaa"
    device_class: str = "A"
    dev_nonce_rule: str = "counter"
    kind: str = ""
    decoder: str = ""
    codec: str = ""
    origin: str = "cli"  # cli | config
    added_ms: int = 0
    dev_nonce: int = -1  # the last one accepted
    join_nonce: int = 1  # the next one to use, 24 bits, never repeated; 0 is "none yet"


@dataclass(frozen=True, slots=True)
class MacState:
    """What the device is known to have set: from the join accept and its own answers.

    `dr`, `power_index` and `nb_trans` follow its LinkADRAns; an index of -1 is not known yet.
    """

    rx1_delay_s: int = 1
    rx1_dr_offset: int = 0
    rx2_dr: int = 0
    rx2_freq_hz: int = 0
    uplink_dwell: bool = False
    downlink_dwell: bool = False
    eirp_index: int = -1
    channels_hz: tuple[int, ...] = ()  # by channel index; 0: none
    power_index: int = 0
    nb_trans: int = 1
    adr: bool = False  # the device leaves its rate to us
    dr: int = -1  # of the last uplink
    history: tuple[tuple[int, int], ...] = ()  # (f_cnt, SNR in 0.1 dB) at this rate, newest last
    # (command id, times asked in vain, f_cnt_up of the last time): see `commands.py`
    attempts: tuple[tuple[int, int, int], ...] = ()
    status_asked_ms: int = 0
    battery: int = -1  # 0 mains, 1..254, 255 unknown; -1 never told
    margin_db: int = -128  # at the device, -32..31; -128 never told
    adr_target: tuple[int, int, int] = (-1, -1, -1)  # (dr, power_index, nb_trans) last asked for

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values (`asdict` copies deeply and took a sixth of an uplink's time)."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "MacState":
        """Back from `to_json`; fields of another version are dropped, missing ones default."""
        known = {name: value[name] for name in cls.__slots__ if name in value}
        for name in ("channels_hz", "adr_target"):
            if name in known:
                known[name] = tuple(known[name])
        for name in ("history", "attempts"):
            if name in known:
                known[name] = tuple(tuple(item) for item in known[name])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Session:
    """One join (or ABP activation) of one device: the `session` table."""

    dev_eui: str
    number: int  # counts the joins
    dev_addr: int
    nwk_s_key: Key
    app_s_key: Key
    f_cnt_up: int = -1  # the last one accepted
    f_cnt_down: int = 0  # the next one to use
    last_mic: bytes = b""  # of the frame f_cnt_up: tells a repetition from a forgery or a reset
    repeats: int = 0  # of that frame
    joined_ms: int = 0
    seen_ms: int = 0
    gateway: str = ""  # that heard it best last: where class C downlinks leave
    mac: MacState = field(default_factory=MacState)


@dataclass(frozen=True, slots=True)
class Queued:
    """One downlink of the application: the `downlink` table."""

    id: int
    dev_eui: str
    f_port: int
    data: bytes
    confirmed: bool
    expires_ms: int  # Unix milliseconds
    tries: int = 0
    f_cnt: int = -1  # of its last transmission, while an answer is awaited
    sent_ms: int = 0  # Unix time of that


@dataclass(frozen=True, slots=True)
class LoggedFrame:
    """One line of the frame log: the `frame` table. Holds no payload and no key."""

    time_ms: int
    direction: str  # up | down
    dev_eui: str
    what: str  # join, data, repeat, accept, answer, class_c, ...
    f_cnt: int = -1
    f_port: int = -1
    size: int = 0
    dr: int = -1
    sf: int = 0
    freq_hz: int = 0
    rssi_dbm: float = 0.0
    snr_db: float = 0.0
    gateway: str = ""
    gateways: int = 0
    detail: str = ""
