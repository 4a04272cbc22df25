"""Keys of devices: `Key`, `DeviceKeys`, `read_key_file`, `parse_qr`, and the AES of `protocols`.

A key never shows: `repr`, `str` and f-strings give `Key(hidden)`; only `.hex()` tells it.
A key file holds one line a key, `app_key = 32 hex digits` for OTAA, `nwk_s_key` and `app_s_key`
for ABP; a file with nothing but 32 hex digits is an AppKey. `#` starts a comment.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from gateway.lorawan.config import SettingError, eui


class Key(bytes):
    """16 bytes that hide from logs."""

    def __repr__(self) -> str:
        return "Key(hidden)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "Key(hidden)"

    @classmethod
    def from_hex(cls, text: str, what: str) -> "Key":
        """From 32 hex digits, spaces, colons and dashes allowed; the message never shows them."""
        digits = text.strip().translate(str.maketrans("", "", "-: "))
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            value = b""
        if len(value) != 16:
            raise SettingError(f"{what}: expected 32 hex digits, got {len(digits)} characters")
        return cls(value)


@dataclass(frozen=True)
class DeviceKeys:
    """What a key file held."""

    app_key: Key | None = None
    nwk_s_key: Key | None = None
    app_s_key: Key | None = None


_NAMES = ("app_key", "nwk_s_key", "app_s_key")


def read_key_file(path: Path) -> DeviceKeys:
    """The keys in a file. Raises SettingError, naming file and line but never a key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(f"key file {path} cannot be read: {reason}") from None
    found: dict[str, Key] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        where = f"key file {path}, line {number}"
        name, equals, value = line.partition("=")
        if not equals:
            name, value = "app_key", line
        name = name.strip().lower()
        if name not in _NAMES:
            raise SettingError(f"{where}: no such key; there are {', '.join(_NAMES)}")
        if name in found:
            raise SettingError(f"{where}: {name} is given twice")
        found[name] = Key.from_hex(value.strip().strip("\"'"), f"{where}: {name}")
    if not found:
        raise SettingError(f"key file {path} holds no key: write app_key = 32 hex digits")
    return DeviceKeys(**found)


@dataclass(frozen=True)
class QrCode:
    """The fields of a device's label after LoRa Alliance TR005."""

    join_eui: str
    dev_eui: str
    profile_id: str  # vendor and profile, 8 hex digits
    owner_token: str = ""
    serial: str = ""


def parse_qr(text: str) -> QrCode:
    """The text of a TR005 label, `LW:D0:JoinEUI:DevEUI:ProfileID[:O..][:S..][:P..][:C..]`.

    The label holds no AppKey by design. The checksum `C` is not checked: scanners already did.
    """
    parts = text.strip().split(":")
    if len(parts) < 5 or parts[0].upper() != "LW" or parts[1].upper() != "D0":
        raise SettingError(
            "this is no LoRaWAN label: expected LW:D0:<JoinEUI>:<DevEUI>:<ProfileID>"
        )
    options = {part[0].upper(): part[1:] for part in parts[5:] if part}
    return QrCode(
        join_eui=eui(parts[2], "label: JoinEUI"),
        dev_eui=eui(parts[3], "label: DevEUI"),
        profile_id=parts[4].upper(),
        owner_token=options.get("O", ""),
        serial=options.get("S", ""),
    )


class AesBlock:
    """One AES-128 key for `protocols.lorawan`: 16-byte blocks by the `cryptography` package."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES128(key), modes.ECB())
        self._encryptor: CipherContext = self._cipher.encryptor()
        self._decryptor: CipherContext | None = None

    def encrypt_into(self, src: bytearray, dst: bytearray) -> None:
        """Encrypt the block `src` to `dst`, which may be `src`."""
        dst[:16] = self._encryptor.update(src)

    def decrypt_into(self, src: bytearray, dst: bytearray) -> None:
        """Decrypt the block `src` to `dst`: what a join accept is made with."""
        if self._decryptor is None:
            self._decryptor = self._cipher.decryptor()
        dst[:16] = self._decryptor.update(src)
