"""The other ends of the network server, for tests: `EndDevice` and `Site`.

`EndDevice` builds and reads frames of one device by hand, so that a test says exactly what is on
the air. `Site` is a network server with packet forwarders, on virtual clocks, with a database in
a folder; `Site.cut()` is a power cut: the server goes on from a copy of what is on disk.
"""

import base64
import itertools
import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.lorawan.config import DeviceEntry, LorawanConfig
from gateway.lorawan.enrol import enrol
from gateway.lorawan.keys import AesBlock, DeviceKeys, Key
from gateway.lorawan.model import DownlinkReport
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import Instant
from gateway.lorawan.server import NetworkServer, Output
from gateway.lorawan.sessions import SessionStore, Undelivered
from protocols.lorawan import frames
from protocols.lorawan.crypto import BlockKey, derive_session_keys

JOIN_EUI = "70b3d57ed0000001"
START_UNIX_MS = 1_795_000_000_000  # November 2026
GATEWAYS = ("a840411b7c3d4150", "a840411b7c3d4151", "a840411b7c3d4152")


@dataclass
class Downlink:
    """A data downlink as the device read it."""

    f_cnt: int
    f_port: int
    payload: bytes
    f_opts: bytes
    is_confirmed: bool
    is_ack: bool
    is_pending: bool


class EndDevice:
    """One device's frames, by hand."""

    def __init__(self, index: int, name: str = "", device_class: str = "A") -> None:
        self.name = name or f"node-{index}"
        self.dev_eui = f"70b3d57ed1{index:06x}"
        self.key = Key(bytes([index & 0xFF, index >> 8 & 0xFF]) + b"app-key-for-te")
        self.device_class = device_class
        self.dev_nonce = 0
        self.f_cnt = 0
        self.f_cnt_down = -1
        self.dev_addr = 0
        self.nwk_s_key = b""
        self.app_s_key = b""
        self.accept: frames.JoinAccept | None = None

    def entry(self, **settings: Any) -> DeviceEntry:
        return DeviceEntry(
            name=self.name,
            dev_eui=self.dev_eui,
            join_eui=JOIN_EUI,
            device_class=self.device_class,
            **settings,
        )

    def join_request(self, dev_nonce: int | None = None) -> bytes:
        if dev_nonce is None:
            self.dev_nonce += 1
            dev_nonce = self.dev_nonce
        buf = bytearray(23)
        size = frames.encode_join_request_into(
            buf,
            bytes.fromhex(JOIN_EUI),
            bytes.fromhex(self.dev_eui),
            dev_nonce,
            BlockKey(AesBlock, self.key),
        )
        return bytes(buf[:size])

    def take_accept(self, phy: bytes, dev_nonce: int | None = None) -> None:
        buf = bytearray(phy)
        accept = frames.open_join_accept(buf, len(buf), BlockKey(AesBlock, self.key))
        self.nwk_s_key, self.app_s_key = derive_session_keys(
            AesBlock,
            self.key,
            accept.join_nonce,
            accept.net_id,
            self.dev_nonce if dev_nonce is None else dev_nonce,
        )
        self.dev_addr, self.accept = accept.dev_addr, accept
        self.f_cnt, self.f_cnt_down = 0, -1

    def personalise(self, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes) -> None:
        self.dev_addr, self.nwk_s_key, self.app_s_key = dev_addr, nwk_s_key, app_s_key

    def keys(self) -> tuple[BlockKey, BlockKey]:
        return BlockKey(AesBlock, self.nwk_s_key), BlockKey(AesBlock, self.app_s_key)

    def uplink(
        self,
        payload: bytes = b"level",
        f_port: int = 1,
        confirmed: bool = False,
        f_opts: bytes = b"",
        f_ctrl: int = 0,
        f_cnt: int | None = None,
    ) -> bytes:
        if f_cnt is None:
            f_cnt = self.f_cnt
            self.f_cnt += 1
        buf = bytearray(255)
        size = frames.encode_data_into(
            buf,
            frames.CONFIRMED_UP if confirmed else frames.UNCONFIRMED_UP,
            self.dev_addr,
            f_ctrl,
            f_cnt,
            f_opts,
            len(f_opts),
            f_port,
            payload,
            len(payload),
            *self.keys(),
        )
        return bytes(buf[:size])

    def read(self, phy: bytes) -> Downlink:
        """Check and open a downlink; asserts that its counter rose."""
        frame = frames.DataFrame()
        frame.parse(phy, len(phy))
        nwk_key, app_key = self.keys()
        f_cnt = frames.f_cnt_after(frame.f_cnt_16, self.f_cnt_down + 1)
        assert frame.dev_addr == self.dev_addr
        assert not frame.is_uplink
        assert frame.check_mic(phy, f_cnt, nwk_key)
        buf = bytearray(phy)
        frame.open(buf, f_cnt, nwk_key, app_key)
        self.f_cnt_down = f_cnt
        return Downlink(
            f_cnt,
            frame.f_port,
            bytes(buf[frame.payload_start : frame.payload_start + frame.payload_len]),
            bytes(buf[frame.f_opts_start : frame.f_opts_start + frame.f_opts_len]),
            frame.is_confirmed,
            bool(frame.f_ctrl & frames.ACK),
            bool(frame.f_ctrl & frames.F_PENDING),
        )


@dataclass
class Sent:
    """One PULL_RESP as a forwarder got it."""

    gateway: str
    token: bytes
    txpk: dict[str, Any]
    at_ms: int  # virtual monotonic time

    @property
    def phy(self) -> bytes:
        return base64.b64decode(self.txpk["data"])


@dataclass
class Site:
    """A network server, its gateways and its disk."""

    folder: Path
    config: LorawanConfig = field(default_factory=lambda: LorawanConfig(device_status_h=0))
    gateways: tuple[str, ...] = GATEWAYS[:1]
    auto_deliver: bool = True
    auto_ack: bool = True

    def __post_init__(self) -> None:
        self.now = Instant(10_000_000, START_UNIX_MS)
        self.random = random.Random(7)
        self.cuts = 0
        self.deliveries: list[Undelivered] = []
        self.reports: list[DownlinkReport] = []
        self.sent: list[Sent] = []
        self.tokens = itertools.count(1)
        self.store = SessionStore(self.folder / "0.db")
        self.plan = RadioPlan(self.config)
        self.deadline_ms = 0
        self._start()

    def _start(self) -> None:
        self.server = NetworkServer(
            self.config, self.store, lambda n: self.random.randbytes(n), self.now
        )
        self.take(self.server.start(self.now))
        for eui in self.gateways:
            self.pull(eui)

    def close(self) -> None:
        self.server.close()
        self.store.close()

    def cut(self) -> None:
        """A power cut: no close, no checkpoint; go on with a copy of the files as they are."""
        old = self.folder / f"{self.cuts}.db"
        self.cuts += 1
        new = self.folder / f"{self.cuts}.db"
        for suffix in ("", "-wal"):
            if old.with_name(old.name + suffix).exists():
                shutil.copy(old.with_name(old.name + suffix), new.with_name(new.name + suffix))
        self.store.rollback()
        self.store.close()
        self.store = SessionStore(new)
        self.sent.clear()
        self._start()

    def add(self, device: EndDevice, **settings: Any) -> EndDevice:
        with self.store.transaction():
            enrol(
                self.store,
                self.plan,
                device.entry(**settings),
                DeviceKeys(app_key=device.key),
                "cli",
                self.now.unix_ms,
            )
        self.reload()
        return device

    def add_abp(self, device: EndDevice, dev_addr: int, **settings: Any) -> EndDevice:
        nwk, app = Key(device.key[::-1]), Key(device.key[1:] + b"x")
        device.personalise(dev_addr, nwk, app)
        with self.store.transaction():
            enrol(
                self.store,
                self.plan,
                device.entry(activation="abp", dev_addr=f"{dev_addr:08x}", **settings),
                DeviceKeys(nwk_s_key=nwk, app_s_key=app),
                "cli",
                self.now.unix_ms,
            )
        self.reload()
        return device

    def reload(self) -> None:
        """As after a restart: the store was changed through our own connection."""
        self.server = NetworkServer(
            self.config, self.store, lambda n: self.random.randbytes(n), self.now
        )
        for eui in self.gateways:
            self.pull(eui)

    # -- time

    def advance(self, ms: int) -> None:
        """Let time pass; everything that falls due happens at its time."""
        end = self.now.mono_ms + ms
        while self.deadline_ms <= end:
            self._set(max(self.deadline_ms, self.now.mono_ms))
            before = self.deadline_ms
            self.take(self.server.step(self.now))
            assert self.deadline_ms > before or self.deadline_ms > self.now.mono_ms
        self._set(end)

    def _set(self, mono_ms: int) -> None:
        self.now = Instant(mono_ms, self.now.unix_ms + mono_ms - self.now.mono_ms)

    @property
    def tmst(self) -> int:
        """The concentrators' counters: they run with our clock, and wrap."""
        return self.now.mono_ms * 1000 % (1 << 32)

    # -- the forwarders

    def take(self, out: Output) -> None:
        self.deadline_ms = out.deadline_ms
        for datagram, address in out.datagrams:
            if datagram[3] != 3:
                continue
            txpk = json.loads(datagram[4:])["txpk"]
            sent = Sent(address[0], datagram[1:3], txpk, self.now.mono_ms)
            self.sent.append(sent)
            if self.auto_ack:
                self.tx_ack(sent)
        self.reports += out.reports
        for waiting in out.deliveries:
            self.deliveries.append(waiting)
            if self.auto_deliver:
                self.deliver(waiting)

    def deliver(self, waiting: Undelivered) -> None:
        self.take(self.server.delivered(waiting.id, self.now))

    def _feed(self, datagram: bytes, gateway: str) -> None:
        self.take(self.server.feed_udp([(datagram, (gateway, 1700))], self.now))

    def _head(self, kind: int, gateway: str, token: bytes | None = None) -> bytes:
        token = next(self.tokens).to_bytes(4, "big")[2:] if token is None else token
        return b"\x02" + token + bytes((kind,)) + bytes.fromhex(gateway)

    def pull(self, gateway: str) -> None:
        self._feed(self._head(2, gateway), gateway)

    def tx_ack(self, sent: Sent, error: str = "") -> None:
        body = json.dumps({"txpk_ack": {"error": error}}).encode() if error else b""
        self._feed(self._head(5, sent.gateway, sent.token) + body, sent.gateway)

    def rxpk(
        self,
        phy: bytes,
        datr: str = "SF10BW125",
        freq: float = 921.4,
        snr: float = 5.0,
        rssi: int = -90,
        **more: Any,
    ) -> dict[str, Any]:
        return {
            "tmst": self.tmst,
            "freq": freq,
            "stat": 1,
            "modu": "LORA",
            "datr": datr,
            "codr": "4/5",
            "rssi": rssi,
            "lsnr": snr,
            "size": len(phy),
            "data": base64.b64encode(phy).decode(),
            **more,
        }

    def hear(self, phy: bytes, gateway: str | None = None, **settings: Any) -> None:
        """One gateway heard a frame that ended just now."""
        gateway = gateway or self.gateways[0]
        body = json.dumps({"rxpk": [self.rxpk(phy, **settings)]}).encode()
        self._feed(self._head(0, gateway) + body, gateway)

    def join(self, device: EndDevice) -> None:
        """A join without losses, and the time until the device may speak."""
        self.hear(device.join_request())
        device.take_accept(self.sent.pop().phy)
        self.advance(8000)

    def counters(self) -> dict[str, int]:
        return dict(self.server.counters())

    def payloads(self) -> list[bytes]:
        return [one.uplink.payload for one in self.deliveries]
