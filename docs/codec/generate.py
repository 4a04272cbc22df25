"""Writes docs/codec/tukad-ts013.js and the tables of docs/payload.md from protocols/payload/schema.

python docs/codec/generate.py          # write them
python docs/codec/generate.py --check  # exit 1 if they are not up to date
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from protocols.filters.stage import NAMES  # noqa: E402
from protocols.payload import history, ports, reckon, schema, track  # noqa: E402

CODEC = ROOT / "docs/codec/tukad-ts013.js"
DOCS = ROOT / "docs/payload.md"
RUNTIME = ROOT / "docs/codec/runtime.js"

RULES = {
    schema.EXACT: "exact",
    schema.SATURATE: "saturates",
    schema.OPTIONAL: "saturates, all ones: unknown",
    schema.MODULO: "low bits of a counter",
}

# What the tables cannot say of each field: its unit and meaning, by name.
TEXTS = {
    "airtime_s": "s sent since the device was made",
    "awas_mm": "mm, where Awas begins",
    "battery_mohm": "milliohm, internal resistance under the radio's load",
    "battery_mv": "mV at the cell",
    "battery_trend_mv_day": "mV per day",
    "board": "number of the board's pin file",
    "boots": "starts since the device was made",
    "calm": "index of the interval in calm weather",
    "cause": "who or what: see `event.TAMPER_...`, `event.SIREN_BY_...`",
    "cog_code": "course over ground in 3 degrees, 127 unknown",
    "command_number": "number of the command that is answered",
    "config_number": "number of the thresholds in force, 0..62",
    "count": "readings",
    "crashes": "starts after a crash",
    "current_ma": "mA of the amplifier while sounding",
    "delay_s": "s",
    "downlink_rssi_dbm": "dBm of the last downlink",
    "downlink_snr_db": "dB of the last downlink",
    "downlinks": "received since the device was made",
    "duration_s": "s of sound",
    "error_m": "m, how far the shore's picture may be off",
    "event_number": "number of the SOS event",
    "expires_time_s": "not to be done after this time",
    "faults": "bit map, `status.FAULT_...`",
    "fence": "number of the geofence",
    "firmware_major": "",
    "firmware_minor": "",
    "firmware_patch": "",
    "first_sequence": "first reading that is asked for",
    "fix_age_s": "s since the position was taken",
    "grid": "index of the interval; 7: the extended head follows",
    "has_fault": "something is wrong; the status payload says what",
    "has_mac": "4 bytes of application MAC end the payload",
    "has_rain": "older readings carry tip totals",
    "has_segments": "spacings follow",
    "heartbeat_s": "s between reports at least",
    "hold_s": "s without support before a stage falls",
    "humidity_pct": "% inside the case",
    "hysteresis_mm": "mm below a threshold before a stage falls",
    "is_absolute": "the position is absolute, else modulo",
    "is_audible": "sound the siren, else test it silently",
    "is_cleared": "the faults are over",
    "is_clock_set": "the device knows the time",
    "is_clock_unset": "the device does not know the time",
    "is_drill": "a drill",
    "is_float_switch": "the float switch said so",
    "is_forbidden": "stay out, else stay in",
    "is_inside": "",
    "is_last_gasp": "the supply is failing",
    "is_on_trial": "the release has not proved itself yet",
    "is_safe_mode": "start in safe mode",
    "joins": "",
    "kind": "",
    "lat_e5": "1e-5 degree north",
    "lat_low": "latitude in 1e-5 degree, modulo 2**18",
    "level_mm": "mm above station zero; the ends of the range mean beyond",
    "lon_e5": "1e-5 degree east",
    "lon_low": "longitude in 1e-5 degree, modulo 2**18",
    "mode": "how the history is coded",
    "number": "",
    "page": "",
    "pages": "bit map of status pages to send",
    "pattern": "of sound",
    "previous_stage": "",
    "proof": "of sound, `event.PROOF_...`",
    "quality": "mm, spread (MAD) of the burst",
    "radius_m": "m, 0 removes the fence",
    "rain_tips": "running total of bucket tips",
    "rate_mm_10min": "mm in 10 min, rising positive",
    "release": "number of the running release (docs/updates.md)",
    "reserved": "zero",
    "reset_reason": "`status.RESET_...`",
    "result": "`command.DONE`, `REFUSED`...",
    "rising": "index of the interval while the level rises",
    "rising_mm_10min": "mm in 10 min that count as rising",
    "role": "`status.ROLE_...`",
    "sensor_error": "why the last failed burst failed, `status.SENSOR_...`",
    "sensor_exception": "Modbus exception code of the last refusal",
    "sensor_invalids": "readings that were no value, since the start",
    "sensor_refusals": "Modbus exceptions since the start",
    "sensor_silences": "requests without an answer since the start",
    "sensor_snr_db": "dB, echo quality of the sensor",
    "sequence": "number of the newest reading in the log",
    "sequence_high": "bits 8 to 13 of the sequence",
    "sequence_low": "low bits of the newest reading's number",
    "siaga_mm": "mm, where Siaga begins",
    "slot_low": "low bits of the newest reading's time / interval (back-fill: / 10 s)",
    "sog_code": "speed over ground: 0.1 kn to 20 kn (200), 0.5 kn beyond, 255 unknown",
    "stage": "Normal, Waspada, Siaga, Awas (command `intervals`: index of the interval then)",
    "state": "under way, SOS, MOB, tamper, anchored, moored, gear down, geofence",
    "step": "heard 1, stored 2, accepted 3, seen by a person 4, closed 5",
    "store_errors": "records that failed their check",
    "stored": "readings in the log",
    "storm": "index of the interval in a storm",
    "supply_mv": "mV of solar panel or mains",
    "temperature_c": "degrees C inside the case",
    "tilt_deg": "degrees from how it was mounted",
    "time_low": "seconds since 2020, modulo 2**14; 16,383: the clock was never set",
    "time_s": "seconds since 2020-01-01T00:00:00Z",
    "until_time_s": "seconds since 2020, 0: off",
    "uplinks": "sent since the device was made",
    "uptime_h": "h since the last start",
    "value": "by kind of command",
    "version": "of the layout, 0",
    "waspada_mm": "mm, where Waspada begins",
}


def javascript() -> str:
    """The TS013 codec: constants out of the tables, then the machinery."""
    names = {
        "VERSION": ports.VERSION,
        "EPOCH_UNIX_S": ports.EPOCH_UNIX_S,
        "SLOT_S": ports.SLOT_S,
        "OPTIONAL": schema.OPTIONAL,
        "STAGES": NAMES,
        "MISSING": history.MISSING,
        "LEVEL_BITS": history.LEVEL_BITS,
        "RAIN_BITS": history.RAIN_BITS,
        "READINGS_MAX": history.READINGS_MAX,
        "MODES": history.MODES,
        "PLAIN_MODES": history.PLAIN_MODES,
        "RUN_LENGTHS": history.RUN_LENGTHS,
        "TRACK_MODES": track.TRACK_MODES,
        "NO_HISTORY": track.NO_HISTORY,
        "SINES": reckon.SINES,
    }
    names.update({name: getattr(ports, name) for name in dir(ports) if name.startswith("PORT_")})
    for name in dir(schema):
        if name.isupper() and isinstance(getattr(schema, name), tuple) and name[0] != "_":
            names[name] = getattr(schema, name)
    lines = [
        "// Tukad's payload codec for LoRa Alliance TS013 (ChirpStack, The Things Stack).",
        "// Written by docs/codec/generate.py from protocols/payload/schema.py; do not edit.",
        "// docs/payload.md says what the values mean. SPDX-License-Identifier: Apache-2.0",
        "",
    ]
    for name in sorted(names):
        lines.append(f"var {name} = {json.dumps(names[name])};")
    return "\n".join(lines) + "\n\n" + RUNTIME.read_text()


def field_table(layout: "schema.Layout", first_bit: int = 0) -> list[str]:
    lines = ["| bit | bits | field | range | rule | meaning |", "|---|---|---|---|---|---|"]
    at = first_bit
    for name, bits, low, step, rule in layout:
        top = (1 << bits) - (2 if rule == schema.OPTIONAL else 1)
        by = f" by {step}" if step != 1 else ""
        lines.append(
            f"| {at} | {bits} | `{name}` | {low:,}..{low + top * step:,}{by}"
            f" | {RULES[rule]} | {TEXTS[name]} |"
        )
        at += bits
    return [*lines, ""]


def tables() -> dict[str, list[str]]:
    """The generated parts of docs/payload.md by name of their marker."""
    parts: dict[str, list[str]] = {}
    for name in (
        "FLOOD_HEAD",
        "FLOOD_EXTENDED",
        "FLOOD_EXTRAS",
        "TRACK_HEAD",
        "TRACK_EXTENDED",
        "TRACK_MODULO",
        "TRACK_ABSOLUTE",
        "TRACK_MOTION",
        "STATUS_HEAD",
        "EVENT_HEAD",
        "BACKFILL_HEAD",
        "BACKFILL_FLOOD",
        "BACKFILL_TRACK",
        "BACKFILL_MISSING",
        "COMMAND_HEAD",
        "ANSWER",
    ):
        parts[name] = field_table(getattr(schema, name))
    parts["FLOOD_EXTRAS"] = ["| kind | field | range | rule | meaning |", "|---|---|---|---|---|"]
    for kind, (name, bits, low, step, rule) in enumerate(schema.FLOOD_EXTRAS):
        top = (1 << bits) - (2 if rule == schema.OPTIONAL else 1)
        by = f" by {step}" if step != 1 else ""
        parts["FLOOD_EXTRAS"].append(
            f"| {kind} | `{name}` | {low:,}..{low + top * step:,}{by}"
            f" | {RULES[rule]} | {TEXTS[name]} |"
        )
    parts["FLOOD_EXTRAS"].append("")
    pages: list[str] = []
    for page, title in enumerate(("power", "identity", "log", "link", "sensor")):
        pages += [f"Page {page}, {title}:", "", *field_table(schema.STATUS_PAGES[page], 8)]
    parts["STATUS_PAGES"] = pages
    for name, first_bit in (("EVENTS", 30), ("COMMANDS", 24)):
        lines: list[str] = []
        for kind, (title, layout) in enumerate(getattr(schema, name)):
            if kind:
                lines += [f"Kind {kind}, `{title}`:", "", *field_table(layout, first_bit)]
        parts[name] = lines
    lines = ["| mode | order | k | step mm | first run state |", "|---|---|---|---|---|"]
    for mode, (order, k, step, run) in enumerate(history.MODES):
        lines.append(f"| {mode} | {order} | {k} | {step} | {'' if run < 0 else run} |")
    parts["MODES"] = [*lines, ""]
    lines = ["| mode | k | rounded to 1e-5 degree |", "|---|---|---|"]
    lines += [f"| {mode} | {k} | {1 << s} |" for mode, (k, s) in enumerate(track.TRACK_MODES)]
    parts["TRACK_MODES"] = [*lines, "| 15 | no history | |", ""]
    return parts


def document() -> str:
    """docs/payload.md with each generated part between its markers renewed."""
    out: list[str] = []
    parts = tables()
    is_inside = False
    for line in DOCS.read_text().splitlines():
        if line == "<!-- end -->":
            is_inside = False
        if not is_inside:
            out.append(line)
        if line.startswith("<!-- table "):
            is_inside = True
            out += ["", *parts.pop(line.split()[2])]
    assert not parts, f"no marker in {DOCS} for {', '.join(parts)}"
    return "\n".join(out) + "\n"


def main() -> int:
    wanted = {CODEC: javascript(), DOCS: document()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: python docs/codec/generate.py\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
        sys.stderr.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
