"""Small chips on the I2C bus inside the case: `Accelerometer`, `Hygrometer`.

Both sleep between two readings. A chip that does not answer gives None: whoever asks says so.
Register values: ST LIS2DH12 (DS10913 rev 10, tables 20 ff.), InvenSense MPU-6050 (RM-MPU-6000A
rev 4.2, 4.17 ff.), Sensirion SHT3x-DIS (version 7, 4.3 and 4.12).
"""

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from machine import I2C

LIS2DH12, MPU6050 = 1, 2  # `accel` of a board
_LIS_ADDRESSES = (0x19, 0x18)  # SA0 high (as most modules), low
_MPU_ADDRESSES = (0x68, 0x69)
_SETTLE_MS = const(80)  # LIS2DH12: 7/ODR at 100 Hz; MPU-6050: 30 ms
_SAMPLES = const(8)
_SAMPLE_MS = const(10)
_SHT = const(0x44)
_SHT_MS = const(16)


class Accelerometer:
    """Gravity in the chip's own axes, mean of eight samples in 150 ms; range 2 g."""

    def __init__(self, bus: "I2C", kind: int, sleep_ms: "Callable[[int], None]") -> None:
        self._bus = bus
        self._sleep_ms = sleep_ms
        self._is_lis = kind == LIS2DH12
        self._address = -1
        self.failures = 0

    def _find(self) -> int:
        register, answer = (0x0F, 0x33) if self._is_lis else (0x75, 0x68)
        for address in _LIS_ADDRESSES if self._is_lis else _MPU_ADDRESSES:
            try:
                if self._bus.readfrom_mem(address, register, 1)[0] == answer:
                    return address
            except OSError:
                pass  # nobody there
        return -1

    def read_mg(self) -> "tuple[int, int, int] | None":
        """x, y, z in thousandths of g; blocks for 150 ms."""
        if self._address < 0:
            self._address = self._find()
        if self._address < 0:
            self.failures += 1
            return None
        try:
            return self._read(self._address)
        except OSError:
            self.failures += 1
            self._address = -1
            return None

    def _read(self, address: int) -> "tuple[int, int, int]":
        bus = self._bus
        if self._is_lis:
            bus.writeto_mem(address, 0x23, b"\x88")  # block update, high resolution, 2 g
            bus.writeto_mem(address, 0x20, b"\x57")  # 100 Hz, all axes
            first, stop = 0xA8, (0x20, b"\x00")
        else:
            bus.writeto_mem(address, 0x6B, b"\x00")  # awake
            bus.writeto_mem(address, 0x1C, b"\x00")  # 2 g
            first, stop = 0x3B, (0x6B, b"\x40")
        self._sleep_ms(_SETTLE_MS)
        total = [0, 0, 0]
        for _ in range(_SAMPLES):
            data = bus.readfrom_mem(address, first, 6)
            for axis in range(3):
                low, high = data[2 * axis], data[2 * axis + 1]
                word = (low | high << 8) if self._is_lis else (low << 8 | high)
                total[axis] += word - 65536 if word & 0x8000 else word
            self._sleep_ms(_SAMPLE_MS)
        bus.writeto_mem(address, *stop)
        # Both are 16384 to the g: the LIS's 12 bits stand at the left, 1 mg a digit of 16.
        scale = 16_000 if self._is_lis else 16_384
        x, y, z = (value * 1000 // (scale * _SAMPLES) for value in total)
        return x, y, z


class Hygrometer:
    """A SHT30, SHT31 or SHT35 in the case."""

    def __init__(self, bus: "I2C", sleep_ms: "Callable[[int], None]") -> None:
        self._bus = bus
        self._sleep_ms = sleep_ms
        self.failures = 0

    def read(self) -> "tuple[int, int] | None":
        """Relative humidity in % and temperature in degrees C, rounded; blocks for 16 ms."""
        try:
            self._bus.writeto(_SHT, b"\x24\x00")  # once, high repeatability, no clock stretching
            self._sleep_ms(_SHT_MS)
            data = self._bus.readfrom(_SHT, 6)
        except OSError:
            self.failures += 1
            return None
        if crc8(data[0:2]) != data[2] or crc8(data[3:5]) != data[5]:
            self.failures += 1
            return None
        celsius = (175 * (data[0] << 8 | data[1]) + 32_767) // 65_535 - 45
        return (100 * (data[3] << 8 | data[4]) + 32_767) // 65_535, celsius


def crc8(data: "bytes | bytearray") -> int:
    """Polynomial 0x31, start 0xFF (SHT3x 4.12): 0xBEEF gives 0x92."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc
