"""Give a device its identity: `provision` makes keys, settings, label, entry; `revise` settings.

Everything goes into one folder a batch: `devices.csv` for `tukad lorawan import`, and for each
device `NAME.keys` (mode 600), `NAME.settings` (mode 600; becomes `settings.new` on the device) and
`NAME.svg`, `NAME.pdf`, the label with the TR005 QR code. No key is ever on a label, in the CSV or
on screen.
"""

import binascii
import csv
import importlib
import io
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from gateway.device.boards import BOARDS
from gateway.device.label import pdf_label
from gateway.device.link import DeviceError
from gateway.device.release import save_secret

ROLES = ("flood", "tracker", "siren", "cabinet")
# A downlink must reach these at any time (LoRaWAN class C).
CLASS_C = ("siren", "cabinet")
COLUMNS = ("name", "dev_eui", "join_eui", "qr", "key_file", "class", "dev_nonce", "kind")
_OURS = ("role", "board", "name", "dev_eui", "join_eui", "app_key")
_QUIET = 4  # modules of white around a QR code (ISO/IEC 18004)


@dataclass(frozen=True)
class Provisioned:
    """What was made; the keys are in the files only."""

    name: str
    dev_eui: str
    label: str
    settings_file: Path
    label_file: Path
    csv_file: Path


def local_eui() -> str:
    """A random EUI-64 with the local bit set: for who owns no block of IEEE numbers."""
    value = bytearray(secrets.token_bytes(8))
    value[0] = value[0] & 0xFC | 0x02
    return value.hex()


def settings_file(values: dict[str, Any]) -> bytes:
    """`settings.new`: a line of JSON and its CRC-32 (docs/firmware.md)."""
    line = json.dumps(values, separators=(",", ":")).encode()
    return line + b"\n%08x\n" % binascii.crc32(line)


def revise(path: Path, changes: dict[str, Any]) -> bytes:
    """Change values in a `.settings` file, keys kept; `config_version` goes up by one.

    Returns the new content, which is in the file too (written beside it, then put in its place).
    """
    try:
        line, crc = path.read_bytes().split(b"\n")[:2]
        values: dict[str, Any] = json.loads(line)
        is_good = int(crc, 16) == binascii.crc32(line)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        is_good, values = False, {}
    if not is_good:
        raise DeviceError(f"{path} is no settings file, or was changed by hand: make it anew")
    for key in _OURS:
        if key in changes:
            raise DeviceError(f"--set {key}: the identity stays; provision a new device")
    values.update(changes)
    values["config_version"] = int(values.get("config_version", 1)) % 63 + 1
    content = settings_file(values)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    save_secret(beside, content)
    beside.replace(path)
    return content


def label_text(join_eui: str, dev_eui: str, profile_id: str, serial: str = "") -> str:
    """The QR text after LoRa Alliance TR005: identity, and never a key."""
    text = f"LW:D0:{join_eui}:{dev_eui}:{profile_id}".upper()
    return f"{text}:S{serial.upper()}" if serial else text


def draw(matrix: list[bytes], lines: list[str], module_mm: float = 0.8) -> str:
    """An SVG label: the code with its quiet zone, the lines of text beside it."""
    side = len(matrix) + 2 * _QUIET
    path = "".join(
        f"M{x + _QUIET} {y + _QUIET}h1v1h-1z"
        for y, row in enumerate(matrix)
        for x, dark in enumerate(row)
        if dark
    )
    words = "".join(
        f'<text x="{side}" y="{_QUIET + 4 + 5 * at}">{escape(line)}</text>'
        for at, line in enumerate(lines)
    )
    width = side + 62
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {side}"'
        f' width="{width * module_mm:.1f}mm" height="{side * module_mm:.1f}mm">'
        f'<rect width="{width}" height="{side}" fill="#fff"/><path d="{path}"/>'
        f'<g font-family="monospace" font-size="3.6">{words}</g></svg>\n'
    )


def _code(text: str) -> list[bytes]:
    try:
        segno = importlib.import_module("segno")
    except ImportError:
        raise DeviceError("segno is not installed: pip install 'tukad[device]'") from None
    made: Any = segno.make_qr(text, error="m")
    return [bytes(row) for row in made.matrix]


def _hexadecimal(text: str, digits: int, what: str) -> str:
    clean = re.sub(r"[-:\s]", "", text).lower()
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", clean):
        raise DeviceError(f"{what} = {text!r}: expected {digits} hex digits")
    return clean


def value_of(text: str) -> tuple[str, Any]:
    """`key=value` from the command line: a number, numbers with commas, or a text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise DeviceError(f"--set {text}: expected key=value, as in sensor_height_mm=5200")
    parts = value.split(",")
    if all(re.fullmatch(r"-?[0-9]+", part.strip()) for part in parts):
        numbers = [int(part) for part in parts]
        return key, numbers if len(numbers) > 1 else numbers[0]
    return key, value


def provision(
    folder: Path,
    name: str,
    role: str,
    board: str,
    values: dict[str, Any],
    dev_eui: str = "",
    join_eui: str = "0000000000000000",
    profile_id: str = "00000000",
    serial: str = "",
    contact: str = "",
) -> Provisioned:
    """Make one device. Raises DeviceError; then nothing of this device was left in the folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name):
        raise DeviceError(f"name {name!r}: letters, digits, - and _, 40 at most")
    if role not in ROLES or board not in BOARDS:
        raise DeviceError(f"role {role!r} on board {board!r}: one of them is not known")
    if serial and not re.fullmatch(r"[A-Za-z0-9-]{1,32}", serial):
        raise DeviceError(f"serial {serial!r}: letters, digits and -, 32 at most")
    dev_eui = _hexadecimal(dev_eui, 16, "DevEUI") if dev_eui else local_eui()
    join_eui = _hexadecimal(join_eui, 16, "JoinEUI")
    label = label_text(join_eui, dev_eui, _hexadecimal(profile_id, 8, "profile id"), serial)
    for key in _OURS:
        if key in values:
            raise DeviceError(f"--set {key}: has an option of its own, or is made here")
    lines = [name, f"DevEUI {dev_eui.upper()}", f"JoinEUI {join_eui.upper()}"]
    lines += [f"S/N {serial}"] if serial else []
    lines += [contact] if contact else []
    code = _code(label)
    drawing, page = draw(code, lines), pdf_label(code, lines)
    app_key = secrets.token_hex(16)
    content = {"role": role, "board": board, "name": name}
    content |= {"dev_eui": dev_eui, "join_eui": join_eui, "app_key": app_key, **values}
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "devices.csv"
    _refuse_known(table, name, dev_eui)
    settings = folder / f"{name}.settings"
    keys = folder / f"{name}.keys"
    save_secret(keys, f"# {name} {dev_eui}\napp_key = {app_key}\n".encode())
    try:
        save_secret(settings, settings_file(content))
    except DeviceError:
        keys.unlink()
        raise
    picture = folder / f"{name}.svg"
    picture.write_text(drawing, encoding="utf-8")
    picture.with_suffix(".pdf").write_bytes(page)
    row = (
        name,
        dev_eui,
        join_eui,
        label,
        keys.name,
        "C" if role in CLASS_C else "A",
        "counter",
        role,
    )
    _append(table, row)
    return Provisioned(name, dev_eui, label, settings, picture, table)


def _refuse_known(table: Path, name: str, dev_eui: str) -> None:
    if not table.exists():
        return
    for row in csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))):
        if row.get("name") == name or row.get("dev_eui") == dev_eui:
            raise DeviceError(f"{table} has {row.get('name')} ({row.get('dev_eui')}) already")


def _append(table: Path, row: tuple[str, ...]) -> None:
    is_new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow(row)
