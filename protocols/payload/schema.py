"""The bit layouts of all payloads, as tables: encoder, decoder, docs and JavaScript read them.

A field is (name, bits, low, step, rule): value = low + raw * step, most significant bit first.
Rules: EXACT must fit, else LocalError; SATURATE is clamped to the range; OPTIONAL is clamped and
all ones mean "missing" (None); MODULO carries the low bits of a counter.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Field = tuple[str, int, int, int, int]
    Layout = tuple[Field, ...]

EXACT, SATURATE, OPTIONAL, MODULO = 0, 1, 2, 3

VERSION_FIELD = ("version", 2, 0, 1, EXACT)

# The sampling grids; index 7 in a frame says that the extended head follows.
INTERVALS_S = (10, 60, 300, 600, 900, 1800, 3600)
GRID_EXTENDED = 7

SEQUENCE = ("sequence", 30, 0, 1, EXACT)
TIME = ("time_s", 30, 0, 1, EXACT)
LATITUDE = ("lat_e5", 25, -9000000, 1, OPTIONAL)
LONGITUDE = ("lon_e5", 26, -18000000, 1, OPTIONAL)
LEVEL = ("level_mm", 14, -1024, 1, OPTIONAL)

# ---- port 1: flood ----
FLOOD_HEAD = (
    VERSION_FIELD,
    ("stage", 2, 0, 1, EXACT),
    ("has_fault", 1, 0, 1, EXACT),
    ("sequence_low", 8, 0, 1, MODULO),
    ("grid", 3, 0, 1, EXACT),
    ("slot_low", 6, 0, 1, MODULO),
    LEVEL,
    ("rain_tips", 10, 0, 1, MODULO),
)
FLOOD_EXTENDED = (  # when grid is 7
    ("grid", 3, 0, 1, EXACT),
    ("is_clock_unset", 1, 0, 1, EXACT),
    ("has_rain", 1, 0, 1, EXACT),
    ("has_segments", 1, 0, 1, EXACT),
)
# After the head: a bit 1, the kind (3 bits) and its value, as often as wanted; then a bit 0.
FLOOD_EXTRAS = (
    ("battery_mv", 6, 2400, 30, OPTIONAL),
    ("temperature_c", 6, -10, 1, OPTIONAL),
    ("quality", 6, 0, 1, OPTIONAL),
    ("tilt_deg", 6, 0, 1, OPTIONAL),
    ("sensor_snr_db", 6, 0, 1, OPTIONAL),
    ("downlink_snr_db", 6, -32, 1, OPTIONAL),
    ("config_number", 6, 0, 1, OPTIONAL),
    ("sequence_high", 6, 0, 1, MODULO),
)
FLOOD_MODE = ("mode", 4, 0, 1, EXACT)

# ---- port 2: track ----
TRACK_INTERVALS_S = (10, 20, 30, 60, 120, 300, 600)
TRACK_HEAD = (
    VERSION_FIELD,
    ("state", 3, 0, 1, EXACT),
    ("is_absolute", 1, 0, 1, EXACT),
    ("sequence_low", 7, 0, 1, MODULO),
    ("grid", 3, 0, 1, EXACT),
    ("slot_low", 6, 0, 1, MODULO),
)
TRACK_EXTENDED = (  # when grid is 7
    ("grid", 3, 0, 1, EXACT),
    ("is_clock_unset", 1, 0, 1, EXACT),
    ("is_drill", 1, 0, 1, EXACT),
    ("has_fault", 1, 0, 1, EXACT),
    ("has_segments", 1, 0, 1, EXACT),
)
TRACK_MODULO = (("lat_low", 18, 0, 1, MODULO), ("lon_low", 18, 0, 1, MODULO))
TRACK_ABSOLUTE = (("lat_e5", 25, -9000000, 1, EXACT), ("lon_e5", 26, -18000000, 1, EXACT))
TRACK_MOTION = (("sog_code", 8, 0, 1, EXACT), ("cog_code", 7, 0, 1, EXACT))
TRACK_MODE = ("mode", 4, 0, 1, EXACT)

# ---- port 3: status; pages of whole bytes, each with this head ----
STATUS_HEAD = (
    VERSION_FIELD,
    ("page", 3, 0, 1, EXACT),
    ("is_last_gasp", 1, 0, 1, EXACT),
    ("is_clock_set", 1, 0, 1, EXACT),
    ("reserved", 1, 0, 1, EXACT),
)
STATUS_PAGES = (
    (  # 0 power
        ("battery_mv", 11, 0, 8, OPTIONAL),
        ("battery_trend_mv_day", 7, -63, 1, OPTIONAL),
        ("supply_mv", 10, 0, 32, OPTIONAL),
        ("temperature_c", 7, -40, 1, OPTIONAL),
        ("battery_mohm", 10, 0, 2, OPTIONAL),
        ("sensor_snr_db", 6, 0, 1, OPTIONAL),
        ("tilt_deg", 6, 0, 1, OPTIONAL),
        ("faults", 16, 0, 1, EXACT),
        ("humidity_pct", 7, 0, 1, OPTIONAL),
    ),
    (  # 1 identity
        ("firmware_major", 5, 0, 1, OPTIONAL),
        ("firmware_minor", 7, 0, 1, OPTIONAL),
        ("firmware_patch", 8, 0, 1, OPTIONAL),
        ("reset_reason", 4, 0, 1, OPTIONAL),
        ("boots", 16, 0, 1, MODULO),
        ("uptime_h", 16, 0, 1, SATURATE),
        ("config_number", 6, 0, 1, OPTIONAL),
        ("role", 4, 0, 1, OPTIONAL),
        ("board", 6, 0, 1, OPTIONAL),
        ("crashes", 8, 0, 1, SATURATE),
    ),
    (  # 2 log
        SEQUENCE,
        ("stored", 20, 0, 1, SATURATE),
        ("rain_tips", 24, 0, 1, MODULO),
        ("store_errors", 6, 0, 1, SATURATE),
    ),
    (  # 3 link
        ("uplinks", 20, 0, 1, MODULO),
        ("downlinks", 16, 0, 1, MODULO),
        ("joins", 10, 0, 1, MODULO),
        ("downlink_snr_db", 6, -32, 1, OPTIONAL),
        ("downlink_rssi_dbm", 7, -140, 1, OPTIONAL),
        ("airtime_s", 20, 0, 1, MODULO),
    ),
    (  # 4 sensor and release
        ("sensor_error", 3, 0, 1, OPTIONAL),
        ("sensor_exception", 8, 0, 1, OPTIONAL),
        ("sensor_silences", 16, 0, 1, MODULO),
        ("sensor_refusals", 12, 0, 1, MODULO),
        ("sensor_invalids", 16, 0, 1, MODULO),
        ("release", 24, 0, 1, OPTIONAL),
        ("is_on_trial", 1, 0, 1, EXACT),
    ),
)

# ---- port 4: events ----
EVENT_HEAD = (
    VERSION_FIELD,
    ("kind", 5, 0, 1, EXACT),
    ("is_drill", 1, 0, 1, EXACT),
    ("number", 8, 0, 1, MODULO),
    ("time_low", 14, 0, 1, MODULO),
)
_EVENT_POSITION = (LATITUDE, LONGITUDE, ("fix_age_s", 7, 0, 10, OPTIONAL))
EVENTS = (
    ("reserved", ()),
    ("sos", _EVENT_POSITION),
    ("sos_cancel", _EVENT_POSITION),
    ("mob", _EVENT_POSITION),
    (
        "stage",
        (
            ("stage", 2, 0, 1, EXACT),
            ("previous_stage", 2, 0, 1, EXACT),
            LEVEL,
            ("rate_mm_10min", 13, -4095, 1, OPTIONAL),
            ("is_float_switch", 1, 0, 1, EXACT),
            ("config_number", 6, 0, 1, OPTIONAL),
        ),
    ),
    ("tamper", (("cause", 3, 0, 1, EXACT), ("battery_mv", 11, 0, 8, OPTIONAL))),
    (
        "siren",
        (
            ("command_number", 16, 0, 1, EXACT),
            ("cause", 3, 0, 1, EXACT),
            ("pattern", 3, 0, 1, EXACT),
            ("duration_s", 10, 0, 1, SATURATE),
            ("proof", 3, 0, 1, EXACT),
            ("current_ma", 10, 0, 10, OPTIONAL),
        ),
    ),
    ("last_gasp", (("battery_mv", 11, 0, 8, OPTIONAL), ("supply_mv", 10, 0, 32, OPTIONAL))),
    ("fault", (("faults", 16, 0, 1, EXACT), ("is_cleared", 1, 0, 1, EXACT))),
    (
        "geofence",
        (("fence", 4, 0, 1, EXACT), ("is_inside", 1, 0, 1, EXACT), LATITUDE, LONGITUDE),
    ),
)

# ---- port 5: back-fill ----
BACKFILL_HEAD = (VERSION_FIELD, ("kind", 2, 0, 1, EXACT))
BACKFILL_KINDS = ("flood", "track", "missing")
# Then the spacings (see `spacing`), a mode and older readings as in ports 1 and 2.
BACKFILL_FLOOD = (
    ("sequence_low", 16, 0, 1, MODULO),
    ("slot_low", 20, 0, 1, MODULO),
    LEVEL,
    ("rain_tips", 10, 0, 1, MODULO),
    ("has_rain", 1, 0, 1, EXACT),
)
BACKFILL_TRACK = (
    ("sequence_low", 16, 0, 1, MODULO),
    ("slot_low", 20, 0, 1, MODULO),
    ("is_absolute", 1, 0, 1, EXACT),  # then TRACK_ABSOLUTE or TRACK_MODULO
)
BACKFILL_MISSING = (SEQUENCE, ("count", 20, 1, 1, EXACT))

# ---- port 10: commands, and port 6: their answers ----
COMMAND_HEAD = (
    VERSION_FIELD,
    ("kind", 5, 0, 1, EXACT),
    ("has_mac", 1, 0, 1, EXACT),
    ("number", 16, 0, 1, EXACT),
)
_THRESHOLD = (15, -16384, 1, EXACT)
COMMANDS = (
    ("reserved", ()),
    ("gap", (("first_sequence", 30, 0, 1, EXACT), ("count", 12, 1, 1, EXACT))),
    (
        "thresholds",
        (
            ("config_number", 6, 0, 1, EXACT),
            ("waspada_mm",) + _THRESHOLD,
            ("siaga_mm",) + _THRESHOLD,
            ("awas_mm",) + _THRESHOLD,
            ("hysteresis_mm", 10, 0, 1, EXACT),
            ("hold_s", 8, 0, 15, EXACT),
        ),
    ),
    (
        "intervals",
        (
            ("config_number", 6, 0, 1, EXACT),
            ("calm", 3, 0, 1, EXACT),
            ("rising", 3, 0, 1, EXACT),
            ("stage", 3, 0, 1, EXACT),
            ("storm", 3, 0, 1, EXACT),
            ("rising_mm_10min", 10, 0, 1, EXACT),
        ),
    ),
    ("storm", (("until_time_s", 30, 0, 1, EXACT),)),
    ("time", (TIME,)),
    ("reboot", (("delay_s", 10, 0, 1, EXACT), ("is_safe_mode", 1, 0, 1, EXACT))),
    (
        "siren",
        (
            ("pattern", 3, 0, 1, EXACT),
            ("duration_s", 10, 0, 1, EXACT),
            ("expires_time_s", 30, 0, 1, EXACT),
        ),
    ),
    ("silence", (("expires_time_s", 30, 0, 1, EXACT),)),
    ("sos_step", (("event_number", 8, 0, 1, EXACT), ("step", 3, 0, 1, EXACT))),
    ("contract", (("error_m", 12, 0, 1, EXACT), ("heartbeat_s", 12, 0, 10, EXACT))),
    (
        "geofence",
        (
            ("fence", 4, 0, 1, EXACT),
            ("lat_e5", 25, -9000000, 1, EXACT),
            ("lon_e5", 26, -18000000, 1, EXACT),
            ("radius_m", 16, 0, 1, EXACT),
            ("is_forbidden", 1, 0, 1, EXACT),
        ),
    ),
    ("status", (("pages", 8, 0, 1, EXACT),)),
    ("test", (("is_audible", 1, 0, 1, EXACT),)),
    ("drill", (("until_time_s", 30, 0, 1, EXACT),)),
)
ANSWER = (
    VERSION_FIELD,
    ("kind", 5, 0, 1, EXACT),
    ("number", 16, 0, 1, EXACT),
    ("result", 3, 0, 1, EXACT),
    ("value", 16, 0, 1, EXACT),
)
