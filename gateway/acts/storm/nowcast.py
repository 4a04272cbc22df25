"""CAP 1.2 alerts and the RSS or Atom feeds that list them, read safely: `read`, `Nowcast`.

What comes from outside may be hostile: size and depth are bounded, a document type declaration is
refused before anything is parsed (no entity is ever expanded, nothing is fetched), and every field
is checked. Sources: OASIS CAP 1.2 (2010); RSS 2.0; RFC 4287. BMKG's nowcast is an RSS feed whose
items link to one CAP file each; it asks for at most 60 requests a minute and to be named.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from itertools import pairwise
from typing import Any

from protocols.errors import RemoteError

CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"
_ATOM = "{http://www.w3.org/2005/Atom}"
BYTES_MAX = 1_000_000
_ITEMS_MAX = 500
_AREAS_MAX = 2000
_POINTS_MAX = 20_000
_TEXT_MAX = 300
SEVERITIES = ("Unknown", "Minor", "Moderate", "Severe", "Extreme")
_TYPES = ("Alert", "Update", "Cancel")


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a feed."""

    link: str
    stamp: str  # changes when the alert does: guid or id, and its date


@dataclass(frozen=True, slots=True)
class Nowcast:
    """What a CAP alert says, as far as storm mode needs it."""

    identifier: str
    sender: str
    sent: str
    message_type: str  # Alert, Update, Cancel
    is_actual: bool
    references: tuple[str, ...]  # identifiers that it replaces
    event: str
    headline: str
    severity: str
    begin_ms: int
    expires_ms: int
    polygons: tuple[tuple[tuple[float, float], ...], ...]  # latitude, longitude; closed
    circles: tuple[tuple[float, float, float], ...] = field(default=())  # ..., radius in km

    def covers(self, lat: float, lon: float) -> bool:
        """Whether a place is in one of its areas, borders included."""
        return any(inside(polygon, lat, lon) for polygon in self.polygons) or any(
            distance_km(circle[0], circle[1], lat, lon) <= circle[2] for circle in self.circles
        )


def read(data: bytes) -> "Nowcast | list[Item]":
    """A CAP alert, or the items of an RSS or Atom feed.

    Raises RemoteError("size" | "doctype" | "xml" | "kind" | "field").
    """
    root = _parse(data)
    if root.tag == f"{CAP}alert":
        return _alert(root)
    if root.tag == "rss":
        items = [
            Item(_text(one, "link"), _text(one, "guid") + " " + _text(one, "pubDate"))
            for one in root.iterfind("channel/item")
        ]
    elif root.tag == f"{_ATOM}feed":
        items = [
            Item(_atom_link(one), _text(one, f"{_ATOM}id") + " " + _text(one, f"{_ATOM}updated"))
            for one in root.iterfind(f"{_ATOM}entry")
        ]
    else:
        raise RemoteError("kind", f"<{root.tag[:60]}> is neither CAP 1.2 nor RSS nor Atom")
    return [item for item in items[:_ITEMS_MAX] if item.link]


def _parse(data: bytes) -> Any:
    if len(data) > BYTES_MAX:
        raise RemoteError("size", f"{len(data)} B are more than {BYTES_MAX}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RemoteError("xml", "it is not UTF-8") from None
    if "\0" in text or "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise RemoteError("doctype", "a document type is refused: it could hide anything")
    etree: Any = import_module("lxml.etree")  # only where a feed is used: it takes 0.2 s
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, encoding="utf-8"
    )
    try:
        root: Any = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise RemoteError("xml", str(error)[:_TEXT_MAX]) from None
    if root.getroottree().docinfo.doctype:
        raise RemoteError("doctype", "a document type is refused: it could hide anything")
    return root


def _text(parent: Any, name: str) -> str:
    found = parent.findtext(name)
    return " ".join((found or "").split())[:2000]


def _atom_link(entry: Any) -> str:
    links = list(entry.iterfind(f"{_ATOM}link"))
    for link in links:
        if "cap+xml" in link.get("type", ""):
            return link.get("href", "")
    plain = [link for link in links if link.get("rel", "alternate") == "alternate"]
    return plain[0].get("href", "") if plain else ""


def _alert(root: Any) -> Nowcast:
    message_type = _text(root, f"{CAP}msgType")
    if message_type not in _TYPES:
        raise RemoteError("field", f"msgType {message_type[:40]!r} begins nothing")
    sent = _text(root, f"{CAP}sent")
    infos = list(root.iterfind(f"{CAP}info"))
    if not infos and message_type != "Cancel":
        raise RemoteError("field", "the alert has no <info>")
    polygons: list[tuple[tuple[float, float], ...]] = []
    circles: list[tuple[float, float, float]] = []
    severity, event, headline = "Unknown", "", ""
    begins: list[int] = []
    ends: list[int] = []
    for info in infos:
        found = _text(info, f"{CAP}severity")
        if found in SEVERITIES and SEVERITIES.index(found) > SEVERITIES.index(severity):
            severity = found
        event = event or _text(info, f"{CAP}event")[:_TEXT_MAX]
        headline = headline or _text(info, f"{CAP}headline")[:_TEXT_MAX]
        begin = next((t for t in (_text(info, CAP + n) for n in ("onset", "effective")) if t), sent)
        begins.append(_time_ms(begin))
        expires = _text(info, f"{CAP}expires")
        ends.append(_time_ms(expires) if expires else begins[-1] + 3 * 3_600_000)
        for one in info.iterfind(f"{CAP}area/{CAP}polygon"):
            polygons.append(_polygon(one.text or ""))
        for one in info.iterfind(f"{CAP}area/{CAP}circle"):
            circles.append(_circle(one.text or ""))
        if len(polygons) + len(circles) > _AREAS_MAX:
            raise RemoteError("size", f"more than {_AREAS_MAX} areas")
    references = _text(root, f"{CAP}references").split()
    return Nowcast(
        identifier=_text(root, f"{CAP}identifier")[:_TEXT_MAX],
        sender=_text(root, f"{CAP}sender")[:_TEXT_MAX],
        sent=sent,
        message_type=message_type,
        is_actual=_text(root, f"{CAP}status") == "Actual",
        references=tuple(r.split(",")[1] for r in references if r.count(",") == 2),
        event=event,
        headline=headline,
        severity=severity,
        begin_ms=min(begins, default=_time_ms(sent)),
        expires_ms=max(ends, default=0),
        polygons=tuple(polygons),
        circles=tuple(circles),
    )


def _time_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RemoteError("field", f"{text[:40]!r} is no time") from None
    if moment.tzinfo is None:
        raise RemoteError("field", f"{text[:40]!r} has no time zone")
    return round(moment.timestamp() * 1000)


def _pair(text: str) -> tuple[float, float]:
    words = text.split(",")
    try:
        lat, lon = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        raise RemoteError("field", f"{text[:40]!r} is no position") from None
    is_real = math.isfinite(lat) and math.isfinite(lon)
    if len(words) != 2 or not is_real or abs(lat) > 90 or abs(lon) > 180:
        raise RemoteError("field", f"{text[:40]!r} is no position")
    return lat, lon


def _polygon(text: str) -> tuple[tuple[float, float], ...]:
    words = text.split()
    if not 4 <= len(words) <= _POINTS_MAX:
        raise RemoteError("field", f"a polygon of {len(words)} points")
    points = tuple(_pair(word) for word in words)
    if points[0] != points[-1]:
        raise RemoteError("field", "a polygon that is not closed")
    return points


def _circle(text: str) -> tuple[float, float, float]:
    words = text.split()
    if len(words) != 2:
        raise RemoteError("field", f"{text[:40]!r} is no circle")
    lat, lon = _pair(words[0])
    try:
        radius = float(words[1])
    except ValueError:
        raise RemoteError("field", f"{text[:40]!r} is no circle") from None
    if not 0 <= radius <= 20_100:
        raise RemoteError("field", f"a circle of {words[1][:20]} km")
    return lat, lon, radius


def inside(polygon: Sequence[tuple[float, float]], lat: float, lon: float) -> bool:
    """Whether a place is in a closed polygon, its border included: the even-odd rule."""
    is_in = False
    for (lat1, lon1), (lat2, lon2) in pairwise(polygon):
        cross = (lat2 - lat1) * (lon - lon1) - (lon2 - lon1) * (lat - lat1)
        is_between = min(lat1, lat2) <= lat <= max(lat1, lat2)
        if abs(cross) < 1e-12 and is_between and min(lon1, lon2) <= lon <= max(lon1, lon2):
            return True
        if (lat1 > lat) != (lat2 > lat):
            at = lon1 + (lat - lat1) * (lon2 - lon1) / (lat2 - lat1)
            is_in ^= lon < at
    return is_in


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance (haversine, 6371 km)."""
    p1, p2 = math.radians(lat1), math.radians(lat2)
    half = math.sin((p2 - p1) / 2) ** 2
    half += math.cos(p1) * math.cos(p2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * 6371 * math.asin(min(1.0, math.sqrt(half)))
