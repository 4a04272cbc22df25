"""Section [remote]: who may command this gateway and change its configuration from afar."""

import base64
import binascii
from dataclasses import dataclass

from gateway.config import name_check, setting

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)  # each may do what those before it may
KEY_BYTES = 32


def key_check(value: str) -> str:
    """What is wrong with a public key, or ""."""
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    return "" if len(key) == KEY_BYTES else "is not a public key of 44 base64 characters"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """[[remote.operator]]: one person and what he may do."""

    name: str = setting(doc="unique name, as it stands in the audit log", check=name_check)
    role: str = setting(
        choices=ROLES, doc="viewer looks, operator also commands, admin also changes anything"
    )
    key: str = setting(doc="public key (Ed25519)", check=key_check, cure="tukad gateway key FILE")


@dataclass(frozen=True, kw_only=True)
class RemoteSettings:
    """Section [remote]."""

    operator: tuple[Operator, ...] = setting((), doc="who may send commands")
    confirm_s: float = setting(
        300.0,
        low=1,
        high=3600,
        unit="s",
        doc="a new configuration that nobody confirms for so long is taken back",
    )
    expiry_s_max: int = setting(
        3600, low=10, high=86400, unit="s", doc="longest validity of a command"
    )

    def __post_init__(self) -> None:
        names = [one.name for one in self.operator]
        keys = [one.key for one in self.operator]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two operators have the name "{name}"')
        if len(set(keys)) < len(keys):
            raise ValueError("two operators have the same key; give each his own")
