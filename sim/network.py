"""A small LoRaWAN 1.0.4 network server for worlds in virtual time, AS923-2 only.

Public: `Network` (`add`, `queue`, `uplinks`), `Session`, `Delivered`. It is written from the
LoRaWAN specification and on `cryptography`, and shares nothing with `protocols.lorawan` or the
gateway's server: a device that both servers understand has been read twice. It answers at once in
RX1 (or RX2 when told to), accepts a counter once, acknowledges confirmed uplinks, answers
LinkCheckReq and DeviceTimeReq, raises data rates by ADR, and can be switched off (`down`).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator, Downlink, Uplink
from sim.radio.phy import SNR_LIMIT_DB

NET_ID = bytes.fromhex("000013")[::-1]
CF_LIST_HZ = (921_800_000, 922_000_000, 922_200_000, 922_400_000, 922_600_000)
RX2 = (921_400_000, 10, 125_000)
GPS_MINUS_UNIX_S = 315_964_800 - 18  # GPS time leads UTC by 18 s since 2017


def _cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()[:4]


def _ecb(key: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB())
    worker = cipher.decryptor() if decrypt else cipher.encryptor()
    return worker.update(data) + worker.finalize()


@dataclass(kw_only=True)
class Session:
    """A device as the network knows it; EUIs big-endian, as printed."""

    name: str
    dev_eui: bytes
    app_key: bytes
    last_nonce: int = -1
    dev_addr: bytes = b""  # as on the air, little-endian
    network_key: bytes = b""
    app_session_key: bytes = b""
    up_count: int = -1
    down_count: int = 0
    joins: int = 0
    heard_sf: int = 0
    heard_db: list[float] = field(default_factory=list[float])  # above the limit, newest last
    downlinks: list[tuple[int, bytes, bool]] = field(default_factory=list[tuple[int, bytes, bool]])


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """An application payload that reached the network."""

    time_us: int
    device: str
    port: int
    counter: int
    data: bytes
    sf: int
    rssi_dbm: float
    snr_db: float
    confirmed: bool


class Network:
    """The server behind one concentrator; `epoch_s` is Unix time at simulation time zero."""

    def __init__(
        self, sim: Simulation, concentrator: Concentrator, *, epoch_s: float = 1_757_433_600.0
    ) -> None:
        self.sim = sim
        self.concentrator = concentrator
        self.down = False
        self.use_rx2 = False
        self.uplinks: list[Delivered] = []
        self.on_uplink: Callable[[Delivered], object] = _ignore
        self.refused: dict[str, int] = {}
        self.downlinks = 0
        self._epoch_s = epoch_s
        self._by_eui: dict[bytes, Session] = {}
        self._by_addr: dict[bytes, list[Session]] = {}
        self._rng = sim.rng("network")
        concentrator.on_uplink = self._uplink

    def add(self, name: str, dev_eui: bytes, app_key: bytes) -> Session:
        """Let a device join."""
        session = Session(name=name, dev_eui=dev_eui, app_key=app_key)
        self._by_eui[dev_eui] = session
        return session

    def queue(self, name: str, port: int, data: bytes, *, confirmed: bool = False) -> None:
        """Send this after the device's next uplink."""
        for session in self._by_eui.values():
            if session.name == name:
                session.downlinks.append((port, data, confirmed))
                return
        raise KeyError(name)

    def send_now(self, name: str, port: int, data: bytes) -> None:
        """Send this to a class C device now, on RX2; later while the gateway is sending."""
        session = self.session(name)
        if self.down or not self.concentrator.powered or not session.dev_addr:
            return
        message = b"\x60" + session.dev_addr + b"\0"
        message += (session.down_count & 0xFFFF).to_bytes(2, "little") + bytes([port])
        message += self._crypt(session.app_session_key, session, data, session.down_count, 1)
        message += self._mic(session, message, session.down_count, 1)
        hz, sf, bw_hz = RX2
        down = Downlink(
            tmst=None, freq_hz=hz, sf=sf, bw_hz=bw_hz, cr=1, power_dbm=16.0, payload=message
        )
        if self.concentrator.send(down):
            self.sim.after(SECOND // 5, self.send_now, name, port, data)
            return
        session.down_count += 1
        self.downlinks += 1

    def session(self, name: str) -> Session:
        """The session of the device called `name`."""
        return next(s for s in self._by_eui.values() if s.name == name)

    def _refuse(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1
        self.sim.record("network", "network.refused", why=why)

    def _uplink(self, up: Uplink) -> None:
        if self.down or not up.crc_ok or len(up.payload) < 12:
            return
        kind = up.payload[0] >> 5
        if kind == 0:
            self._join(up)
        elif kind in (2, 4):
            self._data(up, confirmed=kind == 4)
        else:
            self._refuse("kind")

    def _join(self, up: Uplink) -> None:
        frame = up.payload
        session = self._by_eui.get(frame[9:17][::-1])
        if session is None or len(frame) != 23:
            return self._refuse("unknown device")
        if not hmac.compare_digest(_cmac(session.app_key, frame[:-4]), frame[-4:]):
            return self._refuse("join mic")
        nonce = int.from_bytes(frame[17:19], "little")
        if nonce <= session.last_nonce:
            return self._refuse("dev nonce")
        session.last_nonce = nonce
        session.joins += 1
        join_nonce = session.joins.to_bytes(3, "little")
        if session.dev_addr:
            self._by_addr[session.dev_addr].remove(session)
        session.dev_addr = self._rng.getrandbits(24).to_bytes(3, "little") + b"\x26"
        self._by_addr.setdefault(session.dev_addr, []).append(session)
        seed = join_nonce + NET_ID + frame[17:19] + bytes(7)
        session.network_key = _ecb(session.app_key, b"\x01" + seed)
        session.app_session_key = _ecb(session.app_key, b"\x02" + seed)
        session.up_count, session.down_count = -1, 0
        session.downlinks.clear()
        channels = b"".join((hz // 100).to_bytes(3, "little") for hz in CF_LIST_HZ) + b"\0"
        body = join_nonce + NET_ID + session.dev_addr + bytes([2, 1]) + channels
        head = b"\x20"
        mic = _cmac(session.app_key, head + body)
        answer = head + _ecb(session.app_key, body + mic, decrypt=True)
        self.sim.record("network", "network.join", device=session.name, nonce=nonce)
        self._send(up, answer, delay_s=5)
        return None

    def _data(self, up: Uplink, *, confirmed: bool) -> None:
        frame = up.payload
        for session in self._by_addr.get(frame[1:5], []):
            count = session.up_count & ~0xFFFF | int.from_bytes(frame[6:8], "little")
            if session.up_count < 0:
                count = int.from_bytes(frame[6:8], "little")
            elif count < session.up_count:
                count += 0x10000
            mic = self._mic(session, frame[:-4], count, 0)
            if not hmac.compare_digest(mic, frame[-4:]):
                continue
            self._accept(up, session, count, confirmed)
            return
        self._refuse("data mic")

    def _mic(self, session: Session, message: bytes, count: int, direction: int) -> bytes:
        block = b"\x49\0\0\0\0" + bytes([direction]) + session.dev_addr
        block += count.to_bytes(4, "little") + bytes([0, len(message)])
        return _cmac(session.network_key, block + message)

    def _crypt(self, key: bytes, session: Session, data: bytes, count: int, up: int) -> bytes:
        out = bytearray()
        for i in range(0, len(data), 16):
            block = b"\x01\0\0\0\0" + bytes([up]) + session.dev_addr
            block += count.to_bytes(4, "little") + bytes([0, i // 16 + 1])
            stream = _ecb(key, block)
            out += bytes(a ^ b for a, b in zip(data[i : i + 16], stream, strict=False))
        return bytes(out)

    def _accept(self, up: Uplink, session: Session, count: int, confirmed: bool) -> None:
        frame = up.payload
        repeated = count == session.up_count
        if count < session.up_count:
            return self._refuse("counter")
        session.up_count = count
        control = frame[5]
        options = control & 15
        commands = frame[8 : 8 + options]
        rest = frame[8 + options : -4]
        port, body = (rest[0], rest[1:]) if rest else (-1, b"")
        if port == 0:
            commands = self._crypt(session.network_key, session, body, count, 0)
        elif port > 0 and not repeated:
            data = self._crypt(session.app_session_key, session, body, count, 0)
            delivered = Delivered(
                time_us=self.sim.now_us,
                device=session.name,
                port=port,
                counter=count,
                data=data,
                sf=up.sf,
                rssi_dbm=up.rssi_dbm,
                snr_db=up.snr_db,
                confirmed=confirmed,
            )
            self.uplinks.append(delivered)
            self.sim.record(
                "network", "network.up", device=session.name, port=port, n=count, data=data
            )
            self.on_uplink(delivered)
        answers = self._answers(commands, up)
        if control & 0x80:
            answers += self._adapt(session, up)
        adr_wants_answer = bool(control & 0x40)
        if confirmed or answers or session.downlinks or adr_wants_answer:
            self._reply(up, session, answers, acknowledge=confirmed)
        return None

    def _answers(self, commands: bytes, up: Uplink) -> bytes:
        # Lengths of the device's commands, to step over those that need no answer.
        lengths = {2: 0, 3: 1, 4: 0, 5: 1, 6: 2, 7: 1, 8: 0, 9: 0, 10: 1, 13: 0}
        out = b""
        i = 0
        while i < len(commands) and commands[i] in lengths:
            if commands[i] == 2:
                margin = round(up.snr_db - SNR_LIMIT_DB[up.sf])
                out += bytes([2, max(0, min(254, margin)), 1])
            elif commands[i] == 13:
                gps_s = self._epoch_s + self.sim.now_us / 1e6 - GPS_MINUS_UNIX_S
                out += b"\x0d" + int(gps_s).to_bytes(4, "little") + bytes([int(gps_s * 256) & 255])
            i += 1 + lengths[commands[i]]
        return out

    def _adapt(self, session: Session, up: Uplink) -> bytes:
        """LinkADRReq to a faster rate when eight uplinks at this one had 10 dB to spare."""
        if session.heard_sf != up.sf:
            session.heard_sf, session.heard_db = up.sf, []
        session.heard_db = [*session.heard_db[-7:], up.snr_db - SNR_LIMIT_DB[up.sf]]
        if len(session.heard_db) < 8:
            return b""
        steps = min(int((max(session.heard_db) - 10) // 3), up.sf - 7)
        if steps <= 0:
            return b""
        session.heard_db = []
        rate = 12 - (up.sf - steps)
        return bytes([3, rate << 4, 0x7F, 0, 1])  # seven channels, full power, once

    def _reply(self, up: Uplink, session: Session, answers: bytes, *, acknowledge: bool) -> None:
        queued = session.downlinks.pop(0) if session.downlinks else None
        control = len(answers) | (0x20 if acknowledge else 0)
        if session.downlinks:
            control |= 0x10
        head = bytes([0xA0 if queued and queued[2] else 0x60]) + session.dev_addr
        count = session.down_count
        session.down_count += 1
        message = head + bytes([control]) + (count & 0xFFFF).to_bytes(2, "little") + answers
        if queued:
            data = self._crypt(session.app_session_key, session, queued[1], count, 1)
            message += bytes([queued[0]]) + data
        self._send(up, message + self._mic(session, message, count, 1), delay_s=1)

    def _send(self, up: Uplink, payload: bytes, *, delay_s: int) -> None:
        second = self.use_rx2
        hz, sf, bw_hz = RX2 if second else (up.freq_hz, min(up.sf, 10), up.bw_hz)
        delay_us = (delay_s + int(second)) * SECOND
        error = self.concentrator.send(
            Downlink(
                tmst=(up.tmst + delay_us) & 0xFFFFFFFF,
                freq_hz=hz,
                sf=sf,
                bw_hz=bw_hz,
                cr=1,
                power_dbm=16.0,
                payload=payload,
            )
        )
        self.downlinks += not error
        if error:
            self._refuse("downlink " + error)


def _ignore(_: Delivered) -> None:
    pass
