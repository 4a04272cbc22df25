"""Nowcast feeds after CAP 1.2, RSS 2.0 and Atom, laid out as BMKG's: written for these tests."""

from datetime import UTC, datetime, timedelta, timezone

WITA = timezone(timedelta(hours=8))
DENPASAR = "-8.60,115.15 -8.60,115.28 -8.75,115.28 -8.75,115.15 -8.60,115.15"
BULELENG = "-8.05,114.95 -8.05,115.20 -8.20,115.20 -8.20,114.95 -8.05,114.95"


def stamp(time_ms: int) -> str:
    """CAP's form of a time: with a numeric zone, never Z."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(WITA).isoformat()


def alert(
    sent_ms: int,
    *,
    identifier: str = "2.49.0.1.360.0.2026.11.25.01.02.003",
    polygon: str = DENPASAR,
    severity: str = "Moderate",
    hours: float = 2,
    message_type: str = "Alert",
    status: str = "Actual",
    references: str = "",
    circle: str = "",
) -> bytes:
    """A warning of heavy rain over an area."""
    area = f"<polygon>{polygon}</polygon>" if polygon else ""
    area += f"<circle>{circle}</circle>" if circle else ""
    refs = f"<references>{references}</references>" if references else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">
<identifier>{identifier}</identifier>
<sender>nowcast@met.example</sender>
<sent>{stamp(sent_ms)}</sent>
<status>{status}</status>
<msgType>{message_type}</msgType>
<scope>Public</scope>{refs}
<info>
<language>id</language>
<category>Met</category>
<event>Hujan Lebat dan Petir</event>
<urgency>Immediate</urgency>
<severity>{severity}</severity>
<certainty>Observed</certainty>
<effective>{stamp(sent_ms)}</effective>
<expires>{stamp(sent_ms + round(hours * 3_600_000))}</expires>
<senderName>Badan Meteorologi Klimatologi dan Geofisika</senderName>
<headline>Hujan Lebat disertai Petir di Bali</headline>
<description>Berpotensi hujan lebat di Kota Denpasar.</description>
<area><areaDesc>Bali</areaDesc>{area}</area>
</info>
</alert>""".encode()


def rss(links: list[str], date: str = "Wed, 25 Nov 2026 09:00:00 +0800") -> bytes:
    """An RSS 2.0 feed of these links."""
    items = "".join(
        f"<item><title>Hujan Lebat di Bali</title><link>{link}</link>"
        f"<guid>{link}</guid><pubDate>{date}</pubDate></item>"
        for link in links
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Nowcast</title><link>https://met.example</link>
<description>Peringatan dini cuaca</description>{items}</channel></rss>""".encode()


def atom(links: list[str]) -> bytes:
    """An Atom feed of these links."""
    entries = "".join(
        f"<entry><id>{link}</id><updated>2026-11-25T09:00:00+08:00</updated><title>x</title>"
        f'<link rel="alternate" type="application/cap+xml" href="{link}"/></entry>'
        for link in links
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:x</id><title>x</title>
<updated>2026-11-25T09:00:00+08:00</updated>{entries}</feed>""".encode()
