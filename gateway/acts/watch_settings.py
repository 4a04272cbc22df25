"""Section [watch]: whose faults are named, which vessels and vehicles are looked after."""

from dataclasses import dataclass

from gateway.config import name_check, setting
from gateway.rules.fleet import Junction, Vehicle


@dataclass(frozen=True, kw_only=True)
class WatchVessel:
    """[[watch.vessel]]: a tracker afloat."""

    device: str = setting(doc="name of the tracker", check=name_check)
    contact: str = setting("", doc="whom to call when it is late, if its float plan says nobody")


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """Section [watch]."""

    faults: bool = setting(True, doc="find faults of devices and name their cause")
    vessel: tuple[WatchVessel, ...] = setting((), doc="vessels")
    zones: str = setting("", doc="GeoJSON file of harbours, protected areas and no-go areas")
    float_plans: str = setting(
        "", doc="JSON or CSV file in data_dir that is read again whenever it changes"
    )
    under_way_min: int = setting(
        45, low=2, high=10_080, unit="min", doc="a vessel under way may be silent for so long"
    )
    anchored_min: int = setting(
        120, low=2, high=10_080, unit="min", doc="a vessel at anchor may be silent for so long"
    )
    moored_min: int = setting(
        720, low=2, high=43_200, unit="min", doc="a vessel in port may be silent for so long"
    )
    drag_m: int = setting(
        80, low=10, high=2000, unit="m", doc="an anchor drags beyond this from where it fell"
    )
    vehicle: tuple[Vehicle, ...] = setting((), doc="vehicles")
    junction: tuple[Junction, ...] = setting((), doc="junctions that give priority")

    def __post_init__(self) -> None:
        for what, names in (
            ("vessel", [one.device for one in self.vessel]),
            ("vehicle", [one.device for one in self.vehicle]),
            ("junction", [one.name for one in self.junction]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f'{what} "{name}" is there twice')
