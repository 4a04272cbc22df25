"""The act of section [sensorthings]: `SensorThingsAct`, a sink of the ledger.

A reading counts as delivered when the server confirmed all of its observations. When an answer was
lost, and after a restart, the server is asked what it has before anything is sent again.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.acts.part import Act, Context
from gateway.acts.sensorthings.client import Client, LinkError, RefusedError, opened
from gateway.acts.sensorthings.entities import Entities, Key
from gateway.acts.sensorthings.settings import SensorThingsSettings
from gateway.ledger.store import Stored
from gateway.model import FAIL, GOOD, MISSING, NOT_EVALUATED, SUSPECT, Reading
from gateway.sinks.formats import channel
from gateway.sinks.outbox import Outbox

log = logging.getLogger("tukad.sensorthings")

SINK = "sensorthings"
_COMPONENTS = ["phenomenonTime", "resultTime", "result", "resultQuality"]
_QUALITIES = {
    GOOD: "good",
    NOT_EVALUATED: "not evaluated",
    SUSPECT: "suspect",
    FAIL: "fail",
    MISSING: "missing",
}
_NEWEST = 1 << 62
_NO_ARRAYS = (404, 405)
_BAD_ROW = (400, 409, 413, 422)  # what is wrong is the observation, not the way to the server

_Row = tuple[int, list[Any]]  # the sample's time in ms, and its components


class SensorThingsAct(Act):
    """Pushes readings to one server."""

    name = SINK

    def __init__(self, settings: SensorThingsSettings, context: Context) -> None:
        self._settings = settings
        self._folder: Path = context.file.parent
        self._ledger = context.ledger
        self._shares = {one.name: one.share for one in context.settings.device}
        self._entities = Entities(context.settings, settings.url, context.ledger)
        self.outbox = Outbox(context.ledger, SINK)
        self._has_arrays = True
        self._doubt_to = 0  # readings up to this number may be there already
        self._doubtful: set[int] = set()  # and these
        self._pause_s = 0.5
        self._error = "not connected yet"
        self._refusal = ""
        self._delivered = self._observations = self._spared = self._refused = 0
        self._failures = 0
        settings.headers(self._folder)
        settings.login(self._folder)

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """Queue them."""
        self.outbox.offer(stored)

    async def run(self) -> None:
        """Deliver until cancelled."""
        await self._entities.load()
        newest = await self._ledger.read(lambda store: store.take(SINK, _NEWEST, 1))
        self._doubt_to = newest[0].id if newest else 0
        while True:
            try:
                async with opened(self._settings, self._folder) as client:
                    await self._session(client)
            except (OSError, RefusedError) as error:
                self._note(str(error))
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))
            self._pause_s = min(2 * self._pause_s, self._settings.retry_s_max)

    def _note(self, error: str) -> None:
        self._failures += 1
        if error != self._error:
            log.warning("sensorthings.link error=%r; readings are kept", error)
        self._error = error

    async def _session(self, client: Client) -> None:
        await self.outbox.reset()
        self._error = ""
        while True:
            await self.outbox.wait()
            if self._settings.linger_s:
                await asyncio.sleep(self._settings.linger_s if self.outbox.live else 0)
            stored = self.outbox.take_live(self._settings.batch_max)
            if not stored:
                stored = await self.outbox.take_history(self._settings.batch_max)
            if not stored:
                continue
            ids = [one.id for one in stored]
            try:
                await self._deliver(client, stored)
            except BaseException:
                self._doubtful.update(ids)
                raise
            self.outbox.done(ids)
            self._doubtful.difference_update(ids)
            self._delivered += len(ids)
            self._pause_s = 0.5

    async def _deliver(self, client: Client, stored: Sequence[Stored]) -> None:
        rows: dict[Key, list[_Row]] = defaultdict(list)
        is_doubtful = False
        for one in stored:
            is_doubtful |= one.id <= self._doubt_to or one.id in self._doubtful
            values = self._values(one.reading)
            if "lat_e5" in values and "lon_e5" in values:
                self._entities.place(one.reading.device, values["lat_e5"], values["lon_e5"])
            for name, value in values.items():
                key = one.reading.device, one.reading.stream, name
                rows[key].append((one.reading.time_ms, _components(one.reading, name, value)))
        streams: dict[Key, dict[str, Any]] = {}
        for key in list(rows):
            streams[key] = await self._entities.datastream(client, key)
            if is_doubtful and key not in self._entities.fresh:
                rows[key] = await self._missing(client, streams[key], rows[key])
                if not rows[key]:
                    del rows[key]
        # From now on an answer may get lost with observations behind it.
        self._entities.fresh.difference_update(rows)
        if not rows:
            return
        if self._has_arrays:
            await self._send_arrays(client, streams, rows)
        else:
            for key, some in rows.items():
                await self._send_one_by_one(client, streams[key], some)

    def _values(self, reading: Reading) -> Mapping[str, int]:
        """What of a reading is pushed."""
        is_tracker = "lat_e5" in reading.values or reading.stream in ("track", "event")
        if not is_tracker:
            return reading.values
        is_open = self._shares.get(reading.device, "exact") == "exact"
        return reading.values if self._settings.trackers and is_open else {}

    async def _missing(
        self, client: Client, stream: dict[str, Any], rows: list[_Row]
    ) -> list[_Row]:
        """The rows that the server does not have yet, told by the time of the sample.

        Some servers give the time in whole seconds: there the result tells samples apart.
        """
        first, last = min(row[0] for row in rows), max(row[0] for row in rows)
        low, high = _iso(first // 1000 * 1000), _iso((last // 1000 + 1) * 1000)
        params = {"$filter": f"phenomenonTime ge {low} and phenomenonTime le {high}"}
        there: Counter[int] = Counter()
        there_s: Counter[tuple[int, float]] = Counter()
        async for entity in client.all(stream["observations"], params):
            with contextlib.suppress(ValueError, KeyError, AttributeError, TypeError):
                time_ms = _milliseconds(entity["phenomenonTime"])
                if time_ms % 1000:
                    there[time_ms] += 1
                else:
                    there_s[time_ms // 1000, float(entity["result"])] += 1
        left: list[_Row] = []
        for row in rows:
            key = row[0] // 1000, float(row[1][2])
            if there[row[0]] > 0:
                there[row[0]] -= 1
            elif there_s[key] > 0:
                there_s[key] -= 1
            else:
                left.append(row)
        self._spared += len(rows) - len(left)
        return left

    async def _send_arrays(
        self,
        client: Client,
        streams: Mapping[Key, dict[str, Any]],
        rows: Mapping[Key, list[_Row]],
    ) -> None:
        body = [
            {
                "Datastream": {"@iot.id": streams[key]["id"]},
                "components": _COMPONENTS,
                "dataArray": [row[1] for row in some],
            }
            for key, some in rows.items()
        ]
        try:
            _, answer = await client.post(f"{client.root}/CreateObservations", body)
        except RefusedError as error:
            if error.status in _NO_ARRAYS:
                self._has_arrays = False
            elif error.status not in _BAD_ROW:
                raise
            failed = dict(rows)
        else:
            failed = self._failed(answer, rows)
        taken = sum(map(len, rows.values())) - sum(map(len, failed.values()))
        self._observations += taken
        for key, some in failed.items():
            await self._send_one_by_one(client, streams[key], some)

    def _failed(self, answer: Any, rows: Mapping[Key, list[_Row]]) -> dict[Key, list[_Row]]:
        """Rows for which the answer, one text for each in order, says "error"."""
        total = sum(map(len, rows.values()))
        if not isinstance(answer, list) or len(answer) != total:  # pyright: ignore[reportUnknownArgumentType]
            raise LinkError("the server did not confirm every observation", is_unsure=True)
        confirmed = iter([str(one) for one in answer])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        failed: dict[Key, list[_Row]] = {}
        for key, some in rows.items():
            bad = [row for row in some if next(confirmed).lower().startswith("error")]
            if bad:
                failed[key] = bad
        return failed

    async def _send_one_by_one(
        self, client: Client, stream: dict[str, Any], rows: Sequence[_Row]
    ) -> None:
        """So that one observation that the server refuses keeps no other from it."""
        for row in rows:
            body = dict(zip(_COMPONENTS, row[1], strict=True))
            body["Datastream"] = {"@iot.id": stream["id"]}
            try:
                await client.post(client.sets["Observations"], body)
            except LinkError:
                # Some servers answer 500 when the Datastream is not there.
                await self._make_sure_of(client, stream)
                raise
            except RefusedError as error:
                if error.status not in _BAD_ROW:
                    raise
                await self._make_sure_of(client, stream)
                self._refused += 1
                self._refusal = str(error)
                log.warning("sensorthings.refused time_ms=%d error=%r", row[0], str(error))
            else:
                self._observations += 1

    async def _make_sure_of(self, client: Client, stream: dict[str, Any]) -> None:
        """Whether the Datastream is still there: a server that was set up anew lost it."""
        try:
            await client.get(stream["link"])
        except RefusedError as error:
            if error.status not in (404, 410):
                raise
            await self._entities.forget()
            raise LinkError(
                "the server no longer has our Datastreams; they are made again", is_unsure=True
            ) from None

    def faults(self) -> Mapping[tuple[str, str], str]:
        """What waits for the server, and what it refused."""
        found: dict[tuple[str, str], str] = {}
        if self._error:
            found["sensorthings.offline", self._settings.url] = (
                f"{self._error}; readings for the GIS wait in the ledger and follow by themselves:"
                " check the internet link, sensorthings.url and the token"
            )
        if self._refused:
            found["sensorthings.refused", self._settings.url] = (
                f"{self._refused} observations were refused, the last with {self._refusal}"
            )
        return found

    def counters(self) -> Mapping[str, int]:
        """Readings, observations and failures."""
        return {
            "readings": self._delivered,
            "observations": self._observations,
            "spared": self._spared,
            "refused": self._refused,
            "entities": self._entities.created,
            "failures": self._failures,
            "now_connected": int(not self._error),
        }


def _components(reading: Reading, name: str, value: int) -> list[Any]:
    decimals = channel(name).decimals
    quality = {
        "nameOfMeasure": "QARTOD",
        "flag": reading.quality,
        "meaning": _QUALITIES.get(reading.quality, ""),
    }
    return [
        _iso(reading.time_ms),
        _iso(reading.received_ms),
        round(value / 10**decimals, decimals) if decimals else value,
        quality,
    ]


def _iso(time_ms: int) -> str:
    at = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def _milliseconds(text: str) -> int:
    """Of an ISO time, or of the beginning of an interval."""
    at = datetime.fromisoformat(text.partition("/")[0].replace(" ", "T"))
    return round(at.timestamp() * 1000)
