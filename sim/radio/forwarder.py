"""Semtech's UDP packet forwarder, sans-IO: the gateway's end of PROTOCOL.TXT, version 2.

Public: `Forwarder` (`start`, `datagram`, `send`). Written from Lora-net/packet_forwarder's
PROTOCOL.TXT and from nothing of ours, so that the network server is tested against another
reading of it. Datagrams to send go to the callable given; the socket is the harness's business.
"""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, cast

from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator, Downlink, Uplink

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)
VERSION = 2
KEEPALIVE_US = 10 * SECOND
STAT_US = 30 * SECOND


class Forwarder:
    """One gateway: `eui` is its 8-byte identity, `output` sends a datagram to the server.

    `wall_time(now_us)` names a moment of the simulation as ISO 8601 for the "time" fields; None
    leaves them out, as a gateway without GNSS does.
    """

    def __init__(
        self,
        sim: Simulation,
        concentrator: Concentrator,
        eui: bytes,
        output: Callable[[bytes], object],
        wall_time: Callable[[int], str] | None = None,
    ) -> None:
        assert len(eui) == 8
        self.sim = sim
        self.concentrator = concentrator
        self.eui = eui
        self.output = output
        self.wall_time = wall_time
        self.up_sent = self.up_acknowledged = 0
        self.pull_sent = self.pull_acknowledged = 0
        self.down_received = self.down_sent = 0
        self.errors: dict[str, int] = {}
        self.malformed = 0
        self._pushed: set[int] = set()
        self._pulled: set[int] = set()
        self._forwarded = 0
        self._rng = sim.rng("forwarder/" + concentrator.name)
        concentrator.on_uplink = self._uplink

    def start(self) -> None:
        """Open the path: PULL_DATA at once and every 10 s, a status every 30 s."""
        self._pull()
        self.sim.after(STAT_US, self._stat)

    def _pull(self) -> None:
        if self.concentrator.powered:
            token = self._token()
            self._pulled = {token}
            self.pull_sent += 1
            self._send(PULL_DATA, token, b"")
        self.sim.after(KEEPALIVE_US, self._pull)

    def _stat(self) -> None:
        if self.concentrator.powered:
            ratio = 100.0 * self.up_acknowledged / self.up_sent if self.up_sent else 0.0
            stat: dict[str, object] = {
                "rxnb": self.concentrator.received,
                "rxok": self.concentrator.received - self.concentrator.damaged,
                "rxfw": self._forwarded,
                "ackr": round(ratio, 1),
                "dwnb": self.down_received,
                "txnb": self.concentrator.sent,
            }
            if self.wall_time:
                stat["time"] = self.wall_time(self.sim.now_us)[:19].replace("T", " ") + " GMT"
            self._push({"stat": stat})
        self.sim.after(STAT_US, self._stat)

    def _uplink(self, up: Uplink) -> None:
        # forward_crc_error is false in the forwarder's usual configuration.
        if not up.crc_ok:
            return
        self._forwarded += 1
        packet: dict[str, object] = {
            "tmst": up.tmst,
            "chan": up.channel,
            "rfch": 0 if up.channel < 4 else 1,
            "freq": up.freq_hz / 1e6,
            "stat": 1,
            "modu": "LORA",
            "datr": f"SF{up.sf}BW{up.bw_hz // 1000}",
            "codr": f"4/{4 + up.cr}",
            "rssi": round(up.rssi_dbm),
            "lsnr": round(up.snr_db, 1),
            "size": len(up.payload),
            "data": base64.b64encode(up.payload).decode(),
        }
        if self.wall_time:
            packet["time"] = self.wall_time(self.sim.now_us)
        self._push({"rxpk": [packet]})

    def _push(self, body: dict[str, object]) -> None:
        token = self._token()
        self._pushed.add(token)
        self.up_sent += 1
        self._send(PUSH_DATA, token, json.dumps(body, separators=(",", ":")).encode())

    def _token(self) -> int:
        return self._rng.getrandbits(16)

    def _send(self, kind: int, token: int, body: bytes) -> None:
        self.output(bytes([VERSION]) + token.to_bytes(2, "big") + bytes([kind]) + self.eui + body)

    def datagram(self, data: bytes) -> None:
        """A datagram from the server."""
        if len(data) < 4 or data[0] != VERSION:
            self.malformed += 1
            return
        token, kind = int.from_bytes(data[1:3], "big"), data[3]
        if kind == PUSH_ACK:
            if token in self._pushed:
                self._pushed.discard(token)
                self.up_acknowledged += 1
        elif kind == PULL_ACK:
            if token in self._pulled:
                self._pulled.discard(token)
                self.pull_acknowledged += 1
        elif kind == PULL_RESP:
            self.down_received += 1
            self._downlink(token, data[4:])
        else:
            self.malformed += 1

    def _downlink(self, token: int, body: bytes) -> None:
        try:
            down = parse_txpk(body)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            self.malformed += 1
            self.sim.record(self.concentrator.name, "forwarder.malformed", why=str(error))
            return
        error = self.concentrator.send(down) if self.concentrator.powered else "TOO_LATE"
        self.sim.record(
            self.concentrator.name, "forwarder.down", error=error or "NONE", data=down.payload
        )
        if error:
            self.errors[error] = self.errors.get(error, 0) + 1
        else:
            self.down_sent += 1
        answer = {"txpk_ack": {"error": error or "NONE"}}
        self._send(TX_ACK, token, json.dumps(answer, separators=(",", ":")).encode())


def parse_txpk(body: bytes) -> Downlink:
    """Read a PULL_RESP body; raises ValueError, KeyError or TypeError when it is not one."""
    tree: Any = json.loads(body)
    tx = cast("dict[str, Any]", tree["txpk"])
    if tx["modu"] != "LORA":
        raise ValueError("only LoRa is modelled")
    sf_text, bw_text = str(tx["datr"]).removeprefix("SF").split("BW")
    data = str(tx["data"])
    payload = base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    if len(payload) != int(tx["size"]):
        raise ValueError(f"size {tx['size']} but {len(payload)} bytes of data")
    tmst = None if tx.get("imme") else int(tx["tmst"])
    if tmst is not None and not 0 <= tmst < 1 << 32:
        raise ValueError(f"tmst {tmst} is not a 32-bit counter")
    return Downlink(
        tmst=tmst,
        freq_hz=round(float(tx["freq"]) * 1e6),
        sf=int(sf_text),
        bw_hz=int(bw_text) * 1000,
        cr=int(str(tx["codr"])[-1]) - 4,
        power_dbm=float(tx.get("powe", 14)),
        payload=payload,
        iq_inverted=bool(tx.get("ipol", False)),
        preamble=int(tx.get("prea", 8)),
        crc=not tx.get("ncrc", False),
    )
