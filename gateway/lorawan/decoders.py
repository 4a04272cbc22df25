"""Payloads of commercial sensors: `decode_uplink`, `DECODERS`, by name or by a TS013 codec file.

A decoder gives `(stream, values)` pairs; values are integers scaled into the unit that their name
ends with. Anything it does not understand raises `RemoteError`: a level that might be wrong is
worse than none. The makers' own invalid-reading codes leave the value out and set `faults`.

Built in (sources: the makers' user manuals, read beside TheThingsNetwork/lorawan-devices):
    dragino-ldds75    LDDS75, LDDS45, DDS75-LB, DDS45-LB ultrasonic distance, port 2
    milesight-udl     EM310-UDL, EM400-UDL, EM500-UDL ultrasonic distance
    milesight-swl     EM500-SWL submersible water level
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from gateway.lorawan.codec_js import JsCodec
from gateway.lorawan.model import Uplink
from protocols.errors import RemoteError

Decoded = list[tuple[str, dict[str, int]]]
Decoder = Callable[[Uplink], Decoded]

# In `faults`, for sensors whose makers send codes instead of readings.
FAULT_NO_SENSOR = 1
FAULT_OUT_OF_RANGE = 2

_DRAGINO_NO_SENSOR = 0x0000
_DRAGINO_INVALID = 0x0014  # "20 mm": nearer than the sensor sees
_DRAGINO_NO_PROBE = -3276  # DS18B20 missing: -327.6 and below
_SWL_INVALID = 0xFFFF


def _u16be(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _signed16(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


def dragino_distance(uplink: Uplink) -> Decoded:
    """Battery mV (14 bits), distance mm, interrupt, and with 8 bytes probe temperature and flag."""
    data = uplink.payload
    if uplink.f_port != 2:
        return []  # port 5: firmware version, port 3: its own data log
    if len(data) not in (5, 8):
        raise RemoteError("length", f"{len(data)} bytes, expected 5 or 8")
    values = {"battery_mv": _u16be(data, 0) & 0x3FFF}
    distance = _u16be(data, 2)
    if distance == _DRAGINO_NO_SENSOR:
        values["faults"] = FAULT_NO_SENSOR
    elif distance <= _DRAGINO_INVALID or distance == 0xFFFF:
        values["faults"] = FAULT_OUT_OF_RANGE
    else:
        values["distance_mm"] = distance
    values["interrupt"] = data[4]
    if len(data) == 8:
        temperature = _signed16(_u16be(data, 5))
        if temperature > _DRAGINO_NO_PROBE:
            values["temp_cdeg"] = temperature * 10
    return [("level", values)]


def _milesight(uplink: Uplink, table: dict[tuple[int, int], tuple[str, int, int, bool]]) -> Decoded:
    """Channel, type, little-endian value; `table` gives (name, bytes, factor, signed)."""
    data, values, at = uplink.payload, dict[str, int](), 0
    while at < len(data):
        if at + 2 > len(data):
            raise RemoteError("length", f"{len(data)} bytes end inside a channel")
        channel, kind = data[at], data[at + 1]
        if channel in (0xFE, 0xFF):  # device information and answers to commands: no readings
            break
        row = table.get((channel, kind))
        if row is None:
            raise RemoteError("channel", f"channel {channel:02x} type {kind:02x} is not known")
        name, size, factor, is_signed = row
        if at + 2 + size > len(data):
            raise RemoteError("length", f"{len(data)} bytes end inside channel {channel:02x}")
        raw = data[at + 2 : at + 2 + size]
        value = int.from_bytes(raw, "little", signed=is_signed)
        if size == 2 and not is_signed and value >= _SWL_INVALID - 2:
            values["faults"] = FAULT_OUT_OF_RANGE  # fffd: out of range, ffff: no reading
        else:
            values[name] = value * factor
        at += 2 + size
    return [("level", values)] if values else []


_BATTERY = ("battery_percent", 1, 1, False)


def milesight_udl(uplink: Uplink) -> Decoded:
    """Distance mm, temperature, tilt."""
    return _milesight(
        uplink,
        {
            (0x01, 0x75): _BATTERY,
            (0x03, 0x82): ("distance_mm", 2, 1, False),
            (0x03, 0x67): ("temp_cdeg", 2, 10, True),
            (0x04, 0x82): ("distance_mm", 2, 1, False),
            (0x04, 0x00): ("tilted", 1, 1, False),
            (0x05, 0x00): ("tilted", 1, 1, False),
        },
    )


def milesight_swl(uplink: Uplink) -> Decoded:
    """Water above the probe, told in centimetres."""
    return _milesight(uplink, {(0x01, 0x75): _BATTERY, (0x03, 0x77): ("level_mm", 2, 10, False)})


DECODERS: dict[str, Decoder] = {
    "dragino-ldds75": dragino_distance,
    "dragino-ldds45": dragino_distance,
    "milesight-udl": milesight_udl,
    "milesight-em310-udl": milesight_udl,
    "milesight-swl": milesight_swl,
    "milesight-em500-swl": milesight_swl,
}


@lru_cache(maxsize=64)
def _codec(path: str, _changed_ns: int) -> JsCodec:
    return JsCodec(Path(path))


def check_decoder(name: str) -> str | None:
    """None if there is such a decoder, else one line that says which there are."""
    if name in DECODERS:
        return None
    return f"decoder = {name!r}: there are {', '.join(sorted(DECODERS))}"


def decode_uplink(uplink: Uplink) -> Decoded:
    """The readings in an uplink of a device with a `decoder` or a `codec`.

    Raises RemoteError with code `decoder` (no such decoder), `codec` (the file is missing, wrong,
    too slow, or its engine is not installed), `length`, `channel` or `value`.
    """
    if uplink.decoder:
        decoder = DECODERS.get(uplink.decoder)
        if decoder is None:
            raise RemoteError("decoder", check_decoder(uplink.decoder) or "")
        return decoder(uplink)
    path = Path(uplink.codec)
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise RemoteError("codec", f"{path} cannot be read: {error.strerror}") from None
    return _codec(str(path), changed_ns).decode(uplink.payload, uplink.f_port, uplink.received_ms)
