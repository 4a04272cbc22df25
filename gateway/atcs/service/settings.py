# ruff: noqa: RUF009  `setting` returns a dataclass field, which is what a default may be
"""[[junction]]: one signal controller of this gateway."""

from dataclasses import dataclass
from pathlib import Path

from gateway.config import address_check, name_check, setting

AGENT, SERVICE = "agent", "service"


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """[[junction.neighbour]]: a junction that is told of our departures by UDP."""

    name: str = setting(doc="its id", check=name_check)
    address: str = setting(doc="host:port of its UDP socket", check=address_check)


@dataclass(frozen=True, kw_only=True)
class SnmpSettings:
    """[junction.snmp]: NTCIP 1202 objects for a central."""

    bind: str = setting("127.0.0.1:1161", doc="UDP host:port", check=address_check)
    community_file: Path | None = setting(None, doc="SNMPv2c community that may read, mode 0600")
    write_community_file: Path | None = setting(None, doc="SNMPv2c community that may also set")
    user: str = setting("", doc="SNMPv3 user (SHA-256, AES-128)")
    auth_file: Path | None = setting(None, doc="its authentication password, 8 characters or more")
    privacy_file: Path | None = setting(None, doc="its privacy password, 8 characters or more")
    user_may_set: bool = setting(False, doc="the user may set patterns and call for flash")


@dataclass(frozen=True, kw_only=True)
class JunctionSettings:
    """[[junction]]: a plan, its cabinet, and who may know and ask."""

    name: str = setting(doc="the junction's id, as in its plan", check=name_check)
    plan: Path = setting(doc="plan file", cure="check it: tukad atcs check PLAN")
    cabinet: Path | None = setting(None, doc="cabinet file; absent: no outputs, a dry run")
    run: str = setting(
        AGENT, doc="who runs the process: the agent, or a unit of systemd", choices=(AGENT, SERVICE)
    )
    device: int = setting(1, low=1, high=65535, doc="DeviceId in the high-resolution log")
    log_days: int = setting(30, low=1, high=3660, doc="days of the log that are kept")
    priority_key_file: Path | None = setting(
        None, doc="key of signed priority requests over MQTT; absent: none are taken"
    )
    trust_fleet: bool = setting(True, doc="take arrivals that this agent's own fleet act works out")
    udp: str = setting("", doc="host:port for neighbours' departures; empty: none",
                       check=lambda v: "" if v == "" else address_check(v))  # fmt: skip
    key_file: Path | None = setting(None, doc="key shared with the neighbours")
    neighbour: tuple[Neighbour, ...] = setting((), doc="who is told of our departures")
    snmp: SnmpSettings | None = setting(None, doc="NTCIP 1202 by SNMP")

    def __post_init__(self) -> None:
        if (self.udp or self.neighbour) and self.key_file is None:
            raise ValueError(f'junction "{self.name}": udp and neighbour need key_file')
