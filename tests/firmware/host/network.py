"""A network's end behind a simulated concentrator, thin and by the book: `NetworkDouble`.

Answers joins and confirmed uplinks, gives the time when asked, sends queued commands in RX1.
Everything that arrived is in `frames` as decoded payloads of our ports.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.lorawan import frames as lw
from protocols.lorawan.crypto import BlockKey, derive_session_keys
from protocols.payload import ports
from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator, Downlink, Uplink

GPS_OF_2020 = 1261872018


class ServerAes:
    """AES-128 both ways, for a server."""

    def __init__(self, key: bytes) -> None:
        self._ecb = Cipher(algorithms.AES(key), modes.ECB())

    def encrypt_into(self, src: bytearray, dst: bytearray) -> None:
        encryptor = self._ecb.encryptor()
        dst[:] = encryptor.update(bytes(src)) + encryptor.finalize()

    def decrypt_into(self, src: bytearray, dst: bytearray) -> None:
        decryptor = self._ecb.decryptor()
        dst[:] = decryptor.update(bytes(src)) + decryptor.finalize()


@dataclass
class Arrived:
    """One uplink: when (s of the simulation), port, counter, payload."""

    at_s: float
    port: int
    f_cnt: int
    data: bytes
    confirmed: bool


class NetworkDouble:
    """One device's network. `epoch_s`: seconds since 2020 at the start of the simulation."""

    def __init__(
        self,
        sim: Simulation,
        concentrator: Concentrator,
        app_key: bytes,
        epoch_s: int = 217_000_000,
    ) -> None:
        self.sim = sim
        self.concentrator = concentrator
        self.app_key = app_key
        self.epoch_s = epoch_s
        self.frames: list[Arrived] = []
        self.joins: list[int] = []  # DevNonces
        self.commands: list[bytes] = []  # to go down on the command port, oldest first
        self.others: list[tuple[int, bytes]] = []  # the same for other ports, behind those
        self.on_frame: Callable[[Arrived], object] = lambda frame: None
        self.deaf = False  # hears nothing: an outage
        self.mute = False  # hears, but cannot answer
        self.gives_time = True
        self._keys: tuple[BlockKey, BlockKey] | None = None
        self._dev_addr = 0x26011234
        self._f_cnt_up = -1
        self._f_cnt_down = 0
        concentrator.on_uplink = self._uplink

    @property
    def now_s(self) -> int:
        """True time, seconds since 2020."""
        return self.epoch_s + self.sim.now_us // SECOND

    def of(self, port: int) -> list[Arrived]:
        return [frame for frame in self.frames if frame.port == port]

    def _uplink(self, up: Uplink) -> None:
        if self.deaf or not up.crc_ok:
            return
        buf = bytearray(up.payload)
        if lw.frame_type(buf, len(buf)) == lw.JOIN_REQUEST:
            self._join(up, buf)
        else:
            self._data(up, buf)

    def _join(self, up: Uplink, buf: bytearray) -> None:
        key = BlockKey(ServerAes, self.app_key)
        assert lw.check_join_request_mic(buf, key)
        nonce = lw.parse_join_request(buf, len(buf)).dev_nonce
        assert not self.joins or nonce > max(self.joins), "a DevNonce was used again"
        self.joins.append(nonce)
        accept = lw.JoinAccept(len(self.joins), 0x13, self._dev_addr, rx2_dr=2)
        network, application = derive_session_keys(
            ServerAes, self.app_key, accept.join_nonce, accept.net_id, nonce
        )
        self._keys = BlockKey(ServerAes, network), BlockKey(ServerAes, application)
        self._f_cnt_up, self._f_cnt_down = -1, 0
        out = bytearray(33)
        length = lw.encode_join_accept_into(out, accept, ServerAes, self.app_key)
        self._send(up, bytes(out[:length]), 5)

    def _data(self, up: Uplink, buf: bytearray) -> None:
        assert self._keys
        frame = lw.DataFrame()
        frame.parse(buf, len(buf))
        f_cnt = lw.f_cnt_after(frame.f_cnt_16, self._f_cnt_up)
        assert frame.check_mic(buf, f_cnt, self._keys[0])
        again = f_cnt == self._f_cnt_up
        self._f_cnt_up = f_cnt
        frame.open(buf, f_cnt, *self._keys)
        options = bytes(buf[frame.f_opts_start : frame.f_opts_start + frame.f_opts_len])
        payload = bytes(buf[frame.payload_start : frame.payload_start + frame.payload_len])
        if frame.f_port == 0:
            options, payload = payload, b""
        if not again and frame.f_port > 0:
            arrived = Arrived(
                self.sim.now_us / SECOND, frame.f_port, f_cnt, payload, frame.is_confirmed
            )
            self.frames.append(arrived)
            self.on_frame(arrived)
        answers = b""
        if b"\x0d" in options and self.gives_time:
            gps_s = GPS_OF_2020 + self.now_s
            answers = b"\x0d" + gps_s.to_bytes(4, "little") + b"\0"
        port, command = ports.PORT_COMMAND, b""
        if self.commands:
            command = self.commands.pop(0)
        elif self.others:
            port, command = self.others.pop(0)
        if frame.is_confirmed or answers or command or frame.f_ctrl & lw.ADR_ACK_REQ:
            self._answer(up, frame.is_confirmed, answers, port, command)

    def _answer(self, up: Uplink, ack: bool, options: bytes, port: int, command: bytes) -> None:
        assert self._keys
        out = bytearray(255)
        length = lw.encode_data_into(
            out,
            lw.UNCONFIRMED_DOWN,
            self._dev_addr,
            lw.ACK if ack else 0,
            self._f_cnt_down,
            options,
            len(options),
            port if command else lw.NO_PORT,
            command,
            len(command),
            *self._keys,
        )
        self._f_cnt_down += 1
        self._send(up, bytes(out[:length]), 1)

    def send_now(self, command: bytes) -> None:
        """A command to a class C device: at once, on RX2."""
        assert self._keys
        out = bytearray(255)
        length = lw.encode_data_into(
            out, lw.UNCONFIRMED_DOWN, self._dev_addr, 0, self._f_cnt_down, b"", 0,
            ports.PORT_COMMAND, command, len(command), *self._keys,
        )  # fmt: skip
        self._f_cnt_down += 1
        error = self.concentrator.send(
            Downlink(
                tmst=None,
                freq_hz=921_400_000,
                sf=10,
                bw_hz=125_000,
                cr=1,
                power_dbm=14.0,
                payload=bytes(out[:length]),
            )
        )
        assert not error, error

    def _send(self, up: Uplink, payload: bytes, delay_s: int) -> None:
        if self.mute:
            return
        down: dict[str, Any] = {
            "tmst": (up.tmst + delay_s * SECOND) & 0xFFFFFFFF,
            "freq_hz": up.freq_hz,
            "sf": up.sf,
            "bw_hz": up.bw_hz,
            "cr": 1,
            "power_dbm": 14.0,
            "payload": payload,
        }
        # The concentrator takes it at once: the lead of five seconds and of one are both enough.
        error = self.concentrator.send(Downlink(**down))
        assert not error, error
