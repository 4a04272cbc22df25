"""Semtech UDP packet forwarder protocol, version 2, server side and sans-IO: `UdpFrontEnd`.

Datagrams in, `RadioFrame`s, `Outcome`s and datagrams out. It knows each gateway's return address
from its last PULL_DATA, answers PUSH_DATA and PULL_DATA at once, and moves a transmission on to
its next window when the forwarder refuses one by TX_ACK, or says nothing for `ACK_WAIT_MS`.

Source: Lora-net/packet_forwarder PROTOCOL.TXT and Lora-net/sx1302_hal PROTOCOL.md (TX_ACK `warn`).
"""

import base64
import binascii
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from gateway.lorawan.radio import FAILED, SENT, Instant, Outcome, RadioFrame, Transmission

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)
_VERSION = 2
_HEADER = 12  # version, token, identifier, gateway EUI
TMST_PERIOD_US = 1 << 32  # the concentrator's counter wraps every 71.6 minutes
ACK_WAIT_MS = 300  # forwarders acknowledge within a few ms; a slow backhaul needs the rest
ONLINE_MS = 90_000  # the default keep-alive of the forwarders is 5..10 s
_DATA_MAX = 255
_RXPK_MAX = 64  # an SX1302 hands over at most 16 at a time
_GATEWAYS_MAX = 256  # ours are a handful: bounds what a stranger can make us remember
_DATR = re.compile(r"SF(\d{1,2})BW(\d{3})\Z")

Address: TypeAlias = tuple[Any, ...]
"""A socket address, opaque here."""


@dataclass(slots=True)
class UdpGateway:
    """What is known of one packet forwarder."""

    eui: str
    push_from: Address | None = None
    pull_from: Address | None = None  # where PULL_RESP goes; None until its first PULL_DATA
    pull_mono_ms: int = 0
    seen: Instant = field(default_factory=lambda: Instant(0, 0))
    frames_up: int = 0
    frames_down: int = 0
    tx_errors: int = 0
    stat: dict[str, Any] = field(default_factory=dict[str, Any])  # its last own report


@dataclass(slots=True)
class _Pending:
    transmission: Transmission
    window: int
    deadline_ms: int


@dataclass(slots=True)
class FrontEndOutput:
    """What one call produced."""

    frames: list[RadioFrame] = field(default_factory=list[RadioFrame])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    datagrams: list[tuple[bytes, Address]] = field(default_factory=list[tuple[bytes, Address]])


class UdpFrontEnd:
    """Server side of the packet forwarder protocol for any number of gateways."""

    def __init__(
        self, allowed: tuple[str, ...] = (), antenna_gain_dbi: float = 0.0, token: int = 0
    ) -> None:
        """`allowed` EUIs, empty for any; `token`: where the 16-bit PULL_RESP tokens start."""
        self.gateways: dict[str, UdpGateway] = {}
        self.counters: Counter[str] = Counter()
        self._allowed = frozenset(allowed)
        self._gain_dbi = antenna_gain_dbi
        self._token = token & 0xFFFF
        self._pending: dict[int, _Pending] = {}  # by token

    # -- from the network

    def feed(self, datagram: bytes, address: Address, now: Instant) -> FrontEndOutput:
        """Take one datagram. Never raises on what the peer sent: errors are counted."""
        out = FrontEndOutput()
        if len(datagram) < _HEADER:
            self.counters["udp_short"] += 1
            return out
        if datagram[0] != _VERSION:
            self.counters["udp_version"] += 1
            return out
        kind = datagram[3]
        if kind not in (PUSH_DATA, PULL_DATA, TX_ACK):
            self.counters["udp_identifier"] += 1
            return out
        gateway = self._gateway(datagram[4:12].hex(), now)
        if gateway is None:
            return out
        gateway.seen = now
        header = datagram[:3]
        if kind == PULL_DATA:
            gateway.pull_from = address
            gateway.pull_mono_ms = now.mono_ms
            out.datagrams.append((header + bytes((PULL_ACK,)), address))
        elif kind == PUSH_DATA:
            # Acknowledged before it is looked at: the protocol's acknowledgement is for the link.
            out.datagrams.append((header + bytes((PUSH_ACK,)), address))
            gateway.push_from = address
            self._push(gateway, datagram[_HEADER:], out)
        else:
            self._tx_ack(gateway, datagram, now, out)
        return out

    def _gateway(self, eui: str, now: Instant) -> UdpGateway | None:
        gateway = self.gateways.get(eui)
        if gateway is not None:
            return gateway
        if self._allowed and eui not in self._allowed:
            self.counters["udp_gateway_refused"] += 1
            return None
        if len(self.gateways) >= _GATEWAYS_MAX:
            self.counters["udp_gateway_limit"] += 1
            oldest = min(self.gateways.values(), key=lambda one: one.seen.mono_ms)
            if now.mono_ms - oldest.seen.mono_ms <= ONLINE_MS:
                return None
            del self.gateways[oldest.eui]
        gateway = self.gateways[eui] = UdpGateway(eui)
        return gateway

    def _json(self, body: bytes) -> dict[str, Any]:
        """The datagram's JSON object, or an empty one: counted, never raised."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            self.counters["udp_json"] += 1
            return {}
        if not isinstance(value, dict):
            self.counters["udp_json"] += 1
            return {}
        return cast("dict[str, Any]", value)

    def _push(self, gateway: UdpGateway, body: bytes, out: FrontEndOutput) -> None:
        value = self._json(body)
        stat = value.get("stat")
        if isinstance(stat, dict):
            gateway.stat = cast("dict[str, Any]", stat)
        packets = value.get("rxpk", [])
        if not isinstance(packets, list):
            self.counters["udp_rxpk"] += 1
            return
        for packet in cast("list[Any]", packets)[:_RXPK_MAX]:
            frame = self._frame(gateway.eui, packet)
            if frame is not None:
                gateway.frames_up += 1
                out.frames.append(frame)

    def _frame(self, eui: str, packet: Any) -> RadioFrame | None:
        try:
            return _parse_rxpk(eui, packet)
        except _NoCrcError:
            self.counters["udp_crc"] += 1
        except (KeyError, TypeError, ValueError, OverflowError):
            self.counters["udp_rxpk"] += 1
        return None

    def _tx_ack(
        self, gateway: UdpGateway, datagram: bytes, now: Instant, out: FrontEndOutput
    ) -> None:
        token = int.from_bytes(datagram[1:3], "big")
        pending = self._pending.get(token)
        if pending is None or pending.transmission.gateway != gateway.eui:
            self.counters["udp_tx_ack_unknown"] += 1
            return
        body = datagram[_HEADER:].strip(b"\0 \r\n\t")
        error = "NONE"
        if body:
            answer = self._json(body).get("txpk_ack")
            if isinstance(answer, dict):
                word = cast("dict[str, Any]", answer).get("error", "NONE")
                error = word[:32] if isinstance(word, str) else "UNKNOWN"
        del self._pending[token]
        if error == "NONE":  # "warn" (power was reduced) still means that it is transmitted
            gateway.frames_down += 1
            out.outcomes.append(Outcome(pending.transmission.id, gateway.eui, SENT, pending.window))
            return
        gateway.tx_errors += 1
        self.counters[f"udp_tx_{_word(error)}"] += 1
        self._next_window(pending, error, now, out)

    def _next_window(
        self, pending: _Pending, error: str, now: Instant, out: FrontEndOutput
    ) -> None:
        transmission = pending.transmission
        if pending.window + 1 < len(transmission.windows):
            self._send(transmission, pending.window + 1, now, out)
        else:
            out.outcomes.append(
                Outcome(transmission.id, transmission.gateway, FAILED, pending.window, error)
            )

    # -- from the server

    def transmit(self, transmission: Transmission, now: Instant) -> FrontEndOutput:
        """Start a transmission at its first window."""
        out = FrontEndOutput()
        self._send(transmission, 0, now, out)
        return out

    def _send(
        self, transmission: Transmission, window: int, now: Instant, out: FrontEndOutput
    ) -> None:
        gateway = self.gateways.get(transmission.gateway)
        if gateway is None or gateway.pull_from is None or not self.is_online(gateway.eui, now):
            out.outcomes.append(
                Outcome(transmission.id, transmission.gateway, FAILED, window, "OFFLINE")
            )
            return
        if len(self._pending) >= 0x8000:  # unreachable below 27,000 transmissions a second
            out.outcomes.append(
                Outcome(transmission.id, transmission.gateway, FAILED, window, "NO_TOKEN")
            )
            return
        while self._token in self._pending:
            self._token = (self._token + 1) & 0xFFFF
        token = self._token
        self._token = (self._token + 1) & 0xFFFF
        self._pending[token] = _Pending(transmission, window, now.mono_ms + ACK_WAIT_MS)
        body = json.dumps(
            {"txpk": _txpk(transmission, window, self._gain_dbi)}, separators=(",", ":")
        )
        head = bytes((_VERSION,)) + token.to_bytes(2, "big") + bytes((PULL_RESP,))
        out.datagrams.append((head + body.encode(), gateway.pull_from))

    def step(self, now: Instant) -> FrontEndOutput:
        """Give up on acknowledgements that are overdue. Call it at `deadline_ms`."""
        out = FrontEndOutput()
        for token in [t for t, p in self._pending.items() if p.deadline_ms <= now.mono_ms]:
            pending = self._pending.pop(token)
            self.counters["udp_tx_no_ack"] += 1
            gateway = self.gateways.get(pending.transmission.gateway)
            if gateway is not None:
                gateway.tx_errors += 1
            self._next_window(pending, "NO_ACK", now, out)
        return out

    def deadline_ms(self) -> int | None:
        """Monotonic milliseconds at which `step` is due, or None."""
        return min((p.deadline_ms for p in self._pending.values()), default=None)

    def is_online(self, eui: str, now: Instant) -> bool:
        """True while the gateway keeps its return path open by PULL_DATA."""
        gateway = self.gateways.get(eui)
        return (
            gateway is not None
            and gateway.pull_from is not None
            and now.mono_ms - gateway.pull_mono_ms <= ONLINE_MS
        )


class _NoCrcError(Exception):
    """The radio frame had a wrong checksum, or none."""


def _word(error: str) -> str:
    """A forwarder's error as a counter name: a closed list, so that a peer cannot grow it."""
    known = {
        "TOO_LATE",
        "TOO_EARLY",
        "COLLISION_PACKET",
        "COLLISION_BEACON",
        "TX_FREQ",
        "TX_POWER",
        "GPS_UNLOCKED",
    }
    return error.lower() if error in known else "other"


def _number(value: Any) -> float:
    """A finite JSON number; ValueError otherwise (booleans are no numbers)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _parse_rxpk(eui: str, packet: Any) -> RadioFrame:
    """One element of `rxpk`; ValueError, KeyError, TypeError or OverflowError if it is bad."""
    if not isinstance(packet, dict):
        raise ValueError
    packet = cast("dict[str, Any]", packet)
    if packet.get("stat", 1) != 1:
        raise _NoCrcError
    datr = packet["datr"]
    if packet.get("modu", "LORA") == "LORA":
        match = _DATR.match(datr)
        if match is None:
            raise ValueError
        sf, bw_hz = int(match[1]), int(match[2]) * 1000
        if not 5 <= sf <= 12 or bw_hz not in (125_000, 250_000, 500_000):
            raise ValueError
    else:
        sf, bw_hz = 0, int(_number(datr))
    freq_hz = round(_number(packet["freq"]) * 1e6)
    if not 100_000_000 <= freq_hz <= 3_000_000_000:
        raise ValueError
    tmst = packet["tmst"]
    if isinstance(tmst, bool) or not isinstance(tmst, int) or not 0 <= tmst < TMST_PERIOD_US:
        raise ValueError
    text = packet["data"]
    if not isinstance(text, str) or len(text) > 400:
        raise ValueError
    try:
        phy = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError from error
    if not 1 <= len(phy) <= _DATA_MAX or packet.get("size", len(phy)) != len(phy):
        raise ValueError
    gps = packet.get("tmms")
    return RadioFrame(
        gateway=eui,
        phy=phy,
        freq_hz=freq_hz,
        sf=sf,
        bw_hz=bw_hz,
        rssi_dbm=_number(packet["rssi"]),
        snr_db=_number(packet.get("lsnr", 0)),
        context=tmst,
        gps_ms=int(_number(gps)) if gps is not None else None,
    )


def _txpk(transmission: Transmission, window: int, gain_dbi: float) -> dict[str, Any]:
    """The `txpk` object for one window."""
    chance = transmission.windows[window]
    packet: dict[str, Any] = {}
    if chance.delay_s and isinstance(transmission.context, int):
        packet["tmst"] = (transmission.context + chance.delay_s * 1_000_000) % TMST_PERIOD_US
    else:
        packet["imme"] = True
    packet["freq"] = chance.freq_hz / 1e6
    packet["rfch"] = 0
    packet["powe"] = max(0, math.floor(transmission.power_dbm - gain_dbi))
    if chance.sf:
        packet["modu"] = "LORA"
        packet["datr"] = f"SF{chance.sf}BW{chance.bw_hz // 1000}"
        packet["codr"] = "4/5"
        packet["ipol"] = True
    else:
        packet["modu"] = "FSK"
        packet["datr"] = 50_000
        packet["fdev"] = 25_000
    packet["prea"] = 8 if chance.sf else 5
    packet["ncrc"] = True  # downlinks carry no radio CRC (LoRaWAN 1.0.4 section 4)
    packet["size"] = len(transmission.phy)
    packet["data"] = base64.b64encode(transmission.phy).decode()
    return packet
