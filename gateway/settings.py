# ruff: noqa: RUF009  `setting` returns a dataclass field, which is what a default may be
"""The whole configuration: `load` reads the file into `Settings`; `Settings` is every section.

Sections live beside the code that uses them; this module puts them together and checks what only
the whole can tell: names used twice, thresholds of unknown devices, files that cannot be read.
"""

import re
import tomllib
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

from gateway.acts.ais.settings import AisSettings
from gateway.acts.assets import AssetsSettings
from gateway.acts.cap.settings import CapSettings
from gateway.acts.geojson import GeojsonSettings
from gateway.acts.gtfs import GtfsSettings
from gateway.acts.open311.settings import Open311Settings
from gateway.acts.sensorthings.settings import SensorThingsSettings
from gateway.acts.signs.settings import SignsSettings
from gateway.acts.siren.settings import SirenSettings
from gateway.acts.sos import SosSettings
from gateway.acts.storm.settings import StormSettings
from gateway.acts.watch_settings import WatchSettings
from gateway.atcs.service.settings import JunctionSettings
from gateway.config import (
    ConfigError,
    Place,
    address_check,
    build,
    name_check,
    read_toml,
    setting,
)
from gateway.ledger.retention import Retention
from gateway.lorawan.config import DeviceEntry, LorawanConfig
from gateway.remote.settings import RemoteSettings
from gateway.rules.quality import QualitySettings
from gateway.rules.settings import AlarmSettings, Stages
from gateway.sinks.settings import BrokerSettings, MqttSettings
from gateway.sinks.sparkplug import SparkplugSettings
from gateway.sources.backfill import BackfillSettings
from gateway.sources.modbus import Bus, Sensor, shared_unit
from gateway.sources.profile import load_profile

FACE_MM = 100  # no radar and no ultrasonic sensor measures nearer to its face


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Section [gateway]."""

    site: str = setting(doc="name of the site: part of every topic", check=name_check)
    data_dir: Path = setting(
        Path("/var/lib/tukad"), doc="where the ledger and the sessions are kept"
    )
    utc_offset_h: float = setting(8.0, low=-12, high=14, unit="h", doc="local time in texts")
    zone: str = setting("WITA", doc="name of local time in texts")
    latitude_deg: float | None = setting(
        None, low=-90, high=90, unit="deg", doc="of the gateway: trackers send positions near it"
    )
    longitude_deg: float | None = setting(
        None, low=-180, high=180, unit="deg", doc="of the gateway"
    )

    status_bind: str = setting(
        "127.0.0.1:9470",
        doc='OpenMetrics and health over HTTP, "" for none',
        check=lambda v: "" if v == "" else address_check(v),
    )
    drain_s: float = setting(
        5.0, low=0, high=300, unit="s", doc="at the end, wait so long for confirmations"
    )

    def __post_init__(self) -> None:
        if (self.latitude_deg is None) != (self.longitude_deg is None):
            raise ValueError("latitude_deg and longitude_deg go together")

    def site_e5(self) -> tuple[int, int] | None:
        """Latitude and longitude in 1e-5 degrees, if both are set."""
        if self.latitude_deg is None or self.longitude_deg is None:
            return None
        return round(self.latitude_deg * 1e5), round(self.longitude_deg * 1e5)


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(DeviceEntry):
    """[[device]]: a LoRaWAN device, with what the gateway does with its readings."""

    interval_s: int = setting(300, low=1, high=604_800, unit="s", doc="usual time between readings")
    backfill: bool = setting(True, doc="ask the device for readings that are missing")
    stages: Stages | None = setting(None, doc="alarm thresholds")
    quality: QualitySettings | None = setting(None, doc="quality tests")
    latitude_deg: float | None = setting(
        None, low=-90, high=90, unit="deg", doc="where it stands, for maps; trackers have none"
    )
    longitude_deg: float | None = setting(
        None, low=-180, high=180, unit="deg", doc="where it stands, for maps"
    )
    share: str = setting(
        "exact",
        choices=("exact", "coarse", "none"),
        doc="how much of a tracker's position any map may show; a call for help is always exact",
    )

    def __post_init__(self) -> None:
        DeviceEntry.__post_init__(self)
        if (self.latitude_deg is None) != (self.longitude_deg is None):
            raise ValueError("latitude_deg and longitude_deg go together")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every section of the file."""

    gateway: GatewaySettings = setting(doc="[gateway] names the site and the data directory")
    ledger: Retention = field(default_factory=Retention)
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    sparkplug: SparkplugSettings | None = setting(None, doc="a Sparkplug B node beside [mqtt]")
    lorawan: LorawanConfig | None = setting(None, doc="the LoRaWAN network server")
    device: tuple[DeviceSettings, ...] = setting((), doc="LoRaWAN devices")
    backfill: BackfillSettings = field(default_factory=BackfillSettings)
    modbus: tuple[Bus, ...] = setting((), doc="wired buses")
    storm: StormSettings | None = setting(None, doc="storm mode: from rain, rise or a nowcast")
    remote: RemoteSettings | None = setting(None, doc="signed commands from operators")
    cap: CapSettings | None = setting(None, doc="signed CAP 1.2 alerts")
    junction: tuple[JunctionSettings, ...] = setting((), doc="signal controllers of this gateway")
    siren: SirenSettings | None = setting(None, doc="sirens, by gauge and level")
    sos: SosSettings | None = setting(None, doc="steps of a call for help, told to the crew")
    signs: SignsSettings | None = setting(None, doc="LED boards: flood text, else the market")
    ais: AisSettings | None = setting(None, doc="boats and gauges on chart plotters")
    geojson: GeojsonSettings | None = setting(None, doc="layers for a GIS")
    gtfs: GtfsSettings | None = setting(
        None, doc="the fleet and flooded roads for journey planners"
    )
    sensorthings: SensorThingsSettings | None = setting(None, doc="push to a SensorThings server")
    watch: WatchSettings | None = setting(None, doc="faults by cause (always on), vessels, fleet")
    open311: Open311Settings | None = setting(None, doc="fault tickets by Open311 GeoReport v2")
    assets: AssetsSettings | None = setting(None, doc="the asset register as messages and CSV")

    def stages(self) -> dict[str, Stages]:
        """Thresholds by device or sensor name."""
        found = {one.name: one.stages for one in self.device if one.stages}
        sensors = (sensor for bus in self.modbus for sensor in bus.sensor)
        return found | {one.name: _guarded(one) for one in sensors if one.stages}

    def quality(self) -> dict[str, QualitySettings]:
        """Quality tests by device or sensor name."""
        found = {one.name: one.quality for one in self.device if one.quality}
        sensors = (sensor for bus in self.modbus for sensor in bus.sensor)
        return found | {one.name: one.quality for one in sensors if one.quality}

    def intervals_s(self) -> dict[str, int]:
        """Usual seconds between readings by device or sensor name."""
        found = {one.name: one.interval_s for one in self.device}
        sensors = (sensor for bus in self.modbus for sensor in bus.sensor)
        return found | {one.name: max(1, round(one.interval_s)) for one in sensors}


def _guarded(sensor: Sensor) -> Stages:
    """The thresholds of a wired sensor; what it says from right before its face is no water.

    Error values of radar and ultrasonic sensors look like that. Water that was seen to climb there
    counts all the same (`gateway.rules.vote`).
    """
    assert sensor.stages is not None
    stages = sensor.stages
    if stages.high_mm is not None or sensor.height_mm is None or stages.value != "level_mm":
        return stages
    return replace(stages, high_mm=max(stages.awas_mm, sensor.height_mm - FACE_MM))


@dataclass(frozen=True)
class Loaded:
    """Settings with the file they came from and where each value came from."""

    settings: Settings
    file: Path
    origins: dict[str, str]


def load(file: Path, text: str | None = None) -> Loaded:
    """Read and check a configuration file. Raises ConfigError.

    With `text`, that is checked in place of what is in the file; paths begin at the file's folder.
    """
    place = Place(file)
    settings = build(Settings, read_toml(file) if text is None else _parse(file, text), place)
    if settings.device and settings.lorawan is None:
        raise ConfigError(f"{file}: there are [[device]] tables, but no [lorawan] section")
    if settings.lorawan is not None:
        if settings.lorawan.devices:
            raise ConfigError(f"{file}: lorawan.devices: write devices as [[device]] tables")
        try:
            lorawan = replace(settings.lorawan, devices=settings.device)
        except ValueError as error:
            raise ConfigError(f"{file}: {error}") from None
        settings = replace(settings, lorawan=lorawan)
    _check_names(settings, file)
    for index, bus in enumerate(settings.modbus):
        for sensor in bus.sensor:
            _check_sensor(file, bus.name, sensor.name, sensor.profile, sensor.values)
        problem = shared_unit(bus, file.parent)
        if problem:
            raise ConfigError(f"{file}: modbus[{index + 1}] {bus.name}: {problem}")
    for device in settings.device:
        if device.keys is not None and not device.keys.exists():
            raise ConfigError(
                f'{file}: device["{device.name}"].keys = {device.keys}: there is no such file;'
                " tukad lorawan add makes one"
            )
    settings.mqtt.password()
    if any(url.startswith("mqtts:") for url in settings.mqtt.url):
        settings.mqtt.tls()
    return Loaded(settings, file, place.origins)


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: what came for it is not TOML: {error}") from None


def _check_sensor(
    file: Path, bus: str, sensor: str, profile_name: str, values: tuple[str, ...]
) -> None:
    where = f'{file}: modbus["{bus}"].sensor["{sensor}"]'
    try:
        profile = load_profile(profile_name, file.parent)
    except ConfigError as error:
        raise ConfigError(f"{where}.profile: {error}") from None
    known = [value.name for value in profile.value if not value.reading_clears]
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{where}.values: profile {profile_name} has no {name}; it has {', '.join(known)}"
            )


def _check_names(settings: Settings, file: Path) -> None:
    seen: dict[str, str] = {}
    named = [(one.name, "device") for one in settings.device]
    named += [(sensor.name, f"sensor of {b.name}") for b in settings.modbus for sensor in b.sensor]
    for name, what in named:
        if name in seen:
            raise ConfigError(f'{file}: the name "{name}" is used twice: {seen[name]} and {what}')
        seen[name] = what
    buses = [bus.name for bus in settings.modbus]
    for name in buses:
        if buses.count(name) > 1:
            raise ConfigError(f'{file}: two [[modbus]] tables have the name "{name}"')


def describe(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Every setting in force as (key, value, origin), for `tukad gateway check`."""
    rows: list[tuple[str, str, str]] = []
    for key, origin in loaded.origins.items():
        value = _look_up(loaded.settings, key)
        if _is_section(value):
            continue  # its settings have rows of their own
        rows.append((key, _shown(value), "default" if origin == "default" else "file"))
    return rows


def _is_section(value: object) -> bool:
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return bool(items) and is_dataclass(items[0])
    return is_dataclass(value)


def _look_up(settings: Settings, key: str) -> object:
    value: object = settings
    for word, label in re.findall(r"([^.\[\]]+)(?:\[([^\]]*)\])?", key):
        value = getattr(value, word, None)
        if label and isinstance(value, tuple):
            items = cast("tuple[object, ...]", value)
            names = [f'"{getattr(item, "name", None)}"' for item in items]
            index = names.index(label) if label in names else int(label) - 1
            value = items[index]
    return value


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return "[" + ", ".join(_shown(item) for item in items) + "]"
    return str(value)
