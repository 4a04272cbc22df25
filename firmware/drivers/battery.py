"""Battery and solar voltage: `Voltmeter`."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import ADC, Pin


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
