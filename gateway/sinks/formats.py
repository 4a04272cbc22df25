"""What readings look like on MQTT: `Format`, `BatchFormat` (the codec); others in `plain`.

A format turns readings into `Message`s, each of which carries the ledger's numbers of what is in
it, so that a PUBACK can mark exactly these as delivered. Topics:

    tukad/SITE/catalogue            retained; what the batches' columns mean (batch format)
    tukad/SITE/batch/live           batches: newest readings
    tukad/SITE/batch/history        batches: what waited for the link, or was asked for later
    tukad/SITE/acknowledged         from the city: which batch was decoded
    tukad/SITE/alarm/DEVICE         one JSON object an alarm, at once
    tukad/SITE/health               retained JSON; tukad/SITE/online retained "1" or "0" (will)
"""

import json
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, cast

from gateway.codec import (
    Batch,
    BatchError,
    Catalogue,
    Channel,
    Device,
    Record,
    encode_batch,
    learned,
)
from gateway.ledger.store import Stored
from gateway.model import Alarm, Reading

LIVE, HISTORY = "live", "history"

# A receiver keeps its last 32 batches: a reference must still be among them.
_REFERENCE_USES_MAX = 24
_RECENT_MAX = 64
# Readings of a stream after which the catalogue learns what is usual in it, once; the few streams
# that are about as far learn with it, so that the catalogue is not sent again for each.
_LEARN_FROM = 100
_LEARN_WITH = 50
_SAMPLES_MAX = 5000  # kept for it, of all streams

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

# The last word of a value's name tells how its integer is scaled: the unit for people, the decimals
# of the integer in that unit, and the last word of the name in the city, where 3900 `battery_mv`
# becomes 3.9 `battery_v`.
_UNITS = {
    "mm": ("mm", 0, "mm"),
    "um": ("mm", 3, "mm"),
    "m": ("m", 0, "m"),
    "mv": ("V", 3, "v"),
    "pa": ("Pa", 0, "pa"),
    "c": ("Cel", 0, "c"),
    "cdeg": ("Cel", 2, "c"),
    "udeg": ("deg", 6, "deg"),
    "e5": ("deg", 5, "deg"),
    "deg": ("deg", 0, "deg"),
    "db": ("dB", 0, "db"),
    "cb": ("dB", 1, "db"),
    "cdb": ("dB", 2, "db"),
    "dbm": ("dBm", 0, "dbm"),
    "dkn": ("kn", 1, "kn"),
    "s": ("s", 0, "s"),
    "ms": ("ms", 0, "ms"),
    "min": ("min", 0, "min"),
    "tips": ("count", 0, "tips"),
    "milli": ("", 3, ""),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One publish; `ids` are the ledger's numbers of the readings inside."""

    topic: str
    payload: bytes
    ids: tuple[int, ...] = ()
    retain: bool = False


class Format(Protocol):
    """How readings become messages."""

    @property
    def state(self) -> str | None:
        """What must be on disk before what `learn` gave goes out; given back at the start."""
        ...

    def learn(self, stored: Sequence[Stored]) -> list[Message]:
        """The retained messages that must be confirmed before these readings go."""
        ...

    def introduce(self) -> list[Message]:
        """The retained messages as they are now, for a new connection."""
        ...

    def messages(self, klass: str, stored: Sequence[Stored]) -> list[Message]:
        """The readings as messages; call `learn` first."""
        ...


def alarm_message(site: str, alarm: Alarm) -> Message:
    """An alarm, alone in its message whatever the format of the readings."""
    body = {"tukad_alarm": 1, "site": site, **asdict(alarm)}
    return Message(f"tukad/{site}/alarm/{alarm.device}", _dumps(body).encode())


def city_name(name: str) -> str:
    """The name in the city of a value, whose number there is in whole units."""
    base, _, last = name.rpartition("_")
    if not base or last not in _UNITS:
        return name
    word = _UNITS[last][2]
    return f"{base}_{word}" if word else base


def channel(name: str) -> Channel:
    """The column of a value."""
    unit, decimals, _ = _UNITS.get(name.rpartition("_")[2], ("", 0, ""))
    return Channel(city_name(name), unit, decimals)


@dataclass(frozen=True, slots=True)
class _Sent:
    batch: Batch
    ids: tuple[int, ...]
    is_built: bool  # on a reference


class BatchFormat:
    """Compressed batches by `gateway.codec`.

    The catalogue grows as devices and values are first seen; `state` keeps it between runs, for a
    version number must never come back with another meaning.
    """

    def __init__(
        self, site: str, state: str | None, intervals_s: dict[str, int], payload_max: int
    ) -> None:
        self._site = site
        self._intervals_s = intervals_s
        self._payload_max = payload_max
        self._catalogue: Catalogue | None = None
        self._columns: dict[tuple[str, str], dict[str, Channel]] = {}
        self._samples: dict[tuple[str, str], list[Reading]] = {}  # of streams not learned yet
        self._sampled = 0
        self._number = 0
        self._lock = threading.Lock()  # long batches are made in a thread
        self._recent: deque[_Sent] = deque(maxlen=_RECENT_MAX)
        self._reference: Batch | None = None  # what the far application has confirmed
        self._reference_uses = 0
        if state is not None:
            try:
                self._use(Catalogue.from_json(state.encode()))
            except BatchError:
                self._catalogue = None  # written by a newer version: start with the next one

    @property
    def state(self) -> str | None:
        """The catalogue to keep, as text."""
        return None if self._catalogue is None else self._catalogue.to_json().decode()

    def _use(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._columns = {
            (device.id, device.stream): {column.name: column for column in device.channels}
            for device in catalogue.devices
        }

    def learn(self, stored: Sequence[Stored]) -> list[Message]:
        """The new catalogue when there are new devices or values, or enough to learn from."""
        has_grown = self._grow(stored)
        has_learned = self._learn_usual(stored)
        return self.introduce() if has_grown or has_learned else []

    def _grow(self, stored: Sequence[Stored]) -> bool:
        columns = self._columns
        grown: dict[tuple[str, str], dict[str, Channel]] = {}
        for one in stored:
            key = (one.reading.device, one.reading.stream)
            known = grown.get(key) or columns.get(key, {})
            new = {
                city_name(name): channel(name)
                for name in one.reading.values
                if city_name(name) not in known
            }
            if new or not known:
                grown[key] = known | new
        if not grown:
            return False
        merged = columns | {key: found or {"none": Channel("none")} for key, found in grown.items()}
        before = {} if self._catalogue is None else {(d.id, d.stream): d for d in self._devices}
        devices = tuple(
            replace(before[key], channels=tuple(found.values()))
            if key in before
            else Device(*key, tuple(found.values()), self._intervals_s.get(key[0], 60))
            for key, found in merged.items()
        )
        if self._catalogue is None:
            epoch_s = min(one.reading.time_ms for one in stored) // 86_400_000 * 86_400
            self._use(Catalogue(0, devices, max(epoch_s, 0), self._site))
        else:
            version = self._catalogue.version + 1 & 0xFFFF
            self._use(replace(self._catalogue, version=version, devices=devices))
        return True

    @property
    def _devices(self) -> tuple[Device, ...]:
        return () if self._catalogue is None else self._catalogue.devices

    def _learn_usual(self, stored: Sequence[Stored]) -> bool:
        """Intervals, typical values and steps: they make batches shorter, and change nothing."""
        is_enough = False
        fresh = {(d.id, d.stream) for d in self._devices if d.anchor_s is None}
        for one in stored if fresh else ():
            key = (one.reading.device, one.reading.stream)
            if key in fresh and self._sampled < _SAMPLES_MAX:
                samples = self._samples.setdefault(key, [])
                samples.append(one.reading)
                self._sampled += 1
                is_enough |= len(samples) >= _LEARN_FROM
        catalogue = self._catalogue
        if catalogue is None or (not is_enough and self._sampled < _SAMPLES_MAX):
            return False
        least = _LEARN_WITH if is_enough else 1
        ready = [key for key, samples in self._samples.items() if len(samples) >= least]
        records = [
            self._record(catalogue, reading)
            for key in ready
            for reading in sorted(self._samples.pop(key), key=lambda reading: reading.sequence)
        ]
        self._sampled -= len(records)
        if not records:
            return False
        self._use(learned(catalogue, records, version=catalogue.version + 1 & 0xFFFF))
        return True

    def introduce(self) -> list[Message]:
        """The catalogue as a retained message."""
        if self._catalogue is None:
            return []
        data = self._catalogue.to_json()
        return [Message(f"tukad/{self._site}/catalogue", data, retain=True)]

    def messages(self, klass: str, stored: Sequence[Stored]) -> list[Message]:
        """One message, or more when the payload would be too long for the broker."""
        catalogue = self._catalogue
        assert catalogue is not None, "learn() comes first"
        ordered = sorted(stored, key=lambda s: (s.reading.device, s.reading.sequence))
        records = [self._record(catalogue, one.reading) for one in ordered]
        reference = self._usable_reference(catalogue)
        batch = encode_batch(catalogue, records, batch_number=self._number, reference=reference)
        if len(batch.data) > self._payload_max and len(ordered) > 1:
            middle = len(ordered) // 2
            return self.messages(klass, ordered[:middle]) + self.messages(klass, ordered[middle:])
        self._number = (self._number + 1) & 0xFF
        ids = tuple(one.id for one in ordered)
        with self._lock:
            self._reference_uses += 1
            self._recent.append(_Sent(batch, ids, reference is not None))
        return [Message(f"tukad/{self._site}/batch/{klass}", batch.data, ids)]

    def _usable_reference(self, catalogue: Catalogue) -> Batch | None:
        with self._lock:
            found = self._reference
            is_fresh = self._reference_uses < _REFERENCE_USES_MAX
        if found is None or not is_fresh or found.catalogue.fingerprint != catalogue.fingerprint:
            return None
        return found

    def answered(self, payload: bytes) -> list[int]:
        """The far application's word on batches; returns the numbers that must be sent again.

        `{"batch", "check"}` confirms a batch: the next ones may build on it, which makes short
        batches much shorter. `{"refused": "reference"}` says that it lost what they build on:
        what was built and not confirmed since is sent again, self-contained.
        """
        try:
            body = cast("dict[str, Any]", json.loads(payload))
            check = int(body.get("check", -1))
            is_refusal = "refused" in body
        except (ValueError, AttributeError, TypeError):
            return []
        with self._lock:
            if is_refusal:
                self._reference = None
                again = [number for sent in self._recent if sent.is_built for number in sent.ids]
                self._recent.clear()
                return again
            for index, sent in enumerate(self._recent):
                if sent.batch.check == check and sent.batch.state is not None:
                    self._reference, self._reference_uses = sent.batch, 0
                    for _ in range(index + 1):  # what came before it was decoded before it
                        self._recent.popleft()
                    break
        return []

    def _record(self, catalogue: Catalogue, reading: Reading) -> Record:
        columns = self._columns[reading.device, reading.stream]
        values = {city_name(name): value for name, value in reading.values.items()}
        return Record(
            device=catalogue.index(reading.device, reading.stream),
            sequence=reading.sequence,
            time_ms=reading.time_ms,
            values=tuple(values.get(name) for name in columns),
            quality=reading.quality,
            time_source=reading.time_source,
        )
