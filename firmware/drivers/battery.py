"""Battery and solar voltage: `Voltmeter`; the battery's trend, its resistance: `Trend`, `Sag`."""

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import ADC, Pin


_SAGS_FIRST = const(8)  # that make a first resistance; then one an hour
_HOUR_S = const(3600)


class Voltmeter:
    """`full_mv` is the voltage at the cell for 65535 of the converter, divider included."""

    def __init__(
        self, adc: "ADC", full_mv: int, enable: "Pin | None" = None, enable_on: int = 1
    ) -> None:
        self._adc = adc
        self._full_mv = full_mv
        self._enable = enable
        self._enable_on = enable_on

    def read_mv(self) -> int:
        """Mean of four conversions, mV."""
        if self._enable is not None:
            self._enable.value(self._enable_on)
        total = 0
        for _ in range(4):
            total += self._adc.read_u16()
        if self._enable is not None:
            self._enable.value(1 - self._enable_on)
        # total * full overflows 30 bits, so the low bits of both go first: under 1 mV of error.
        return (total >> 6) * (self._full_mv >> 2) // 1024


class Trend:
    """Millivolts a day, from one reading an hour: `push` and `mv_per_day` (None at first)."""

    def __init__(self, capacity: int = 24) -> None:
        self._values = [0] * capacity
        self._count = 0
        self.mv_per_day: int | None = None

    def push(self, millivolts: int) -> None:
        """One reading, an hour after the last."""
        size = len(self._values)
        self._values[self._count % size] = millivolts
        self._count += 1
        if self._count >= 6:
            kept = min(self._count, size)
            oldest = self._values[(self._count - kept) % size]
            self.mv_per_day = (millivolts - oldest) * 24 // (kept - 1)


class Sag:
    """The battery's internal resistance, from its voltage before and under the radio's load."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0  # micro-ohm/100, smoothed over about eight
        self._due_s = 0
        self._rest_mv = 0
        self.is_armed = False  # an uplink begins: measure under its load

    @property
    def mohm(self) -> "int | None":
        """Milliohm, from eight uplinks on; None before."""
        return None if self._count < _SAGS_FIRST else self._mean // 10

    def arm(self, rest_mv: int, uptime_s: int) -> None:
        """An uplink begins; at first each is measured, later one an hour."""
        if uptime_s >= self._due_s:
            self._rest_mv = rest_mv
            self.is_armed = True

    def measure(self, loaded_mv: int, load_ma: int, uptime_s: int) -> None:
        """The voltage while the radio draws `load_ma`."""
        self.is_armed = False
        found = max(0, self._rest_mv - loaded_mv) * 10_000 // max(1, load_ma)
        self._count += 1
        # The mean of the first eight, then each new one counts for an eighth.
        self._mean += (found - self._mean) // min(self._count, _SAGS_FIRST)
        if self._count >= _SAGS_FIRST:
            self._due_s = uptime_s + _HOUR_S


def tx_ma(power_dbm: int) -> int:
    """The SX1262's current while it sends, mA, with the PA settings of our driver (for +22 dBm).

    Data sheet rev 2.1, table 3-5, 868/915 MHz: 118 mA at +22, 102 at +20, 95 at +17, 90 at +14 dBm.
    """
    if power_dbm >= 20:
        return 102 + 8 * (power_dbm - 20)
    if power_dbm >= 14:
        return 90 + 2 * (power_dbm - 14)
    return max(40, 90 - 5 * (14 - power_dbm))
