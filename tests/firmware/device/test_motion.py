"""The tracker's judgement: states, error contract, fences, positions in the log, the receiver."""

from firmware.apps.fences import FENCES_MAX, Fences
from firmware.apps.motion import Contract, Motion, pack_position, unpack_position
from firmware.drivers.gnss import Gnss
from protocols.gnss import ubx
from protocols.payload.track import STATE_ANCHORED, STATE_MOORED, STATE_UNDER_WAY
from tests.firmware.device.fakes import FlashFake

LAT, LON = -875_000, 11_522_000  # 1e-5 degree is 1.11 m


def test_a_boat_comes_to_rest_and_leaves():
    motion = Motion()
    seen = []
    time_s = 0
    for i in range(60):  # 4 m/s north for ten minutes
        motion.feed(time_s, LAT + 36 * i, LON, 78)
        time_s += 10
    assert motion.state == STATE_UNDER_WAY
    here = LAT + 36 * 59
    for i in range(200):  # at rest, swinging by 5 m
        if motion.feed(time_s, here + (i % 5), LON, 1):
            seen.append((motion.state, i))
        time_s += 10
    assert [state for state, _ in seen] == [STATE_ANCHORED, STATE_MOORED]
    assert 55 <= seen[0][1] <= 65 and 175 <= seen[1][1] <= 185
    for i in range(3):  # one fast fix is no departure, three are
        assert motion.state == STATE_MOORED
        motion.feed(time_s, here + 10 * i, LON, 30)
        time_s += 10
    assert motion.state == STATE_UNDER_WAY


def test_a_wide_swing_is_anchored_but_not_moored():
    motion = Motion()
    for i in range(400):
        motion.feed(10 * i, LAT + 20 * (i % 3), LON, 2)  # up to 44 m
    assert motion.state == STATE_ANCHORED


def test_the_contract_measures_what_the_shore_believes():
    contract = Contract(100)
    assert contract.is_broken(0, LAT, LON, 100), "nothing was ever sent"
    contract.sent(0, LAT, LON, 78, 0)  # 7.8 kn, 4.01 m/s, north
    assert contract.error(60, LAT + 216, LON) <= 4  # 240.8 m on
    assert not contract.is_broken(60, LAT + 216, LON, 100)
    assert contract.is_broken(60, LAT + 216, LON + 90, 100)  # 99 m to the side
    assert not contract.is_broken(60, LAT + 216, LON + 60, 100)
    contract.sent(100, LAT, LON, None, 90)
    assert contract.error(500, LAT, LON) == 0, "an unknown speed predicts rest"


def test_positions_survive_the_log():
    for lat in (-9_000_000, -875_001, 0, 1, 9_000_000):
        for lon in (-18_000_000, -1, 0, 11_522_001, 18_000_000):
            for sog, back in ((None, None), (0, 0), (78, 70), (999, 300)):
                a, b, c = pack_position(lat, lon, sog)
                assert 0 <= a < 0x8000 and 0 <= b < 1 << 32 and 0 <= c < 256
                found_lat, found_lon, found_sog = unpack_position(a, b, c)
                assert found_lat == lat and abs(found_lon - lon) <= 1 and found_sog == back


def test_a_fence_is_told_once_and_does_not_chatter():
    flash = FlashFake()
    fences = Fences(flash)
    assert fences.set(3, LAT, LON, 500, False)
    assert fences.feed(LAT, LON) is None, "where it is at first is no crossing"
    told = []
    for away in (440, 455, 445, 470, 448, 600, 460, 400):  # 1.11 m each: the line is at 450
        crossed = fences.feed(LAT + away, LON)
        if crossed is not None:
            told.append(crossed)
    assert told == [(3, False), (3, True)], told
    assert Fences(flash).feed(LAT, LON) is None
    # Inside a forbidden area from the first fix on is told.
    assert fences.set(4, LAT, LON, 100, True)
    assert fences.feed(LAT, LON) == (4, True)
    assert fences.set(4, 0, 0, 0, False) and fences.set(3, 0, 0, 0, False)
    assert fences.feed(LAT + 9000, LON) is None
    for number in range(FENCES_MAX):
        assert fences.set(number, LAT, LON, 50, False)
    assert not fences.set(99, LAT, LON, 50, False)


NMEA = (
    b"$GPRMC,120000.00,A,0845.0000,S,11513.2000,E,7.8,45.0,241126,,,A*5F\r\n"
    b"$GPGGA,120000.00,0845.0000,S,11513.2000,E,1,09,0.9,3.0,M,,M,,*5C\r\n"
)


def checked(line):
    body = line[1 : line.index(b"*")]
    value = 0
    for byte in body:
        value ^= byte
    return b"$" + body + b"*" + ("%02X" % value).encode() + b"\r\n"


class UartFake:
    def __init__(self):
        self.data = b""

    def any(self):
        return len(self.data)

    def readinto(self, buf, count):
        part = self.data[:count]
        self.data = self.data[count:]
        buf[: len(part)] = part
        return len(part)


def test_the_receiver_gives_each_fix_once_whatever_the_chunks():
    lines = b"".join(checked(line) for line in NMEA.split(b"\r\n") if line)
    for chunk in (1, 7, 64, 500):
        uart = UartFake()
        gnss = Gnss(uart)
        fixes = []
        now = 0
        for _second in range(3):
            for at in range(0, len(lines), chunk):
                uart.data += lines[at : at + chunk]
                while gnss.step(now):
                    fixes.append((gnss.fix.lat_e5, gnss.fix.lon_e5, gnss.fix.sog_dkn))
                now += 10
            now += 900
            while gnss.step(now):
                fixes.append((gnss.fix.lat_e5, gnss.fix.lon_e5, gnss.fix.sog_dkn))
        assert fixes == [(-875_000, 11_522_000, 78)] * 3, (chunk, fixes)


class Receiver:
    """A receiver's UART: it sleeps by RXM-PMREQ, or not."""

    def __init__(self, obeys):
        self.obeys = obeys
        self.written = []
        self.waiting = b""

    def write(self, data):
        self.written.append(bytes(data))

    def any(self):
        return len(self.waiting)

    def readinto(self, buf, count):
        piece = self.waiting[:count]
        buf[: len(piece)] = piece
        self.waiting = self.waiting[count:]
        return len(piece)


def test_a_receiver_rests_is_woken_and_one_that_talks_on_is_left_alone():
    uart = Receiver(True)
    gnss = Gnss(uart)
    gnss.rest(60_000, 1000)
    assert gnss.is_resting and uart.written == [ubx.sleep(60_000)]
    uart.waiting = b"$GN"  # its last words
    gnss.step(1800)
    assert gnss.is_resting and gnss.refusals == 0
    gnss.rest(60_000, 2000)
    assert len(uart.written) == 1  # it sleeps already
    assert gnss.wait_ms(5000) == 56_000
    gnss.step(61_001)
    assert not gnss.is_resting and gnss.wait_ms(61_001) == 300
    gnss.wake()
    assert len(uart.written) == 1  # awake by itself
    gnss.rest(60_000, 70_000)
    gnss.wake()
    assert uart.written[-1] == b"\xff" and not gnss.is_resting
    for attempt in range(5):
        start_ms = 200_000 + 100_000 * attempt
        gnss.rest(60_000, start_ms)
        uart.waiting = b"$GNRMC,"
        gnss.step(start_ms + 3000)
        assert not gnss.is_resting
    assert gnss.refusals == 3 and len(uart.written) == 6
