"""Settings of a device: `Settings`, the tables of keys, and how a file from a PC becomes durable.

A PC provisions a device by one file, `settings.new`: one line of JSON (a flat object), a line
feed, and the CRC-32 of that first line (without the line feed) as 8 hexadecimal digits:

    {"role": "flood", "board": "pico-waveshare", "region": "AS923-2", ...}
    1c291ca3

At the next start it is checked (CRC, then every key against the tables below). A good file goes
into the two-copy record `settings`, and `settings.new` is removed; a bad one is refused with a
reason in `refused`, and the last good settings stay in force. Power may fail at any step.
"""

import binascii
import json

from firmware.store.files import Files
from firmware.store.record import Record
from protocols.lorawan.regions import NAMES

NEW_FILE = "settings.new"
ROLES = ("flood", "tracker", "siren", "cabinet")

# key, default (None: must be given), allowed words (none: any text of up to 64 letters)
TEXTS = (
    ("role", None, ROLES),
    ("board", None, ()),
    ("name", "", ()),
    ("region", "AS923-2", NAMES),
    ("sensor_profile", "geolux-lx80", ()),
    ("second_profile", "", ()),  # empty: one sensor only
    ("sensor_parity", "E", ("N", "E", "O")),
    ("wired_parity", "E", ("N", "E", "O")),
    ("profile", "boat", ("jacket", "boat", "fleet")),
)
# key, bytes; must be given, as hexadecimal digits in the order they are printed.
KEYS = (("dev_eui", 8), ("join_eui", 8), ("app_key", 16))
# key, default, lowest, highest
INTEGERS = (
    # What a downlink may change later; `config_version` is echoed in status frames.
    ("config_version", 1, 0, 255),
    # Radio: one of eight groups of channels (AU915, US915; 0: all); whether a JoinNonce must rise.
    ("sub_band", 0, 0, 8),
    ("strict_join_nonce", 1, 0, 1),
    # Flood: the sensor and where it hangs.
    ("sensor_address", 1, 1, 255),
    ("sensor_baud", 9600, 1200, 115_200),
    ("sensor_height_mm", 5000, -20_000, 40_000),  # level = height - distance, or level + height
    ("second_address", 2, 1, 255),
    ("second_height_mm", 5000, -20_000, 40_000),
    ("apart_mm", 50, 10, 1000),  # a difference of two sensors that is a fault when it stays
    ("sensor_warm_ms", 0, 0, 60_000),
    ("burst_count", 9, 3, 25),
    ("burst_gap_ms", 150, 20, 2000),
    ("hysteresis_mm", 100, 10, 1000),
    ("hold_s", 900, 0, 7200),
    ("jump_mm", 100, 10, 5000),
    ("rise_mm_10min", 50, 1, 1000),
    ("report_max_s", 900, 60, 86_400),  # in calm, a frame at least this often
    ("frame_bytes", 32, 11, 242),  # no live frame is longer, whatever the data rate allows
    ("battery_low_mv", 3500, 1000, 60_000),  # for one lithium-ion cell
    ("status_s", 21_600, 300, 604_800),
    # In alarm mode, a quick look this often while the water is near the next stage; 0: never.
    ("look_s", 1, 0, 10),
    ("near_mm", 300, 0, 5000),
    ("rain_tip_um", 200, 10, 2000),
    ("wired_address", 0, 0, 247),  # 0: no Modbus server towards a wired gateway
    ("wired_baud", 9600, 1200, 115_200),
    # Tracker.
    ("error_m", 100, 10, 5000),  # the map is never wrong by more
    ("heartbeat_s", 900, 60, 86_400),
    ("fix_s", 10, 1, 3600),
    ("gnss_rest_s", 0, 0, 900),
    # Siren.
    ("siren_max_s", 180, 5, 900),
    ("siren_ma", 0, 0, 10_000),  # what a tone draws when all is well; 0: not known
    ("siren_test_ma", 0, 0, 5000),  # what the silent test draws when all is well; 0: not known
    ("siren_test_hour", 10, 0, 23),  # local time of the tests
    ("siren_silent_days", 7, 0, 28),  # between silent tests; 0: none
    ("siren_audible_day", 26, 0, 28),  # of the month, for the audible test; 0: none
    ("utc_offset_min", 480, -720, 840),
)
# key, default (its length counts), lowest, highest, must rise
LISTS: "tuple[tuple[str, tuple[int, ...], int, int, bool], ...]" = (
    # Stages 1..3 (waspada, siaga, awas) above station zero; within what a flood frame can say.
    ("stages_mm", (500, 1160, 2660), -1000, 15_300, True),
    # Seconds between samples: calm, rising, stage 1, stage 2 and above or storm. Each is one of
    # `protocols.payload.flood.INTERVALS_S`.
    ("intervals_s", (900, 60, 60, 10), 10, 3600, False),
)


class SettingsError(Exception):
    """The settings are wrong: the text names key, value and what was expected."""


class Settings:
    """Checked settings by key; a key that is in no table raises KeyError."""

    def __init__(self) -> None:
        self.integers: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.lists: dict[str, list[int]] = {}

    def integer(self, key: str) -> int:
        return self.integers[key]

    def text(self, key: str) -> str:
        return self.texts[key]

    def numbers(self, key: str) -> list[int]:
        return self.lists[key]

    def key(self, key: str) -> bytes:
        """A key or EUI as bytes, in the order it is printed."""
        return binascii.unhexlify(self.texts[key])


def parse(line: bytes) -> Settings:
    """Settings from one line of JSON; raises `SettingsError`."""
    try:
        given = json.loads(line)
    except ValueError:
        raise SettingsError("not JSON")
    if not isinstance(given, dict):
        raise SettingsError("not a JSON object")
    rest: dict[str, object] = dict(given)  # pyright: ignore[reportUnknownArgumentType]
    settings = Settings()
    for key, default, words in TEXTS:
        settings.texts[key] = _text(key, rest.pop(key, default), words)
    for key, size in KEYS:
        settings.texts[key] = _hexadecimal(key, rest.pop(key, None), size)
    for key, default, low, high in INTEGERS:
        settings.integers[key] = _integer(key, rest.pop(key, default), low, high)
    for key, default, low, high, rising in LISTS:
        found = _numbers(key, rest.pop(key, default), len(default), low, high)
        if rising and sorted(set(found)) != found:
            raise SettingsError("%s: must rise" % key)
        settings.lists[key] = found
    for key in rest:
        raise SettingsError("%s is not a setting" % key)
    place = settings.texts["region"]
    if settings.integers["sub_band"] and place not in ("AU915", "US915"):
        raise SettingsError("sub_band: there are none in %s, leave it 0" % place)
    return settings


def _text(key: str, value: object, words: tuple[str, ...]) -> str:
    if value is None:
        raise SettingsError("%s is missing" % key)
    if not isinstance(value, str) or len(value) > 64:
        raise SettingsError("%s: expected a short text" % key)
    if words and value not in words:
        raise SettingsError("%s = %s: expected one of %s" % (key, value, ", ".join(words)))
    return value


def _hexadecimal(key: str, value: object, size: int) -> str:
    if value is None:
        raise SettingsError("%s is missing" % key)
    good = isinstance(value, str) and len(value) == 2 * size
    if not good or not isinstance(value, str) or value.strip("0123456789abcdefABCDEF"):
        raise SettingsError("%s: expected %d hexadecimal digits" % (key, 2 * size))
    return value


def _integer(key: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingsError("%s = %s: expected a whole number, %d..%d" % (key, value, low, high))
    return value


def _numbers(key: str, value: object, count: int, low: int, high: int) -> list[int]:
    if not isinstance(value, (list, tuple)) or len(value) != count:  # pyright: ignore
        raise SettingsError("%s: expected a list of %d whole numbers" % (key, count))
    return [_integer(key, item, low, high) for item in value]  # pyright: ignore


def unwrap(data: bytes) -> bytes:
    """The JSON line of a settings file whose CRC is right; raises `SettingsError`."""
    cut = data.find(b"\n")
    if cut < 0:
        raise SettingsError("no CRC line: the file was cut")
    line = data[:cut]
    try:
        given = int(data[cut + 1 :].strip(), 16)
    except ValueError:
        raise SettingsError("the CRC line is no number")
    if given != binascii.crc32(line):
        raise SettingsError("wrong CRC: the file was cut or changed")
    return line


def wrap(line: bytes) -> bytes:
    """A settings file around one line of JSON."""
    return line + b"\n" + b"%08x\n" % binascii.crc32(line)


class SettingsStore:
    """The settings in the flash: takes in `settings.new`, keeps the last good ones."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._record = Record(files, "settings")
        self.refused = ""  # why `settings.new` was refused at this start

    def load(self) -> Settings:
        """The settings in force; raises `SettingsError` when there are none."""
        stored = self._record.load()
        data = self._files.read(NEW_FILE)
        if data is not None:
            try:
                line = unwrap(data)
                settings = parse(line)
            except SettingsError as error:
                self.refused = str(error)
            else:
                if line != stored:
                    self._record.save(line)
                self._files.remove(NEW_FILE)
                return settings
        if stored is None:
            raise SettingsError(self.refused or "no settings: write " + NEW_FILE)
        return parse(stored)
