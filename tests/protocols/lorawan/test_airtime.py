"""Time on air against published figures."""

from protocols.lorawan.airtime import airtime_us, fsk_airtime_us, symbol_us

# What Semtech's "SX1261 LoRa Calculator" prints, as recorded in micropython-lib,
# micropython/lora/tests/test_time_on_air.py:
# SF, bandwidth, coding rate, preamble, bytes, explicit header, CRC, microseconds.
CALCULATOR = (
    (12, 500000, 1, 8, 1, True, True, 206848),
    (12, 500000, 1, 12, 64, True, True, 649216),
    (12, 500000, 1, 8, 1, True, False, 165888),
    (12, 500000, 1, 8, 192, True, True, 1476608),
    (12, 500000, 1, 12, 16, False, False, 280576),
    (8, 125000, 2, 8, 1, True, True, 53760),
    (8, 125000, 2, 8, 3, True, True, 66048),
    (8, 125000, 2, 8, 3, True, False, 53760),
    (8, 125000, 2, 8, 4, True, False, 53760),
    (8, 125000, 2, 8, 5, True, False, 66048),
    (8, 125000, 2, 8, 253, True, True, 827904),
    (8, 125000, 2, 12, 5, False, True, 61952),
    (8, 125000, 2, 12, 10, False, True, 86528),
    (8, 125000, 2, 12, 253, False, True, 823808),
)

# The public LoRaWAN airtime tables' rows for a join request (23 bytes) and others.
UPLINKS = (
    (7, 125000, 13, 46336),
    (10, 125000, 13, 288768),
    (12, 125000, 13, 1155072),
    (7, 125000, 23, 61696),
    (8, 125000, 23, 113152),
    (9, 125000, 23, 205824),
    (10, 125000, 23, 370688),
    (11, 125000, 23, 823296),
    (12, 125000, 23, 1482752),
    (12, 125000, 64, 2793472),
)


def test_what_semtechs_calculator_prints():
    for row in CALCULATOR:
        sf, bw_hz, coding_rate, preamble, size, header, crc, want_us = row
        assert airtime_us(sf, bw_hz, size, coding_rate, preamble, header, crc) == want_us, row


def test_uplinks_of_the_public_tables():
    for sf, bw_hz, size, want_us in UPLINKS:
        assert airtime_us(sf, bw_hz, size) == want_us, (sf, bw_hz, size)


def test_symbols_and_fsk():
    assert symbol_us(7, 125000) == 1024 and symbol_us(12, 125000) == 32768
    assert symbol_us(7, 250000) == 512 and symbol_us(12, 500000) == 8192
    assert fsk_airtime_us(23) == 34 * 160
