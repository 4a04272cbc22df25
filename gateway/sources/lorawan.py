"""LoRaWAN frames into readings: `LorawanSource`, around the network server.

The network server awaits `_on_uplink`, which returns when the readings are on disk; only then is a
confirmed frame acknowledged. Streams: "flood" and "track" carry the sequence of the device's own
log, so that a hole is a reading that got lost; "status", "event", "answer" and what foreign
sensors send are numbered by join and frame counter, which only tells repeats apart.
"""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.clock import WallClock
from gateway.ledger.ledger import Ledger
from gateway.lorawan.model import Uplink
from gateway.lorawan.service import NetworkServerService
from gateway.model import BACKFILL, HISTORY, LIVE, Accept, Link, Reading
from protocols.errors import RemoteError
from protocols.payload.backfill import decode_backfill
from protocols.payload.command import decode_answer
from protocols.payload.event import decode_event
from protocols.payload.flood import FloodFrame, FloodSample, decode_flood
from protocols.payload.ports import (
    EPOCH_UNIX_S,
    PORT_ANSWER,
    PORT_BACKFILL,
    PORT_EVENT,
    PORT_FLOOD,
    PORT_STATUS,
    PORT_TRACK,
)
from protocols.payload.status import decode_status
from protocols.payload.track import TrackFix, TrackFrame, decode_track

log = logging.getLogger("tukad.lorawan")

FLOOD, TRACK, STATUS, EVENT, ANSWER = "flood", "track", "status", "event", "answer"
_NUMBERS_APART = 8192  # half of what the low bits in a frame tell apart


@dataclass(slots=True)
class _Last:
    """The newest reading known of a stream."""

    sequence: int
    time_s: int | None  # since 2020; None when only the number is known, from a status frame
    lat_e5: int | None = None
    lon_e5: int | None = None


class LorawanSource:
    """A `gateway.model.Source` for every device of the network server."""

    def __init__(
        self,
        service: NetworkServerService,
        ledger: Ledger,
        clock: WallClock,
        site_e5: tuple[int, int] | None = None,
    ) -> None:
        """`site_e5`: where the gateway is, latitude and longitude in 1e-5 degrees.

        A tracker sends its position modulo 2.62 degrees; that of a device whose last position is
        not known is then the one near the gateway.
        """
        self.service = service
        self._site_e5 = site_e5 or (None, None)
        self._ledger = ledger
        self._clock = clock
        self._accept: Accept
        self._last: dict[tuple[str, str], _Last | None] = {}
        self.uplinks = 0
        self.undecoded: dict[str, int] = {}  # by error code
        self.seen_ms: dict[str, int] = {}

    @property
    def name(self) -> str:
        """A short unique name."""
        return "lorawan"

    async def run(self, accept: Accept) -> None:
        """Serve until cancelled. Raises OSError if a port cannot be bound."""
        self._accept = accept
        await self.service.run(self._on_uplink)

    async def _on_uplink(self, uplink: Uplink) -> None:
        self.uplinks += 1
        self.seen_ms[uplink.device] = uplink.received_ms
        try:
            readings = await self._readings(uplink)
        except RemoteError as error:
            # Nothing is gained by asking the device to send the same bytes again.
            self.undecoded[error.code] = self.undecoded.get(error.code, 0) + 1
            log.warning(
                "lorawan.undecoded device=%s port=%d length=%d error=%r",
                uplink.device,
                uplink.f_port,
                len(uplink.payload),
                str(error),
            )
            return
        if readings:
            await self._accept(readings)

    async def _readings(self, uplink: Uplink) -> list[Reading]:
        if uplink.decoder or uplink.codec:
            return self._foreign(uplink)
        received_s = uplink.received_ms // 1000 - EPOCH_UNIX_S
        if uplink.f_port == PORT_FLOOD:
            last = await self._last_of(uplink.device, FLOOD)
            known = (None, None) if last is None else (last.sequence, last.time_s)
            return self._flood(uplink, decode_flood(uplink.payload, received_s, *known))
        if uplink.f_port == PORT_TRACK:
            last = await self._last_of(uplink.device, TRACK)
            near = self._near(last)
            known = (None, None) if last is None else (last.sequence, last.time_s)
            return self._track(uplink, decode_track(uplink.payload, received_s, *near, *known))
        if uplink.f_port == PORT_BACKFILL:
            return await self._backfill(uplink)
        if uplink.f_port == PORT_STATUS:
            found = decode_status(uplink.payload)
            await self._note_log(uplink.device, found)
            return [self._single(uplink, STATUS, found)]
        if uplink.f_port == PORT_EVENT:
            return [self._single(uplink, EVENT, decode_event(uplink.payload, received_s))]
        if uplink.f_port == PORT_ANSWER:
            return [self._single(uplink, ANSWER, decode_answer(uplink.payload))]
        raise RemoteError("port", f"port {uplink.f_port} carries nothing of ours")

    async def _last_of(self, device: str, stream: str) -> _Last | None:
        key = (device, stream)
        if key not in self._last:
            reading = await self._ledger.read(lambda store: store.latest(device, stream))
            self._last[key] = None
            if reading is not None:
                self._note(reading)
        return self._last[key]

    def _near(self, last: _Last | None) -> tuple[int | None, int | None]:
        """The position that one given modulo 2.62 degrees is near to."""
        if last is None or last.lat_e5 is None or last.lon_e5 is None:
            return self._site_e5
        return last.lat_e5, last.lon_e5

    async def _note_log(self, device: str, found: Mapping[str, int | None]) -> None:
        """Believe a status frame's own number of the newest reading where ours is far off.

        Frames carry the low bits alone: a gateway that is new to a device which has been
        measuring for weeks would number its readings a multiple of 16,384 too low.
        """
        sequence = found.get("sequence")
        if sequence is None:
            return
        # The page does not say what it counts: what the device has sent, or either if nothing yet.
        both = [(stream, await self._last_of(device, stream)) for stream in (FLOOD, TRACK)]
        for stream, last in [pair for pair in both if pair[1] is not None] or both:
            if last is None:
                self._last[device, stream] = _Last(sequence, None)
            elif abs(sequence - last.sequence) > _NUMBERS_APART:
                log.warning(
                    "lorawan.renumbered device=%s from=%d to=%d", device, last.sequence, sequence
                )
                self._last[device, stream] = _Last(sequence, None, last.lat_e5, last.lon_e5)

    def _note(self, reading: Reading) -> None:
        """Remember the newest reading of a stream: the next frame is unwrapped against it."""
        key = (reading.device, reading.stream)
        known = self._last.get(key)
        if known is None or reading.sequence > known.sequence:
            self._last[key] = _Last(
                reading.sequence,
                reading.time_ms // 1000 - EPOCH_UNIX_S,
                reading.values.get("lat_e5"),
                reading.values.get("lon_e5"),
            )

    def _flood(self, uplink: Uplink, frame: FloodFrame) -> list[Reading]:
        readings: list[Reading] = []
        source = "network" if frame.is_clock_set else "estimated"
        for index, sample in enumerate(frame.samples):
            values = _flood_values(sample)
            if index == 0:
                values |= {"stage": frame.stage, "has_fault": int(frame.has_fault)}
                values |= {name: v for name, v in frame.extras.items() if v is not None}
            origin = HISTORY if index else LIVE
            readings.append(self._sample(uplink, FLOOD, sample, values, source, origin))
        self._note(readings[0])
        return readings

    def _track(self, uplink: Uplink, frame: TrackFrame) -> list[Reading]:
        readings: list[Reading] = []
        source = "gnss" if frame.is_clock_set else "estimated"
        for index, fix in enumerate(frame.fixes):
            values = _track_values(fix)
            if index == 0:
                values |= {
                    "state": frame.state,
                    "is_drill": int(frame.is_drill),
                    "has_fault": int(frame.has_fault),
                }
            origin = HISTORY if index else LIVE
            readings.append(self._sample(uplink, TRACK, fix, values, source, origin))
        self._note(readings[0])
        return readings

    async def _backfill(self, uplink: Uplink) -> list[Reading]:
        device = uplink.device
        flood, track = await self._last_of(device, FLOOD), await self._last_of(device, TRACK)
        last = track if track is not None and track.lat_e5 is not None else flood or track
        if last is None:
            raise RemoteError("no_reference", "back-fill of a device that sent nothing else yet")
        answer = decode_backfill(
            uplink.payload,
            uplink.received_ms // 1000 - EPOCH_UNIX_S,
            last.sequence,
            *self._near(last),
        )
        if answer.kind == "missing":
            first, count = answer.first_sequence, answer.count
            await self._ledger.write(lambda store: store.lose(device, first, count))
            log.info("lorawan.lost device=%s first=%d count=%d", device, first, count)
            return []
        readings = [
            self._sample(uplink, FLOOD, sample, _flood_values(sample), "network", BACKFILL)
            for sample in answer.samples
        ]
        readings += [
            self._sample(uplink, TRACK, fix, _track_values(fix), "gnss", BACKFILL)
            for fix in answer.fixes
        ]
        return readings

    def _sample(
        self,
        uplink: Uplink,
        stream: str,
        sample: FloodSample | TrackFix,
        values: Mapping[str, int],
        source: str,
        origin: str,
    ) -> Reading:
        return Reading(
            device=uplink.device,
            stream=stream,
            sequence=sample.sequence,
            time_ms=(sample.time_s + EPOCH_UNIX_S) * 1000,
            time_source=source,
            values=values,
            received_ms=uplink.received_ms,
            origin=origin,
            link=_link(uplink),
        )

    def _single(self, uplink: Uplink, stream: str, found: Mapping[str, int | None]) -> Reading:
        """A frame without a sequence of its own."""
        values = {name: int(value) for name, value in found.items() if value is not None}
        time_s = values.pop("time_s", None)
        is_dated = time_s is not None and stream == EVENT
        return Reading(
            device=uplink.device,
            stream=stream,
            sequence=uplink.session << 32 | uplink.f_cnt,
            time_ms=(time_s + EPOCH_UNIX_S) * 1000
            if is_dated and time_s is not None
            else uplink.received_ms,
            time_source="network" if is_dated else self._clock.time_source(),
            values=values,
            received_ms=uplink.received_ms,
            origin=LIVE,
            link=_link(uplink),
        )

    def _foreign(self, uplink: Uplink) -> list[Reading]:
        """A commercial sensor, by one of the built-in decoders or its own codec file."""
        try:
            decoders = importlib.import_module("gateway.lorawan.decoders")
        except ImportError:
            raise RemoteError("decoder", "decoders for foreign sensors are not installed") from None
        found: list[tuple[str, dict[str, int]]] = decoders.decode_uplink(uplink)
        return [self._single(uplink, stream, values) for stream, values in found]


def _flood_values(sample: FloodSample) -> dict[str, int]:
    values: dict[str, int] = {}
    if sample.level_mm is not None:
        values["level_mm"] = sample.level_mm
    if sample.rain_tips is not None:
        values["rain_tips"] = sample.rain_tips
    return values


def _track_values(fix: TrackFix) -> dict[str, int]:
    values = {"lat_e5": fix.lat_e5, "lon_e5": fix.lon_e5}
    if fix.sog_dkn is not None:
        values["speed_dkn"] = fix.sog_dkn
    if fix.cog_deg is not None:
        values["course_deg"] = fix.cog_deg
    return values


def _link(uplink: Uplink) -> Link:
    return Link(
        rssi_dbm=round(uplink.rssi_dbm),
        snr_cb=round(uplink.snr_db * 10),
        data_rate=uplink.dr,
        gateway=uplink.gateways[0] if uplink.gateways else "",
    )
