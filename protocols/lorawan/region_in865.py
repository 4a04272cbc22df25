"""IN865: `in865()`. Source: RP002-1.0.4 section 2.10, RegionIN865.h."""

from protocols.lorawan.regions import FSK_50, Region


def in865() -> Region:
    """India, 865 to 867 MHz: no duty cycle, 30 dBm, no data rate 6."""
    return Region(
        "IN865",
        data_rates=(
            (12, 125000),
            (11, 125000),
            (10, 125000),
            (9, 125000),
            (8, 125000),
            (7, 125000),
            None,
            FSK_50,
        ),
        payload_max=bytes((51, 51, 51, 115, 242, 242, 0, 242)),
        channels=((865062500, 0, 5), (865402500, 0, 5), (865985000, 0, 5)),
        rx1_table=(
            b"\0\0\0\0\0\0\1\2",
            b"\1\0\0\0\0\0\2\3",
            b"\2\1\0\0\0\0\3\4",
            b"\3\2\1\0\0\0\4\5",
            b"\4\3\2\1\0\0\5\5",
            b"\5\4\3\2\1\0\5\7",
        ),
        rx2=(866550000, 2),
        band_hz=(865000000, 867000000),
        eirp_dbm=30,
        tx_power_max=10,
        up_dr=(0, 5),
        join_dr=(0, 5),
        join_steady=b"\2\2\0",
        down_dr=(0, 7),
    )
