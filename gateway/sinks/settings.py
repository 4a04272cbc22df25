# ruff: noqa: RUF009  `setting` returns a dataclass field, which is what a default may be
"""Section [mqtt] and [broker]: where readings and alarms go."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import ConfigError, address_check, read_secret, setting

EMBEDDED, MOSQUITTO = "embedded", "mosquitto"


def url_check(value: str) -> str:
    """What is wrong with a broker's URL, or ""."""
    if value in (EMBEDDED, MOSQUITTO):
        return ""
    wanted = 'is neither "embedded", "mosquitto" nor mqtt://host[:port] or mqtts://host[:port]'
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return wanted
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
        return wanted
    if parts.password:
        return "has a password in it; put the password into a file and name it in password_file"
    return ""


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """Section [mqtt]."""

    url: tuple[str, ...] = setting(
        (EMBEDDED,),
        doc="the broker: embedded, mosquitto, mqtt://host:port or mqtts://host:port; several are"
        " tried in order",
        check=url_check,
    )
    format: str = setting(
        "batch",
        choices=("batch", "json", "senml"),
        doc="compressed batches, one JSON object a reading, or SenML-CBOR packs",
    )
    home_assistant: bool = setting(
        False, doc='with format = "json": announce every device to Home Assistant'
    )
    version: str = setting("3.1.1", choices=("3.1.1", "5"), doc="MQTT version")
    client_id: str = setting("", doc="MQTT client identifier; tukad-SITE if empty")
    username: str = setting("", doc="user at the broker")
    password_file: Path | None = setting(None, doc="file that holds the password")
    ca_file: Path | None = setting(None, doc="PEM file of the authority that signed the broker")
    cert_file: Path | None = setting(None, doc="PEM file of our certificate")
    key_file: Path | None = setting(None, doc="PEM file of our key")
    required_at_start: bool = setting(
        False, doc="end with an error when no broker answers at the start, instead of buffering"
    )
    keepalive_s: int = setting(
        10, low=2, high=3600, unit="s", doc="an idle dead link is noticed within twice this time"
    )
    ack_timeout_s: float = setting(
        5.0, low=0.5, high=600, unit="s", doc="without a confirmation for so long the link is dead"
    )
    reconnect_s_max: float = setting(
        30.0, low=0.1, high=3600, unit="s", doc="longest pause between attempts"
    )
    window: int = setting(20, low=1, high=1000, doc="messages under way without confirmation")
    batch_max: int = setting(500, low=1, high=10000, doc="most readings in one batch")
    payload_max: int = setting(
        16384, low=256, high=1_000_000, unit="bytes", doc="longest payload the broker takes"
    )
    linger_ms: int = setting(
        0, low=0, high=600_000, unit="ms", doc="wait so long for more readings: fewer bytes, later"
    )
    budget_mb_month: int = setting(
        0, low=0, high=10_000_000, unit="MB", doc="bytes on the wire a calendar month; 0: no limit"
    )
    rate_bytes_s: int = setting(
        0,
        low=0,
        high=1_000_000_000,
        unit="bytes/s",
        doc="readings and health take at most so much; alarms always pass; 0: no limit",
    )
    health_s: float = setting(60.0, low=1, high=86400, unit="s", doc="health is published so often")

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.home_assistant and self.format != "json":
            raise ValueError('home_assistant = true needs format = "json"')
        if not self.url:
            raise ValueError("url is an empty list")
        local = [url for url in self.url if url in (EMBEDDED, MOSQUITTO)]
        if local and len(self.url) > 1:
            raise ValueError(f'url: "{local[0]}" cannot be one of several')

    def password(self) -> str | None:
        """The password from its file, or None. Raises ConfigError."""
        if self.password_file is None:
            return None
        return read_secret(self.password_file, "mqtt.password_file")

    def tls(self) -> ssl.SSLContext:
        """The TLS context for mqtts://. Raises ConfigError."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            names = f"ca_file = {self.ca_file}, cert_file = {self.cert_file}"
            raise ConfigError(f"mqtt: {names}: cannot be used: {error}") from None
        return context


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """Section [broker]: the broker that the agent runs itself (mqtt.url embedded or mosquitto)."""

    bind: str = setting("127.0.0.1:1883", doc="where it listens", check=address_check)
    mosquitto: Path = setting(Path("/usr/sbin/mosquitto"), doc="the Mosquitto program")
