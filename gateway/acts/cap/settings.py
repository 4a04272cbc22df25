# ruff: noqa: RUF009  `setting` returns a dataclass field, which is what a default may be
"""Section [cap]: who sends CAP alerts, for which places, to whom."""

import ipaddress
import math
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import address_check, name_check, setting

TOPICS = ("flood", "rescue", "road", "system")
STATUSES = ("Actual", "Exercise", "Test")
_FORBIDDEN = re.compile(r"[\s,<&]")  # CAP 1.2, 3.2.1: not in sender and identifier


def _sender_check(value: str) -> str:
    if value and not _FORBIDDEN.search(value):
        return ""
    return "is empty or has a space, a comma, < or &; CAP forbids them in a sender"


def _pair(text: str) -> tuple[float, float] | None:
    """ "lat,lon" in degrees, if it is on the globe."""
    try:
        lat, lon = (float(word) for word in text.split(","))
    except ValueError:
        return None
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None


def _polygon_check(value: str) -> str:
    points = [_pair(word) for word in value.split()]
    if None in points:
        return 'has a point that is not "latitude,longitude" in degrees'
    if len(points) < 4 or points[0] != points[-1]:
        return "is not closed: at least four points, the last one the same as the first"
    return ""


def _circle_check(value: str) -> str:
    words = value.split()
    try:
        radius_km = float(words[1])
    except (IndexError, ValueError):
        radius_km = math.nan
    if len(words) != 2 or _pair(words[0]) is None or not 0 <= radius_km <= 1000:
        return 'is not "latitude,longitude radius" in degrees and km'
    return ""


def _geocode_check(value: str) -> str:
    name, _, code = value.partition("=")
    return "" if name.strip() and code.strip() else 'is not "NAME=VALUE"'


def _url_check(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if not host or parts.scheme not in ("http", "https"):
        return "is not a URL such as https://112.example/cap"
    if parts.username or parts.password or parts.fragment:
        return "has a name, a password or a fragment; secrets go into a file"
    if parts.scheme == "http" and not _is_loopback(host):
        return "sends secrets and alerts in the clear; only https, or http to this machine"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_check(value: str) -> str:
    is_good = not value or (value.startswith(("http://", "https://")) and " " not in value)
    return "" if is_good else "is not a URL such as https://alerts.example/cap"


@dataclass(frozen=True, kw_only=True)
class Area:
    """Where an alert holds: `area` of [cap] or of a gauge."""

    description: str = setting(doc="name of the area as people there say it, in Indonesian")
    description_en: str = setting("", doc="the same in English; the Indonesian one if empty")
    polygon: tuple[str, ...] = setting(
        (), doc='"lat,lon lat,lon ...", closed, degrees', check=_polygon_check
    )
    circle: tuple[str, ...] = setting((), doc='"lat,lon radius_km"', check=_circle_check)
    geocode: tuple[str, ...] = setting(
        (), doc='codes of the area, such as "KEMENDAGRI=51.71.01"', check=_geocode_check
    )


@dataclass(frozen=True, kw_only=True)
class GaugeSettings:
    """[[cap.gauge]]: what a device stands for."""

    name: str = setting(doc="name of the device or sensor", check=name_check)
    place: str = setting("", doc="its place in headlines; the name if empty")
    river: str = setting("", doc="gauges of one river share one incident; the place if empty")
    area: Area | None = setting(None, doc="where its alerts hold; [cap.area] if left out")


@dataclass(frozen=True, kw_only=True)
class ReceiverSettings:
    """[[cap.receiver]]: somebody who gets every alert by HTTP POST."""

    name: str = setting(doc="short name, used in acknowledgements", check=name_check)
    url: str = setting(doc="where alerts are posted", check=_url_check)
    person: str = setting("", doc="whom to call when it does not answer: duty and telephone")
    wants: tuple[str, ...] = setting(TOPICS, choices=TOPICS, doc="which alerts")
    format: str = setting(
        "json", choices=("json", "cap"), doc="JSON with the CAP inside, or the CAP alone"
    )
    bearer_file: Path | None = setting(None, doc="token for Authorization: Bearer")
    hmac_file: Path | None = setting(None, doc="secret for X-Tukad-Signature (HMAC-SHA256)")
    ca_file: Path | None = setting(None, doc="authority of its certificate; else the system's")
    timeout_s: float = setting(10.0, low=0.05, high=120, unit="s", doc="longest wait for an answer")
    retry_s_max: float = setting(60.0, low=0.05, high=3600, unit="s", doc="longest pause")
    ack_min: float = setting(
        0.0, low=0, high=1440, unit="min", doc="escalate without acknowledgement; 0: none expected"
    )
    next: str = setting("", doc="receiver that gets the alert then")
    reserve: bool = setting(False, doc="only gets alerts by escalation")

    def __post_init__(self) -> None:
        if self.next == self.name:
            raise ValueError(f"next = {self.next}: a receiver cannot escalate to itself")
        if self.next and not self.ack_min:
            raise ValueError(f"next = {self.next} without ack_min: nothing would ever escalate")


@dataclass(frozen=True, kw_only=True)
class CapSettings:
    """Section [cap]."""

    sender: str = setting(
        doc="who answers for the alerts, such as pusdalops@bpbd.example",
        check=_sender_check,
    )
    sender_name: str = setting("", doc="the same, for people")
    contact: str = setting("112", doc="whom people call")
    web: str = setting("", doc="a page with more", check=_base_check)
    key_file: Path = setting(Path("cap.key"), doc="signing key; tukad gateway cap-key makes it")
    cert_file: Path | None = setting(None, doc="its certificate; the key's name with .crt if unset")
    status: str = setting(
        "Actual", choices=STATUSES, doc="Exercise or Test while the site is set up"
    )
    expires_min: float = setting(
        60.0, low=5, high=1440, unit="min", doc="an alert holds so long, then it is issued again"
    )
    reissue_min: float = setting(
        10.0, low=0.5, high=720, unit="min", doc="so long before it expires, while the stage lasts"
    )
    late_min: float = setting(
        15.0, low=1, high=1440, unit="min", doc="an alarm older than this waits for what came after"
    )
    area: Area | None = setting(None, doc="where alerts hold without an area of their own")
    gauge: tuple[GaugeSettings, ...] = setting((), doc="what devices stand for")
    keep: int = setting(200, low=20, high=5000, doc="messages kept as files")
    bind: str = setting(
        "127.0.0.1:9471",
        doc='feed, alerts and acknowledgements over HTTP, "" for none',
        check=lambda value: "" if value == "" else address_check(value),
    )
    base_url: str = setting(
        "", doc="address of the files as the feed's readers see it", check=_base_check
    )
    receiver: tuple[ReceiverSettings, ...] = setting((), doc="who gets alerts by HTTP")

    def __post_init__(self) -> None:
        if self.reissue_min >= self.expires_min:
            raise ValueError(
                f"reissue_min = {self.reissue_min:g} is not below expires_min"
                f" = {self.expires_min:g}"
            )
        for what, names in (
            ("receiver", [one.name for one in self.receiver]),
            ("gauge", [one.name for one in self.gauge]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f'two [[cap.{what}]] tables have the name "{name}"')
        names = [one.name for one in self.receiver]
        for one in self.receiver:
            if one.next and one.next not in names:
                raise ValueError(
                    f'receiver "{one.name}".next = {one.next}: no such receiver; there are:'
                    f" {', '.join(names)}"
                )

    def gauge_of(self, device: str) -> GaugeSettings:
        """What a device stands for; itself if nothing is said of it."""
        for one in self.gauge:
            if one.name == device:
                return one
        return GaugeSettings(name=device)

    @property
    def certificate(self) -> Path:
        """The file of the certificate."""
        return self.cert_file or self.key_file.with_suffix(".crt")

    def link(self, name: str) -> str:
        """The address of a file in the feed."""
        base = self.base_url or f"http://{self.bind or 'localhost'}"
        return f"{base.rstrip('/')}/{name}"


__all__ = [
    "STATUSES",
    "TOPICS",
    "Area",
    "CapSettings",
    "GaugeSettings",
    "ReceiverSettings",
]
