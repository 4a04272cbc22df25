"""Boards as data: `load(name)` gives a `Board`; `NAMES` lists the boards we know.

A board is a module of this package with one dictionary, `VALUES`: plain integers, so that a new
board needs no new code. `-1` stands for "not fitted". The keys, their meaning and their range are
the table `KEYS`; a key that is missing there, or a value out of its range, is refused at load by
an error that names board, key, value and range.
"""

NAMES = ("unix-pico", "unix-case", "pico-waveshare", "heltec-v3", "tbeam-supreme")
ABSENT = -1

# key, lowest, highest, needed
KEYS = (
    # 1: `machine.lightsleep(ms)` ends on an edge of any pin with a handler, as on the RP2040
    # (micropython issue 7035). 0: it does not, or nobody has tried: `time.sleep_ms` then.
    ("light_sleep", 0, 1, True),
    ("spi", 0, 3, True),  # machine.SPI number of the radio
    ("spi_sck", 0, 48, True),
    ("spi_mosi", 0, 48, True),
    ("spi_miso", 0, 48, True),
    ("spi_hz", 100_000, 16_000_000, True),  # SX126x: 16 MHz at most (datasheet 8.2)
    ("radio_cs", 0, 48, True),
    ("radio_reset", 0, 48, True),
    ("radio_busy", 0, 48, True),
    ("radio_dio1", 0, 48, True),
    ("radio_tcxo_mv", 0, 3300, True),  # 0: a crystal; else the TCXO's supply from DIO3
    ("radio_tcxo_us", 0, 100_000, False),  # its start-up time
    ("radio_dio2_switch", 0, 1, True),  # 1: DIO2 drives the antenna switch
    ("radio_dcdc", 0, 1, True),  # 1: the DC-DC coil is fitted
    ("radio_power_max_dbm", -9, 22, True),  # at the chip; the region's limit is apart from it
    ("radio_antenna_gain_db", -20, 20, False),  # gain less cable loss, taken off the EIRP
    ("rs485_uart", 0, 2, False),
    ("rs485_tx", 0, 48, False),
    ("rs485_rx", 0, 48, False),
    ("rs485_de", 0, 48, False),  # high while we drive the line
    ("rs485_power", 0, 48, False),  # high: the sensor has its supply
    ("gnss_uart", 0, 2, False),
    ("gnss_tx", 0, 48, False),
    ("gnss_rx", 0, 48, False),
    ("gnss_baud", 4800, 460_800, False),
    ("wired_de", 0, 48, False),  # direction of the wired gateway's line, on the same UART
    ("gnss_power", 0, 48, False),
    ("gnss_power_on", 0, 1, False),  # the level that switches the receiver on
    ("rain", 0, 48, False),  # reed contact to ground, pulled up: one falling edge a tip
    ("supply", 0, 48, False),  # low while the outside supply is missing (power-good, open drain)
    ("float", 0, 48, False),  # float switch to ground, pulled up: low is wet
    ("siren", 0, 48, False),  # high sounds
    ("siren_test", 0, 48, False),  # high: the amplifier's silent test (docs/siren.md)
    ("siren_adc", 0, 48, False),  # the amplifier's current, as proof of sound
    ("siren_full_ma", 100, 60_000, False),  # for 65535 of `read_u16`
    ("sos", 0, 48, False),  # button to ground, pulled up
    ("buzzer", 0, 48, False),
    ("led", 0, 48, False),
    ("led_on", 0, 1, False),  # the level that lights it
    ("battery_adc", 0, 48, False),
    ("battery_full_mv", 1000, 60_000, False),  # at the cell, for 65535 of `read_u16`
    ("battery_enable", 0, 48, False),  # drives the divider
    ("battery_enable_on", 0, 1, False),
    ("solar_adc", 0, 48, False),
    ("solar_full_mv", 1000, 60_000, False),
    ("i2c", 0, 1, False),  # bus of the chips in the case, with its pins
    ("i2c_sda", 0, 48, False),
    ("i2c_scl", 0, 48, False),
    ("accel", 1, 2, False),  # 1: LIS2DH12, 2: MPU-6050
    ("humidity", 1, 1, False),  # 1: SHT30, SHT31 or SHT35
    ("lid", 0, 48, False),  # switch to ground, pulled up: low while the case is shut
    ("pmu_i2c", 0, 1, False),  # AXP2101: which bus, and where
    ("pmu_sda", 0, 48, False),
    ("pmu_scl", 0, 48, False),
    ("pmu_rails", 0, 63, False),  # AXP2101 register 0x90 bits to set: ALDO1 is bit 0
)


class BoardError(Exception):
    """A board's data is wrong, or there is no such board: a person must act."""


class Board:
    """The checked values of one board."""

    def __init__(self, name: str, values: dict[str, int]) -> None:
        self.name = name
        self._values = values
        known: list[str] = []
        for key, low, high, needed in KEYS:
            known.append(key)
            value = values.get(key, ABSENT)
            if value == ABSENT and not needed:
                continue
            if key not in values:
                raise BoardError("board %s: %s is missing" % (name, key))
            if not low <= value <= high:
                raise BoardError(
                    "board %s: %s = %d is outside %d..%d" % (name, key, value, low, high)
                )
        for key in values:
            if key not in known:
                raise BoardError("board %s: there is no key %s" % (name, key))

    def get(self, key: str) -> int:
        """The value of `key`, or `ABSENT` when the board has no such part."""
        return self._values.get(key, ABSENT)

    def has(self, key: str) -> bool:
        return self.get(key) != ABSENT


def load(name: str) -> Board:
    """The board `name`; raises `BoardError` when unknown or wrong."""
    if name not in NAMES:
        raise BoardError("board %s is not known; there are: %s" % (name, ", ".join(NAMES)))
    module = "firmware.boards." + name.replace("-", "_")
    found = __import__(module, None, None, ("VALUES",))
    return Board(name, found.VALUES)
