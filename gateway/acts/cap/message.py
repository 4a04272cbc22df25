"""A `Draft` as CAP 1.2 XML: `build`. Unsigned, without white space between elements.

Source: OASIS Common Alerting Protocol 1.2 (2010) and its XSD: the order of elements is fixed, times
have a numeric offset (a `Z` is refused; UTC is written -00:00), and text that comes from the
configuration is escaped by the XML writer.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from gateway.acts.cap.incident import CANCEL, Draft, Member
from gateway.acts.cap.settings import Area, CapSettings
from gateway.acts.cap.words import EN, ID, clean, texts
from gateway.rules.stages import Site

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
EVENT_TERMS = "OET:v1.2"
_POSITION_KM = 0.5  # radius of a position that is a few minutes old
_SITE_KM = 1.0
_PARAMETERS_MAX = 16  # of one device
# What a reader of a flood alert can use; the battery is not his business.
_USEFUL = re.compile(r"(level|rate|rise|rising|slope|next|minutes|rain|flow|forecast|tide)")

# Who may read a message that is not public, by scope.
RESTRICTION = "Hanya untuk petugas / for responders only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a message needs to know of the site beyond [cap]."""

    name: str
    site: Site
    position: tuple[float, float] | None  # degrees, of the gateway
    versions: Mapping[str, str]  # of the thresholds, by device


def stamp(time_ms: int, offset_h: float) -> str:
    """A CAP time, such as 2025-09-10T02:14:05+08:00."""
    zone = timezone(timedelta(minutes=round(offset_h * 60)))
    text = datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(zone).isoformat()
    return text.replace("+00:00", "-00:00") if text.endswith("+00:00") else text


def build(draft: Draft, settings: CapSettings, place: Place) -> bytes:
    """The alert element, UTF-8."""
    offset_h = place.site.utc_offset_h
    alert = ET.Element("alert", xmlns=NAMESPACE)
    _add(alert, "identifier", draft.identifier)
    _add(alert, "sender", settings.sender)
    _add(alert, "sent", stamp(draft.sent_ms, offset_h))
    _add(alert, "status", draft.status)
    _add(alert, "msgType", draft.msg_type)
    _add(alert, "source", f"tukad {place.name}")
    _add(alert, "scope", draft.topic.scope)
    if draft.topic.scope == "Restricted":
        _add(alert, "restriction", RESTRICTION)
    if draft.status == "Exercise":
        _add(alert, "note", f"Latihan / exercise {draft.incident}")
    elif not draft.is_clock_set:
        _add(alert, "note", "Jam alat belum disetel / the clock of the gateway is not set")
    if draft.references:
        words = [
            f"{settings.sender},{one.identifier},{stamp(one.sent_ms, offset_h)}"
            for one in draft.references
        ]
        _add(alert, "references", " ".join(words))
    _add(alert, "incidents", draft.incident)
    for language in (ID, EN):
        _info(alert, draft, settings, place, language)
    return ET.tostring(alert, encoding="UTF-8", xml_declaration=False)


def _info(
    alert: ET.Element, draft: Draft, settings: CapSettings, place: Place, language: str
) -> None:
    words = texts(draft, settings, place.site, language)
    severity, urgency, certainty, response = draft.topic.grades[draft.level]
    if draft.level and any(one.is_silent for one in draft.members):
        certainty = "Likely"  # it was observed, and is not any more
    sent = stamp(draft.sent_ms, place.site.utc_offset_h)
    info = ET.SubElement(alert, "info")
    _add(info, "language", language)
    _add(info, "category", draft.topic.category)
    if draft.kind == "stage":
        _add(info, "category", "Safety")
    _add(info, "event", words.event)
    _add(info, "responseType", response)
    _add(info, "urgency", urgency)
    _add(info, "severity", severity)
    _add(info, "certainty", certainty)
    if draft.topic.code:
        _pair(info, "eventCode", EVENT_TERMS, draft.topic.code)
    _add(info, "effective", sent)
    if draft.msg_type != CANCEL:
        onset_ms = min(one.time_ms for one in draft.members)
        _add(info, "onset", stamp(onset_ms, place.site.utc_offset_h))
    _add(info, "expires", stamp(draft.expires_ms, place.site.utc_offset_h))
    _add(info, "senderName", settings.sender_name)
    _add(info, "headline", words.headline)
    _add(info, "description", words.description)
    _add(info, "instruction", words.instruction)
    _add(info, "web", settings.web)
    _add(info, "contact", settings.contact)
    for name, value in _parameters(draft, place):
        _pair(info, "parameter", name, value)
    for member in draft.members:
        _area(info, member, settings, place, language)


def _parameters(draft: Draft, place: Place) -> Iterator[tuple[str, str]]:
    yield "tukad:level", str(draft.level)
    if not draft.is_clock_set:
        yield "tukad:clock", "unset"
    if draft.kind != "stage":
        return
    for member in draft.members:
        yield f"{member.device}:stage", member.name
        version = place.versions.get(member.device, "")
        if version:
            yield f"{member.device}:thresholds", version
        useful = [name for name in sorted(member.values) if _USEFUL.match(name)]
        for name in useful[:_PARAMETERS_MAX]:
            yield f"{member.device}:{name}", str(member.values[name])


def _area(
    info: ET.Element, member: Member, settings: CapSettings, place: Place, language: str
) -> None:
    lat_e5, lon_e5 = member.values.get("lat_e5"), member.values.get("lon_e5")
    gauge = settings.gauge_of(member.device)
    wanted = gauge.area or settings.area
    if gauge.area is None and lat_e5 is not None and lon_e5 is not None:
        at = f"{lat_e5 / 1e5:.5f},{lon_e5 / 1e5:.5f}"
        what = "Sekitar posisi" if language == ID else "Around position"
        wanted = Area(description=f"{what} {at}", circle=(f"{at} {_POSITION_KM}",))
    elif wanted is None:
        circle = ()
        if place.position is not None:
            lat, lon = place.position
            circle = (f"{lat:.5f},{lon:.5f} {_SITE_KM}",)
        wanted = Area(description=gauge.place or f"{place.name}: {gauge.name}", circle=circle)
    area = ET.SubElement(info, "area")
    english = wanted.description_en if language == EN else ""
    _add(area, "areaDesc", clean(english or wanted.description) or gauge.name)
    for polygon in wanted.polygon:
        _add(area, "polygon", polygon)
    for circle in wanted.circle:
        _add(area, "circle", circle)
    for geocode in wanted.geocode:
        name, _, value = geocode.partition("=")
        _pair(area, "geocode", name, value)


def _add(parent: ET.Element, name: str, text: str) -> None:
    """A child with text; an empty one is left out."""
    text = clean(text)
    if text:
        ET.SubElement(parent, name).text = text


def _pair(parent: ET.Element, name: str, key: str, value: str) -> None:
    pair = ET.SubElement(parent, name)
    ET.SubElement(pair, "valueName").text = clean(key) or "-"
    ET.SubElement(pair, "value").text = clean(value) or "-"


__all__ = ["EVENT_TERMS", "NAMESPACE", "Place", "build", "stamp"]
