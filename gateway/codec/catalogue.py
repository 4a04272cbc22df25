"""The catalogue: which devices, streams and channels a site's batches speak of.

The gateway publishes it as a retained JSON message; every batch names it by version and is bound
to its content by the checksum. A batch holds only indices into it and scaled integers.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, cast

from gateway.codec.crc import crc32c
from gateway.codec.errors import BatchError
from protocols.errors import LocalError

FORMAT = 2  # of the catalogue and of the batches that are bound to it
DEVICES_MAX = 4096
CHANNELS_MAX = 64
INTERVAL_S_MAX = 604_800  # a week
MICRO = 1_000_000
STEP_MAX = 1_000_000 * MICRO
# How the time of a reading is known; the order is the wire code.
TIME_SOURCES = ("gnss", "network", "ntp", "estimated", "unknown")
# What a channel is to the predictors and the trained prior. "" lets name and unit decide.
KINDS = (
    "value",  # any slowly changing quantity
    "level",  # water level, stage, range to water
    "rain",  # rain in the interval
    "counter",  # only grows, but for wraps and resets
    "battery",
    "radio",  # RSSI, SNR: noise around a mean
    "lat",
    "lon",
    "speed",
    "course",
)  # fmt: skip

_BY_NAME = (
    ("lat", r"^lat(itude)?(_|$)"),
    ("lon", r"^(lon|lng)(gitude)?(_|$)"),
    ("speed", r"^(sog|speed)"),
    ("course", r"^(cog|course|heading|bearing)"),
    ("radio", r"rssi|snr"),
    ("battery", r"batt"),
    ("counter", r"count|fcnt|total|_tips$"),
    ("rain", r"rain|precip"),
    ("level", r"level|stage|dist|range|depth|gauge"),
)


def kind_of(name: str, unit: str) -> str:
    """The kind that a channel's name (or, failing that, its unit) suggests."""
    for kind, pattern in _BY_NAME:
        if re.search(pattern, name.lower()):
            return kind
    return "counter" if unit == "count" else "value"


@dataclass(frozen=True, slots=True)
class Channel:
    """One column: a value is an integer, to be divided by 10**decimals to get `unit`."""

    name: str
    unit: str = ""
    decimals: int = 0  # 0..9
    kind: str = ""  # one of KINDS; "" takes the kind that name and unit suggest
    # What follows only helps the prediction.
    typical: int | None = None  # a usual value, from which the first in a batch is told
    spread: int | None = None  # mean distance from it
    step_micro: int = 1_000_000  # values are multiples of step_micro / 10**6, rounded half up

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", kind_of(self.name, self.unit))
        if self.kind not in KINDS:
            raise LocalError("kind", f"{self.name}: {self.kind!r} is none of {', '.join(KINDS)}")
        if not self.name or not 0 <= self.decimals <= 9:
            raise LocalError("channel", f"{self.name!r}: decimals {self.decimals} outside 0..9")
        if not MICRO <= self.step_micro <= STEP_MAX:
            raise LocalError("channel", f"{self.name}: step_micro {self.step_micro}")
        if not (self.spread is None or 0 <= self.spread < 1 << 63):
            raise LocalError("channel", f"{self.name}: spread {self.spread}")


class Cell:
    """Maps a channel's values to counts of its step, where all of a group fit, and back."""

    __slots__ = ("guess", "modulus", "plain", "scale", "step")

    def __init__(self, channel: Channel) -> None:
        self.step = channel.step_micro
        # A course wraps; with steps that do not divide the circle it is an ordinary number.
        circle = 360 * 10**channel.decimals if channel.kind == "course" else 0
        self.modulus = circle * MICRO // self.step if circle * MICRO % self.step == 0 else 0
        self.plain = self.step == MICRO and not self.modulus
        self.guess = None if channel.typical is None else self.to_count(channel.typical)
        # How many bits the first value's distance from the guess may have; see section 5.4.
        spread = 31 if channel.spread is None else channel.spread * MICRO // self.step
        self.scale = spread.bit_length()

    def to_count(self, value: int) -> int:
        """The nearest count, halves up."""
        return (2 * value * MICRO + self.step) // (2 * self.step)

    def to_value(self, count: int) -> int:
        """The value of a count, halves up."""
        return (2 * count * self.step + MICRO) // (2 * MICRO)

    def fits(self, value: int) -> bool:
        """Does the value survive?"""
        count = self.to_count(value)
        return self.to_value(count) == value and not (
            self.modulus and not 0 <= count < self.modulus
        )


@dataclass(frozen=True)
class Device:
    """One stream of one device; its rows have the channels in this order.

    The anchor is any known row (best: the first): times and sequence numbers are told from the
    grid of nominal intervals through it. A wrong interval or anchor costs bytes, never readings.
    """

    id: str
    stream: str = ""
    channels: tuple[Channel, ...] = ()
    interval_s: int = 60  # nominal, 1..604800 s
    anchor_s: int | None = None  # unix seconds; None: the catalogue's epoch
    anchor_sequence: int = 0
    quality: int = 1  # the usual one
    time_source: str = "gnss"  # the usual one
    numbered: bool = True  # do rows have sequence numbers?
    on_grid: bool = True  # do times keep to the grid, to the second?

    def __post_init__(self) -> None:
        if not 1 <= self.interval_s <= INTERVAL_S_MAX:
            raise LocalError("interval", f"{self.id}: {self.interval_s} s outside 1..604800")
        if not 0 < len(self.channels) <= CHANNELS_MAX:
            raise LocalError("channels", f"{self.id}: {len(self.channels)} outside 1..64")
        if len({channel.name for channel in self.channels}) != len(self.channels):
            raise LocalError("channels", f"{self.id}: a channel's name comes twice")
        if not 0 <= (self.anchor_s or 0) < 1 << 33 or not 0 <= self.anchor_sequence < 1 << 63:
            raise LocalError("anchor", f"{self.id}: {self.anchor_s} s, {self.anchor_sequence}")
        if not 0 <= self.quality <= 15 or self.time_source not in TIME_SOURCES:
            raise LocalError("device", f"{self.id}: {self.quality}, {self.time_source}")

    @cached_property
    def layout(self) -> str:
        """What devices must have in common to share statistics, as text: its hash is kept."""
        return repr([(c.name, c.unit, c.decimals, c.kind) for c in self.channels])

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """How each channel's values become the integers that are coded."""
        return tuple(Cell(channel) for channel in self.channels)

    @cached_property
    def meta(self) -> int:
        """The usual quality and time source as one number."""
        return self.quality << 3 | TIME_SOURCES.index(self.time_source)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Channel indices in coding order: speed and course, then latitude, then longitude.

        The guess of a longitude uses the latitude, which the decoder must have by then.
        """
        late = [i for kind in ("lat", "lon") for i, c in enumerate(self.channels) if c.kind == kind]
        return (*(i for i in range(len(self.channels)) if i not in late), *late)


@dataclass(frozen=True)
class Catalogue:
    """All streams of a site at one version; any change makes a new version.

    `epoch_s` (unix seconds) is where batch times count from: near the first reading is best,
    any value is correct.
    """

    version: int  # 0..65535, counts up; a batch carries its last two bits
    devices: tuple[Device, ...]
    epoch_s: int = 1_577_836_800  # 2020-01-01
    site: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.version <= 0xFFFF or not 0 <= self.epoch_s < 1 << 33:
            raise LocalError("catalogue", f"version {self.version} or epoch {self.epoch_s}")
        if not 0 < len(self.devices) <= DEVICES_MAX:
            raise LocalError("catalogue", f"{len(self.devices)} devices, outside 1..{DEVICES_MAX}")
        if len(self._index) != len(self.devices):
            raise LocalError("catalogue", "a device and stream appear twice")

    @cached_property
    def _index(self) -> dict[tuple[str, str], int]:
        return {(device.id, device.stream): i for i, device in enumerate(self.devices)}

    def index(self, device: str, stream: str = "") -> int:
        """The index of a stream, for `Record.device`. Raises KeyError."""
        return self._index[device, stream]

    @cached_property
    def fingerprint(self) -> int:
        """CRC-32C of the message; seeds every batch's checksum."""
        return crc32c(self.to_json())

    def to_json(self) -> bytes:
        """The retained message: canonical UTF-8 JSON, so equal catalogues are equal bytes."""
        body = {
            "tukad_catalogue": FORMAT,
            "site": self.site,
            "version": self.version,
            "epoch_s": self.epoch_s,
            "devices": [asdict(device) for device in self.devices],
        }
        return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Catalogue:
        """Read the retained message. Raises `BatchError` ("catalogue", "version")."""
        try:
            loaded: object = json.loads(data)
        except ValueError as error:
            raise BatchError("catalogue", f"not JSON: {error}") from None
        if not isinstance(loaded, dict):
            raise BatchError("catalogue", "not a JSON object")
        body = cast("dict[str, Any]", loaded)
        if body.get("tukad_catalogue") != FORMAT:
            raise BatchError(
                "version", f"catalogue format {body.get('tukad_catalogue')!r}, not {FORMAT}"
            )
        try:
            devices = body["devices"]
            if not isinstance(devices, list):
                raise TypeError("devices is not a list")
            catalogue = cls(
                version=_typed(body["version"], "int"),
                devices=tuple(_device(item) for item in cast("list[object]", devices)),
                epoch_s=_typed(body["epoch_s"], "int"),
                site=_typed(body["site"], "str"),
            )
            catalogue.to_json()  # text that is no Unicode fails here
        except (KeyError, TypeError, UnicodeError, LocalError) as error:
            raise BatchError("catalogue", f"unusable: {error!r}") from None
        return catalogue


def _device(item: object) -> Device:
    values = _fields(Device, item)
    channels = values["channels"]
    if not isinstance(channels, list):
        raise TypeError("channels is not a list")
    values["channels"] = tuple(
        Channel(**_fields(Channel, channel)) for channel in cast("list[object]", channels)
    )
    return Device(**values)


def _fields(kind: type[Device] | type[Channel], item: object) -> dict[str, Any]:
    """A JSON object's members, each of the type that the dataclass says. Raises TypeError."""
    if not isinstance(item, dict):
        raise TypeError(f"{item!r} is not an object")
    values = cast("dict[str, Any]", item)
    for one in fields(kind):
        if one.name != "channels" and one.name in values:
            _typed(values[one.name], str(one.type))
    return dict(values)


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, type(None)),
}


def _typed(value: Any, kind: str) -> Any:
    kinds = _TYPES[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind != "bool"):
        raise TypeError(f"{value!r} is not {kind}")
    return value
