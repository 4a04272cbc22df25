"""LoRaWAN frames into readings: `LorawanSource`, around the network server.

The network server awaits `_on_uplink`, which returns when the readings are on disk; only then is a
confirmed frame acknowledged. Streams: "flood" and "track" carry the numbers of the device's own
log (and, above 32 bits, which log), so that a hole is a reading that got lost; "status", "event",
"answer" and what foreign sensors send are numbered by join and frame counter, which only tells
repeats apart.
"""

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from gateway.clock import WallClock
from gateway.ledger.epochs import compose
from gateway.ledger.ledger import Ledger
from gateway.lorawan.model import Uplink
from gateway.lorawan.service import NetworkServerService
from gateway.model import BACKFILL, HISTORY, LIVE, Accept, Link, Reading
from gateway.sources.numbering import PROBE, Numbering, Place, stored_sequence
from protocols.errors import RemoteError
from protocols.payload.backfill import Backfill, decode_backfill
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
_Frame = FloodFrame | TrackFrame
_F = TypeVar("_F", FloodFrame, TrackFrame)
_Known = tuple[int | None, int | None]
_MODULUS = {FLOOD: 256, TRACK: 128}  # what the low bits in a frame tell apart


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
        self._numberings: dict[tuple[str, str], Numbering] = {}
        self._positions: dict[str, tuple[int, int]] = {}  # newest of each tracker, 1e-5 degrees
        self.new_logs = 0
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

            def flood(known: tuple[int | None, int | None]) -> FloodFrame:
                return decode_flood(uplink.payload, received_s, *known)

            frame, place = await self._placed(uplink, FLOOD, flood)
            return self._flood(uplink, frame, place)
        if uplink.f_port == PORT_TRACK:
            await self._numbering(uplink.device, TRACK)
            near = self._near(uplink.device)

            def track(known: tuple[int | None, int | None]) -> TrackFrame:
                return decode_track(uplink.payload, received_s, *near, *known)

            frame, place = await self._placed(uplink, TRACK, track)
            return self._track(uplink, frame, place)
        if uplink.f_port == PORT_BACKFILL:
            return await self._backfill(uplink)
        if uplink.f_port == PORT_STATUS:
            found = decode_status(uplink.payload)
            await self._note_log(uplink.device, found, uplink)
            return [self._single(uplink, STATUS, found)]
        if uplink.f_port == PORT_EVENT:
            return [self._single(uplink, EVENT, decode_event(uplink.payload, received_s))]
        if uplink.f_port == PORT_ANSWER:
            return [self._single(uplink, ANSWER, decode_answer(uplink.payload))]
        raise RemoteError("port", f"port {uplink.f_port} carries nothing of ours")

    async def _numbering(self, device: str, stream: str) -> Numbering:
        key = (device, stream)
        if key not in self._numberings:
            reading = await self._ledger.read(lambda store: store.latest(device, stream))
            numbering = self._numberings[key] = Numbering(_MODULUS[stream])
            if reading is not None:
                numbering.recall(reading.sequence, reading.time_ms, self._clock.steps)
                self._note_position(reading)
        return self._numberings[key]

    def _near(self, device: str) -> tuple[int | None, int | None]:
        """The position that one given modulo 2.62 degrees is near to."""
        return self._positions.get(device, self._site_e5)

    def _note_position(self, reading: Reading) -> None:
        if "lat_e5" in reading.values:
            self._positions[reading.device] = reading.values["lat_e5"], reading.values["lon_e5"]

    async def _placed(
        self, uplink: Uplink, stream: str, decode: Callable[[_Known], _F]
    ) -> tuple[_F, Place]:
        """Decode a frame and find out which log of the device it is from."""
        self._clock.time_source()  # notes a jump of the clock
        steps = self._clock.steps
        numbering = await self._numbering(uplink.device, stream)
        known = numbering.reference(uplink, steps)
        frame = decode(known)
        if numbering.newest is None:
            place = Place(0, _samples(frame)[0].sequence, "")
        else:
            is_back = known[1] is not None and _samples(frame)[0].time_s < known[1]
            if is_back and not numbering.is_late(uplink):
                known = (known[0], None)  # the device's clock was set back
                frame = decode(known)
            times_s = [one.time_s for one in _samples(frame)]

            def probe() -> int:
                return _samples(decode((PROBE, None)))[0].sequence

            place = numbering.place(
                uplink,
                times_s,
                _samples(frame)[0].sequence,
                probe,
                known[1],
                is_clock_set=frame.is_clock_set,
            )
            if await self._is_taken(uplink.device, stream, numbering, place, frame):
                place = numbering.anew(times_s, probe(), "numbers of other readings")
        if place.reason:
            self.new_logs += 1
            log.warning(
                "lorawan.new_log device=%s stream=%s epoch=%d number=%d reason=%r",
                uplink.device,
                stream,
                place.epoch,
                place.number,
                place.reason,
            )
        numbering.note(place, _samples(frame)[0].time_s, uplink, steps)
        return frame, place

    async def _is_taken(
        self, device: str, stream: str, numbering: Numbering, place: Place, frame: _Frame
    ) -> bool:
        """Other readings than those of the frame are stored under its numbers."""
        newest = numbering.newest
        samples = _samples(frame)
        if newest is None or place.reason or place.number - len(samples) >= newest.number:
            return False
        rows: dict[int, tuple[int, Mapping[str, int]]] = {
            stored_sequence(place, back): ((one.time_s + EPOCH_UNIX_S) * 1000, _values(one))
            for back, one in enumerate(samples)
        }
        stored = await self._ledger.read(lambda store: store.stored_as(device, stream, rows))
        return numbering.conflict(
            place,
            rows,
            stored,
            is_clock_set=frame.is_clock_set,
            clock_steps=self._clock.steps,
        )

    async def _note_log(self, device: str, found: Mapping[str, int | None], uplink: Uplink) -> None:
        """Take the status frame's own number of the newest reading."""
        number = found.get("sequence")
        if number is None:
            return
        # The page does not say what it counts: what the device has sent, or either if nothing yet.
        both = [(stream, await self._numbering(device, stream)) for stream in (FLOOD, TRACK)]
        for stream, one in [pair for pair in both if pair[1].newest is not None] or both:
            before = one.newest.number if one.newest is not None else -1
            reason = one.note_log(number, uplink)
            if reason:
                log.warning(
                    "lorawan.renumbered device=%s stream=%s from=%d to=%d reason=%r",
                    device,
                    stream,
                    before,
                    number,
                    reason,
                )

    def _flood(self, uplink: Uplink, frame: FloodFrame, place: Place) -> list[Reading]:
        readings: list[Reading] = []
        source = "network" if frame.is_clock_set else "estimated"
        for index, sample in enumerate(frame.samples):
            values = _flood_values(sample)
            if index == 0:
                values |= {"stage": frame.stage, "has_fault": int(frame.has_fault)}
                values |= {name: v for name, v in frame.extras.items() if v is not None}
            origin = HISTORY if index else LIVE
            sequence = stored_sequence(place, index)
            readings.append(self._sample(uplink, FLOOD, sequence, sample, values, source, origin))
        return readings

    def _track(self, uplink: Uplink, frame: TrackFrame, place: Place) -> list[Reading]:
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
            sequence = stored_sequence(place, index)
            readings.append(self._sample(uplink, TRACK, sequence, fix, values, source, origin))
        self._note_position(readings[0])
        return readings

    async def _backfill(self, uplink: Uplink) -> list[Reading]:
        device = uplink.device
        flood, track = await self._numbering(device, FLOOD), await self._numbering(device, TRACK)
        is_track = track.newest is not None and device in self._positions
        last = track.newest if is_track else flood.newest or track.newest
        if last is None:
            raise RemoteError("no_reference", "back-fill of a device that sent nothing else yet")
        answer = decode_backfill(
            uplink.payload,
            uplink.received_ms // 1000 - EPOCH_UNIX_S,
            last.number,
            *self._near(device),
        )
        if answer.kind == "missing":
            first, count = answer.first_sequence, answer.count
            await self._ledger.write(lambda store: store.lose(device, first, count))
            log.info("lorawan.lost device=%s first=%d count=%d", device, first, count)
            return []
        return await self._backfilled(uplink, answer)

    async def _backfilled(self, uplink: Uplink, answer: Backfill) -> list[Reading]:
        """The readings of an answer, in the epoch of the log that it was asked of."""
        readings: list[Reading] = []
        for stream, samples in ((FLOOD, answer.samples), (TRACK, answer.fixes)):
            newest = (await self._numbering(uplink.device, stream)).newest
            epoch = 0 if newest is None else newest.epoch
            source = "network" if stream == FLOOD else "gnss"
            for one in samples:
                sequence = compose(epoch, one.sequence)
                readings.append(
                    self._sample(uplink, stream, sequence, one, _values(one), source, BACKFILL)
                )
        return readings

    def _sample(
        self,
        uplink: Uplink,
        stream: str,
        sequence: int,
        sample: FloodSample | TrackFix,
        values: Mapping[str, int],
        source: str,
        origin: str,
    ) -> Reading:
        return Reading(
            device=uplink.device,
            stream=stream,
            sequence=sequence,
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


def _samples(frame: FloodFrame | TrackFrame) -> "list[FloodSample] | list[TrackFix]":
    return frame.samples if isinstance(frame, FloodFrame) else frame.fixes


def _values(sample: FloodSample | TrackFix) -> dict[str, int]:
    return _flood_values(sample) if isinstance(sample, FloodSample) else _track_values(sample)


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
