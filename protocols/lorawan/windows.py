"""When and how long to listen: `Window`, computed before an uplink, for no allocation after it.

A downlink's preamble starts a fixed delay after the end of the uplink, but both clocks err and the
radio is switched on with some jitter. The window is therefore opened early enough, and kept open
for enough symbols, that `rx_symbols_min` symbols of the preamble are seen at either extreme.

Sources: LoRaWAN L2 1.0.4 section 3.3; Semtech AN1200.24; the same rule as LoRaMac-node's
`RegionCommonComputeRxWindowParameters`.
"""

from protocols.lorawan.airtime import airtime_us, symbol_us
from protocols.lorawan.interface import Radio, Settings
from protocols.lorawan.regions import FSK_50, Region

SYMBOLS_MAX = 248  # what an SX126x can count


class Window:
    """One window: its radio settings and its times in ms after the end of the uplink."""

    def __init__(self) -> None:
        self.is_open = False  # False: cannot be received by LoRa, skip
        self.freq_hz = 0
        self.sf = 0
        self.bw_hz = 0
        self.symbols = 0
        self.open_ms = 0
        self.late_ms = 0  # opening later than this sees too little preamble
        self.end_ms = 0  # a frame that began in the window is over by then

    def plan(
        self, region: Region, settings: Settings, freq_hz: int, dr: int, delay_ms: int
    ) -> None:
        """Compute all for a downlink at `dr` that starts `delay_ms` after the uplink's end."""
        rate = region.data_rates[dr] if dr < len(region.data_rates) else None
        self.is_open = rate is not None and rate != FSK_50
        if rate is None or rate == FSK_50:
            self.open_ms = self.late_ms = self.end_ms = delay_ms
            return
        self.freq_hz = freq_hz
        self.sf, self.bw_hz = rate
        symbol = symbol_us(self.sf, self.bw_hz)
        error_us = settings.rx_error_ms * 1000 + delay_ms * settings.clock_error_ppm // 1000
        least = settings.rx_symbols_min
        symbols = -(-((2 * least - 8) * symbol + 2 * error_us) // symbol)
        self.symbols = min(max(symbols, least), SYMBOLS_MAX)
        lead_us = self.symbols * symbol // 2 - 4 * symbol + settings.wake_up_ms * 1000
        self.open_ms = delay_ms + -lead_us // 1000  # rounded to the early side
        self.late_ms = delay_ms + max(0, (8 - least) * symbol // 1000) + settings.rx_error_ms
        self.end_ms = (
            self.late_ms
            + (self.symbols * symbol + airtime_us(self.sf, self.bw_hz, 255, crc=False)) // 1000
            + 500
        )

    def tune(self, radio: Radio) -> None:
        """Set the radio for this window. Allocates nothing."""
        radio.freq_hz = self.freq_hz
        radio.sf = self.sf
        radio.bw_hz = self.bw_hz
        radio.iq_inverted = True
        radio.crc_on = False
        radio.is_continuous = False
        radio.symbol_timeout = self.symbols
