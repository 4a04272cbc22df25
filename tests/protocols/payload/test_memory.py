"""What says that it allocates nothing runs with MicroPython's heap locked (CPython: just runs)."""

from protocols.filters.burst import Burst
from protocols.filters.despike import Despike
from protocols.filters.interval import IntervalPolicy
from protocols.filters.rate import RateOfRise
from protocols.filters.stage import StageFilter
from protocols.gnss.nmea import NmeaParser
from protocols.gnss.sanity import FixCheck
from protocols.modbus.client import RtuClient
from protocols.modbus.crc import crc16
from protocols.payload.flood import FloodEncoder, FloodRing
from protocols.payload.reckon import Contract, predict_into
from protocols.payload.status import Status, StatusEncoder
from protocols.payload.track import TrackEncoder, TrackRing

try:
    from micropython import heap_lock, heap_unlock
except ImportError:

    def heap_lock():
        pass

    def heap_unlock():
        pass


BASE = 898 * 64 * 3600


def locked(call):
    """Run `call` once to let it settle, then with the heap locked."""
    call()
    heap_lock()
    try:
        call()
    finally:
        heap_unlock()


def test_flood_ring_and_encoder():
    ring = FloodRing(64)
    encoder = FloodEncoder(ring)
    encoder.battery_mv = 3600
    buf = bytearray(51)
    state = [0]

    def push():
        for _ in range(70):
            i = state[0]
            ring.push(i, BASE + 60 * i, 500 + i % 3, i)
            state[0] = i + 1

    locked(push)

    def encode():
        encoder.encode_into(buf, 11)
        encoder.encode_into(buf, 51)

    locked(encode)


def test_track_ring_and_encoder():
    ring = TrackRing(16)
    encoder = TrackEncoder(ring)
    buf = bytearray(19)
    state = [0]

    def push():
        i = state[0]
        ring.push(i, BASE + 30 * i, -870000 + 20 * i, 11520000, 50, 45)
        state[0] = i + 1

    for _ in range(10):
        push()
    locked(push)
    locked(lambda: encoder.encode_into(buf, 11))


def test_status():
    encoder = StatusEncoder(Status())
    buf = bytearray(11)
    locked(lambda: encoder.encode_into(buf, 11))


def test_reckoning():
    contract = Contract()
    out = [0, 0]
    contract.sent(BASE, -870000, 11520000, 50, 45)
    locked(lambda: contract.is_due(BASE + 600, -869000, 11521000))
    locked(lambda: predict_into(out, -870000, 11520000, 470, 359, 3600))


class Filters:
    def __init__(self):
        self.burst = Burst()
        self.despike = Despike()
        self.rate = RateOfRise()
        self.stage = StageFilter(500, 1160, 2660)
        self.policy = IntervalPolicy()
        self.time_s = 0

    def run(self):
        for _ in range(10):
            self.time_s += 60
            for i in range(15):
                self.burst.add(500 + i % 4)
            level = self.despike.feed(self.burst.finish())
            rate = self.rate.push(self.time_s, level)
            self.policy.choose(self.time_s, self.stage.feed(level, self.time_s), rate)


def test_filters():
    locked(Filters().run)


def test_modbus():
    client = RtuClient()
    reply = bytes.fromhex("0103020218B92E")
    noise = b"\x55\x01"

    def ask():
        client.read_into(1, 3, 0, 1)
        client.feed(noise)
        client.feed(reply)
        client.line_idle()

    locked(ask)
    assert client.register(0) == 0x218
    assert crc16(reply, 0, 7) == 0


def test_gnss():
    parser = NmeaParser()
    check = FixCheck()
    text = (
        b"$GPGGA,030719.000,3747.0873,S,17518.8938,E,1,08,1.1,59.9,M,23.7,M,,0000*7D\r\n"
        b"$GPRMC,030719.000,A,3747.0873,S,17518.8938,E,0.69,181.39,311214,,,A*7D\r\n"
        b"$GPGGA,030720.000,3747.0875,S,17518.8938,E,1,08,1.1,59.8,M,23.7,M,,0000*70\r\n"
    )

    def feed():
        position = 0
        while position < len(text):
            position = parser.feed(text, position, len(text))
            if parser.has_fix and parser.fix.time_s is not None:
                check.judge(
                    parser.fix.time_s, parser.fix.lat_e5, parser.fix.lon_e5, parser.fix.sog_dkn
                )

    locked(feed)
    assert parser.sentences == 6
