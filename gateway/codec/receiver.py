"""The city side: `Decoder` takes (topic, payload) as they come and yields readings once.

It keeps each site's catalogues and the batches that later ones may build on, holds batches back
until their catalogue arrives (a retained message may come second), and drops what it has yielded
before: delivery is at least once, a reading's identity is (site, device, stream, sequence).

    decoder = Decoder()
    for item in decoder.feed(topic, payload):
        match item:
            case Reading(): ...   # a reading, once
            case Event(): ...     # an alarm or a health report, as it was sent
            case Refusal(): ...   # a payload that could not be used, and why
    decoder.counts                # batches, readings, duplicates, revised, held, refused_CODE
"""

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.codec.batch import decode
from gateway.codec.catalogue import Catalogue, Channel
from gateway.codec.errors import BatchError
from gateway.codec.records import Batch, Record

CATALOGUES_MAX = 8  # per site; a batch names its catalogue modulo 8
REFERENCES_MAX = 32  # per site; as many as batch numbers can tell apart
HELD_MAX = 256  # batches per site that wait for a catalogue


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of one stream, with the meaning of its columns."""

    site: str
    klass: str  # "live", "history": the last part of the batch's topic
    device: str
    stream: str
    sequence: int | None
    time_ms: int  # unix
    time_source: str  # gnss, network, ntp, estimated, unknown
    quality: int  # QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing
    counts: dict[str, int]  # scaled integers as sent; absent channels have no key
    channels: tuple[Channel, ...] = field(repr=False)
    revised: bool = False  # seen before with other content (a time that became known later)

    @property
    def values(self) -> dict[str, int | float]:
        """In the channels' units: 3.142 for 3142 with three decimals."""
        return {
            c.name: self.counts[c.name] / 10**c.decimals if c.decimals else self.counts[c.name]
            for c in self.channels
            if c.name in self.counts
        }


@dataclass(frozen=True, slots=True)
class Event:
    """A JSON message that is not a batch: an alarm, or a site's health."""

    site: str
    kind: str  # alarm, health
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A payload that was not used, and why (codes of gateway/codec/errors.py, or "topic")."""

    topic: str
    code: str
    detail: str


class _Site:
    def __init__(self) -> None:
        self.catalogues: OrderedDict[int, Catalogue] = OrderedDict()
        self.references: deque[Batch] = deque(maxlen=REFERENCES_MAX)
        self.held: deque[tuple[str, bytes]] = deque(maxlen=HELD_MAX)


class Decoder:
    """Topics and payloads in, readings out; memory is bounded.

    `remember` is how many identities are kept to know duplicates by (about 150 bytes each).
    """

    def __init__(self, *, remember: int = 200_000) -> None:
        self._sites: dict[str, _Site] = {}
        self._seen: OrderedDict[tuple[str, str, str, int], int] = OrderedDict()
        self._remember = remember
        self.counts: Counter[str] = Counter()

    def feed(self, topic: str, payload: bytes) -> Iterator[Reading | Event | Refusal]:
        """What the message brings: nothing, one event or refusal, or many readings.

        Topics are tukad/SITE/batch/CLASS, .../catalogue, .../alarm/DEVICE and .../health.
        """
        parts = topic.split("/")
        match parts:
            case ["tukad", site, "catalogue"]:
                yield from self._catalogue(site, topic, payload)
            case ["tukad", site, "batch", klass]:
                yield from self._batch(site, klass, topic, payload)
            case ["tukad", site, ("alarm" | "health") as kind, *_]:
                yield self._event(site, kind, topic, payload)
            case _:
                yield self._refuse(topic, "topic", "not a topic of Tukad")

    def references(self, site: str) -> tuple[Batch, ...]:
        """The batches of a site that a sender may build on, newest first."""
        return tuple(self._sites[site].references) if site in self._sites else ()

    def _site(self, name: str) -> _Site:
        return self._sites.setdefault(name, _Site())

    def _refuse(self, topic: str, code: str, detail: str) -> Refusal:
        self.counts["refused_" + code] += 1
        return Refusal(topic, code, detail)

    def _catalogue(
        self, name: str, topic: str, payload: bytes
    ) -> Iterator[Reading | Event | Refusal]:
        if not payload:  # how a retained message is taken back
            return
        try:
            catalogue = Catalogue.from_json(payload)
        except BatchError as error:
            yield self._refuse(topic, error.code, error.detail)
            return
        site = self._site(name)
        self.counts["catalogues"] += 1
        site.catalogues[catalogue.fingerprint] = catalogue
        site.catalogues.move_to_end(catalogue.fingerprint)
        if len(site.catalogues) > CATALOGUES_MAX:
            site.catalogues.popitem(last=False)
        waiting = list(site.held)
        site.held.clear()
        for held_topic, held in waiting:
            yield from self._batch(name, held_topic.rpartition("/")[2], held_topic, held)

    def _batch(
        self, name: str, klass: str, topic: str, payload: bytes
    ) -> Iterator[Reading | Event | Refusal]:
        site = self._site(name)
        newest_first = tuple(reversed(site.catalogues.values()))
        try:
            batch = decode(payload, newest_first, site.references)
        except BatchError as error:
            # With no catalogue at all, even damage looks like a missing one; hold and see.
            if error.code == "catalogue":
                site.held.append((topic, payload))
                self.counts["held"] += 1
            yield self._refuse(topic, error.code, error.detail)
            return
        self.counts["batches"] += 1
        if batch.state is not None and all(b.check != batch.check for b in site.references):
            site.references.appendleft(replace(batch, records=()))
        devices = batch.catalogue.devices
        for record in batch.records:
            device = devices[record.device]
            news = self._news(name, device.id, device.stream, record)
            if news is None:
                continue
            yield Reading(
                name,
                klass,
                device.id,
                device.stream,
                record.sequence,
                record.time_ms,
                record.time_source,
                record.quality,
                {
                    channel.name: value
                    for channel, value in zip(device.channels, record.values, strict=True)
                    if value is not None
                },
                device.channels,
                news == "revised",
            )

    def _news(self, site: str, device: str, stream: str, record: Record) -> str | None:
        """ "new", "revised", or None for a duplicate."""
        # A stream without sequence numbers is told apart by time.
        key = record.time_ms if record.sequence is None else record.sequence
        identity = (site, device, stream, key)
        content = hash((record.time_ms, record.values, record.quality, record.time_source))
        before = self._seen.get(identity)
        self._seen[identity] = content
        if before is None:
            self.counts["readings"] += 1
            if len(self._seen) > self._remember:
                self._seen.popitem(last=False)
            return "new"
        self._seen.move_to_end(identity)
        if before == content:
            self.counts["duplicates"] += 1
            return None
        self.counts["revised"] += 1
        return "revised"

    def _event(self, site: str, kind: str, topic: str, payload: bytes) -> Event | Refusal:
        try:
            body: object = json.loads(payload)
        except ValueError as error:
            return self._refuse(topic, "structure", f"not JSON: {error}")
        if not isinstance(body, dict):
            return self._refuse(topic, "structure", "not a JSON object")
        self.counts[kind] += 1
        return Event(site, kind, dict[str, Any](body))  # pyright: ignore[reportUnknownArgumentType]
