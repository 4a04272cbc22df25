"""Sensor profiles: what registers a kind of sensor has, as TOML data in `gateway/profiles/`.

`load_profile(name_or_path)` reads and checks one; `plan_reads` merges neighbouring registers into
few requests; `decode_reads` turns replies into named integer values. A raw value that the maker
lists as invalid (0xFFFF, -9999, NaN) becomes a missing value, never zero.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gateway.config import ConfigError, Place, build, read_toml, setting
from protocols.modbus.values import decode_value

FOLDER = Path(__file__).parents[1] / "profiles"

_WIDTH = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "f32": 2}
_ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
FRAMES = ("8N1", "8E1", "8O1", "8N2", "8E2", "8O2", "7E1", "7O1")


@dataclass(frozen=True, kw_only=True)
class Value:
    """[[value]]: one quantity. The result is raw * multiply / divide, as an integer."""

    name: str = setting(doc="the value's name, its unit last, such as distance_mm")
    address: int = setting(low=0, high=65535, doc="register address as on the wire, from 0")
    type: str = setting("u16", choices=tuple(_WIDTH), doc="how the registers hold the number")
    order: str = setting("ABCD", choices=_ORDERS, doc="byte order of two-register values")
    multiply: int = setting(1, low=1, high=1_000_000_000, doc="numerator of the scale")
    divide: int = setting(1, low=1, high=1_000_000_000, doc="denominator of the scale")
    invalid: tuple[int, ...] = setting((), doc="raw values that mean 'no measurement'")
    poll: bool = setting(True, doc="read it with every poll")
    reading_clears: bool = setting(False, doc="reading resets it in the sensor: is never polled")
    note: str = setting("", doc="for people")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """[[identity]]: a register that tells this kind of sensor from others."""

    address: int = setting(low=0, high=65535, doc="register address as on the wire")
    expect: int = setting(low=0, high=0xFFFFFFFF, doc="what it must hold")
    type: str = setting("u16", choices=("u16", "u32"), doc="how the registers hold the number")
    order: str = setting("ABCD", choices=_ORDERS, doc="byte order of a two-register value")
    mask: int = setting(0xFFFFFFFF, low=1, high=0xFFFFFFFF, doc="which bits count")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One file of gateway/profiles."""

    what: str = setting(doc="maker, model and principle")
    status: str = setting(
        choices=("exact", "partial"), doc="exact: word for word from the manual; else check it"
    )
    source: str = setting(doc="where the register map is from")
    unit: int = setting(1, low=0, high=255, doc="the address it leaves the factory with")
    baud: int = setting(9600, low=300, high=1_000_000, unit="baud", doc="factory speed")
    frame: str = setting("8N1", choices=FRAMES, doc="factory frame")
    function: int = setting(3, low=3, high=4, doc="3 reads holding registers, 4 input registers")
    address_offset: int = setting(
        0, low=-1, high=1, doc="added to every address, for manuals that count from 1"
    )
    one_value_per_request: bool = setting(False, doc="the sensor refuses to give two at once")
    max_registers: int = setting(64, low=1, high=125, doc="most registers in one request")
    max_hole: int = setting(8, low=0, high=64, doc="unused registers read to save a request")
    warm_up_s: float = setting(0.0, low=0, high=600, unit="s", doc="after power-up")
    note: str = setting("", doc="for people")
    value: tuple[Value, ...] = setting((), doc="the values")
    identity: tuple[Identity, ...] = setting((), doc="how to know the sensor")

    def __post_init__(self) -> None:
        names = [value.name for value in self.value]
        if len(set(names)) != len(names):
            raise ValueError("two values have one name")

    @property
    def polled(self) -> tuple[str, ...]:
        """The names that a poll reads unless the configuration says otherwise."""
        return tuple(v.name for v in self.value if v.poll and not v.reading_clears)


def profile_names() -> list[str]:
    """The profiles that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load_profile(name: str, folder: Path | None = None) -> Profile:
    """A profile by name, or by the path of a .toml file (relative to `folder`).

    Raises ConfigError.
    """
    if name.endswith(".toml"):
        path = (folder or Path()) / Path(name).expanduser()
    else:
        path = FOLDER / f"{name}.toml"
        if not path.exists():
            names = profile_names()
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
            raise ConfigError(
                f'no sensor profile "{name}"; {hint} (or give a path to a .toml file)'
            )
    return build(Profile, read_toml(path), Place(path))


@dataclass(frozen=True, slots=True)
class Block:
    """One read request: `count` registers from `address`, and the values inside."""

    address: int
    count: int
    values: tuple[Value, ...]


def plan_reads(profile: Profile, names: Sequence[str]) -> tuple[Block, ...]:
    """The fewest requests that fetch these values, in order of address."""
    blocks: list[Block] = []
    # Reading through a register that reading clears would lose what it counted.
    fragile = {v.address + profile.address_offset for v in profile.value if v.reading_clears}
    wanted = sorted((v for v in profile.value if v.name in names), key=lambda v: v.address)
    for value in wanted:
        address = value.address + profile.address_offset
        end = address + _WIDTH[value.type]
        if blocks and not profile.one_value_per_request:
            last = blocks[-1]
            hole = address - (last.address + last.count)
            count = max(end - last.address, last.count)
            is_safe = fragile.isdisjoint(range(last.address + last.count, address))
            if hole <= profile.max_hole and count <= profile.max_registers and is_safe:
                blocks[-1] = Block(last.address, count, (*last.values, value))
                continue
        blocks.append(Block(address, end - address, (value,)))
    return tuple(blocks)


def decode_block(profile: Profile, block: Block, registers: Sequence[int]) -> dict[str, int]:
    """The values of one reply by name; what the sensor marked as invalid is left out."""
    values: dict[str, int] = {}
    for value in block.values:
        at = value.address + profile.address_offset - block.address
        number = decode_value(
            list(registers[at : at + _WIDTH[value.type]]),
            value.type,
            value.order,
            value.multiply,
            value.divide,
            value.invalid,
        )
        if number is not None:
            values[value.name] = number
    return values


def identity_blocks(profile: Profile) -> tuple[tuple[Identity, Block], ...]:
    """The requests that check who answers."""
    return tuple(
        (one, Block(one.address + profile.address_offset, _WIDTH[one.type], ()))
        for one in profile.identity
    )


def identity_holds(one: Identity, registers: Sequence[int]) -> bool:
    """Whether the registers hold what this kind of sensor has there."""
    number = decode_value(list(registers), one.type, one.order)
    return number is not None and number & one.mask == one.expect & one.mask


def level_mm(values: Mapping[str, int], height_mm: int | None, offset_mm: int) -> int | None:
    """Water level above the gauge's zero from what a sensor measures, or None.

    A radar or ultrasonic sensor hangs `height_mm` above zero; a level or pressure sensor sits
    `offset_mm` above it. A distance of zero or less is no measurement. Density of fresh water by
    temperature after Jones & Harris 1992.
    """
    distance = _distance_mm(values)
    if distance is not None and height_mm is not None:
        # Zero is what a radar without an echo says; it would be water at the sensor's face.
        return height_mm - distance if distance > 0 else None
    if "level_mm" in values:
        return values["level_mm"] + offset_mm
    if "pressure_pa" in values:
        t = values.get("water_temp_cdeg", 2500) / 100
        density = 999.84847 + t * (
            6.337563e-2 + t * (-8.523829e-3 + t * (6.943248e-5 - t * 3.821216e-7))
        )
        return round(values["pressure_pa"] / (density * 9.80665) * 1000) + offset_mm
    return None


def _distance_mm(values: Mapping[str, int]) -> int | None:
    if "distance_mm" in values:
        return values["distance_mm"]
    if "distance_um" in values:
        return (values["distance_um"] + 500) // 1000
    return None
