"""The act of section [geojson]: layers for any GIS after RFC 7946, as files and over HTTP.

Layers: assets (what stands where, and whether it is heard), observations (the latest values of
each, in the unit of the name), vessels (trackers, as exact as their share allows), areas (zones
with the stage of their gauge). WGS 84, longitude first, six decimals, outer rings anticlockwise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from gateway.acts.http_files import Document
from gateway.acts.part import Context
from gateway.acts.picture import COARSE, SHARES, Position
from gateway.acts.published import PublishedAct
from gateway.config import ConfigError, address_check, name_check, setting
from gateway.sinks.formats import channel

KIND = "application/geo+json"
_DECIMALS = 6
_STATES = ("under way", "sos", "man overboard", "tampered", "anchored", "moored", "gear", "fence")

Ring = list[list[float]]


def _ring_check(value: str) -> str:
    try:
        ring = read_ring(value)
    except ValueError:
        return 'is not "longitude latitude, longitude latitude, ..." with three corners or more'
    return "" if abs(signed_area(ring)) > 1e-12 else "encloses no area"


def read_ring(text: str) -> Ring:
    """ "115.21 -8.65, 115.22 -8.65, ..." as a closed ring, anticlockwise. Raises ValueError."""
    ring: Ring = []
    for pair in text.split(","):
        lon, lat = (float(word) for word in pair.split())
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            raise ValueError(pair)
        ring.append([round(lon, _DECIMALS), round(lat, _DECIMALS)])
    if ring[0] != ring[-1]:
        ring.append(ring[0])
    if len(ring) < 4:
        raise ValueError("a ring has three corners or more")
    return ring if signed_area(ring) > 0 else ring[::-1]


def signed_area(ring: Sequence[Sequence[float]]) -> float:
    """Of a closed ring in square degrees; above 0 when it runs anticlockwise."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) / 2


@dataclass(frozen=True, kw_only=True)
class AreaSettings:
    """[[geojson.area]]: a zone that a gauge speaks for."""

    name: str = setting(doc="name of the zone", check=name_check)
    device: str = setting(doc="gauge whose stage it has")
    ring: str = setting(
        doc='corners "longitude latitude, longitude latitude, ..."', check=_ring_check
    )


@dataclass(frozen=True, kw_only=True)
class GeojsonSettings:
    """Section [geojson]."""

    bind: str = setting(
        "127.0.0.1:9475",
        doc='layers over HTTP; "" for none',
        check=lambda v: "" if v == "" else address_check(v),
    )
    folder: str = setting("geojson", doc='folder of the files, below data_dir; "" for none')
    every_s: float = setting(10.0, low=0.1, high=3600, unit="s", doc="layers are made so often")
    share: str = setting(
        COARSE, choices=SHARES, doc="how much of a tracker's position the layers show at most"
    )
    cell_deg: float = setting(
        0.01, low=0.0001, high=1, unit="deg", doc="side of the square that a coarse position names"
    )
    expire_s: int = setting(
        86_400, low=60, high=31_536_000, unit="s", doc="vessels not heard for so long are left out"
    )
    area: tuple[AreaSettings, ...] = setting((), doc="zones")


class GeojsonAct(PublishedAct):
    """Layers for a GIS."""

    name = "geojson"

    def __init__(self, settings: GeojsonSettings, context: Context) -> None:
        super().__init__(context, settings.bind, settings.folder, settings.every_s)
        self._settings = settings
        self._site = context.site
        self._cell_e5 = max(1, round(settings.cell_deg * 1e5))
        self._intervals_s = context.settings.intervals_s()
        self._kinds = {one.name: one.kind for one in context.settings.device}
        for bus in context.settings.modbus:
            self._kinds |= {one.name: one.profile for one in bus.sensor}
        for area in settings.area:
            if area.device not in self._kinds:
                raise ConfigError(
                    f'{context.file}: geojson.area["{area.name}"].device: there is no [[device]]'
                    f' or sensor "{area.device}"'
                )

    def documents(self, now_ms: int) -> dict[str, Document]:
        """The four layers."""
        layers = {
            "assets.geojson": self._assets(now_ms),
            "observations.geojson": self._observations(),
            "vessels.geojson": self._vessels(now_ms),
            "areas.geojson": self._areas(),
        }
        return {name: _document(features) for name, features in layers.items()}

    def _last_ms(self, device: str) -> int | None:
        times = [one.time_ms for (name, _), one in self.picture.latest.items() if name == device]
        return max(times, default=None)

    def _stage(self, device: str) -> dict[str, Any]:
        alarm = self.picture.stages.get(device)
        if alarm is None:
            return {"stage_level": 0}
        return {
            "stage_level": alarm.level,
            "stage": alarm.name,
            "stage_since": iso(alarm.time_ms),
            "text_id": alarm.text_id,
            "text_en": alarm.text_en,
        }

    def _assets(self, now_ms: int) -> list[dict[str, Any]]:
        features: list[dict[str, Any]] = []
        for device, place in sorted(self.picture.places.items()):
            last_ms = self._last_ms(device)
            silent_ms = 4000 * self._intervals_s.get(device, 300)
            properties: dict[str, Any] = {
                "site": self._site,
                "name": device,
                "kind": self._kinds.get(device, ""),
                "is_heard": last_ms is not None and now_ms - last_ms < silent_ms,
                "last_heard": None if last_ms is None else iso(last_ms),
            }
            features.append(_feature(device, _point(*place), properties))
        return features

    def _observations(self) -> list[dict[str, Any]]:
        features: list[dict[str, Any]] = []
        for (device, stream), reading in sorted(self.picture.latest.items()):
            place = self.picture.places.get(device)
            if place is None or "lat_e5" in reading.values:
                continue
            properties: dict[str, Any] = {
                "site": self._site,
                "name": device,
                "stream": stream,
                "time": iso(reading.time_ms),
                "quality": reading.quality,
                **self._stage(device),
            }
            for name, value in sorted(reading.values.items()):
                column = channel(name)
                shown = round(value / 10**column.decimals, column.decimals)
                properties.setdefault(column.name, shown if column.decimals else value)
            features.append(_feature(f"{device}/{stream}", _point(*place), properties))
        return features

    def _vessels(self, now_ms: int) -> list[dict[str, Any]]:
        features: list[dict[str, Any]] = []
        for device in sorted(self.picture.positions):
            share = self._settings.share
            position = self.picture.seen(device, share, self._cell_e5, now_ms)
            call = self.picture.call(device, now_ms)
            if position is None:
                continue
            # A coarse position carries a coarse time, up to ten minutes too old.
            expire_ms = self._settings.expire_s * 1000 + (600_000 if position.cell_e5 else 0)
            if call is None and now_ms - position.time_ms > expire_ms:
                continue
            properties = {"site": self._site, "name": device, **_motion(position)}
            if call is not None:
                properties |= {
                    "call": call.kind,
                    "call_since": iso(call.since_ms),
                    "is_drill": call.is_drill,
                }
            point = _point(position.lat_e5, position.lon_e5)
            features.append(_feature(device, point, properties))
        return features

    def _areas(self) -> list[dict[str, Any]]:
        features: list[dict[str, Any]] = []
        for area in self._settings.area:
            geometry = {"type": "Polygon", "coordinates": [read_ring(area.ring)]}
            properties = {"site": self._site, "name": area.name, "device": area.device}
            features.append(_feature(area.name, geometry, properties | self._stage(area.device)))
        return features


def iso(time_ms: int) -> str:
    """RFC 3339, UTC, whole seconds."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _motion(position: Position) -> dict[str, Any]:
    found: dict[str, Any] = {"time": iso(position.time_ms), "is_exact": not position.cell_e5}
    if position.cell_e5:
        found["cell_deg"] = round(position.cell_e5 / 1e5, _DECIMALS)
        return found
    found["state"] = _STATES[position.state] if position.state < len(_STATES) else "unknown"
    if position.sog_dkn is not None:
        found["speed_kn"] = position.sog_dkn / 10
    if position.cog_deg is not None:
        found["course_deg"] = position.cog_deg
    return found


def _point(lat_e5: int, lon_e5: int) -> dict[str, Any]:
    coordinates = [round(lon_e5 / 1e5, _DECIMALS), round(lat_e5 / 1e5, _DECIMALS)]
    return {"type": "Point", "coordinates": coordinates}


def _feature(
    number: str, geometry: Mapping[str, Any], properties: Mapping[str, Any]
) -> dict[str, Any]:
    return {"type": "Feature", "id": number, "geometry": geometry, "properties": properties}


def _document(features: list[dict[str, Any]]) -> Document:
    collection = {"type": "FeatureCollection", "features": features}
    text = json.dumps(collection, ensure_ascii=False, separators=(",", ":"))
    return Document(text.encode(), KIND)
