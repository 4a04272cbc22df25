# ruff: noqa: RUF009  `setting` returns a dataclass field, which is what a default may be
"""Section [sensorthings]."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import read_secret, setting


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "is not an http or https URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is not an http or https URL"
    if parts.username or parts.password:
        return "has a user in it; write user = ..., and the password into a file"
    return ""


@dataclass(frozen=True, kw_only=True)
class SensorThingsSettings:
    """Section [sensorthings]: push to one server."""

    url: str = setting(doc="root of the service, such as https://gis.example/sta/v1.1", check=_url)
    token_file: Path | None = setting(None, doc="file that holds a bearer token")
    user: str = setting("", doc="user, with password_file")
    password_file: Path | None = setting(None, doc="file that holds the user's password")
    ca_file: Path | None = setting(None, doc="PEM file of the authority that signed the server")
    trackers: bool = setting(
        False, doc="push trackers too, those with share = exact, with their positions"
    )
    batch_max: int = setting(200, low=1, high=5000, doc="most readings in one request")
    linger_s: float = setting(2.0, low=0, high=600, unit="s", doc="wait for more readings so long")
    timeout_s: float = setting(20.0, low=1, high=600, unit="s", doc="wait for an answer so long")
    retry_s_max: float = setting(
        60.0, low=0.1, high=3600, unit="s", doc="longest pause between attempts"
    )

    def headers(self, folder: Path) -> dict[str, str]:
        """What every request carries. Raises ConfigError."""
        if self.token_file is None:
            return {}
        token = read_secret(folder / self.token_file, "sensorthings.token_file")
        return {"Authorization": f"Bearer {token}"}

    def login(self, folder: Path) -> tuple[str, str] | None:
        """User and password, if there are any. Raises ConfigError."""
        if not self.user:
            return None
        if self.password_file is None:
            return self.user, ""
        secret = read_secret(folder / self.password_file, "sensorthings.password_file")
        return self.user, secret
