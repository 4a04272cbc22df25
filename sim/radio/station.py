"""LoRa Basics Station, the gateway's end of the LNS protocol, sans-IO.

Public: `Station` (`connected`, `message`). Written from lorabasics/basicstation (src/lora.c,
src/s2e.c) and from nothing of ours. JSON messages go to the callable given; the websocket is the
harness's business. As the real one, it says nothing when it could not send a downlink, refuses
data rates and regions it was not told of, and tries the second window when the first is taken.
"""

import json
from collections.abc import Callable
from typing import Any, cast

from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator, Downlink, Uplink

# Names that the station of release 2.0.6 knows; with any other it drops every downlink.
REGIONS = {"EU863", "EU868", "IL915", "KR920", "AS923JP", "AS923-1", "US902", "US915", "AU915"}
_SESSION = 0x5A  # in the upper bits of xtime, as the station's own session number


class Station:
    """One gateway; `output` sends a message (JSON text) to the server."""

    def __init__(
        self, sim: Simulation, concentrator: Concentrator, output: Callable[[str], object]
    ) -> None:
        self.sim = sim
        self.concentrator = concentrator
        self.output = output
        self.rates: list[tuple[int, int]] = []  # (SF, Hz) by data rate; (0, 0): FSK or none
        self.region = ""
        self.channels_hz: list[int] = []
        self.sent = 0
        self.dropped: dict[str, int] = {}
        self.malformed = 0
        self._band_hz = (0, 0)
        concentrator.on_uplink = self._uplink

    def connected(self) -> None:
        """The websocket is open: introduce ourselves."""
        self._send(
            msgtype="version",
            station="2.0.6(sim)",
            firmware=None,
            package=None,
            model="sim",
            protocol=2,
            features="",
        )

    def _send(self, **fields: object) -> None:
        self.output(json.dumps(fields, separators=(",", ":")))

    def message(self, text: str) -> None:
        """A message from the server."""
        try:
            value = cast("dict[str, Any]", json.loads(text))
            kind = value["msgtype"]
            if kind == "router_config":
                self._configure(value)
            elif kind == "dnmsg":
                self._down(value)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self.malformed += 1
            self.sim.record(self.concentrator.name, "station.malformed", why=repr(error))

    def _configure(self, value: dict[str, Any]) -> None:
        self.region = str(value["region"])
        self.rates = [(int(sf), 1000 * int(bw)) if sf > 0 else (0, 0) for sf, bw, _ in value["DRs"]]
        low, high = value["freq_range"]
        self._band_hz = (int(low), int(high))
        radio = value["sx1301_conf"][0]
        centres = [int(radio[f"radio_{i}"]["freq"]) for i in range(2)]
        self.channels_hz = []
        for i in range(8):
            channel = radio.get(f"chan_multiSF_{i}", {"enable": False})
            if channel.get("enable"):
                offset = int(channel["if"])
                if abs(offset) > 500_000:
                    raise ValueError(f"channel {i} is {offset} Hz off its radio")
                self.channels_hz.append(centres[int(channel["radio"])] + offset)

    def _rate(self, sf: int, bw_hz: int) -> int:
        return self.rates.index((sf, bw_hz))

    def _uplink(self, up: Uplink) -> None:
        if not up.crc_ok or not self.rates:
            return
        if up.freq_hz not in self.channels_hz and up.bw_hz == 125_000:
            return  # a channel that the server did not configure
        frame = up.payload
        tail = {
            "RefTime": 0.0,
            "DR": self._rate(up.sf, up.bw_hz),
            "Freq": up.freq_hz,
            "upinfo": {
                "rctx": 0,
                "xtime": _SESSION << 48 | self.sim.now_us,
                "gpstime": 0,
                "fts": -1,
                "rssi": round(up.rssi_dbm),
                "snr": round(4 * up.snr_db) / 4,
                "rxtime": self.sim.now_us / 1e6,
            },
        }
        mic = int.from_bytes(frame[-4:], "little", signed=True)
        if frame[0] >> 5 == 0 and len(frame) == 23:
            self._send(
                msgtype="jreq",
                MHdr=frame[0],
                JoinEui=_dashed(frame[1:9]),
                DevEui=_dashed(frame[9:17]),
                DevNonce=int.from_bytes(frame[17:19], "little"),
                MIC=mic,
                **tail,
            )
        elif frame[0] >> 5 in (2, 4) and len(frame) >= 12:
            options = frame[5] & 15
            rest = frame[8 + options : -4]
            self._send(
                msgtype="updf",
                MHdr=frame[0],
                DevAddr=int.from_bytes(frame[1:5], "little", signed=True),
                FCtrl=frame[5],
                FCnt=int.from_bytes(frame[6:8], "little"),
                FOpts=frame[8 : 8 + options].hex().upper(),
                FPort=rest[0] if rest else -1,
                FRMPayload=rest[1:].hex().upper(),
                MIC=mic,
                **tail,
            )

    def _down(self, value: dict[str, Any]) -> None:
        if self.region not in REGIONS:
            return self._drop("region")
        pdu = bytes.fromhex(value["pdu"])
        windows: list[tuple[int | None, int, int]] = []  # xtime, rate, Hz
        if value["dC"] == 2:
            windows = [(None, int(value["RX2DR"]), int(value["RX2Freq"]))]
        else:
            end = int(value["xtime"]) + int(value["RxDelay"]) * SECOND
            if "RX1Freq" in value:
                windows.append((end, int(value["RX1DR"]), int(value["RX1Freq"])))
            if "RX2Freq" in value:
                windows.append((end + SECOND, int(value["RX2DR"]), int(value["RX2Freq"])))
        error = "windows"
        for xtime, rate, hz in windows:
            error = self._try(value, pdu, xtime, rate, hz)
            if not error:
                return None
        return self._drop(error)

    def _try(self, value: dict[str, Any], pdu: bytes, xtime: int | None, rate: int, hz: int) -> str:
        sf, bw_hz = self.rates[rate]
        if not sf:
            return "data rate"
        if not self._band_hz[0] <= hz <= self._band_hz[1]:
            return "frequency"
        at_us = None if xtime is None else xtime & (1 << 48) - 1
        tmst = None
        if at_us is not None:
            tmst = (self.concentrator.tmst() + at_us - self.sim.now_us) & 0xFFFFFFFF
        error = self.concentrator.send(
            Downlink(tmst=tmst, freq_hz=hz, sf=sf, bw_hz=bw_hz, cr=1, power_dbm=16.0, payload=pdu)
        )
        if not error:
            start = self.sim.now_us + 1_000 if at_us is None else at_us
            self.sim.at(start, self._transmitted, value, start, rate, hz)
        return error

    def _transmitted(self, value: dict[str, Any], at_us: int, rate: int, hz: int) -> None:
        self.sent += 1
        self._send(
            msgtype="dntxed",
            seqno=value["diid"],
            diid=value["diid"],
            DR=rate,
            Freq=hz,
            DevEui=value["DevEui"],
            rctx=0,
            xtime=_SESSION << 48 | at_us,
            txtime=at_us / 1e6,
            gpstime=0,
        )

    def _drop(self, why: str) -> None:
        self.dropped[why] = self.dropped.get(why, 0) + 1
        self.sim.record(self.concentrator.name, "station.dropped", why=why)


def _dashed(little_endian: bytes) -> str:
    """An EUI as the station writes it: AA-BB-..., most significant byte first."""
    return "-".join(f"{byte:02X}" for byte in reversed(little_endian))
