"""Exact time on air of LoRa and FSK frames: `airtime_us`, `symbol_us`, `fsk_airtime_us`.

Source: Semtech AN1200.13 section 4 and SX1261/2 datasheet section 6.1.4.
"""


def symbol_us(sf: int, bw_hz: int) -> int:
    """The length of one symbol in microseconds (exact for 125, 250 and 500 kHz)."""
    return (1 << sf) * 1000 // (bw_hz // 1000)


def airtime_us(
    sf: int,
    bw_hz: int,
    payload_len: int,
    coding_rate: int = 1,
    preamble: int = 8,
    explicit_header: bool = True,
    crc: bool = True,
) -> int:
    """Time on air in microseconds of `payload_len` (0..255) bytes of PHYPayload.

    `sf` is 7..12, `coding_rate` 1..4 for 4/5..4/8, `preamble` in symbols before the 4.25 of
    sync. Low data rate optimisation is on when a symbol lasts 16 ms or more, as LoRaWAN has it.
    An uplink has a CRC, a downlink has none. Allocates nothing.
    """
    symbol = symbol_us(sf, bw_hz)
    low_rate = 2 if symbol >= 16000 else 0
    bits = 8 * payload_len - 4 * sf + 28 + (16 if crc else 0) - (0 if explicit_header else 20)
    symbols = 8
    if bits > 0:
        per_block = 4 * (sf - low_rate)
        symbols += (bits + per_block - 1) // per_block * (coding_rate + 4)
    return (preamble + symbols) * symbol + 17 * symbol // 4


def fsk_airtime_us(payload_len: int, bit_rate: int = 50000) -> int:
    """Time on air of a LoRaWAN FSK frame: 5 preamble, 3 sync, 1 length, payload, 2 CRC bytes."""
    return (5 + 3 + 1 + payload_len + 2) * 8 * (1000000 // bit_rate)
