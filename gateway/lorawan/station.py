"""LoRa Basics Station, LNS side and sans-IO: `StationFrontEnd`, `discover`.

A station asks `/router-info` for its URI, connects there, says `version` and gets `router_config`;
then `jreq`, `updf`, `propdf` come up, `dnmsg` goes down with both windows in it, and `dntxed`
tells that one was used. A station says nothing when it could not send, so a transmission without
`dntxed` `TXED_WAIT_MS` after its last window has failed.

Source: lorabasics/basicstation, src/s2e.c (2.0.6), and its LNS protocol documentation.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.lorawan.commands import GPS_EPOCH_UNIX_S, GPS_LEAP_S
from gateway.lorawan.config import LorawanConfig, SettingError
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import FAILED, SENT, Instant, Outcome, RadioFrame, Transmission
from protocols.lorawan.regions import FSK_50

TXED_WAIT_MS = 1500
CLASS_C_WAIT_MS = 5000
_GATEWAYS_MAX = 256
_REACH_HZ = 400_000  # of a radio of the concentrator, to both sides

# Station 2.0.6 drops every downlink when it does not know the region's name, and it knows one
# AS923; its band limits come from `freq_range`, so the name only chooses duty cycle and CCA.
_REGION_NAMES = {
    "AS923-1": "AS923-1",
    "AS923-2": "AS923-1",
    "AS923-3": "AS923-1",
    "AS923-4": "AS923-1",
    "EU868": "EU868",
    "IN865": "EU868",
    "AU915": "AU915",
    "US915": "US915",
}


def id6(text: str) -> str:
    """A station's identifier as 16 hex digits: `b827:ebff:fe12:3456`, `::1`, dashes, or plain.

    ValueError if it is none of them. ID6 writes four groups of 16 bits, `::` for zeros.
    """
    text = text.strip().lower().removeprefix("router-")
    if "-" in text:
        text = "".join(part.zfill(2) for part in text.split("-"))
    elif ":" in text:
        head, double, tail = text.partition("::")
        left = [one for one in head.split(":") if one]
        right = [one for one in tail.split(":") if one]
        zeros = 4 - len(left) - len(right)
        if zeros < 0 or (not double and zeros) or ":::" in text or text.count("::") > 1:
            raise ValueError(text)
        text = "".join(one.zfill(4) for one in [*left, *["0"] * zeros, *right])
    if len(text) != 16 or any(digit not in "0123456789abcdef" for digit in text):
        raise ValueError(text)
    return text


def discover(message: str | bytes, base_uri: str) -> str:
    """The answer to a `/router-info` request; `base_uri` is `ws://host:port`."""
    try:
        value = json.loads(message)
        router = value["router"]
        eui = f"{_integer(router, 0, (1 << 64) - 1):016x}" if _is_number(router) else id6(router)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return json.dumps({"error": 'expected {"router": "<EUI>"}'})
    groups = ":".join(eui[i : i + 4] for i in range(0, 16, 4))
    return json.dumps({"router": groups, "muxs": "::0", "uri": f"{base_uri}/gateway/{eui}"})


@dataclass(slots=True)
class StationGateway:
    """What is known of one connected station."""

    eui: str
    is_open: bool = False
    is_configured: bool = False
    station: str = ""  # its own version text
    seen: Instant = field(default_factory=lambda: Instant(0, 0))
    frames_up: int = 0
    frames_down: int = 0
    tx_errors: int = 0


@dataclass(slots=True)
class StationOutput:
    """What one call produced."""

    frames: list[RadioFrame] = field(default_factory=list[RadioFrame])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    messages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # (eui, text)


class StationFrontEnd:
    """Server side of the LNS protocol for any number of stations."""

    def __init__(self, config: LorawanConfig, plan: RadioPlan) -> None:
        self.gateways: dict[str, StationGateway] = {}
        self.counters: Counter[str] = Counter()
        self._allowed = frozenset(config.gateways)
        self._plan = plan
        self._config = config
        self._pending: dict[int, tuple[Transmission, int]] = {}  # by id, with the deadline
        if config.station.listen:
            self._check_reach()

    def _check_reach(self) -> None:
        """SettingError if two radios cannot hear all channels."""
        for name, channel in self._concentrator().items():
            if abs(channel.get("if", 0)) > _REACH_HZ:
                raise SettingError(
                    "lorawan.extra_channels_hz: a concentrator's two radios hear 800 kHz each, "
                    f"these channels need more ({name})"
                )

    # -- connections

    def connect(self, eui: str, now: Instant) -> bool:
        """A station opened its data connection; False if it may not."""
        if self._allowed and eui not in self._allowed:
            self.counters["station_refused"] += 1
            return False
        gateway = self.gateways.get(eui)
        if gateway is None:
            if len(self.gateways) >= _GATEWAYS_MAX:
                self.counters["station_limit"] += 1
                return False
            gateway = self.gateways[eui] = StationGateway(eui)
        gateway.is_open = True
        gateway.is_configured = False
        gateway.seen = now
        return True

    def disconnect(self, eui: str) -> None:
        """Its connection ended."""
        gateway = self.gateways.get(eui)
        if gateway is not None:
            gateway.is_open = gateway.is_configured = False

    def is_online(self, eui: str) -> bool:
        """True while it is connected and configured."""
        gateway = self.gateways.get(eui)
        return gateway is not None and gateway.is_open and gateway.is_configured

    # -- from the station

    def feed(self, eui: str, message: str | bytes, now: Instant) -> StationOutput:
        """Take one websocket message. Never raises on what the peer sent: errors are counted."""
        out = StationOutput()
        gateway = self.gateways.get(eui)
        if gateway is None:
            return out
        gateway.seen = now
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            self.counters["station_json"] += 1
            return out
        if not isinstance(value, dict):
            self.counters["station_json"] += 1
            return out
        try:
            self._message(gateway, cast("dict[str, Any]", value), now, out)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            self.counters["station_message"] += 1
        return out

    def _message(
        self, gateway: StationGateway, value: dict[str, Any], now: Instant, out: StationOutput
    ) -> None:
        kind = value.get("msgtype")
        if kind == "version":
            gateway.station = str(value.get("station", ""))[:64]
            gateway.is_configured = True
            out.messages.append((gateway.eui, json.dumps(self.router_config(now))))
        elif kind in ("jreq", "updf", "propdf"):
            phy = _PHY[kind](value)
            out.frames.append(self._frame(gateway.eui, phy, value))
            gateway.frames_up += 1
        elif kind == "dntxed":
            self._txed(gateway, value, out)
        elif kind == "timesync":
            if now.unix_ms > GPS_EPOCH_UNIX_S * 1000:
                answer = {
                    "msgtype": "timesync",
                    "txtime": _integer(value["txtime"], 0, 1 << 62),
                    "gpstime": _gps_us(now),
                    "MuxTime": now.unix_ms / 1000,
                }
                out.messages.append((gateway.eui, json.dumps(answer)))
        else:
            self.counters["station_other"] += 1

    def _frame(self, eui: str, phy: bytes, value: dict[str, Any]) -> RadioFrame:
        dr = _integer(value["DR"], 0, 15)
        rates = self._plan.region.data_rates
        rate = rates[dr] if dr < len(rates) else None
        if rate is None:
            raise ValueError
        info = value["upinfo"]
        sf, bw_hz = (0, 50_000) if rate == FSK_50 else rate
        gps_us = _integer(info.get("gpstime", 0), 0, 1 << 62)
        return RadioFrame(
            gateway=eui,
            phy=phy,
            freq_hz=_integer(value["Freq"], 100_000_000, 3_000_000_000),
            sf=sf,
            bw_hz=bw_hz,
            rssi_dbm=_real(info["rssi"]),
            snr_db=_real(info["snr"]),
            context=(
                _integer(info.get("rctx", 0), -(1 << 62), 1 << 62),
                _integer(info["xtime"], -(1 << 62), 1 << 62),
            ),
            gps_ms=gps_us // 1000 if gps_us else None,
        )

    def _txed(self, gateway: StationGateway, value: dict[str, Any], out: StationOutput) -> None:
        number = _integer(value.get("diid", value.get("seqno")), 0, 1 << 62)
        pending = self._pending.get(number)
        if pending is None or pending[0].gateway != gateway.eui:
            self.counters["station_txed_unknown"] += 1
            return
        del self._pending[number]
        gateway.frames_down += 1
        transmission = pending[0]
        window = 0
        for index, one in enumerate(transmission.windows):
            if (one.freq_hz, one.dr) == (value.get("Freq"), value.get("DR")):
                window = index
                break
        out.outcomes.append(Outcome(number, gateway.eui, SENT, window))

    # -- from the server

    def transmit(self, transmission: Transmission, now: Instant) -> StationOutput:
        """Hand a frame with all its windows to the station."""
        out = StationOutput()
        if not self.is_online(transmission.gateway):
            out.outcomes.append(
                Outcome(transmission.id, transmission.gateway, FAILED, 0, "OFFLINE")
            )
            return out
        last_s = max(window.delay_s for window in transmission.windows)
        wait_ms = CLASS_C_WAIT_MS if transmission.is_class_c else last_s * 1000 + TXED_WAIT_MS
        self._pending[transmission.id] = (transmission, now.mono_ms + wait_ms)
        out.messages.append((transmission.gateway, json.dumps(_dnmsg(transmission, now))))
        return out

    def step(self, now: Instant) -> StationOutput:
        """Transmissions that nobody confirmed. Call it at `deadline_ms`."""
        out = StationOutput()
        for number in [n for n, (_, due) in self._pending.items() if due <= now.mono_ms]:
            transmission, _ = self._pending.pop(number)
            self.counters["station_tx_no_ack"] += 1
            self.gateways[transmission.gateway].tx_errors += 1
            out.outcomes.append(Outcome(number, transmission.gateway, FAILED, 0, "NO_ACK"))
        return out

    def deadline_ms(self) -> int | None:
        """Monotonic milliseconds at which `step` is due, or None."""
        return min((due for _, due in self._pending.values()), default=None)

    # -- configuration of the station

    def router_config(self, now: Instant) -> dict[str, Any]:
        """The `router_config` message: region, data rates and the concentrator's channels."""
        place, config = self._plan.region, self._config
        rates: list[list[int]] = []
        for dr in range(16):
            rate = place.data_rates[dr] if dr < len(place.data_rates) else None
            if rate is None:
                rates.append([-1, 0, 0])
            elif rate == FSK_50:
                rates.append([0, 0, 0])
            else:
                rates.append([rate[0], rate[1] // 1000, int(place.is_fixed and dr >= 8)])
        return {
            "msgtype": "router_config",
            "NetID": None,
            "JoinEui": None,
            "region": config.station.region or _REGION_NAMES.get(place.name, place.name),
            "hwspec": "sx1301/1",
            "freq_range": [place.freq_min_hz, place.freq_max_hz],
            "DRs": rates,
            "max_eirp": float(self._plan.power_dbm),
            "nocca": True,
            "sx1301_conf": [self._concentrator()],
            "bcning": None,
            "MuxTime": now.unix_ms / 1000,
        }

    def _concentrator(self) -> dict[str, Any]:
        """Two radios and eight multi-SF channels that cover the channel plan."""
        place = self._plan.region
        if place.is_fixed:
            first = 8 * max(self._config.sub_band - 1, 0)
            channels = [place.channels[first + i][0] for i in range(8)]
            wide: int | None = place.channels[64 + first // 8][0]
        else:
            channels = [freq for freq in self._plan.wanted.channels_hz if freq][:8]
            wide = None
        channels.sort()
        # Each radio reaches 400 kHz to both sides of its centre.
        low = channels[0] + 300_000
        near = [freq for freq in channels if freq - channels[0] <= 600_000]
        far = [freq for freq in channels if freq not in near]
        high = far[0] + 300_000 if far else low + 800_000
        value: dict[str, Any] = {
            "radio_0": {"enable": True, "freq": low},
            "radio_1": {"enable": bool(far), "freq": high},
            "chan_FSK": {"enable": False},
            "chan_Lora_std": {"enable": False},
        }
        for index in range(8):
            name = f"chan_multiSF_{index}"
            if index >= len(channels):
                value[name] = {"enable": False}
                continue
            freq = channels[index]
            radio = 0 if freq in near else 1
            value[name] = {"enable": True, "radio": radio, "if": freq - (low, high)[radio]}
        if wide is not None:
            radio = 0 if abs(wide - low) <= abs(wide - high) else 1
            value["chan_Lora_std"] = {
                "enable": True,
                "radio": radio,
                "if": wide - (low, high)[radio],
                "bandwidth": 500_000,
                "spread_factor": 8,
            }
        return value


def _gps_us(now: Instant) -> int:
    return (now.unix_ms - GPS_EPOCH_UNIX_S * 1000 + GPS_LEAP_S * 1000) * 1000


def _integer(value: Any, low: int, high: int) -> int:
    """A JSON integer in range; ValueError otherwise."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _eui(value: Any) -> bytes:
    """`AA-BB-CC-DD-EE-FF-00-11` in the byte order of the air."""
    return bytes.fromhex(id6(value))[::-1]


def _signed(value: Any) -> bytes:
    """A 32-bit number that the station prints as signed."""
    return (_integer(value, -(1 << 31), (1 << 32) - 1) & 0xFFFFFFFF).to_bytes(4, "little")


def _jreq(value: dict[str, Any]) -> bytes:
    return (
        bytes((_integer(value["MHdr"], 0, 255),))
        + _eui(value["JoinEui"])
        + _eui(value["DevEui"])
        + _integer(value["DevNonce"], 0, 0xFFFF).to_bytes(2, "little")
        + _signed(value["MIC"])
    )


def _updf(value: dict[str, Any]) -> bytes:
    port = _integer(value["FPort"], -1, 255)
    phy = (
        bytes((_integer(value["MHdr"], 0, 255),))
        + _signed(value["DevAddr"])
        + bytes((_integer(value["FCtrl"], 0, 255),))
        + _integer(value["FCnt"], 0, 0xFFFF).to_bytes(2, "little")
        + bytes.fromhex(value["FOpts"])
        + (bytes((port,)) if port >= 0 else b"")
        + bytes.fromhex(value["FRMPayload"])
        + _signed(value["MIC"])
    )
    if len(phy) > 255:
        raise ValueError
    return phy


def _propdf(value: dict[str, Any]) -> bytes:
    phy = bytes.fromhex(value["FRMPayload"])
    if not 1 <= len(phy) <= 255:
        raise ValueError
    return phy


_PHY = {"jreq": _jreq, "updf": _updf, "propdf": _propdf}


def _dnmsg(transmission: Transmission, now: Instant) -> dict[str, Any]:
    eui = transmission.dev_eui.upper()
    value: dict[str, Any] = {
        "msgtype": "dnmsg",
        "DevEui": "-".join(eui[i : i + 2] for i in range(0, 16, 2)),
        "dC": 2 if transmission.is_class_c else 0,
        "diid": transmission.id,
        "pdu": transmission.phy.hex().upper(),
        "priority": 0,
        "MuxTime": now.unix_ms / 1000,
    }
    if transmission.is_class_c:
        window = transmission.windows[0]
        value |= {"RxDelay": 0, "RX2DR": window.dr, "RX2Freq": window.freq_hz}
        return value
    context = transmission.context
    if isinstance(context, tuple):
        rctx, xtime = cast("tuple[int, int]", context)
        value |= {"rctx": rctx, "xtime": xtime}
    first = transmission.windows[0]
    if len(transmission.windows) > 1:
        second = transmission.windows[1]
        value |= {"RxDelay": first.delay_s, "RX1DR": first.dr, "RX1Freq": first.freq_hz}
        value |= {"RX2DR": second.dr, "RX2Freq": second.freq_hz}
    else:
        # One window only: as RX1 with its own delay, whichever of the two it is.
        value |= {"RxDelay": min(first.delay_s, 15), "RX1DR": first.dr, "RX1Freq": first.freq_hz}
    return value
