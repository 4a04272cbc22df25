"""Section [open311]: the city's complaint system, by GeoReport v2."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.config import setting

GROUPS = ("power", "sensor", "radio", "siren", "gnss", "device", "gateway")
PLAIN, FIXMYSTREET = "plain", "fixmystreet"


def url_check(value: str) -> str:
    """What is wrong with the server's address, or ""."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if not host or parts.scheme not in ("http", "https"):
        return "is not a URL such as https://pro.example/open311/v2"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "has a name, a password, a query or a fragment; the key goes into api_key_file"
    if parts.scheme == "http" and not _is_here(host):
        return "would send the api_key in the clear; only https, or http to this machine"
    return ""


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """[[open311.service]]: the service code of one group of faults."""

    group: str = setting(choices=GROUPS, doc="kind of fault")
    code: str = setting(doc="service_code at the server; see GET services")


@dataclass(frozen=True, kw_only=True)
class Open311Settings:
    """Section [open311]."""

    url: str = setting(
        doc="where GeoReport v2 begins, such as https://pro.example/open311/v2", check=url_check
    )
    api_key_file: str = setting("", doc="file with the api_key; relative to the configuration")
    jurisdiction_id: str = setting("", doc="jurisdiction_id, where the server wants one")
    format: str = setting("xml", choices=("xml", "json"), doc="what the server is asked for")
    dialect: str = setting(
        PLAIN,
        choices=(PLAIN, FIXMYSTREET),
        doc="fixmystreet: tickets are closed by service request updates; plain has no such thing",
    )
    service_code: str = setting(doc="service_code of faults that have none of their own")
    service: tuple[ServiceSettings, ...] = setting((), doc="service codes by kind of fault")
    attributes: tuple[str, ...] = setting(
        (), doc='values for attributes that the service demands, "CODE=VALUE"'
    )
    email: str = setting("", doc="who reports: e-mail")
    first_name: str = setting("", doc="who reports: first name")
    last_name: str = setting("", doc="who reports: last name")
    phone: str = setting("", doc="who reports: telephone")
    address: str = setting("", doc="address_string of devices that have no place")
    min_level: int = setting(1, low=1, high=3, doc="faults below this level make no ticket")
    settle_s: int = setting(
        0, low=0, high=86_400, unit="s", doc="a fault that is over sooner makes no ticket"
    )
    timeout_s: float = setting(20.0, low=0.1, high=120, unit="s", doc="patience with the server")
    retry_s: float = setting(
        30.0, low=0.01, high=3600, unit="s", doc="first pause after a failure; it doubles"
    )
    retry_max_s: float = setting(
        3600.0, low=0.01, high=86_400, unit="s", doc="longest pause after failures"
    )
    look_s: float = setting(
        21_600.0,
        low=1,
        high=604_800,
        unit="s",
        doc="how often open tickets are looked up: staff may have closed one",
    )

    def __post_init__(self) -> None:
        for one in self.attributes:
            code, _, value = one.partition("=")
            if not code or not value:
                raise ValueError(f'attributes: "{one}" is not "CODE=VALUE"')

    def code_of(self, group: str) -> str:
        """The service_code of a group of faults."""
        return next((one.code for one in self.service if one.group == group), self.service_code)
