"""Section [ais], and the numbers that boats and gauges have on a chart plotter.

An MMSI says what something is (ITU-R M.585): 201..775 begin a ship's, 98 MID a craft that belongs
to a ship, 99 MID 1 a real and 99 MID 6 a virtual aid to navigation, 972 a man overboard. A vessel
that has no MMSI of its own gets 98 MID and a number from the configuration, never one that a ship
could have.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from gateway.acts.picture import EXACT, SHARES
from gateway.config import address_check, setting

_CALL = 972_000_000


def mmsi_kind(mmsi: int) -> str:
    """ "ship", "craft", "aid", "call", or "" for what is none of these."""
    text = f"{mmsi:09d}"
    if len(text) > 9:
        return ""
    for start, kind in (("98", "craft"), ("99", "aid")):
        if text.startswith(start):
            return kind if 201 <= int(text[2:5]) <= 775 else ""
    if text.startswith("972"):
        return "call"
    return "ship" if 201 <= int(text[:3]) <= 775 else ""


def _address(value: str) -> str:
    return "" if value == "" else address_check(value)


def _target(value: str) -> str:
    """Datagrams go to a number: looking up a name would make everything else wait."""
    problem = _address(value)
    if problem or not value:
        return problem
    try:
        ip_address(value.rpartition(":")[0].strip("[]"))
    except ValueError:
        return 'is not "address:port" with an address in numbers, such as 192.168.1.255:10110'
    return ""


def _ship_mmsi(value: int) -> str:
    if mmsi_kind(value) in ("ship", "craft"):
        return ""
    return (
        "is no ship's MMSI (nine digits, the first three 201..775) and no craft's (98 MID ....);"
        " leave it out for a vessel that has none and give it a number"
    )


def _mother_mmsi(value: int) -> str:
    return "" if mmsi_kind(value) == "ship" else "is no ship's MMSI"


def _aid_mmsi(value: int) -> str:
    return "" if mmsi_kind(value) == "aid" else "is no aid to navigation's MMSI (99 MID ....)"


@dataclass(frozen=True, kw_only=True)
class VesselSettings:
    """[[ais.vessel]]: a tracker as a boat on the chart."""

    device: str = setting(doc="name of the tracker")
    name: str = setting("", doc="name on the chart, 20 letters; the device's if empty")
    callsign: str = setting("", doc="radio call sign")
    mmsi: int | None = setting(None, doc="the vessel's own MMSI, if it has one", check=_ship_mmsi)
    number: int | None = setting(
        None, low=1, high=8999, doc="else: its number here, for 98 MID and the number"
    )
    mothership: int | None = setting(
        None, doc="MMSI of the ship that an auxiliary craft belongs to", check=_mother_mmsi
    )
    ais_class: str = setting("B", choices=("A", "B"), doc="report as class A or class B")
    ship_type: int = setting(
        30, low=0, high=99, doc="30 fishing, 36 sailing, 37 pleasure, 60 passenger, 51 rescue"
    )
    length_m: int = setting(0, low=0, high=1022, unit="m", doc="length, 0 if not known")
    beam_m: int = setting(0, low=0, high=126, unit="m", doc="width, 0 if not known")
    share: str = setting(EXACT, choices=SHARES, doc="how much of its position the chart shows")

    def __post_init__(self) -> None:
        if self.mmsi is None and self.number is None:
            raise ValueError(
                f'vessel "{self.device}" has neither mmsi nor number; without an MMSI give it'
                " a number of its own, 1..8999"
            )


@dataclass(frozen=True, kw_only=True)
class GaugeSettings:
    """[[ais.gauge]]: a gauge as an aid to navigation with its water level."""

    device: str = setting(doc="name of the device or sensor")
    name: str = setting("", doc="name on the chart, 34 letters; the device's if empty")
    mmsi: int | None = setting(None, doc="an MMSI given by the authority", check=_aid_mmsi)
    number: int | None = setting(None, low=0, high=999, doc="else: its number, for 99 MID 6 ...")
    real: bool = setting(False, doc="true: a real mark with a number 99 MID 1 ..., not virtual")
    value: str = setting("level_mm", doc="which value is the level")
    datum_mm: int = setting(
        0, low=-100_000, high=100_000, unit="mm", doc="added to the level: chart datum to zero"
    )
    trend: bool = setting(
        False, doc="send rising and falling; gpsd 3.22 shows them the wrong way round"
    )

    def __post_init__(self) -> None:
        if self.mmsi is None and self.number is None:
            raise ValueError(f'gauge "{self.device}" has neither mmsi nor number; give it a number')


@dataclass(frozen=True, kw_only=True)
class AisSettings:
    """Section [ais]: sentences for chart plotters on this network. Nothing is sent by radio."""

    tcp: str = setting("127.0.0.1:10110", doc='where plotters connect; "" for none', check=_address)
    udp: str = setting(
        "127.0.0.1:10110",
        doc='where datagrams go: an address or a broadcast address; "" for none',
        check=_target,
    )
    clients_max: int = setting(32, low=1, high=1000, doc="most plotters at once over TCP")
    mid: int = setting(525, low=201, high=775, doc="maritime identification digits: Indonesia 525")
    call_maker: int = setting(
        99, low=1, high=99, doc="the two digits after 972 in the numbers of calls for help"
    )
    expire_s: int = setting(
        2400, low=30, high=86_400, unit="s", doc="a boat's position older than this is not sent"
    )
    gauge_expire_s: int = setting(
        3600, low=60, high=604_800, unit="s", doc="a water level older than this is not sent"
    )
    reckon: bool = setting(
        True, doc="between fixes send where the boat must be by now, marked as dead reckoning"
    )
    cell_deg: float = setting(
        0.01, low=0.0001, high=1, unit="deg", doc="side of the square that a coarse position names"
    )
    vessel: tuple[VesselSettings, ...] = setting((), doc="boats")
    gauge: tuple[GaugeSettings, ...] = setting((), doc="gauges")

    def __post_init__(self) -> None:
        numbers: dict[int, str] = {}
        devices: set[str] = set()
        pairs = [(one.device, vessel_mmsi(self, one)) for one in self.vessel]
        pairs += [(one.device, gauge_mmsi(self, one)) for one in self.gauge]
        for device, mmsi in pairs:
            if device in devices:
                raise ValueError(f'"{device}" is there twice')
            devices.add(device)
            if mmsi in numbers:
                raise ValueError(f'"{numbers[mmsi]}" and "{device}" would both have MMSI {mmsi}')
            numbers[mmsi] = device


def vessel_mmsi(settings: AisSettings, vessel: VesselSettings) -> int:
    """Its own, or 98 MID and its number."""
    if vessel.mmsi is not None:
        return vessel.mmsi
    assert vessel.number is not None
    return 980_000_000 + settings.mid * 10_000 + vessel.number


def gauge_mmsi(settings: AisSettings, gauge: GaugeSettings) -> int:
    """Its own, or 99 MID, 1 (real) or 6 (virtual) and its number."""
    if gauge.mmsi is not None:
        return gauge.mmsi
    assert gauge.number is not None
    kind = 1 if gauge.real else 6
    return 990_000_000 + settings.mid * 10_000 + kind * 1000 + gauge.number


def call_mmsi(settings: AisSettings, number: int) -> int:
    """972, the two digits of this system, and a number of 1..9999."""
    return _CALL + settings.call_maker * 10_000 + number
