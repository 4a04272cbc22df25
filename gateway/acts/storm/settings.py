"""Section [storm]: `StormSettings`."""

from dataclasses import dataclass

from gateway.config import setting


@dataclass(frozen=True, kw_only=True)
class StormSettings:
    """When a site goes into storm mode by itself, and what it does then."""

    rain_mm_10min: float = setting(
        5.0, low=0.2, high=100, unit="mm", doc="so much rain in ten minutes begins it"
    )
    rain_mm_1h: float = setting(
        20.0, low=1, high=300, unit="mm", doc="so much rain in an hour begins it: very heavy"
    )
    tip_um: int = setting(
        200, low=10, high=2000, unit="um", doc="rain of one tip of a node's bucket"
    )
    rise_mm_h: int = setting(
        500, low=50, high=20000, unit="mm/h", doc="a rise that is surely faster begins it"
    )
    feed: str = setting(
        "",
        doc="CAP nowcast: URL or file of an RSS or Atom feed or of one alert; empty for none",
        check=lambda v: "has spaces" if " " in v else "",
    )
    feed_hosts: tuple[str, ...] = setting(
        ("bmkg.go.id",), doc="alerts of the feed are fetched from its own host and these alone"
    )
    poll_s: int = setting(300, low=60, high=3600, unit="s", doc="the feed is asked so often")
    credit: str = setting("BMKG", doc="whose nowcast it is: named in every text")
    least_severity: str = setting(
        "Moderate",
        choices=("Minor", "Moderate", "Severe", "Extreme"),
        doc="weaker warnings of the feed do not begin it",
    )
    hold_s: int = setting(
        3600, low=600, high=86400, unit="s", doc="it lasts so long after the last cause"
    )
    longest_s: int = setting(
        43200, low=3600, high=172_800, unit="s", doc="no warning makes it last longer from now"
    )
    devices: tuple[str, ...] = setting((), doc="nodes to send it to; empty: every flood node")
    sirens: tuple[str, ...] = setting(
        (), doc="sirens to test in silence when it begins; empty: every siren node"
    )
    silent_test: bool = setting(True, doc="test the sirens in silence when it begins")
    test_pause_s: int = setting(
        21600, low=600, high=604_800, unit="s", doc="a siren is tested no more often than this"
    )
