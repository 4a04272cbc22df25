"""The level sensor's driver on a line that stutters, keeps silent, lies and makes noise."""

from firmware.drivers.profiles import NAMES, profile
from firmware.drivers.rs485 import LevelSensor
from protocols.modbus.crc import crc16
from tests.firmware.device.fakes import PinFake


def framed(body):
    crc = crc16(body, 0, len(body))
    return body + bytes([crc & 0xFF, crc >> 8])


class LineFake:
    """A UART with a sensor at its other end: `answer(request)` gives bytes, a few a poll."""

    def __init__(self, answer, chunk=3):
        self.answer = answer
        self.chunk = chunk
        self.waiting = b""
        self.requests = []

    def any(self):
        return min(len(self.waiting), self.chunk)

    def readinto(self, buf, count=-1):
        if count < 0:
            count = len(buf)
        part = self.waiting[: min(count, self.chunk)]
        self.waiting = self.waiting[len(part) :]
        buf[: len(part)] = part
        return len(part)

    def write(self, data):
        request = bytes(data)
        self.requests.append(request)
        self.waiting += self.answer(request)
        return len(request)

    def init(self, baud, bits, parity, stop):
        assert (baud, bits, stop) == (9600, 8, 1)

    def flush(self):
        pass


def registers(values):
    """A sensor of holding registers: address -> value."""

    def answer(request):
        address = request[2] << 8 | request[3]
        value = values.get(address)
        if value is None:
            return framed(bytes([request[0], request[1] | 0x80, 2]))
        return framed(bytes([request[0], request[1], 2, value >> 8, value & 0xFF]))

    return answer


def run(line, count=5, name="geolux-lx80", limit_ms=20_000, de=None, power=None):
    sensor = LevelSensor(line, de, power, profile(name), 1, 9600, None, 0, 50)
    now = (1 << 30) - 700  # the tick counter wraps in the middle of it
    sensor.start(count, now)
    end = now + limit_ms
    while not sensor.is_done and now < end:
        sensor.step(now % (1 << 30))
        now += max(1, sensor.wait_ms(now % (1 << 30)))
    assert sensor.is_done, "the burst never ended"
    assert not sensor.is_running and not sensor.is_active and sensor.wait_ms(now) == -1
    return sensor


def test_a_burst_and_what_the_sensor_says_of_itself():
    de, power = PinFake(), PinFake()
    line = LineFake(registers({1: 3210, 0x1A: 31, 0x1B: 44}))
    sensor = run(line, 5, de=de, power=power)
    assert sensor.values[:5] == [3210] * 5 and sensor.taken == 5
    assert (sensor.temperature_c, sensor.snr_db) == (31, 44)
    assert de.level == 0 and de.writes.count(1) == 7, "drives the line for each request only"
    assert power.level == 0, "the sensor is off between bursts"
    assert line.requests[0] == bytes.fromhex("010300010001d5ca")


def test_silence_costs_its_time_out_and_no_extras():
    line = LineFake(lambda request: b"")
    sensor = run(line, 3)
    assert sensor.values[:3] == [None] * 3 and sensor.silences == 3
    assert len(line.requests) == 3


def test_noise_before_an_answer_is_skipped():
    good = registers({1: 1500, 0x1A: 1, 0x1B: 2})
    line = LineFake(lambda request: b"\x00\xff\x5a" + good(request), chunk=64)
    sensor = run(line, 4)
    assert sensor.values[:4] == [1500] * 4
    assert sensor.noise_bytes == 3 * 6


def test_a_damaged_answer_is_no_reading():
    good = registers({1: 1500, 0x1A: 1, 0x1B: 2})

    def bad(request):
        answer = bytearray(good(request))
        answer[3] ^= 0x40
        return bytes(answer)

    sensor = run(LineFake(bad), 3)
    assert sensor.values[:3] == [None] * 3


def test_a_refusal_is_counted():
    sensor = run(LineFake(registers({})), 3)
    assert sensor.refusals == 3 and sensor.values[:3] == [None] * 3


def test_invalid_codes_and_impossible_values_are_missing():
    for value in (0, 0xFFFF, 150, 15_001):
        sensor = run(LineFake(registers({1: value})), 3)
        assert sensor.values[:3] == [None] * 3, value
        assert sensor.invalids == 3


def test_tenths_of_a_millimetre_are_rounded():
    sensor = run(LineFake(registers({5: 12_345, 6: 284})), 2, "dfrobot-urm14")
    assert sensor.values[:2] == [1235, 1235]  # 1,234.5 mm, half away from zero
    assert sensor.temperature_c == 28


def test_every_profile_makes_requests():
    for name in NAMES:
        line = LineFake(lambda request: b"")
        run(line, 1, name)
        assert len(line.requests) == 1 and line.requests[0][1] in (3, 4)


def test_an_unknown_profile_names_the_known_ones():
    try:
        profile("sonar")
        assert False
    except KeyError as error:
        assert "geolux-lx80" in str(error)
