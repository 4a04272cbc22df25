"""Status payload (port 3): pages of health, identity and counters; `Status`, `StatusEncoder`.

Attributes of `Status`, page by page (`schema.STATUS_PAGES`; None: unknown, and sent as such):
power:    battery_mv, battery_trend_mv_day, supply_mv, temperature_c, battery_mohm (internal
          resistance under the radio's load), sensor_snr_db, tilt_deg, faults (FAULT_... bits),
          humidity_pct (inside the case)
identity: firmware_major, firmware_minor, firmware_patch, reset_reason (RESET_...), boots,
          uptime_h, config_number (of the thresholds in force), role (ROLE_...), board, crashes
log:      sequence (newest of the log), stored (readings kept), rain_tips (running total),
          store_errors
link:     uplinks, downlinks, joins, downlink_snr_db, downlink_rssi_dbm, airtime_s
sensor:   sensor_error (SENSOR_...: why the last failed burst failed), sensor_exception (Modbus code
          of the last refusal), sensor_silences, sensor_refusals, sensor_invalids (readings since
          the start), release (number of the running one), is_on_trial
and in every page is_last_gasp, is_clock_set.
"""

from protocols.errors import LocalError, RemoteError
from protocols.payload import schema
from protocols.payload.bits import BitReader, BitWriter, check_version, get_fields, put_field
from protocols.payload.ports import VERSION

FAULT_SENSOR, FAULT_SENSOR_NOISY, FAULT_SENSOR_DISAGREE, FAULT_RAIN = 1, 2, 4, 8
FAULT_BATTERY, FAULT_SUPPLY, FAULT_CLOCK, FAULT_STORE = 16, 32, 64, 128
FAULT_TILT, FAULT_TAMPER, FAULT_GNSS, FAULT_SIREN = 256, 512, 1024, 2048
FAULT_RADIO, FAULT_SAFE_MODE, FAULT_UPDATE, FAULT_MEMORY = 4096, 8192, 16384, 32768

RESET_UNKNOWN, RESET_POWER, RESET_WATCHDOG, RESET_SOFT, RESET_COMMAND = 0, 1, 2, 3, 4
RESET_CRASH, RESET_UPDATE, RESET_ROLLBACK, RESET_BROWNOUT, RESET_DEEP_SLEEP = 5, 6, 7, 8, 9

ROLE_FLOOD, ROLE_TRACKER, ROLE_SIREN, ROLE_CABINET = 0, 1, 2, 3

# No burst failed yet; nothing came; bytes that are no frame; a Modbus exception; the sensor itself
# says that it has no value, or one that cannot be (a radar without an echo).
SENSOR_GOOD, SENSOR_NO_ANSWER, SENSOR_CRC, SENSOR_EXCEPTION, SENSOR_NO_ECHO = 0, 1, 2, 3, 4

PAGE_POWER, PAGE_IDENTITY, PAGE_LOG, PAGE_LINK, PAGE_SENSOR = 0, 1, 2, 3, 4


class Status:
    """The values of all pages: optional ones start as None, counters and flags as 0."""

    def __init__(self) -> None:
        self.is_last_gasp = False
        self.is_clock_set = False
        self.battery_mv: int | None = None
        self.battery_trend_mv_day: int | None = None
        self.supply_mv: int | None = None
        self.temperature_c: int | None = None
        self.battery_mohm: int | None = None
        self.sensor_snr_db: int | None = None
        self.tilt_deg: int | None = None
        self.faults = 0
        self.humidity_pct: int | None = None
        self.firmware_major: int | None = None
        self.firmware_minor: int | None = None
        self.firmware_patch: int | None = None
        self.reset_reason: int | None = None
        self.boots = 0
        self.uptime_h = 0
        self.config_number: int | None = None
        self.role: int | None = None
        self.board: int | None = None
        self.crashes = 0
        self.sequence = 0
        self.stored = 0
        self.rain_tips = 0
        self.store_errors = 0
        self.uplinks = 0
        self.downlinks = 0
        self.joins = 0
        self.downlink_snr_db: int | None = None
        self.downlink_rssi_dbm: int | None = None
        self.airtime_s = 0
        self.sensor_error: int | None = None
        self.sensor_exception: int | None = None
        self.sensor_silences = 0
        self.sensor_refusals = 0
        self.sensor_invalids = 0
        self.release: int | None = None
        self.is_on_trial = False


class StatusEncoder:
    """Sends the pages in turn: `encode_into(buf, limit)` puts as many as fit (one in 11 B)."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.page = PAGE_POWER  # the next to go out; set it to answer a request for one
        self._after = -1  # and then this one, when `urge` put another before it
        self._writer = BitWriter()

    def urge(self, page: int) -> None:
        """Put a page before the one whose turn it is."""
        if self._after < 0 and self.page != page:
            self._after = self.page
        self.page = page

    def encode_into(self, buf: bytearray, limit: int) -> int:
        """Write whole pages into buf[:limit]; return the length.

        The pages left out come first in the next call. Raises LocalError("limit") below 11 B,
        LocalError("range") for a value that its page cannot hold.
        """
        writer = self._writer
        writer.start(buf, limit)
        done = 0
        for _ in range(2 * len(schema.STATUS_PAGES)):
            if done & 1 << self.page:
                self.page = (self.page + 1) % len(schema.STATUS_PAGES)
                continue
            if writer.position + page_bits(self.page) > writer.limit:
                break
            self._put_page(writer, self.page)
            done |= 1 << self.page
            self.page = (self.page + 1) % len(schema.STATUS_PAGES)
            if self._after >= 0:
                self.page = self._after
                self._after = -1
        if not done:
            raise LocalError("limit", "%d B hold no status page" % limit)
        return writer.position >> 3

    def _put_page(self, writer: BitWriter, page: int) -> None:
        status = self.status
        writer.put(VERSION, 2)
        writer.put(page, 3)
        writer.put(1 if status.is_last_gasp else 0, 1)
        writer.put(1 if status.is_clock_set else 0, 1)
        writer.put(0, 1)
        for field in schema.STATUS_PAGES[page]:
            value: int | None = getattr(status, field[0])
            put_field(writer, field, None if value is None else int(value))
        writer.finish(0)


def page_bits(page: int) -> int:
    """Length of a page in bits, a multiple of 8."""
    bits = 8
    for field in schema.STATUS_PAGES[page]:
        bits += field[1]
    return (bits + 7) & ~7


def decode_status(data: "bytes | bytearray | memoryview") -> "dict[str, int | None]":
    """The values of the pages in `data` by name, and "pages", a bit map of those that were there.

    Raises RemoteError("version" | "length" | "value").
    """
    reader = BitReader(data)
    values: dict[str, int | None] = {}
    pages = 0
    while True:
        check_version(reader, VERSION)
        head: dict[str, int | None] = {}
        get_fields(reader, schema.STATUS_HEAD[1:], head)
        page = head["page"] or 0
        if page >= len(schema.STATUS_PAGES) or pages & 1 << page or head["reserved"]:
            raise RemoteError("value", "page %d is unknown or there twice" % page)
        pages |= 1 << page
        values["is_last_gasp"] = head["is_last_gasp"]
        values["is_clock_set"] = head["is_clock_set"]
        get_fields(reader, schema.STATUS_PAGES[page], values)
        if reader.get(reader.left & 7):
            raise RemoteError("value", "the padding is not 0")
        if not reader.left:
            values["pages"] = pages
            return values
