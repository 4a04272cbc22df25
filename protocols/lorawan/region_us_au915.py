"""The fixed channel plans: `us915()` and `au915()`.

64 channels of 125 kHz (0..63), 8 wide ones of 500 kHz (64..71), 8 downlink channels of 500 kHz.
Sources: RP002-1.0.4 sections 2.5 and 2.8, RegionUS915.h, RegionAU915.h, RegionBaseUS.c.
"""

from protocols.lorawan.regions import Region

_DOWN = ((12, 500000), (11, 500000), (10, 500000), (9, 500000), (8, 500000), (7, 500000))


def us915() -> Region:
    """United States, 902 to 928 MHz: uplinks DR0..DR3 narrow, DR4 wide; downlinks DR8..DR13."""
    narrow = [(902300000 + 200000 * i, 0, 3) for i in range(64)]
    wide = [(903000000 + 1600000 * i, 4, 4) for i in range(8)]
    return Region(
        "US915",
        data_rates=(
            (10, 125000),
            (9, 125000),
            (8, 125000),
            (7, 125000),
            (8, 500000),
            None,
            None,
            None,
        )
        + _DOWN,
        payload_max=bytes((11, 53, 125, 242, 242, 0, 0, 0, 53, 129, 242, 242, 242, 242)),
        channels=tuple(narrow + wide),
        rx1_table=(
            b"\x0a\x09\x08\x08",
            b"\x0b\x0a\x09\x08",
            b"\x0c\x0b\x0a\x09",
            b"\x0d\x0c\x0b\x0a",
            b"\x0d\x0d\x0c\x0b",
        ),
        rx2=(923300000, 8),
        band_hz=(902000000, 928000000),
        eirp_dbm=30,
        tx_power_max=14,
        up_dr=(0, 4),
        join_dr=(0, 4),
        join_steady=b"\0\4",  # RP002: DR0 and DR4 in turn
        down_dr=(8, 13),
        is_fixed=True,
    )


def au915() -> Region:
    """Australia, 915 to 928 MHz: uplinks DR0..DR5 narrow, DR6 wide; 400 ms dwell by default."""
    narrow = [(915200000 + 200000 * i, 0, 5) for i in range(64)]
    wide = [(915900000 + 1600000 * i, 6, 6) for i in range(8)]
    return Region(
        "AU915",
        data_rates=(
            (12, 125000),
            (11, 125000),
            (10, 125000),
            (9, 125000),
            (8, 125000),
            (7, 125000),
            (8, 500000),
            None,
        )
        + _DOWN,
        payload_max=bytes((51, 51, 51, 115, 242, 242, 242, 0, 53, 129, 242, 242, 242, 242)),
        payload_max_dwell=bytes((0, 0, 11, 53, 125, 242, 242, 0, 53, 129, 242, 242, 242, 242)),
        channels=tuple(narrow + wide),
        rx1_table=(
            b"\x08\x08\x08\x08\x08\x08",
            b"\x09\x08\x08\x08\x08\x08",
            b"\x0a\x09\x08\x08\x08\x08",
            b"\x0b\x0a\x09\x08\x08\x08",
            b"\x0c\x0b\x0a\x09\x08\x08",
            b"\x0d\x0c\x0b\x0a\x09\x08",
            b"\x0d\x0d\x0c\x0b\x0a\x09",
        ),
        rx2=(923300000, 8),
        band_hz=(915000000, 928000000),
        eirp_dbm=30,
        tx_power_max=14,
        up_dr=(0, 6),
        join_dr=(2, 6),
        join_steady=b"\2\6",  # RP002: DR2 and DR6 in turn
        down_dr=(8, 13),
        is_fixed=True,
    )
