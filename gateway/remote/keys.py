"""Operators' keys: made, read, shown. The private key stays with the operator."""

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make_key(file: Path) -> str:
    """Write a new private key (PEM, mode 0600); returns the public key as text.

    Raises FileExistsError rather than overwrite one, and OSError.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(pem)
    return public_text(key)


def read_key(file: Path) -> "Ed25519PrivateKey":
    """The private key in a file. Raises ValueError or OSError, whose text is for a person."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: is no private key that can be used: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file}: is no Ed25519 key; tukad gateway key makes one")
    return key


def public_text(key: "Ed25519PrivateKey") -> str:
    """The public key as it stands in the configuration."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
