"""What is said on AIS and when: `Feed`, without sockets and clocks.

`due` gives the messages whose time has come; `everything` what a plotter that just connected must
know. Intervals are those of ITU-R M.1371-5 table 1: class A 2 to 10 s under way and 3 min at rest,
class B 30 s above 2 kn and 3 min else, names every 6 min, aids every 3 min; a call for help eight
times a minute, its text once a minute. A boat's own fixes come more rarely: in between the last
one is repeated (second "not available") or reckoned on (second "dead reckoning").
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.acts.ais import messages as ais
from gateway.acts.ais.sentence import Bits, sentences
from gateway.acts.ais.settings import (
    AisSettings,
    GaugeSettings,
    VesselSettings,
    call_mmsi,
    gauge_mmsi,
    vessel_mmsi,
)
from gateway.acts.picture import MOB, Picture, Position
from gateway.model import Reading
from protocols.payload.reckon import SOG_DKN_MAX, predict_into
from protocols.payload.track import (
    STATE_ANCHORED,
    STATE_GEAR_DOWN,
    STATE_MOORED,
    STATE_UNDER_WAY,
)

_STATIC_MS = 360_000
_AT_REST_MS = 180_000
_AID_MS = 180_000
_CALL_MS = 7_500
_CALL_TEXT_MS = 60_000
_FRESH_MS = 60_000
_STEADY_MM = 20  # a level that moved less than this in `_TREND_MS` or somewhat more is steady
_TREND_MS = 600_000
_SOONEST_MS = {"position": 2_000, "call": 2_000, "water": 10_000}  # however often news come
_UNLISTED = 9000  # calls of trackers that are no [[ais.vessel]] count from here

_STATUS = {
    STATE_UNDER_WAY: ais.UNDER_WAY,
    STATE_ANCHORED: ais.ANCHORED,
    STATE_MOORED: ais.MOORED,
    STATE_GEAR_DOWN: ais.FISHING,
}


@dataclass(frozen=True, slots=True)
class _Boat:
    vessel: VesselSettings
    mmsi: int
    hull: ais.Hull


@dataclass(frozen=True, slots=True)
class _Gauge:
    gauge: GaugeSettings
    mmsi: int
    name: str


class Feed:
    """Turns a picture into sentences."""

    def __init__(self, settings: AisSettings, picture: Picture) -> None:
        self._settings = settings
        self._picture = picture
        self._cell_e5 = max(1, round(settings.cell_deg * 1e5))
        self._boats = {
            one.device: _Boat(
                one,
                vessel_mmsi(settings, one),
                ais.Hull(
                    name=one.name or one.device,
                    callsign=one.callsign,
                    ship_type=one.ship_type,
                    length_m=one.length_m,
                    beam_m=one.beam_m,
                ),
            )
            for one in settings.vessel
        }
        self._gauges = {
            one.device: _Gauge(one, gauge_mmsi(settings, one), one.name or one.device)
            for one in settings.gauge
        }
        self._unlisted: dict[str, int] = {}
        for index, device in enumerate(picture.shares):
            self._unlisted[device] = _UNLISTED + index % 999
        self._due: dict[tuple[str, str], int] = {}  # (device, message) -> tick
        self._said: dict[tuple[str, str], int] = {}  # the tick of the last time
        # device -> when, the level then, the level before that
        self._levels: dict[str, tuple[int, int, int]] = {}
        self._group = 0
        self.messages = 0

    def noted(self, device: str, tick_ms: int) -> None:
        """A device has news: say them at once, or as soon as may be."""
        for what, soonest_ms in _SOONEST_MS.items():
            key = device, what
            if key in self._due:
                soonest = self._said.get(key, tick_ms - soonest_ms) + soonest_ms
                self._due[key] = min(self._due[key], max(soonest, tick_ms))
        gauge = self._gauges.get(device)
        level = None if gauge is None else self._level(gauge)
        if level is None:
            return
        time_ms, level_mm = level[0].time_ms, level[1]
        known = self._levels.get(device)
        if known is None:
            self._levels[device] = time_ms, level_mm, level_mm
        elif time_ms - known[0] >= _TREND_MS:
            self._levels[device] = time_ms, level_mm, known[1]

    def next_tick(self) -> int | None:
        """When `due` is next to be asked, if nothing new comes."""
        return min(self._due.values(), default=None)

    def due(self, tick_ms: int, now_ms: int) -> list[bytes]:
        """The messages to be sent now, each with all its sentences."""
        said: list[bytes] = []
        asked: set[tuple[str, str]] = set()
        for device, what, interval_ms, made in self._all(now_ms):
            key = device, what
            asked.add(key)
            if self._due.get(key, tick_ms) > tick_ms:
                continue
            self._due[key] = tick_ms + interval_ms
            self._said[key] = tick_ms
            said += [self._sentences(one) for one in made]
        self._due = {key: tick for key, tick in self._due.items() if key in asked}
        return said

    def everything(self, now_ms: int) -> list[bytes]:
        """All that is known, for who just came."""
        return [self._sentences(one) for _, _, _, made in self._all(now_ms) for one in made]

    def _sentences(self, message: Bits) -> bytes:
        self._group = (self._group + 1) % 10
        self.messages += 1
        return sentences(message, self._group)

    def _all(self, now_ms: int) -> Iterator[tuple[str, str, int, tuple[Bits, ...]]]:
        """(device, message, interval in ms, the message); calls for help come first."""
        for device in self._picture.calling(now_ms):
            yield from self._call(device, now_ms)
        for boat in self._boats.values():
            yield from self._boat(boat, now_ms)
        for gauge in self._gauges.values():
            yield from self._gauge(gauge, now_ms)

    def _call(self, device: str, now_ms: int) -> Iterator[tuple[str, str, int, tuple[Bits, ...]]]:
        call = self._picture.call(device, now_ms)
        if call is None:
            return
        boat = self._boats.get(device)
        number = boat.vessel.number if boat is not None else None
        if number is None:
            number = self._unlisted.get(device, _UNLISTED + 999)
        mmsi = call_mmsi(self._settings, number)
        status = ais.UNDEFINED if call.is_drill else ais.SART_ACTIVE
        share = boat.vessel.share if boat is not None else "exact"
        position = self._picture.seen(device, share, self._cell_e5, now_ms)
        if position is not None:
            fix = self._fix(position, now_ms)
            yield device, "call", _CALL_MS, (ais.position_a(mmsi, fix, status),)
        what = "TEST" if call.is_drill else "ACTIVE"
        name = boat.hull.name if boat is not None else device
        text = f"MOB {what}" if call.kind == MOB else f"MOB {what} SOS {name}"
        yield device, "call text", _CALL_TEXT_MS, (ais.safety_text(mmsi, text),)

    def _boat(self, boat: _Boat, now_ms: int) -> Iterator[tuple[str, str, int, tuple[Bits, ...]]]:
        vessel = boat.vessel
        position = self._picture.seen(vessel.device, vessel.share, self._cell_e5, now_ms)
        if position is None or now_ms - position.time_ms > self._expire_ms(position):
            return
        fix = self._fix(position, now_ms)
        interval_ms = _interval_ms(vessel.ais_class, position)
        if vessel.ais_class == "A":
            status = _STATUS.get(position.state, ais.UNDEFINED)
            report = ais.position_a(boat.mmsi, fix, status)
            static: tuple[Bits, ...] = (ais.static_a(boat.mmsi, boat.hull),)
        else:
            report = ais.position_b(boat.mmsi, fix)
            static = ais.static_b(boat.mmsi, boat.hull, vessel.mothership or 0)
        yield vessel.device, "position", interval_ms, (report,)
        yield vessel.device, "static", _STATIC_MS, static

    def _expire_ms(self, position: Position) -> int:
        # A coarse position carries a coarse time, up to ten minutes too old.
        return self._settings.expire_s * 1000 + (600_000 if position.cell_e5 else 0)

    def _fix(self, position: Position, now_ms: int) -> ais.Fix:
        age_ms = now_ms - position.time_ms
        lat_e5, lon_e5, second = position.lat_e5, position.lon_e5, ais.NO_SECOND
        is_moving = position.sog_dkn is not None and position.sog_dkn >= 5
        if position.cell_e5:
            is_accurate = False
        elif 0 <= age_ms < _FRESH_MS and not (self._settings.reckon and age_ms >= 10_000):
            second = position.time_ms // 1000 % 60
            is_accurate = True
        elif self._settings.reckon and is_moving and age_ms > 0:
            out = [0, 0]
            sog_dkn = min(position.sog_dkn or 0, SOG_DKN_MAX)
            predict_into(out, lat_e5, lon_e5, sog_dkn, position.cog_deg, age_ms // 1000)
            lat_e5, lon_e5 = out
            second, is_accurate = ais.RECKONED, False
        else:
            is_accurate = not is_moving
        return ais.Fix(
            lat_e5=lat_e5,
            lon_e5=lon_e5,
            sog_dkn=position.sog_dkn,
            cog_deg=position.cog_deg,
            second=second,
            is_accurate=is_accurate,
        )

    def _level(self, gauge: _Gauge) -> tuple[Reading, int] | None:
        """The newest reading that has a level, and the level in mm above the chart's zero."""
        value = gauge.gauge.value
        found = [
            reading
            for (device, _), reading in self._picture.latest.items()
            if device == gauge.gauge.device and value in reading.values
        ]
        if not found:
            return None
        newest = max(found, key=lambda one: one.time_ms)
        return newest, newest.values[value] + gauge.gauge.datum_mm

    def _gauge(
        self, gauge: _Gauge, now_ms: int
    ) -> Iterator[tuple[str, str, int, tuple[Bits, ...]]]:
        place = self._picture.places.get(gauge.gauge.device)
        if place is None:
            return
        device = gauge.gauge.device
        mark = ais.aid(gauge.mmsi, gauge.name, *place, is_virtual=not gauge.gauge.real)
        yield device, "aid", _AID_MS, (mark,)
        level = self._level(gauge)
        if level is None or now_ms - level[0].time_ms > self._settings.gauge_expire_s * 1000:
            return
        reading, level_mm = level
        at = time.gmtime(reading.time_ms // 1000)
        water = ais.Water(
            lat_e5=place[0],
            lon_e5=place[1],
            day=at.tm_mday,
            hour=at.tm_hour,
            minute=at.tm_min,
            level_mm=level_mm,
            trend=self._trend(gauge, level_mm),
            water_temp_cdeg=reading.values.get("water_temp_cdeg"),
            air_temp_cdeg=reading.values.get("air_temp_cdeg"),
        )
        yield device, "water", _AID_MS, (ais.met_hydro(gauge.mmsi, water),)

    def _trend(self, gauge: _Gauge, level_mm: int) -> int:
        levels = self._levels.get(gauge.gauge.device)
        if not gauge.gauge.trend or levels is None:
            return ais.NO_TREND
        moved_mm = level_mm - levels[2]
        if abs(moved_mm) < _STEADY_MM:
            return ais.STEADY
        return ais.INCREASING if moved_mm > 0 else ais.DECREASING


def _interval_ms(ais_class: str, position: Position) -> int:
    sog_dkn = position.sog_dkn or 0
    if ais_class == "B":
        return 30_000 if sog_dkn > 20 else _AT_REST_MS
    if position.state in (STATE_ANCHORED, STATE_MOORED) and sog_dkn <= 30:
        return _AT_REST_MS
    if sog_dkn > 230:
        return 2_000
    return 6_000 if sog_dkn > 140 else 10_000
