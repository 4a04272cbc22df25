"""The Atom feed of public alerts: `build_feed`. After OASIS "CAP Feeds 1.0" and RFC 4287.

The id of an entry is the CAP identifier, its link is the signed file and ends in .xml, its content
the short text. Newest first, at most 100 KB: the oldest entries are left out.
"""

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import lru_cache

from gateway.acts.cap.folder import FEED
from gateway.acts.cap.message import stamp
from gateway.acts.cap.outbox import Issued
from gateway.acts.cap.settings import CapSettings
from gateway.acts.cap.words import clean

FEED_BYTES_MAX = 100_000
_ATOM = "http://www.w3.org/2005/Atom"
_DESCRIPTION_MAX = 600
_END = b"</feed>"
_NAMESPACE = uuid.UUID("2f1d6bd7-58d5-5fb1-b0e6-5c7a4f6f4d52")


def build_feed(
    messages: Sequence[Issued], settings: CapSettings, site: str, offset_h: float
) -> bytes:
    """The feed of these messages, newest first."""
    feed = ET.Element("feed", {"xmlns": _ATOM, "xml:lang": "id"})
    name = clean(settings.sender_name or settings.sender)
    _add(feed, "id", f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{settings.sender}|{site}')}")
    _add(feed, "title", f"Peringatan {site}: {name}")
    newest_ms = max((one.sent_ms for one in messages), default=0)
    _add(feed, "updated", stamp(newest_ms, offset_h))
    _add(ET.SubElement(feed, "author"), "name", name)
    kind = "application/atom+xml"
    ET.SubElement(feed, "link", {"rel": "self", "type": kind, "href": settings.link(FEED)})
    head = ET.tostring(feed, encoding="UTF-8", xml_declaration=True).removesuffix(_END)
    parts, size = [head], len(head) + len(_END)
    for one in messages:
        if one.scope != "Public":
            continue
        entry = _entry(one, settings.link(f"{one.stem}.xml"))
        size += len(entry)
        if size > FEED_BYTES_MAX:
            break
        parts.append(entry)
    return b"".join((*parts, _END))


@lru_cache(maxsize=256)  # 85 % of the time from an alarm to its file went here
def _entry(one: Issued, href: str) -> bytes:
    entry = ET.Element("entry")
    _add(entry, "id", one.identifier)
    _add(entry, "title", one.headline_id)
    _add(entry, "updated", one.sent)
    _add(entry, "published", one.sent)
    # feedparser, and so WMO's cap-composer, follows only a link that may be a web page.
    ET.SubElement(entry, "link", {"href": href})
    kind = "application/cap+xml"
    ET.SubElement(entry, "link", {"rel": "alternate", "type": kind, "href": href})
    for term in (one.msg_type, one.status):
        ET.SubElement(entry, "category", {"term": term})
    _add(entry, "summary", clean(one.description_id, _DESCRIPTION_MAX))
    _add(entry, "content", one.social)
    return ET.tostring(entry, encoding="UTF-8", xml_declaration=False)


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = clean(text)


__all__ = ["FEED_BYTES_MAX", "build_feed"]
