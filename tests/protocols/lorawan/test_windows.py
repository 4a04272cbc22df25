"""Receive windows open early and long enough for the worst clock, and no longer."""

from protocols.lorawan.airtime import symbol_us
from protocols.lorawan.interface import Settings
from protocols.lorawan.regions import region
from protocols.lorawan.windows import SYMBOLS_MAX, Window

PREAMBLE = 8


def test_every_window_sees_enough_preamble_at_either_extreme():
    for name in ("AS923-2", "US915", "EU868"):
        r = region(name)
        for dr in range(r.down_dr_min, r.down_dr_max + 1):
            if not r.is_down_dr(dr):
                continue
            for delay_ms in (1000, 2000, 5000, 6000, 15000):
                for ppm, error_ms in ((0, 0), (40, 10), (100, 20), (0, 5)):
                    settings = Settings()
                    settings.clock_error_ppm, settings.rx_error_ms = ppm, error_ms
                    window = Window()
                    window.plan(r, settings, 921400000, dr, delay_ms)
                    symbol = symbol_us(*r.data_rates[dr])
                    error_us = error_ms * 1000 + delay_ms * ppm // 1000
                    least_us = settings.rx_symbols_min * symbol
                    for skew_us in (-error_us, 0, error_us):
                        # The radio hears from `open_ms` plus its wake-up; the preamble is where
                        # the other clock puts it.
                        opens = (window.open_ms + settings.wake_up_ms) * 1000
                        closes = opens + window.symbols * symbol
                        begins = delay_ms * 1000 + skew_us
                        ends = begins + PREAMBLE * symbol
                        seen_us = min(closes, ends) - max(opens, begins)
                        assert seen_us >= least_us - 1000 or window.symbols == SYMBOLS_MAX, (
                            name, dr, delay_ms, ppm, error_ms, skew_us, seen_us, least_us,
                        )  # fmt: skip


def test_windows_are_no_longer_than_needed():
    settings = Settings()
    settings.clock_error_ppm, settings.rx_error_ms = 0, 10
    window = Window()
    window.plan(region("AS923-2"), settings, 921400000, 5, 1000)
    # 4 symbols and 2 * 10 ms, of 1.024 ms each; half of it, less 4 symbols, before the preamble.
    assert window.symbols == 24 and window.open_ms == 990
    window.plan(region("AS923-2"), settings, 921400000, 0, 2000)
    assert window.symbols == 6 and window.open_ms > 2000


def test_what_lora_cannot_receive_is_skipped():
    window = Window()
    window.plan(region("AS923-2"), Settings(), 921400000, 7, 1000)
    assert not window.is_open
    window.plan(region("EU868"), Settings(), 868100000, 5, 1000)
    assert window.is_open
