"""AS923 groups 1 to 4: `as923(name)`. Source: RP002-1.0.4 section 2.7, RegionAS923.h."""

from protocols.lorawan.regions import FSK_50, Region

# By group: (offset from group 1 in Hz, band's lowest and highest Hz).
_GROUPS = (
    (0, 915000000, 928000000),
    (-1800000, 920000000, 923000000),
    (-6600000, 915000000, 921000000),
    (-5900000, 917000000, 920000000),
)


def as923(name: str) -> Region:
    """The group called `name`, which must be one of the four."""
    offset_hz, low_hz, high_hz = _GROUPS[int(name[-1]) - 1]
    rows = (
        b"\0\0\0\0\0\0\1\2",
        b"\1\0\0\0\0\0\2\3",
        b"\2\1\0\0\0\0\3\4",
        b"\3\2\1\0\0\0\4\5",
        b"\4\3\2\1\0\0\5\6",
        b"\5\4\3\2\1\0\6\7",
        b"\6\5\4\3\2\1\7\7",
        b"\7\6\5\4\3\2\7\7",
    )
    rows_dwell = (
        b"\2\2\2\2\2\2\2\2",
        b"\2\2\2\2\2\2\2\3",
        b"\2\2\2\2\2\2\3\4",
        b"\3\2\2\2\2\2\4\5",
        b"\4\3\2\2\2\2\5\6",
        b"\5\4\3\2\2\2\6\7",
        b"\6\5\4\3\2\2\7\7",
        b"\7\6\5\4\3\2\7\7",
    )
    return Region(
        name,
        data_rates=(
            (12, 125000),
            (11, 125000),
            (10, 125000),
            (9, 125000),
            (8, 125000),
            (7, 125000),
            (7, 250000),
            FSK_50,
        ),
        payload_max=bytes((51, 51, 115, 115, 242, 242, 242, 242)),
        payload_max_dwell=bytes((0, 0, 11, 53, 125, 242, 242, 242)),
        channels=((923200000 + offset_hz, 0, 5), (923400000 + offset_hz, 0, 5)),
        rx1_table=rows,
        rx1_table_dwell=rows_dwell,
        rx2=(923200000 + offset_hz, 2),
        band_hz=(low_hz, high_hz),
        eirp_dbm=16,
        tx_power_max=7,
        up_dr=(0, 6),
        join_dr=(2, 5),
        down_dr=(0, 7),
        duty=((low_hz, high_hz, 100),),
    )
