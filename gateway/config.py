"""The configuration file: TOML into frozen dataclasses, closed, every error with its cure.

Each part of the gateway has its section as a frozen dataclass beside its code; the fields are made
with `setting`, which carries the range, the choices and one sentence of documentation. `build`
turns a table into such a dataclass: an unknown key, a wrong type or a value out of range raises
`ConfigError`, which names the file, the key, the value, what was expected and, where there is one,
the command that helps. `gateway.settings` puts the sections together.
"""

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

EXIT_CONFIG = 78  # sysexits.h EX_CONFIG; the systemd unit does not restart on it

T = TypeVar("T")
_NO_DEFAULT: Any = dataclasses.MISSING


class ConfigError(Exception):
    """The file is wrong and only a person can mend it: print it, exit 78, never retry."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one key besides its type."""

    doc: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    cure: str = ""
    check: Callable[[Any], str] | None = None  # returns what is wrong, or ""


def setting(
    default: Any = _NO_DEFAULT,
    *,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    choices: Sequence[str] = (),
    cure: str = "",
    check: Callable[[Any], str] | None = None,
) -> Any:
    """A dataclass field with its range, choices and one sentence of documentation."""
    metadata = {"setting": Setting(doc, low, high, unit, tuple(choices), cure, check)}
    if default is _NO_DEFAULT:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict | list):
        raise TypeError("a default is immutable")
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(slots=True)
class Place:
    """Where we are in a file, for messages; and where each value came from, for `check`."""

    file: Path
    path: str = ""
    origins: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    def inside(self, key: str) -> "Place":
        """The place of a key or of a table in this one."""
        return Place(self.file, f"{self.path}.{key}" if self.path else key, self.origins)

    def wrong(self, what: str) -> ConfigError:
        """The error for this place."""
        return ConfigError(
            f"{self.file}: {self.path}: {what}" if self.path else f"{self.file}: {what}"
        )


def read_toml(file: Path) -> dict[str, Any]:
    """The file as nested tables; ConfigError when it cannot be read or is not TOML."""
    try:
        return tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: there is no such file; a sample: deploy/gateway.example.toml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from None


def settings_of(cls: type) -> dict[str, tuple[dataclasses.Field[Any], Setting]]:
    """The fields of a section by name, with what `setting` said of them."""
    return {
        field.name: (field, field.metadata.get("setting", Setting("")))
        for field in dataclasses.fields(cls)
    }


def build(cls: type[T], table: object, place: Place) -> T:
    """A frozen dataclass from a TOML table; ConfigError names the first thing that is wrong."""
    if not isinstance(table, dict):
        raise place.wrong(f"{_show(table)} is not a table; write it as [{place.path}]")
    items = cast("dict[str, Any]", table)
    fields = settings_of(cls)
    for key in items:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(fields))}"
            raise place.inside(key).wrong(f"no such setting; {hint}")
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, (field, known) in fields.items():
        here = place.inside(name)
        if name in items:
            values[name] = _value(hints[name], items[name], here, known)
            here.origins[here.path] = str(place.file)
        elif field.default is not dataclasses.MISSING:
            here.origins[here.path] = "default"
            if isinstance(field.default, Path):
                values[name] = _path(field.default, here)
        elif field.default_factory is not dataclasses.MISSING:
            values[name] = _made(field.default_factory(), hints[name], here)
            here.origins[here.path] = "default"
        else:
            cure = f"; {known.cure}" if known.cure else ""
            raise here.wrong(f"is missing: {known.doc}{cure}")
    try:
        return cls(**values)
    except ValueError as error:  # from __post_init__: what only the whole section can tell
        raise place.wrong(str(error)) from None


def _made(value: Any, hint: Any, place: Place) -> Any:
    """A default section, built through `build` so that the origins of its keys are noted."""
    if dataclasses.is_dataclass(value) and isinstance(hint, type):
        return build(cast("type[Any]", hint), {}, place)
    return value


def _value(hint: Any, value: Any, place: Place, known: Setting) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return _value(kinds[0], value, place, known)
    if origin is tuple:
        item = get_args(hint)[0]
        many = cast("list[Any]", value)
        if dataclasses.is_dataclass(item) and not isinstance(value, list):
            raise place.wrong(f"is a list of tables; write it as [[{place.path}]]")
        if not isinstance(value, list):
            return (_value(item, value, place, known),)
        return tuple(
            _value(item, one, _numbered(place, one, index), known) for index, one in enumerate(many)
        )
    if origin is dict or origin is Mapping:
        if not isinstance(value, dict):
            raise place.wrong(f"{_show(value)} is not a table of key = value")
        kind = get_args(hint)[1]
        pairs = cast("dict[str, Any]", value).items()
        return {key: _value(kind, one, place.inside(key), known) for key, one in pairs}
    if dataclasses.is_dataclass(hint):
        return build(cast("type[Any]", hint), value, place)
    return _scalar(hint, value, place, known)


def _numbered(place: Place, value: object, index: int) -> Place:
    """`modbus[2]`, or `device["kumbasari-1"]` when the table has a name."""
    name = cast("dict[str, Any]", value).get("name") if isinstance(value, dict) else None
    label = f'"{name}"' if isinstance(name, str) else str(index + 1)
    return Place(place.file, f"{place.path}[{label}]", place.origins)


_WORDS = {int: "a whole number", float: "a number", str: 'text in "quotes"', bool: "true or false"}


def _scalar(hint: Any, value: Any, place: Place, known: Setting) -> Any:
    unit = f" {known.unit}" if known.unit else ""
    kind = str if hint is Path else hint
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise place.wrong(f"{_show(value)} is not {_WORDS.get(kind, str(kind))}: {known.doc}")
    if known.choices and value not in known.choices:
        near = difflib.get_close_matches(str(value), known.choices, 1)
        hint_text = f"; did you mean {near[0]}?" if near else ""
        raise place.wrong(f"{_show(value)} is not one of {', '.join(known.choices)}{hint_text}")
    low, high = known.low, known.high
    if (low is not None and value < low) or (high is not None and value > high):
        ends = f"{_number(low)}..{_number(high)}"
        raise place.wrong(f"{value}{unit} is outside {ends}{unit}")
    if known.check is not None and (problem := known.check(value)):
        cure = f"; {known.cure}" if known.cure else ""
        raise place.wrong(f"{_show(value)} {problem}{cure}")
    return _path(Path(str(value)), place) if hint is Path else value


def _path(path: Path, place: Place) -> Path:
    """A path in the file, or of a default: it begins at the file's folder.

    Absolute, so that whoever puts the folder before it once more gets the same.
    """
    return place.file.parent.absolute() / path.expanduser()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if value < 1e6 else f"{int(value)}"


def _show(value: object) -> str:
    text = (
        f'"{value}"'
        if isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return text if len(text) <= 60 else text[:57] + "..."


def name_check(value: str) -> str:
    """What is wrong with a name that becomes part of MQTT topics and file names, or ""."""
    if 1 <= len(value) <= 40 and all(c.isascii() and (c.isalnum() or c in "-_.") for c in value):
        return ""
    return "is not a name of 1..40 letters, digits, - _ ."


def address_check(value: str) -> str:
    """What is wrong with a "host:port" text, or ""."""
    host, colon, port = value.rpartition(":")
    if colon and host and port.isdigit() and int(port) < 65536:
        return ""
    return 'is not "host:port"'


def split_address(value: str) -> tuple[str, int]:
    """ "host:port" into its parts; brackets of an IPv6 address are taken off."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def read_secret(path: Path, what: str) -> str:
    """The stripped text of a secret's file; ConfigError with the cure when it cannot be read."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: {what}: there is no such file; put the secret there, mode 0600"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {what}: cannot be read: {error}") from None
    if not text:
        raise ConfigError(f"{path}: {what}: the file is empty")
    return text
