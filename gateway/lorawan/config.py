"""Settings of the LoRaWAN part: `LorawanConfig`, `DeviceEntry` and the front ends' own.

Frozen dataclasses that check themselves: a value outside its range raises `SettingError`, whose
text names setting, value and what is allowed. The agent's configuration embeds them as its
`[lorawan]` and `[[device]]` tables and puts the file's name in front of the message.
"""

from dataclasses import dataclass, field
from pathlib import Path


class SettingError(ValueError):
    """One setting is wrong and only a person can mend it; the text is one line for that person."""


def eui(text: str, setting: str) -> str:
    """A 64-bit identifier as 16 lower-case hex digits; `-`, `:` and spaces may separate bytes."""
    digits = text.translate(str.maketrans("", "", "-: ")).lower()
    if len(digits) != 16 or any(digit not in "0123456789abcdef" for digit in digits):
        raise SettingError(
            f"{setting} = {text!r}: expected 16 hex digits, such as 70b3d57ed0001a2b"
        )
    return digits


def _within(setting: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:
        raise SettingError(f"{setting} = {value}{unit} is outside {low}..{high}{unit}")


def _one_of(setting: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingError(f"{setting} = {value!r}: there are {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True)
class DeviceEntry:
    """One end device that may join, as the configuration or `tukad lorawan add` gives it."""

    name: str  # unique on this gateway; the name every reading carries
    dev_eui: str  # 16 hex digits, as printed on the device
    join_eui: str = "0000000000000000"  # also called AppEUI
    keys: Path | None = None  # key file: AppKey (OTAA) or both session keys (ABP), see `keys.py`
    activation: str = "otaa"  # otaa | abp (tests only: no join, no new keys ever)
    dev_addr: str = ""  # ABP only: 8 hex digits
    device_class: str = "A"  # A | C (listens always: sirens, signs, cabinets)
    dev_nonce: str = "counter"  # counter (LoRaWAN 1.0.4) | random (1.0.3 and older: any unused one)
    kind: str = ""  # what the agent decodes it as; opaque to the network server
    decoder: str = ""  # a built-in decoder of `decoders.py`, for commercial sensors
    codec: Path | None = None  # or a TS013 JavaScript codec file

    def __post_init__(self) -> None:
        if not self.name or any(c in self.name for c in "/+#\n\0") or len(self.name) > 64:
            raise SettingError(f"device.name = {self.name!r}: 1..64 characters without / + #")
        object.__setattr__(self, "dev_eui", eui(self.dev_eui, f"device {self.name}: dev_eui"))
        object.__setattr__(self, "join_eui", eui(self.join_eui, f"device {self.name}: join_eui"))
        _one_of(f"device {self.name}: activation", self.activation, ("otaa", "abp"))
        _one_of(f"device {self.name}: device_class", self.device_class, ("A", "C"))
        _one_of(f"device {self.name}: dev_nonce", self.dev_nonce, ("counter", "random"))
        if self.activation == "abp" and len(self.dev_addr) != 8:
            raise SettingError(
                f"device {self.name}: dev_addr = {self.dev_addr!r}: ABP needs 8 hex digits"
            )
        if self.decoder and self.codec:
            raise SettingError(f"device {self.name}: give decoder or codec, not both")


@dataclass(frozen=True, kw_only=True)
class StationConfig:
    """The Basics Station (websocket LNS) front end; off unless `listen` is set."""

    listen: str = ""  # "host:port", for example "127.0.0.1:3001"
    certificate: Path | None = None  # PEM chain; with `key` it serves wss://
    key: Path | None = None
    client_ca: Path | None = None  # demand client certificates signed by this CA
    uri: str = ""  # what stations are told to connect to; "": the address they asked at
    region: str = ""  # the region's name as stations know it; "": the nearest that 2.0.6 knows

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise SettingError("lorawan.station: certificate and key belong together")
        if self.client_ca is not None and self.certificate is None:
            raise SettingError("lorawan.station.client_ca needs certificate and key")


@dataclass(frozen=True, kw_only=True)
class ChirpStackConfig:
    """ChirpStack as the network server: its MQTT broker and the application to follow."""

    url: str = "mqtt://127.0.0.1:1883"  # mqtt:// or mqtts://
    application_id: str = ""  # UUID; needed
    encoding: str = "json"  # json | protobuf, as in ChirpStack's [integration.mqtt]
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    client_id: str = "tukad"  # fixed, so that the broker keeps our session (QoS 1)

    def __post_init__(self) -> None:
        _one_of("lorawan.chirpstack.encoding", self.encoding, ("json", "protobuf"))
        if not self.url.startswith(("mqtt://", "mqtts://")):
            raise SettingError(
                f"lorawan.chirpstack.url = {self.url!r}: expected mqtt://HOST[:PORT] or mqtts://..."
            )


@dataclass(frozen=True, kw_only=True)
class LorawanConfig:
    """The network server: front ends, region, radio policy."""

    server: str = "embedded"  # embedded | chirpstack
    bind: str = "127.0.0.1:1700"  # Semtech UDP, "host:port"; port 0 takes a free one, "" is off
    region: str = "AS923-2"
    net_id: int = 0  # 0 and 1 are for private networks; 0..0xFFFFFF
    gateways: tuple[str, ...] = ()  # EUIs that may connect; empty: any (fine on 127.0.0.1)
    dedup_ms: int = 200  # wait this long for copies from other gateways, 0..500
    lead_ms: int = 100  # an answer leaves at least this long before its window opens, 20..500
    rx1_delay_s: int = 1  # 1..15; 5 for a gateway behind a slow backhaul
    rx1_dr_offset: int = 0  # 0..7
    rx2_dr: int | None = None  # None: the region's own
    uplink_dwell: bool | None = None  # 400 ms limit; None: the region's own default
    downlink_dwell: bool | None = None
    extra_channels_hz: tuple[int, ...] = ()  # beyond the join channels; at most 5 in the CFList
    sub_band: int = 0  # AU915, US915: 1..8, the eight channels the gateway hears; 0: all
    power_dbm: int | None = None  # EIRP of the gateway's downlinks; None: the region's limit
    antenna_gain_dbi: float = 0.0  # subtracted from what the forwarder is told, -10..20
    duty_percent: float | None = None  # of one hour, per gateway; None: the region's own
    adr: bool = True
    adr_margin_db: float = 10.0  # installation margin, 0..30
    adr_dr_max: int | None = None  # None: the fastest 125 kHz rate of the region
    device_status_h: float = 24.0  # ask each device for battery and margin this often; 0: never
    queue_limit: int = 64  # downlinks waiting per device, 1..1000
    confirm_tries: int = 4  # transmissions of a confirmed downlink, 1..15
    class_c_wait_s: float = 10.0  # for the acknowledgement before a repetition, 1..600
    log_frames: int = 20_000  # frames kept for `tukad lorawan log` and `stats`
    devices: tuple[DeviceEntry, ...] = ()  # from the agent's [[device]] tables
    station: StationConfig = field(default_factory=StationConfig)
    chirpstack: ChirpStackConfig = field(default_factory=ChirpStackConfig)

    def __post_init__(self) -> None:
        _one_of("lorawan.server", self.server, ("embedded", "chirpstack"))
        for setting, value in (("bind", self.bind), ("station.listen", self.station.listen)):
            if value:
                host_port(value, f"lorawan.{setting}")
        _within("lorawan.net_id", self.net_id, 0, 0xFFFFFF)
        _within("lorawan.dedup_ms", self.dedup_ms, 0, 500, " ms")
        _within("lorawan.lead_ms", self.lead_ms, 20, 500, " ms")
        _within("lorawan.rx1_delay_s", self.rx1_delay_s, 1, 15, " s")
        _within("lorawan.rx1_dr_offset", self.rx1_dr_offset, 0, 7)
        _within("lorawan.sub_band", self.sub_band, 0, 8)
        _within("lorawan.antenna_gain_dbi", self.antenna_gain_dbi, -10, 20, " dBi")
        _within("lorawan.adr_margin_db", self.adr_margin_db, 0, 30, " dB")
        _within("lorawan.device_status_h", self.device_status_h, 0, 8760, " h")
        _within("lorawan.queue_limit", self.queue_limit, 1, 1000)
        _within("lorawan.confirm_tries", self.confirm_tries, 1, 15)
        _within("lorawan.class_c_wait_s", self.class_c_wait_s, 1, 600, " s")
        _within("lorawan.log_frames", self.log_frames, 100, 10_000_000)
        if self.duty_percent is not None:
            _within("lorawan.duty_percent", self.duty_percent, 0.01, 100, " %")
        if len(self.extra_channels_hz) > 5:
            raise SettingError(
                f"lorawan.extra_channels_hz has {len(self.extra_channels_hz)} channels: at most 5"
            )
        gateways = tuple(eui(one, "lorawan.gateways") for one in self.gateways)
        object.__setattr__(self, "gateways", gateways)
        for what in ("name", "dev_eui"):
            seen: set[str] = set()
            for entry in self.devices:
                value: str = getattr(entry, what)
                if value in seen:
                    raise SettingError(f"device.{what} = {value!r} is used twice")
                seen.add(value)
        if self.server == "chirpstack" and not self.chirpstack.application_id:
            raise SettingError(
                "lorawan.chirpstack.application_id is missing: it is in the web page"
            )


def host_port(text: str, setting: str) -> tuple[str, int]:
    """Split "host:port"; IPv6 as "[::1]:1700"."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingError(f"{setting} = {text!r}: expected HOST:PORT, such as 127.0.0.1:1700")
    return host.strip("[]"), int(port)
