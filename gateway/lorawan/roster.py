"""Many devices in one CSV file: `read_roster`; and `entry_of`, a device from loose values."""

import csv
import io
from pathlib import Path
from typing import Any

from gateway.lorawan.config import DeviceEntry, SettingError
from gateway.lorawan.enrol import keys_of
from gateway.lorawan.keys import DeviceKeys, Key, parse_qr

_COLUMNS = (
    "name",
    "dev_eui",
    "join_eui",
    "qr",
    "app_key",
    "key_file",
    "class",
    "dev_nonce",
    "kind",
    "decoder",
    "codec",
)


def entry_of(values: dict[str, Any]) -> DeviceEntry:
    """A device entry; empty values take their default. Raises SettingError."""
    return DeviceEntry(**{name: value for name, value in values.items() if value})


def _row(values: dict[str, str], folder: Path) -> tuple[DeviceEntry, DeviceKeys]:
    if values.get("qr"):
        label = parse_qr(values["qr"])
        values.setdefault("dev_eui", label.dev_eui)
        values["dev_eui"] = values["dev_eui"] or label.dev_eui
        values["join_eui"] = values.get("join_eui") or label.join_eui
    key_file = values.get("key_file")
    codec = values.get("codec")
    if not values.get("name") or not values.get("dev_eui"):
        raise SettingError("name and dev_eui (or qr) are needed")
    entry = entry_of(
        {
            "name": values["name"],
            "dev_eui": values["dev_eui"],
            "join_eui": values.get("join_eui"),
            "keys": folder / key_file if key_file else None,
            "device_class": values.get("class"),
            "dev_nonce": values.get("dev_nonce"),
            "kind": values.get("kind"),
            "decoder": values.get("decoder"),
            "codec": folder / codec if codec else None,
        }
    )
    if key_file:
        return entry, keys_of(entry)
    if not values.get("app_key"):
        raise SettingError(f"device {entry.name}: app_key or key_file is needed")
    return entry, DeviceKeys(app_key=Key.from_hex(values["app_key"], f"device {entry.name}"))


def read_roster(file: Path) -> list[tuple[DeviceEntry, DeviceKeys]]:
    """The devices in a CSV file; the first line names the columns, paths start at its folder.

    Raises SettingError, naming file and line but never a key.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingError(f"{file} cannot be read: {reason}") from None
    rows = csv.DictReader(io.StringIO(text))
    unknown = [one for one in rows.fieldnames or () if one not in _COLUMNS]
    columns = ", ".join(_COLUMNS)
    if not rows.fieldnames:
        raise SettingError(f"{file} is empty: its first line names the columns, of {columns}")
    if unknown:
        raise SettingError(f"{file}: no column {unknown[0]!r}; there are {columns}")
    found: list[tuple[DeviceEntry, DeviceKeys]] = []
    for values in rows:
        clean = {name: (value or "").strip() for name, value in values.items() if name}
        try:
            found.append(_row(clean, file.parent))
        except SettingError as error:
            raise SettingError(f"{file}, line {rows.line_num}: {error}") from None
    return found
