"""Status payload (port 3): pages of health, identity and counters; `Status`, `StatusEncoder`.

Attributes of `Status` (None: unknown, sent as such):
power page:   battery_mv, battery_trend_mv_day, supply_mv, temperature_c, sensor_snr_db, tilt_deg,
              faults (bit map FAULT_...), is_last_gasp
identity page: firmware_major, firmware_minor, firmware_patch, reset_reason (RESET_...),
              boots, uptime_h, config_number (the number of the thresholds in force)
log page:     sequence (newest of the log), stored (readings kept), rain_tips (running total)
link page:    uplinks, downlinks, joins, downlink_snr_db, downlink_rssi_dbm, airtime_s
"""

from protocols.errors import LocalError

FAULT_SENSOR, FAULT_SENSOR_NOISY, FAULT_SENSOR_DISAGREE, FAULT_RAIN = 1, 2, 4, 8
FAULT_BATTERY, FAULT_SUPPLY, FAULT_CLOCK, FAULT_STORE = 16, 32, 64, 128
FAULT_TILT, FAULT_TAMPER, FAULT_GNSS, FAULT_SIREN = 256, 512, 1024, 2048
FAULT_RADIO, FAULT_SAFE_MODE, FAULT_UPDATE, FAULT_MEMORY = 4096, 8192, 16384, 32768

RESET_UNKNOWN, RESET_POWER, RESET_WATCHDOG, RESET_SOFT, RESET_COMMAND = 0, 1, 2, 3, 4
RESET_CRASH, RESET_UPDATE, RESET_ROLLBACK, RESET_BROWNOUT, RESET_DEEP_SLEEP = 5, 6, 7, 8, 9


class Status:
    """The values of all pages; every attribute starts as None but the flags, which are False/0."""


class StatusEncoder:
    """Sends the pages in turn: `encode_into(buf, limit)` puts as many pages as fit (one in 11 B)."""

    def __init__(self, status: Status) -> None:
        raise LocalError("unfinished")

    def encode_into(self, buf: bytearray, limit: int) -> int:
        """Return the length; the pages not sent come first in the next call."""
        raise LocalError("unfinished")


def decode_status(data: bytes) -> "dict[str, int | None]":
    """The values of the pages in `data` by name. Raises RemoteError."""
    raise LocalError("unfinished")
