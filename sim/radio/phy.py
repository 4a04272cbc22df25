"""What is true of every LoRa link: airtime, noise floor, SNR limits, rejection between factors.

Written from the SX1261/2 data sheet (DS.SX1261-2.W.APP, 6.1.4 and table 3-10) and not from
`protocols.lorawan.airtime`, which it therefore can check.
"""

import math

# SNR at which a packet is just decoded, dB (SX1261/2 data sheet, 6.1.1.1).
SNR_LIMIT_DB = {5: -2.5, 6: -5.0, 7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}

# Rejection of one interferer, dB: wanted SF -> interfering SF -> least signal-to-interference
# ratio. Between factors after Croce et al., "Impact of LoRa Imperfect Orthogonality" (IEEE Comm.
# Letters 22/4, 2018), table I; within one factor the classic 6 dB of capture (Goursaud and Gorce,
# 2015), which is on the careful side of Croce's 1 dB.
CAPTURE_DB = 6.0
_BETWEEN_DB = {
    7: {8: -8, 9: -9, 10: -9, 11: -9, 12: -9},
    8: {7: -11, 9: -11, 10: -12, 11: -13, 12: -13},
    9: {7: -15, 8: -13, 10: -13, 11: -14, 12: -15},
    10: {7: -19, 8: -18, 9: -17, 11: -17, 12: -18},
    11: {7: -22, 8: -22, 9: -21, 10: -20, 12: -20},
    12: {7: -25, 8: -25, 9: -25, 10: -24, 11: -23},
}


def symbol_us(sf: int, bw_hz: int) -> float:
    """Length of one symbol in microseconds."""
    return (1 << sf) * 1e6 / bw_hz


def low_data_rate(sf: int, bw_hz: int) -> bool:
    """Whether the optimisation is due: symbols of 16.38 ms or more (6.1.1.4)."""
    return symbol_us(sf, bw_hz) >= 16_380


def payload_symbols(sf: int, length: int, cr: int, *, explicit: bool, crc: bool, ldro: bool) -> int:
    """Symbols after the preamble and start delimiter, `cr` 1..4 for 4/5..4/8."""
    if sf >= 7:
        bits = 8 * length + (16 if crc else 0) - 4 * sf + 8 + (20 if explicit else 0)
        per = 4 * (sf - 2 if ldro else sf)
    else:
        bits = 8 * length + (16 if crc else 0) - 4 * sf + (20 if explicit else 0)
        per = 4 * sf
    return 8 + math.ceil(max(bits, 0) / per) * (cr + 4)


def preamble_symbols(sf: int, preamble: int) -> float:
    """Symbols of the preamble with its start delimiter."""
    return preamble + (4.25 if sf >= 7 else 6.25)


def airtime_us(
    sf: int,
    bw_hz: int,
    length: int,
    cr: int = 1,
    preamble: int = 8,
    *,
    explicit: bool = True,
    crc: bool = True,
    ldro: bool | None = None,
) -> int:
    """Time on air of one packet, rounded to whole microseconds."""
    slow = low_data_rate(sf, bw_hz) if ldro is None else ldro
    symbols = preamble_symbols(sf, preamble) + payload_symbols(
        sf, length, cr, explicit=explicit, crc=crc, ldro=slow
    )
    return round(symbols * symbol_us(sf, bw_hz))


def noise_dbm(bw_hz: int, noise_figure_db: float) -> float:
    """Thermal noise in the channel as the receiver sees it."""
    return -174.0 + 10.0 * math.log10(bw_hz) + noise_figure_db


def packet_success(margin_db: float, symbols: int) -> float:
    """Chance that a packet is decoded `margin_db` above its SNR limit.

    A steep curve: at the limit 0.99 for a packet of 50 symbols (the data sheet's sensitivity is
    for 1 % packet error), half of them 1 dB below; longer packets do a little worse.
    """
    per_symbol = 1.0 / (1.0 + math.exp(4.6 * (margin_db + 1.0) + 3.9))
    return (1.0 - per_symbol) ** max(symbols, 1)


def rejection_db(wanted_sf: int, other_sf: int, *, same_polarity: bool) -> float:
    """Least signal-to-interference ratio at which the wanted packet survives, dB."""
    if wanted_sf == other_sf and same_polarity:
        return CAPTURE_DB
    if wanted_sf == other_sf:
        # Up and down chirps of one factor correlate as little as two factors do.
        return min(_BETWEEN_DB.get(wanted_sf, {}).values(), default=-8)
    return _BETWEEN_DB.get(wanted_sf, {}).get(other_sf, -8)
