"""A network server of its own kind for tests: nothing of it comes from `protocols`.

Written from LoRaWAN L2 1.0.4 with `cryptography`'s AES and CMAC, so that a misreading in our code
does not meet the same misreading here. It forgets the old session as soon as it answers a join.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC


def _ecb(key: bytes, data: bytes, decrypt: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB())
    work = cipher.decryptor() if decrypt else cipher.encryptor()
    return work.update(data) + work.finalize()


def _cmac4(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()[:4]


def _crypt(key: bytes, data: bytes, down: int, addr: bytes, f_cnt: int) -> bytes:
    out = bytearray()
    for i in range(0, len(data), 16):
        block = bytes([1, 0, 0, 0, 0, down]) + addr + f_cnt.to_bytes(4, "little")
        stream = _ecb(key, block + bytes([0, i // 16 + 1]))
        out += bytes(a ^ b for a, b in zip(data[i : i + 16], stream, strict=False))
    return bytes(out)


def _mic(key: bytes, message: bytes, down: int, addr: bytes, f_cnt: int) -> bytes:
    b0 = bytes([0x49, 0, 0, 0, 0, down]) + addr + f_cnt.to_bytes(4, "little")
    return _cmac4(key, b0 + bytes([0, len(message)]) + message)


@dataclass
class Session:
    """Keys and counters of one join."""

    addr: bytes  # as on the wire
    nwk: bytes
    app: bytes
    last_up: int = -1
    next_down: int = 0


@dataclass
class Server:
    """One device's network. `outbox`: (FPort or None, payload, FOpts, confirmed) to send next."""

    app_key: bytes
    join_nonce: int = 0
    last_dev_nonce: int = -1
    joins: int = 0
    session: Session | None = None
    outbox: list[tuple[int | None, bytes, bytes, bool]] = field(default_factory=list)
    received: list[tuple[int, int | None, bytes]] = field(default_factory=list)

    def forget(self) -> None:
        """Lose the session, not the device's nonces."""
        self.session = None

    def hear(self, phy: bytes) -> bytes | None:
        """Take an uplink; the answer, if there is one."""
        if phy[0] == 0x00 and len(phy) == 23:
            return self._join(phy)
        if phy[0] in (0x40, 0x80) and len(phy) >= 12:
            return self._data(phy)
        raise AssertionError(f"not an uplink: {phy.hex()}")

    def _join(self, phy: bytes) -> bytes | None:
        assert _cmac4(self.app_key, phy[:19]) == phy[19:], "join request MIC"
        dev_nonce = int.from_bytes(phy[17:19], "little")
        if dev_nonce <= self.last_dev_nonce:
            return None
        self.last_dev_nonce = dev_nonce
        self.join_nonce += 1
        self.joins += 1
        nonce, net_id = self.join_nonce.to_bytes(3, "little"), bytes([0x13, 0, 0])
        addr = (0x26000000 + self.joins).to_bytes(4, "little")
        tail = nonce + net_id + phy[17:19] + bytes(7)
        self.session = Session(
            addr, _ecb(self.app_key, b"\x01" + tail), _ecb(self.app_key, b"\x02" + tail)
        )
        body = bytes([0x20]) + nonce + net_id + addr + bytes([0x02, 0x01])
        signed = body[1:] + _cmac4(self.app_key, body)
        return body[:1] + _ecb(self.app_key, signed, decrypt=True)

    def _data(self, phy: bytes) -> bytes | None:
        session = self.session
        if session is None or phy[1:5] != session.addr:
            return None
        low = int.from_bytes(phy[6:8], "little")
        f_cnt = (max(session.last_up, 0) & ~0xFFFF) | low
        if f_cnt < session.last_up:
            f_cnt += 0x10000
        if _mic(session.nwk, phy[:-4], 0, session.addr, f_cnt) != phy[-4:]:
            return None
        if f_cnt != session.last_up:
            session.last_up = f_cnt
            self.received.append(self._read(phy, session, f_cnt))
        confirmed = phy[0] == 0x80
        opts = phy[8 : 8 + (phy[5] & 15)]
        if self.outbox:
            return self.downlink(*self.outbox.pop(0), ack=confirmed)
        if confirmed or phy[5] & 0x40 or b"\x02" in opts:
            return self.downlink(None, b"", b"\x02\x14\x01", False, ack=confirmed)
        return None

    def _read(self, phy: bytes, session: Session, f_cnt: int) -> tuple[int, int | None, bytes]:
        at = 8 + (phy[5] & 15)
        if at == len(phy) - 4:
            return f_cnt, None, b""
        key = session.app if phy[at] else session.nwk
        return f_cnt, phy[at], _crypt(key, phy[at + 1 : -4], 0, session.addr, f_cnt)

    def downlink(
        self, port: int | None, payload: bytes, opts: bytes, confirmed: bool, ack: bool = False
    ) -> bytes | None:
        """The next downlink of the session."""
        session = self.session
        if session is None:
            return None
        f_cnt = session.next_down
        session.next_down += 1
        f_ctrl = (0x20 if ack else 0) | len(opts)
        message = bytes([0xA0 if confirmed else 0x60]) + session.addr + bytes([f_ctrl])
        message += (f_cnt & 0xFFFF).to_bytes(2, "little") + opts
        if port is not None:
            key = session.app if port else session.nwk
            message += bytes([port]) + _crypt(key, payload, 1, session.addr, f_cnt)
        return message + _mic(session.nwk, message, 1, session.addr, f_cnt)
