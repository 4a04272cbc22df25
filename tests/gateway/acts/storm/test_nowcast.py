"""Reading alerts and feeds: what is meant is found, what is hostile is refused."""

import capvalidator
import feedparser
import pytest

from gateway.acts.storm.nowcast import BYTES_MAX, Item, Nowcast, inside, read
from protocols.errors import RemoteError
from tests.gateway.acts.storm.feeds import BULELENG, DENPASAR, alert, atom, rss
from tests.gateway.samples import START_MS

SITE = -8.65602, 115.21198


def warning(data: bytes) -> Nowcast:
    found = read(data)
    assert isinstance(found, Nowcast)
    return found


def test_the_fixtures_are_cap_and_feeds_by_independent_readers() -> None:
    # capvalidator looks for a signature last, which a nowcast need not have.
    result = capvalidator.check_schema(alert(START_MS, circle="-8.65,115.21 5"))
    assert result.passed, result
    assert [e.link for e in feedparser.parse(rss(["a.xml", "b.xml"])).entries] == ["a.xml", "b.xml"]
    assert feedparser.parse(atom(["https://met.example/a.xml"])).entries[0].link.endswith("a.xml")


def test_an_alert_is_understood() -> None:
    found = warning(alert(START_MS, hours=3, severity="Severe"))
    assert found.message_type == "Alert" and found.is_actual and found.severity == "Severe"
    assert found.begin_ms == START_MS and found.expires_ms == START_MS + 3 * 3_600_000
    assert found.covers(*SITE)
    assert not warning(alert(START_MS, polygon=BULELENG)).covers(*SITE)


def test_a_circle_covers_by_its_radius_in_km() -> None:
    # One degree of latitude is 111.2 km on a sphere of 6371 km.
    near = warning(alert(START_MS, polygon="", circle="-7.65602,115.21198 111.3"))
    far = warning(alert(START_MS, polygon="", circle="-7.65602,115.21198 111.1"))
    assert near.covers(*SITE) and not far.covers(*SITE)


def test_feeds_give_their_links_and_change_with_their_dates() -> None:
    first = read(rss(["https://met.example/a.xml"]))
    second = read(rss(["https://met.example/a.xml"], "Wed, 25 Nov 2026 10:00:00 +0800"))
    assert isinstance(first, list) and isinstance(second, list)
    assert first[0].link == second[0].link == "https://met.example/a.xml"
    assert first[0].stamp != second[0].stamp
    listed = read(atom(["https://met.example/b.xml"]))
    assert isinstance(listed, list) and isinstance(listed[0], Item)
    assert listed[0].link == "https://met.example/b.xml"


_BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><rss version="2.0"><channel>
<item><link>&b;</link></item></channel></rss>"""
_SECRET = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>
<rss version="2.0"><channel><item><link>&f;</link></item></channel></rss>"""
_GOOD = alert(START_MS)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_BOMB, "doctype"),
        (_SECRET, "doctype"),
        (_SECRET.replace(b"<!DOCTYPE", b"<!doctype"), "doctype"),
        (_BOMB.decode().encode("utf-16"), "xml"),
        (b"<rss>" + b"x" * BYTES_MAX, "size"),
        (b"<a>" * 2000 + b"</a>" * 2000, "xml"),
        (b"", "xml"),
        (b"<html/>", "kind"),
        (_GOOD.replace(b"<msgType>Alert", b"<msgType>Ack"), "field"),
        (_GOOD.replace(DENPASAR.encode(), b"-8.6,115.1 -8.6,115.2 -8.7,115.2"), "field"),
        (_GOOD.replace(DENPASAR.encode(), DENPASAR[:-13].encode() + b"-8.61,115.15"), "field"),
        (_GOOD.replace(DENPASAR.encode(), b"nan,1 2,2 3,3 nan,1"), "field"),
        (_GOOD.replace(b"<expires>20", b"<expires>never20"), "field"),
    ],
)
def test_what_is_hostile_or_broken_is_refused_with_its_reason(data: bytes, code: str) -> None:
    with pytest.raises(RemoteError) as caught:
        read(data)
    assert caught.value.code == code


def test_a_polygon_holds_its_inside_and_its_border() -> None:
    notch = [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (2.0, 2.0), (0.0, 0.0)]
    assert inside(notch, 1.0, 3.0) and inside(notch, 0.0, 2.0) and inside(notch, 2.0, 2.0)
    assert not inside(notch, 2.0, 1.0) and not inside(notch, 5.0, 2.0)
