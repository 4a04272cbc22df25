"""Put a release on a board by cable: `flash`. The board's own loader installs it.

So the same checks run as for a release by radio (signature, model, hashes, two slots), and a cable
that is pulled at any moment leaves what was there before.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.device.boards import Identity, check, identify
from gateway.device.link import DeviceError, Link
from gateway.device.release import LOADER, MAIN
from protocols.errors import RemoteError
from protocols.update.manifest import Manifest, parse
from protocols.update.package import HEAD, manifest_size
from protocols.update.selection import decode

SLOTS = ("app.a", "app.b")


@dataclass(frozen=True)
class Flashed:
    """What was done."""

    identity: Identity
    slot: str
    version: int
    files: int


def manifest_of(package: bytes) -> Manifest:
    """The manifest in a package; DeviceError when it is no package."""
    try:
        size = manifest_size(package[:HEAD])
        return parse(package[HEAD : HEAD + size])
    except RemoteError as error:
        raise DeviceError(f"not an update package ({error})") from None


def install_loader(
    link: Link, loader: dict[str, bytes], board: str, public: bytes, may_change_key: bool
) -> None:
    """The loader, the board's name and the release key: what is outside the slots."""
    known = link.get("release.pub")
    if known not in (None, public) and not may_change_key:
        raise DeviceError("the board trusts another release key; to change it: --change-key")
    for name in LOADER:
        link.put(f"loader/{name}.mpy", loader[f"{name}.mpy"])
    link.put("model", board.encode() + b"\n")
    link.put("release.pub", public)
    link.put("main.py", MAIN)


def active_slot(link: Link) -> str:
    """The slot that the board's loader would start (or try)."""
    contents = [link.get(name) for name in ("slots.a", "slots.b")]
    best, newest = None, -1
    for data in contents:
        # The record of docs/firmware.md: magic, sequence, length, content, CRC; the device has
        # checked the CRC, and the only use here is to say where to look.
        if data is not None and len(data) > 12 and data[:2] == b"Tk":
            sequence = int.from_bytes(data[2:6], "big")
            if sequence > newest:
                best, newest = data[8:-4], sequence
    return SLOTS[decode(best).active]


def flash(
    link: Link,
    package: bytes,
    loader: dict[str, bytes],
    board: str,
    public: bytes,
    may_change_key: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Flashed:
    """Install `package` on the board at `link`; raises DeviceError."""
    manifest = manifest_of(package)
    if manifest.model != board:
        raise DeviceError(f"the package is for {manifest.model}, not for {board}")
    identity = identify(link)
    check(identity, board, manifest.mpy)
    say(f"MicroPython {identity.release}, {identity.machine}")
    install_loader(link, loader, board, public, may_change_key)
    say("loader ok")
    link.put("update.new", package)
    say(f"package of {len(package)} bytes sent")
    link.use_application("loader")
    link.run("from firmware.update.boot import take_in", 20)
    said = str(link.ask(f"take_in({link.root!r}, _f, True)", 180))
    if not said.startswith("version"):
        raise DeviceError(f"the board refused the package: {said}")
    slot = active_slot(link)
    for name, digest in zip(manifest.names, manifest.hashes, strict=True):
        if link.digest(f"{slot}/{name}") != digest:
            raise DeviceError(f"{slot}/{name} on the board differs from the package")
    say(f"{len(manifest.names)} files verified in {slot}")
    return Flashed(identity, slot, manifest.version, len(manifest.names))
