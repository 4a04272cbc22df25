"""Mutated datagrams and websocket messages into the network server: `Fuzz`.

None may raise, hang, or change a session: every base frame is old, forged or foreign, so whatever
mutation makes of its envelope, nothing of it may be accepted.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.lorawan.config import LorawanConfig
from tests.gateway.lorawan.ends import GATEWAYS, EndDevice, Site

_WORDS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, -1e308, float("nan"), 2**31, 2**32, 2**64, "", "A",
    "LORA", "FSK", "SF7BW125", "SF99BW999", [], {}, [[]], [{}], "\u0000", "==", "ÿ",
)  # fmt: skip


class Fuzz:
    """One server with two devices, and an endless source of bad input for it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        config = LorawanConfig(device_status_h=0, adr=False, dedup_ms=0)
        self.site = Site(folder, config)
        first = self.site.add(EndDevice(1))
        second = self.site.add(EndDevice(2, device_class="C"))
        for node in (first, second):
            self.site.join(node)
        old: list[bytes] = [first.join_request(first.dev_nonce)]
        for node in (first, second):
            for payload in (b"", b"level", bytes(40)):
                phy = node.uplink(payload, f_opts=b"\x02" if payload else b"", confirmed=True)
                self.site.hear(phy)
                self.site.advance(5000)
                old.append(phy)
            self.site.hear(node.uplink())  # so that all of them are old, none is the last
            self.site.advance(5000)
        stranger = EndDevice(9)
        stranger.personalise(first.dev_addr, bytes(16), bytes(16))
        old += [stranger.uplink(b"x"), stranger.join_request()]
        self.frames = old
        self.messages = [
            {"msgtype": "version", "station": "2.0.6", "protocol": 2},
            {"msgtype": "dntxed", "diid": 1, "DR": 2, "Freq": 921_400_000},
            {"msgtype": "timesync", "txtime": 1},
            {"msgtype": "propdf", "FRMPayload": old[1].hex(), "DR": 2, "Freq": 921_400_000,
             "upinfo": {"rctx": 0, "xtime": 1, "gpstime": 0, "rssi": -9, "snr": 1}},
            {"msgtype": "updf", "MHdr": 128, "DevAddr": -5, "FCtrl": 0, "FCnt": 0, "FOpts": "",
             "FPort": 1, "FRMPayload": "00", "MIC": 1, "DR": 2, "Freq": 921_400_000,
             "upinfo": {"rctx": 0, "xtime": 1, "gpstime": 0, "rssi": -9, "snr": 1}},
            {"msgtype": "jreq", "MHdr": 0, "JoinEui": "70-B3-D5-7E-D0-00-00-01",
             "DevEui": "70-b3-d5-7e-d1-00-00-01", "DevNonce": 1, "MIC": 1, "DR": 2,
             "Freq": 921_400_000,
             "upinfo": {"rctx": 0, "xtime": 1, "gpstime": 0, "rssi": -9, "snr": 1}},
        ]  # fmt: skip
        self.site.server.connect_station(GATEWAYS[2], self.site.now)
        self.site.sent.clear()
        self.before = self._state()
        self._kinds: tuple[Callable[[], None], ...] = (
            self._phy, self._phy, self._json, self._bytes, self._noise, self._station,
        )  # fmt: skip

    def _state(self) -> object:
        store = self.site.store
        return store.devices(), store.sessions(), store.queue()

    def run(self, count: int) -> None:
        """That many bad inputs; then the sessions must be as they were, and still work."""
        for index in range(count):
            self.random.choice(self._kinds)()
            if index % 64 == 0:
                self.site.advance(self.random.choice((1, 50, 2000)))
        assert self._state() == self.before
        assert self.site.sent == []
        assert self.site.payloads()[-1] == b"level"

    def _flip(self, data: bytes, most: int = 4) -> bytes:
        if not data:
            return b"\0"
        changed = bytearray(data)
        for _ in range(self.random.randint(1, most)):
            kind = self.random.random()
            at = self.random.randrange(len(changed)) if changed else 0
            if kind < 0.6 and changed:
                changed[at] ^= 1 << self.random.randrange(8)
            elif kind < 0.75:
                changed.insert(at, self.random.randrange(256))
            elif kind < 0.9 and changed:
                del changed[at]
            elif changed:
                del changed[at:]
        return bytes(changed)

    def _push(self, rxpk: list[Any]) -> bytes:
        body = json.dumps({"rxpk": rxpk}).encode()
        return self.site._head(0, GATEWAYS[0]) + body

    def _feed(self, datagram: bytes) -> None:
        self.site._feed(datagram, GATEWAYS[0])

    def _phy(self) -> None:
        """A frame with wrong bytes in a right envelope."""
        phy = self._flip(self.random.choice(self.frames))[:255] or b"\0"
        if phy in self.frames:
            return
        self._feed(self._push([self.site.rxpk(phy)]))

    def _json(self) -> None:
        """An old frame in an envelope with wrong values."""
        rxpk = self.site.rxpk(self.random.choice(self.frames))
        for _ in range(self.random.randint(1, 3)):
            name = self.random.choice(list(rxpk))
            if self.random.random() < 0.2:
                rxpk.pop(name)
            else:
                rxpk[name] = self.random.choice(_WORDS)
            if not rxpk:
                break
        self._feed(self._push([rxpk] * self.random.choice((1, 1, 70))))

    def _bytes(self) -> None:
        """A datagram with wrong bytes."""
        datagram = self._push([self.site.rxpk(self.random.choice(self.frames))])
        self._feed(self._flip(datagram, 8))

    def _noise(self) -> None:
        """Anything, with a header that gets it past the first checks half of the time."""
        noise = self.random.randbytes(self.random.randrange(80))
        if self.random.random() < 0.5:
            noise = self.site._head(self.random.choice((0, 2, 5)), GATEWAYS[0]) + noise
        if self.random.random() < 0.01:
            noise = self.site._head(0, GATEWAYS[0]) + b"[" * 60_000
        self._feed(noise)

    def _station(self) -> None:
        """A station's message with wrong values, or wrong bytes."""
        message = dict(self.random.choice(self.messages))
        if isinstance(message.get("upinfo"), dict):
            message["upinfo"] = dict(message["upinfo"])
        for _ in range(self.random.randint(0, 3)):
            target = message.get("upinfo") if self.random.random() < 0.3 else message
            if isinstance(target, dict) and target:
                target[self.random.choice(list(target))] = self.random.choice(_WORDS)
        text: str | bytes = json.dumps(message)
        if self.random.random() < 0.3:
            text = self._flip(text.encode())
        self.site.take(self.site.server.feed_station(GATEWAYS[2], text, self.site.now))
