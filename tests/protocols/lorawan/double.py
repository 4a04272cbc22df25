"""Doubles for device tests: a store that can be cut, a network, and a loop in virtual time.

The network is written with our `frames` to run under MicroPython; what it encodes is checked
against another implementation in tests/properties/lorawan.
"""

from binascii import unhexlify

from protocols.lorawan import device as dev
from protocols.lorawan import frames, mac
from protocols.lorawan.crypto import BlockKey, derive_session_keys
from protocols.lorawan.regions import region
from protocols.ticks import ticks_add, ticks_diff
from tests.protocols.lorawan.aes import aes

APP_KEY = bytes(range(16))
DEV_EUI = unhexlify("70b3d57ed0000001")
JOIN_EUI = unhexlify("0000000000000001")
START_MS = (1 << 30) - 60000  # a minute before the ticks wrap


class MemoryStore:
    """One record in RAM. `fails`: so many saves to come raise OSError."""

    def __init__(self):
        self.record = None
        self.saves = 0
        self.fails = 0

    def load(self):
        return self.record

    def save(self, buf):
        if self.fails:
            self.fails -= 1
            raise OSError(5)
        self.saves += 1
        self.record = bytes(buf)


class Entropy:
    """A small generator, the same on both runtimes."""

    def __init__(self, seed=1):
        self.state = seed

    def __call__(self):
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 4) ^ (self.state & 0xFFF) << 15 & 0x3FFFFFFF


class Network:
    """Joins and answers one device; what it says next is set by the test."""

    def __init__(self, region_name="AS923-2"):
        self.region = region(region_name)
        self.app_key = BlockKey(aes, APP_KEY)
        self.join_nonce = 0
        self.dev_addr = 0x26011BDA
        self.nwk = self.app = None
        self.f_cnt_down = 0
        self.last_f_cnt = -1
        self.dev_nonces = []
        self.uplinks = []  # (f_cnt, f_port, payload, f_ctrl, opts)
        self.cf_list = b""
        self.rx1_offset = 0
        self.rx2_dr = self.region.rx2_dr
        self.rx_delay_s = 1
        self.is_deaf = False
        self.answers_link_check = True
        self.queue = []  # downlinks: (f_port, payload, opts, confirmed, f_ctrl)

    def hear(self, phy):
        """Take an uplink; give the downlink's bytes or None."""
        if self.is_deaf:
            return None
        if phy[0] >> 5 == frames.JOIN_REQUEST:
            request = frames.parse_join_request(phy, len(phy))
            assert frames.check_join_request_mic(phy, self.app_key)
            assert request.dev_eui == DEV_EUI and request.join_eui == JOIN_EUI
            assert request.dev_nonce not in self.dev_nonces, "DevNonce used again"
            self.dev_nonces.append(request.dev_nonce)
            self.join_nonce += 1
            nwk, app = derive_session_keys(aes, APP_KEY, self.join_nonce, 0x13, request.dev_nonce)
            self.nwk, self.app = BlockKey(aes, nwk), BlockKey(aes, app)
            self.f_cnt_down = 0
            self.last_f_cnt = -1
            accept = frames.JoinAccept(
                self.join_nonce, 0x13, self.dev_addr, self.rx1_offset, self.rx2_dr,
                self.rx_delay_s, self.cf_list,
            )  # fmt: skip
            buf = bytearray(33)
            size = frames.encode_join_accept_into(buf, accept, aes, APP_KEY)
            return bytes(buf[:size])
        buf = bytearray(phy)
        frame = frames.DataFrame()
        frame.parse(buf, len(buf))
        assert frame.is_uplink
        if self.nwk is None or frame.dev_addr != self.dev_addr:
            return None
        f_cnt = frames.f_cnt_after(frame.f_cnt_16, self.last_f_cnt)
        if not frame.check_mic(buf, f_cnt, self.nwk):
            return None
        is_repeat = f_cnt == self.last_f_cnt
        self.last_f_cnt = f_cnt
        frame.open(buf, f_cnt, self.nwk, self.app)
        payload = bytes(buf[frame.payload_start : frame.payload_start + frame.payload_len])
        opts = bytes(buf[frame.f_opts_start : frame.f_opts_start + frame.f_opts_len])
        if not is_repeat:
            self.uplinks.append((f_cnt, frame.f_port, payload, frame.f_ctrl, opts))
        commands = payload if frame.f_port == 0 else opts
        answer = b""
        if self.answers_link_check and not self.queue:
            for command in mac.decode(commands, 0, len(commands), True):
                if command.cid == mac.LINK_CHECK:
                    answer = b"\x02\x0a\x01"
        if self.queue:
            f_port, data, down_opts, confirmed, f_ctrl = self.queue.pop(0)
        elif frame.is_confirmed or answer or frame.f_ctrl & frames.ADR_ACK_REQ:
            f_port, data, down_opts, confirmed, f_ctrl = frames.NO_PORT, b"", answer, False, 0
        else:
            return None
        if frame.is_confirmed:
            f_ctrl |= frames.ACK
        return self.downlink(f_port, data, down_opts, confirmed, f_ctrl)

    def downlink(self, f_port, data=b"", opts=b"", confirmed=False, f_ctrl=0):
        """The bytes of the next downlink."""
        out = bytearray(255)
        size = frames.encode_data_into(
            out,
            frames.CONFIRMED_DOWN if confirmed else frames.UNCONFIRMED_DOWN,
            self.dev_addr, f_ctrl, self.f_cnt_down, opts, len(opts), f_port, data, len(data),
            self.nwk, self.app,
        )  # fmt: skip
        self.f_cnt_down += 1
        return bytes(out[:size])


class World:
    """Drives one device through virtual time; answers come in the window `in_rx2` says."""

    def __init__(self, network, store=None, settings=None, keys=None, seed=1, now_ms=START_MS):
        self.network = network
        self.store = store or MemoryStore()
        self.settings = settings or dev.Settings()
        self.keys = keys or dev.Keys(DEV_EUI, JOIN_EUI, APP_KEY)
        self.entropy = Entropy(seed)
        self.now_ms = now_ms
        self.elapsed_ms = 0
        self.in_rx2 = False
        self.sent = []  # (elapsed ms, freq, sf, power, airtime us, bytes)
        self.heard_ops = []
        self.events = []  # (kind, value, port, data)
        self.boot()

    def boot(self):
        self.device = dev.Device(
            self.network.region, aes, self.store, self.entropy, self.keys, self.settings
        )
        self.receiving_until = None
        self.reply = None
        self.tx_end_ms = self.now_ms

    def advance(self, ms):
        self.now_ms = ticks_add(self.now_ms, ms)
        self.elapsed_ms += ms

    def take_events(self):
        while True:
            event = self.device.next_event()
            if event is None:
                return
            data = bytes(self.device.data[: event.length]) if event.kind == dev.EV_DOWNLINK else b""
            self.events.append((event.kind, event.value, event.port, data))

    def forget(self):
        """Drop what was recorded: a device-sized heap does not hold hundreds of frames."""
        self.sent = []
        self.heard_ops = []
        self.events = []
        self.network.uplinks = []

    def kinds(self):
        return [event[0] for event in self.events]

    def run(self, ms, until=None):
        """Run for `ms` of virtual time, or until `until()` is true."""
        end = self.elapsed_ms + ms
        device = self.device
        while self.elapsed_ms < end:
            op = device.step(self.now_ms)
            while op:
                if op == dev.OP_TX:
                    self.transmit()
                elif op == dev.OP_RX:
                    self.receive()
                op = device.step(self.now_ms)
            self.take_events()
            if until is not None and until():
                return True
            left = end - self.elapsed_ms
            wait = ticks_diff(device.deadline_ms, self.now_ms)
            self.advance(max(1, min(wait, left)))
        return False

    def transmit(self):
        radio = self.device.radio
        phy = bytes(radio.tx_buf[: radio.tx_len])
        self.sent.append(
            (self.elapsed_ms, radio.freq_hz, radio.sf, radio.power_dbm, radio.airtime_us, phy)
        )
        assert not radio.iq_inverted and radio.crc_on
        self.reply = self.network.hear(phy)
        self.windows = 0
        self.advance(radio.airtime_us // 1000 + 1)
        self.tx_end_ms = self.now_ms
        self.device.tx_done(self.now_ms)

    def receive(self):
        device = self.device
        radio = device.radio
        assert radio.iq_inverted and not radio.crc_on
        if radio.is_continuous:
            return
        assert 6 <= radio.symbol_timeout <= 248
        self.windows += 1
        after_ms = ticks_diff(self.now_ms, self.tx_end_ms)
        self.heard_ops.append((after_ms, radio.freq_hz, radio.sf, radio.bw_hz))
        reply = self.reply
        if reply is not None and self.windows == (2 if self.in_rx2 else 1):
            self.reply = None
            self.deliver(reply)
        else:
            self.advance(radio.symbol_timeout * (1 << radio.sf) * 1000 // radio.bw_hz)
            device.rx_timeout(self.now_ms)

    def deliver(self, phy):
        """Put `phy` on the air now."""
        self.advance(50)
        for i in range(len(phy)):
            self.device.rx_buf[i] = phy[i]
        self.device.rx_done(len(phy), -90, 28, self.now_ms)

    def join(self):
        self.device.join(self.now_ms)
        assert self.run(600000, lambda: self.device.joined)

    def uplink(self, data=b"12345678901", port=1, confirmed=False, ms=600000):
        """Send one uplink and run until it is finished."""
        before = len(self.events)
        assert self.device.send(port, data, len(data), confirmed, self.now_ms)
        done = (dev.EV_SENT, dev.EV_ACK, dev.EV_NO_ACK)
        assert self.run(ms, lambda: any(e[0] in done for e in self.events[before:]))
        return next(e[0] for e in self.events[before:] if e[0] in done)
