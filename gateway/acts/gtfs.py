"""The act of section [gtfs]: GTFS-Realtime 2.0 as a file and over HTTP.

VehiclePositions from the fleet's trackers, and an alert for each road whose gauge says that it is
flooded. The protobuf is written by hand: it is seven small messages, and the agent starts without
the library, which the tests read it with.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.acts.http_files import Document
from gateway.acts.part import Context
from gateway.acts.picture import EXACT, SHARES, Position
from gateway.acts.published import PublishedAct
from gateway.config import ConfigError, address_check, name_check, setting
from gateway.model import Alarm

KIND = "application/x-protobuf"
FEED = "gtfs-realtime.pb"

_WEATHER = 8  # Alert.Cause
_EFFECTS = {"no_service": 1, "significant_delays": 3, "detour": 4}  # Alert.Effect
_SEVERITIES = {1: 2, 2: 3, 3: 4}  # stage level: INFO, WARNING, SEVERE
_WORDS = {
    "no_service": ("tidak ada layanan", "no service"),
    "significant_delays": ("banyak keterlambatan", "long delays"),
    "detour": ("rute dialihkan", "detour"),
}
_KNOTS_MS = 0.514444


@dataclass(frozen=True, kw_only=True)
class VehicleSettings:
    """[[gtfs.vehicle]]: a tracker as a vehicle of the fleet."""

    device: str = setting(doc="name of the tracker")
    label: str = setting("", doc="what passengers see; the device's name if empty")
    license_plate: str = setting("", doc="number plate, if it may be public")
    route_id: str = setting("", doc="route of the GTFS schedule that it always drives")


@dataclass(frozen=True, kw_only=True)
class RoadSettings:
    """[[gtfs.road]]: a road that floods, and which routes use it."""

    name: str = setting(doc="short name of the road", check=name_check)
    device: str = setting(doc="gauge whose stage decides")
    level: int = setting(2, low=1, high=3, doc="stage from which on the alert holds: 1..3")
    effect: str = setting("detour", choices=tuple(_EFFECTS), doc="what it means for passengers")
    route_ids: tuple[str, ...] = setting((), doc="routes of the GTFS schedule; empty: all")
    text_id: str = setting("", doc="the road in Indonesian, such as Jalan Gajah Mada")
    text_en: str = setting("", doc="the road in English")


@dataclass(frozen=True, kw_only=True)
class GtfsSettings:
    """Section [gtfs]."""

    bind: str = setting(
        "127.0.0.1:9476",
        doc='the feed over HTTP; "" for none',
        check=lambda v: "" if v == "" else address_check(v),
    )
    folder: str = setting("gtfs", doc='folder of the file, below data_dir; "" for none')
    every_s: float = setting(10.0, low=0.1, high=3600, unit="s", doc="the feed is made so often")
    agency_id: str = setting("", doc="agency of the GTFS schedule, for alerts without routes")
    share: str = setting(EXACT, choices=SHARES, doc="how much of a position the feed shows")
    cell_deg: float = setting(
        0.01, low=0.0001, high=1, unit="deg", doc="side of the square that a coarse position names"
    )
    expire_s: int = setting(
        600, low=30, high=86_400, unit="s", doc="vehicles not heard for so long are left out"
    )
    vehicle: tuple[VehicleSettings, ...] = setting((), doc="the fleet")
    road: tuple[RoadSettings, ...] = setting((), doc="roads that flood")


class GtfsAct(PublishedAct):
    """One feed with vehicles and alerts."""

    name = "gtfs"

    def __init__(self, settings: GtfsSettings, context: Context) -> None:
        super().__init__(context, settings.bind, settings.folder, settings.every_s)
        self._settings = settings
        self._site = context.site
        self._cell_e5 = max(1, round(settings.cell_deg * 1e5))
        known = self.picture.streams
        named = [("vehicle", one.device) for one in settings.vehicle]
        named += [("road", one.device) for one in settings.road]
        for what, device in named:
            if device not in known:
                raise ConfigError(
                    f'{context.file}: gtfs.{what}: there is no [[device]] or sensor "{device}";'
                    f" there are: {', '.join(sorted(known)) or 'none'}"
                )

    def documents(self, now_ms: int) -> dict[str, Document]:
        """The whole feed."""
        header = _text(1, "2.0") + _number(2, 0) + _number(3, now_ms // 1000)
        body = _message(1, header)
        for vehicle in self._settings.vehicle:
            entity = self._vehicle(vehicle, now_ms)
            if entity:
                body += _message(2, entity)
        for road in self._settings.road:
            alarm = self.picture.stages.get(road.device)
            if alarm is not None and alarm.level >= road.level:
                body += _message(2, self._alert(road, alarm))
        return {FEED: Document(body, KIND)}

    def _vehicle(self, vehicle: VehicleSettings, now_ms: int) -> bytes:
        share = self._settings.share
        position = self.picture.seen(vehicle.device, share, self._cell_e5, now_ms)
        if position is None:
            return b""
        # A coarse position carries a coarse time, up to ten minutes too old.
        expire_ms = self._settings.expire_s * 1000 + (600_000 if position.cell_e5 else 0)
        if now_ms - position.time_ms > expire_ms:
            return b""
        body = b""
        if vehicle.route_id:
            body += _message(1, _text(5, vehicle.route_id))
        body += _message(2, _position(position))
        body += _number(5, position.time_ms // 1000)
        who = _text(1, vehicle.device) + _text(2, vehicle.label or vehicle.device)
        body += _message(8, who + _text(3, vehicle.license_plate))
        return _text(1, f"vehicle-{vehicle.device}") + _message(4, body)

    def _alert(self, road: RoadSettings, alarm: Alarm) -> bytes:
        body = _message(1, _number(1, alarm.time_ms // 1000))
        for route in road.route_ids:
            body += _message(5, _text(2, route))
        if not road.route_ids:
            body += _message(5, _text(1, self._settings.agency_id or self._site))
        body += _number(6, _WEATHER) + _number(7, _EFFECTS[road.effect])
        indonesian, english = _WORDS[road.effect]
        place_id = road.text_id or road.text_en or road.name
        place_en = road.text_en or road.text_id or road.name
        body += _translated(
            10, f"Banjir di {place_id}: {indonesian}", f"Flood on {place_en}: {english}"
        )
        body += _translated(11, alarm.text_id, alarm.text_en)
        body += _number(14, _SEVERITIES.get(alarm.level, 1))
        return _text(1, f"road-{road.name}") + _message(5, body)


def _position(position: Position) -> bytes:
    body = _float(1, position.lat_e5 / 1e5) + _float(2, position.lon_e5 / 1e5)
    if position.cog_deg is not None:
        body += _float(3, position.cog_deg)
    if position.sog_dkn is not None:
        body += _float(5, position.sog_dkn / 10 * _KNOTS_MS)
    return body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode()) if text else b""


def _translated(field: int, indonesian: str, english: str) -> bytes:
    pairs: Sequence[tuple[str, str]] = ((indonesian, "id"), (english, "en"))
    return _message(
        field, b"".join(_message(1, _text(1, text) + _text(2, tongue)) for text, tongue in pairs)
    )
