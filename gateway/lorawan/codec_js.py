"""TS013 payload codecs (JavaScript files): `JsCodec`, in a sandbox with limits.

A device's maker or a public device library gives the file, so it is not trusted: QuickJS has no
file, network or timer functions, and every call has its own context, 8 MB and 200 ms of CPU. The
engine is the `quickjs-ng` package, an optional extra.

TS013 lets a codec return any JSON object; our readings are integers with the unit in the name, so
numbers become integers: a whole number keeps its name, a broken one is told in thousandths under
`name_milli`. Booleans are 0 and 1, nested objects join their names by `_`, texts are left out.
"""

import importlib
import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from protocols.errors import RemoteError

_MEMORY_BYTES = 8 << 20
_STACK_BYTES = 256 << 10
_TIME_S = 0.2
_FILE_MAX = 1 << 20
_VALUES_MAX = 64
_DEPTH_MAX = 4

_CALL = """
(function (text) {
  var input = JSON.parse(text);
  input.recvTime = new Date(input.recvTime);
  if (typeof decodeUplink === "function") return JSON.stringify(decodeUplink(input));
  if (typeof Decode === "function") return JSON.stringify({data: Decode(input.fPort, input.bytes)});
  throw new Error("the file defines no decodeUplink");
})
"""


def _engine() -> ModuleType:
    try:
        return importlib.import_module("quickjs")
    except ImportError:
        raise RemoteError(
            "codec", "JavaScript codecs need the extra: pip install 'tukad[codecs]'"
        ) from None


def is_available() -> bool:
    """Whether the engine is installed."""
    try:
        _engine()
    except RemoteError:
        return False
    return True


class JsCodec:
    """One codec file, read once. Raises RemoteError("codec") if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._quickjs: Any = _engine()
        try:
            source = path.read_bytes()
        except OSError as error:
            raise RemoteError("codec", f"{path} cannot be read: {error.strerror}") from None
        if len(source) > _FILE_MAX:
            raise RemoteError("codec", f"{path} has {len(source)} bytes, at most {_FILE_MAX}")
        self._source = source.decode("utf-8", "replace")

    def decode(
        self, payload: bytes, f_port: int, received_ms: int
    ) -> list[tuple[str, dict[str, int]]]:
        """The readings of one uplink, as stream `sensor`."""
        text = json.dumps({"bytes": list(payload), "fPort": f_port, "recvTime": received_ms})
        try:
            context: Any = self._quickjs.Context()
            context.set_memory_limit(_MEMORY_BYTES)
            context.set_max_stack_size(_STACK_BYTES)
            context.set_time_limit(_TIME_S)
            context.eval(self._source)
            answer = context.eval(_CALL)(text)
        except (self._quickjs.JSException, self._quickjs.StackOverflow) as error:
            first = str(error).splitlines()[0] if str(error) else "out of memory"
            if "interrupted" in first:
                first = f"it took more than {_TIME_S} s"
            raise RemoteError("codec", f"{self._path.name}: {first}") from None
        return self._result(answer)

    def _result(self, answer: Any) -> list[tuple[str, dict[str, int]]]:
        value = json.loads(answer) if isinstance(answer, str) else None
        if not isinstance(value, dict):
            raise RemoteError("codec", f"{self._path.name}: it returned no object")
        found = cast("dict[str, Any]", value)
        errors = found.get("errors")
        if errors:
            raise RemoteError("value", f"{self._path.name}: {str(errors)[:200]}")
        values: dict[str, int] = {}
        _collect(found.get("data"), "", values, 0)
        return [("sensor", values)] if values else []


def _name(text: str) -> str:
    """A value's name as our readings have them: lower case, `_` between words."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48]


def _collect(value: Any, name: str, values: dict[str, int], depth: int) -> None:
    if len(values) >= _VALUES_MAX:
        return
    if isinstance(value, bool):
        values[name or "value"] = int(value)
    elif isinstance(value, int | float):
        _number(name or "value", value, values)
    elif depth < _DEPTH_MAX and isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            _collect(item, "_".join(part for part in (name, _name(key)) if part), values, depth + 1)
    elif depth < _DEPTH_MAX and isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            _collect(item, f"{name}_{index}" if name else str(index), values, depth + 1)


def _number(name: str, value: float, values: dict[str, int]) -> None:
    if not math.isfinite(value) or abs(value) >= 1 << 53:
        return
    if float(value).is_integer():
        values[name] = int(value)
    else:
        values[f"{name}_milli"] = round(value * 1000)
