"""Formats for tools that know nothing of Tukad: `JsonFormat`, `SenmlFormat`.

Both cost many times the bytes of a batch, so they are for a broker on the same premises. Live
readings and history have topics of their own: a consumer of the live ones never takes an old value
for the present one.

    tukad/SITE/reading/DEVICE/STREAM    one JSON object, live
    tukad/SITE/history/DEVICE/STREAM    the same, of what waited for the link or was asked for
    tukad/SITE/senml/live, .../history  SenML packs in CBOR (RFC 8428)
    homeassistant/device/ID/config      retained, with home_assistant = true: Home Assistant finds
                                        every device by itself (its MQTT discovery, device form)
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import cbor2

from gateway.ledger.store import Stored
from gateway.model import Reading
from gateway.sinks.formats import LIVE, Message, channel

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

# RFC 8428, table 6: CBOR labels.
_BASE_NAME, _BASE_TIME, _NAME, _UNIT, _VALUE = -2, -3, 0, 1, 2
_KNOT_M_S = 0.514444  # "kn" is in no SenML registry
_EXPIRE_INTERVALS = 4  # Home Assistant shows "unavailable" after so many intervals without a value

# Unit of a channel: Home Assistant's device class and unit.
_HOME_CLASSES = {
    "mm": ("distance", "mm"),
    "m": ("distance", "m"),
    "V": ("voltage", "V"),
    "Pa": ("pressure", "Pa"),
    "Cel": ("temperature", "°C"),
    "dBm": ("signal_strength", "dBm"),
    "dB": ("signal_strength", "dB"),
    "kn": ("speed", "kn"),
}


def reading_json(reading: Reading) -> dict[str, Any]:
    """A reading as a plain object; values are integers in the unit of their name."""
    body: dict[str, Any] = {
        "device": reading.device,
        "stream": reading.stream,
        "sequence": reading.sequence,
        "time_ms": reading.time_ms,
        "time_source": reading.time_source,
        "quality": reading.quality,
        "origin": reading.origin,
        "received_ms": reading.received_ms,
        "values": dict(reading.values),
    }
    if reading.link is not None:
        body |= {"rssi_dbm": reading.link.rssi_dbm, "snr_db": reading.link.snr_cb / 10}
    return body


class JsonFormat:
    """One JSON object a message."""

    def __init__(self, site: str, intervals_s: dict[str, int], home_assistant: bool) -> None:
        self._site = site
        self._intervals_s = intervals_s
        self._home = home_assistant
        self._known: dict[str, dict[str, str]] = {}  # device -> value -> stream

    @property
    def state(self) -> str | None:
        """Nothing to keep: the objects name their values."""
        return None

    def learn(self, stored: Sequence[Stored]) -> list[Message]:
        """Home Assistant's discovery of what is seen for the first time."""
        if not self._home:
            return []
        grown: set[str] = set()
        for one in stored:
            known = self._known.setdefault(one.reading.device, {})
            new = {name: one.reading.stream for name in one.reading.values if name not in known}
            if new:
                known |= new
                grown.add(one.reading.device)
        return [self._discovery(device) for device in sorted(grown)]

    def introduce(self) -> list[Message]:
        """Everything known, for a new connection."""
        return [self._discovery(device) for device in sorted(self._known)]

    def messages(self, klass: str, stored: Sequence[Stored]) -> list[Message]:
        """One message a reading."""
        kind = "reading" if klass == LIVE else "history"
        return [
            Message(
                f"tukad/{self._site}/{kind}/{one.reading.device}/{one.reading.stream}",
                _dumps(reading_json(one.reading)).encode(),
                (one.id,),
            )
            for one in stored
        ]

    def _discovery(self, device: str) -> Message:
        identity = f"tukad_{self._site}_{device}".replace(".", "_")
        interval_s = self._intervals_s.get(device, 300)
        components: dict[str, Any] = {}
        for name, stream in self._known[device].items():
            column = channel(name)
            template = f"value_json['values']['{name}']"
            if column.decimals:
                template = f"{template} / {10**column.decimals}"
            component: dict[str, Any] = {
                "p": "sensor",
                "name": name,
                "unique_id": f"{identity}_{name}",
                "state_topic": f"tukad/{self._site}/reading/{device}/{stream}",
                "value_template": f"{{{{ {template} if '{name}' in value_json['values'] }}}}",
                "state_class": "measurement",
                "expire_after": _EXPIRE_INTERVALS * interval_s,
            }
            if column.unit in _HOME_CLASSES:
                device_class, unit = _HOME_CLASSES[column.unit]
                component |= {"device_class": device_class, "unit_of_measurement": unit}
            components[name] = component
        body = {
            "dev": {"ids": [identity], "name": device, "mf": "Tukad"},
            "o": {"name": "tukad", "sw": version("tukad")},
            "avty": [
                {
                    "t": f"tukad/{self._site}/online",
                    "pl_avail": "1",
                    "pl_not_avail": "0",
                }
            ],
            "cmps": components,
        }
        topic = f"homeassistant/device/{identity}/config"
        return Message(topic, _dumps(body).encode(), retain=True)


class SenmlFormat:
    """SenML in CBOR: one pack of many readings a message.

    The base name is SITE/DEVICE/STREAM/; `sequence` and `quality` are records beside the values,
    so that repeats can be told and flags are not lost.
    """

    def __init__(self, site: str, payload_max: int) -> None:
        self._site = site
        self._payload_max = payload_max

    @property
    def state(self) -> str | None:
        """Nothing to keep."""
        return None

    def learn(self, stored: Sequence[Stored]) -> list[Message]:
        """Nothing: packs describe themselves."""
        return []

    def introduce(self) -> list[Message]:
        """Nothing."""
        return []

    def messages(self, klass: str, stored: Sequence[Stored]) -> list[Message]:
        """One message, or more when the payload would be too long for the broker."""
        records: list[dict[int, Any]] = []
        for one in stored:
            records += self._records(one.reading)
        data = cbor2.dumps(records)
        if len(data) > self._payload_max and len(stored) > 1:
            middle = len(stored) // 2
            return self.messages(klass, stored[:middle]) + self.messages(klass, stored[middle:])
        ids = tuple(one.id for one in stored)
        return [Message(f"tukad/{self._site}/senml/{klass}", data, ids)]

    def _records(self, reading: Reading) -> list[dict[int, Any]]:
        base = f"{self._site}/{reading.device}/{reading.stream}/"
        seconds, rest = divmod(reading.time_ms, 1000)
        records: list[dict[int, Any]] = [
            {
                _BASE_NAME: base,
                _BASE_TIME: reading.time_ms / 1000 if rest else seconds,
                _NAME: "sequence",
                _VALUE: reading.sequence,
            },
            {_NAME: "quality", _VALUE: reading.quality},
        ]
        for name, value in reading.values.items():
            column = channel(name)
            number: int | float = value / 10**column.decimals if column.decimals else value
            unit = column.unit
            if unit == "kn":
                number, unit = round(number * _KNOT_M_S, 3), "m/s"
            record: dict[int, Any] = {_NAME: column.name, _VALUE: number}
            if unit:
                record[_UNIT] = unit
            records.append(record)
        return records
