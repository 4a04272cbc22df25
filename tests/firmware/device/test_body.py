"""The case: tilt by two accelerometers, lid, humidity; the battery's resistance."""

from firmware.body import Body, angle_cdeg
from firmware.drivers.battery import Sag, tx_ma
from firmware.drivers.contact import Contact
from firmware.drivers.i2c import LIS2DH12, MPU6050, Accelerometer, Hygrometer, crc8
from firmware.store.record import Record
from protocols.payload.event import EVENT_TAMPER, TAMPER_MOVED, TAMPER_OPENED
from protocols.payload.status import FAULT_TAMPER, FAULT_TILT
from tests.firmware.device.fakes import FlashFake, PinFake

SLEEPS = []


class Bus:
    """A LIS2DH12 at 0x18, an MPU-6050 at 0x69 and a SHT3x at 0x44, by their data sheets."""

    def __init__(self, x, y, z):
        self.mg = (x, y, z)
        self.lis = {0x20: 0x07}  # powered down
        self.mpu = {0x6B: 0x40}  # asleep
        self.has = (0x18, 0x69, 0x44)
        self.sht = b"\xbe\xef\x92\xbe\xef\x92"
        self.last = b""

    def _there(self, address):
        if address not in self.has:
            raise OSError(19)

    def writeto_mem(self, address, register, data):
        self._there(address)
        (self.lis if address == 0x18 else self.mpu)[register] = data[0]

    def readfrom_mem(self, address, register, count):
        self._there(address)
        if address == 0x18:
            if register == 0x0F:
                return b"\x33"
            assert register == 0xA8 and count == 6  # from OUT_X_L on, with auto-increment
            assert self.lis[0x20] == 0x57 and self.lis[0x23] == 0x88
            # High resolution: 12 bits at the left, 1 mg to the digit.
            return b"".join(((v << 4) & 0xFFFF).to_bytes(2, "little") for v in self.mg)
        if register == 0x75:
            return b"\x68"
        assert register == 0x3B and self.mpu[0x6B] == 0 and self.mpu[0x1C] == 0
        return b"".join((v * 16384 // 1000 & 0xFFFF).to_bytes(2, "big") for v in self.mg)

    def writeto(self, address, data):
        self._there(address)
        self.last = data

    def readfrom(self, address, count):
        self._there(address)
        assert self.last == b"\x24\x00" and count == 6
        return self.sht


class Host:
    """What `Body` needs of a node."""

    def __init__(self):
        self.faults = 0
        self.events = []
        self.failed = 0

    def set_fault(self, bit, is_on, now_ms):
        self.faults = self.faults | bit if is_on else self.faults & ~bit

    def post_event(self, kind, values, now_ms, tries=6, is_drill=False):
        assert kind == EVENT_TAMPER and values["battery_mv"] == 3700
        self.events.append(values["cause"])

    def battery_mv(self):
        return 3700

    def store_failed(self, now_ms):
        self.failed += 1


def test_both_accelerometers_read_gravity_and_sleep_again():
    bus = Bus(-17, 500, 866)
    for kind in (LIS2DH12, MPU6050):
        seen = Accelerometer(bus, kind, SLEEPS.append).read_mg()
        for got, true in zip(seen, bus.mg):
            assert abs(got - true) <= 2, (kind, seen)
    assert bus.lis[0x20] == 0 and bus.mpu[0x6B] == 0x40
    bus.has = ()
    lost = Accelerometer(bus, LIS2DH12, SLEEPS.append)
    assert lost.read_mg() is None and lost.failures == 1
    bus.has = (0x18,)
    assert lost.read_mg() is not None  # it came back


def test_angles():
    assert angle_cdeg((0, 0, 1000), (0, 0, 1000)) == 0
    assert angle_cdeg((0, 0, 1000), (0, 35, 999)) in (200, 201)
    assert angle_cdeg((0, 0, 1000), (1000, 0, 0)) == 9000
    assert angle_cdeg((0, 0, 1000), (0, 0, -1000)) == 18000


def test_humidity_is_read_checked_and_missed():
    assert crc8(b"\xbe\xef") == 0x92  # the data sheet's own example
    bus = Bus(0, 0, 1000)
    meter = Hygrometer(bus, SLEEPS.append)
    assert meter.read() == (75, 86)  # 0xBEEF / 65535 of 100 %, of 175 degrees less 45
    bus.sht = b"\xbe\xef\x92\xbe\xee\x92"
    assert meter.read() is None
    bus.has = ()
    assert meter.read() is None and meter.failures == 2


def body_of(host, bus, files, lid=None):
    return Body(
        host, Record(files, "mount"), Accelerometer(bus, LIS2DH12, SLEEPS.append), None, lid, 0
    )


def test_a_mast_that_is_moved_is_told_once_and_forgiven_when_put_back():
    host, bus, files = Host(), Bus(0, 0, 1000), FlashFake()
    body = body_of(host, bus, files)
    time_s = 0
    for _ in range(3):
        body.step(time_s, 0)
        time_s += 600
    assert body.tilt_cdeg == 0 and not host.faults
    bus.mg = (0, 30, 1000)  # 1.7 degrees: wind
    body.step(time_s, 0)
    assert 160 <= body.tilt_cdeg <= 180 and not host.faults
    bus.mg = (0, 60, 998)  # 3.4 degrees
    time_s += 600
    body.step(time_s, 0)
    assert not host.events  # one look proves nothing
    for _ in range(2):
        time_s += 10
        body.step(time_s, 0)
    assert host.events == [TAMPER_MOVED] and host.faults == FAULT_TILT
    time_s += 600
    body.step(time_s, 0)
    assert host.events == [TAMPER_MOVED]
    # A reset does not make the crooked mast the straight one.
    host.faults = 0
    body = body_of(host, bus, files)
    for wait_s in (0, 10, 10):
        time_s += wait_s
        body.step(time_s, 0)
    assert host.faults == FAULT_TILT and host.events == [TAMPER_MOVED, TAMPER_MOVED]
    bus.mg = (0, 0, 1000)
    for wait_s in (600, 10, 10):
        time_s += wait_s
        body.step(time_s, 0)
    assert host.faults == 0 and len(host.events) == 2


def test_a_passing_knock_is_no_move():
    host, bus = Host(), Bus(0, 0, 1000)
    body = body_of(host, bus, FlashFake())
    body.step(0, 0)
    body.step(600, 0)
    for at in range(10):
        bus.mg = (0, 100 if at % 2 == 0 else 0, 1000)
        body.step(1200 + 600 * at, 0)
    assert not host.events and not host.faults


def test_an_open_lid_is_told_and_a_broken_chip_is_silent():
    host, bus, pin = Host(), Bus(0, 0, 1000), PinFake(0)
    bus.has = ()
    lid = Contact(pin, 0)
    body = body_of(host, bus, FlashFake(), lid)
    body.step(0, 0)
    assert body.tilt_cdeg is None and not host.faults
    pin.level = 1
    for now_ms in (0, 50, 100):
        pin.fire()
        body.poll_lid(now_ms)
    assert host.events == [TAMPER_OPENED] and host.faults == FAULT_TAMPER
    pin.level = 0
    for now_ms in (200, 250, 300):
        pin.fire()
        body.poll_lid(now_ms)
    assert host.faults == 0 and host.events == [TAMPER_OPENED]


def test_resistance_from_the_sag_under_the_radio():
    assert (tx_ma(22), tx_ma(20), tx_ma(14)) == (118, 102, 90)
    sag = Sag()
    for number in range(8):
        assert sag.mohm is None
        sag.arm(3700, number)
        assert sag.is_armed
        sag.measure(3700 - (26 if number % 2 else 28), 90, number)
    assert 290 <= sag.mohm <= 311  # 27 mV at 90 mA
    sag.arm(3700, 100)
    assert not sag.is_armed  # an hour later only
    for hour in range(1, 60):
        sag.arm(3700, hour * 3601 + 10)
        assert sag.is_armed
        sag.measure(3610, 90, hour * 3601 + 10)
    assert 990 <= sag.mohm <= 1000  # it aged
