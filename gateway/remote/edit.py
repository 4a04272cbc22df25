"""One key of a TOML text changed, comments and order kept: `change`.

The text is edited as text, then read again: unless the result says exactly what the old text said
with this one value replaced, the change is refused and the whole file must be sent. So an odd way
of writing TOML costs a refusal, and never a wrong configuration.

A key is written as `tukad gateway check` writes it: `mqtt.linger_ms`,
`device["tukad-badung-1"].interval_s`, `modbus["bus-1"].sensor["radar"].stages.awas_mm`; in place of
a table's name its number is allowed, counted from 1.
"""

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

_STEP = re.compile(r"""([A-Za-z0-9_-]+)(?:\[(?:"([^"\]]*)"|(\d+))\])?(\.|$)""")
_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(?:#.*)?$")
_COMMENT = re.compile(r"(\s+#[^\"']*)$")

_Table = tuple[str, int | None]  # a table's name and, in a list of tables, its place from 0


class EditError(ValueError):
    """The change cannot be made; the text is for a person."""


@dataclass(frozen=True, slots=True)
class _Region:
    """The lines first..end of one table."""

    first: int
    end: int


def change(text: str, key: str, value: object) -> str:
    """The text with `key` set to `value`; None takes the key out. Raises EditError."""
    try:
        old = tomllib.loads(text)
        path, name = _find(old, key, value)
        wanted = _wanted(old, path, name, value)
        for candidate in _candidates(text, path, name, wanted):
            if _says(candidate, wanted):
                return candidate
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise EditError(f"{key}: {error}") from None
    raise EditError(f"{key}: this file is written so that one key cannot be changed; send it whole")


def _says(text: str, wanted: dict[str, Any]) -> bool:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return _typed(found) == _typed(wanted)


def _typed(value: object) -> object:
    """A value that is unequal to one of another type: 1, 1.0 and true are three things."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        return {name: _typed(one) for name, one in items.items()}
    if isinstance(value, list):
        return [_typed(one) for one in cast("list[object]", value)]
    return type(value).__name__, value


def _find(old: dict[str, Any], key: str, value: object) -> tuple[list[_Table], str]:
    """The tables on the way to a key, and its name."""
    path: list[_Table] = []
    table: object = old
    at = 0
    while match := _STEP.match(key, at):
        name, label, number, more = match.groups()
        place = label if label is not None else int(number) if number else None
        at = match.end()
        if not more:
            if place is not None or isinstance(_get(table, name), dict):
                raise EditError(f"{key}: is a whole table; name a key in it")
            if value is None and _get(table, name) is None:
                raise EditError(f"{key}: is not in the file")
            return path, name
        inner = _get(table, name)
        if inner is None and not path and place is None and value is not None:
            inner = dict[str, Any]()  # a section that the file does not have yet
        if isinstance(inner, list):
            items = cast("list[Any]", inner)
            index = next((n for n, one in enumerate(items) if _is(one, n, place)), None)
            if index is None:
                raise EditError(f"{key}: there is no {match.group(0).rstrip('.')} in the file")
            path.append((name, index))
            table = items[index]
        elif isinstance(inner, dict) and place is None:
            path.append((name, None))
            table = cast("object", inner)
        else:
            raise EditError(f"{key}: there is no table {match.group(0).rstrip('.')} in the file")
    raise EditError(f'"{key}" is no key such as mqtt.linger_ms or device["name"].interval_s')


def _is(item: object, index: int, place: str | int | None) -> bool:
    return place == index + 1 or (isinstance(place, str) and _get(item, "name") == place)


def _get(table: object, name: str) -> Any:
    return cast("dict[str, Any]", table).get(name) if isinstance(table, dict) else None


def _step(table: Any, step: _Table) -> Any:
    inner = table[step[0]]
    return inner if step[1] is None else inner[step[1]]


def _wanted(old: dict[str, Any], path: list[_Table], name: str, value: object) -> dict[str, Any]:
    wanted = copy.deepcopy(old)
    table: Any = wanted
    for step in path:
        if step[1] is None:
            table.setdefault(step[0], {})
        table = _step(table, step)
    if value is None:
        del table[name]
    else:
        table[name] = value
    return wanted


def _candidates(text: str, path: list[_Table], name: str, wanted: dict[str, Any]) -> Iterator[str]:
    """Ways to write the change, the likely ones first."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for depth in range(len(path), -1, -1):
        # The table with a header of its own, and the key in it, which may hold an inline table.
        inner = path[depth][0] if depth < len(path) else name
        table: Any = wanted
        for step in path[:depth]:
            table = _step(table, step)
        region = _region(lines, path[:depth])
        if region is not None:
            yield from _in_region(lines, region, inner, table.get(inner))
    if len(path) == 1 and path[0][1] is None:
        section = f"\n[{path[0][0]}]\n{name} = {toml(wanted[path[0][0]].get(name))}\n"
        yield "".join(lines) + section


def _in_region(lines: list[str], region: _Region, name: str, value: object) -> Iterator[str]:
    here = re.compile(rf"^\s*{re.escape(name)}\s*=")
    fresh = "" if value is None else f"{name} = {toml(value)}"
    for index in range(region.first, region.end):
        if not here.match(lines[index]):
            continue
        for end in range(index + 1, region.end + 1):
            comment = _COMMENT.search(lines[end - 1].rstrip("\n")) if fresh else None
            new = fresh + (comment.group(1) if comment else "")
            middle = [new + "\n"] if new else []
            yield "".join([*lines[:index], *middle, *lines[end:]])
    if fresh:
        yield "".join([*lines[: region.first], fresh + "\n", *lines[region.first :]])


def _region(lines: list[str], path: list[_Table]) -> _Region | None:
    """Where the keys of a table stand; None when it has no header."""
    headers: list[tuple[int, list[_Table]]] = [(-1, [])]
    counts: dict[tuple[_Table, ...], int] = {}
    for number, line in enumerate(lines):
        match = _HEADER.match(line)
        if match is None:
            continue
        names = match.group(2).split(".")
        here: list[_Table] = []
        for position, word in enumerate(names):
            plain = (*here, (word, None))
            is_new = match.group(1) == "[[" and position == len(names) - 1
            if is_new:
                counts[plain] = counts.get(plain, -1) + 1
            here.append((word, counts.get(plain)))
        headers.append((number, here))
    for index, (number, found) in enumerate(headers):
        if found == path:
            end = headers[index + 1][0] if index + 1 < len(headers) else len(lines)
            return _Region(number + 1, end)
    return None


def toml(value: object) -> str:
    """A value as TOML writes it. Raises TypeError for what TOML has not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL and for surrogates, which TOML has not.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # TOML knows inf and nan under these names
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        return "[" + ", ".join(toml(one) for one in items) + "]"
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return "{ " + ", ".join(f"{_bare(name)} = {toml(one)}" for name, one in pairs) + " }"
    raise TypeError(f"{value!r} has no place in TOML")


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
